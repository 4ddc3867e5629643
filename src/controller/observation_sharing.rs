//! How the leader learns what pollers of other replicas see: each poller's replica writes a row per connector when its facts change, and the
//! leader reads what has changed. Without shards (one process polls everything) nothing of this runs.
//!
//! A row is believed only from the replica that owns the bot's shard, and only about the token that the leader knows.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, mpsc, watch};

use crate::identity::ConnectorUid;
use crate::observation::{AssistantFact, ObservedFacts};
use crate::store::shards::{ObservationCursor, Shard, ShardLeases, SharedObservation};
use crate::telegram::Bot;

/// How often the leader looks for what has changed: one read of an index.
const READ_INTERVAL: Duration = Duration::from_secs(1);
/// After how long a write that failed is tried again.
const WRITE_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// The content of a row.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct SharedFacts {
    /// The `metadata.generation` of the connector that the poller knew.
    generation: i64,
    #[serde(flatten)]
    observed: ObservedFacts,
}

/// What was written last of a connector whose bot is polled here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Written {
    shard: Shard,
    hash: u64,
}

/// Rows of pollers that are to be written, and those that were.
#[derive(Debug, Default)]
struct Outgoing {
    written: HashMap<ConnectorUid, Written>,
    pending: HashMap<ConnectorUid, SharedObservation>,
}

/// A row as the leader read it. JSON takes a fourth of the room, and there are thousands.
#[derive(Debug, PartialEq, Eq)]
struct Received {
    token_fingerprint: i64,
    facts: Box<str>,
}

/// Both directions. One per process.
pub(super) struct ObservationSharing {
    leases: Arc<dyn ShardLeases>,
    outgoing: Mutex<Outgoing>,
    has_pending: Notify,
    received: Mutex<HashMap<ConnectorUid, Received>>,
}

impl ObservationSharing {
    pub(super) fn new(leases: Arc<dyn ShardLeases>) -> Self {
        Self {
            leases,
            outgoing: Mutex::default(),
            has_pending: Notify::new(),
            received: Mutex::default(),
        }
    }

    /// This replica's side of the shards.
    pub(super) fn leases(&self) -> &Arc<dyn ShardLeases> {
        &self.leases
    }

    /// Shares what is seen of a connector whose bot is polled here, if it is something new.
    pub(super) fn share(
        &self,
        connector: &ConnectorUid,
        bot: &Bot,
        generation: i64,
        observed: &ObservedFacts,
    ) {
        let facts = SharedFacts {
            generation,
            observed: observed.clone(),
        };
        self.enqueue(SharedObservation {
            connector: connector.clone(),
            shard: Shard::of(bot.id()),
            token_fingerprint: bot.token_fingerprint(connector),
            facts: to_json(&facts),
        });
    }

    /// Shares that nothing is seen any more of a connector that was polled here.
    pub(super) fn share_disconnected(&self, connector: &ConnectorUid) {
        let Some(written) = self.outgoing.lock().written.get(connector).copied() else {
            return;
        };
        self.enqueue(SharedObservation {
            connector: connector.clone(),
            shard: written.shard,
            token_fingerprint: 0,
            facts: to_json(&SharedFacts::default()),
        });
    }

    fn enqueue(&self, observation: SharedObservation) {
        let mut hasher = DefaultHasher::new();
        observation.token_fingerprint.hash(&mut hasher);
        observation.facts.hash(&mut hasher);
        let written = Written {
            shard: observation.shard,
            hash: hasher.finish(),
        };
        let connector = observation.connector.clone();
        {
            let mut outgoing = self.outgoing.lock();
            if outgoing.written.get(&connector) == Some(&written) {
                return;
            }
            outgoing.written.insert(connector.clone(), written);
            outgoing.pending.insert(connector, observation);
        }
        self.has_pending.notify_one();
    }

    /// These shards are polled elsewhere from now on, where other facts may be seen.
    pub(super) fn forget_shards(&self, shards: &[Shard]) {
        let mut outgoing = self.outgoing.lock();
        outgoing
            .written
            .retain(|_, written| !shards.contains(&written.shard));
        outgoing
            .pending
            .retain(|_, observation| !shards.contains(&observation.shard));
    }

    /// The connector is gone.
    pub(super) fn remove(&self, connector: &ConnectorUid) {
        let mut outgoing = self.outgoing.lock();
        outgoing.written.remove(connector);
        outgoing.pending.remove(connector);
        drop(outgoing);
        self.received.lock().remove(connector);
    }

    /// To the leader: what the poller of another replica saw of this connector with this token; what it saw of the connection with another
    /// token, and of an assistant before the last change of the connector, is left out.
    pub(super) fn received_facts(
        &self,
        connector: &ConnectorUid,
        bot: &Bot,
        generation: i64,
    ) -> Option<ObservedFacts> {
        let (fingerprint, facts) = {
            let received = self.received.lock();
            let received = received.get(connector)?;
            (received.token_fingerprint, received.facts.clone())
        };
        // A row of a version that says it differently says nothing.
        let facts: SharedFacts = serde_json::from_str(&facts).ok()?;
        let mut observed = facts.observed;
        if fingerprint != bot.token_fingerprint(connector) {
            observed.identity = None;
            observed.connection = None;
        }
        if facts.generation < generation {
            observed.assistant = AssistantFact::Unknown;
        }
        Some(observed)
    }

    /// Writes what is to be shared, for ever.
    pub(super) async fn run_writer(self: Arc<Self>) {
        loop {
            self.has_pending.notified().await;
            let pending: Vec<SharedObservation> = {
                let mut outgoing = self.outgoing.lock();
                outgoing.pending.drain().map(|(_, row)| row).collect()
            };
            if pending.is_empty() {
                continue;
            }
            let Err(error) = self.leases.write_observations(&pending).await else {
                continue;
            };
            tracing::warn!(%error, connectors = pending.len(),
                "failed to share what the pollers of this replica saw; retrying in {} s", WRITE_RETRY_INTERVAL.as_secs());
            self.put_back(pending);
            tokio::time::sleep(WRITE_RETRY_INTERVAL).await;
            self.has_pending.notify_one();
        }
    }

    /// What was not written, as far as nothing newer has come and the shard is still polled here.
    fn put_back(&self, rows: Vec<SharedObservation>) {
        let mut outgoing = self.outgoing.lock();
        for row in rows {
            if outgoing.written.contains_key(&row.connector) {
                outgoing.pending.entry(row.connector.clone()).or_insert(row);
            }
        }
    }

    /// While this process leads, reads what has changed and asks for reconciles of those connectors. Runs for ever.
    pub(super) async fn run_reader(
        self: Arc<Self>,
        mut leading: watch::Receiver<bool>,
        requeue: mpsc::UnboundedSender<ConnectorUid>,
    ) {
        loop {
            if leading.wait_for(|leads| *leads).await.is_err() {
                return;
            }
            let mut cursor = ObservationCursor::default();
            while *leading.borrow() {
                match self.leases.observations_since(cursor).await {
                    Ok((rows, next)) => {
                        cursor = next;
                        for connector in self.receive(rows) {
                            // The receiver is gone only when the process ends.
                            let _ = requeue.send(connector);
                        }
                    }
                    Err(error) => {
                        tracing::warn!(%error, "failed to read what other replicas' pollers saw; statuses may be old until it succeeds");
                    }
                }
                tokio::time::sleep(READ_INTERVAL).await;
            }
            self.received.lock().clear();
        }
    }

    /// Takes rows in. The connectors of which something new was received.
    fn receive(&self, rows: Vec<SharedObservation>) -> Vec<ConnectorUid> {
        let mut received = self.received.lock();
        let changed = rows.into_iter().filter_map(|row| {
            let new = Received {
                token_fingerprint: row.token_fingerprint,
                facts: row.facts.into(),
            };
            if received.get(&row.connector) == Some(&new) {
                return None;
            }
            received.insert(row.connector.clone(), new);
            Some(row.connector)
        });
        changed.collect()
    }
}

fn to_json(facts: &SharedFacts) -> String {
    serde_json::to_string(facts).expect("texts and numbers always serialize")
}
