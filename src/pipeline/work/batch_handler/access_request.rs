//! Requests for access: the button that makes one, what the approvers' taps decide, and what the asker is told.

use std::time::Instant;

use super::{BatchHandler, HandleOutcome};
use crate::pipeline::claim::lane_worker::LaneResult;
use crate::pipeline::decide::access::{self, AccessDecision};
use crate::pipeline::decide::access_request::{self, Answer, AnswerMeaning};
use crate::pipeline::decide::decision::Decision;
use crate::pipeline::message::incoming_update::ButtonTap;
use crate::pipeline::send::deliver::{self, DeliveryProgress};
use crate::pipeline::send::render;
use crate::store::{AccessRequest, AskOutcome, Change, PartContent, ReplyPart, RequestPhase};
use crate::telegram::{MessageText, TelegramError};
use crate::telemetry::outcomes::UpdateOutcome;

impl BatchHandler<'_> {
    /// Puts the button under a denial where its receiver may ask for access.
    pub(super) async fn offer_to_ask(&self, parts: &mut [ReplyPart]) -> LaneResult<()> {
        let now = self.lane.pipeline.clock.now();
        let Some((_, sender)) = access_request::asker(self.connector, self.lead(), now) else {
            return Ok(());
        };
        let (store, connector) = (&self.lane.pipeline.store, self.lane.claim.connector);
        let open = store.open_access_request(connector, sender.id).await?;
        if open.is_none()
            && let Some(PartContent::Text { keyboard, .. }) =
                parts.last_mut().map(|part| &mut part.content)
        {
            *keyboard = Some(access_request::ask_keyboard(&self.texts().access));
        }
        Ok(())
    }

    /// Handles a tap on the button under a denial: the approvers are asked, in the same transaction that settles the tap.
    pub(super) async fn ask_for_access(&mut self, tap: &ButtonTap) -> LaneResult<HandleOutcome> {
        let texts = self.texts();
        let now = self.lane.pipeline.clock.now();
        let Some((policy, sender)) = access_request::asker(self.connector, self.lead(), now) else {
            let (outcome, text) = if self.batch.decision == Decision::DenyTap {
                (UpdateOutcome::Denied, &texts.tap_denied)
            } else {
                (UpdateOutcome::Ignored, &texts.tap_closed)
            };
            return self.settle_tap(outcome, tap, text).await;
        };
        let asking = (self.first().id, self.lead());
        let new = access_request::new_request(self.connector, (policy, sender), asking, now);
        let notice_parts = self.waiting_parts(asking.0, &new.replies.asked);
        self.count(UpdateOutcome::Denied);
        self.lane.add_change(Change::AskForAccess(Box::new(new)));
        self.finish_messages();
        let outcome = self.lane.write_changes().await?.access_request;
        let text = match outcome {
            Some(AskOutcome::Asked(_)) => None,
            Some(AskOutcome::Waiting) => Some(&texts.access.waiting),
            Some(AskOutcome::TooMany) => Some(&texts.access.too_many),
            Some(AskOutcome::Muted) | None => Some(&texts.tap_denied),
        };
        self.answer_tap(tap, text.map(String::as_str)).await;
        if let Some(message) = self.lead().message_id
            && !tap.is_inaccessible
        {
            self.remove_buttons(self.lane.key.chat, message).await;
        }
        if text.is_some() {
            return Ok(HandleOutcome::Done);
        }
        self.record_asked();
        Ok(
            match deliver::deliver_parts(self.lane, self.connector, notice_parts).await? {
                DeliveryProgress::Finished { .. } => HandleOutcome::Done,
                DeliveryProgress::Wait(wait) => HandleOutcome::Wait(wait),
            },
        )
    }

    fn record_asked(&self) {
        let pipeline = &self.lane.pipeline;
        let uid = &self.connector.connector_ref.uid;
        pipeline.store.work_notifier().notify(uid);
        let label = access_request::outcome_label(RequestPhase::Waiting);
        pipeline.metrics.count_access_request(label);
        let observations = &pipeline.observations;
        observations.record_access_request(uid, pipeline.clock.now());
        tracing::info!("a denied user has asked for access");
    }

    /// Handles a tap on a button of a request: it is decided once, together with what settles the tap.
    pub(super) async fn answer_access_request(
        &mut self,
        tap: &ButtonTap,
        (token, number): (&str, usize),
    ) -> LaneResult<HandleOutcome> {
        let texts = self.texts();
        let connector = self.lane.claim.connector;
        let store = &self.lane.pipeline.store;
        let request = store.access_request_by_token(connector, token).await?;
        let answer = Answer::from_number(number);
        let now = self.lane.pipeline.clock.now();
        let meaning = request.as_ref().map_or(AnswerMeaning::Closed, |request| {
            access_request::answer_meaning(self.connector, request, self.lead(), now)
        });
        let (request, answer) = match (meaning, request, answer) {
            (AnswerMeaning::Decides, Some(request), Some(answer)) => (request, answer),
            (AnswerMeaning::NotAsked, ..) => {
                return self
                    .settle_tap(UpdateOutcome::Ignored, tap, &texts.tap_not_asked)
                    .await;
            }
            (_, request, _) => {
                let outcome = self
                    .settle_tap(UpdateOutcome::Ignored, tap, &texts.tap_closed)
                    .await;
                // Buttons of a request that nobody knows may be another's, with made-up data.
                let is_left_over = request.is_some_and(|r| {
                    r.phase != RequestPhase::Waiting && r.notice_chat == self.lane.key.chat
                });
                if let Some(message) = self.lead().message_id
                    && is_left_over
                    && !tap.is_inaccessible
                {
                    self.remove_buttons(self.lane.key.chat, message).await;
                }
                return outcome;
            }
        };
        let (Some(policy), Some(sender)) = (&self.connector.requests, &self.lead().sender) else {
            return Ok(self.ignore());
        };
        let change = Change::DecideAccessRequest {
            id: request.id,
            verdict: answer.verdict(policy, now),
            by: access_request::approver(sender),
            message: self.first().id,
            tapped_message: self.lead().message_id,
        };
        let by = sender.id;
        self.lane.add_change(change);
        self.finish_messages();
        let is_decided = self.lane.write_changes().await?.access_request_decided;
        if is_decided {
            tracing::info!(by, "a request for access was decided");
            let uid = &self.connector.connector_ref.uid;
            self.lane.pipeline.store.work_notifier().notify(uid);
        }
        let closed = (!is_decided).then_some(texts.tap_closed.as_str());
        self.answer_tap(tap, closed).await;
        Ok(HandleOutcome::Done)
    }

    /// Tells whoever asked for access what came of it, and shows it under the notice.
    pub(super) async fn tell_access_outcome(&mut self) -> LaneResult<HandleOutcome> {
        let store = &self.lane.pipeline.store;
        let connector = self.lane.claim.connector;
        let request = match &self.lead().access_request {
            Some(token) => store.access_request_by_token(connector, token).await?,
            None => None,
        };
        // One that is told of elsewhere is none of this chat's.
        let (chat, topic) = (self.lane.key.chat, self.lane.key.topic);
        let request = request.filter(|r| (r.chat, r.topic) == (chat, topic));
        let Some(request) = request.filter(|r| r.phase != RequestPhase::Waiting) else {
            return Ok(self.ignore());
        };
        let label = access_request::outcome_label(request.phase);
        self.lane.pipeline.metrics.count_access_request(label);
        tracing::info!(result = label, "a request for access has ended");
        self.show_under_notice(&request).await;
        let now = self.lane.pipeline.clock.now();
        let sender = self.lead().sender.as_ref();
        let decided = access::decide(&self.connector.access, sender, now);
        let is_true = request.phase != RequestPhase::Allowed || decided == AccessDecision::Allowed;
        match access_request::outcome_text(&request).filter(|_| is_true) {
            Some(text) => {
                let parts = render::plain_parts(&text, None);
                self.store_and_send_reply(parts, None).await
            }
            // Nobody decided; or the grant has ended since.
            None => Ok(self.ignore()),
        }
    }

    /// The buttons go, and what was decided stands under the notice. A courtesy: what is left of them says that it is closed.
    async fn show_under_notice(&self, request: &AccessRequest) {
        let Some((chat, message)) = request.notice() else {
            return;
        };
        if let Some(copy) = request.notice_copy {
            self.remove_buttons(chat, copy).await;
        }
        let html = access_request::decided_notice(request, self.connector);
        let bot = &self.connector.bot;
        let began = Instant::now();
        let text = MessageText::Html(&html);
        let edited = bot.edit_message_text(chat, message, text).await;
        self.record_call("editMessageText", began, &edited);
        if edited.is_err_and(|error| error != TelegramError::NotModified) {
            self.remove_buttons(chat, message).await;
        }
    }
}
