//! The store in a database, whichever it is: one writer that commits what has gathered, and connections that only read.

mod access;
mod day_usage;

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use super::group_commit::Writer;
use super::objects::{
    ErasedCounts, ObjectChanges, ObjectKey, ObjectKind, ObjectPage, ObjectQuery, ObjectStore,
};
use super::outgoing::WrittenOutgoing;
use super::reading::{self, Readers, listing};
use super::requests::{
    Accept, ChangeLane, CountMessages, DeleteObjects, Erase, OtherBots, StoreRequest,
};
use super::shards::ShardLeases;
use super::statements::PRUNE_LIMIT;
use super::{
    AcceptOutcome, Backlog, Claim, ClaimOutcome, ClaimRequest, CreateOutcome, DeadLetter,
    DeniedMessage, ExpiredDecision, Inbox, LaneWrite, ListingQuery, NewOutgoing, OutgoingMessage,
    Page, ParkedClaim, ReadAlongMessage, Retention, SessionSummary, Store, StoreError,
    UserDecision, WaitingMessage, WorkNotifier, WriteOutcome,
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
