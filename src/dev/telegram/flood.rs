//! Flood limits: about one message a second per chat with short bursts, twenty a minute per group.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A burst of this many passes at once in a private chat.
const BURST: f64 = 5.0;
/// Messages a group takes within a minute.
const GROUP_MESSAGES: usize = 20;
const MINUTE: Duration = Duration::from_mins(1);

/// What one chat has taken lately.
#[derive(Debug)]
pub(super) struct Bucket {
    tokens: f64,
    filled: Instant,
    sent: VecDeque<Instant>,
}

impl Bucket {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            tokens: BURST,
            filled: now,
            sent: VecDeque::new(),
        }
    }

    /// Takes one message, or says how many seconds to wait.
    pub(super) fn take(&mut self, is_group: bool, now: Instant) -> Result<(), u64> {
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
