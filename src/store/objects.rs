//! What the store holds as objects: listed, watched and deleted one by one by the data API, and all that is a person's erased.
//!
//! Whatever changes an object gives it a *revision*, which is also a place in the order of all changes: a list says up to which revision its
//! reader has seen everything, and [`ObjectStore::object_changes`] tells what came after it.

use async_trait::async_trait;
use jiff::Timestamp;

use super::StoreError;
use super::access::{AccessRequest, Grant};
use super::listing_records::DeniedMessage;
use super::outgoing::OutgoingMessage;
use super::records::TokenCounts;
use crate::history::ChatMessage;
use crate::identity::{BotId, ConnectorUid};

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectKind {
    /// A message that was denied and is kept.
    DeniedMessage,
    /// A session.
    Conversation,
    /// A message that was not answered, or a part of a reply that was not delivered.
    DeadLetter,
    /// A message that somebody sends through a bot.
    OutgoingMessage,
    /// Somebody who was let in beside the lists.
    AccessGrant,
    /// Somebody who asks, or asked, to be let in.
    AccessRequest,
}

impl ObjectKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::DeniedMessage,
        Self::Conversation,
        Self::DeadLetter,
        Self::OutgoingMessage,
        Self::AccessGrant,
        Self::AccessRequest,
    ];

    /// The kind as the store keeps it.
    pub(super) fn code(self) -> i64 {
        match self {
            Self::DeniedMessage => 0,
            Self::Conversation => 1,
            Self::DeadLetter => 2,
            Self::OutgoingMessage => 3,
            Self::AccessGrant => 4,
            Self::AccessRequest => 5,
        }
    }
}

/// What an object is called within its kind, in the order of lists. It is never given twice and says nothing about a person.
///
/// Of a conversation the lane and the session's number within it; of anything else its number, and 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey(pub i64, pub i64);

/// Which objects are meant: those that meet every condition that is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectQuery {
    /// What they are.
    pub kind: ObjectKind,
    /// The connector's namespace.
    pub namespace: Option<String>,
    /// The connector's name: what belongs to the connector that has it now.
    pub connector: Option<String>,
    /// Who sent it; of a conversation and of an outgoing message the person of a private chat; of a grant and of a request whose it is.
    pub user: Option<i64>,
    /// The chat; of a grant and of a request the private one of whose it is.
    pub chat: Option<i64>,
    /// This one alone.
    pub key: Option<ObjectKey>,
}

impl ObjectQuery {
    /// All objects of a kind.
    pub fn all(kind: ObjectKind) -> Self {
        Self {
            kind,
            namespace: None,
            connector: None,
            user: None,
            chat: None,
            key: None,
        }
    }
}

/// An object as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredObject {
    /// Which one.
    pub key: ObjectKey,
    /// The connector's namespace.
    pub namespace: String,
    /// The connector's name.
    pub connector: String,
    /// The connector; `None` where which one of that name it was is not known.
    pub connector_uid: Option<ConnectorUid>,
    /// Its connector was deleted, or another one has its name now: [`ObjectQuery::connector`] finds it no longer. That this begins or ends is a
    /// change of the object.
    pub is_left: bool,
    /// When it was stored or began.
    pub created: Timestamp,
    /// When it changed last, in the order of changes.
    pub revision: i64,
    /// What it holds.
    pub content: ObjectContent,
}

/// What an object holds.
#[derive(Debug, Clone, PartialEq)]
pub enum ObjectContent {
    /// A denied message.
    DeniedMessage(Box<DeniedMessage>),
    /// A session.
    Conversation(StoredConversation),
    /// Something that could not be handled.
    DeadLetter(StoredDeadLetter),
    /// A message that somebody sends.
    OutgoingMessage(Box<OutgoingMessage>),
    /// A grant.
    AccessGrant(Box<Grant>),
    /// A request for one.
    AccessRequest(Box<AccessRequest>),
}

/// A session without its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredConversation {
    /// The bot.
    pub bot: BotId,
    /// The chat.
    pub chat: i64,
    /// The topic; 0 outside topics.
    pub topic: i64,
    /// The date of its last exchange.
    pub last: Timestamp,
    /// How many exchanges it has had.
    pub exchanges: i64,
    /// What they cost.
    pub tokens: TokenCounts,
    /// Whether it goes on.
    pub current: bool,
}

/// A dead letter without its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDeadLetter {
    /// The bot.
    pub bot: BotId,
    /// The chat.
    pub chat: i64,
    /// The topic; 0 outside topics.
    pub topic: i64,
    /// Who sent what was not answered, or was to be answered; `None` where that is not known.
    pub user: Option<i64>,
    /// Telegram's `update_id`.
    pub update_id: i64,
    /// `message`: an update that was not answered; `reply`: a part of an answer that was not delivered.
    pub kind: String,
    /// Which part of the answer; `None` for messages.
    pub part: Option<u32>,
    /// How often it was tried.
    pub attempts: u32,
    /// Why it was given up; no chat text.
    pub reason: String,
}

/// One page of a list.
#[derive(Debug, Clone)]
pub struct ObjectPage {
    /// In the order of their keys.
    pub objects: Vec<StoredObject>,
    /// Where the next page goes on; `None`: this was the last.
    pub next: Option<ObjectKey>,
    /// Every change up to this revision is in the page.
    pub revision: i64,
}

/// An object that is gone. Whose it was is not known any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedObject {
    /// Which one.
    pub key: ObjectKey,
    /// The connector's namespace.
    pub namespace: String,
    /// The connector's name; of an outgoing message its own.
    pub connector: String,
    /// The connector; `None` where which one of that name it was is not known.
    pub connector_uid: Option<ConnectorUid>,
    /// When it was deleted, in the order of changes.
    pub revision: i64,
}

/// What became of an object.
#[derive(Debug, Clone, PartialEq)]
pub enum ObjectChange {
    /// It is new or has changed: as it is now, whatever it was in between.
    Present(Box<StoredObject>),
    /// It is gone. This is told whatever the query's user and chat, of which nothing is remembered.
    Deleted(DeletedObject),
}

impl ObjectChange {
    /// Which object.
    pub fn key(&self) -> ObjectKey {
        match self {
            Self::Present(object) => object.key,
            Self::Deleted(object) => object.key,
        }
    }

    /// When, in the order of changes.
    pub fn revision(&self) -> i64 {
        match self {
            Self::Present(object) => object.revision,
            Self::Deleted(object) => object.revision,
        }
    }
}

/// What changed after a revision.
#[derive(Debug, Clone)]
pub struct ObjectChanges {
    /// In the order of their revisions.
    pub changes: Vec<ObjectChange>,
    /// Every change up to this revision is told; where the next look goes on.
    pub complete_to: i64,
    /// Of what was deleted up to this revision nothing is remembered: who has seen less must list anew.
    pub oldest: i64,
    /// The newest revision that is complete.
    pub newest: i64,
}

impl ObjectChanges {
    /// Whether what changed after this revision cannot be told: it is too long ago, or of another database.
    pub fn is_gone(&self, after: i64) -> bool {
        after < self.oldest || after > self.newest
    }
}

/// What was erased of a person: how many of each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ErasedCounts {
    /// Denied messages.
    pub denied_messages: u64,
    /// Sessions of private chats.
    pub conversations: u64,
    /// Questions with their answers, in private chats and groups.
    pub exchanges: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// Messages that waited to be handled, and parts of replies that waited to be sent.
    pub waiting: u64,
    /// Everything else that was the person's: grants and requests, decisions, what was read along, notices and counts.
    pub others: u64,
}

impl ErasedCounts {
    /// How many there were in all.
    pub fn total(&self) -> u64 {
        self.denied_messages
            + self.conversations
            + self.exchanges
            + self.dead_letters
            + self.waiting
            + self.others
    }
}

/// The store's side of the data API.
#[async_trait]
pub trait ObjectStore: Send + Sync + 'static {
    /// Lists objects in the order of their keys, from the first or after a key; at most `limit`. Reads only.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list_objects(
        &self,
        query: &ObjectQuery,
        after: Option<ObjectKey>,
        limit: u32,
    ) -> Result<ObjectPage, StoreError>;

    /// What changed after a revision: about `limit` changes, and never a part of those that were made at once. Whoever calls looks at
    /// [`ObjectChanges::is_gone`] first. Reads only.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn object_changes(
        &self,
        query: &ObjectQuery,
        after: i64,
        limit: u32,
    ) -> Result<ObjectChanges, StoreError>;

    /// Deletes objects of a namespace, as far as they are there; how many were. A conversation that is deleted has ended, and its words go.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn delete_objects(
        &self,
        kind: ObjectKind,
        namespace: &str,
        keys: Vec<ObjectKey>,
    ) -> Result<u64, StoreError>;

    /// The words of a conversation of this namespace as far as they are kept, oldest first; `None`: there is no such conversation. Reads only.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn transcript(
        &self,
        namespace: &str,
        key: ObjectKey,
    ) -> Result<Option<Vec<ChatMessage>>, StoreError>;

    /// Erases all that is kept of a person, in one namespace or in all: private chats whole, and what they said in groups. What is being
    /// handled is dropped. On `SQLite` the bytes are gone from the file and its log when it returns; it holds up other writes meanwhile, for as
    /// long as the file takes to be written anew.
    ///
    /// # Errors
    /// [`StoreError`]; also where the rows are gone and the file could not be cleaned: then it is to be called again.
    async fn erase(&self, user: i64, namespace: Option<&str>) -> Result<ErasedCounts, StoreError>;
}
