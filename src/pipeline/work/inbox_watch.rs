//! Ends running answers: looks in the inbox, for all of them at once, whether a command has come that does.
//!
//! The inbox is the only place where such a command is: whoever accepted it, this process or another, and whether or not the
//! process that answers lives to see it. Only the process that holds the chat's claim acts on it, in the write that settles the
//! answer; should it die before, the next one finds the command behind the message and does not even begin.

use std::sync::Arc;
use std::time::Duration;

use crate::pipeline::claim::lane_worker::LaneWorker;
use crate::pipeline::decide::classified_message::ClassifiedMessage;
use crate::pipeline::decide::interruption::{Interruption, find_interruption};
use crate::pipeline::state::pipeline_state::PipelineState;
use crate::pipeline::state::running_answers::RunningAnswer;
use crate::pipeline::work::grants::GrantLookup;
use crate::registry::ResolvedConnector;
use crate::store::WaitingMessage;

/// How often it looks while something is being answered: so long a `/stop` takes at most. Answers that are quicker than this
/// cost nothing.
const POLL_INTERVAL: Duration = Duration::from_millis(400);

/// Waits for a command that ends this answer; of the messages numbered `answered` it is being made.
pub(crate) async fn wait_for_interruption(
    answer: &mut RunningAnswer<'_>,
    connector: &ResolvedConnector,
    grants: GrantLookup<'_>,
    answered: &[i64],
) -> Interruption {
    while let Some(arrived) = answer.next_arrivals().await {
        let behind = arrived
            .into_iter()
            .filter(|message| !answered.contains(&message.id));
        let behind = classify(connector, grants, behind).await;
        if let Some(interruption) = find_interruption(&behind) {
            return interruption;
        }
    }
    // Nobody looks any more: the pipeline ends, and this answer with it or before.
    std::future::pending().await
}

/// Whether a command has come that ends the question which waits in a lane to be asked again.
pub(crate) async fn has_interruption(lane: &LaneWorker, connector: &ResolvedConnector) -> bool {
    let store = &lane.pipeline.store;
    match store.waiting_messages(&[lane.claim.lane]).await {
        Ok(arrived) => {
            let messages = arrived.into_iter().flat_map(|(_, messages)| messages);
            let waiting = classify(connector, GrantLookup::of(lane), messages).await;
            find_interruption(&waiting).is_some()
        }
        // It is found when the question is due.
        Err(_) => false,
    }
}

/// Reads what waits. Grants are looked up where there may be a command; one that cannot be is found in its turn.
async fn classify(
    connector: &ResolvedConnector,
    grants: GrantLookup<'_>,
    messages: impl Iterator<Item = WaitingMessage>,
) -> Vec<ClassifiedMessage> {
    let now = grants.pipeline.clock.now();
    let mut waiting: Vec<_> = messages
        .map(|message| ClassifiedMessage::read(connector, message, now))
        .collect();
    let may_be_command = |message: &ClassifiedMessage| {
        let update = message.update.as_ref().ok();
        let text = update.and_then(|update| update.incoming.text.as_deref());
        text.is_some_and(|text| text.starts_with('/'))
    };
    if waiting.iter().any(may_be_command)
        && let Err(error) = grants.put_grants(connector, &mut waiting).await
    {
        tracing::debug!(%error, "failed to look up the grants of who may end an answer");
    }
    waiting
}

/// Looks while answers are in the making. Runs for ever.
pub(crate) async fn watch_inbox(pipeline: Arc<PipelineState>) {
    let answers = &pipeline.running_answers;
    loop {
        let next_number = answers.wait_for_answer().await;
        tokio::time::sleep(POLL_INTERVAL).await;
        // Those that have begun meanwhile are looked after the next time.
        let lanes = answers.lanes_older_than(next_number);
        if lanes.is_empty() {
            continue;
        }
        match pipeline.store.waiting_messages(&lanes).await {
            Ok(arrived) => {
                for (lane, messages) in arrived {
                    answers.notify(lane, messages);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "failed to look for commands that end running answers; retrying in 400 ms");
            }
        }
    }
}
