//! Group commit: one task drains everybody's writes and commits many in one transaction, so that throughput does not cost an
//! fsync per message. While one commit is on its way to the disk the next batch gathers; only in a rush it waits for a moment.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::lane::Place;
use super::records::{Claimed, LaneWrite, Retention, Want, Written};
use super::{Accepted, StoreError};
use crate::identity::{BotId, ConnectorUid};
use crate::telegram::RawUpdate;
use crate::telemetry::Metrics;

/// One caller's write.
pub(super) enum Op {
    Accept {
        connector: ConnectorUid,
        bot: BotId,
        updates: Vec<(RawUpdate, Place)>,
    },
    Claim(Vec<Want>),
    Write(LaneWrite),
    KeepClaims,
    ReleaseClaims,
    ReadyNow(ConnectorUid),
    BuryOtherBots {
        connector: ConnectorUid,
        bot: BotId,
        before: Timestamp,
    },
    Prune(Retention),
    /// Removes these lanes, should they still hold nothing.
    PruneLanes(Vec<i64>),
    Forget(ConnectorUid),
    Retry(Vec<i64>),
    Probe,
}

/// The operations' names in metrics: every [`Op::label`].
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

impl Op {
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
            Self::BuryOtherBots { .. } => "bury_other_bots",
            Self::Prune(_) | Self::PruneLanes(_) => "prune",
            Self::Forget(_) => "forget",
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
pub(super) enum Reply {
    Accepted(Accepted),
    Claimed(Claimed),
    Written(Written),
    Waiting(Vec<(ConnectorUid, Timestamp)>),
    Count(u64),
    More(bool),
    Done,
}

/// Each write's own result, in the order of the batch.
pub(super) type Replies = Vec<Result<Reply, StoreError>>;

/// Something that commits a batch: all of it, or (on `Err`) nothing.
pub(super) trait Backend: Send + 'static {
    fn commit(&mut self, ops: &[Op]) -> impl Future<Output = Result<Replies, StoreError>> + Send;
}

struct Job {
    op: Op,
    reply: oneshot::Sender<Result<Reply, StoreError>>,
}

/// Where callers hand in their writes. The writer task ends when the last of these is gone.
#[derive(Clone)]
pub(super) struct Writer {
    jobs: mpsc::Sender<Job>,
    metrics: Option<Arc<Metrics>>,
}

/// Callers that may wait at the writer's door; beyond it they wait outside.
const QUEUE: usize = 8192;
/// Rows in one transaction: beyond it a longer batch only adds latency.
const BATCH: usize = 2048;
/// A batch of so many writes says that there is a rush. Below it a record that a part was sent must not wait: a crash before it doubles the part.
const RUSH: usize = 96;
/// In a rush the next batch gathers for so long, so that more writes share an fsync, and the pages that it writes.
const GATHER: Duration = Duration::from_millis(3);

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
    pub(super) fn on_its_own_thread(
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

    fn new(metrics: Option<Arc<Metrics>>) -> (Self, mpsc::Receiver<Job>) {
        let (jobs, queue) = mpsc::channel(QUEUE);
        if let Some(metrics) = &metrics {
            for operation in OPERATIONS {
                metrics.declare_store_operation(operation);
            }
        }
        (Self { jobs, metrics }, queue)
    }

    /// Hands in a write and waits for its commit. What is measured is what the caller waits, not the batch's share of it.
    pub(super) async fn call(&self, op: Op) -> Result<Reply, StoreError> {
        let Some(metrics) = &self.metrics else {
            return self.commit(op).await;
        };
        let (label, began) = (op.label(), Instant::now());
        let result = self.commit(op).await;
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

    async fn commit(&self, op: Op) -> Result<Reply, StoreError> {
        let (reply, answer) = oneshot::channel();
        let gone = || StoreError::Unavailable("the store is closed".into());
        self.jobs
            .send(Job { op, reply })
            .await
            .map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

async fn run(mut backend: impl Backend, mut queue: mpsc::Receiver<Job>) {
    let mut ops = Vec::new();
    let mut callers = Vec::new();
    let mut rush = false;
    while let Some(first) = queue.recv().await {
        if rush && queue.len() < BATCH {
            tokio::time::sleep(GATHER).await;
        }
        let mut weight = first.op.weight();
        ops.push(first.op);
        callers.push(first.reply);
        while weight < BATCH
            && let Ok(job) = queue.try_recv()
        {
            weight += job.op.weight();
            ops.push(job.op);
            callers.push(job.reply);
        }
        rush = ops.len() >= RUSH;
        match backend.commit(&ops).await {
            Ok(replies) => {
                for (caller, reply) in callers.drain(..).zip(replies) {
                    // A caller that has gone away needs no answer; its write is done all the same.
                    let _ = caller.send(reply);
                }
            }
            // One write may be what makes the whole batch fail: alone, it fails alone.
            Err(error) if ops.len() > 1 && !error.concerns_everybody() => {
                for (op, caller) in ops.iter().zip(callers.drain(..)) {
                    let reply = match backend.commit(std::slice::from_ref(op)).await {
                        Ok(mut replies) => replies.pop().unwrap_or(Ok(Reply::Done)),
                        Err(error) => Err(error),
                    };
                    let _ = caller.send(reply);
                }
            }
            Err(error) => {
                for caller in callers.drain(..) {
                    let _ = caller.send(Err(error.clone()));
                }
            }
        }
        ops.clear();
    }
}

impl StoreError {
    /// Whether the fault lies with the store rather than with what was to be written.
    fn concerns_everybody(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}
