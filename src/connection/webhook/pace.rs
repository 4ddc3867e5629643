//! At what pace refusals go out: a flood of forged requests must not take the processor from Telegram's own.
//!
//! A refusal is cheap, but its connection is not: whoever asks as fast as it is refused can keep every core busy with nothing. Beyond
//! a pace that no honest sender reaches, refusals therefore wait their turn, and so does their sender. What waits is bounded.

use std::num::NonZeroU32;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::Semaphore;

/// Refusals a second: with their connections a few hundredths of one core.
const A_SECOND: NonZeroU32 = NonZeroU32::new(500).expect("not zero");
/// Refusals that may wait at once; one more goes out at once and ends its connection.
const WAITING: usize = 1024;

/// The pace of one server's refusals.
pub(super) struct Pace {
    refusals: DefaultDirectRateLimiter,
    waiting: Semaphore,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            refusals: RateLimiter::direct(Quota::per_second(A_SECOND)),
            waiting: Semaphore::new(WAITING),
        }
    }

    /// Waits until a refusal may go out.
    pub(super) async fn turn(&self) {
        if let Ok(_one_of_few) = self.waiting.try_acquire() {
            self.refusals.until_ready().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[tokio::test]
    async fn refusals_within_the_pace_go_out_at_once_and_those_beyond_it_wait() {
        let began = Instant::now();
        let pace = Pace::new();
        for _ in 0..A_SECOND.get() {
            pace.turn().await;
        }
        let within = began.elapsed();
        for _ in 0..A_SECOND.get() / 5 {
            pace.turn().await;
        }
        let beyond = began.elapsed();
        assert!(within < Duration::from_millis(1500), "{within:?}");
        assert!(beyond >= Duration::from_millis(190), "{beyond:?}");
    }

    #[tokio::test]
    async fn no_more_wait_than_there_is_room_for() {
        let pace = Pace::new();
        let everybody = u32::try_from(WAITING).expect("few");
        let _all = pace.waiting.acquire_many(everybody).await.expect("open");
        for _ in 0..10 * A_SECOND.get() {
            pace.turn().await;
        }
        assert!(pace.refusals.check().is_ok(), "nobody took a turn");
    }
}
