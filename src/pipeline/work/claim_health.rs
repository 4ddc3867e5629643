//! Whether work can be claimed, for `/readyz`: a store can take writes and still refuse every claim, and then messages are accepted but not answered.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::store::StoreError;
use crate::telemetry::{Readiness, ReadinessCheck};

/// Fails its readiness check when every claim has failed for longer than the grace period.
#[derive(Debug)]
pub(super) struct ClaimHealth {
    readiness: Arc<Readiness>,
    grace: Duration,
    failing_since: Option<Instant>,
}

impl ClaimHealth {
    /// The check passes until claims fail.
    pub(super) fn new(readiness: Arc<Readiness>, grace: Duration) -> Self {
        readiness.pass(ReadinessCheck::WorkClaims);
        Self {
            readiness,
            grace,
            failing_since: None,
        }
    }

    /// A claim succeeded, or there is nothing to be claimed any more.
    pub(super) fn on_success(&mut self) {
        if self.failing_since.take().is_some() {
            self.readiness.pass(ReadinessCheck::WorkClaims);
        }
    }

    /// A claim failed at `now`.
    pub(super) fn on_failure(&mut self, now: Instant, error: &StoreError) {
        let since = *self.failing_since.get_or_insert(now);
        let seconds = now.duration_since(since).as_secs();
        if now.duration_since(since) >= self.grace {
            self.readiness.fail(
                ReadinessCheck::WorkClaims,
                format!("waiting messages cannot be claimed since {seconds} s: {error}"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_fails_after_the_grace_period_and_recovers() {
        let readiness = Arc::new(Readiness::default());
        let is_ready = || readiness.is_passing(ReadinessCheck::WorkClaims);
        let mut health = ClaimHealth::new(readiness.clone(), Duration::from_secs(5));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let error = StoreError::Unavailable("no claims".into());
        assert!(is_ready());
        health.on_failure(at(0), &error);
        health.on_failure(at(4), &error);
        assert!(is_ready(), "a short failure is tolerated");
        health.on_success();
        health.on_failure(at(6), &error);
        assert!(is_ready(), "a success begins anew");
        health.on_failure(at(11), &error);
        assert!(!is_ready());
        health.on_success();
        assert!(is_ready());
    }
}
