//! A tap on a button: what it means is decided, written down, and said to who tapped, once.

use std::time::Instant;

use super::{BatchHandler, HandleOutcome};
use crate::pipeline::claim::lane_worker::LaneResult;
use crate::pipeline::decide::decision::Decision;
use crate::pipeline::message::incoming_update::ButtonTap;
use crate::pipeline::state::rate_limit::RateDecision;
use crate::telegram::TelegramError;
use crate::telemetry::outcomes::UpdateOutcome;

/// What a tap means.
enum TapMeaning {
    /// Nothing, or nothing any more.
    Closed,
}

impl BatchHandler<'_> {
    /// Handles a tap. Who taps too fast gets nothing, as who writes too fast.
    pub(super) async fn handle_tap(&mut self, tap: &ButtonTap) -> LaneResult<HandleOutcome> {
        let texts = self.texts();
        match self.check_rate_limit().await? {
            RateDecision::Allowed if self.batch.decision == Decision::DenyTap => {
                self.settle_tap(UpdateOutcome::Denied, tap, &texts.tap_denied)
                    .await
            }
            RateDecision::Allowed => match self.tap_meaning(tap) {
                TapMeaning::Closed => {
                    self.settle_tap(UpdateOutcome::Ignored, tap, &texts.tap_closed)
                        .await
                }
            },
            RateDecision::FirstRefused => {
                self.settle_tap(UpdateOutcome::Ignored, tap, &texts.rate_limited)
                    .await
            }
            RateDecision::Refused => Ok(self.ignore()),
        }
    }

    /// What the tap of somebody who may write means.
    #[expect(clippy::unused_self, reason = "no button is offered yet")]
    fn tap_meaning(&self, _tap: &ButtonTap) -> TapMeaning {
        TapMeaning::Closed
    }

    /// Ends a tap that does nothing but be answered. It is written down first: after a kill in between nobody is answered, rather than twice.
    async fn settle_tap(
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
    async fn answer_tap(&self, tap: &ButtonTap, text: Option<&str>) {
        let began = Instant::now();
        let bot = &self.connector.bot;
        let answered = bot.answer_callback_query(&tap.query_id, text).await;
        let label = answered
            .as_ref()
            .map_or_else(TelegramError::label, |()| "ok");
        let metrics = &self.lane.pipeline.metrics;
        metrics.record_telegram_call("answerCallbackQuery", label, began.elapsed());
        if let Err(error) = answered {
            // Nobody waits for it any more, or it is gone with this one call: the tap counts all the same.
            tracing::debug!(%error, "a tap was not answered");
        }
    }
}
