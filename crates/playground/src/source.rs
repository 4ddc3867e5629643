//! What the page shows of the operator: traits, so that this crate needs neither the operator nor Kubernetes.

use async_trait::async_trait;
use bot_api_simulator::User;
use jiff::Timestamp;

/// Why something could not be read, in a sentence for the page.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct ReadError(pub String);

/// The connectors and their users, as the Kubernetes API has them.
#[async_trait]
pub trait ClusterView: Send + Sync {
    /// The connectors, in the order of `kubectl get`.
    ///
    /// # Errors
    /// The Kubernetes API cannot be read.
    async fn connectors(&self) -> Result<Vec<Connector>, ReadError>;

    /// The users that manifests name.
    ///
    /// # Errors
    /// The Kubernetes API cannot be read.
    async fn listed_users(&self) -> Result<Vec<User>, ReadError>;

    /// Whether a user may write to a bot; `None` while no connector serves it.
    async fn may_write(&self, bot: i64, user: &User) -> Option<bool>;

    /// Takes a bot's token out of its Secret and puts it back: the operator asks Telegram only once about a token that is refused, until the Secret
    /// has another one.
    ///
    /// # Errors
    /// The Kubernetes API cannot be written.
    async fn rewrite_token(&self, bot: i64) -> Result<(), ReadError>;
}

/// What the operator's store holds.
#[async_trait]
pub trait StoredData: Send + Sync {
    /// The newest rows of a connector.
    ///
    /// # Errors
    /// The store cannot be read.
    async fn rows(&self, namespace: &str, name: &str) -> Result<StoredRows, ReadError>;
}

/// A `TelegramConnector`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connector {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The bot of its token; `None` without a readable token.
    pub bot: Option<i64>,
    /// Column and value, as `kubectl get` shows them; without the name.
    pub columns: Vec<(String, String)>,
    /// Its conditions, in the order of the status.
    pub conditions: Vec<Condition>,
    /// Whether it answers in groups.
    pub answers_in_groups: bool,
    /// Whether it is suspended.
    pub suspended: bool,
}

/// A condition of the status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// `type`.
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// `reason`.
    pub reason: String,
    /// `message`.
    pub message: String,
    /// `lastTransitionTime`.
    pub since: Timestamp,
}

/// Rows of the store, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredRows {
    /// Sessions.
    pub sessions: Vec<Session>,
    /// Messages of denied users.
    pub denied: Vec<DeniedMessage>,
    /// Messages that could not be handled.
    pub dead_letters: Vec<DeadLetter>,
}

/// A session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id for the assistant.
    pub id: String,
    /// The chat.
    pub chat: i64,
    /// The topic; 0 outside of topics.
    pub topic: i64,
    /// When it began.
    pub began: Timestamp,
    /// How many exchanges it has had.
    pub exchanges: i64,
    /// Tokens of questions and of answers.
    pub tokens: (i64, i64),
    /// Whether it goes on.
    pub current: bool,
    /// Role and text of what was said, oldest first.
    pub history: Vec<(String, String)>,
}

/// A stored message of a denied user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeniedMessage {
    /// When it was written.
    pub time: Timestamp,
    /// The sender's name, username or id, whichever there is first.
    pub sender: String,
    /// The chat.
    pub chat: i64,
    /// The access level that denied it.
    pub level: String,
    /// The text, or the kind of content.
    pub text: String,
}

/// Something that could not be handled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The store's number.
    pub id: i64,
    /// When it was given up.
    pub time: Timestamp,
    /// The chat.
    pub chat: i64,
    /// `message` or `reply`.
    pub kind: String,
    /// How often it was tried.
    pub attempts: u32,
    /// Why.
    pub reason: String,
}
