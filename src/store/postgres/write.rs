//! Changes to lanes: those of a whole batch, one statement for each kind that occurs.

use std::collections::{BTreeSet, HashMap};

use sqlx::Row;
use sqlx::postgres::{PgConnection, PgQueryResult};

use super::accept::BacklogCount;
use super::access;
use super::connection::{Connection, rows};
use super::day_usage::count_tokens;
use super::notices::Notices;
use super::outgoing;
use super::read_along::apply_read_along;
use super::sign_ins;
use super::uploads::store_uploads;
use super::user_decisions;
use super::write_rows::Rows;
use crate::store::requests::StoreRequest;
use crate::store::statements::{
    DENIED_PER_CONNECTOR, DENIED_PER_SENDER, SESSION_BYTES, TRIM_DELETED_OBJECTS,
    TRIM_DENIED_OF_CONNECTOR, TRIM_DENIED_OF_SENDER, TRIM_EXCHANGES, counts_session_bytes,
};
use crate::store::{StoreError, WriteOutcome};

/// Exchanges that are kept of a session: as many as the greatest `maxMessages` can carry.
const EXCHANGES_KEPT: i64 = 500;

/// Stores parts of replies: lane, message, number and part of each.
pub(super) const STORE_PARTS: &str =
    "INSERT INTO outbox (lane, reply, number, update_id, stored_at, part, sender)
             SELECT (j.value->>0)::bigint, (j.value->>1)::bigint, (j.value->>2)::bigint, i.update_id, $2, j.value->>3, i.sender
             FROM json_array_elements($1::json) j(value) JOIN inbox i ON i.id = (j.value->>1)::bigint
             ON CONFLICT (lane, reply, number) DO UPDATE SET part = excluded.part, upload_bytes = NULL";

/// Does every `Write` of the batch whose claim still holds.
pub(super) async fn apply_lane_writes(
    connection: &mut Connection,
    db: &mut PgConnection,
    requests: &mut [StoreRequest],
) -> Result<(), sqlx::Error> {
    let mut held: HashMap<i64, bool> = HashMap::new();
    let mut writes = Vec::new();
    for request in requests {
        let StoreRequest::Write(pending) = request else {
            continue;
        };
        let owner = pending.request.write.claim.owner;
        let holds = match held.get(&owner) {
            Some(holds) => *holds,
            None => {
                let holds = connection.claimant.holds(db, owner).await?;
                held.insert(owner, holds);
                holds
            }
        };
        if holds {
            writes.push(pending);
        } else {
            pending.resolve(Err(StoreError::ClaimLost));
        }
    }
    if writes.is_empty() {
        return Ok(());
    }
    let now = connection.now();
    let mut notices = Notices::load(db, &writes).await?;
    let mut rows = Rows::default();
    let mut written: Vec<WriteOutcome> = Vec::with_capacity(writes.len());
    for pending in &writes {
        written.push(rows.sort(&pending.request.write, now, &mut notices));
    }
    notices.save(db, now).await?;
    rows.store_replies(db, now, connection.options.upload_bytes)
        .await?;
    for (pending, written) in writes.iter().zip(&mut written) {
        let write = &*pending.request.write;
        count_tokens(db, write).await?;
        let decisions = user_decisions::apply_write(db, write, now).await?;
        written.decision_taken = decisions.taken;
        written.held = sign_ins::apply_write(connection, db, write, now).await?;
        connection
            .backlog
            .add(write.claim.connector, decisions.follow_ups);
        access::apply_write(connection, db, write, written).await?;
    }
    let finished = rows.apply(db, now).await?;
    if finished == rows.finished.len() as u64 {
        for connector in &rows.out_of_backlog {
            connection.backlog.remove(*connector, 1);
        }
    } else {
        // Some were gone before: their connector was deleted, or their sender erased.
        connection.backlog = BacklogCount::load(db).await?;
    }
    let waiting = still_waiting(db, &rows.released).await?;
    for (pending, mut written) in writes.into_iter().zip(written) {
        let write = &*pending.request.write;
        written.more_waits = write.release.is_some() && waiting.contains(&write.claim.lane);
        pending.resolve(Ok(written));
    }
    Ok(())
}

impl Rows<'_> {
    /// Replies copy from the inbox, as decisions do, so they come before what is taken out of it.
    async fn store_replies(
        &self,
        db: &mut PgConnection,
        now: i64,
        upload_bytes: (u64, u64),
    ) -> Result<(), sqlx::Error> {
        run(db, STORE_PARTS, &self.reply_parts, now).await?;
        store_uploads(db, &self.uploads, upload_bytes).await
    }

    /// Dead letters copy from the inbox, and what was said is kept only where its message is there still, so both come before what is taken out of it; giving lanes back looks at what is left, so it comes last.
    /// Returns how many messages were taken out.
    async fn apply(&self, db: &mut PgConnection, now: i64) -> Result<u64, sqlx::Error> {
        run(
            db,
            "INSERT INTO dead_letter (at, namespace, name, connector, bot, chat, topic, update_id, date, kind, attempts, reason, body, sender)
             SELECT $2, c.namespace, c.name, c.id, l.bot, l.chat, l.topic, i.update_id, i.date, 'message', i.attempts, j.value->>1, i.body, i.sender
             FROM json_array_elements($1::json) j(value) JOIN inbox i ON i.id = (j.value->>0)::bigint
             JOIN lane l ON l.id = i.lane JOIN connector c ON c.id = l.connector",
            &self.dead_letters,
            now,
        )
        .await?;
        self.apply_sessions(db, now).await?;
        run(
            db,
            "UPDATE lane SET handled = j.value->>1, handled_at = $2
             FROM json_array_elements($1::json) j(value) WHERE lane.id = (j.value->>0)::bigint",
            &self.handled,
            now,
        )
        .await?;
        run(
            db,
            "INSERT INTO denied (connector, sender, at, namespace, name, message, stored_at, chat)
             SELECT (value->>0)::bigint, (value->>1)::bigint, (value->>2)::bigint, value->>3, value->>4, value->>5, $2, (value->>6)::bigint
             FROM json_array_elements($1::json) WITH ORDINALITY j(value, nth)
             WHERE EXISTS (SELECT 1 FROM inbox i WHERE i.id = (value->>7)::bigint) ORDER BY nth",
            &self.denied,
            now,
        )
        .await?;
        self.trim_denied(db).await?;
        apply_read_along(db, &self.read_along).await?;
        let finished = run(
            db,
            "DELETE FROM inbox WHERE id IN (SELECT value::text::bigint FROM json_array_elements($1::json) j(value)) AND $2 IS NOT NULL",
            &self.finished,
            now,
        )
        .await?
        .rows_affected();
        run(
            db,
            "UPDATE inbox SET attempts = attempts + 1 WHERE id IN (SELECT value::text::bigint FROM json_array_elements($1::json) j(value)) AND $2 IS NOT NULL",
            &self.attempted,
            now,
        )
        .await?;
        self.apply_deliveries(db, now).await?;
        // An acceptance in another process either has the lane's row before us, and then its message is seen by the next
        // statement, or after us, and then it makes the lane ready itself.
        run(
            db,
            "SELECT id FROM lane WHERE id IN (SELECT (value->>0)::bigint FROM json_array_elements($1::json) j(value))
               AND $2 IS NOT NULL ORDER BY id FOR UPDATE",
            &self.released,
            now,
        )
        .await?;
        run(
            db,
            "UPDATE lane SET owner = NULL, ready_at = CASE
               WHEN EXISTS (SELECT 1 FROM inbox i WHERE i.lane = lane.id)
                 OR EXISTS (SELECT 1 FROM outbox o WHERE o.lane = lane.id) THEN (j.value->>1)::bigint END
             FROM json_array_elements($1::json) j(value) WHERE lane.id = (j.value->>0)::bigint AND $2 IS NOT NULL",
            &self.released,
            now,
        )
        .await?;
        Ok(finished)
    }

    /// Lets the oldest denied messages go where there are too many.
    async fn trim_denied(&self, db: &mut PgConnection) -> Result<(), sqlx::Error> {
        let senders: BTreeSet<(i64, i64)> = self.denied.iter().map(|row| (row.0, row.1)).collect();
        for (connector, sender) in &senders {
            sqlx::query(TRIM_DENIED_OF_SENDER)
                .bind(connector)
                .bind(sender)
                .bind(DENIED_PER_SENDER)
                .execute(&mut *db)
                .await?;
        }
        let connectors: BTreeSet<i64> = senders
            .into_iter()
            .map(|(connector, _)| connector)
            .collect();
        for connector in connectors {
            sqlx::query(TRIM_DENIED_OF_CONNECTOR)
                .bind(connector)
                .bind(DENIED_PER_CONNECTOR)
                .execute(&mut *db)
                .await?;
        }
        if self.denied.is_empty() {
            return Ok(());
        }
        for statement in TRIM_DELETED_OBJECTS {
            sqlx::query(statement).execute(&mut *db).await?;
        }
        Ok(())
    }

    async fn apply_sessions(&self, db: &mut PgConnection, now: i64) -> Result<(), sqlx::Error> {
        run(
            db,
            "UPDATE lane SET session = 0 WHERE id IN (SELECT value::text::bigint FROM json_array_elements($1::json) j(value)) AND $2 IS NOT NULL",
            &self.ended,
            now,
        )
        .await?;
        run(
            db,
            "INSERT INTO session (lane, number, key, began_at, last_at, namespace)
             SELECT l.id, (value->>1)::bigint, value->>2, (value->>3)::bigint, (value->>3)::bigint, c.namespace
             FROM json_array_elements($1::json) j(value) JOIN lane l ON l.id = (value->>0)::bigint JOIN connector c ON c.id = l.connector WHERE $2 IS NOT NULL
             ON CONFLICT (lane, number) DO UPDATE SET key = excluded.key, revision = excluded.revision",
            &self.begun,
            now,
        )
        .await?;
        run(
            db,
            "UPDATE lane SET session = (j.value->>1)::bigint, sessions = greatest(sessions, (j.value->>1)::bigint)
             FROM json_array_elements($1::json) j(value) WHERE lane.id = (j.value->>0)::bigint AND $2 IS NOT NULL",
            &self.begun,
            now,
        )
        .await?;
        run(
            db,
            "UPDATE session SET exchanges = (j.value->>2)::bigint, last_at = (j.value->>3)::bigint, state = coalesce(j.value->>4, state),
               input_tokens = (j.value->>5)::bigint, output_tokens = (j.value->>6)::bigint, revision = txid_current()
             FROM json_array_elements($1::json) j(value) WHERE session.lane = (j.value->>0)::bigint AND session.number = (j.value->>1)::bigint AND $2 IS NOT NULL
               AND EXISTS (SELECT 1 FROM inbox i WHERE i.id = (j.value->>7)::bigint)",
            &self.exchanges,
            now,
        )
        .await?;
        run(
            db,
            "INSERT INTO exchange (lane, session, number, asked, answered, sender, speakers)
             SELECT (j.value->>0)::bigint, (j.value->>1)::bigint, (j.value->>2)::bigint, j.value->>3, j.value->>4, i.sender, j.value->>6
             FROM json_array_elements($1::json) j(value) JOIN session s ON s.lane = (j.value->>0)::bigint AND s.number = (j.value->>1)::bigint
             JOIN inbox i ON i.id = (j.value->>5)::bigint
             WHERE $2 IS NOT NULL AND (j.value->>6 IS NULL OR EXISTS (SELECT 1 FROM lane l WHERE l.id = s.lane AND l.erased = 0))
             ON CONFLICT (lane, session, number) DO UPDATE SET asked = excluded.asked, answered = excluded.answered,
               sender = excluded.sender, speakers = excluded.speakers",
            &self.exchange_texts,
            now,
        )
        .await?;
        run(
            db,
            "DELETE FROM exchange e USING json_array_elements($1::json) j(value)
             WHERE e.lane = (j.value->>0)::bigint AND e.session = (j.value->>1)::bigint AND e.number < (j.value->>2)::bigint AND $2 IS NOT NULL",
            &self.dropped_exchanges,
            now,
        )
        .await?;
        for (lane, session, number, asked, answered, ..) in &self.exchange_texts {
            if counts_session_bytes(*number, asked.len() + answered.len()) {
                sqlx::query(TRIM_EXCHANGES)
                    .bind(lane)
                    .bind(session)
                    .bind(SESSION_BYTES)
                    .execute(&mut *db)
                    .await?;
            }
        }
        let expired_exchanges: Vec<_> = self
            .exchange_texts
            .iter()
            .filter(|(_, _, number, ..)| *number > EXCHANGES_KEPT)
            .map(|(lane, session, number, ..)| (lane, session, number - EXCHANGES_KEPT))
            .collect();
        run(
            db,
            "DELETE FROM exchange WHERE (lane, session, number) IN
               (SELECT (value->>0)::bigint, (value->>1)::bigint, (value->>2)::bigint FROM json_array_elements($1::json) j(value)) AND $2 IS NOT NULL",
            &expired_exchanges,
            now,
        )
        .await?;
        Ok(())
    }

    async fn apply_deliveries(&self, db: &mut PgConnection, now: i64) -> Result<(), sqlx::Error> {
        run(
            db,
            "DELETE FROM outbox WHERE (lane, reply, number) IN
               (SELECT (value->>0)::bigint, (value->>1)::bigint, (value->>2)::bigint FROM json_array_elements($1::json) j(value)) AND $2 IS NOT NULL",
            &self.sent,
            now,
        )
        .await?;
        run(
            db,
            "INSERT INTO outbox (lane, reply, number, update_id, stored_at, part, sender)
             SELECT o.lane, o.reply, (j.value->>3)::bigint, o.update_id, o.stored_at, j.value->>4, o.sender
             FROM json_array_elements($1::json) j(value) JOIN outbox o
               ON o.lane = (j.value->>0)::bigint AND o.reply = (j.value->>1)::bigint AND o.number = (j.value->>2)::bigint
             WHERE $2 IS NOT NULL
             ON CONFLICT (lane, reply, number) DO UPDATE SET part = excluded.part, attempts = 0, ambiguous = false",
            &self.replaced,
            now,
        )
        .await?;
        run(
            db,
            "UPDATE outbox SET attempts = attempts + 1, ambiguous = ambiguous OR (j.value->>3)::boolean
             FROM json_array_elements($1::json) j(value)
             WHERE outbox.lane = (j.value->>0)::bigint AND outbox.reply = (j.value->>1)::bigint AND outbox.number = (j.value->>2)::bigint AND $2 IS NOT NULL",
            &self.send_attempted,
            now,
        )
        .await?;
        run(
            db,
            "INSERT INTO dead_letter (at, namespace, name, connector, bot, chat, topic, update_id, date, kind, reply, number, attempts, reason, body, sender)
             SELECT $2, c.namespace, c.name, c.id, l.bot, l.chat, l.topic, o.update_id, 0, 'reply', o.reply, o.number, o.attempts, j.value->>2, o.part, o.sender
             FROM json_array_elements($1::json) j(value) JOIN outbox o ON o.lane = (j.value->>0)::bigint AND o.reply = (j.value->>1)::bigint
             JOIN lane l ON l.id = o.lane JOIN connector c ON c.id = l.connector",
            &self.dead_letter_replies,
            now,
        )
        .await?;
        run(
            db,
            "DELETE FROM outbox WHERE (lane, reply) IN
               (SELECT (value->>0)::bigint, (value->>1)::bigint FROM json_array_elements($1::json) j(value)) AND $2 IS NOT NULL",
            &self.ended_replies,
            now,
        )
        .await?;
        outgoing::apply_changes(db, &self.outgoing, now).await
    }
}

/// Runs one statement on all its rows (`$1`) at one time (`$2`), if there are any.
pub(super) async fn run<T: serde::Serialize>(
    db: &mut PgConnection,
    statement: &'static str,
    all: &[T],
    now: i64,
) -> Result<PgQueryResult, sqlx::Error> {
    if all.is_empty() {
        return Ok(PgQueryResult::default());
    }
    sqlx::query(statement)
        .bind(rows(all))
        .bind(now)
        .execute(db)
        .await
}

async fn still_waiting(
    db: &mut PgConnection,
    released: &[(i64, i64)],
) -> Result<std::collections::HashSet<i64>, sqlx::Error> {
    if released.is_empty() {
        return Ok(std::collections::HashSet::new());
    }
    let lanes = sqlx::query(
        "SELECT l.id FROM json_array_elements($1::json) j(value) JOIN lane l ON l.id = (j.value->>0)::bigint WHERE l.ready_at IS NOT NULL",
    )
    .bind(rows(released))
    .fetch_all(db)
    .await?;
    Ok(lanes.into_iter().map(|r| r.get(0)).collect())
}
