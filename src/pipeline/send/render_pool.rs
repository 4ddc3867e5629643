//! Where foreign text is rendered: long texts off the async workers, a few at a time, below the others' priority, and with a time limit, so
//! that no text can hold up what else the process does.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Up to so many bytes a text is rendered where it is asked for: it takes less than a millisecond, and a thread of its own would take longer
/// than most answers.
const MAX_INLINE_BYTES: usize = 8 << 10;
/// Texts that are rendered at once. The rest of the blocking threads stay free for others.
const SLOTS: usize = 2;
/// The longest time from the request to the result.
const TIME_LIMIT: Duration = Duration::from_secs(2);
/// What is added to the nice value of the threads that render: a third of the CPU time of a worker that wants the same core.
const NICENESS: i32 = 5;

/// The threads that render. They begin with the first long text, and end when there is none for some seconds.
static THREADS: LazyLock<Option<Runtime>> = LazyLock::new(|| {
    let threads = Builder::new_current_thread()
        .thread_name("render")
        .on_thread_start(lower_priority)
        .build();
    threads
        .inspect_err(|error| tracing::warn!(%error, "long answers are sent as plain text: no thread can render"))
        .ok()
});

/// Lowers the priority of this thread, for Linux of it alone; where that cannot be had, rendering shares the cores evenly.
fn lower_priority() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::debug!(%error, "rendering keeps its priority");
    }
}

/// A few blocking threads with a time limit.
#[derive(Debug, Clone)]
pub(crate) struct RenderPool {
    slots: Arc<Semaphore>,
    time_limit: Duration,
}

impl Default for RenderPool {
    fn default() -> Self {
        Self::new(SLOTS, TIME_LIMIT)
    }
}

impl RenderPool {
    fn new(slots: usize, time_limit: Duration) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(slots)),
            time_limit,
        }
    }

    /// Renders a text; `None` if that was not done in time. A thread cannot be stopped: it keeps its slot until it is done.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        text: &str,
        render: impl FnOnce(&str) -> T + Send + 'static,
    ) -> Option<T> {
        let slot = async { self.slots.clone().acquire_owned().await.ok() };
        self.render(text, slot, render).await
    }

    /// [`Self::run`] for what is not needed: `None` at once if no slot is free.
    pub(crate) async fn run_if_free<T: Send + 'static>(
        &self,
        text: &str,
        render: impl FnOnce(&str) -> T + Send + 'static,
    ) -> Option<T> {
        let slot = async { self.slots.clone().try_acquire_owned().ok() };
        self.render(text, slot, render).await
    }

    async fn render<T: Send + 'static>(
        &self,
        text: &str,
        slot: impl Future<Output = Option<OwnedSemaphorePermit>>,
        render: impl FnOnce(&str) -> T + Send + 'static,
    ) -> Option<T> {
        if text.len() <= MAX_INLINE_BYTES {
            return Some(render(text));
        }
        let rendered = async { render_in(slot.await?, text, render).await };
        timeout(self.time_limit, rendered).await.ok().flatten()
    }
}

async fn render_in<T: Send + 'static>(
    slot: OwnedSemaphorePermit,
    text: &str,
    render: impl FnOnce(&str) -> T + Send + 'static,
) -> Option<T> {
    let text = text.to_owned();
    let rendering = THREADS.as_ref()?.spawn_blocking(move || {
        let rendered = render(&text);
        drop(slot);
        rendered
    });
    // It fails if `render` panics.
    rendering.await.ok()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    /// Nothing here waits for as long as this.
    const LONG: Duration = Duration::from_mins(1);
    const SHORT: Duration = Duration::from_millis(20);

    const LONG_TEXT: &str = match str::from_utf8(&[b'x'; MAX_INLINE_BYTES + 1]) {
        Ok(text) => text,
        Err(_) => panic!("ASCII"),
    };

    #[tokio::test]
    async fn only_long_texts_leave_the_worker() {
        let pool = RenderPool::new(1, LONG);
        let here = thread::current().id();
        let thread_of = |_: &str| thread::current().id();
        assert_eq!(pool.run("short", thread_of).await, Some(here));
        let elsewhere = pool.run(LONG_TEXT, thread_of).await;
        assert!(elsewhere.is_some_and(|thread| thread != here));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn long_texts_leave_the_cores_to_others() {
        let niceness = |_: &str| rustix::process::getpriority_process(None);
        let here = niceness("").expect("the priority of this thread");
        let there = RenderPool::new(1, LONG).run(LONG_TEXT, niceness).await;
        let there = there.expect("rendered").expect("the priority there");
        assert_eq!(there, (here + NICENESS).min(19));
    }

    #[tokio::test]
    async fn what_takes_too_long_is_given_up() {
        let pool = RenderPool::new(1, SHORT);
        let (done, wait) = mpsc::channel::<()>();
        let stuck = pool.run(LONG_TEXT, move |_| wait.recv().is_ok());
        assert_eq!(stuck.await, None);
        drop(done);
    }

    #[tokio::test]
    async fn stuck_texts_hold_no_more_threads_than_slots() {
        let pool = RenderPool::new(2, SHORT);
        let (started, begun) = mpsc::channel();
        let mut release = Vec::new();
        for _ in 0..5 {
            let (done, wait) = mpsc::channel::<()>();
            let started = started.clone();
            release.push(done);
            let stuck = pool.run(LONG_TEXT, move |_| {
                let _ = started.send(());
                wait.recv().is_ok()
            });
            assert_eq!(stuck.await, None);
        }
        let courtesy = pool.run_if_free(LONG_TEXT, str::len);
        assert_eq!(courtesy.await, None, "there is no slot");
        drop((release, started));
        assert_eq!(begun.iter().count(), 2);
        let pool = RenderPool {
            time_limit: LONG,
            ..pool
        };
        assert_eq!(pool.run(LONG_TEXT, str::len).await, Some(LONG_TEXT.len()));
    }

    #[tokio::test]
    async fn a_panic_gives_nothing() {
        let pool = RenderPool::new(1, LONG);
        let failed = pool.run(LONG_TEXT, |_| -> usize { panic!("a defect of the parser") });
        assert_eq!(failed.await, None);
        assert_eq!(pool.run(LONG_TEXT, |_| 7).await, Some(7));
    }
}
