//! Rate limit of refused webhook requests, so that a flood of forged requests does not take the CPU from Telegram's own.
//!
//! A refusal is cheap, but its connection is not: a client that repeats a refused request at once can keep every core busy. Above a rate
//! that no honest client reaches, refusals are delayed, and so is their client. The number of delayed refusals is bounded.

use std::num::NonZeroU32;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::Semaphore;

/// Refusals per second; with their connections they cost a few hundredths of one core.
const REFUSALS_PER_SECOND: NonZeroU32 = NonZeroU32::new(500).expect("not zero");
/// Refusals that may wait at the same time; one more is sent at once and ends its connection.
const MAX_WAITING: usize = 1024;

/// The rate limiter of one server.
pub(super) struct RefusalLimiter {
    refusals: DefaultDirectRateLimiter,
    waiting: Semaphore,
}

impl RefusalLimiter {
    pub(super) fn new() -> Self {
        Self {
            refusals: RateLimiter::direct(Quota::per_second(REFUSALS_PER_SECOND)),
            waiting: Semaphore::new(MAX_WAITING),
        }
    }

    /// Waits until a refusal may go out.
    pub(super) async fn wait(&self) {
        if let Ok(_permit) = self.waiting.try_acquire() {
            self.refusals.until_ready().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[tokio::test]
    async fn refusals_beyond_the_rate_wait() {
        let began = Instant::now();
        let limiter = RefusalLimiter::new();
        for _ in 0..REFUSALS_PER_SECOND.get() {
            limiter.wait().await;
        }
        let within = began.elapsed();
        for _ in 0..REFUSALS_PER_SECOND.get() / 5 {
            limiter.wait().await;
        }
        let beyond = began.elapsed();
        assert!(within < Duration::from_millis(1500), "{within:?}");
        assert!(beyond >= Duration::from_millis(190), "{beyond:?}");
    }

    #[tokio::test]
    async fn no_more_wait_than_there_is_room_for() {
        let limiter = RefusalLimiter::new();
        let all_permits = u32::try_from(MAX_WAITING).expect("few");
        let _permits = limiter
            .waiting
            .acquire_many(all_permits)
            .await
            .expect("open");
        for _ in 0..10 * REFUSALS_PER_SECOND.get() {
            limiter.wait().await;
        }
        assert!(limiter.refusals.check().is_ok(), "nobody took a turn");
    }
}
