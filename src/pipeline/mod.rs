//! The pipeline: from the inbox to a delivered reply. Access, session, dispatch in order per chat, the assistant, the outbox, retries.

pub mod access;
pub mod commands;
pub mod content;
pub mod groups;
pub mod message;
pub mod preview;
pub mod session;
pub mod texts;

mod ask;
mod attached;
mod deliver;
mod denied;
mod engine;
mod handle;
mod history;
mod housekeeping;
mod interrupt;
mod lane;
mod plan;
mod rate;
mod render;
mod retry;
mod show;
mod throttle;
mod turn;
mod work;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

pub use retry::{AfterSend, RetryPolicy};
pub use work::{DeadLetterHook, PipelineContext, PipelineLimits};

/// A running pipeline. Dropping it leaves it running; end it with [`Pipeline::shutdown`].
pub struct Pipeline {
    stop: watch::Sender<bool>,
    engine: JoinHandle<()>,
    housekeeping: JoinHandle<()>,
    interruptions: JoinHandle<()>,
    lanes: TaskTracker,
    abort: tokio_util::sync::CancellationToken,
    store: Arc<dyn crate::store::Store>,
}

impl Pipeline {
    /// Starts it: what waits in the store is taken up at once, and what is accepted from now on as it comes.
    pub fn start(context: PipelineContext) -> Self {
        let (stop, stopped) = watch::channel(false);
        let store = context.store.clone();
        let work = Arc::new(work::Work {
            registry: context.registry,
            store: context.store,
            observations: context.observations,
            clock: context.clock,
            metrics: context.metrics,
            limits: context.limits,
            on_dead_letter: context.on_dead_letter,
            throttle: throttle::Throttle::default(),
            rates: rate::Rates::default(),
            interruptions: interrupt::Interruptions::default(),
            heard: attached::Heard::default(),
            stop: stopped.clone(),
        });
        let lanes = TaskTracker::new();
        let abort = tokio_util::sync::CancellationToken::new();
        let engine = engine::Engine::new(work.clone(), lanes.clone(), abort.clone());
        Self {
            stop,
            engine: tokio::spawn(engine.run(stopped)),
            housekeeping: tokio::spawn(housekeeping::run(work.clone())),
            interruptions: tokio::spawn(interrupt::look(work)),
            lanes,
            abort,
            store,
        }
    }

    /// Ends it: nothing new is begun, what is in work may end within `grace`, and the rest is given back for the next start.
    pub async fn shutdown(self, grace: Duration) {
        // The receivers live as long as the tasks.
        let _ = self.stop.send(true);
        self.housekeeping.abort();
        // The engine returns at once; it fails only by a panic, which has been reported.
        let _ = self.engine.await;
        self.lanes.close();
        if tokio::time::timeout(grace, self.lanes.wait())
            .await
            .is_err()
        {
            tracing::info!(
                chats = self.lanes.len(),
                "the grace period is over; the rest is given back"
            );
            self.abort.cancel();
            self.lanes.wait().await;
        }
        self.interruptions.abort();
        if let Err(error) = self.store.release_claims().await {
            tracing::warn!(%error, "claims are not given back; they run out by themselves");
        }
    }
}
