//! The statements of grants and requests, which are the same on both databases, and what the writer is asked of them.

use jiff::Timestamp;

use super::access::{AccessVerdict, RequestPhase};
use crate::identity::ConnectorUid;

/// The window in which the requests of a user are counted, in milliseconds.
const ASK_WINDOW: i64 = 24 * 60 * 60 * 1000;

/// The beginning of the window that ends now.
pub(super) fn ask_window_start(now: i64) -> i64 {
    now.saturating_sub(ASK_WINDOW)
}

/// A request of a namespace that is to be decided.
pub(super) struct DecideRequest {
    pub(super) namespace: String,
    pub(super) id: i64,
    pub(super) verdict: AccessVerdict,
    pub(super) by: String,
}

/// What the writer made of a [`DecideRequest`].
#[derive(Debug, Default)]
pub(super) struct WrittenVerdict {
    /// It was decided so.
    pub(super) is_decided: bool,
    /// In whose lane something waits because of it.
    pub(super) follows_for: Option<ConnectorUid>,
}

/// How a request ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ending<'a> {
    pub(super) phase: RequestPhase,
    pub(super) until: Option<Timestamp>,
    pub(super) by: Option<&'a str>,
    /// Telegram's id of the message whose button was tapped.
    pub(super) tapped_message: Option<i64>,
}

impl<'a> Ending<'a> {
    /// By somebody's verdict.
    pub(super) fn decided(
        verdict: AccessVerdict,
        by: &'a str,
        tapped_message: Option<i64>,
    ) -> Self {
        Self {
            phase: verdict.phase(),
            until: verdict.until(),
            by: Some(by),
            tapped_message,
        }
    }

    /// With its time.
    pub(super) const EXPIRED: Self = Self {
        phase: RequestPhase::Expired,
        until: None,
        by: None,
        tapped_message: None,
    };
}

/// The columns of a grant, of `o` and of `c`, its connector. The first seven are those of every object.
pub(super) const GRANT_COLUMNS: &str = "o.id, CAST(0 AS BIGINT), o.namespace, o.name, c.uid, o.since, o.revision, o.sender, o.user_name, o.username,
       o.source, o.granted_by, o.until";

/// The columns of a request, likewise.
pub(super) const REQUEST_COLUMNS: &str = "o.id, CAST(0 AS BIGINT), o.namespace, o.name, c.uid, o.asked_at, o.revision, o.sender, o.user_name, o.username,
       o.token, o.level, o.phase, o.expires_at, o.until, o.decided_at, o.decided_by, o.language, o.chat, o.topic, o.notice_chat, o.notice_message,
       o.tapped_message";

/// Removes the grant that the user `$2` of the connector `$1` has from the source `$3`.
pub(super) const REPLACE_GRANT: &str =
    "DELETE FROM access_grant WHERE connector = $1 AND sender = $2 AND source = $3";

/// Gives a grant.
pub(super) const INSERT_GRANT: &str =
    "INSERT INTO access_grant (connector, namespace, name, sender, user_name, username, source, granted_by, since, until)
       VALUES ($1, $4, $5, $2, $6, $7, $3, $8, $9, $10) RETURNING id";

/// The phase of a request of the user `$2` that keeps them from asking the connector `$1`, its number, and when it expires.
pub(super) const FIND_OPEN: &str = "SELECT phase, id, expires_at FROM access_request
     WHERE connector = $1 AND sender = $2 AND phase IN (0, 3) ORDER BY phase DESC LIMIT 1";

/// How often the user `$2` has asked the connector `$1` within a day from `$3`: what is of later was written by a clock that has stepped back since.
pub(super) const COUNT_ASKED: &str = "SELECT count(*) FROM access_request WHERE connector = $1 AND sender = $2 AND asked_at > $3 AND asked_at <= $3 + 86400000";

/// How many requests of the connector `$1` wait.
pub(super) const COUNT_WAITING: &str =
    "SELECT count(*) FROM access_request WHERE connector = $1 AND phase = 0";

/// What is kept of a connector's requests that have ended, but for those that were refused for good; with every so many that are made the rest goes.
pub(super) const ENDED_KEPT: i64 = 5_000;
pub(super) const ENDED_CHECK_INTERVAL: i64 = 64;

/// Drops the oldest requests of the connector `$1` that have ended but for the newest `$2`.
pub(super) const TRIM_ENDED: &str = "DELETE FROM access_request WHERE connector = $1 AND phase IN (1, 2, 4) AND id <=
       (SELECT id FROM access_request WHERE connector = $1 AND phase IN (1, 2, 4) ORDER BY id DESC LIMIT 1 OFFSET $2)";

/// Writes a request down, while the message `$1` that asks is there.
pub(super) const INSERT_REQUEST: &str =
    "INSERT INTO access_request (token, connector, namespace, name, bot, chat, topic, update_id, reply, sender, user_name, username, level, language,
         asked_at, expires_at, follow_up, notice_chat, notice_topic)
       SELECT $2, c.id, c.namespace, c.name, l.bot, l.chat, l.topic, i.update_id, i.id, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12
       FROM inbox i JOIN lane l ON l.id = i.lane JOIN connector c ON c.id = l.connector WHERE i.id = $1 RETURNING id";

/// Makes the lane of the chat `$2` and the topic `$3` ready at `$4`, of the connector and the bot of the lane `$1`.
pub(super) const READY_NOTICE_LANE: &str = "INSERT INTO lane (bot, chat, topic, connector, ready_at)
     SELECT bot, $2, $3, connector, $4 FROM lane WHERE id = $1
     ON CONFLICT (connector, bot, chat, topic) DO UPDATE SET ready_at = coalesce(lane.ready_at, excluded.ready_at) RETURNING id";

/// The connector and the end of the request `$1` that waits.
pub(super) const FIND_WAITING: &str =
    "SELECT connector, expires_at FROM access_request WHERE id = $1 AND phase = 0";

/// The same, of the namespace `$2`.
pub(super) const FIND_WAITING_OF_NAMESPACE: &str = "SELECT r.connector, r.expires_at, c.uid FROM access_request r JOIN connector c ON c.id = r.connector
     WHERE r.id = $1 AND r.namespace = $2 AND r.phase = 0";

/// Whether the message `$1` waits.
pub(super) const FIND_MESSAGE: &str = "SELECT id FROM inbox WHERE id = $1";

/// Ends the request `$1`, if it waits.
pub(super) const END_REQUEST: &str = "UPDATE access_request SET phase = $2, decided_at = $3, decided_by = $4, until = $5, tapped_message = $6 WHERE id = $1 AND phase = 0";

/// Gives the grant that the request `$1` was allowed; one that the user has by an earlier request goes.
pub(super) const GRANT_REQUESTED: [&str; 2] = [
    "DELETE FROM access_grant WHERE id IN (SELECT g.id FROM access_request r
       JOIN access_grant g ON g.connector = r.connector AND g.sender = r.sender AND g.source = 1 WHERE r.id = $1)",
    "INSERT INTO access_grant (connector, namespace, name, sender, user_name, username, source, granted_by, since, until)
       SELECT connector, namespace, name, sender, user_name, username, 1, coalesce(decided_by, ''), decided_at, until FROM access_request WHERE id = $1",
];

/// Makes the lane ready at `$2` in which the request `$1` was made, which may have gone meanwhile.
pub(super) const READY_ASKING_LANE: &str = "INSERT INTO lane (bot, chat, topic, connector, ready_at)
     SELECT bot, chat, topic, connector, $2 FROM access_request WHERE id = $1
     ON CONFLICT (connector, bot, chat, topic) DO UPDATE SET
       ready_at = CASE WHEN lane.ready_at IS NULL OR lane.ready_at > excluded.ready_at THEN excluded.ready_at ELSE lane.ready_at END
     RETURNING id";

/// Puts what follows from the request `$1` into the inbox of the lane `$2`, at `$3` seconds and `$4` milliseconds: before what waits there, which was
/// said later than the request was made.
pub(super) const FOLLOW_UP: &str = "INSERT INTO inbox (lane, update_id, date, received_at, body, sender)
     SELECT $2, r.update_id, (SELECT coalesce(min(i.date), $3) FROM inbox i WHERE i.lane = $2), $4, r.follow_up, r.sender
     FROM access_request r WHERE r.id = $1";

/// Notes that the message `$3` shows the buttons of the reply `$2` in the lane `$1`.
pub(super) const NOTE_SHOWN: &str = "UPDATE access_request SET notice_message = $3
     WHERE reply = $2 AND notice_chat = (SELECT chat FROM lane WHERE id = $1)";

/// The requests that wait and were to be decided before `$1`, at most `$2`: number, connector and its uid.
pub(super) const FIND_EXPIRED: &str =
    "SELECT r.id, r.connector, c.uid FROM access_request r JOIN connector c ON c.id = r.connector
     WHERE r.phase = 0 AND r.expires_at <= $1 ORDER BY r.expires_at LIMIT $2";

/// Requests that expire at a time.
pub(super) const EXPIRE_LIMIT: i64 = 100;

/// Deletes the grant `$1` of the namespace `$2`.
pub(super) const DELETE_GRANT: &str = "DELETE FROM access_grant WHERE id = $1 AND namespace = $2";

/// Deletes the request `$1` of the namespace `$2`, and the message about it while that waits to be sent and the request to be decided.
pub(super) const DELETE_REQUEST: [&str; 2] = [
    "DELETE FROM outbox WHERE (lane, reply) IN (SELECT l.id, r.reply FROM access_request r
       JOIN lane l ON l.connector = r.connector AND l.bot = r.bot AND l.chat = r.notice_chat AND l.topic = r.notice_topic
       WHERE r.id = $1 AND r.namespace = $2 AND r.phase = 0)",
    "DELETE FROM access_request WHERE id = $1 AND namespace = $2",
];
