//! Group commit: one task drains everybody's writes and commits many in one transaction, so that throughput does not cost an
//! fsync per message. While one commit is on its way to the disk the next batch gathers; only in a rush it waits for a moment.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::records::{ClaimOutcome, ClaimRequest, LaneWrite, Retention, WriteOutcome};
use super::update_route::UpdateRoute;
use super::{AcceptOutcome, StoreError};
use crate::identity::{BotId, ConnectorUid};
use crate::telegram::RawUpdate;
use crate::telemetry::Metrics;

/// One caller's write.
pub(super) enum StoreRequest {
    Accept {
        connector: ConnectorUid,
        bot: BotId,
        updates: Vec<(RawUpdate, UpdateRoute)>,
    },
    Claim(Vec<ClaimRequest>),
    Write(LaneWrite),
    KeepClaims,
    ReleaseClaims,
    ReadyNow(ConnectorUid),
    DeadLetterOtherBots {
        connector: ConnectorUid,
        bot: BotId,
        before: Timestamp,
    },
    Prune(Retention),
    /// Removes these lanes, should they still hold nothing.
    PruneLanes(Vec<i64>),
    DeleteConnectorData(ConnectorUid),
    Retry(Vec<i64>),
    Probe,
}

/// The operations' names in metrics: every [`StoreRequest::label`].
const OPERATIONS: [&str; 11] = [
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
    "probe",
];

impl StoreRequest {
    /// Whether its loss in a crash would lose anything. A lost claim is simply claimed again.
    pub(super) fn must_be_durable(&self) -> bool {
        !matches!(
            self,
            Self::Claim(_) | Self::KeepClaims | Self::ReleaseClaims | Self::ReadyNow(_)
        )
    }

    /// The operation's name in metrics.
    fn label(&self) -> &'static str {
        match self {
            Self::Accept { .. } => "accept",
            Self::Claim(_) => "claim",
            Self::Write(_) => "write",
            Self::KeepClaims => "keep_claims",
            Self::ReleaseClaims => "release_claims",
            Self::ReadyNow(_) => "ready_now",
            Self::DeadLetterOtherBots { .. } => "bury_other_bots",
            Self::Prune(_) | Self::PruneLanes(_) => "prune",
            Self::DeleteConnectorData(_) => "forget",
            Self::Retry(_) => "retry",
            Self::Probe => "probe",
        }
    }

    fn weight(&self) -> usize {
        match self {
            Self::Accept { updates, .. } => updates.len().max(1),
            _ => 1,
        }
    }
}

/// What became of a write.
pub(super) enum StoreResponse {
    Accepted(AcceptOutcome),
    Claimed(ClaimOutcome),
    Written(WriteOutcome),
    Waiting(Vec<(ConnectorUid, Timestamp)>),
    Count(u64),
    More(bool),
    Done,
}

/// Each write's own result, in the order of the batch.
pub(super) type StoreResponses = Vec<Result<StoreResponse, StoreError>>;

/// Something that commits a batch: all of it, or (on `Err`) nothing.
pub(super) trait Backend: Send + 'static {
    fn commit(
        &mut self,
        requests: &[StoreRequest],
    ) -> impl Future<Output = Result<StoreResponses, StoreError>> + Send;
}

struct QueuedRequest {
    request: StoreRequest,
    response: oneshot::Sender<Result<StoreResponse, StoreError>>,
}

/// Where callers hand in their writes. The writer task ends when the last of these is gone.
#[derive(Clone)]
pub(super) struct Writer {
    queue_sender: mpsc::Sender<QueuedRequest>,
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

    fn new(metrics: Option<Arc<Metrics>>) -> (Self, mpsc::Receiver<QueuedRequest>) {
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

    /// Hands in a write and waits for its commit. What is measured is what the caller waits, not the batch's share of it.
    pub(super) async fn call(&self, request: StoreRequest) -> Result<StoreResponse, StoreError> {
        let Some(metrics) = &self.metrics else {
            return self.commit(request).await;
        };
        let (label, began) = (request.label(), Instant::now());
        let result = self.commit(request).await;
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

    async fn commit(&self, request: StoreRequest) -> Result<StoreResponse, StoreError> {
        let (response, receiver) = oneshot::channel();
        let gone = || StoreError::Unavailable("the store is closed".into());
        self.queue_sender
            .send(QueuedRequest { request, response })
            .await
            .map_err(|_| gone())?;
        receiver.await.map_err(|_| gone())?
    }
}

async fn run(mut backend: impl Backend, mut queue: mpsc::Receiver<QueuedRequest>) {
    let mut requests = Vec::new();
    let mut callers = Vec::new();
    let mut rush = false;
    while let Some(first) = queue.recv().await {
        if rush && queue.len() < MAX_BATCH_ROWS {
            tokio::time::sleep(RUSH_DELAY).await;
        }
        let mut weight = first.request.weight();
        requests.push(first.request);
        callers.push(first.response);
        while weight < MAX_BATCH_ROWS
            && let Ok(queued) = queue.try_recv()
        {
            weight += queued.request.weight();
            requests.push(queued.request);
            callers.push(queued.response);
        }
        rush = requests.len() >= RUSH_REQUESTS;
        match backend.commit(&requests).await {
            Ok(responses) => {
                for (caller, response) in callers.drain(..).zip(responses) {
                    // A caller that has gone away needs no answer; its write is done all the same.
                    let _ = caller.send(response);
                }
            }
            // One write may be what makes the whole batch fail: alone, it fails alone.
            Err(error) if requests.len() > 1 && !error.affects_all_requests() => {
                for (request, caller) in requests.iter().zip(callers.drain(..)) {
                    let response = match backend.commit(std::slice::from_ref(request)).await {
                        Ok(mut responses) => responses.pop().unwrap_or(Ok(StoreResponse::Done)),
                        Err(error) => Err(error),
                    };
                    let _ = caller.send(response);
                }
            }
            Err(error) => {
                for caller in callers.drain(..) {
                    let _ = caller.send(Err(error.clone()));
                }
            }
        }
        requests.clear();
    }
}

impl StoreError {
    /// Whether the fault lies with the store rather than with what was to be written.
    fn affects_all_requests(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}
