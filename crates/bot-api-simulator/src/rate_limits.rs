//! Rate limits: thirty messages a second per bot, about one a second per chat with short bursts, twenty a minute per group.
//! Edits and drafts count like messages: Telegram does not document their limit, and a bot that stays within this one is safe.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// Burst of a private chat, in messages.
const BURST: f64 = 5.0;
/// Messages per minute to a group.
const GROUP_MESSAGES: usize = 20;
const MINUTE: Duration = Duration::from_mins(1);

/// Messages per second of a bot, to all chats together.
const BOT_MESSAGES: usize = 30;

/// Recent messages of a bot.
#[derive(Debug, Default)]
pub(super) struct RateLimiter {
    sent: VecDeque<Instant>,
    chats: HashMap<i64, Bucket>,
}

impl RateLimiter {
    /// Admits one message to a chat, or returns the seconds to wait.
    pub(super) fn take(&mut self, chat: i64, is_group: bool, now: Instant) -> Result<(), u64> {
        const SECOND: Duration = Duration::from_secs(1);
        let over = |first: &Instant| now.saturating_duration_since(*first) >= SECOND;
        while self.sent.front().is_some_and(over) {
            self.sent.pop_front();
        }
        if self.sent.len() >= BOT_MESSAGES {
            return Err(1);
        }
        let bucket = self.chats.entry(chat).or_insert_with(|| Bucket::new(now));
        bucket.take(is_group, now)?;
        self.sent.push_back(now);
        Ok(())
    }
}

/// Recent messages to one chat.
#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled: Instant,
    sent: VecDeque<Instant>,
}

impl Bucket {
    fn new(now: Instant) -> Self {
        Self {
            tokens: BURST,
            filled: now,
            sent: VecDeque::new(),
        }
    }

    /// Admits one message, or returns the seconds to wait.
    fn take(&mut self, is_group: bool, now: Instant) -> Result<(), u64> {
        let since = now.saturating_duration_since(self.filled);
        self.tokens = (self.tokens + since.as_secs_f64()).min(BURST);
        self.filled = now;
        if is_group {
            while self
                .sent
                .front()
                .is_some_and(|first| now.saturating_duration_since(*first) >= MINUTE)
            {
                self.sent.pop_front();
            }
            if let Some(first) = self.sent.front()
                && self.sent.len() >= GROUP_MESSAGES
            {
                let wait = MINUTE.saturating_sub(now.saturating_duration_since(*first));
                return Err(wait.as_secs() + 1);
            }
        }
        if self.tokens < 1.0 {
            return Err(1);
        }
        self.tokens -= 1.0;
        if is_group {
            self.sent.push_back(now);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_chat_admits_a_burst_then_one_per_second() {
        let start = Instant::now();
        let mut bucket = Bucket::new(start);
        for _ in 0..5 {
            assert_eq!(bucket.take(false, start), Ok(()));
        }
        assert_eq!(bucket.take(false, start), Err(1));
        assert_eq!(bucket.take(false, start + Duration::from_secs(1)), Ok(()));
    }

    #[test]
    fn bot_is_limited_to_thirty_messages_per_second() {
        let start = Instant::now();
        let mut limiter = RateLimiter::default();
        for chat in 0..30 {
            assert_eq!(limiter.take(chat, false, start), Ok(()));
        }
        let half = start + Duration::from_millis(500);
        assert_eq!(limiter.take(99, false, half), Err(1));
        assert_eq!(
            limiter.take(99, false, start + Duration::from_secs(1)),
            Ok(())
        );
    }

    #[test]
    fn group_admits_twenty_messages_per_minute() {
        let start = Instant::now();
        let mut bucket = Bucket::new(start);
        for second in 0..20 {
            let now = start + Duration::from_secs(second);
            assert_eq!(bucket.take(true, now), Ok(()));
        }
        assert_eq!(bucket.take(true, start + Duration::from_secs(30)), Err(31));
        assert_eq!(bucket.take(true, start + Duration::from_secs(61)), Ok(()));
    }
}
