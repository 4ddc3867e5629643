//! The store in a database, whichever it is: one writer that commits what has gathered, and connections that only read.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use super::access::{
    AccessRequest, AccessStore, AccessVerdict, DecideOutcome, ExpiredRequest, Grant, NewGrant,
};
use super::access_statements::DecideRequest;
use super::day_usage::{DayUsageStore, LimitedQuestion, READ_USAGE, ReachedLimit};
use super::group_commit::Writer;
use super::objects::{
    ErasedCounts, ObjectChanges, ObjectKey, ObjectKind, ObjectPage, ObjectQuery, ObjectStore,
};
use super::outgoing::WrittenOutgoing;
use super::reading::{self, Columns as _, Readers, Value, listing};
use super::requests::{
    Accept, ChangeLane, CountMessages, DeleteObjects, Erase, OtherBots, StoreRequest,
};
use super::shards::ShardLeases;
use super::sign_ins::{SignInAnswer, SignInRequest};
use super::statements::PRUNE_LIMIT;
use super::{
    AcceptOutcome, Backlog, Claim, ClaimOutcome, ClaimRequest, ClaimedMembership, ClaimedSignIn,
    CreateOutcome, DeadLetter, DeniedMessage, ExpiredDecision, HeldMessage, Inbox, LaneWrite,
    ListingQuery, MembershipStep, NewOutgoing, OutgoingMessage, Page, ParkedClaim,
    ReadAlongMessage, Retention, SessionSummary, SignInClaim, SignInStep, SignInStore, SignInWork,
    StepOutcome, Store, StoreError, UserDecision, WaitingMessage, WorkNotifier, WriteOutcome,
};
use crate::clock::SharedClock;
use crate::history::ChatMessage;
use crate::identity::{BotId, ConnectorRef, ConnectorUid};
use crate::telegram::RawUpdate;

/// Says what a reader's error means and what to do.
type Explain = Box<dyn Fn(&sqlx::Error) -> StoreError + Send + Sync>;

/// Writes down at once that Telegram has taken a part; whether it could.
type RecordSent = Box<dyn Fn(&Claim, i64, u32, Option<i64>) -> bool + Send + Sync>;

/// Makes a fleet's leases of shards.
type MakeShardLeases = Box<dyn Fn(&str) -> Arc<dyn ShardLeases> + Send + Sync>;

/// The store in a database that is open.
pub(super) struct DatabaseStore<R> {
    writer: Writer,
    readers: R,
    explain: Explain,
    record_sent: RecordSent,
    work_notifier: Arc<WorkNotifier>,
    clock: SharedClock,
    shard_leases: Option<MakeShardLeases>,
}

impl<R> DatabaseStore<R> {
    pub(super) fn new(
        writer: Writer,
        readers: R,
        work_notifier: Arc<WorkNotifier>,
        clock: SharedClock,
        explain: impl Fn(&sqlx::Error) -> StoreError + Send + Sync + 'static,
    ) -> Self {
        Self {
            writer,
            readers,
            explain: Box::new(explain),
            record_sent: Box::new(|_, _, _, _| false),
            work_notifier,
            clock,
            shard_leases: None,
        }
    }

    /// With a journal beside the database.
    pub(super) fn with_sent_journal(
        mut self,
        record_sent: impl Fn(&Claim, i64, u32, Option<i64>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.record_sent = Box::new(record_sent);
        self
    }

    /// For a database that several processes poll into.
    pub(super) fn with_shard_leases(
        mut self,
        make: impl Fn(&str) -> Arc<dyn ShardLeases> + Send + Sync + 'static,
    ) -> Self {
        self.shard_leases = Some(Box::new(make));
        self
    }
}

#[async_trait]
impl<R: Readers> Inbox for DatabaseStore<R> {
    async fn accept(
        &self,
        connector: &ConnectorUid,
        bot: BotId,
        updates: Vec<RawUpdate>,
    ) -> Result<AcceptOutcome, StoreError> {
        if updates.is_empty() {
            return Ok(AcceptOutcome { new: 0, known: 0 });
        }
        let request = Accept {
            connector: connector.clone(),
            bot,
            updates,
        };
        self.writer.call(request, StoreRequest::Accept).await
    }

    async fn register(&self, connector: &ConnectorRef) -> Result<(), StoreError> {
        self.writer
            .call(connector.clone(), StoreRequest::Register)
            .await
    }

    async fn delete_connector_data(&self, connector: &ConnectorUid) -> Result<(), StoreError> {
        let request = connector.clone();
        self.writer
            .call(request, StoreRequest::DeleteConnectorData)
            .await
    }

    async fn connectors(&self) -> Result<Vec<ConnectorRef>, StoreError> {
        listing::connectors(&self.readers)
            .await
            .map_err(|e| (self.explain)(&e))
    }

    async fn writable(&self) -> Result<(), StoreError> {
        self.writer.call((), StoreRequest::Probe).await
    }

    fn shard_leases(&self, fleet: &str) -> Option<Arc<dyn ShardLeases>> {
        self.shard_leases.as_ref().map(|make| make(fleet))
    }
}

#[async_trait]
impl<R: Readers> ObjectStore for DatabaseStore<R> {
    async fn list_objects(
        &self,
        query: &ObjectQuery,
        after: Option<ObjectKey>,
        limit: u32,
    ) -> Result<ObjectPage, StoreError> {
        reading::objects::list(&self.readers, query, after, limit)
            .await
            .map_err(|e| (self.explain)(&e))
    }

    async fn object_changes(
        &self,
        query: &ObjectQuery,
        after: i64,
        limit: u32,
    ) -> Result<ObjectChanges, StoreError> {
        reading::objects::changes(&self.readers, query, after, limit)
            .await
            .map_err(|e| (self.explain)(&e))
    }

    async fn delete_objects(
        &self,
        kind: ObjectKind,
        namespace: &str,
        keys: Vec<ObjectKey>,
    ) -> Result<u64, StoreError> {
        let request = DeleteObjects {
            kind,
            namespace: namespace.to_owned(),
            keys,
        };
        self.writer.call(request, StoreRequest::DeleteObjects).await
    }

    async fn transcript(
        &self,
        namespace: &str,
        key: ObjectKey,
    ) -> Result<Option<Vec<ChatMessage>>, StoreError> {
        reading::objects::transcript(&self.readers, namespace, key)
            .await
            .map_err(|e| (self.explain)(&e))
    }

    async fn erase(&self, user: i64, namespace: Option<&str>) -> Result<ErasedCounts, StoreError> {
        let namespace = namespace.map(str::to_owned);
        let request = Erase { user, namespace };
        self.writer.call(request, StoreRequest::Erase).await
    }
}

#[async_trait]
impl<R: Readers> AccessStore for DatabaseStore<R> {
    async fn grants_of(&self, connector: i64, user: i64) -> Result<Vec<Grant>, StoreError> {
        let now = self.clock.now().as_millisecond();
        reading::access::grants_of(&self.readers, connector, user, now)
            .await
            .map_err(|e| (self.explain)(&e))
    }

    async fn grant(&self, new: NewGrant) -> Result<Grant, StoreError> {
        let id = self.writer.call(new, StoreRequest::Grant).await?;
        let given = reading::access::grant(&self.readers, id)
            .await
            .map_err(|e| (self.explain)(&e))?;
        given.ok_or_else(|| StoreError::Unavailable("the grant has just been deleted".into()))
    }

    async fn access_request(
        &self,
        connector: i64,
        id: i64,
    ) -> Result<Option<AccessRequest>, StoreError> {
        reading::access::request(&self.readers, connector, id)
            .await
            .map_err(|e| (self.explain)(&e))
    }

    async fn access_request_by_token(
        &self,
        connector: i64,
        token: &str,
    ) -> Result<Option<AccessRequest>, StoreError> {
        reading::access::request_by_token(&self.readers, connector, token)
            .await
            .map_err(|e| (self.explain)(&e))
    }

    async fn open_access_request(
        &self,
        connector: i64,
        user: i64,
    ) -> Result<Option<AccessRequest>, StoreError> {
        let now = self.clock.now().as_millisecond();
        reading::access::open_request(&self.readers, connector, user, now)
            .await
            .map_err(|e| (self.explain)(&e))
    }

    async fn decide_access_request(
        &self,
        namespace: &str,
        id: i64,
        verdict: AccessVerdict,
        by: &str,
    ) -> Result<DecideOutcome, StoreError> {
        let decide = DecideRequest {
            namespace: namespace.to_owned(),
            id,
            verdict,
            by: by.to_owned(),
        };
        let call = self.writer.call(decide, StoreRequest::DecideAccessRequest);
        let written = call.await?;
        let request = reading::access::request_of_namespace(&self.readers, namespace, id)
            .await
            .map_err(|e| (self.explain)(&e))?;
        Ok(match request {
            Some(request) if written.is_decided => DecideOutcome::Decided(request.into()),
            Some(request) => DecideOutcome::AlreadyDecided(request.into()),
            None => DecideOutcome::NotFound,
        })
    }

    async fn expire_access_requests(&self) -> Result<Vec<ExpiredRequest>, StoreError> {
        let now = self.clock.now().as_millisecond();
        let has_expired = reading::access::has_expired(&self.readers, now)
            .await
            .map_err(|e| (self.explain)(&e))?;
        if !has_expired {
            return Ok(Vec::new());
        }
        let call = self.writer.call((), StoreRequest::ExpireAccessRequests);
        call.await
    }
}

#[async_trait]
impl<R: Readers> DayUsageStore for DatabaseStore<R> {
    async fn reached_limit(
        &self,
        question: &LimitedQuestion,
    ) -> Result<Option<ReachedLimit>, StoreError> {
        let (connector, day, user, message) = question.values();
        let values = [connector, day, user, message].map(Value::Number);
        let read = self.readers.fetch(READ_USAGE.to_owned(), &values).await;
        let rows = read.map_err(|e| (self.explain)(&e))?;
        let usage = rows
            .first()
            .map(|row| [0, 1, 2, 3, 4].map(|column| row.number(column)));
        Ok(question.verdict(usage).refusal())
    }

    async fn count_question(
        &self,
        question: &LimitedQuestion,
    ) -> Result<Option<ReachedLimit>, StoreError> {
        if !question.counts_messages() {
            return self.reached_limit(question).await;
        }
        self.writer
            .call(question.clone(), StoreRequest::CountQuestion)
            .await
    }
}

#[async_trait]
impl<R: Readers> SignInStore for DatabaseStore<R> {
    async fn sign_in_work(&self, now: Timestamp) -> Result<SignInWork, StoreError> {
        reading::sign_ins::work(&self.readers, now.as_millisecond())
            .await
            .map_err(|e| (self.explain)(&e))
    }

    async fn claim_sign_ins(
        &self,
        connector: &ConnectorUid,
        most: u32,
    ) -> Result<Vec<ClaimedSignIn>, StoreError> {
        let request = SignInRequest::ClaimSignIns(connector.clone(), most);
        match self.writer.call(request, StoreRequest::SignIn).await? {
            SignInAnswer::SignIns(claimed) => Ok(claimed),
            _ => Ok(Vec::new()),
        }
    }

    async fn held_messages(&self, sign_in: i64) -> Result<Vec<HeldMessage>, StoreError> {
        reading::sign_ins::held_messages(&self.readers, sign_in)
            .await
            .map_err(|e| (self.explain)(&e))
    }

    async fn step_sign_in(
        &self,
        claim: SignInClaim,
        step: SignInStep,
    ) -> Result<StepOutcome, StoreError> {
        self.step(SignInRequest::Step(claim, step)).await
    }

    async fn release_sign_ins(&self, connector: &ConnectorUid) -> Result<u64, StoreError> {
        let request = SignInRequest::Release(connector.clone());
        match self.writer.call(request, StoreRequest::SignIn).await? {
            SignInAnswer::Ended(sign_ins) => Ok(sign_ins),
            _ => Ok(0),
        }
    }

    async fn member_with(
        &self,
        connector: i64,
        issuer: &str,
        subject: &str,
    ) -> Result<Option<(i64, Option<String>)>, StoreError> {
        reading::sign_ins::member_with(&self.readers, connector, issuer, subject)
            .await
            .map_err(|e| (self.explain)(&e))
    }

    async fn membership_issuers(&self) -> Result<Vec<(ConnectorUid, String)>, StoreError> {
        reading::sign_ins::membership_issuers(&self.readers)
            .await
            .map_err(|e| (self.explain)(&e))
    }

    async fn claim_memberships(
        &self,
        connector: &ConnectorUid,
        most: u32,
    ) -> Result<Vec<ClaimedMembership>, StoreError> {
        let request = SignInRequest::ClaimMemberships(connector.clone(), most);
        match self.writer.call(request, StoreRequest::SignIn).await? {
            SignInAnswer::Memberships(claimed) => Ok(claimed),
            _ => Ok(Vec::new()),
        }
    }

    async fn step_membership(
        &self,
        membership: ClaimedMembership,
        step: MembershipStep,
    ) -> Result<StepOutcome, StoreError> {
        self.step(SignInRequest::MembershipStep(membership, step))
            .await
    }

    async fn end_memberships(
        &self,
        connector: &ConnectorUid,
        but: Option<&str>,
    ) -> Result<u64, StoreError> {
        let request = SignInRequest::EndMemberships(connector.clone(), but.map(str::to_owned));
        match self.writer.call(request, StoreRequest::SignIn).await? {
            SignInAnswer::Ended(members) => Ok(members),
            _ => Ok(0),
        }
    }
}

impl<R: Readers> DatabaseStore<R> {
    async fn step(&self, request: SignInRequest) -> Result<StepOutcome, StoreError> {
        match self.writer.call(request, StoreRequest::SignIn).await? {
            SignInAnswer::Step(outcome) => Ok(outcome),
            _ => Ok(StepOutcome::Lost),
        }
    }
}

#[async_trait]
impl<R: Readers> Store for DatabaseStore<R> {
    fn work_notifier(&self) -> Arc<WorkNotifier> {
        self.work_notifier.clone()
    }

    async fn claim(&self, claim_requests: Vec<ClaimRequest>) -> Result<ClaimOutcome, StoreError> {
        self.writer.call(claim_requests, StoreRequest::Claim).await
    }

    fn park_claim(&self, claim_request: ClaimRequest) -> ParkedClaim {
        self.writer.parked_claims.park(claim_request)
    }

    fn withdraw_claim(&self, connector: &ConnectorUid) -> bool {
        self.writer.parked_claims.withdraw(connector)
    }

    async fn write(&self, write: Arc<LaneWrite>) -> Result<WriteOutcome, StoreError> {
        let request = ChangeLane {
            write,
            notify: None,
        };
        self.writer.call(request, StoreRequest::Write).await
    }

    fn release_in_background(&self, connector: ConnectorUid, write: LaneWrite) {
        self.writer.call_in_background(ChangeLane {
            write: Arc::new(write),
            notify: Some(connector),
        });
    }

    fn record_sent(&self, claim: &Claim, reply: i64, number: u32, message_id: Option<i64>) -> bool {
        (self.record_sent)(claim, reply, number, message_id)
    }

    async fn upload(
        &self,
        claim: &Claim,
        reply: i64,
        number: u32,
    ) -> Result<Option<bytes::Bytes>, StoreError> {
        listing::upload(&self.readers, claim.connector, reply, number)
            .await
            .map_err(|e| (self.explain)(&e))
    }

    async fn read_along(&self, lane: i64) -> Result<Vec<ReadAlongMessage>, StoreError> {
        listing::read_along(&self.readers, lane)
            .await
            .map_err(|e| (self.explain)(&e))
    }

    async fn count_messages(
        &self,
        connector: i64,
        sender: i64,
        minute: i64,
        messages: u32,
    ) -> Result<Option<u32>, StoreError> {
        if !self.readers.is_shared() {
            return Ok(None);
        }
        let request = CountMessages {
            connector,
            sender,
            minute,
            messages,
        };
        let counted = self.writer.call(request, StoreRequest::CountMessages).await;
        counted.map(Some)
    }

    async fn user_decision(
        &self,
        connector: i64,
        id: &str,
    ) -> Result<Option<UserDecision>, StoreError> {
        reading::user_decisions::user_decision(&self.readers, connector, id)
            .await
            .map_err(|e| (self.explain)(&e))
    }

    async fn open_user_decisions(&self, lane: i64) -> Result<Vec<UserDecision>, StoreError> {
        reading::user_decisions::open_user_decisions(&self.readers, lane)
            .await
            .map_err(|e| (self.explain)(&e))
    }

    async fn expire_decisions(&self) -> Result<Vec<ExpiredDecision>, StoreError> {
        self.writer.call((), StoreRequest::ExpireDecisions).await
    }

    async fn waiting_messages(
        &self,
        lanes: &[i64],
    ) -> Result<Vec<(i64, Vec<WaitingMessage>)>, StoreError> {
        reading::waiting_messages::waiting_messages(&self.readers, lanes)
            .await
            .map_err(|e| (self.explain)(&e))
    }

    async fn keep_claims(&self) -> Result<Vec<(ConnectorUid, Timestamp)>, StoreError> {
        self.writer.call((), StoreRequest::KeepClaims).await
    }

    async fn release_claims(&self) -> Result<(), StoreError> {
        self.writer.call((), StoreRequest::ReleaseClaims).await
    }

    async fn ready_now(&self, connector: &ConnectorUid) -> Result<(), StoreError> {
        self.writer
            .call(connector.clone(), StoreRequest::ReadyNow)
            .await
    }

    async fn backlog(&self) -> Result<Vec<Backlog>, StoreError> {
        listing::backlog(&self.readers)
            .await
            .map_err(|e| (self.explain)(&e))
    }

    async fn dead_letter_other_bots(
        &self,
        connector: &ConnectorUid,
        bot: BotId,
        before: Timestamp,
    ) -> Result<u64, StoreError> {
        let request = OtherBots {
            connector: connector.clone(),
            bot,
            before,
        };
        self.writer
            .call(request, StoreRequest::DeadLetterOtherBots)
            .await
    }

    async fn prune(&self, retention: Retention) -> Result<bool, StoreError> {
        let more = self.writer.call(retention, StoreRequest::Prune).await?;
        let idle = listing::idle_lanes(&self.readers, retention.identities, PRUNE_LIMIT)
            .await
            .map_err(|e| (self.explain)(&e))?;
        if idle.is_empty() {
            return Ok(more);
        }
        let found = idle.len() as u64;
        let removed = self.writer.call(idle, StoreRequest::PruneLanes).await?;
        // Those that came back to life meanwhile are no reason to look again at once.
        Ok(more || (removed == found && found >= PRUNE_LIMIT.unsigned_abs()))
    }

    async fn denied(&self, listing: &ListingQuery) -> Result<Page<DeniedMessage>, StoreError> {
        listing::denied(&self.readers, listing)
            .await
            .map_err(|e| (self.explain)(&e))
    }

    async fn sessions(&self, listing: &ListingQuery) -> Result<Page<SessionSummary>, StoreError> {
        listing::sessions(&self.readers, listing)
            .await
            .map_err(|e| (self.explain)(&e))
    }

    async fn dead_letters(&self, listing: &ListingQuery) -> Result<Page<DeadLetter>, StoreError> {
        listing::dead_letters(&self.readers, listing)
            .await
            .map_err(|e| (self.explain)(&e))
    }

    async fn create_outgoing(&self, new: NewOutgoing) -> Result<CreateOutcome, StoreError> {
        let asked = new.clone();
        let written = self.writer.call(new, StoreRequest::CreateOutgoing).await?;
        Ok(match written {
            WrittenOutgoing::Created { id, chat, at } => {
                CreateOutcome::Created(OutgoingMessage::new(&asked, id, chat, at).into())
            }
            WrittenOutgoing::SameKey { id } => {
                let known = reading::outgoing::by_id(&self.readers, id)
                    .await
                    .map_err(|e| (self.explain)(&e))?;
                let gone = || StoreError::Unavailable("the message has just been deleted".into());
                CreateOutcome::SameKey(known.ok_or_else(gone)?.into())
            }
            WrittenOutgoing::NameTaken => CreateOutcome::NameTaken,
            WrittenOutgoing::NeverMet => CreateOutcome::NeverMet,
            WrittenOutgoing::TooMany { retry_after } => CreateOutcome::TooMany { retry_after },
            WrittenOutgoing::BacklogFull => CreateOutcome::BacklogFull,
        })
    }

    async fn outgoing_message(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<OutgoingMessage>, StoreError> {
        reading::outgoing::by_name(&self.readers, namespace, name)
            .await
            .map_err(|e| (self.explain)(&e))
    }

    async fn retry_dead_letters(&self, ids: &[i64]) -> Result<u64, StoreError> {
        self.writer.call(ids.to_vec(), StoreRequest::Retry).await
    }
}
