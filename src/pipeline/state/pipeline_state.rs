//! What everybody who works on messages shares.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::SharedClock;
use crate::identity::ConnectorRef;
use crate::identity_provider::Sealer;
use crate::observation::Observations;
use crate::pipeline::decide::retry::RetryPolicy;
use crate::pipeline::state::rate_limit::UserRateLimiter;
use crate::pipeline::state::refused_keys::RefusedKeys;
use crate::pipeline::state::rich_support::RichSupport;
use crate::pipeline::state::running_answers::RunningAnswers;
use crate::pipeline::state::send_window::SendWindows;
use crate::pipeline::state::throttle::Throttle;
use crate::pipeline::state::transcript_cache::TranscriptCache;
use crate::registry::Registry;
use crate::store::{LaneWrite, Store, StoreError, WriteOutcome};
use crate::telemetry::Readiness;
use crate::telemetry::metrics::Metrics;

/// Bounds of the pipeline.
#[derive(Debug, Clone, Copy)]
pub struct PipelineLimits {
    /// Chats in work at once, in all. Every connector may have a few beyond it, so that none starves.
    pub lanes: usize,
    /// Bounds of trying again.
    pub retry: RetryPolicy,
    /// How long denied messages are kept.
    pub denied_retention: Duration,
    /// How long sessions are kept after their last message; dead letters likewise.
    pub session_retention: Duration,
    /// Messages of one user that were sent not longer than this after each other are one turn, if the assistant has not begun;
    /// zero: each is one by itself.
    pub follow_up: Duration,
    /// How long a reply may be tried while Telegram cannot be reached.
    pub reply_age: Duration,
    /// How long claims may fail before the process is no longer ready.
    pub claim_failure_grace: Duration,
}

impl Default for PipelineLimits {
    fn default() -> Self {
        const DAY: Duration = Duration::from_hours(24);
        Self {
            lanes: 1024,
            retry: RetryPolicy::default(),
            denied_retention: 30 * DAY,
            session_retention: 90 * DAY,
            follow_up: Duration::from_secs(2),
            reply_age: DAY,
            claim_failure_grace: Duration::from_secs(5),
        }
    }
}

/// Told when something became a dead letter: whose, and why (no chat text).
pub type DeadLetterHook = Arc<dyn Fn(&ConnectorRef, &str) + Send + Sync>;

/// What the pipeline is started with.
pub struct PipelineContext {
    /// The resolved connectors.
    pub registry: Arc<Registry>,
    /// The store.
    pub store: Arc<dyn Store>,
    /// Where facts about assistants and tokens are noted.
    pub observations: Arc<Observations>,
    /// The time.
    pub clock: SharedClock,
    /// The process's metrics.
    pub metrics: Arc<Metrics>,
    /// Where it is noted whether work can be claimed.
    pub readiness: Arc<Readiness>,
    /// Bounds.
    pub limits: PipelineLimits,
    /// Told of dead letters.
    pub on_dead_letter: Option<DeadLetterHook>,
    /// Seals what of a sign-in is kept in the store.
    pub sealer: Arc<Sealer>,
}

/// [`PipelineContext`] with what is remembered while the process lives.
pub(crate) struct PipelineState {
    pub(crate) registry: Arc<Registry>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) observations: Arc<Observations>,
    pub(crate) clock: SharedClock,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) limits: PipelineLimits,
    pub(crate) on_dead_letter: Option<DeadLetterHook>,
    pub(crate) sealer: Arc<Sealer>,
    /// A sign-in has begun in this process.
    pub(crate) sign_in_begun: tokio::sync::Notify,
    pub(crate) throttle: Throttle,
    pub(crate) send_windows: SendWindows,
    pub(crate) rate_limiter: UserRateLimiter,
    pub(crate) running_answers: RunningAnswers,
    pub(crate) transcripts: TranscriptCache,
    pub(crate) refused_keys: RefusedKeys,
    pub(crate) rich_support: RichSupport,
    /// Room for files that are on their way, in MiB.
    pub(crate) upload_memory: tokio::sync::Semaphore,
    /// Room for files that are fetched for an answer until it is stored, in MiB.
    pub(crate) fetch_memory: Arc<tokio::sync::Semaphore>,
    /// True once the pipeline is told to stop: lanes give back what they have not begun.
    pub(crate) stop: tokio::sync::watch::Receiver<bool>,
}

/// Files that are on their way to Telegram at once have so many MiB together; the next waits for room. Each is in memory twice for a moment.
pub(crate) const UPLOAD_MEMORY_MIB: usize = 128;

/// Files that are fetched for answers at once have so many MiB together: room for the most that one answer may have, and more.
pub(crate) const FETCH_MEMORY_MIB: usize = 128;

/// Waits after the store did not take a write.
const STORE_RETRY_DELAYS: (Duration, Duration) =
    (Duration::from_millis(100), Duration::from_secs(5));

impl PipelineState {
    pub(crate) fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Writes, however long the store is unwritable: what was answered or delivered must not be forgotten.
    ///
    /// # Errors
    /// Only what waiting cannot cure: [`StoreError::ClaimLost`], [`StoreError::Invalid`].
    pub(crate) async fn write_with_retry(
        &self,
        write: LaneWrite,
    ) -> Result<WriteOutcome, StoreError> {
        let write = Arc::new(write);
        let mut wait = STORE_RETRY_DELAYS.0;
        loop {
            match self.store.write(write.clone()).await {
                Err(StoreError::Unavailable(error)) => {
                    tracing::warn!(%error, "a result waits for the store");
                }
                done => return done,
            }
            tokio::time::sleep(wait).await;
            wait = (2 * wait).min(STORE_RETRY_DELAYS.1);
        }
    }
}
