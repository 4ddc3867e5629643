//! `limits.messagesPerMinute`: how much one user may ask, counted by the messages' own dates, so that a backlog after an outage
//! is not held against its users.

use parking_lot::Mutex;
use std::collections::HashMap;

use jiff::Timestamp;

use crate::identity::BotId;

/// Whether a message is within its user's limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RateDecision {
    /// It is.
    Allowed,
    /// It is the first beyond it: the user is told.
    FirstRefused,
    /// The user has been told.
    Refused,
}

/// Users that are remembered; beyond it those of past minutes are forgotten.
const MAX_TRACKED_USERS: usize = 10_000;

/// Counts per bot, user and calendar minute.
#[derive(Debug, Default)]
pub(crate) struct UserRateLimiter(Mutex<HashMap<(BotId, i64), (i64, u32)>>);

impl UserRateLimiter {
    /// Whether another message would be within the limit, besides `pending` that are still to be counted.
    pub(crate) fn has_capacity(
        &self,
        bot: BotId,
        user: i64,
        date: Timestamp,
        per_minute: u32,
        pending: u32,
    ) -> bool {
        let minute = date.as_second().div_euclid(60);
        let counts = self.0.lock();
        let counted = counts.get(&(bot, user)).filter(|(m, _)| *m == minute);
        counted
            .map_or(0, |(_, count)| *count)
            .saturating_add(pending)
            < per_minute
    }

    /// Counts a message.
    pub(crate) fn count(
        &self,
        bot: BotId,
        user: i64,
        date: Timestamp,
        per_minute: u32,
    ) -> RateDecision {
        let minute = date.as_second().div_euclid(60);
        let mut counts = self.0.lock();
        if counts.len() >= MAX_TRACKED_USERS {
            counts.retain(|_, (m, _)| *m >= minute - 1);
        }
        let (counted, count) = counts.entry((bot, user)).or_insert((minute, 0));
        if *counted != minute {
            (*counted, *count) = (minute, 0);
        }
        *count = count.saturating_add(1);
        match *count {
            n if n <= per_minute => RateDecision::Allowed,
            n if n == per_minute.saturating_add(1) => RateDecision::FirstRefused,
            _ => RateDecision::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_over_the_limit_is_notified_once_per_minute() {
        let rate_limiter = UserRateLimiter::default();
        let at = |second| Timestamp::from_second(second).expect("in range");
        let count = |user, second| rate_limiter.count(BotId(1), user, at(second), 2);
        assert_eq!(count(7, 60), RateDecision::Allowed);
        assert_eq!(count(7, 61), RateDecision::Allowed);
        assert_eq!(count(7, 62), RateDecision::FirstRefused);
        assert_eq!(count(7, 119), RateDecision::Refused);
        assert_eq!(count(8, 119), RateDecision::Allowed);
        assert_eq!(count(7, 120), RateDecision::Allowed);
    }
}
