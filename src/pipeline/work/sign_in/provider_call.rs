//! What a call to a provider is bounded by, and how what it said reaches the store.

use std::time::Duration;

use jiff::Timestamp;

use crate::identity_provider::ProviderError;
use crate::store::StoreError;

/// The longest that one call to a provider may take; less than what is claimed is left to us for.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(45);
/// What the provider said is kept for so long until the store takes it, with pauses.
const STORE_PATIENCE: Duration = Duration::from_mins(1);
const STORE_PAUSE: Duration = Duration::from_millis(500);

/// Calls the store, again while it is away within reason: what a provider says it says once.
pub(super) async fn patiently<T, F: Future<Output = Result<T, StoreError>>>(
    call: impl Fn() -> F,
) -> Result<T, StoreError> {
    let deadline = tokio::time::Instant::now() + STORE_PATIENCE;
    loop {
        match call().await {
            Err(StoreError::Unavailable(_)) if tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(STORE_PAUSE).await;
            }
            done => return done,
        }
    }
}

pub(super) fn timed_out() -> ProviderError {
    ProviderError::Unreachable("it does not answer".to_owned())
}

pub(super) fn after(now: Timestamp, wait: Duration) -> Timestamp {
    now.checked_add(wait).unwrap_or(Timestamp::MAX)
}
