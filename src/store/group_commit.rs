//! Group commit: one task drains everybody's writes and commits many in one transaction, so that throughput does not cost an
//! fsync per message. While one commit is on its way to the disk the next batch gathers; only in a rush it waits for a moment.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::records::{ClaimOutcome, ClaimRequest, LaneWrite, Retention, WriteOutcome};
use super::{AcceptOutcome, StoreError};
use crate::identity::{BotId, ConnectorRef, ConnectorUid};
use crate::telegram::RawUpdate;
use crate::telemetry::Metrics;

/// A request, the place for its outcome, and whoever waits for it.
pub(super) struct Pending<Q, R> {
    pub(super) request: Q,
    outcome: Option<Result<R, StoreError>>,
    caller: oneshot::Sender<Result<R, StoreError>>,
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
        // A caller that has gone away needs no answer; its write is done all the same.
        let _ = self.caller.send(outcome);
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
    Write(Pending<LaneWrite, WriteOutcome>),
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
    /// Whether its loss in a crash would lose anything. A lost claim is simply claimed again.
    pub(super) fn must_be_durable(&self) -> bool {
        !matches!(
            self,
            Self::Claim(_)
                | Self::KeepClaims(_)
                | Self::ReleaseClaims(_)
                | Self::ReadyNow(_)
                | Self::Register(_)
                | Self::CountMessages(_)
        )
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

/// Something that commits a batch: all of it, or (on `Err`) nothing.
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
    metrics: Option<Arc<Metrics>>,
}

/// Callers that may wait at the writer's door; beyond it they wait outside.
const QUEUE_CAPACITY: usize = 8192;
/// Rows in one transaction: beyond it a longer batch only adds latency.
const MAX_BATCH_ROWS: usize = 2048;
/// A batch of so many writes says that there is a rush. Below it a record that a part was sent must not wait: a crash before it doubles the part.
const RUSH_REQUESTS: usize = 96;
/// In a rush the next batch gathers for so long, so that more writes share an fsync, and the pages that it writes.
const RUSH_DELAY: Duration = Duration::from_millis(3);

impl Writer {
    pub(super) fn start(backend: impl Backend, metrics: Option<Arc<Metrics>>) -> Self {
        let (writer, queue) = Self::new(metrics);
        tokio::spawn(run(backend, queue));
        writer
    }

    /// For a backend that blocks.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub(super) fn start_thread(
        backend: impl Backend,
        metrics: Option<Arc<Metrics>>,
    ) -> std::io::Result<Self> {
        let (writer, queue) = Self::new(metrics);
        let runtime = tokio::runtime::Handle::current();
        std::thread::Builder::new()
            .name("store".into())
            .spawn(move || runtime.block_on(run(backend, queue)))?;
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
                metrics,
            },
            queue,
        )
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
            caller,
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

async fn run(mut backend: impl Backend, mut queue: mpsc::Receiver<StoreRequest>) {
    let mut requests = Vec::new();
    let mut rush = false;
    while let Some(first) = queue.recv().await {
        if rush && queue.len() < MAX_BATCH_ROWS {
            tokio::time::sleep(RUSH_DELAY).await;
        }
        let mut weight = first.weight();
        requests.push(first);
        while weight < MAX_BATCH_ROWS
            && let Ok(queued) = queue.try_recv()
        {
            weight += queued.weight();
            requests.push(queued);
        }
        rush = requests.len() >= RUSH_REQUESTS;
        match backend.commit(&mut requests).await {
            // One write may be what makes the whole batch fail: alone, it fails alone.
            Err(error) if requests.len() > 1 && !error.affects_all_requests() => {
                for mut request in requests.drain(..) {
                    let alone = backend.commit(std::slice::from_mut(&mut request)).await;
                    request.answer(alone.err().as_ref());
                }
            }
            done => {
                let failure = done.err();
                for request in requests.drain(..) {
                    request.answer(failure.as_ref());
                }
            }
        }
    }
}

impl StoreError {
    /// Whether the fault lies with the store rather than with what was to be written.
    fn affects_all_requests(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}
