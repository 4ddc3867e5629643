//! Messages that somebody sends through a bot: what is asked of the store, what it keeps, and the statements that are the same on both databases.
//!
//! Their parts take the way of answers: they stand in the outbox of their chat's lane, under a reply number that no message of the inbox has.

use std::time::Duration;

use jiff::Timestamp;

use super::objects::ObjectKey;
use super::reply_part::ReplyPart;
use crate::identity::{BotId, ConnectorRef};

/// Pending messages that a connector may have; beyond it nothing is accepted.
pub(crate) const MAX_PENDING: i64 = 1_000;
/// So long a message is kept after it ended, and with it its idempotency key.
pub const OUTGOING_RETENTION: Duration = Duration::from_hours(24);
/// Messages of one connector that are kept after they ended, and the bytes of their texts; the oldest go before their time. Both are more than may be
/// sent in a minute.
pub(super) const ENDED_KEPT: i64 = 10_000;
/// See [`ENDED_KEPT`].
pub(super) const ENDED_BYTES_KEPT: i64 = 64 << 20;
/// With every so many messages it is looked whether there are more.
pub(super) const ENDED_CHECK_INTERVAL: i64 = 64;
/// The window in which the messages of a connector are counted, in milliseconds.
const RATE_WINDOW: i64 = 60_000;

/// A message to be sent.
#[derive(Debug, Clone)]
pub struct NewOutgoing {
    /// The connector through whose bot it is sent.
    pub connector: ConnectorRef,
    /// Its bot.
    pub bot: BotId,
    /// The chat's id. A group that became a supergroup may be named by the id that it had.
    pub chat: i64,
    /// The topic in it; 0: none.
    pub topic: i64,
    /// The person whose private chat it is.
    pub user: Option<i64>,
    /// Its name, unique in the connector's namespace.
    pub name: String,
    /// Two messages of a connector with the same key are one.
    pub idempotency_key: Option<String>,
    /// What was asked to be said, in Markdown.
    pub text: String,
    /// Whether it arrives without a sound.
    pub silent: bool,
    /// The messages that say it, at least one.
    pub parts: Vec<ReplyPart>,
    /// Messages that the connector may send in a minute.
    pub per_minute: u32,
    /// Everything is checked and nothing is written.
    pub dry_run: bool,
}

/// What became of a [`NewOutgoing`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CreateOutcome {
    /// It is durable and will be sent. Of a dry run, it would be, and has id 0.
    Created(Box<OutgoingMessage>),
    /// The connector has this one with the same idempotency key, which may say something else. Nothing was written.
    SameKey(Box<OutgoingMessage>),
    /// Another message of the namespace has the name.
    NameTaken,
    /// The bot has not met the chat: nobody there has ever written to it.
    NeverMet,
    /// The connector has sent as many as it may in a minute.
    TooMany {
        /// After so long there is room for one.
        retry_after: Duration,
    },
    /// [`MAX_PENDING`] messages of the connector wait.
    BacklogFull,
}

/// How far a message has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OutgoingPhase {
    /// It waits for its turn, or for Telegram.
    Pending,
    /// Telegram has taken all of it.
    Sent,
    /// What is left of it will not be sent.
    Failed,
}

impl OutgoingPhase {
    /// As it is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Sent => "Sent",
            Self::Failed => "Failed",
        }
    }

    /// The phase that the store keeps as this number.
    pub(super) fn from_code(code: i64) -> Self {
        match code {
            1 => Self::Sent,
            2 => Self::Failed,
            _ => Self::Pending,
        }
    }
}

/// A message as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingMessage {
    /// The store's number.
    pub id: i64,
    /// Whose it is.
    pub connector: ConnectorRef,
    /// Its name.
    pub name: String,
    /// The bot.
    pub bot: BotId,
    /// The chat's id.
    pub chat: i64,
    /// The topic in it; 0: none.
    pub topic: i64,
    /// The person whose private chat it is.
    pub user: Option<i64>,
    /// Two messages of a connector with the same key are one.
    pub idempotency_key: Option<String>,
    /// What it says, in Markdown.
    pub text: String,
    /// Whether it arrives without a sound.
    pub silent: bool,
    /// When it became durable.
    pub created_at: Timestamp,
    /// How far it has come.
    pub phase: OutgoingPhase,
    /// Why it failed; no chat text.
    pub reason: Option<String>,
    /// A part of it may have been sent twice.
    pub ambiguous: bool,
    /// Telegram's ids of the messages that it has become so far.
    pub message_ids: Vec<i64>,
    /// When it was sent or failed.
    pub finished_at: Option<Timestamp>,
    /// When it changed last, in the order of changes of objects; 0 of what has just been written.
    pub revision: i64,
}

impl OutgoingMessage {
    /// As it is when it has just been written.
    pub(super) fn new(new: &NewOutgoing, id: i64, chat: i64, created_at: Timestamp) -> Self {
        Self {
            id,
            connector: new.connector.clone(),
            name: new.name.clone(),
            bot: new.bot,
            chat,
            topic: new.topic,
            user: new.user,
            idempotency_key: new.idempotency_key.clone(),
            text: new.text.clone(),
            silent: new.silent,
            created_at,
            phase: OutgoingPhase::Pending,
            reason: None,
            ambiguous: false,
            message_ids: Vec::new(),
            finished_at: None,
            revision: 0,
        }
    }

    /// What it is called as an object.
    pub fn key(&self) -> ObjectKey {
        ObjectKey(self.id, 0)
    }

    /// Whether it is what is asked for again: the same words to the same chat.
    pub(crate) fn says_the_same(&self, new: &NewOutgoing) -> bool {
        let same_chat = self.chat == new.chat || self.user.is_some() && self.user == new.user;
        same_chat && (self.topic, &self.text, self.silent) == (new.topic, &new.text, new.silent)
    }
}

/// What the writer made of a [`NewOutgoing`], by numbers alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WrittenOutgoing {
    Created { id: i64, chat: i64, at: Timestamp },
    SameKey { id: i64 },
    NameTaken,
    NeverMet,
    TooMany { retry_after: Duration },
    BacklogFull,
}

/// The numbers of replies that are outgoing messages begin after this. Below zero, so that no message of the inbox has one; ascending, so that they are
/// in order.
const REPLY_BASE: i64 = -(1 << 62);

/// The reply number of an outgoing message.
pub(super) fn reply_of(id: i64) -> i64 {
    REPLY_BASE.saturating_add(id)
}

/// The outgoing message that a reply number stands for; `None`: it is a message's.
pub(super) fn outgoing_of(reply: i64) -> Option<i64> {
    is_outgoing(reply).then(|| reply.saturating_sub(REPLY_BASE))
}

/// Whether a reply is an outgoing message, and not an answer.
pub(crate) fn is_outgoing(reply: i64) -> bool {
    reply < 0
}

/// When there is room for one more, if the message that has to leave the window first was made at this time.
pub(super) fn retry_after(made_at: i64, now: i64) -> Duration {
    let wait = made_at.saturating_add(RATE_WINDOW).saturating_sub(now);
    Duration::from_millis(wait.clamp(1, RATE_WINDOW).unsigned_abs())
}

/// The beginning of the window that ends now.
pub(super) fn window_start(now: i64) -> i64 {
    now.saturating_sub(RATE_WINDOW)
}

/// The message of the connector `$1` with the idempotency key `$2`.
pub(super) const FIND_KEY: &str =
    "SELECT id FROM outgoing_message WHERE connector = $1 AND idempotency_key = $2";

/// The message of the namespace `$1` with the name `$2`.
pub(super) const FIND_NAME: &str =
    "SELECT id FROM outgoing_message WHERE namespace = $1 AND name = $2";

/// The id that the group `$3` of the connector `$1` and the bot `$2` has since it became a supergroup.
pub(super) const FIND_MOVED: &str =
    "SELECT chat FROM moved_chat WHERE connector = $1 AND bot = $2 AND moved_from = $3";

/// Whether the bot `$2` of the connector `$1` has met the chat `$3`.
pub(super) const FIND_MET: &str =
    "SELECT 1 WHERE EXISTS (SELECT 1 FROM lane WHERE connector = $1 AND bot = $2 AND chat = $3)
       OR EXISTS (SELECT 1 FROM met_chat WHERE connector = $1 AND bot = $2 AND chat = $3)";

/// The message number `$2` of those of the connector `$1` that wait.
pub(super) const FIND_PENDING: &str =
    "SELECT id FROM outgoing_message WHERE connector = $1 AND phase = 0 LIMIT 1 OFFSET $2";

/// When the message number `$3`, counted from the newest, of the connector `$1` was made, if that was in the window that begins at `$2`: what is of later
/// was made by a clock that has stepped back since.
pub(super) const FIND_RATE: &str = "SELECT created_at FROM outgoing_message WHERE connector = $1 AND created_at > $2 AND created_at <= $2 + 60000 ORDER BY created_at DESC LIMIT 1 OFFSET $3";

/// Drops the oldest messages of the connector `$1` that have ended, beyond `$2` of them and `$3` bytes.
pub(super) const TRIM_ENDED: &str = "DELETE FROM outgoing_message WHERE connector = $1 AND phase <> 0 AND id <=
       (SELECT max(id) FROM (SELECT id, row_number() OVER (ORDER BY id DESC) AS nth, sum(octet_length(body)) OVER (ORDER BY id DESC) AS bytes
          FROM outgoing_message WHERE connector = $1 AND phase <> 0) counted WHERE nth > $2 OR bytes > $3)";

/// Writes a message down, unless another replica has just given its name away.
pub(super) const INSERT: &str =
    "INSERT INTO outgoing_message (connector, namespace, name, bot, chat, topic, sender, idempotency_key, body, silent, created_at)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
       ON CONFLICT (namespace, name) DO NOTHING RETURNING id";

/// Makes the lane of the connector `$1`, the bot `$2`, the chat `$3` and the topic `$4` ready at `$5`, unless something waits there.
pub(super) const READY_LANE: &str =
    "INSERT INTO lane (connector, bot, chat, topic, ready_at) VALUES ($1, $2, $3, $4, $5)
       ON CONFLICT (connector, bot, chat, topic) DO UPDATE SET ready_at = coalesce(lane.ready_at, excluded.ready_at) RETURNING id";

/// Stores the part `$5` number `$3` of the reply `$2` in the lane `$1` at `$4`, for the person `$6` (0: nobody's alone).
pub(super) const STORE_PART: &str = "INSERT INTO outbox (lane, reply, number, update_id, stored_at, part, sender) VALUES ($1, $2, $3, 0, $4, $5, $6)";

/// Before a part `$4` of the message `$1` is tried, which stands in the lane `$2` under the reply `$3`: if a try before did not end, it may have been
/// sent.
pub(super) const NOTE_AMBIGUOUS: &str = "UPDATE outgoing_message SET ambiguous = 1 WHERE id = $1 AND ambiguous = 0
       AND EXISTS (SELECT 1 FROM outbox o WHERE o.lane = $2 AND o.reply = $3 AND o.number = $4 AND o.ambiguous)";

/// A try of the part `$3` of the reply `$2` in the lane `$1` begins.
pub(super) const BEGIN_SENDING: &str =
    "UPDATE outbox SET ambiguous = true WHERE lane = $1 AND reply = $2 AND number = $3";

/// That try did certainly not send it.
pub(super) const END_SENDING: &str =
    "UPDATE outbox SET ambiguous = false WHERE lane = $1 AND reply = $2 AND number = $3";

/// A part of a message has left the outbox because it was sent, as Telegram's message `$1` (null: not known), at `$2`. It stood in the lane `$3` under the
/// reply `$4`, of the message `$5`. What is left of it waits, or has become dead letters.
pub(super) const NOTE_SENT: &str = "UPDATE outgoing_message SET
       message_ids = CASE WHEN $1 IS NULL THEN message_ids WHEN message_ids = '' THEN CAST($1 AS TEXT) ELSE message_ids || ',' || CAST($1 AS TEXT) END,
       finished_at = CASE WHEN EXISTS (SELECT 1 FROM outbox o WHERE o.lane = $3 AND o.reply = $4) THEN NULL ELSE $2 END,
       phase = CASE WHEN EXISTS (SELECT 1 FROM outbox o WHERE o.lane = $3 AND o.reply = $4) THEN 0
         WHEN EXISTS (SELECT 1 FROM dead_letter d WHERE d.reply = $4 AND d.reply < 0) THEN 2 ELSE 1 END
     WHERE id = $5";

/// What is left of the message `$3` will not be sent, for the reason `$1`, at `$2`.
pub(super) const NOTE_FAILED: &str =
    "UPDATE outgoing_message SET phase = 2, reason = $1, finished_at = $2 WHERE id = $3";

/// The messages whose parts are the dead letter `$1` wait again.
pub(super) const NOTE_RETRIED: &str = "UPDATE outgoing_message SET phase = 0, reason = NULL, finished_at = NULL
     WHERE id IN (SELECT reply + 4611686018427387904 FROM dead_letter WHERE id = $1 AND kind = 'reply' AND reply < 0)";

/// What waits to be sent by another bot than `$2` of the connector `$1` since before `$3` is given up, at `$4`: parts of answers and of messages that
/// somebody sends. First they become dead letters, which get this revision.
pub(super) fn fail_other_bots(revision: &str) -> [String; 3] {
    const WHY: &str = "'the connector''s token was replaced by another bot''s'";
    const WAITING: &str = "lane l JOIN outbox o ON o.lane = l.id";
    const OTHERS: &str = "l.connector = $1 AND l.bot <> $2 AND l.owner IS NULL AND l.ready_at IS NOT NULL AND o.stored_at < $3";
    [
        format!(
            "INSERT INTO dead_letter (at, namespace, name, connector, bot, chat, topic, update_id, date, kind, reply, number, attempts, reason, body, sender, revision)
             SELECT $4, c.namespace, c.name, c.id, l.bot, l.chat, l.topic, o.update_id, 0, 'reply', o.reply, o.number, o.attempts, {WHY}, o.part, o.sender, {revision}
             FROM {WAITING} JOIN connector c ON c.id = l.connector WHERE {OTHERS}"
        ),
        format!(
            "UPDATE outgoing_message SET phase = 2, reason = {WHY}, finished_at = $4
             WHERE phase = 0 AND id IN (SELECT o.reply + 4611686018427387904 FROM {WAITING} WHERE o.reply < 0 AND {OTHERS})"
        ),
        "DELETE FROM outbox WHERE $4 IS NOT NULL AND stored_at < $3 AND lane IN
           (SELECT id FROM lane WHERE connector = $1 AND bot <> $2 AND owner IS NULL AND ready_at IS NOT NULL)"
            .to_owned(),
    ]
}

/// Deletes the message `$1` of the namespace `$2`, with what of it waits.
pub(super) const DELETE: [&str; 2] = [
    "DELETE FROM outbox WHERE reply = $1 - 4611686018427387904 AND lane IN (SELECT l.id FROM outgoing_message o
       JOIN lane l ON l.connector = o.connector AND l.bot = o.bot AND l.chat = o.chat AND l.topic = o.topic WHERE o.id = $1 AND o.namespace = $2)",
    "DELETE FROM outgoing_message WHERE id = $1 AND namespace = $2",
];

/// The columns of [`OutgoingMessage`], of `o` and of `c`, its connector. The first seven are those of every object.
pub(super) const COLUMNS: &str = "o.id, CAST(0 AS BIGINT), o.namespace, c.name, c.uid, o.created_at, o.revision, o.name, o.bot, o.chat, o.topic, o.sender,
       o.idempotency_key, o.body, o.silent, o.phase, o.reason, o.ambiguous, o.message_ids, o.finished_at";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reply_numbers_ascend_below_every_message() {
        assert!(reply_of(1) < reply_of(2) && is_outgoing(reply_of(1 << 40)));
        assert_eq!(outgoing_of(reply_of(7)), Some(7));
        assert_eq!(outgoing_of(7), None);
        assert_eq!(
            REPLY_BASE, -4_611_686_018_427_387_904,
            "as the statements have it"
        );
    }

    #[test]
    fn room_comes_when_the_oldest_leaves_the_window() {
        assert_eq!(retry_after(1_000, 31_000), Duration::from_secs(30));
        assert_eq!(retry_after(1_000, 900_000), Duration::from_millis(1));
        assert_eq!(retry_after(900_000, 1_000), Duration::from_mins(1));
    }
}
