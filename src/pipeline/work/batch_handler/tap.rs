//! A tap on a button: what it means is decided, written down, and said to who tapped, once.

use std::time::Instant;

use super::{BatchHandler, HandleOutcome};
use crate::pipeline::claim::lane_worker::LaneResult;
use crate::pipeline::decide::decision::Decision;
use crate::pipeline::decide::user_decision::{self, TapMeaning, TapPlace};
use crate::pipeline::decide::{access_request, buttons};
use crate::pipeline::message::incoming_update::ButtonTap;
use crate::pipeline::state::rate_limit::RateDecision;
use crate::store::{DecidedHow, TakenDecision, UserDecision};
use crate::telemetry::outcomes::UpdateOutcome;

impl BatchHandler<'_> {
    /// Handles a tap. Who taps too fast gets nothing, as who writes too fast.
    pub(super) async fn handle_tap(&mut self, tap: &ButtonTap) -> LaneResult<HandleOutcome> {
        let texts = self.texts();
        match self.check_rate_limit().await? {
            RateDecision::Allowed => self.handle_allowed_tap(tap).await,
            RateDecision::FirstRefused => {
                self.settle_tap(UpdateOutcome::Ignored, tap, &texts.rate_limited)
                    .await
            }
            RateDecision::Refused => Ok(self.ignore()),
        }
    }

    async fn handle_allowed_tap(&mut self, tap: &ButtonTap) -> LaneResult<HandleOutcome> {
        let texts = self.texts();
        let data = tap.data.as_deref().unwrap_or_default();
        if data == access_request::ASK_DATA {
            return self.ask_for_access(tap).await;
        }
        if let Some(named) = access_request::parse_data(data) {
            return self.answer_access_request(tap, named).await;
        }
        let named = buttons::parse_data(data);
        let (decision, option) = match named {
            Some((id, option)) => {
                let connector = self.lane.claim.connector;
                let store = &self.lane.pipeline.store;
                (store.user_decision(connector, id).await?, option)
            }
            None => (None, 0),
        };
        let meaning = match &decision {
            Some(decision) => self.tap_meaning(decision, option),
            None if self.batch.decision == Decision::DenyTap => TapMeaning::Denied,
            None => TapMeaning::Closed,
        };
        match (meaning, decision) {
            (TapMeaning::Takes, Some(decision)) => self.take_by_tap(tap, &decision, option).await,
            (TapMeaning::Denied, _) => {
                self.settle_tap(UpdateOutcome::Denied, tap, &texts.tap_denied)
                    .await
            }
            (TapMeaning::NotAsked, _) => {
                self.settle_tap(UpdateOutcome::Ignored, tap, &texts.tap_not_asked)
                    .await
            }
            (TapMeaning::Takes | TapMeaning::Closed, decision) => {
                let outcome = self
                    .settle_tap(UpdateOutcome::Ignored, tap, &texts.tap_closed)
                    .await;
                // In a group nobody takes others' buttons away by made-up data.
                let is_private = self.lead().is_private();
                let is_left_over = decision.map_or(is_private, |d| d.taken.is_some());
                if let Some(message) = self.lead().message_id
                    && is_left_over
                    && !tap.is_inaccessible
                {
                    self.remove_buttons(self.lane.key.chat, message).await;
                }
                outcome
            }
        }
    }

    /// What a tap on a button of this decision does.
    fn tap_meaning(&self, decision: &UserDecision, option: usize) -> TapMeaning {
        let lead = self.lead();
        let session = self.lane.session.as_ref();
        let place = TapPlace {
            lane: self.lane.claim.lane,
            session: session.map_or(0, |session| session.number),
            message_id: lead.message_id,
            sender: lead.sender.as_ref(),
            now: self.lane.pipeline.clock.now(),
        };
        user_decision::tap_meaning(self.connector, decision, option, place)
    }

    /// Takes a decision: what follows from it comes as a message of its own.
    async fn take_by_tap(
        &mut self,
        tap: &ButtonTap,
        decision: &UserDecision,
        option: usize,
    ) -> LaneResult<HandleOutcome> {
        let lead = self.lead();
        let taken = TakenDecision {
            how: DecidedHow::Tap,
            option: Some(option),
            by: lead.sender.as_ref().map(user_decision::deciding_user),
            tapped_message: lead.message_id,
        };
        let is_taken = self.take_decision(decision, taken).await?;
        let closed = &self.texts().tap_closed;
        self.answer_tap(tap, (!is_taken).then_some(closed.as_str()))
            .await;
        Ok(HandleOutcome::Done)
    }

    /// Ends a tap that does nothing but be answered. It is written down first: after a kill in between nobody is answered, rather than twice.
    pub(super) async fn settle_tap(
        &mut self,
        outcome: UpdateOutcome,
        tap: &ButtonTap,
        text: &str,
    ) -> LaneResult<HandleOutcome> {
        self.count(outcome);
        self.finish_messages();
        self.lane.write_changes().await?;
        self.answer_tap(tap, Some(text)).await;
        Ok(HandleOutcome::Done)
    }

    /// Ends the sign of waiting on the button, and shows who tapped it a text for a moment. What the tap does is written down before, so that
    /// it is answered at most once.
    pub(super) async fn answer_tap(&self, tap: &ButtonTap, text: Option<&str>) {
        let began = Instant::now();
        let bot = &self.connector.bot;
        let answered = bot.answer_callback_query(&tap.query_id, text).await;
        // Where it fails, nobody waits for it any more, or it is gone with this one call: the tap counts all the same.
        self.record_call("answerCallbackQuery", began, &answered);
    }
}
