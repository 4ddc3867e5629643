//! Handles one turn: from its plan to what is written and delivered.

mod access_request;
mod answer_files;
mod buttons;
mod day_limits;
mod exchange;
mod failure;
mod question;
mod question_context;
mod read_along;
mod session;
mod sign_in;
mod speech;
mod tap;

use std::time::Duration;

use tokio::time::Instant;

use crate::api::connector::RichMessages;
use crate::assistant::FailureKind;
use crate::observation;
use crate::pipeline::claim::lane_worker::{LaneResult, LaneWait, LaneWorker};
use crate::pipeline::decide::assistant_input::MessageRelation;
use crate::pipeline::decide::canned_reply::CannedReply;
use crate::pipeline::decide::classified_message::ClassifiedMessage;
use crate::pipeline::decide::decision::Decision;
use crate::pipeline::decide::denied;
use crate::pipeline::decide::message_batch::{self, BatchContext, BatchMember, MessageBatch};
use crate::pipeline::decide::user_decision::SharedDecision;
use crate::pipeline::message::incoming_update::{
    Content, IncomingUpdate, ServiceMessage, UnreadableUpdate,
};
use crate::pipeline::send::deliver::{self, DeliveryProgress, report_dead_letter};
use crate::pipeline::send::{localize, render};
use crate::pipeline::state::rate_limit::RateDecision;
use crate::registry::ResolvedConnector;
use crate::store::{Change, Notice, ReplyPart, WaitingMessage, WaitingPart};
use crate::telemetry::outcomes::UpdateOutcome;
use crate::texts::Texts;

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HandleOutcome {
    /// It is done; the last changes are noted in the lane.
    Done,
    /// It, or its reply, has to wait.
    Wait(LaneWait),
}

/// How long a message waits for an assistant that is not there, should the change be missed.
const WITHOUT_ASSISTANT: Duration = Duration::from_mins(1);

/// A turn that was in work so often when the process ended without notice is given up: it may be what ends it. Before that it is handled
/// with care ([`BatchHandler::answer_parts`]). Ends from outside (a node that fails, a kill) hit the same turn so often by no chance.
const MAX_CRASHES: u32 = 10;

/// One turn with everything around it.
struct BatchHandler<'a> {
    lane: &'a mut LaneWorker,
    connector: &'a ResolvedConnector,
    batch: MessageBatch,
    /// All messages that are settled with it; at least one.
    messages: Vec<WaitingMessage>,
    /// Something was noted for another lane, whose worker is told once it is written.
    notify_when_written: bool,
}

/// Handles the turn that comes next, and takes what is settled with it out of `waiting` (at least one).
pub(crate) async fn handle_next_batch(
    lane: &mut LaneWorker,
    connector: &ResolvedConnector,
    waiting: &mut Vec<ClassifiedMessage>,
) -> LaneResult<HandleOutcome> {
    let context = BatchContext {
        connector,
        now: lane.pipeline.clock.now(),
        follow_up: lane.pipeline.limits.follow_up,
    };
    let mut allowed = 1;
    let batch = message_batch::next_batch(&context, waiting, |incoming| {
        let has_capacity = incoming.sender.as_ref().is_some_and(|sender| {
            let (number, limit) = (lane.claim.connector, connector.messages_per_minute);
            let rate_limiter = &lane.pipeline.rate_limiter;
            rate_limiter.has_capacity(number, sender.id, incoming.date, limit, allowed)
        });
        allowed += u32::from(has_capacity);
        has_capacity
    });
    let Some(mut batch) = batch else {
        let first = waiting.remove(0);
        finish_unreadable(lane, connector, first);
        return Ok(HandleOutcome::Done);
    };
    if let Some(wait) = batch.ready_in {
        return Ok(HandleOutcome::Wait(LaneWait::Delay(wait)));
    }
    if lane.memory.handled.is_stale_edit(batch.lead()) {
        batch.decision = Decision::Ignore;
    }
    let mut messages = Vec::with_capacity(batch.settled_indices.len());
    let mut n = 0;
    waiting.retain_mut(|w| {
        let settled = batch.settled_indices.contains(&n);
        n += 1;
        if settled {
            if let Ok(update) = &w.update {
                lane.record_seen(&update.incoming);
                lane.record_read_along(connector, update);
                // What waits for a sign-in is yet to be handled.
                if !matches!(update.decision, Decision::Ignore | Decision::HoldForSignIn) {
                    lane.record_handled(&update.incoming);
                }
            }
            messages.push(std::mem::take(&mut w.message));
        }
        !settled
    });
    let mut handler = BatchHandler {
        lane,
        connector,
        batch,
        messages,
        notify_when_written: false,
    };
    handler.handle().await
}

fn finish_unreadable(
    lane: &mut LaneWorker,
    connector: &ResolvedConnector,
    waiting: ClassifiedMessage,
) {
    let message = waiting.message.id;
    match waiting.update {
        Err(unreadable) if unreadable != UnreadableUpdate::NoChat => {
            let reason = unreadable.to_string();
            report_dead_letter(lane, connector, &reason);
            lane.add_change(Change::DeadLetter { message, reason });
        }
        // A kind that was not asked for, in no chat: nobody waits for an answer.
        _ => {
            lane.pipeline
                .metrics
                .count_updates(UpdateOutcome::Ignored, 1);
            lane.add_change(Change::Finish { message });
        }
    }
}

impl BatchHandler<'_> {
    async fn handle(&mut self) -> LaneResult<HandleOutcome> {
        if let Some(stop) = &self.batch.stop {
            let texts = localize::texts_of(stop);
            if self.batch.decision.begins_session() {
                self.start_session();
            }
            return self.reply_in(texts, &CannedReply::Stopped).await;
        }
        match self.batch.decision.clone() {
            Decision::Ignore => {
                self.report_moved_group();
                Ok(self.ignore())
            }
            Decision::LeaveChat => {
                if let Err(error) = self.connector.bot.leave_chat(self.lane.key.chat).await {
                    tracing::info!(%error, "failed to leave a group that the connector does not name");
                }
                Ok(self.ignore())
            }
            Decision::Deny | Decision::DenyWithIds => self.deny().await,
            Decision::TellAccessOutcome => Box::pin(self.tell_access_outcome()).await,
            Decision::HoldForSignIn => Box::pin(self.hold_for_sign_in()).await,
            Decision::Tap | Decision::DenyTap => match self.lead().tap().cloned() {
                Some(tap) => Box::pin(self.handle_tap(&tap)).await,
                None => Ok(self.ignore()),
            },
            _ if self.ends_bot_loop() => Ok(self.ignore()),
            decision if decision.is_asked() && self.crashes() >= MAX_CRASHES => {
                self.give_up_after_crashes().await
            }
            decision if decision.is_asked() && self.connector.assistant.is_none() => Ok(
                HandleOutcome::Wait(LaneWait::ConnectorChange(WITHOUT_ASSISTANT)),
            ),
            decision => {
                if decision.is_asked()
                    && let Some(wait) = self.wait_before_asking()
                {
                    return self.wait_for_key(wait).await;
                }
                if let Some(decided) = self.decided() {
                    // It was counted as the tap that it was.
                    Box::pin(self.show_decided(&decided)).await;
                    return self.serve(decision).await;
                }
                match self.check_rate_limit().await? {
                    RateDecision::Allowed => self.serve(decision).await,
                    RateDecision::FirstRefused => self.reply_with(&CannedReply::RateLimited).await,
                    RateDecision::Refused => Ok(self.ignore()),
                }
            }
        }
    }

    /// Does what a permitted user asks for.
    async fn serve(&mut self, decision: Decision) -> LaneResult<HandleOutcome> {
        match (decision, self.connector.assistant.clone()) {
            (Decision::Reply(reply), _) => self.reply_with(&reply).await,
            (Decision::StartSession, _) => {
                Box::pin(self.supersede_decisions()).await?;
                self.end_read_along();
                self.start_session();
                self.reply_with(&CannedReply::NewSession).await
            }
            (Decision::SignOut, _) => Box::pin(self.sign_out()).await,
            (Decision::Stop, _) => self.reply_with(&CannedReply::NothingToStop).await,
            (Decision::AskAssistant(_), Some(assistant)) => {
                let is_decided = self.decided().is_some();
                if !is_decided && let Some(outcome) = Box::pin(self.take_by_word()).await? {
                    return Ok(outcome);
                }
                if let Some(reached) = self.reached_day_limit().await? {
                    return self.refuse_for_today(reached).await;
                }
                if !is_decided {
                    Box::pin(self.supersede_decisions()).await?;
                }
                self.ask(&assistant).await
            }
            (Decision::AskInNewSession(_), Some(assistant)) => {
                if let Some(reached) = self.reached_day_limit().await? {
                    return self.refuse_for_today(reached).await;
                }
                Box::pin(self.supersede_decisions()).await?;
                self.end_read_along();
                self.start_session_once();
                self.ask(&assistant).await
            }
            _ => Ok(self.ignore()),
        }
    }

    /// A group that the connector names has another id now: the manifest should say so, before the store is lost that knows it.
    fn report_moved_group(&self) {
        let incoming = self.lead();
        let Content::Service(ServiceMessage::MigratedTo(to)) = incoming.content else {
            return;
        };
        let groups = self.connector.groups.as_ref();
        let named = groups
            .and_then(|g| g.chats.as_ref())
            .is_some_and(|chats| chats.contains(&incoming.chat.id) && !chats.contains(&to));
        if named {
            let from = incoming.chat.id;
            tracing::warn!(from, to, "a group of spec.groups.chats has a new id");
            // Nobody waits until it is told.
            let observations = &self.lane.pipeline.observations;
            let uid = &self.connector.connector_ref.uid;
            drop(observations.queue_notice(uid, observation::Notice::GroupMoved { from, to }));
        }
    }

    /// Nothing is answered.
    fn ignore(&mut self) -> HandleOutcome {
        self.count(UpdateOutcome::Ignored);
        self.finish_messages();
        HandleOutcome::Done
    }

    fn count(&self, outcome: UpdateOutcome) {
        self.lane
            .pipeline
            .metrics
            .count_updates(outcome, self.messages.len());
    }

    /// The number of the reply, and of the session that begins here: the first message's.
    fn first(&self) -> &WaitingMessage {
        &self.messages[0]
    }

    /// Whether it is one bot's answer to another that has gone on too long without a person. What was tried before was counted then.
    fn ends_bot_loop(&mut self) -> bool {
        let from_bot = self.lead().sender.as_ref().is_some_and(|s| s.is_bot);
        let is_first_try = self.first().attempts == 0 && self.crashes() == 0;
        if !from_bot || !is_first_try || self.lane.count_answer_to_bot() {
            return false;
        }
        tracing::info!("another bot is not answered any more until a person speaks");
        true
    }

    fn lead(&self) -> &IncomingUpdate {
        self.batch.lead()
    }

    /// How often the process ended without notice while this turn was in work.
    fn crashes(&self) -> u32 {
        let crashes = self.messages.iter().map(|m| m.crashes).max();
        crashes.unwrap_or(0)
    }

    async fn give_up_after_crashes(&mut self) -> LaneResult<HandleOutcome> {
        let reason = format!(
            "the operator ended {} times without notice while this message was in work",
            self.crashes()
        );
        self.count(UpdateOutcome::Failed);
        report_dead_letter(self.lane, self.connector, &reason);
        let parts = self.canned_parts(&CannedReply::AssistantFailed(FailureKind::ServerFault));
        self.reply_and_dead_letter(parts, reason).await
    }

    /// The decision of a user from which the turn follows.
    fn decided(&self) -> Option<SharedDecision> {
        self.batch.members[self.batch.lead].update.decided.clone()
    }

    fn finish_messages(&mut self) {
        if let Some(decided) = self.decided() {
            let id = decided.id.clone();
            self.lane.add_change(Change::DecisionDelivered { id });
        }
        for member in &self.batch.members {
            let at = (self.lane.key.bot, member.update.incoming.update_id);
            self.lane.pipeline.transcripts.remove(at);
        }
        for message in &self.messages {
            let message = message.id;
            self.lane.pipeline.refused_keys.remove_message(message);
            self.lane.add_change(Change::Finish { message });
        }
    }

    fn texts(&self) -> &'static Texts {
        localize::texts_of(self.lead())
    }

    /// What was said counts, an album or a paste once, whichever replica handles it; a further attempt at it does not count again.
    async fn check_rate_limit(&self) -> LaneResult<RateDecision> {
        let was_asked = self.lane.pipeline.refused_keys.was_asked(self.first().id);
        if self.first().attempts > 0 || self.crashes() > 0 || was_asked {
            return Ok(RateDecision::Allowed);
        }
        let (lane, limit) = (&self.lane, self.connector.messages_per_minute);
        let connector = lane.claim.connector;
        let first = &self.batch.members[0].update.incoming;
        let Some(sender) = first.sender.as_ref().map(|s| s.id) else {
            return Ok(RateDecision::Allowed);
        };
        let counts = |member: &BatchMember| member.relation == MessageRelation::FollowUp;
        let follow_ups = self.batch.members.iter().filter(|m| counts(m));
        let dates = follow_ups.map(|member| member.update.incoming.date);
        let rate_limiter = &lane.pipeline.rate_limiter;
        let here = rate_limiter.count(connector, sender, first.date, limit);
        let mut messages = 1;
        for date in dates {
            // They were let in because there was room.
            rate_limiter.count(connector, sender, date, limit);
            messages += 1;
        }
        let minute = first.date.as_second().div_euclid(60);
        let counting = lane
            .pipeline
            .store
            .count_messages(connector, sender, minute, messages);
        Ok(match counting.await? {
            None => here,
            Some(counted) => RateDecision::of(counted.saturating_sub(messages - 1), limit),
        })
    }

    /// In a group the reply shows what it replies to.
    fn reply_to(&self) -> Option<i64> {
        let lead = self.lead();
        lead.message_id.filter(|_| !lead.is_private())
    }

    async fn deny(&mut self) -> LaneResult<HandleOutcome> {
        self.count(UpdateOutcome::Denied);
        let message = self.first().id;
        let (lane, connector, incoming) = (&mut *self.lane, self.connector, self.batch.lead());
        let pipeline = &lane.pipeline;
        pipeline
            .observations
            .record_denied_message(&connector.connector_ref.uid, pipeline.clock.now());
        if let Some(record) = denied::denied_message(connector, lane.key.bot, incoming) {
            lane.add_change(Change::Denied(message, Box::new(record)));
        }
        let asks_for_ids = self.batch.decision == Decision::DenyWithIds;
        let Some((kind, reply)) = denied::denial_notice(connector, incoming, asks_for_ids) else {
            self.finish_messages();
            return Ok(HandleOutcome::Done);
        };
        let now = lane.pipeline.clock.now();
        let since = now.checked_sub(denied::DENIAL_NOTICE_INTERVAL);
        let since = since.unwrap_or(jiff::Timestamp::MIN);
        let mut parts = self.canned_parts(&reply);
        self.offer_to_ask(&mut parts).await?;
        self.store_and_send_reply(parts, Some(Notice { kind, since }))
            .await
    }

    /// The messages of what the assistant said. Of a turn that was in work when the process ended without notice, as plain text: formatting
    /// foreign text is what is most likely to have ended it.
    async fn answer_parts(&self, text: &str) -> Vec<ReplyPart> {
        if self.crashes() > 0 {
            render::plain_answer_parts(text, self.texts(), self.reply_to())
        } else {
            let (bot, now) = (self.lane.key.bot, Instant::now());
            let support = &self.lane.pipeline.rich_support;
            let wanted = self.connector.answers.rich == RichMessages::WhenNeeded;
            let as_rich = wanted && support.may_have(bot, now);
            render::markdown_parts(text, self.texts(), self.reply_to(), as_rich).await
        }
    }

    /// The bot speaks by itself.
    async fn reply_with(&mut self, reply: &CannedReply) -> LaneResult<HandleOutcome> {
        self.reply_in(self.texts(), reply).await
    }

    async fn reply_in(&mut self, texts: &Texts, reply: &CannedReply) -> LaneResult<HandleOutcome> {
        let parts = render::plain_parts(&localize::localize(reply, texts), self.reply_to());
        self.store_and_send_reply(parts, None).await
    }

    /// The messages of what the bot says by itself, in the language of the turn's sender.
    fn canned_parts(&self, reply: &CannedReply) -> Vec<ReplyPart> {
        render::plain_parts(&localize::localize(reply, self.texts()), self.reply_to())
    }

    /// Stores the reply, and that the message is done with, and only then sends it.
    async fn store_and_send_reply(
        &mut self,
        parts: Vec<ReplyPart>,
        notice: Option<Notice>,
    ) -> LaneResult<HandleOutcome> {
        let is_notice = notice.is_some();
        let waiting = self.add_reply(self.first().id, parts, notice);
        self.finish_messages();
        let written = self.lane.write_changes().await?;
        if std::mem::take(&mut self.notify_when_written) {
            let uid = &self.connector.connector_ref.uid;
            self.lane.pipeline.store.work_notifier().notify(uid);
        }
        if !written.reply_stored {
            return Ok(HandleOutcome::Done);
        }
        match deliver::deliver_parts(self.lane, self.connector, waiting).await? {
            DeliveryProgress::Finished { all_sent } => {
                if all_sent && !is_notice {
                    self.count(UpdateOutcome::Answered);
                }
                Ok(HandleOutcome::Done)
            }
            DeliveryProgress::Wait(wait) => Ok(HandleOutcome::Wait(wait)),
        }
    }

    /// The parts of the reply to a message, as they wait once they are stored.
    fn waiting_parts(&self, message: i64, parts: &[ReplyPart]) -> Vec<WaitingPart> {
        let stored_at = self.lane.pipeline.clock.now();
        let waiting = ReplyPart::numbered(parts).map(|(number, part)| WaitingPart {
            reply: message,
            number,
            part: part.clone().without_upload(),
            attempts: 0,
            ambiguous: false,
            stored_at,
        });
        waiting.collect()
    }

    /// Notes a reply to be stored; returns what is to be sent of it once it is.
    fn add_reply(
        &mut self,
        message: i64,
        parts: Vec<ReplyPart>,
        notice: Option<Notice>,
    ) -> Vec<WaitingPart> {
        let waiting = self.waiting_parts(message, &parts);
        self.lane.add_change(Change::Reply {
            message,
            parts,
            notice,
        });
        waiting
    }
}
