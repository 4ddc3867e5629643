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
use crate::store::StoreError;
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
            if let Err(error) = self.write_pending().await {
                tracing::warn!(%error, "failed to share what the pollers of this replica saw; retrying in {} s", WRITE_RETRY_INTERVAL.as_secs());
                tokio::time::sleep(WRITE_RETRY_INTERVAL).await;
                self.has_pending.notify_one();
            }
        }
    }

    async fn write_pending(&self) -> Result<(), StoreError> {
        let pending: Vec<SharedObservation> = {
            let mut outgoing = self.outgoing.lock();
            outgoing.pending.drain().map(|(_, row)| row).collect()
        };
        if pending.is_empty() {
            return Ok(());
        }
        let written = self.leases.write_observations(&pending).await;
        if written.is_err() {
            self.put_back(pending);
        }
        written
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
                match self.read_changes(cursor).await {
                    Ok((changed, next)) => {
                        cursor = next;
                        for connector in changed {
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

    /// Reads what has changed since `cursor`. The connectors of which something new was received, and the next cursor.
    async fn read_changes(
        &self,
        cursor: ObservationCursor,
    ) -> Result<(Vec<ConnectorUid>, ObservationCursor), StoreError> {
        let (rows, next) = self.leases.observations_since(cursor).await?;
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
        Ok((changed.collect(), next))
    }
}

fn to_json(facts: &SharedFacts) -> String {
    serde_json::to_string(facts).expect("texts and numbers always serialize")
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::identity::BotId;
    use crate::observation::{ConnectionFact, IdentityFact};
    use crate::store::shards::FleetView;
    use crate::telegram::{BotToken, TelegramApi};

    /// Keeps what is written; refuses the first `failures` writes.
    #[derive(Default)]
    struct FakeLeases {
        written: Mutex<Vec<SharedObservation>>,
        failures: Mutex<u32>,
    }

    #[async_trait]
    impl ShardLeases for FakeLeases {
        async fn renew(&self, _lease: Duration) -> Result<FleetView, StoreError> {
            unreachable!("not by observations")
        }
        async fn remove_expired(&self) -> Result<bool, StoreError> {
            unreachable!("not by observations")
        }
        async fn take(&self, _shards: &[Shard]) -> Result<Vec<Shard>, StoreError> {
            unreachable!("not by observations")
        }
        async fn release(&self, _shards: &[Shard]) -> Result<(), StoreError> {
            unreachable!("not by observations")
        }
        async fn leave(&self) -> Result<(), StoreError> {
            unreachable!("not by observations")
        }
        async fn write_observations(
            &self,
            observed: &[SharedObservation],
        ) -> Result<(), StoreError> {
            let mut failures = self.failures.lock();
            if *failures > 0 {
                *failures -= 1;
                return Err(StoreError::Unavailable("an outage".into()));
            }
            self.written.lock().extend_from_slice(observed);
            Ok(())
        }
        async fn observations_since(
            &self,
            cursor: ObservationCursor,
        ) -> Result<(Vec<SharedObservation>, ObservationCursor), StoreError> {
            let rows = self.written.lock();
            let from = usize::try_from(cursor.0).expect("a position");
            let next = i64::try_from(rows.len()).expect("few");
            Ok((rows[from..].to_vec(), ObservationCursor(next)))
        }
    }

    fn bot(secret: char) -> Bot {
        let api = TelegramApi::new("http://127.0.0.1:1".parse().expect("a URL")).expect("an API");
        let token = format!("84:{}", String::from(secret).repeat(35));
        Bot::new(Arc::new(api), BotToken::parse(&token).expect("a token"))
    }

    fn polled() -> ObservedFacts {
        ObservedFacts {
            connection: Some(ConnectionFact::PollCompleted(BotId(84))),
            ..ObservedFacts::default()
        }
    }

    fn refused() -> ObservedFacts {
        ObservedFacts {
            identity: Some(IdentityFact::Refused {
                detail: "401".into(),
            }),
            assistant: AssistantFact::Succeeding,
            ..ObservedFacts::default()
        }
    }

    /// The sharing of one process.
    fn sharing(failures: u32) -> (Arc<FakeLeases>, ObservationSharing) {
        let leases = Arc::new(FakeLeases {
            failures: Mutex::new(failures),
            ..FakeLeases::default()
        });
        (leases.clone(), ObservationSharing::new(leases))
    }

    #[tokio::test]
    async fn only_what_differs_is_written() {
        let (leases, sharing) = sharing(0);
        let uid = ConnectorUid::from("u-1");
        let count = async || {
            sharing.write_pending().await.expect("a store");
            leases.written.lock().len()
        };
        for _ in 0..3 {
            sharing.share(&uid, &bot('A'), 1, &polled());
            assert_eq!(count().await, 1);
        }
        sharing.share(&uid, &bot('B'), 1, &polled());
        assert_eq!(count().await, 2, "another token");
        for _ in 0..2 {
            sharing.share_disconnected(&uid);
            assert_eq!(count().await, 3);
        }
        sharing.share_disconnected(&ConnectorUid::from("never polled here"));
        assert_eq!(count().await, 3);
    }

    #[tokio::test]
    async fn failed_write_is_repeated_with_the_newest_facts() {
        let (leases, sharing) = sharing(2);
        let uid = ConnectorUid::from("u-1");
        sharing.share(&uid, &bot('A'), 1, &polled());
        assert!(sharing.write_pending().await.is_err());
        assert!(sharing.write_pending().await.is_err(), "it is put back");
        sharing.share(&uid, &bot('A'), 1, &refused());
        sharing.write_pending().await.expect("a store");
        let written = leases.written.lock().clone();
        assert_eq!(written.len(), 1, "{written:?}");
        assert!(written[0].facts.contains("Refused"), "{written:?}");
    }

    #[tokio::test]
    async fn nothing_is_written_of_a_shard_that_has_moved() {
        let (leases, sharing) = sharing(0);
        let uid = ConnectorUid::from("u-1");
        let shard = [Shard::of(BotId(84))];
        sharing.share(&uid, &bot('A'), 1, &polled());
        sharing.forget_shards(&shard);
        sharing.write_pending().await.expect("a store");
        assert!(leases.written.lock().is_empty());
        // It has come back, and another replica may have written meanwhile.
        for _ in 0..2 {
            sharing.share(&uid, &bot('A'), 1, &polled());
            sharing.write_pending().await.expect("a store");
            sharing.forget_shards(&shard);
        }
        assert_eq!(leases.written.lock().len(), 2);
    }

    #[tokio::test]
    async fn leader_receives_what_is_about_its_token_and_generation() {
        let (leases, poller) = sharing(0);
        let uid = ConnectorUid::from("u-1");
        poller.share(&uid, &bot('A'), 2, &refused());
        poller.write_pending().await.expect("a store");
        let leader = ObservationSharing::new(leases);
        let read = async |cursor| leader.read_changes(cursor).await.expect("a store");
        let (changed, cursor) = read(ObservationCursor::default()).await;
        assert_eq!(changed, std::slice::from_ref(&uid));
        assert!(read(cursor).await.0.is_empty(), "nothing new");
        let again = read(ObservationCursor::default()).await.0;
        assert!(again.is_empty(), "the same row says nothing new");
        let facts = |secret, generation| {
            let facts = leader.received_facts(&uid, &bot(secret), generation);
            facts.expect("facts")
        };
        assert_eq!(facts('A', 2), refused());
        assert_eq!(facts('A', 3).assistant, AssistantFact::Unknown);
        assert_eq!(facts('B', 2).identity, None, "another token");
        assert_eq!(facts('B', 2).assistant, AssistantFact::Succeeding);
        leader.remove(&uid);
        assert!(leader.received_facts(&uid, &bot('A'), 2).is_none());
    }

    #[test]
    fn token_cannot_be_read_from_what_is_shared() {
        let (a, b) = (ConnectorUid::from("u-1"), ConnectorUid::from("u-2"));
        let fingerprint = bot('A').token_fingerprint(&a);
        assert_eq!(fingerprint, bot('A').token_fingerprint(&a));
        assert_ne!(fingerprint, bot('B').token_fingerprint(&a));
        assert_ne!(fingerprint, bot('A').token_fingerprint(&b), "salted");
    }
}
