//! Which command among what waits ends a running answer: a pure decision.

use crate::pipeline::decide::decision::{self, Decision};
use crate::pipeline::decide::message_batch::ParsedMessage;
use crate::pipeline::message::incoming_update::IncomingUpdate;
use crate::registry::ResolvedConnector;

/// A command that ends the answer.
pub(crate) enum Interruption {
    /// `/stop`, and with it what its sender had said before it and still waited.
    Stop {
        /// The command itself.
        command: Box<IncomingUpdate>,
        /// Its number in the inbox.
        id: i64,
        /// The numbers of what is stopped with it.
        stopped_with: Vec<i64>,
    },
    /// `/new`: it is carried out next, in its order.
    NewSession,
}

/// The first command among what waits that ends a running answer.
pub(crate) fn find_interruption(
    connector: &ResolvedConnector,
    behind: &[ParsedMessage],
) -> Option<Interruption> {
    let readable: Vec<(i64, &IncomingUpdate)> = behind
        .iter()
        .filter_map(|w| Some((w.message.id, w.incoming.as_ref().ok()?)))
        .collect();
    let (at, decision) = readable
        .iter()
        .map(|(_, incoming)| decision::decide(connector, incoming))
        .enumerate()
        .find(|(_, decision)| matches!(decision, Decision::Stop | Decision::StartSession(_)))?;
    if decision != Decision::Stop {
        return Some(Interruption::NewSession);
    }
    let (id, command) = readable[at];
    let sender = command.sender.as_ref().map(|s| s.id);
    let stopped_with = readable[..at]
        .iter()
        .filter(|(_, incoming)| incoming.sender.as_ref().map(|s| s.id) == sender)
        .filter(|(_, incoming)| {
            matches!(
                decision::decide(connector, incoming),
                Decision::AskAssistant(_)
            )
        })
        .map(|(id, _)| *id)
        .collect();
    Some(Interruption::Stop {
        command: Box::new(command.clone()),
        id,
        stopped_with,
    })
}
