//! `limits.messagesPerMinute`: how much one user may ask, counted by the messages' own dates, so that a backlog after an outage
//! is not held against its users.

use std::collections::HashMap;
use std::sync::Mutex;

use jiff::Timestamp;

use crate::identity::BotId;

/// Whether a message is within its user's limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rate {
    /// It is.
    Within,
    /// It is the first beyond it: the user is told.
    FirstBeyond,
    /// The user has been told.
    Beyond,
}

/// Users that are remembered; beyond it those of past minutes are forgotten.
const REMEMBERED: usize = 10_000;

/// Counts per bot, user and calendar minute.
#[derive(Debug, Default)]
pub(super) struct Rates(Mutex<HashMap<(BotId, i64), (i64, u32)>>);

impl Rates {
    /// Whether another message would be within the limit, besides `besides` that are still to be counted.
    pub(super) fn has_room(
        &self,
        bot: BotId,
        user: i64,
        date: Timestamp,
        per_minute: u32,
        besides: u32,
    ) -> bool {
        let minute = date.as_second().div_euclid(60);
        let counts = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let counted = counts.get(&(bot, user)).filter(|(m, _)| *m == minute);
        counted
            .map_or(0, |(_, count)| *count)
            .saturating_add(besides)
            < per_minute
    }

    /// Counts a message.
    pub(super) fn count(&self, bot: BotId, user: i64, date: Timestamp, per_minute: u32) -> Rate {
        let minute = date.as_second().div_euclid(60);
        let mut counts = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if counts.len() >= REMEMBERED {
            counts.retain(|_, (m, _)| *m >= minute - 1);
        }
        let (counted, count) = counts.entry((bot, user)).or_insert((minute, 0));
        if *counted != minute {
            (*counted, *count) = (minute, 0);
        }
        *count = count.saturating_add(1);
        match *count {
            n if n <= per_minute => Rate::Within,
            n if n == per_minute.saturating_add(1) => Rate::FirstBeyond,
            _ => Rate::Beyond,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_told_once_a_minute_and_others_are_not_touched() {
        let rates = Rates::default();
        let at = |second| Timestamp::from_second(second).expect("in range");
        let count = |user, second| rates.count(BotId(1), user, at(second), 2);
        assert_eq!(count(7, 60), Rate::Within);
        assert_eq!(count(7, 61), Rate::Within);
        assert_eq!(count(7, 62), Rate::FirstBeyond);
        assert_eq!(count(7, 119), Rate::Beyond);
        assert_eq!(count(8, 119), Rate::Within);
        assert_eq!(count(7, 120), Rate::Within);
    }
}
