//! A store whose calls a test decides about: one that never gets an answer, or at which the process ends, as by a kill. From the end on nothing
//! of that process reaches the database and nobody gets an answer, so that none of its tasks goes on; only what Telegram is being told meanwhile
//! may still arrive, as from a process that ends a moment later.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use telegram_connector_operator::history::ChatMessage;
use telegram_connector_operator::identity::{BotId, ConnectorRef, ConnectorUid};
use telegram_connector_operator::store::shards::ShardLeases;
use telegram_connector_operator::store::{
    AcceptOutcome, AccessRequest, AccessStore, AccessVerdict, Backlog, Claim, ClaimOutcome,
    ClaimRequest, ClaimedMembership, ClaimedSignIn, CreateOutcome, DayUsageStore, DeadLetter,
    DecideOutcome, DeniedMessage, ErasedCounts, ExpiredDecision, ExpiredRequest, Grant,
    HeldMessage, Inbox, LaneWrite, LimitedQuestion, ListingQuery, MembershipStep, NewGrant,
    NewOutgoing, ObjectChanges, ObjectKey, ObjectKind, ObjectPage, ObjectQuery, ObjectStore,
    OutgoingMessage, Page, ParkedClaim, ReachedLimit, ReadAlongMessage, Retention, SessionSummary,
    SignInClaim, SignInStep, SignInStore, SignInWork, StepOutcome, Store, StoreError, UserDecision,
    WaitingMessage, WorkNotifier, WriteOutcome,
};
use telegram_connector_operator::telegram::RawUpdate;
use tokio::sync::Notify;

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is carried out and answered.
    Answered,
    /// It is neither carried out nor answered, ever.
    Hangs,
    /// The process ends in it; whether what it asked for is done.
    Ends { done: bool },
}

type Decide = dyn Fn(&'static str) -> Fate + Send + Sync;

pub(crate) struct InterceptedStore {
    store: Arc<dyn Store>,
    decide: Box<Decide>,
    has_ended: AtomicBool,
    at_its_end: Notify,
}

impl InterceptedStore {
    /// `decide` is asked at each call, by the method's name.
    pub(crate) fn new(
        store: Arc<dyn Store>,
        decide: impl Fn(&'static str) -> Fate + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            store,
            decide: Box::new(decide),
            has_ended: AtomicBool::new(false),
            at_its_end: Notify::new(),
        })
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::SeqCst)
    }

    /// Ends the process.
    pub(crate) fn end(&self) {
        self.has_ended.store(true, Ordering::SeqCst);
        self.at_its_end.notify_one();
    }

    /// Waits until the process has ended.
    pub(crate) async fn ended(&self) {
        self.at_its_end.notified().await;
    }

    async fn while_alive(&self) {
        if self.has_ended() {
            std::future::pending::<()>().await;
        }
    }

    async fn call<T>(&self, method: &'static str, call: impl Future<Output = T>) -> T {
        self.while_alive().await;
        match (self.decide)(method) {
            Fate::Answered => {
                let outcome = call.await;
                self.while_alive().await;
                return outcome;
            }
            Fate::Hangs => {}
            Fate::Ends { done } => {
                if done {
                    call.await;
                }
                self.end();
            }
        }
        std::future::pending().await
    }

    /// The same of a call that does not wait: one that hangs is done later, which is never.
    fn call_now<T>(&self, method: &'static str, call: impl FnOnce() -> T) -> Option<T> {
        if self.has_ended() {
            return None;
        }
        match (self.decide)(method) {
            Fate::Answered => Some(call()),
            Fate::Hangs => None,
            Fate::Ends { done } => {
                if done {
                    call();
                }
                self.end();
                None
            }
        }
    }
}

#[async_trait]
impl Inbox for InterceptedStore {
    async fn accept(
        &self,
        connector: &ConnectorUid,
        bot: BotId,
        updates: Vec<RawUpdate>,
    ) -> Result<AcceptOutcome, StoreError> {
        self.call("accept", self.store.accept(connector, bot, updates))
            .await
    }

    async fn register(&self, connector: &ConnectorRef) -> Result<(), StoreError> {
        self.call("register", self.store.register(connector)).await
    }

    async fn delete_connector_data(&self, connector: &ConnectorUid) -> Result<(), StoreError> {
        self.call(
            "delete_connector_data",
            self.store.delete_connector_data(connector),
        )
        .await
    }

    async fn connectors(&self) -> Result<Vec<ConnectorRef>, StoreError> {
        self.call("connectors", self.store.connectors()).await
    }

    async fn writable(&self) -> Result<(), StoreError> {
        self.call("writable", self.store.writable()).await
    }

    fn shard_leases(&self, fleet: &str) -> Option<Arc<dyn ShardLeases>> {
        self.store.shard_leases(fleet)
    }
}

#[async_trait]
impl ObjectStore for InterceptedStore {
    async fn list_objects(
        &self,
        query: &ObjectQuery,
        after: Option<ObjectKey>,
        limit: u32,
    ) -> Result<ObjectPage, StoreError> {
        self.store.list_objects(query, after, limit).await
    }

    async fn object_changes(
        &self,
        query: &ObjectQuery,
        after: i64,
        limit: u32,
    ) -> Result<ObjectChanges, StoreError> {
        self.store.object_changes(query, after, limit).await
    }

    async fn delete_objects(
        &self,
        kind: ObjectKind,
        namespace: &str,
        keys: Vec<ObjectKey>,
    ) -> Result<u64, StoreError> {
        self.store.delete_objects(kind, namespace, keys).await
    }

    async fn transcript(
        &self,
        namespace: &str,
        key: ObjectKey,
    ) -> Result<Option<Vec<ChatMessage>>, StoreError> {
        self.store.transcript(namespace, key).await
    }

    async fn erase(&self, user: i64, namespace: Option<&str>) -> Result<ErasedCounts, StoreError> {
        self.store.erase(user, namespace).await
    }
}

#[async_trait]
impl AccessStore for InterceptedStore {
    async fn grants_of(&self, connector: i64, user: i64) -> Result<Vec<Grant>, StoreError> {
        self.call("grants_of", self.store.grants_of(connector, user))
            .await
    }

    async fn grant(&self, new: NewGrant) -> Result<Grant, StoreError> {
        self.call("grant", self.store.grant(new)).await
    }

    async fn access_request(
        &self,
        connector: i64,
        id: i64,
    ) -> Result<Option<AccessRequest>, StoreError> {
        self.call("access_request", self.store.access_request(connector, id))
            .await
    }

    async fn access_request_by_token(
        &self,
        connector: i64,
        token: &str,
    ) -> Result<Option<AccessRequest>, StoreError> {
        let call = self.store.access_request_by_token(connector, token);
        self.call("access_request_by_token", call).await
    }

    async fn open_access_request(
        &self,
        connector: i64,
        user: i64,
    ) -> Result<Option<AccessRequest>, StoreError> {
        let call = self.store.open_access_request(connector, user);
        self.call("open_access_request", call).await
    }

    async fn decide_access_request(
        &self,
        namespace: &str,
        id: i64,
        verdict: AccessVerdict,
        by: &str,
    ) -> Result<DecideOutcome, StoreError> {
        let call = self.store.decide_access_request(namespace, id, verdict, by);
        self.call("decide_access_request", call).await
    }

    async fn expire_access_requests(&self) -> Result<Vec<ExpiredRequest>, StoreError> {
        self.call(
            "expire_access_requests",
            self.store.expire_access_requests(),
        )
        .await
    }
}

#[async_trait]
impl DayUsageStore for InterceptedStore {
    async fn reached_limit(
        &self,
        question: &LimitedQuestion,
    ) -> Result<Option<ReachedLimit>, StoreError> {
        self.call("reached_limit", self.store.reached_limit(question))
            .await
    }

    async fn count_question(
        &self,
        question: &LimitedQuestion,
    ) -> Result<Option<ReachedLimit>, StoreError> {
        self.call("count_question", self.store.count_question(question))
            .await
    }
}

#[async_trait]
impl SignInStore for InterceptedStore {
    async fn sign_in_work(&self, now: Timestamp) -> Result<SignInWork, StoreError> {
        self.call("sign_in_work", self.store.sign_in_work(now))
            .await
    }

    async fn claim_sign_ins(
        &self,
        connector: &ConnectorUid,
        most: u32,
    ) -> Result<Vec<ClaimedSignIn>, StoreError> {
        let claiming = self.store.claim_sign_ins(connector, most);
        self.call("claim_sign_ins", claiming).await
    }

    async fn held_messages(&self, sign_in: i64) -> Result<Vec<HeldMessage>, StoreError> {
        self.call("held_messages", self.store.held_messages(sign_in))
            .await
    }

    async fn step_sign_in(
        &self,
        claim: SignInClaim,
        step: SignInStep,
    ) -> Result<StepOutcome, StoreError> {
        self.call("step_sign_in", self.store.step_sign_in(claim, step))
            .await
    }

    async fn release_sign_ins(&self, connector: &ConnectorUid) -> Result<u64, StoreError> {
        self.call("release_sign_ins", self.store.release_sign_ins(connector))
            .await
    }

    async fn member_with(
        &self,
        connector: i64,
        issuer: &str,
        subject: &str,
    ) -> Result<Option<(i64, Option<String>)>, StoreError> {
        let reading = self.store.member_with(connector, issuer, subject);
        self.call("member_with", reading).await
    }

    async fn membership_issuers(&self) -> Result<Vec<(ConnectorUid, String)>, StoreError> {
        self.call("membership_issuers", self.store.membership_issuers())
            .await
    }

    async fn claim_memberships(
        &self,
        connector: &ConnectorUid,
        most: u32,
    ) -> Result<Vec<ClaimedMembership>, StoreError> {
        let claiming = self.store.claim_memberships(connector, most);
        self.call("claim_memberships", claiming).await
    }

    async fn step_membership(
        &self,
        membership: ClaimedMembership,
        step: MembershipStep,
    ) -> Result<StepOutcome, StoreError> {
        let stepping = self.store.step_membership(membership, step);
        self.call("step_membership", stepping).await
    }

    async fn end_memberships(
        &self,
        connector: &ConnectorUid,
        but: Option<&str>,
    ) -> Result<u64, StoreError> {
        let ending = self.store.end_memberships(connector, but);
        self.call("end_memberships", ending).await
    }
}

#[async_trait]
impl Store for InterceptedStore {
    fn work_notifier(&self) -> Arc<WorkNotifier> {
        self.store.work_notifier()
    }

    async fn claim(&self, claim_requests: Vec<ClaimRequest>) -> Result<ClaimOutcome, StoreError> {
        self.call("claim", self.store.claim(claim_requests)).await
    }

    fn park_claim(&self, claim_request: ClaimRequest) -> ParkedClaim {
        self.store.park_claim(claim_request)
    }

    fn withdraw_claim(&self, connector: &ConnectorUid) -> bool {
        self.store.withdraw_claim(connector)
    }

    async fn write(&self, write: Arc<LaneWrite>) -> Result<WriteOutcome, StoreError> {
        self.call("write", self.store.write(write)).await
    }

    fn release_in_background(&self, connector: ConnectorUid, write: LaneWrite) {
        self.call_now("release_in_background", || {
            self.store.release_in_background(connector, write);
        });
    }

    fn record_sent(&self, claim: &Claim, reply: i64, number: u32, message_id: Option<i64>) -> bool {
        let record = || self.store.record_sent(claim, reply, number, message_id);
        self.call_now("record_sent", record) == Some(true)
    }

    async fn upload(
        &self,
        claim: &Claim,
        reply: i64,
        number: u32,
    ) -> Result<Option<Bytes>, StoreError> {
        self.call("upload", self.store.upload(claim, reply, number))
            .await
    }

    async fn read_along(&self, lane: i64) -> Result<Vec<ReadAlongMessage>, StoreError> {
        self.call("read_along", self.store.read_along(lane)).await
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
        self.call("count_messages", counting).await
    }

    async fn user_decision(
        &self,
        connector: i64,
        id: &str,
    ) -> Result<Option<UserDecision>, StoreError> {
        self.call("user_decision", self.store.user_decision(connector, id))
            .await
    }

    async fn open_user_decisions(&self, lane: i64) -> Result<Vec<UserDecision>, StoreError> {
        self.call("open_user_decisions", self.store.open_user_decisions(lane))
            .await
    }

    async fn expire_decisions(&self) -> Result<Vec<ExpiredDecision>, StoreError> {
        self.call("expire_decisions", self.store.expire_decisions())
            .await
    }

    async fn waiting_messages(
        &self,
        lanes: &[i64],
    ) -> Result<Vec<(i64, Vec<WaitingMessage>)>, StoreError> {
        self.call("waiting_messages", self.store.waiting_messages(lanes))
            .await
    }

    async fn keep_claims(&self) -> Result<Vec<(ConnectorUid, Timestamp)>, StoreError> {
        self.call("keep_claims", self.store.keep_claims()).await
    }

    /// A process that is killed gives nothing back.
    async fn release_claims(&self) -> Result<(), StoreError> {
        if self.has_ended() {
            return Ok(());
        }
        self.call("release_claims", self.store.release_claims())
            .await
    }

    async fn ready_now(&self, connector: &ConnectorUid) -> Result<(), StoreError> {
        self.call("ready_now", self.store.ready_now(connector))
            .await
    }

    async fn backlog(&self) -> Result<Vec<Backlog>, StoreError> {
        self.call("backlog", self.store.backlog()).await
    }

    async fn dead_letter_other_bots(
        &self,
        connector: &ConnectorUid,
        bot: BotId,
        before: Timestamp,
    ) -> Result<u64, StoreError> {
        let giving_up = self.store.dead_letter_other_bots(connector, bot, before);
        self.call("dead_letter_other_bots", giving_up).await
    }

    async fn prune(&self, retention: Retention) -> Result<bool, StoreError> {
        self.call("prune", self.store.prune(retention)).await
    }

    async fn denied(&self, listing: &ListingQuery) -> Result<Page<DeniedMessage>, StoreError> {
        self.store.denied(listing).await
    }

    async fn sessions(&self, listing: &ListingQuery) -> Result<Page<SessionSummary>, StoreError> {
        self.store.sessions(listing).await
    }

    async fn dead_letters(&self, listing: &ListingQuery) -> Result<Page<DeadLetter>, StoreError> {
        self.call("dead_letters", self.store.dead_letters(listing))
            .await
    }

    async fn create_outgoing(&self, new: NewOutgoing) -> Result<CreateOutcome, StoreError> {
        self.call("create_outgoing", self.store.create_outgoing(new))
            .await
    }

    async fn outgoing_message(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<OutgoingMessage>, StoreError> {
        let reading = self.store.outgoing_message(namespace, name);
        self.call("outgoing_message", reading).await
    }

    async fn retry_dead_letters(&self, ids: &[i64]) -> Result<u64, StoreError> {
        self.store.retry_dead_letters(ids).await
    }
}
