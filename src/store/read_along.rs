//! What was said in a group, and not to the bot, before the next question there (`groups.readAlong`): one row for a message. It goes with its
//! lane, and with its age ([`Retention::read_along`](super::Retention::read_along)).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A message that was not said to the bot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadAlongMessage {
    /// Telegram's id of it, which counts up within a chat.
    pub message_id: i64,
    /// When it was sent.
    pub sent_at: Timestamp,
    /// Who said it.
    pub user_id: i64,
    /// Their username without @.
    pub username: Option<String>,
    /// Their first and last name.
    pub name: String,
    /// What they said, in words.
    pub text: String,
}

/// Keeps the message `$1`, said by `$2` at `$3`, as `$4` for the lane `$5`: in the place of what it was before an edit. Nothing is kept for a
/// connector that is deleted, nor of somebody who was erased meanwhile.
pub(super) const KEEP: &str = "INSERT INTO read_along (lane, message, user_id, at, body)
       SELECT l.id, $1, $2, $3, $4 FROM lane l JOIN connector c ON c.id = l.connector WHERE l.id = $5 AND c.superseded = 0 AND l.erased = 0
         AND EXISTS (SELECT 1 FROM inbox i WHERE i.lane = l.id AND i.sender = $2)
       ON CONFLICT (lane, message) DO UPDATE SET body = excluded.body";

/// Drops the oldest messages of the lane `$1` but for the newest `$2`.
pub(super) const TRIM: &str = "DELETE FROM read_along WHERE lane = $1 AND message <=
       (SELECT message FROM read_along WHERE lane = $1 ORDER BY message DESC LIMIT 1 OFFSET $2)";

/// Drops what was said in the lane `$1` up to the message `$2`.
pub(super) const DROP: &str = "DELETE FROM read_along WHERE lane = $1 AND message <= $2";

/// What is kept of the lane `$1`, oldest first.
pub(super) const READ: &str = "SELECT body FROM read_along WHERE lane = $1 ORDER BY message";

impl ReadAlongMessage {
    /// As its row holds it.
    pub(super) fn to_body(&self) -> String {
        serde_json::to_string(self).expect("strings always serialize")
    }
}
