//! What may be asked in a day: a question is counted when it is asked, what it cost when it is answered, and who may ask no more is told so once a
//! day.

use super::{BatchHandler, HandleOutcome};
use crate::calendar::Day;
use crate::observation::{DayLimitFact, UsageFact};
use crate::pipeline::claim::lane_worker::LaneResult;
use crate::pipeline::decide::canned_reply::CannedReply;
use crate::pipeline::work::ask::{AnswerEnd, AskOutcome};
use crate::registry::DayLimits;
use crate::store::{Change, DecisionKind, LimitedQuestion, Notice, NoticeKind, ReachedLimit};
use crate::telemetry::outcomes::UpdateOutcome;

impl BatchHandler<'_> {
    /// The limit that lets nothing more be asked today, before anything is done for the question. What follows from an approval is a part of
    /// the question that asked for it.
    pub(super) async fn reached_day_limit(&self) -> LaneResult<Option<ReachedLimit>> {
        match self.counted_question() {
            Some(question) => self.lane.pipeline.store.reached_limit(&question).await,
            None => Ok(None),
        }
    }

    /// Counts the question that is about to be asked, however often it is asked once; or says which limit it is too late for.
    pub(super) async fn count_question(&self) -> LaneResult<Option<ReachedLimit>> {
        match self.counted_question() {
            Some(question) => self.lane.pipeline.store.count_question(&question).await,
            None => Ok(None),
        }
    }

    fn counted_question(&self) -> Option<LimitedQuestion> {
        let decided = self.decided();
        let is_approval = decided.is_some_and(|d| d.kind == DecisionKind::Approval);
        self.limited_question().filter(|_| !is_approval)
    }

    /// The question as the limits of this day see it; `None` where there are none.
    fn limited_question(&self) -> Option<LimitedQuestion> {
        let limits = self.connector.day_limits.as_ref()?;
        Some(LimitedQuestion {
            connector: self.lane.claim.connector,
            user: self.lead().sender.as_ref().map(|sender| sender.id),
            day: self.today(limits).number,
            message: self.first().id,
            user_limit: limits.user,
            connector_limit: limits.connector,
        })
    }

    fn today(&self, limits: &DayLimits) -> Day {
        Day::of(self.lane.pipeline.clock.now(), &limits.zone)
    }

    /// The user is told, once a day, when it goes on; the message is settled.
    pub(super) async fn refuse_for_today(
        &mut self,
        reached: ReachedLimit,
    ) -> LaneResult<HandleOutcome> {
        let Some(limits) = &self.connector.day_limits else {
            return Ok(self.ignore());
        };
        let day = self.today(limits);
        let pipeline = &self.lane.pipeline;
        let messages = self.messages.len();
        pipeline.metrics.count_limited(reached.label(), messages);
        self.count(UpdateOutcome::Ignored);
        let fact = DayLimitFact {
            generation: self.connector.generation,
            until: day.ends,
            reached: vec![reached],
        };
        let uid = &self.connector.connector_ref.uid;
        pipeline.observations.record_day_limit(uid, fact);
        let reply = CannedReply::DayLimitReached {
            of_all: reached.is_of_all(),
            until: day.end_in(&limits.zone),
        };
        let user = self.lead().sender.as_ref().map(|sender| sender.id);
        let notice = Notice {
            kind: NoticeKind::DayLimit(user),
            since: day.starts,
        };
        let parts = self.canned_parts(&reply);
        self.store_and_send_reply(parts, Some(notice)).await
    }

    /// Notes what an answer cost, to be written with it.
    pub(super) fn count_tokens<I>(&mut self, outcome: &AskOutcome<I>) {
        let Some(limits) = self.connector.day_limits.as_ref() else {
            return;
        };
        let (AskOutcome::Answered(answer) | AskOutcome::Interrupted(_, answer)) = outcome else {
            return;
        };
        let is_whole =
            matches!(outcome, AskOutcome::Answered(_)) && matches!(answer.end, AnswerEnd::Complete);
        if limits.counts_tokens() && (is_whole || answer.usage.is_some()) {
            let fact = UsageFact {
                generation: self.connector.generation,
                is_reported: answer.usage.is_some(),
            };
            let uid = &self.connector.connector_ref.uid;
            self.lane.pipeline.observations.record_usage(uid, fact);
        }
        let usage = answer.usage.unwrap_or_default();
        let tokens = usage.input.saturating_add(usage.output);
        let count = self.limited_question().and_then(|q| q.token_count(tokens));
        if let Some(count) = count {
            self.lane.add_change(Change::CountTokens(Box::new(count)));
        }
    }
}
