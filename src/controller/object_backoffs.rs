//! The back-off of each object that fails to reconcile, for both controllers: one that cannot be reconciled does not slow the others.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

use super::error::RETRY_BACKOFF;
use crate::backoff::Backoff;

/// Failures in a row by the object's uid. Objects that reconcile have no entry.
#[derive(Debug, Default)]
pub(super) struct ObjectBackoffs(Mutex<HashMap<String, Backoff>>);

impl ObjectBackoffs {
    /// Counts a failure; how long to wait before the next try.
    pub(super) fn next_delay(&self, uid: &str) -> Duration {
        let (initial, max) = RETRY_BACKOFF;
        self.0
            .lock()
            .entry(uid.to_owned())
            .or_insert_with(|| Backoff::new(initial, max))
            .next_delay()
    }

    /// The object was reconciled, or is gone.
    pub(super) fn reset(&self, uid: &str) {
        self.0.lock().remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_of_one_object_do_not_slow_another() {
        let backoffs = ObjectBackoffs::default();
        let delays = |uid: &str| (0..6).map(|_| backoffs.next_delay(uid)).last().unwrap();
        assert!(delays("a") >= Duration::from_secs(16));
        assert!(backoffs.next_delay("b") <= Duration::from_secs(1));
        backoffs.reset("a");
        assert!(backoffs.next_delay("a") <= Duration::from_secs(1));
    }
}
