//! A store whose process ends at a call that a test chooses: from then on nothing of it answers, as if the process were gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use telegram_connector_operator::history::ChatMessage;
use telegram_connector_operator::identity::{BotId, ConnectorRef, ConnectorUid};
use telegram_connector_operator::store::shards::ShardLeases;
use telegram_connector_operator::store::{
    AcceptOutcome, Backlog, Claim, ClaimOutcome, ClaimRequest, CreateOutcome, DeadLetter,
    DeniedMessage, ErasedCounts, ExpiredDecision, Inbox, LaneWrite, ListingQuery, NewOutgoing,
    ObjectChanges, ObjectKey, ObjectKind, ObjectPage, ObjectQuery, ObjectStore, OutgoingMessage,
    Page, ParkedClaim, ReadAlongMessage, Retention, SessionSummary, Store, StoreError,
    UserDecision, WaitingMessage, WorkNotifier, WriteOutcome,
};
use telegram_connector_operator::telegram::RawUpdate;
use tokio::sync::Notify;

/// The store with its end.
pub(crate) struct KillableStore {
    inner: Arc<dyn Store>,
    /// Moments before and after calls that may still come.
    left: AtomicUsize,
    is_dead: AtomicBool,
    died: Notify,
}

impl KillableStore {
    /// Ends at this moment: each call that matters has one before it and one after it.
    pub(crate) fn ending_at(inner: Arc<dyn Store>, moment: usize) -> Arc<Self> {
        Arc::new(Self {
            inner,
            left: AtomicUsize::new(moment),
            is_dead: AtomicBool::new(false),
            died: Notify::new(),
        })
    }

    /// Waits until it has ended.
    pub(crate) async fn died(&self) {
        self.died.notified().await;
    }

    /// A moment has come. Whether it was the last.
    fn passes_away(&self) -> bool {
        let left = self.left.fetch_sub(1, Ordering::SeqCst);
        if left == 1 {
            self.is_dead.store(true, Ordering::SeqCst);
            self.died.notify_one();
        }
        self.is_dead.load(Ordering::SeqCst)
    }

    async fn moment(&self) {
        if self.passes_away() {
            std::future::pending::<()>().await;
        }
    }

    /// Of calls that do not matter: only that the dead do not speak.
    async fn alive(&self) -> &dyn Store {
        if self.is_dead.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        &*self.inner
    }
}

#[async_trait]
impl Inbox for KillableStore {
    async fn accept(
        &self,
        connector: &ConnectorUid,
        bot: BotId,
        updates: Vec<RawUpdate>,
    ) -> Result<AcceptOutcome, StoreError> {
        self.alive().await.accept(connector, bot, updates).await
    }

    async fn register(&self, connector: &ConnectorRef) -> Result<(), StoreError> {
        self.alive().await.register(connector).await
    }

    async fn delete_connector_data(&self, connector: &ConnectorUid) -> Result<(), StoreError> {
        self.alive().await.delete_connector_data(connector).await
    }

    async fn connectors(&self) -> Result<Vec<ConnectorRef>, StoreError> {
        self.alive().await.connectors().await
    }

    async fn writable(&self) -> Result<(), StoreError> {
        self.alive().await.writable().await
    }

    fn shard_leases(&self, fleet: &str) -> Option<Arc<dyn ShardLeases>> {
        self.inner.shard_leases(fleet)
    }
}

#[async_trait]
impl ObjectStore for KillableStore {
    async fn list_objects(
        &self,
        query: &ObjectQuery,
        after: Option<ObjectKey>,
        limit: u32,
    ) -> Result<ObjectPage, StoreError> {
        self.alive().await.list_objects(query, after, limit).await
    }

    async fn object_changes(
        &self,
        query: &ObjectQuery,
        after: i64,
        limit: u32,
    ) -> Result<ObjectChanges, StoreError> {
        self.alive().await.object_changes(query, after, limit).await
    }

    async fn delete_objects(
        &self,
        kind: ObjectKind,
        namespace: &str,
        keys: Vec<ObjectKey>,
    ) -> Result<u64, StoreError> {
        let store = self.alive().await;
        store.delete_objects(kind, namespace, keys).await
    }

    async fn transcript(
        &self,
        namespace: &str,
        key: ObjectKey,
    ) -> Result<Option<Vec<ChatMessage>>, StoreError> {
        self.alive().await.transcript(namespace, key).await
    }

    async fn erase(&self, user: i64, namespace: Option<&str>) -> Result<ErasedCounts, StoreError> {
        self.alive().await.erase(user, namespace).await
    }
}

#[async_trait]
impl Store for KillableStore {
    fn work_notifier(&self) -> Arc<WorkNotifier> {
        self.inner.work_notifier()
    }

    async fn claim(&self, claim_requests: Vec<ClaimRequest>) -> Result<ClaimOutcome, StoreError> {
        self.moment().await;
        let claimed = self.inner.claim(claim_requests).await;
        self.moment().await;
        claimed
    }

    fn park_claim(&self, claim_request: ClaimRequest) -> ParkedClaim {
        self.inner.park_claim(claim_request)
    }

    fn withdraw_claim(&self, connector: &ConnectorUid) -> bool {
        self.inner.withdraw_claim(connector)
    }

    async fn write(&self, write: Arc<LaneWrite>) -> Result<WriteOutcome, StoreError> {
        self.moment().await;
        let written = self.inner.write(write).await;
        self.moment().await;
        written
    }

    fn release_in_background(&self, connector: ConnectorUid, write: LaneWrite) {
        if !self.passes_away() {
            self.inner.release_in_background(connector, write);
        }
    }

    /// The task ends by a panic: there is nothing to wait for here.
    fn record_sent(&self, claim: &Claim, reply: i64, number: u32, message_id: Option<i64>) -> bool {
        assert!(!self.passes_away(), "ended before it was recorded");
        let recorded = self.inner.record_sent(claim, reply, number, message_id);
        assert!(!self.passes_away(), "ended once it was recorded");
        recorded
    }

    async fn upload(
        &self,
        claim: &Claim,
        reply: i64,
        number: u32,
    ) -> Result<Option<Bytes>, StoreError> {
        self.alive().await.upload(claim, reply, number).await
    }

    async fn read_along(&self, lane: i64) -> Result<Vec<ReadAlongMessage>, StoreError> {
        self.alive().await.read_along(lane).await
    }

    async fn count_messages(
        &self,
        connector: i64,
        sender: i64,
        minute: i64,
        messages: u32,
    ) -> Result<Option<u32>, StoreError> {
        let store = self.alive().await;
        store
            .count_messages(connector, sender, minute, messages)
            .await
    }

    async fn user_decision(
        &self,
        connector: i64,
        id: &str,
    ) -> Result<Option<UserDecision>, StoreError> {
        self.alive().await.user_decision(connector, id).await
    }

    async fn open_user_decisions(&self, lane: i64) -> Result<Vec<UserDecision>, StoreError> {
        self.alive().await.open_user_decisions(lane).await
    }

    async fn expire_decisions(&self) -> Result<Vec<ExpiredDecision>, StoreError> {
        self.alive().await.expire_decisions().await
    }

    async fn waiting_messages(
        &self,
        lanes: &[i64],
    ) -> Result<Vec<(i64, Vec<WaitingMessage>)>, StoreError> {
        self.alive().await.waiting_messages(lanes).await
    }

    async fn keep_claims(&self) -> Result<Vec<(ConnectorUid, Timestamp)>, StoreError> {
        self.alive().await.keep_claims().await
    }

    async fn release_claims(&self) -> Result<(), StoreError> {
        self.alive().await.release_claims().await
    }

    async fn ready_now(&self, connector: &ConnectorUid) -> Result<(), StoreError> {
        self.alive().await.ready_now(connector).await
    }

    async fn backlog(&self) -> Result<Vec<Backlog>, StoreError> {
        self.alive().await.backlog().await
    }

    async fn dead_letter_other_bots(
        &self,
        connector: &ConnectorUid,
        bot: BotId,
        before: Timestamp,
    ) -> Result<u64, StoreError> {
        let store = self.alive().await;
        store.dead_letter_other_bots(connector, bot, before).await
    }

    async fn prune(&self, retention: Retention) -> Result<bool, StoreError> {
        self.alive().await.prune(retention).await
    }

    async fn denied(&self, listing: &ListingQuery) -> Result<Page<DeniedMessage>, StoreError> {
        self.alive().await.denied(listing).await
    }

    async fn sessions(&self, listing: &ListingQuery) -> Result<Page<SessionSummary>, StoreError> {
        self.alive().await.sessions(listing).await
    }

    async fn dead_letters(&self, listing: &ListingQuery) -> Result<Page<DeadLetter>, StoreError> {
        self.alive().await.dead_letters(listing).await
    }

    async fn create_outgoing(&self, new: NewOutgoing) -> Result<CreateOutcome, StoreError> {
        self.moment().await;
        let created = self.inner.create_outgoing(new).await;
        self.moment().await;
        created
    }

    async fn outgoing_message(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<OutgoingMessage>, StoreError> {
        let store = self.alive().await;
        store.outgoing_message(namespace, name).await
    }

    async fn retry_dead_letters(&self, ids: &[i64]) -> Result<u64, StoreError> {
        self.alive().await.retry_dead_letters(ids).await
    }
}
