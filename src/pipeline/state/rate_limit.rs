//! `limits.messagesPerMinute`: how much one user may ask, counted by the messages' own dates, so that a backlog after an outage
//! is not held against its users.

use parking_lot::Mutex;
use std::collections::HashMap;

use jiff::Timestamp;

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

impl RateDecision {
    /// Of the message that is the `nth` of its minute, from 1.
    pub(crate) fn of(nth: u32, per_minute: u32) -> Self {
        match nth {
            n if n <= per_minute => Self::Allowed,
            n if n == per_minute.saturating_add(1) => Self::FirstRefused,
            _ => Self::Refused,
        }
    }
}

/// Users that are remembered; beyond it those of past minutes are forgotten.
const MAX_TRACKED_USERS: usize = 10_000;

/// Counts per connector (by its number in the store), user and calendar minute.
#[derive(Debug, Default)]
pub(crate) struct UserRateLimiter(Mutex<HashMap<(i64, i64), (i64, u32)>>);

impl UserRateLimiter {
    /// Whether another message would be within the limit, besides `pending` that are still to be counted.
    pub(crate) fn has_capacity(
        &self,
        connector: i64,
        user: i64,
        date: Timestamp,
        per_minute: u32,
        pending: u32,
    ) -> bool {
        let minute = date.as_second().div_euclid(60);
        let counts = self.0.lock();
        let counted = counts.get(&(connector, user)).filter(|(m, _)| *m == minute);
        counted
            .map_or(0, |(_, count)| *count)
            .saturating_add(pending)
            < per_minute
    }

    /// Counts a message.
    pub(crate) fn count(
        &self,
        connector: i64,
        user: i64,
        date: Timestamp,
        per_minute: u32,
    ) -> RateDecision {
        let minute = date.as_second().div_euclid(60);
        let mut counts = self.0.lock();
        if counts.len() >= MAX_TRACKED_USERS {
            counts.retain(|_, (m, _)| *m >= minute - 1);
        }
        let (counted, count) = counts.entry((connector, user)).or_insert((minute, 0));
        if *counted != minute {
            (*counted, *count) = (minute, 0);
        }
        *count = count.saturating_add(1);
        RateDecision::of(*count, per_minute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_over_the_limit_is_notified_once_per_minute() {
        let rate_limiter = UserRateLimiter::default();
        let at = |second| Timestamp::from_second(second).expect("in range");
        let count = |user, second| rate_limiter.count(1, user, at(second), 2);
        assert_eq!(count(7, 60), RateDecision::Allowed);
        assert_eq!(count(7, 61), RateDecision::Allowed);
        assert_eq!(count(7, 62), RateDecision::FirstRefused);
        assert_eq!(count(7, 119), RateDecision::Refused);
        assert_eq!(count(8, 119), RateDecision::Allowed);
        assert_eq!(count(7, 120), RateDecision::Allowed);
    }
}
