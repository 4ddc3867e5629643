//! The store: what must survive. The inbox, the outbox, sessions and denied conversations behind one trait, on `SQLite` or
//! `PostgreSQL`.
//!
//! Work is kept in *lanes*, one per (bot, chat, topic). Whoever handles messages claims lanes, works through what waits in
//! them in order, and gives them back. A claim is not durable in itself; what is done under it is.

mod access;
mod access_statements;
mod database;
mod day_usage;
mod disk_sync;
mod erasure;
mod group_commit;
mod listing_records;
mod migrations;
mod objects;
mod outgoing;
mod parked_claims;
mod postgres;
mod read_along;
mod reading;
mod records;
mod reply_part;
pub mod report;
mod requests;
pub mod shards;
mod sign_ins;
mod sqlite;
mod state;
mod statements;
mod user_decisions;

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::clock::SharedClock;
use crate::identity::{BotId, ConnectorRef, ConnectorUid};
use crate::telegram::RawUpdate;
use crate::telemetry::Metrics;

pub(crate) use access::GRANT_RETENTION;
pub use access::{
    AccessRequest, AccessStore, AccessVerdict, AskOutcome, AskReplies, DecideOutcome,
    ExpiredRequest, Grant, GrantSource, MAX_WAITING_REQUESTS, NewAccessRequest, NewGrant,
    RequestPhase,
};
pub use day_usage::{DayLimit, DayUsageStore, LimitedQuestion, ReachedLimit, TokenCount};
pub use listing_records::{DeadLetter, DeniedMessage, ListingQuery, Page, SessionSummary};
pub use objects::{
    DeletedObject, ErasedCounts, ObjectChange, ObjectChanges, ObjectContent, ObjectKey, ObjectKind,
    ObjectPage, ObjectQuery, ObjectStore, StoredConversation, StoredDeadLetter, StoredObject,
};
pub use outgoing::{
    CreateOutcome, NewOutgoing, OUTGOING_RETENTION, OutgoingMessage, OutgoingPhase,
};
pub(crate) use outgoing::{MAX_PENDING, is_outgoing};
pub use read_along::ReadAlongMessage;
pub(crate) use records::MAX_LANE_WAIT;
pub use records::{
    Backlog, Change, Claim, ClaimOutcome, ClaimRequest, ClaimedLane, LaneKey, LaneWrite, Notice,
    NoticeKind, Release, Retention, Session, TokenCounts, WaitingMessage, WaitingPart,
    WriteOutcome,
};
pub use reply_part::{Caption, FallbackText, FilePart, PartContent, ReplyPart, RichPart};
pub use sign_ins::{
    ClaimedMembership, ClaimedSignIn, HeldForSignIn, HeldMessage, HoldOutcome, MAX_HELD, MAX_OPEN,
    MAX_PER_HOUR, MembershipStep, NewMembership, SignInClaim, SignInStep, SignInStore, SignInWork,
    StepOutcome,
};
pub use state::StoreState;

pub use user_decisions::{
    DecidedHow, DecidingUser, DecisionDetails, DecisionKind, DecisionOption, ExpiredDecision,
    NewUserDecision, ShownElsewhere, TakenDecision, UserDecision,
};

/// What `accept` made of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcceptOutcome {
    /// Updates that were not there before.
    pub new: usize,
    /// Updates that were there, or had been handled: nothing changed.
    pub known: usize,
}

/// Why the store did not do as asked. Whatever it was, nothing was changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The bot's backlog is full: acknowledge nothing, come back later.
    #[error("the backlog of bot {0} is full")]
    BacklogFull(BotId),
    /// Disk full, read-only, locked, or no connection: acknowledge nothing, try again.
    #[error("the store cannot be written: {0}")]
    Unavailable(String),
    /// The `--store` value or the file behind it is no use.
    #[error("{0}")]
    Invalid(String),
    /// Another process has taken over the work: drop it.
    #[error("the claim on this work has been lost to another process")]
    ClaimLost,
}

/// The intake side of the store: what `connection` and `controller` need.
#[async_trait]
pub trait Inbox: Send + Sync + 'static {
    /// Makes updates durable. Only when this returns `Ok` may they be acknowledged to Telegram (invariant 1); an update
    /// that is already known by (bot id, `update_id`) changes nothing (invariant 2).
    ///
    /// # Errors
    /// [`StoreError`]; then nothing of the batch counts as accepted.
    async fn accept(
        &self,
        connector: &ConnectorUid,
        bot: BotId,
        updates: Vec<RawUpdate>,
    ) -> Result<AcceptOutcome, StoreError>;

    /// Makes a connector's name known: listings by that name show what belongs to it, and no longer what a connector before it left.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn register(&self, connector: &ConnectorRef) -> Result<(), StoreError>;

    /// Ends a deleted connector's sessions and drops what waits for it; denied conversations stay until their retention ends, and are
    /// listed by its uid only.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn delete_connector_data(&self, connector: &ConnectorUid) -> Result<(), StoreError>;

    /// The connectors of which anything is kept that [`delete_connector_data`](Inbox::delete_connector_data) would end.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn connectors(&self) -> Result<Vec<ConnectorRef>, StoreError>;

    /// Whether the store can be written now; for `/readyz`.
    ///
    /// # Errors
    /// [`StoreError`] with the reason.
    async fn writable(&self) -> Result<(), StoreError>;

    /// This replica's side of the shards of a fleet, whose name tells it from others on the same database; `None` where one process polls
    /// everything.
    fn shard_leases(&self, fleet: &str) -> Option<Arc<dyn shards::ShardLeases>>;
}

/// The whole store: the pipeline's side, and the listings of the commands.
#[async_trait]
pub trait Store: Inbox + ObjectStore + AccessStore + SignInStore + DayUsageStore {
    /// Told whose message came as soon as it can be claimed: the pipeline, notified without polling.
    fn work_notifier(&self) -> Arc<WorkNotifier>;

    /// Claims lanes in which something is ready, the longest waiting first.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn claim(&self, claim_requests: Vec<ClaimRequest>) -> Result<ClaimOutcome, StoreError>;

    /// Parks a claim until the connector's next update is accepted: it is carried out in the same transaction, and the
    /// [`work_notifier`](Store::work_notifier) is not told of that update. One for a connector; a further one takes its place.
    fn park_claim(&self, claim_request: ClaimRequest) -> ParkedClaim;

    /// Takes back a claim that was parked; false where none is, for instance because it is being carried out.
    fn withdraw_claim(&self, connector: &ConnectorUid) -> bool;

    /// Changes one lane, all at once. A process that is killed after it has changed it; a loss of power may take back the last instant's
    /// changes, in the order opposite to that in which they were made.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing of it happened.
    async fn write(&self, write: Arc<LaneWrite>) -> Result<WriteOutcome, StoreError>;

    /// Gives a lane back with changes that nobody waits for, in the next batch or a moment later, however often it fails for the store's own
    /// fault. If something still waits in it, the [`work_notifier`](Store::work_notifier) is told of its connector.
    fn release_in_background(&self, connector: ConnectorUid, write: LaneWrite);

    /// Writes down at once and without waiting that Telegram has taken a part, so that it is not sent again should the process be killed before
    /// [`Change::Sent`] is written, whose fields these are. Returns whether that is certain; if not, the change must not wait.
    fn record_sent(&self, claim: &Claim, reply: i64, number: u32, message_id: Option<i64>) -> bool;

    /// The bytes of a file that waits in the outbox: of the part of this number of this reply, if it is the claim's connector's. `None`: there was
    /// no room for them, or the part was a dead letter meanwhile.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn upload(
        &self,
        claim: &Claim,
        reply: i64,
        number: u32,
    ) -> Result<Option<bytes::Bytes>, StoreError>;

    /// What was said in a lane and not to the bot, oldest first: what [`Change::ReadAlong`] kept. Reads only.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn read_along(&self, lane: i64) -> Result<Vec<ReadAlongMessage>, StoreError>;

    /// Counts messages of a sender in a calendar minute (Unix time / 60), and says how many all replicas have counted in it; `None` where
    /// there is one process only, which counts by itself. `connector` is [`Claim::connector`].
    ///
    /// # Errors
    /// [`StoreError`].
    async fn count_messages(
        &self,
        connector: i64,
        sender: i64,
        minute: i64,
        messages: u32,
    ) -> Result<Option<u32>, StoreError>;

    /// A decision of the connector ([`Claim::connector`]) by its id, whatever its state. Reads only.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn user_decision(
        &self,
        connector: i64,
        id: &str,
    ) -> Result<Option<UserDecision>, StoreError>;

    /// The open decisions that a lane asked for, oldest first. Reads only.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn open_user_decisions(&self, lane: i64) -> Result<Vec<UserDecision>, StoreError>;

    /// Ends a bounded number of decisions whose time is over, and says which: approvals as refused, which their assistants are told of;
    /// choices without consequence.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn expire_decisions(&self) -> Result<Vec<ExpiredDecision>, StoreError>;

    /// What waits in these lanes, each with its newest messages in order, what is in work included. Reads only.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn waiting_messages(
        &self,
        lanes: &[i64],
    ) -> Result<Vec<(i64, Vec<WaitingMessage>)>, StoreError>;

    /// Prolongs this process's lease on its claims, takes over the lanes of processes that are gone, and says for whom
    /// something waits that nobody has claimed, and since or until when. Costs no write when nothing is claimed.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn keep_claims(&self) -> Result<Vec<(ConnectorUid, Timestamp)>, StoreError>;

    /// Gives back every claim of this process.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn release_claims(&self) -> Result<(), StoreError>;

    /// Makes a connector's waiting lanes ready now, whatever they wait for.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn ready_now(&self, connector: &ConnectorUid) -> Result<(), StoreError>;

    /// What waits, by connector and bot.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn backlog(&self) -> Result<Vec<Backlog>, StoreError>;

    /// Gives up what waits for any bot of this connector but `bot` since before `before`, messages and parts of replies: its token was
    /// rotated to another bot. Returns how many became dead letters.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn dead_letter_other_bots(
        &self,
        connector: &ConnectorUid,
        bot: BotId,
        before: Timestamp,
    ) -> Result<u64, StoreError>;

    /// Removes a bounded number of rows that are too old. Returns whether more are left.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn prune(&self, retention: Retention) -> Result<bool, StoreError>;

    /// Lists denied messages, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn denied(&self, listing: &ListingQuery) -> Result<Page<DeniedMessage>, StoreError>;

    /// Lists sessions, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn sessions(&self, listing: &ListingQuery) -> Result<Page<SessionSummary>, StoreError>;

    /// Lists dead letters, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn dead_letters(&self, listing: &ListingQuery) -> Result<Page<DeadLetter>, StoreError>;

    /// Checks a message that is to be sent and makes it durable with its parts, at once or not at all; the
    /// [`work_notifier`](Store::work_notifier) is told. Messages are counted by all processes of the store together.
    ///
    /// # Errors
    /// [`StoreError`]; then it is not known to be written: asking again with the same key tells.
    async fn create_outgoing(&self, new: NewOutgoing) -> Result<CreateOutcome, StoreError>;

    /// An outgoing message by its name. Reads only.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn outgoing_message(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<OutgoingMessage>, StoreError>;

    /// Puts dead letters back where they came from. Returns how many there were.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn retry_dead_letters(&self, ids: &[i64]) -> Result<u64, StoreError>;
}

/// A claim that waits for a message of its connector.
#[derive(Debug)]
pub struct ParkedClaim(tokio::sync::oneshot::Receiver<Result<ClaimOutcome, StoreError>>);

/// Who has new work: written by `accept`, drained by the pipeline.
#[derive(Debug, Default)]
pub struct WorkNotifier {
    connectors: parking_lot::Mutex<std::collections::HashSet<ConnectorUid>>,
    notify: tokio::sync::Notify,
}

impl WorkNotifier {
    /// Says that this connector has work.
    pub fn notify(&self, connector: &ConnectorUid) {
        let mut connectors = self.connectors.lock();
        if !connectors.contains(connector) {
            connectors.insert(connector.clone());
        }
        drop(connectors);
        self.notify.notify_one();
    }

    /// Waits until somebody has work, and says who.
    pub async fn notified_connectors(&self) -> std::collections::HashSet<ConnectorUid> {
        loop {
            self.notify.notified().await;
            let connectors = std::mem::take(&mut *self.connectors.lock());
            if !connectors.is_empty() {
                return connectors;
            }
        }
    }
}

/// What a store is opened with besides its place.
#[derive(Clone)]
pub struct StoreOptions {
    /// Wall-clock time for ages and leases.
    pub clock: SharedClock,
    /// Messages that may wait per bot before intake is refused.
    pub backlog_per_bot: u64,
    /// After how long without a sign of life a process's claims are taken over.
    pub lease: std::time::Duration,
    /// How long a write waits for another process's before it is refused (`SQLite`).
    pub busy_timeout: std::time::Duration,
    /// How long the server may take for a batch, or to be connected to, before the connection is given up (`PostgreSQL`).
    pub answer_timeout: std::time::Duration,
    /// How long a read may take before it fails (`PostgreSQL`): less than the minute after which an API server gives a request up.
    pub read_timeout: std::time::Duration,
    /// The size beyond which the file is treated like a full disk (`SQLite`); `None`: as big as the volume.
    pub max_bytes: Option<u64>,
    /// Bytes of files that may wait to be sent: of a connector, and of all; with `SQLite` an eighth, and a quarter, of the volume at most. Of a file that
    /// finds no room the part is stored without its bytes.
    pub upload_bytes: (u64, u64),
    /// Where writes are counted and timed; `None`: nowhere.
    pub metrics: Option<Arc<Metrics>>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            clock: Arc::new(crate::clock::SystemClock),
            backlog_per_bot: 50_000,
            lease: std::time::Duration::from_secs(30),
            busy_timeout: std::time::Duration::from_secs(10),
            answer_timeout: std::time::Duration::from_mins(1),
            read_timeout: std::time::Duration::from_secs(30),
            max_bytes: None,
            upload_bytes: (256 << 20, 1 << 30),
            metrics: None,
        }
    }
}

/// Opens the store that `--store` names: `sqlite:PATH` (the file and its folders are made) or `postgres://…`.
///
/// # Errors
/// [`StoreError::Invalid`], naming the path and what to do.
pub async fn open(address: &str) -> Result<Arc<dyn Store>, StoreError> {
    open_with(address, StoreOptions::default()).await
}

/// The file of an address `sqlite:PATH`.
pub fn sqlite_path(address: &str) -> Option<&std::path::Path> {
    let path = address.strip_prefix("sqlite:")?;
    Some(path.strip_prefix("//").unwrap_or(path).as_ref())
}

/// Writes a copy of a `SQLite` store, which may be in use, to a file that is new or empty.
///
/// # Errors
/// [`StoreError::Invalid`] for another kind of store, and for files that cannot be read or written.
pub async fn backup(address: &str, into: &std::path::Path) -> Result<(), StoreError> {
    match sqlite_path(address) {
        Some(path) => sqlite::backup::backup(path, into).await,
        None => Err(StoreError::Invalid(
            "backup is for --store sqlite:PATH; for PostgreSQL use pg_dump or your provider's backups".into(),
        )),
    }
}

/// [`open`] with options.
///
/// # Errors
/// As [`open`].
pub async fn open_with(address: &str, options: StoreOptions) -> Result<Arc<dyn Store>, StoreError> {
    if let Some(path) = sqlite_path(address) {
        return Ok(Arc::new(sqlite::open(path, options).await?));
    }
    if is_postgres(address) {
        // Too large for the stacks of all who open a store.
        let opened = Box::pin(postgres::open(address, options));
        return Ok(Arc::new(opened.await?));
    }
    Err(unknown_kind(address))
}

/// Looks at the store that `--store` names. Nothing is made, upgraded or written.
///
/// # Errors
/// [`StoreError::Invalid`], naming the path and what to do; also where a newer version made the tables.
pub(crate) async fn inspect(address: &str) -> Result<StoreState, StoreError> {
    match sqlite_path(address) {
        Some(path) => sqlite::inspect::inspect(path).await,
        None if is_postgres(address) => postgres::inspect(address).await,
        None => Err(unknown_kind(address)),
    }
}

fn is_postgres(address: &str) -> bool {
    address.starts_with("postgres://") || address.starts_with("postgresql://")
}

fn unknown_kind(address: &str) -> StoreError {
    StoreError::Invalid(format!(
        "--store {}: expected sqlite:PATH (for instance sqlite:data/connectors.db) or postgres://USER@HOST/DATABASE",
        address.split("://").next().unwrap_or_default()
    ))
}
