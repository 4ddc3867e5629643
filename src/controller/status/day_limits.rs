//! `WithinLimits`: what the limits of a day let happen. Nobody is named, and the condition changes at most twice a day for each limit: when it
//! refuses the first question, and when the day ends.

use std::time::Duration;

use super::condition_values::{ConditionValue, FALSE, TRUE, condition_value};
use super::find::find_condition;
use super::inputs::StatusInputs;
use crate::api::conditions::{ConditionType, Reason};
use crate::bounded_text::bounded_list;
use crate::calendar::Day;
use crate::store::ReachedLimit;

/// Between the end of a day and the look at what is of it still.
const AFTER_MIDNIGHT: Duration = Duration::from_secs(1);

impl StatusInputs<'_> {
    /// The condition, where a limit of a day is set.
    pub(super) fn within_limits(&self) -> Option<ConditionValue> {
        let limits = self.day_limits?;
        if let Some(reached) = self.day_limit_reached() {
            return Some(reached);
        }
        if let Some(zone) = self.unknown_time_zone {
            let message = format!(
                "spec.limits.timeZone: there is no time zone {zone:?}; days end at midnight UTC until it is one of the IANA database, such as Europe/Rome"
            );
            return Some(condition_value(FALSE, Reason::TimeZoneUnknown, message));
        }
        if limits.counts_tokens() && self.is_usage_missing() {
            let message = "the assistant reports no token usage, so that tokensPerDay counts nothing: have it report usage, or limit messagesPerDay";
            return Some(condition_value(FALSE, Reason::UsageNotReported, message));
        }
        Some(condition_value(
            TRUE,
            Reason::NotReached,
            "no limit of the day has refused a question",
        ))
    }

    /// In how long the condition changes although nothing happens.
    pub(crate) fn limits_end_in(&self) -> Option<Duration> {
        self.day_limit_reached()?;
        let day = Day::of(self.now, &self.day_limits?.zone);
        let left = Duration::try_from(day.ends.duration_since(self.now)).unwrap_or_default();
        Some(left + AFTER_MIDNIGHT)
    }

    /// `DayLimitReached`, as long as the day lasts in which a question was refused. After a restart nothing is known of that but the condition
    /// itself, which holds until its day ends.
    fn day_limit_reached(&self) -> Option<ConditionValue> {
        let limits = self.day_limits?;
        let seen = self.facts.day_limits.as_ref();
        let seen = seen.filter(|fact| fact.generation == self.generation);
        if let Some(fact) = seen {
            if fact.until <= self.now {
                return None;
            }
            let until = fact.until;
            let reached: Vec<String> = fact
                .reached
                .iter()
                .map(|limit| limit_message(*limit))
                .collect();
            let message = format!("{}, until {until}", bounded_list(&reached, "; "));
            return Some(condition_value(FALSE, Reason::DayLimitReached, message));
        }
        let before = find_condition(self.previous?, ConditionType::WithinLimits)?;
        let day = |at| Day::of(at, &limits.zone).number;
        let holds = before.reason == Reason::DayLimitReached
            && before.observed_generation == Some(self.generation)
            && day(before.last_transition_time.0) == day(self.now);
        holds
            .then(|| self.previous_value(ConditionType::WithinLimits))
            .flatten()
    }

    /// Whether answers came, and none said what it cost.
    fn is_usage_missing(&self) -> bool {
        if let Some(usage) = self.facts.usage {
            return usage.generation == self.generation && !usage.is_reported;
        }
        let before = self
            .previous
            .and_then(|p| find_condition(p, ConditionType::WithinLimits));
        before.is_some_and(|before| {
            before.reason == Reason::UsageNotReported
                && before.observed_generation == Some(self.generation)
        })
    }
}

/// What follows from a limit that is reached.
fn limit_message(limit: ReachedLimit) -> String {
    let field = limit.field();
    if limit.is_of_all() {
        format!("{field} is reached: nobody is answered")
    } else {
        format!("{field} is reached by users, who are not answered")
    }
}
