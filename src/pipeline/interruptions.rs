//! Ends running answers: looks in the inbox, for all of them at once, whether a command has come that does.
//!
//! The inbox is the only place where such a command is: whoever accepted it, this process or another, and whether or not the
//! process that answers lives to see it. Only the process that holds the chat's claim acts on it, in the write that settles the
//! answer; should it die before, the next one finds the command behind the message and does not even begin.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};

use super::decision::{self, Decision};
use super::incoming_update::IncomingUpdate;
use super::message_batch::ParsedMessage;
use super::state::PipelineState;
use crate::registry::ResolvedConnector;
use crate::store::WaitingMessage;

/// How often it looks while something is being answered: so long a `/stop` takes at most. Answers that are quicker than this
/// cost nothing.
const POLL_INTERVAL: Duration = Duration::from_millis(400);

/// The answers in the making, by the store's number of their lane.
#[derive(Debug, Default)]
pub(super) struct RunningAnswers {
    running: Mutex<HashMap<i64, AnswerEntry>>,
    registered: Notify,
    next_number: AtomicU64,
}

#[derive(Debug)]
struct AnswerEntry {
    /// Counts the answers: the next one of the same lane is another.
    number: u64,
    notify: mpsc::Sender<Vec<WaitingMessage>>,
}

/// An answer in the making; it is no longer one when this is dropped.
pub(super) struct RunningAnswer<'a> {
    answers: &'a RunningAnswers,
    lane: i64,
    new_messages: mpsc::Receiver<Vec<WaitingMessage>>,
}

/// A command that ends the answer.
pub(super) enum Interruption {
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

impl RunningAnswers {
    /// An answer begins.
    pub(super) fn register(&self, lane: i64) -> RunningAnswer<'_> {
        let (notify, new_messages) = mpsc::channel(1);
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(lane, AnswerEntry { number, notify });
        self.registered.notify_one();
        RunningAnswer {
            answers: self,
            lane,
            new_messages,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<i64, AnswerEntry>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RunningAnswer<'_> {
    fn drop(&mut self) {
        self.answers.lock().remove(&self.lane);
    }
}

impl RunningAnswer<'_> {
    /// Waits for a command that ends this answer; of the messages numbered `answered` it is being made.
    pub(super) async fn wait_for_interruption(
        &mut self,
        connector: &ResolvedConnector,
        answered: &[i64],
    ) -> Interruption {
        while let Some(arrived) = self.new_messages.recv().await {
            let behind: Vec<ParsedMessage> = arrived
                .into_iter()
                .filter(|message| !answered.contains(&message.id))
                .map(ParsedMessage::parse)
                .collect();
            if let Some(interruption) = find_interruption(connector, &behind) {
                return interruption;
            }
        }
        // Nobody looks any more: the pipeline ends, and this answer with it or before.
        std::future::pending().await
    }
}

/// The first command among what waits that ends a running answer.
fn find_interruption(
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

/// Whether a command has come that ends the question which waits in a lane to be asked again.
pub(super) async fn has_interruption(
    pipeline: &PipelineState,
    connector: &ResolvedConnector,
    lane: i64,
) -> bool {
    match pipeline.store.arrived(&[lane]).await {
        Ok(arrived) => {
            let messages = arrived.into_iter().flat_map(|(_, messages)| messages);
            let waiting: Vec<ParsedMessage> = messages.map(ParsedMessage::parse).collect();
            find_interruption(connector, &waiting).is_some()
        }
        // It is found when the question is due.
        Err(_) => false,
    }
}

/// Looks while answers are in the making. Runs for ever.
pub(super) async fn watch_inbox(pipeline: std::sync::Arc<PipelineState>) {
    let answers = &pipeline.running_answers;
    loop {
        if answers.lock().is_empty() {
            answers.registered.notified().await;
        }
        let now = answers.next_number.load(Ordering::Relaxed);
        tokio::time::sleep(POLL_INTERVAL).await;
        // Those that have begun meanwhile are looked after the next time.
        let lanes: Vec<i64> = {
            let running = answers.lock();
            let older = running.iter().filter(|(_, answer)| answer.number < now);
            older.map(|(lane, _)| *lane).collect()
        };
        if lanes.is_empty() {
            continue;
        }
        match pipeline.store.arrived(&lanes).await {
            Ok(arrived) => {
                let running = answers.lock();
                for (lane, messages) in arrived {
                    if let Some(answer) = running.get(&lane) {
                        // A full channel has not been looked at yet; the next look finds the same.
                        let _ = answer.notify.try_send(messages);
                    }
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the store cannot be asked whether an answer is to end");
            }
        }
    }
}
