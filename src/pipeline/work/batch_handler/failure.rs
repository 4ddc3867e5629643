//! What becomes of a question that got no answer: it is asked again later, waits for another key, or is given up.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{BatchHandler, HandleOutcome};
use crate::assistant::{Assistant, AssistantError, FailureKind, QuestionProgress};
use crate::pipeline::claim::lane_worker::{LaneResult, LaneWait};
use crate::pipeline::decide::canned_reply::CannedReply;
use crate::pipeline::decide::session::SessionStep;
use crate::pipeline::send::deliver::{self, DeliveryProgress, report_dead_letter};
use crate::pipeline::work::ask::AskOutcome;
use crate::store::{Change, Notice, NoticeKind, ReplyPart};
use crate::telemetry::outcomes::UpdateOutcome;

impl BatchHandler<'_> {
    /// The assistant said nothing.
    pub(super) async fn handle_failure(
        &mut self,
        assistant: &Arc<dyn Assistant>,
        step: SessionStep,
        error: AssistantError,
    ) -> LaneResult<HandleOutcome> {
        if is_refused_key(&error) {
            return self.handle_refused_key(assistant, error).await;
        }
        self.lane.pipeline.observations.record_assistant_failure(
            &self.connector.connector_ref.uid,
            error.fault(),
            error.detail.clone(),
        );
        let attempts = self.first().attempts;
        let retry = self.lane.pipeline.limits.retry;
        let again = retry.after_assistant_error(&error, attempts, rand::random());
        self.count(UpdateOutcome::Failed);
        if let Some(wait) = again {
            tracing::info!(%error, attempts = attempts + 1, "the assistant is asked again later");
            for message in &self.messages {
                let message = message.id;
                self.lane.add_change(Change::Attempted { message });
            }
            return Ok(HandleOutcome::Wait(LaneWait::AssistantRetry(wait)));
        }
        let reason = format!("the assistant failed: {error}");
        report_dead_letter(self.lane, self.connector, &reason);
        let keeps_history = !assistant.needs_history() && step == SessionStep::Continue;
        let reply = CannedReply::to_failure(&error, keeps_history);
        let parts = self.canned_parts(&reply);
        self.reply_and_dead_letter(parts, reason).await
    }

    /// Nobody asks with this key again, but for one question now and then. The message was not tried in vain: it waits.
    async fn handle_refused_key(
        &mut self,
        assistant: &Arc<dyn Assistant>,
        error: AssistantError,
    ) -> LaneResult<HandleOutcome> {
        let pipeline = &self.lane.pipeline;
        let uid = &self.connector.connector_ref.uid;
        tracing::warn!(connector = %self.connector.connector_ref, %error, "the assistant refuses the key; messages wait for another one");
        pipeline.observations.record_key_refused(uid, error.detail);
        let interval = pipeline.limits.retry.key_probe_interval;
        let (keys, message) = (&pipeline.refused_keys, self.first().id);
        let wait = keys.refuse(uid, assistant, message, Instant::now(), interval);
        self.wait_for_key(wait).await
    }

    /// How long the question has to wait because the assistant refuses the key; `None`: it may be asked.
    pub(super) fn wait_before_asking(&self) -> Option<Duration> {
        let assistant = self.connector.assistant.as_ref()?;
        let pipeline = &self.lane.pipeline;
        pipeline.refused_keys.wait_before_asking(
            &self.connector.connector_ref.uid,
            assistant,
            Instant::now(),
            pipeline.limits.retry.key_probe_interval,
        )
    }

    /// The message waits; its chat is told, once for what waits in it.
    pub(super) async fn wait_for_key(&mut self, wait: Duration) -> LaneResult<HandleOutcome> {
        let pipeline = self.lane.pipeline.clone();
        let uid = &self.connector.connector_ref.uid;
        let lane = self.lane.claim.lane;
        // Two bots that tell each other that they wait never stop.
        let is_bot = self.lead().sender.as_ref().is_some_and(|s| s.is_bot);
        if !is_bot && !pipeline.refused_keys.is_told(uid, lane) {
            let parts = self.canned_parts(&CannedReply::KeyRefused);
            let notice = Notice {
                kind: NoticeKind::KeyRefused,
                since: self.first().received_at,
            };
            // It has the number of the answer's parts, and is gone before there is an answer: a lane delivers what it has before it asks.
            let waiting = self.add_reply(self.first().id, parts, Some(notice));
            let stored = self.lane.write_changes().await?.reply_stored;
            pipeline.refused_keys.record_told(uid, lane);
            if stored
                && let DeliveryProgress::Wait(wait) =
                    deliver::deliver_parts(self.lane, self.connector, waiting).await?
            {
                return Ok(HandleOutcome::Wait(wait));
            }
        }
        Ok(HandleOutcome::Wait(LaneWait::KeyChange(wait)))
    }

    /// Lets the chats go that wait for another key, once an outcome shows that this one is accepted.
    pub(super) async fn observe_key<I>(
        &self,
        assistant: &Arc<dyn Assistant>,
        outcome: &AskOutcome<I>,
    ) {
        let pipeline = &self.lane.pipeline;
        let uid = &self.connector.connector_ref.uid;
        if !shows_accepted_key(outcome) || !pipeline.refused_keys.accept(uid, assistant) {
            return;
        }
        tracing::info!(connector = %self.connector.connector_ref, "the assistant accepts the key again");
        if let Err(error) = pipeline.store.ready_now(uid).await {
            tracing::warn!(%error, "waiting messages are taken up later");
        }
        pipeline.store.work_notifier().notify(uid);
    }

    /// The user is told, and the message becomes a dead letter.
    pub(super) async fn reply_and_dead_letter(
        &mut self,
        parts: Vec<ReplyPart>,
        reason: String,
    ) -> LaneResult<HandleOutcome> {
        let waiting = self.add_reply(self.first().id, parts, None);
        for message in &self.messages {
            self.lane.pipeline.refused_keys.remove_message(message.id);
            self.lane.add_change(Change::DeadLetter {
                message: message.id,
                reason: reason.clone(),
            });
        }
        self.lane.write_changes().await?;
        match deliver::deliver_parts(self.lane, self.connector, waiting).await? {
            DeliveryProgress::Finished { .. } => Ok(HandleOutcome::Done),
            DeliveryProgress::Wait(wait) => Ok(HandleOutcome::Wait(wait)),
        }
    }
}

/// Whether the key is what was refused, and nothing else has happened.
fn is_refused_key(error: &AssistantError) -> bool {
    error.kind == FailureKind::KeyRefused && error.progress != QuestionProgress::Begun
}

/// Whether an assistant gets so far only with a key that it accepts.
fn shows_accepted_key<I>(outcome: &AskOutcome<I>) -> bool {
    match outcome {
        AskOutcome::Answered(_) => true,
        AskOutcome::Interrupted(_, answer) => !answer.is_empty(),
        AskOutcome::Failed(error) => matches!(
            error.kind,
            FailureKind::QuotaExhausted
                | FailureKind::ContextFull
                | FailureKind::Filtered
                | FailureKind::PicturesRefused
                | FailureKind::FilesRefused
                | FailureKind::TaskFailed
        ),
    }
}
