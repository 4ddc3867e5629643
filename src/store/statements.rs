//! Statements that are the same on both databases: either takes `$1`, `$2` for the first and the second value.

use jiff::Timestamp;

use super::{MAX_LANE_WAIT, Retention};

/// Rows that one `Prune` removes per table, so that intake never waits long for it.
pub(super) const PRUNE_LIMIT: i64 = 500;

/// What `Prune` removes: each with the time in `$1`, [`PRUNE_LIMIT`] in `$2`.
pub(super) fn prune_statements(retention: &Retention) -> [(&'static str, Timestamp); 15] {
    [
        (
            "DELETE FROM seen WHERE (bot, update_id) IN (SELECT bot, update_id FROM seen WHERE at < $1 LIMIT $2)",
            retention.identities,
        ),
        (
            "DELETE FROM notice WHERE (connector, chat, kind) IN (SELECT connector, chat, kind FROM notice WHERE at < $1 LIMIT $2)",
            retention.identities,
        ),
        (
            "DELETE FROM denied WHERE id IN (SELECT id FROM denied WHERE stored_at < $1 LIMIT $2)",
            retention.denied,
        ),
        (
            "DELETE FROM read_along WHERE (lane, message) IN (SELECT lane, message FROM read_along WHERE at < $1 LIMIT $2)",
            retention.read_along,
        ),
        (
            "DELETE FROM dead_letter WHERE id IN (SELECT id FROM dead_letter WHERE at < $1 LIMIT $2)",
            retention.sessions,
        ),
        (TRIM_DEAD_LETTERS, retention.sessions),
        (
            "DELETE FROM exchange WHERE (lane, session) IN (SELECT lane, number FROM session WHERE last_at < $1 LIMIT $2)",
            retention.sessions,
        ),
        (
            "DELETE FROM session WHERE (lane, number) IN (SELECT lane, number FROM session WHERE last_at < $1 LIMIT $2)",
            retention.sessions,
        ),
        (
            "DELETE FROM user_decision WHERE id IN (SELECT id FROM user_decision WHERE opened_at < $1 LIMIT $2)",
            retention.sessions,
        ),
        (
            "DELETE FROM outgoing_message WHERE id IN (SELECT id FROM outgoing_message WHERE finished_at < $1 LIMIT $2)",
            retention.outgoing,
        ),
        (
            "DELETE FROM access_grant WHERE id IN (SELECT id FROM access_grant WHERE until < $1 LIMIT $2)",
            retention.grants,
        ),
        // Those that are muted stay.
        (
            "DELETE FROM access_request WHERE id IN (SELECT id FROM access_request WHERE decided_at < $1 AND phase <> 3 LIMIT $2)",
            retention.sessions,
        ),
        (
            "DELETE FROM met_chat WHERE (connector, bot, chat) IN (SELECT connector, bot, chat FROM met_chat WHERE at < $1 LIMIT $2)",
            retention.sessions,
        ),
        // Days that are over in every time zone.
        (
            "DELETE FROM day_usage WHERE (connector, sender, day) IN
               (SELECT connector, sender, day FROM day_usage WHERE day < $1 / 86400000 - 1 LIMIT $2)",
            retention.identities,
        ),
        // Of connectors that did not come back: what waits there is as old as an update can be.
        (
            "DELETE FROM sign_in WHERE id IN (SELECT id FROM sign_in WHERE begun_at < $1 LIMIT $2)",
            retention.identities,
        ),
    ]
}

/// So long it is remembered that a sign-in ended, in milliseconds: the time in which a user's are counted.
pub(super) const SIGN_INS_KEPT: i64 = 3_600_000;

/// Forgets a bounded number (`$2`) of sign-ins that ended and began before `$1`.
pub(super) const PRUNE_SIGN_INS: &str = "DELETE FROM sign_in WHERE id IN (SELECT id FROM sign_in WHERE phase = 2 AND begun_at < $1 LIMIT $2)";

/// Gives the connector `$1` and the bot `$2` what it has of the chat `$3` under the id `$4`. What came under the new id before is put to
/// it, unless it has a session or is being worked in.
pub(super) const MOVE_CHAT: [&str; 7] = [
    "INSERT INTO moved_chat (connector, bot, moved_from, chat) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
    "UPDATE inbox SET lane = (SELECT id FROM lane WHERE connector = $1 AND bot = $2 AND chat = $3 AND topic = 0)
       WHERE lane IN (SELECT id FROM lane WHERE connector = $1 AND bot = $2 AND chat = $4 AND topic = 0 AND owner IS NULL AND sessions = 0)
         AND EXISTS (SELECT 1 FROM lane WHERE connector = $1 AND bot = $2 AND chat = $3 AND topic = 0)",
    "UPDATE outbox SET lane = (SELECT id FROM lane WHERE connector = $1 AND bot = $2 AND chat = $3 AND topic = 0)
       WHERE lane IN (SELECT id FROM lane WHERE connector = $1 AND bot = $2 AND chat = $4 AND topic = 0 AND owner IS NULL AND sessions = 0)
         AND EXISTS (SELECT 1 FROM lane WHERE connector = $1 AND bot = $2 AND chat = $3 AND topic = 0)",
    "UPDATE lane SET ready_at = coalesce(ready_at, (SELECT n.ready_at FROM lane n
         WHERE n.connector = $1 AND n.bot = $2 AND n.chat = $4 AND n.topic = 0 AND n.owner IS NULL AND n.sessions = 0))
       WHERE connector = $1 AND bot = $2 AND chat = $3 AND topic = 0",
    "DELETE FROM lane WHERE connector = $1 AND bot = $2 AND chat = $4 AND topic = 0 AND owner IS NULL AND sessions = 0
       AND EXISTS (SELECT 1 FROM lane o WHERE o.connector = $1 AND o.bot = $2 AND o.chat = $3 AND o.topic = 0)",
    "UPDATE lane SET chat = $4 WHERE connector = $1 AND bot = $2 AND chat = $3 AND topic = 0
       AND NOT EXISTS (SELECT 1 FROM lane n WHERE n.connector = $1 AND n.bot = $2 AND n.chat = $4 AND n.topic = 0)",
    "UPDATE access_request SET notice_chat = $4 WHERE connector = $1 AND bot = $2 AND notice_chat = $3",
];

/// What `DeleteConnectorData` removes of the connector `$1`.
pub(super) const DELETE_CONNECTOR_DATA: [&str; 19] = [
    "DELETE FROM inbox WHERE lane IN (SELECT id FROM lane WHERE connector = $1)",
    "DELETE FROM outbox WHERE lane IN (SELECT id FROM lane WHERE connector = $1)",
    "DELETE FROM exchange WHERE lane IN (SELECT id FROM lane WHERE connector = $1)",
    "DELETE FROM session WHERE lane IN (SELECT id FROM lane WHERE connector = $1)",
    "DELETE FROM read_along WHERE lane IN (SELECT id FROM lane WHERE connector = $1)",
    "DELETE FROM dead_letter WHERE connector = $1",
    "DELETE FROM user_decision WHERE connector = $1",
    "DELETE FROM access_grant WHERE connector = $1",
    "DELETE FROM access_request WHERE connector = $1",
    // A lane that is being worked in goes with its release; what is written there finds no session and no message.
    "DELETE FROM lane WHERE connector = $1 AND owner IS NULL",
    "UPDATE lane SET session = 0 WHERE connector = $1",
    "DELETE FROM outgoing_message WHERE connector = $1",
    "DELETE FROM met_chat WHERE connector = $1",
    "DELETE FROM notice WHERE connector = $1",
    "DELETE FROM moved_chat WHERE connector = $1",
    "DELETE FROM day_usage WHERE connector = $1",
    "DELETE FROM sign_in WHERE connector = $1",
    "DELETE FROM membership WHERE connector = $1",
    "UPDATE connector SET superseded = 1 WHERE id = $1",
];

/// Denied messages that are kept of one sender, and of one connector; beyond it the oldest go.
pub(super) const DENIED_PER_SENDER: i64 = 100;
pub(super) const DENIED_PER_CONNECTOR: i64 = 5_000;
/// The bound of a connector is looked at with every so many of its denied messages: looking costs as much as storing.
pub(super) const DENIED_CHECK_INTERVAL: i64 = 64;

/// Drops the oldest denied messages of the connector `$1` and the sender `$2` but for the newest `$3`.
pub(super) const TRIM_DENIED_OF_SENDER: &str = "DELETE FROM denied WHERE connector = $1 AND sender = $2 AND id <=
       (SELECT id FROM denied WHERE connector = $1 AND sender = $2 ORDER BY id DESC LIMIT 1 OFFSET $3)";

/// The same of the connector `$1`, but for the newest `$2`.
pub(super) const TRIM_DENIED_OF_CONNECTOR: &str =
    "DELETE FROM denied WHERE connector = $1 AND id <=
       (SELECT id FROM denied WHERE connector = $1 ORDER BY id DESC LIMIT 1 OFFSET $2)";

/// Counts a transaction that changes objects, at the time `$1` (`SQLite`; in `PostgreSQL` the transactions' own numbers do it).
pub(super) const COUNT_REVISION: &str = "UPDATE revision SET number = number + 1, at = $1";

/// Ends the session `$2` of the lane `$1` and removes its words, with the questions that it has asked.
pub(super) const END_CONVERSATION: [&str; 5] = [
    "DELETE FROM exchange WHERE lane = $1 AND session = $2",
    "DELETE FROM user_decision WHERE lane = $1 AND session = $2",
    "UPDATE lane SET open_decisions = (SELECT count(*) FROM user_decision d WHERE d.lane = lane.id AND d.state = 0)
       WHERE id = $1 AND $2 IS NOT NULL",
    "UPDATE lane SET session = 0 WHERE id = $1 AND session = $2",
    "DELETE FROM session WHERE lane = $1 AND number = $2",
];

/// Forgets a bounded number (`$2`) of deleted objects that were deleted before `$1`; whoever watches from before them lists anew.
pub(super) const PRUNE_DELETED_OBJECTS: [&str; 2] = [
    "UPDATE revision SET oldest = (SELECT max(revision) FROM (SELECT revision FROM deleted_object WHERE at < $1 ORDER BY id LIMIT $2) pruned)
       WHERE oldest < (SELECT max(revision) FROM (SELECT revision FROM deleted_object WHERE at < $1 ORDER BY id LIMIT $2) pruned)",
    "DELETE FROM deleted_object WHERE id IN (SELECT id FROM deleted_object WHERE at < $1 ORDER BY id LIMIT $2)",
];

/// So long it is remembered that an object was deleted, in milliseconds: a client that watches is seldom away for longer.
pub(super) const DELETED_OBJECTS_KEPT: i64 = 3_600_000;

/// Lets what is remembered of deleted objects be 50,000 rows: beyond it the oldest go, and whoever watches from before them lists anew.
pub(super) const TRIM_DELETED_OBJECTS: [&str; 2] = [
    "UPDATE revision SET oldest = (SELECT d.revision FROM deleted_object d WHERE d.id <= (SELECT max(id) FROM deleted_object) - 50000 ORDER BY d.id DESC LIMIT 1)
       WHERE oldest < (SELECT d.revision FROM deleted_object d WHERE d.id <= (SELECT max(id) FROM deleted_object) - 50000 ORDER BY d.id DESC LIMIT 1)",
    "DELETE FROM deleted_object WHERE id <= (SELECT max(id) FROM deleted_object) - 50000",
];

/// The ids of whoever else speaks in a question, as `exchange.speakers` holds them.
pub(super) fn speaker_list(speakers: &[i64]) -> Option<String> {
    let spaced = |list: String, id: &i64| list + &id.to_string() + " ";
    (!speakers.is_empty()).then(|| speakers.iter().fold(" ".to_owned(), spaced))
}

/// Drops the oldest dead letters of each connector but for the newest 10,000, at most `$2` at a time; the time `$1` is that of every other `Prune`.
const TRIM_DEAD_LETTERS: &str = "DELETE FROM dead_letter WHERE $1 IS NOT NULL AND id IN (SELECT id FROM
       (SELECT id, row_number() OVER (PARTITION BY connector ORDER BY id DESC) AS nth FROM dead_letter) newest
       WHERE nth > 10000 LIMIT $2)";

/// How many bytes of files wait, of the connector `$1` and of all.
pub(super) const COUNT_UPLOAD_BYTES: &str =
    "SELECT CAST(coalesce(sum(CASE WHEN connector = $1 THEN bytes END), 0) AS BIGINT),
       CAST(coalesce(sum(bytes), 0) AS BIGINT) FROM upload";

/// Stores the bytes `$4` of a file, `$5` in number, for the part `$2` of the reply `$1` of the connector `$3`.
pub(super) const INSERT_UPLOAD: &str =
    "INSERT INTO upload (reply, number, connector, content, bytes) VALUES ($1, $2, $3, $4, $5)";

/// Notes that `$1` bytes are stored for the part `$4` of the reply `$3` of the lane `$2`.
pub(super) const NOTE_UPLOAD: &str =
    "UPDATE outbox SET upload_bytes = $1 WHERE lane = $2 AND reply = $3 AND number = $4";

/// The bytes of words that are kept of one session.
pub(super) const SESSION_BYTES: i64 = 1 << 20;

/// Whether the bytes of a session are counted with this exchange, of so many bytes: with every sixteenth, and with each long one. Up to a quarter more is
/// kept between.
pub(super) fn counts_session_bytes(number: i64, bytes: usize) -> bool {
    number % 16 == 0 || bytes >= 16 << 10
}

/// Drops the oldest exchanges of the lane `$1` and the session `$2` beyond `$3` bytes; the newest stays whatever it has.
pub(super) const TRIM_EXCHANGES: &str = "DELETE FROM exchange WHERE lane = $1 AND session = $2 AND number <=
       (SELECT max(number) FROM (SELECT number, sum(octet_length(asked) + octet_length(answered)) OVER (ORDER BY number DESC) AS bytes
          FROM exchange WHERE lane = $1 AND session = $2) counted WHERE bytes > $3)
     AND number < (SELECT max(number) FROM exchange WHERE lane = $1 AND session = $2)";

/// Whether there is room for a file of so many bytes beside those that wait, of its connector and of all.
pub(super) fn has_upload_room(bytes: usize, waiting: (i64, i64), most: (u64, u64)) -> bool {
    let fits =
        |waiting: i64, most: u64| waiting.unsigned_abs().saturating_add(bytes as u64) <= most;
    fits(waiting.0, most.0) && fits(waiting.1, most.1)
}

/// Counts a crash for the next message of each lane that the claimant `$1` had in work when it ended without notice.
pub(super) const COUNT_CRASHES: &str = "UPDATE inbox SET crashes = crashes + 1 WHERE id IN
       (SELECT (SELECT i.id FROM inbox i WHERE i.lane = l.id ORDER BY i.date, i.update_id LIMIT 1) FROM lane l WHERE l.owner = $1)";

/// Makes the lanes due that were put off beyond `$2`, at the time `$1`.
pub(super) const WAKE_OVERDUE_LANES: &str =
    "UPDATE lane SET ready_at = $1 WHERE owner IS NULL AND ready_at IS NOT NULL AND ready_at > $2";

/// The latest time at which a lane may be due that was put off now.
pub(super) fn latest_ready_at(now: i64) -> i64 {
    now.saturating_add(i64::try_from(MAX_LANE_WAIT.as_millis()).unwrap_or(i64::MAX))
}

/// Lets the lanes of the connector `$1` rest in which nothing waits any more.
pub(super) const CLEAR_IDLE_LANES: &str =
    "UPDATE lane SET ready_at = NULL WHERE connector = $1 AND owner IS NULL AND ready_at IS NOT NULL
       AND NOT EXISTS (SELECT 1 FROM inbox i WHERE i.lane = lane.id)
       AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.lane = lane.id)";
