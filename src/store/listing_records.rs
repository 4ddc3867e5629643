//! What listings hold: denied messages, sessions and dead letters, by pages.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::records::TokenCounts;
use crate::history::ChatMessage;
use crate::identity::BotId;

/// A message that was denied, as it is kept and exported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeniedMessage {
    /// The message's date.
    pub time: Timestamp,
    /// The connector's namespace.
    pub namespace: String,
    /// The connector's name.
    pub name: String,
    /// The bot.
    pub bot: BotId,
    /// Telegram's `update_id`.
    pub update_id: i64,
    /// The chat.
    pub chat: i64,
    /// The sender; `None` for channel posts and anonymous admins.
    pub user_id: Option<i64>,
    /// The sender's username without @.
    pub username: Option<String>,
    /// The sender's first and last name.
    pub user_name: Option<String>,
    /// The sender's language.
    pub language: Option<String>,
    /// What was written, if it was text.
    pub text: Option<String>,
    /// The kind of content: `text`, `photo`, …
    pub content: String,
    /// The access level that denied it.
    pub level: String,
}

/// A session as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionSummary {
    /// The connector's namespace.
    pub namespace: String,
    /// The connector's name.
    pub name: String,
    /// Its id for the assistant.
    pub session: String,
    /// The bot.
    pub bot: BotId,
    /// The chat.
    pub chat: i64,
    /// The topic; 0 outside topics.
    pub topic: i64,
    /// When it began.
    pub began: Timestamp,
    /// The date of its last exchange.
    pub last: Timestamp,
    /// Whether it goes on.
    pub current: bool,
    /// How many exchanges it has had.
    pub exchanges: i64,
    /// What they cost.
    #[serde(flatten)]
    pub tokens: TokenCounts,
    /// What was said, only when asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<Vec<ChatMessage>>,
}

/// Something that could not be handled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// The store's number, for `dead-letters --retry`.
    pub id: i64,
    /// When it was given up.
    pub time: Timestamp,
    /// The connector's namespace.
    pub namespace: String,
    /// The connector's name.
    pub name: String,
    /// The bot.
    pub bot: BotId,
    /// The chat.
    pub chat: i64,
    /// Telegram's `update_id`.
    pub update_id: i64,
    /// `message`: an update that was not answered; `reply`: an answer that was not delivered.
    pub kind: String,
    /// How often it was tried.
    pub attempts: u32,
    /// Why it was given up, for people.
    pub reason: String,
}

/// Which connector's rows a listing is about; `None`: all.
#[derive(Debug, Clone, Default)]
pub struct ListingQuery {
    /// Namespace.
    pub namespace: Option<String>,
    /// Name. With both, only what belongs to the connector that has the name now.
    pub name: Option<String>,
    /// The uid: also of a connector that is deleted, or whose name another one has now.
    pub uid: Option<String>,
    /// Not older than.
    pub since: Option<Timestamp>,
    /// With message texts.
    pub texts: bool,
    /// After this row of the page before; 0: from the first.
    pub after: i64,
    /// At most so many rows.
    pub limit: u32,
}

/// One page of a listing.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// [`ListingQuery::after`] of the next page; `None`: this was the last.
    pub next: Option<i64>,
}
