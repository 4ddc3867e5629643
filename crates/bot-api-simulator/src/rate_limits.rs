//! Flood limits: thirty messages a second per bot, about one a second per chat with short bursts, twenty a minute per group.
//! Edits and drafts count like messages: Telegram says nothing of them, and who stays within this is on the safe side.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// A burst of this many passes at once in a private chat.
const BURST: f64 = 5.0;
/// Messages a group takes within a minute.
const GROUP_MESSAGES: usize = 20;
const MINUTE: Duration = Duration::from_mins(1);

/// Messages a bot may send in a second, to all chats together.
const BOT_MESSAGES: usize = 30;

/// What a bot has sent lately.
#[derive(Debug, Default)]
pub(super) struct RateLimiter {
    sent: VecDeque<Instant>,
    chats: HashMap<i64, Bucket>,
}

impl RateLimiter {
    /// Takes one message to a chat, or says how many seconds to wait.
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

/// What one chat has taken lately.
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

    /// Takes one message, or says how many seconds to wait.
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
    fn a_burst_passes_and_then_one_a_second() {
        let start = Instant::now();
        let mut bucket = Bucket::new(start);
        for _ in 0..5 {
            assert_eq!(bucket.take(false, start), Ok(()));
        }
        assert_eq!(bucket.take(false, start), Err(1));
        assert_eq!(bucket.take(false, start + Duration::from_secs(1)), Ok(()));
    }

    #[test]
    fn a_bot_sends_thirty_a_second_to_all_chats_together() {
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
    fn a_group_takes_twenty_a_minute() {
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
