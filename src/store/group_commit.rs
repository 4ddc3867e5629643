//! Group commit: one task drains everybody's writes and commits many in one transaction, so that throughput costs neither a transaction nor
//! an fsync per message. While one batch is committed the next gathers; only in a rush it waits for a moment.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot};

use super::disk_sync::{Disk, DiskSync};
use super::parked_claims::ParkedClaims;
use super::requests::{ChangeLane, OPERATIONS, Pending, StoreRequest};
use super::{StoreError, WorkNotifier};
use crate::identity::ConnectorUid;
use crate::telemetry::Metrics;

/// Something that commits a batch: all of it, or (on `Err`) nothing. What is committed survives a killed process, and the loss of power
/// unless a [`Disk`] is given beside it.
pub(super) trait Backend: Send + 'static {
    /// Resolves every request of the batch.
    fn commit(
        &mut self,
        requests: &mut [StoreRequest],
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// Where callers hand in their writes. The writer task ends when the last of these is gone.
#[derive(Clone)]
pub(super) struct Writer {
    queue_sender: mpsc::Sender<StoreRequest>,
    background: Arc<Background>,
    pub(super) parked_claims: Arc<ParkedClaims>,
    metrics: Option<Arc<Metrics>>,
}

/// Writes that nobody waits for: they go with the next batch, or make one of their own after [`MAX_BACKGROUND_DELAY`].
#[derive(Default)]
struct Background {
    requests: Mutex<Vec<StoreRequest>>,
    /// The first of them has come.
    begun: Notify,
}

impl Background {
    fn push(&self, request: StoreRequest) {
        let mut requests = self.requests.lock();
        requests.push(request);
        if requests.len() == 1 {
            self.begun.notify_one();
        }
    }

    /// Waits until they have waited long enough.
    async fn overdue(&self) {
        self.begun.notified().await;
        tokio::time::sleep(MAX_BACKGROUND_DELAY).await;
    }

    fn take(&self) -> Vec<StoreRequest> {
        std::mem::take(&mut *self.requests.lock())
    }
}

/// Callers that may wait at the writer's door; beyond it they wait outside.
const QUEUE_CAPACITY: usize = 8192;
/// Rows in one transaction: beyond it a longer batch only adds latency.
const MAX_BATCH_ROWS: usize = 2048;
/// A batch of so many writes says that there is a rush.
const RUSH_REQUESTS: usize = 12;
/// In a rush the next batch gathers for so long, so that more writes share a transaction, and the pages that it writes.
const RUSH_DELAY: Duration = Duration::from_micros(500);
/// So long what nobody waits for waits for a batch to go with.
const MAX_BACKGROUND_DELAY: Duration = Duration::from_millis(50);

impl Writer {
    pub(super) fn start(
        backend: impl Backend,
        work_notifier: Arc<WorkNotifier>,
        metrics: Option<Arc<Metrics>>,
    ) -> Self {
        let (writer, queue) = Self::new(metrics);
        let committer = Committer {
            backend,
            disk: None,
            background: writer.background.clone(),
            parked_claims: writer.parked_claims.clone(),
            work_notifier,
        };
        tokio::spawn(committer.run(queue));
        writer
    }

    /// For a backend that blocks, and does not wait for the disk itself.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub(super) fn start_thread(
        backend: impl Backend,
        disk: impl Disk,
        work_notifier: Arc<WorkNotifier>,
        metrics: Option<Arc<Metrics>>,
    ) -> std::io::Result<Self> {
        let (writer, queue) = Self::new(metrics);
        // Of its own, so that its waits wake none of the others' threads.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()?;
        let committer = Committer {
            backend,
            disk: Some(DiskSync::start(disk, StoreRequest::answer)?),
            background: writer.background.clone(),
            parked_claims: writer.parked_claims.clone(),
            work_notifier,
        };
        std::thread::Builder::new()
            .name("store".into())
            .spawn(move || runtime.block_on(committer.run(queue)))?;
        Ok(writer)
    }

    fn new(metrics: Option<Arc<Metrics>>) -> (Self, mpsc::Receiver<StoreRequest>) {
        let (queue_sender, queue) = mpsc::channel(QUEUE_CAPACITY);
        if let Some(metrics) = &metrics {
            for operation in OPERATIONS {
                metrics.declare_store_operation(operation);
            }
        }
        (
            Self {
                queue_sender,
                background: Arc::default(),
                parked_claims: Arc::default(),
                metrics,
            },
            queue,
        )
    }

    /// Hands in a lane's last changes, which nobody waits for.
    pub(super) fn call_in_background(&self, request: ChangeLane) {
        self.background
            .push(StoreRequest::Write(Pending::new(request, None)));
    }

    /// Hands in a write, wrapped into its kind, and waits for its commit. What is measured is what the caller waits, not the batch's
    /// share of it.
    pub(super) async fn call<Q, R>(
        &self,
        request: Q,
        kind: fn(Pending<Q, R>) -> StoreRequest,
    ) -> Result<R, StoreError> {
        let (caller, outcome) = oneshot::channel();
        let request = kind(Pending::new(request, Some(caller)));
        let (label, began) = (request.label(), Instant::now());
        let result = self.commit(request, outcome).await;
        let Some(metrics) = &self.metrics else {
            return result;
        };
        match &result {
            Ok(_) => metrics.record_store_operation(label, began.elapsed()),
            // A full backlog and a lost claim are answers; the store is well.
            Err(StoreError::BacklogFull(_) | StoreError::ClaimLost) => {}
            Err(StoreError::Unavailable(_) | StoreError::Invalid(_)) => {
                metrics.count_store_failure(label);
            }
        }
        result
    }

    async fn commit<R>(
        &self,
        request: StoreRequest,
        outcome: oneshot::Receiver<Result<R, StoreError>>,
    ) -> Result<R, StoreError> {
        let gone = || StoreError::Unavailable("the store is closed".into());
        self.queue_sender.send(request).await.map_err(|_| gone())?;
        outcome.await.map_err(|_| gone())?
    }
}

/// What commits the callers' writes.
struct Committer<B> {
    backend: B,
    /// Where what must survive the loss of power waits for the disk; `None`: the backend waits itself.
    disk: Option<DiskSync<StoreRequest>>,
    background: Arc<Background>,
    parked_claims: Arc<ParkedClaims>,
    work_notifier: Arc<WorkNotifier>,
}

impl<B: Backend> Committer<B> {
    async fn run(mut self, mut queue: mpsc::Receiver<StoreRequest>) {
        let mut requests = Vec::new();
        let mut rush = false;
        let mut is_open = true;
        while is_open {
            tokio::select! {
                biased;
                first = queue.recv() => {
                    is_open = first.is_some();
                    requests.extend(first);
                }
                () = self.background.overdue() => {}
            }
            if rush && queue.len() < MAX_BATCH_ROWS {
                tokio::time::sleep(RUSH_DELAY).await;
            }
            // Lanes are given back before others are claimed.
            requests.splice(0..0, self.background.take());
            let mut weight: usize = requests.iter().map(StoreRequest::weight).sum();
            while weight < MAX_BATCH_ROWS
                && let Ok(queued) = queue.try_recv()
            {
                weight += queued.weight();
                requests.push(queued);
            }
            rush = requests.len() >= RUSH_REQUESTS;
            if !requests.is_empty() {
                self.commit(&mut requests).await;
            }
        }
    }

    /// Commits a batch and sees to its answers.
    async fn commit(&mut self, requests: &mut Vec<StoreRequest>) {
        let claiming = self.parked_claims.join_batch(requests);
        match self.backend.commit(requests).await {
            Ok(()) => self.on_committed(requests.drain(..), &claiming),
            // One write may be what makes the whole batch fail: alone, it fails alone.
            Err(error) if requests.len() > 1 && !error.affects_all_requests() => {
                for mut request in requests.drain(..) {
                    match self
                        .backend
                        .commit(std::slice::from_mut(&mut request))
                        .await
                    {
                        Ok(()) => self.on_committed(std::iter::once(request), &claiming),
                        Err(error) => self.on_failed(request, &error),
                    }
                }
            }
            Err(error) => {
                for request in requests.drain(..) {
                    self.on_failed(request, &error);
                }
            }
        }
    }

    /// What nobody waits for is tried again for as long as the fault lies with the store.
    fn on_failed(&self, request: StoreRequest, error: &StoreError) {
        if request.is_background() && error.affects_all_requests() {
            self.background.push(request);
        } else {
            request.answer(Some(error));
        }
    }

    /// Answers what is done, and has the rest answered once it is on the disk. The connectors that are `claiming` learn of their work by that.
    fn on_committed(
        &self,
        requests: impl Iterator<Item = StoreRequest>,
        claiming: &[ConnectorUid],
    ) {
        let mut durable = Vec::new();
        for request in requests {
            match request.new_work() {
                Some(connector) if !claiming.contains(connector) => {
                    self.work_notifier.notify(connector);
                }
                _ => {}
            }
            if self.disk.is_some() && request.must_be_durable() {
                durable.push(request);
            } else {
                request.answer(None);
            }
        }
        match &self.disk {
            Some(disk) if durable.is_empty() => disk.sync_soon(),
            Some(disk) => disk.sync_and_answer(durable),
            None => {}
        }
    }
}

impl StoreError {
    /// Whether the fault lies with the store rather than with what was to be written.
    fn affects_all_requests(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}
