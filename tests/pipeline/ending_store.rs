//! A store that ends its process at a chosen call: what a kill leaves behind, at each point at which the pipeline waits for the store. From that
//! call on nothing is written and nobody gets an answer, so that no task goes on; the pipeline is then dropped and the store opened again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use telegram_connector_operator::identity::{BotId, ConnectorRef, ConnectorUid};
use telegram_connector_operator::store::shards::ShardLeases;
use telegram_connector_operator::store::{
    AcceptOutcome, Backlog, Claim, ClaimOutcome, ClaimRequest, DeadLetter, DeniedMessage,
    ExpiredDecision, Inbox, LaneWrite, ListingQuery, Page, ParkedClaim, ReadAlongMessage,
    Retention, SessionSummary, Store, StoreError, UserDecision, WaitingMessage, WorkNotifier,
    WriteOutcome,
};
use telegram_connector_operator::telegram::RawUpdate;
use tokio::sync::Notify;

/// When the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    /// At this call, counted from 0.
    pub(crate) call: usize,
    /// With what it asked for done.
    pub(crate) done: bool,
}

pub(crate) struct EndingStore {
    store: Arc<dyn Store>,
    end: End,
    calls: AtomicUsize,
    has_ended: AtomicBool,
    ended: Notify,
}

impl EndingStore {
    pub(crate) fn new(store: Arc<dyn Store>, end: End) -> Arc<Self> {
        Arc::new(Self {
            store,
            end,
            calls: AtomicUsize::new(0),
            has_ended: AtomicBool::new(false),
            ended: Notify::new(),
        })
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::SeqCst)
    }

    /// Resolves when the process has ended.
    pub(crate) async fn wait_for_end(&self) {
        self.ended.notified().await;
    }

    /// A call at which the process may end.
    async fn counted<T>(&self, call: impl Future<Output = T>) -> T {
        if self.has_ended() {
            std::future::pending::<()>().await;
        }
        let ends = self.calls.fetch_add(1, Ordering::SeqCst) == self.end.call;
        if !ends {
            return self.alive(call).await;
        }
        if self.end.done {
            call.await;
        }
        self.has_ended.store(true, Ordering::SeqCst);
        self.ended.notify_one();
        std::future::pending().await
    }

    /// A call of something that always runs: it gets no answer once the process has ended.
    async fn alive<T>(&self, call: impl Future<Output = T>) -> T {
        if self.has_ended() {
            std::future::pending::<()>().await;
        }
        let outcome = call.await;
        if self.has_ended() {
            std::future::pending::<()>().await;
        }
        outcome
    }
}

#[async_trait]
impl Inbox for EndingStore {
    async fn accept(
        &self,
        connector: &ConnectorUid,
        bot: BotId,
        updates: Vec<RawUpdate>,
    ) -> Result<AcceptOutcome, StoreError> {
        self.counted(self.store.accept(connector, bot, updates))
            .await
    }

    async fn register(&self, connector: &ConnectorRef) -> Result<(), StoreError> {
        self.alive(self.store.register(connector)).await
    }

    async fn delete_connector_data(&self, connector: &ConnectorUid) -> Result<(), StoreError> {
        self.alive(self.store.delete_connector_data(connector))
            .await
    }

    async fn connectors(&self) -> Result<Vec<ConnectorRef>, StoreError> {
        self.alive(self.store.connectors()).await
    }

    async fn writable(&self) -> Result<(), StoreError> {
        self.alive(self.store.writable()).await
    }

    fn shard_leases(&self, fleet: &str) -> Option<Arc<dyn ShardLeases>> {
        self.store.shard_leases(fleet)
    }
}

#[async_trait]
impl Store for EndingStore {
    fn work_notifier(&self) -> Arc<WorkNotifier> {
        self.store.work_notifier()
    }

    async fn claim(&self, claim_requests: Vec<ClaimRequest>) -> Result<ClaimOutcome, StoreError> {
        self.counted(self.store.claim(claim_requests)).await
    }

    fn park_claim(&self, claim_request: ClaimRequest) -> ParkedClaim {
        self.store.park_claim(claim_request)
    }

    fn withdraw_claim(&self, connector: &ConnectorUid) -> bool {
        self.store.withdraw_claim(connector)
    }

    async fn write(&self, write: Arc<LaneWrite>) -> Result<WriteOutcome, StoreError> {
        self.counted(self.store.write(write)).await
    }

    fn release_in_background(&self, connector: ConnectorUid, write: LaneWrite) {
        if !self.has_ended() {
            self.store.release_in_background(connector, write);
        }
    }

    fn record_sent(&self, claim: &Claim, reply: i64, number: u32) -> bool {
        !self.has_ended() && self.store.record_sent(claim, reply, number)
    }

    async fn upload(
        &self,
        claim: &Claim,
        reply: i64,
        number: u32,
    ) -> Result<Option<Bytes>, StoreError> {
        self.counted(self.store.upload(claim, reply, number)).await
    }

    async fn read_along(&self, lane: i64) -> Result<Vec<ReadAlongMessage>, StoreError> {
        self.counted(self.store.read_along(lane)).await
    }

    async fn count_messages(
        &self,
        connector: i64,
        sender: i64,
        minute: i64,
        messages: u32,
    ) -> Result<Option<u32>, StoreError> {
        let counting = self
            .store
            .count_messages(connector, sender, minute, messages);
        self.counted(counting).await
    }

    async fn user_decision(
        &self,
        connector: i64,
        id: &str,
    ) -> Result<Option<UserDecision>, StoreError> {
        self.counted(self.store.user_decision(connector, id)).await
    }

    async fn open_user_decisions(&self, lane: i64) -> Result<Vec<UserDecision>, StoreError> {
        self.counted(self.store.open_user_decisions(lane)).await
    }

    async fn expire_decisions(&self) -> Result<Vec<ExpiredDecision>, StoreError> {
        self.alive(self.store.expire_decisions()).await
    }

    async fn waiting_messages(
        &self,
        lanes: &[i64],
    ) -> Result<Vec<(i64, Vec<WaitingMessage>)>, StoreError> {
        self.alive(self.store.waiting_messages(lanes)).await
    }

    async fn keep_claims(&self) -> Result<Vec<(ConnectorUid, Timestamp)>, StoreError> {
        self.alive(self.store.keep_claims()).await
    }

    /// A process that is killed gives nothing back.
    async fn release_claims(&self) -> Result<(), StoreError> {
        if self.has_ended() {
            return Ok(());
        }
        self.store.release_claims().await
    }

    async fn ready_now(&self, connector: &ConnectorUid) -> Result<(), StoreError> {
        self.alive(self.store.ready_now(connector)).await
    }

    async fn backlog(&self) -> Result<Vec<Backlog>, StoreError> {
        self.alive(self.store.backlog()).await
    }

    async fn dead_letter_other_bots(
        &self,
        connector: &ConnectorUid,
        bot: BotId,
        before: Timestamp,
    ) -> Result<u64, StoreError> {
        let giving_up = self.store.dead_letter_other_bots(connector, bot, before);
        self.alive(giving_up).await
    }

    async fn prune(&self, retention: Retention) -> Result<bool, StoreError> {
        self.alive(self.store.prune(retention)).await
    }

    async fn denied(&self, listing: &ListingQuery) -> Result<Page<DeniedMessage>, StoreError> {
        self.store.denied(listing).await
    }

    async fn sessions(&self, listing: &ListingQuery) -> Result<Page<SessionSummary>, StoreError> {
        self.store.sessions(listing).await
    }

    async fn dead_letters(&self, listing: &ListingQuery) -> Result<Page<DeadLetter>, StoreError> {
        self.store.dead_letters(listing).await
    }

    async fn retry_dead_letters(&self, ids: &[i64]) -> Result<u64, StoreError> {
        self.store.retry_dead_letters(ids).await
    }
}
