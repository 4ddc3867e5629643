//! Waits for the disk beside the writer: what has to survive the loss of power is answered once it does, while the next batches are committed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::StoreError;

/// So long at most what was committed without waiting for the disk stays in memory only: of a power cut it is the last instant.
const MAX_UNSYNCED: Duration = Duration::from_millis(500);

/// Makes everything that was committed before it is called survive the loss of power.
pub(super) trait Disk: Send + 'static {
    /// # Errors
    /// [`StoreError::Unavailable`]: perhaps none of it does.
    fn sync(&mut self) -> Result<(), StoreError>;
}

/// What the thread is told.
enum Job<T> {
    /// Sync, and answer these.
    Now(Vec<T>),
    /// Sync within [`MAX_UNSYNCED`].
    Soon,
}

/// The way to the thread that syncs. It ends with the last sync when this is dropped.
pub(super) struct DiskSync<T> {
    jobs: Sender<Job<T>>,
    /// A sync is due that has not begun: it will cover what is committed now.
    is_due: Arc<AtomicBool>,
}

impl<T: Send + 'static> DiskSync<T> {
    /// Starts the thread. `answer` is told of each request how its sync ended.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub(super) fn start(
        disk: impl Disk,
        answer: impl Fn(T, Option<&StoreError>) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (jobs, queue) = channel();
        let is_due = Arc::new(AtomicBool::new(false));
        let due = is_due.clone();
        thread::Builder::new()
            .name("store-sync".into())
            .spawn(move || run(&queue, &due, disk, answer))?;
        Ok(Self { jobs, is_due })
    }

    /// Has these answered once what was committed is on the disk.
    pub(super) fn sync_and_answer(&self, requests: Vec<T>) {
        // The thread goes on for as long as this end is there.
        let _ = self.jobs.send(Job::Now(requests));
    }

    /// Has what was committed synced soon, for whoever does not wait for it.
    pub(super) fn sync_soon(&self) {
        if !self.is_due.swap(true, Ordering::AcqRel) {
            let _ = self.jobs.send(Job::Soon);
        }
    }
}

fn run<T>(
    queue: &Receiver<Job<T>>,
    is_due: &AtomicBool,
    mut disk: impl Disk,
    answer: impl Fn(T, Option<&StoreError>),
) {
    let mut due = None;
    loop {
        let first = match due {
            None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(at) => queue.recv_timeout(Instant::duration_since(&at, Instant::now())),
        };
        let mut waiting = match first {
            Ok(Job::Soon) => {
                due.get_or_insert_with(|| Instant::now() + MAX_UNSYNCED);
                continue;
            }
            Ok(Job::Now(requests)) => requests,
            Err(RecvTimeoutError::Timeout) => Vec::new(),
            Err(RecvTimeoutError::Disconnected) => break,
        };
        loop {
            match queue.try_recv() {
                Ok(Job::Now(more)) => waiting.extend(more),
                Ok(Job::Soon) => {}
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        // What is committed from here on may not be covered.
        is_due.store(false, Ordering::Release);
        due = None;
        let failure = disk.sync().err();
        if let Some(error) = failure.as_ref().filter(|_| waiting.is_empty()) {
            tracing::warn!(%error, "what was written last may not survive a loss of power");
        }
        for request in waiting {
            answer(request, failure.as_ref());
        }
    }
    if due.is_some()
        && let Err(error) = disk.sync()
    {
        tracing::warn!(%error, "what was written last may not survive a loss of power");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A disk that says when it is asked, and syncs when it is told to.
    struct SteeredDisk {
        began: mpsc::Sender<()>,
        outcomes: mpsc::Receiver<Result<(), StoreError>>,
    }

    impl Disk for SteeredDisk {
        fn sync(&mut self) -> Result<(), StoreError> {
            let _ = self.began.send(());
            self.outcomes.recv().unwrap_or(Ok(()))
        }
    }

    struct Fixture {
        sync: DiskSync<u32>,
        began: mpsc::Receiver<()>,
        outcomes: mpsc::Sender<Result<(), StoreError>>,
        answers: mpsc::Receiver<(u32, bool)>,
    }

    fn fixture() -> Fixture {
        let (began_sender, began) = mpsc::channel();
        let (outcomes, outcome_queue) = mpsc::channel();
        let (answer_sender, answers) = mpsc::channel();
        let disk = SteeredDisk {
            began: began_sender,
            outcomes: outcome_queue,
        };
        let answer = move |request, failure: Option<&StoreError>| {
            let _ = answer_sender.send((request, failure.is_none()));
        };
        Fixture {
            sync: DiskSync::start(disk, answer).expect("a thread"),
            began,
            outcomes,
            answers,
        }
    }

    #[test]
    fn nobody_is_answered_before_the_disk_has_it() {
        let f = fixture();
        f.sync.sync_and_answer(vec![1]);
        f.began.recv().expect("the first sync");
        f.sync.sync_and_answer(vec![2]);
        f.sync.sync_and_answer(vec![3]);
        assert_eq!(f.answers.try_recv(), Err(mpsc::TryRecvError::Empty));
        f.outcomes.send(Ok(())).expect("the disk listens");
        assert_eq!(f.answers.recv(), Ok((1, true)));
        // What came during the first sync is not covered by it, and shares the second.
        f.began.recv().expect("the second sync");
        assert_eq!(f.answers.try_recv(), Err(mpsc::TryRecvError::Empty));
        f.outcomes.send(Ok(())).expect("the disk listens");
        assert_eq!(f.answers.recv(), Ok((2, true)));
        assert_eq!(f.answers.recv(), Ok((3, true)));
    }

    #[test]
    fn failed_sync_fails_those_that_wait_for_it() {
        let f = fixture();
        f.sync.sync_and_answer(vec![1]);
        let failure = StoreError::Unavailable("the disk is gone".into());
        f.outcomes.send(Err(failure)).expect("the disk listens");
        assert_eq!(f.answers.recv(), Ok((1, false)));
    }

    #[test]
    fn what_nobody_waits_for_is_synced_all_the_same() {
        let f = fixture();
        f.sync.sync_soon();
        f.began.recv().expect("a sync without anybody who waits");
    }

    #[test]
    fn last_writes_are_synced_at_the_end() {
        let f = fixture();
        f.sync.sync_soon();
        drop(f.sync);
        f.began.recv().expect("a sync at the end");
    }
}
