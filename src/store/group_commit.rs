//! Group commit: one task drains everybody's writes and commits many in one transaction, so that throughput costs neither a transaction nor
//! an fsync per message. While one batch is committed the next gathers; only in a rush it waits for a moment.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot};

use super::disk_sync::{Disk, DiskSync};
use super::records::{ClaimOutcome, ClaimRequest, LaneWrite, Retention, WriteOutcome};
use super::{AcceptOutcome, StoreError, WorkNotifier};
use crate::identity::{BotId, ConnectorRef, ConnectorUid};
use crate::telegram::RawUpdate;
use crate::telemetry::Metrics;

/// A request, the place for its outcome, and whoever waits for it.
pub(super) struct Pending<Q, R> {
    pub(super) request: Q,
    outcome: Option<Result<R, StoreError>>,
    /// `None`: nobody.
    caller: Option<oneshot::Sender<Result<R, StoreError>>>,
}

impl<Q, R> Pending<Q, R> {
    /// Notes what became of it; its caller is told once the batch is committed.
    pub(super) fn resolve(&mut self, outcome: Result<R, StoreError>) {
        self.outcome = Some(outcome);
    }

    /// Tells its caller: the failure of the whole batch, if there is one.
    fn answer(self, failure: Option<&StoreError>) {
        let outcome = match (failure, self.outcome) {
            (Some(error), _) => Err(error.clone()),
            (None, Some(outcome)) => outcome,
            (None, None) => Err(StoreError::Unavailable("it was not carried out".into())),
        };
        match (self.caller, outcome) {
            // A caller that has gone away needs no answer; its write is done all the same.
            (Some(caller), outcome) => drop(caller.send(outcome)),
            (None, Err(error)) => {
                tracing::warn!(%error, "what nobody waits for was not written");
            }
            (None, Ok(_)) => {}
        }
    }
}

/// Updates to be made durable.
pub(super) struct Accept {
    pub(super) connector: ConnectorUid,
    pub(super) bot: BotId,
    pub(super) updates: Vec<RawUpdate>,
}

/// Messages to be given up: a connector's, for any bot but this.
pub(super) struct OtherBots {
    pub(super) connector: ConnectorUid,
    pub(super) bot: BotId,
    pub(super) before: Timestamp,
}

/// Changes to a lane.
pub(super) struct ChangeLane {
    pub(super) write: Arc<LaneWrite>,
    /// Told to the notifier if something still waits in the lane that was given back; `None`: the caller sees to it.
    pub(super) notify: Option<ConnectorUid>,
}

/// Messages of a sender that count in a minute.
pub(super) struct CountMessages {
    pub(super) connector: i64,
    pub(super) sender: i64,
    pub(super) minute: i64,
    pub(super) messages: u32,
}

/// One caller's write.
pub(super) enum StoreRequest {
    Accept(Pending<Accept, AcceptOutcome>),
    Claim(Pending<Vec<ClaimRequest>, ClaimOutcome>),
    Write(Pending<ChangeLane, WriteOutcome>),
    KeepClaims(Pending<(), Vec<(ConnectorUid, Timestamp)>>),
    ReleaseClaims(Pending<(), ()>),
    ReadyNow(Pending<ConnectorUid, ()>),
    DeadLetterOtherBots(Pending<OtherBots, u64>),
    Prune(Pending<Retention, bool>),
    /// Removes these lanes, should they still hold nothing.
    PruneLanes(Pending<Vec<i64>, u64>),
    DeleteConnectorData(Pending<ConnectorUid, ()>),
    Retry(Pending<Vec<i64>, u64>),
    Register(Pending<ConnectorRef, ()>),
    /// Answered with all that were counted in the minute.
    CountMessages(Pending<CountMessages, u32>),
    Probe(Pending<(), ()>),
}

/// The operations' names in metrics: every [`StoreRequest::label`].
const OPERATIONS: [&str; 13] = [
    "accept",
    "claim",
    "write",
    "keep_claims",
    "release_claims",
    "ready_now",
    "bury_other_bots",
    "prune",
    "forget",
    "retry",
    "register",
    "count_messages",
    "probe",
];

impl StoreRequest {
    /// Whether its caller relies on it to survive the loss of power. Where a lane's changes do not, its message is there as before and is
    /// answered again; a lost claim is claimed again.
    pub(super) fn must_be_durable(&self) -> bool {
        match self {
            Self::Accept(_)
            | Self::DeadLetterOtherBots(_)
            | Self::DeleteConnectorData(_)
            | Self::Retry(_)
            | Self::Probe(_) => true,
            Self::Claim(_)
            | Self::Write(_)
            | Self::KeepClaims(_)
            | Self::ReleaseClaims(_)
            | Self::ReadyNow(_)
            | Self::Prune(_)
            | Self::PruneLanes(_)
            | Self::Register(_)
            | Self::CountMessages(_) => false,
        }
    }

    /// Tells whoever works whose messages can be claimed now.
    fn notify_of_work(&self, work_notifier: &WorkNotifier) {
        match self {
            Self::Accept(Pending {
                request,
                outcome: Some(Ok(accepted)),
                ..
            }) if accepted.new > 0 => work_notifier.notify(&request.connector),
            Self::Write(Pending {
                request:
                    ChangeLane {
                        notify: Some(connector),
                        ..
                    },
                outcome: Some(Ok(written)),
                ..
            }) if written.more_waits => work_notifier.notify(connector),
            _ => {}
        }
    }

    /// Whether nobody waits for it.
    fn is_background(&self) -> bool {
        matches!(self, Self::Write(pending) if pending.caller.is_none())
    }

    /// The operation's name in metrics.
    fn label(&self) -> &'static str {
        match self {
            Self::Accept(_) => "accept",
            Self::Claim(_) => "claim",
            Self::Write(_) => "write",
            Self::KeepClaims(_) => "keep_claims",
            Self::ReleaseClaims(_) => "release_claims",
            Self::ReadyNow(_) => "ready_now",
            Self::DeadLetterOtherBots(_) => "bury_other_bots",
            Self::Prune(_) | Self::PruneLanes(_) => "prune",
            Self::DeleteConnectorData(_) => "forget",
            Self::Retry(_) => "retry",
            Self::Register(_) => "register",
            Self::CountMessages(_) => "count_messages",
            Self::Probe(_) => "probe",
        }
    }

    fn weight(&self) -> usize {
        match self {
            Self::Accept(accept) => accept.request.updates.len().max(1),
            _ => 1,
        }
    }

    fn answer(self, failure: Option<&StoreError>) {
        match self {
            Self::Accept(pending) => pending.answer(failure),
            Self::Claim(pending) => pending.answer(failure),
            Self::Write(pending) => pending.answer(failure),
            Self::KeepClaims(pending) => pending.answer(failure),
            Self::ReleaseClaims(pending) => pending.answer(failure),
            Self::ReadyNow(pending) => pending.answer(failure),
            Self::DeadLetterOtherBots(pending) => pending.answer(failure),
            Self::Prune(pending) => pending.answer(failure),
            Self::PruneLanes(pending) => pending.answer(failure),
            Self::DeleteConnectorData(pending) => pending.answer(failure),
            Self::Retry(pending) => pending.answer(failure),
            Self::Register(pending) => pending.answer(failure),
            Self::CountMessages(pending) => pending.answer(failure),
            Self::Probe(pending) => pending.answer(failure),
        }
    }
}

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
                metrics,
            },
            queue,
        )
    }

    /// Hands in a lane's last changes, which nobody waits for.
    pub(super) fn call_in_background(&self, request: ChangeLane) {
        self.background.push(StoreRequest::Write(Pending {
            request,
            outcome: None,
            caller: None,
        }));
    }

    /// Hands in a write, wrapped into its kind, and waits for its commit. What is measured is what the caller waits, not the batch's
    /// share of it.
    pub(super) async fn call<Q, R>(
        &self,
        request: Q,
        kind: fn(Pending<Q, R>) -> StoreRequest,
    ) -> Result<R, StoreError> {
        let (caller, outcome) = oneshot::channel();
        let request = kind(Pending {
            request,
            outcome: None,
            caller: Some(caller),
        });
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
        match self.backend.commit(requests).await {
            Ok(()) => self.on_committed(requests.drain(..)),
            // One write may be what makes the whole batch fail: alone, it fails alone.
            Err(error) if requests.len() > 1 && !error.affects_all_requests() => {
                for mut request in requests.drain(..) {
                    match self
                        .backend
                        .commit(std::slice::from_mut(&mut request))
                        .await
                    {
                        Ok(()) => self.on_committed(std::iter::once(request)),
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

    /// Answers what is done, and has the rest answered once it is on the disk.
    fn on_committed(&self, requests: impl Iterator<Item = StoreRequest>) {
        let mut durable = Vec::new();
        for request in requests {
            request.notify_of_work(&self.work_notifier);
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
