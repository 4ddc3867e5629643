//! The pipeline: from the inbox to a delivered reply.
//!
//! Its folders in the order of their use, each uses those before it: `message` (an update as it is read), `decide` (pure decisions: access, session,
//! batches, what is asked), `state` (what lives as long as the process), `claim` (one claimed lane), `send` (delivery and previews), `work` (the
//! loops that claim lanes and work through them).
//!
//! | where is it decided | file |
//! |---|---|
//! | who may write, and how often a denied user is told so | `decide/access.rs`, `decide/denied.rs` |
//! | which messages are one question, and to which session they belong | `decide/message_batch.rs`, `decide/session.rs` |
//! | what is done with them | `decide/decision.rs` |
//! | when something is tried again, and when it becomes a dead letter | `decide/retry.rs`; done by `work/batch_handler/failure.rs` and `send/deliver.rs` |
//! | who is asked to sign in, and what becomes of a request for access | `decide/sign_in.rs`, `decide/access_request.rs` |

mod claim;
mod decide;
mod decision_record;
mod housekeeping;
mod message;
mod send;
mod state;
mod work;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

#[cfg(test)]
pub(crate) use decide::test_values;

pub use decide::access::{AccessDecision, decide as decide_access};
pub(crate) use decide::estimate::estimate_message_tokens;
pub use decide::retry::{RetryPolicy, SendErrorAction};
pub use message::incoming_update;
pub use send::request::{
    MAX_KEY_BYTES, MAX_TEXT_BYTES, SendError, SendField, SendOutcome, SendRefusal, SendRequest,
    send as send_message,
};
pub use state::pipeline_state::{DeadLetterHook, PipelineContext, PipelineLimits};

/// A running pipeline. Dropping it leaves it running; end it with [`Pipeline::shutdown`].
pub struct Pipeline {
    stop: watch::Sender<bool>,
    dispatcher: JoinHandle<()>,
    housekeeping: JoinHandle<()>,
    inbox_watch: JoinHandle<()>,
    sign_ins: JoinHandle<()>,
    lane_tasks: TaskTracker,
    abort: tokio_util::sync::CancellationToken,
    store: Arc<dyn crate::store::Store>,
}

impl Pipeline {
    /// Starts it: what waits in the store is taken up at once, and what is accepted from now on as it comes.
    pub fn start(context: PipelineContext) -> Self {
        let (stop, stopped) = watch::channel(false);
        let store = context.store.clone();
        let pipeline = Arc::new(state::pipeline_state::PipelineState {
            registry: context.registry,
            store: context.store,
            observations: context.observations,
            clock: context.clock,
            metrics: context.metrics,
            readiness: context.readiness,
            limits: context.limits,
            on_dead_letter: context.on_dead_letter,
            sealer: context.sealer,
            sign_in_begun: tokio::sync::Notify::new(),
            throttle: state::throttle::Throttle::default(),
            send_windows: state::send_window::SendWindows::default(),
            rate_limiter: state::rate_limit::UserRateLimiter::default(),
            running_answers: state::running_answers::RunningAnswers::default(),
            transcripts: state::transcript_cache::TranscriptCache::default(),
            rich_support: state::rich_support::RichSupport::default(),
            refused_keys: state::refused_keys::RefusedKeys::default(),
            fetch_memory: Arc::new(tokio::sync::Semaphore::new(
                state::pipeline_state::FETCH_MEMORY_MIB,
            )),
            upload_memory: tokio::sync::Semaphore::new(state::pipeline_state::UPLOAD_MEMORY_MIB),
            stop: stopped.clone(),
        });
        let lanes = TaskTracker::new();
        let abort = tokio_util::sync::CancellationToken::new();
        let dispatcher =
            work::dispatcher::Dispatcher::new(pipeline.clone(), lanes.clone(), abort.clone());
        Self {
            stop,
            dispatcher: tokio::spawn(dispatcher.run(stopped)),
            housekeeping: tokio::spawn(housekeeping::run(pipeline.clone())),
            sign_ins: tokio::spawn(work::sign_in::run(pipeline.clone())),
            inbox_watch: tokio::spawn(work::inbox_watch::watch_inbox(pipeline)),
            lane_tasks: lanes,
            abort,
            store,
        }
    }

    /// Ends it: nothing new is begun, what is in work may end within `grace`, and the rest is given back for the next start: within what is left
    /// of `grace`, or two seconds if that is more, whether or not the store answers. When this returns, no task of it runs any more.
    pub async fn shutdown(self, grace: Duration) {
        let deadline = Instant::now() + grace;
        // The receivers live as long as the tasks.
        let _ = self.stop.send(true);
        end_task(self.housekeeping).await;
        end_task(self.sign_ins).await;
        // The engine returns at once; it fails only by a panic, which has been reported.
        let _ = self.dispatcher.await;
        self.lane_tasks.close();
        if tokio::time::timeout_at(deadline, self.lane_tasks.wait())
            .await
            .is_err()
        {
            tracing::info!(
                chats = self.lane_tasks.len(),
                "the grace period is over; the rest is given back"
            );
            self.abort.cancel();
            self.lane_tasks.wait().await;
        }
        end_task(self.inbox_watch).await;
        let last = deadline.max(Instant::now() + MIN_RELEASE_TIMEOUT);
        let error = match tokio::time::timeout_at(last, self.store.release_claims()).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the store does not answer".to_owned(),
        };
        tracing::warn!(%error, "claims are not given back; they run out by themselves");
    }
}

/// How long the store may take to give the claims back, should the grace period be over.
const MIN_RELEASE_TIMEOUT: Duration = Duration::from_secs(2);

/// Ends a task where it waits; it has ended when this returns.
async fn end_task(task: JoinHandle<()>) {
    task.abort();
    // It fails by the abort, or by a panic, which has been reported.
    let _ = task.await;
}
