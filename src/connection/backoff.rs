//! How long to wait before the next try: doubling, with jitter, up to a bound; or exactly as long as Telegram said.

use std::time::Duration;

use rand::Rng;

/// A count of failures in a row that knows how long to wait.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    failures: u32,
}

impl Backoff {
    /// Waits about `first`, then twice as long each time, never longer than `most`.
    pub const fn new(first: Duration, most: Duration) -> Self {
        Self {
            first,
            most,
            failures: 0,
        }
    }

    /// Counts a failure and says how long to wait: between half of the step and the whole of it, so that a thousand
    /// connections that failed together do not come back together.
    #[allow(
        clippy::should_implement_trait,
        reason = "a wait is not an item: it never ends"
    )]
    pub fn next(&mut self) -> Duration {
        let step = self
            .first
            .saturating_mul(2_u32.saturating_pow(self.failures.min(31)))
            .min(self.most);
        self.failures = self.failures.saturating_add(1);
        step.mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// It worked.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

/// `about`, give or take a tenth: for things done at intervals.
pub fn jittered(about: Duration) -> Duration {
    about.mul_f64(rand::rng().random_range(0.9..=1.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_its_bound_and_starts_over_after_a_success() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
        for step in [1, 2, 4, 8, 16, 30, 30] {
            let wait = backoff.next();
            let whole = Duration::from_secs(step);
            assert!(wait >= whole / 2 && wait <= whole, "{wait:?} of {whole:?}");
        }
        backoff.reset();
        assert!(backoff.next() <= Duration::from_secs(1));
        for _ in 0..1000 {
            assert!(backoff.next() <= Duration::from_secs(30));
        }
    }
}
