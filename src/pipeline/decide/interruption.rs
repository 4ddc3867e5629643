//! Which command among what waits ends an answer, or a question that has not been asked yet: a pure decision.

use crate::pipeline::decide::classified_message::{ClassifiedMessage, ClassifiedUpdate};
use crate::pipeline::decide::decision::Decision;
use crate::pipeline::message::incoming_update::IncomingUpdate;

/// A command that ends a running answer.
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
pub(crate) fn find_interruption(behind: &[ClassifiedMessage]) -> Option<Interruption> {
    let (ids, updates): (Vec<i64>, Vec<&ClassifiedUpdate>) = behind
        .iter()
        .filter_map(|w| Some((w.message.id, w.update.as_ref().ok()?)))
        .unzip();
    Some(match find_ending_command(&updates, true)? {
        EndingCommand::NewSession => Interruption::NewSession,
        EndingCommand::Stop { at, stopped_with } => Interruption::Stop {
            command: Box::new(updates[at].incoming.clone()),
            id: ids[at],
            stopped_with: stopped_with.into_iter().map(|n| ids[n]).collect(),
        },
    })
}

/// A command among updates, by their places.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum EndingCommand {
    /// `/stop`.
    Stop {
        /// Its place.
        at: usize,
        /// The places of its sender's questions before it: they are stopped with it.
        stopped_with: Vec<usize>,
    },
    /// `/new`.
    NewSession,
}

/// The first command that ends what stands before `updates`; a `/new` only where `new_session_ends`.
pub(super) fn find_ending_command(
    updates: &[&ClassifiedUpdate],
    new_session_ends: bool,
) -> Option<EndingCommand> {
    let at = updates.iter().position(|update| {
        update.decision == Decision::Stop || (new_session_ends && update.decision.begins_session())
    })?;
    if updates[at].decision.begins_session() {
        return Some(EndingCommand::NewSession);
    }
    let sender = updates[at].sender_id();
    let stopped_with = (0..at)
        .filter(|n| updates[*n].is_asked() && updates[*n].sender_id() == sender)
        .collect();
    Some(EndingCommand::Stop { at, stopped_with })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::pipeline::decide::test_values::{ANN, BEN, MALLORY, connector, private, waiting};

    fn say(user: i64, text: &str) -> String {
        // One chat of several people: who is who matters, not where.
        private(user, &format!(r#""text":"{text}""#))
    }

    /// The command's number, and those stopped with it.
    #[rstest]
    #[case::nothing(vec![], "nothing")]
    #[case::questions(vec![say(ANN, "a"), say(BEN, "b")], "nothing")]
    #[case::stop(vec![say(ANN, "/stop")], "/stop 1 with []")]
    #[case::with_own_questions(vec![say(ANN, "a"), say(BEN, "b"), say(ANN, "/help"), say(ANN, "/stop")], "/stop 4 with [1]")]
    #[case::new_session(vec![say(ANN, "/new"), say(ANN, "/stop")], "/new")]
    #[case::new_session_with_a_question(vec![say(ANN, "/new what?"), say(ANN, "/stop")], "/new")]
    #[case::of_a_denied_user(vec![say(MALLORY, "/stop"), say(MALLORY, "/new")], "nothing")]
    #[case::behind_an_unreadable_one(vec!["[]".to_owned(), say(ANN, "/stop")], "/stop 2 with []")]
    fn first_command_ends_a_running_answer(#[case] behind: Vec<String>, #[case] expected: &str) {
        let connector = connector(|_| {});
        let messages: Vec<(&str, u32)> = behind.iter().map(|json| (json.as_str(), 0)).collect();
        let found = match find_interruption(&waiting(&connector, &messages)) {
            None => "nothing".to_owned(),
            Some(Interruption::NewSession) => "/new".to_owned(),
            Some(Interruption::Stop {
                id, stopped_with, ..
            }) => format!("/stop {id} with {stopped_with:?}"),
        };
        assert_eq!(found, expected);
    }
}
