//! What is neither intake nor a lane's work: leases, take-over, retention, a connector that is gone, dead letters again.

use jiff::Timestamp;
use sqlx::Row;
use sqlx::postgres::PgConnection;

use super::accept::BacklogCount;
use super::connection::{Connection, rows};
use super::{access, day_usage, objects, outgoing, sign_ins, user_decisions};
use crate::identity::ConnectorUid;
use crate::store::Retention;
use crate::store::reading::timestamp;
use crate::store::requests::{CountMessages, OtherBots, StoreRequest};
use crate::store::statements::{
    CLEAR_IDLE_LANES, COUNT_CRASHES, DELETE_CONNECTOR_DATA, DELETED_OBJECTS_KEPT,
    PRUNE_DELETED_OBJECTS, PRUNE_LIMIT, PRUNE_SIGN_INS, SIGN_INS_KEPT, WAKE_OVERDUE_LANES,
    latest_ready_at, prune_statements,
};

/// Does every other operation of the batch.
pub(super) async fn apply_requests(
    connection: &mut Connection,
    db: &mut PgConnection,
    requests: &mut [StoreRequest],
) -> Result<(), sqlx::Error> {
    for request in requests {
        match request {
            StoreRequest::Accept(_) | StoreRequest::Write(_) | StoreRequest::Claim(_) => {}
            StoreRequest::KeepClaims(pending) => {
                pending.resolve(Ok(keep_claims(connection, db).await?));
            }
            StoreRequest::ReleaseClaims(pending) => {
                if let Some(owner) = connection.claimant.id() {
                    release_lanes(db, owner).await?;
                }
                connection.claimant.deregister(db).await?;
                pending.resolve(Ok(()));
            }
            StoreRequest::ReadyNow(pending) => {
                let id = connection.connectors.id(db, &pending.request).await?;
                sqlx::query(
                    "UPDATE lane SET ready_at = $2 WHERE connector = $1 AND owner IS NULL AND ready_at > $2",
                )
                .bind(id)
                .bind(connection.now())
                .execute(&mut *db)
                .await?;
                pending.resolve(Ok(()));
            }
            StoreRequest::DeadLetterOtherBots(pending) => {
                let given_up = dead_letter_other_bots(connection, db, &pending.request).await?;
                pending.resolve(Ok(given_up));
            }
            StoreRequest::Prune(pending) => {
                let more = prune(db, &pending.request).await?;
                pending.resolve(Ok(more));
            }
            StoreRequest::PruneLanes(pending) => {
                let removed = prune_lanes(db, &pending.request).await?;
                pending.resolve(Ok(removed));
            }
            StoreRequest::DeleteConnectorData(pending) => {
                delete_connector_data(connection, db, &pending.request).await?;
                pending.resolve(Ok(()));
            }
            StoreRequest::Retry(pending) => {
                let retried = retry_dead_letters(connection, db, &pending.request).await?;
                pending.resolve(Ok(retried));
            }
            StoreRequest::Register(pending) => {
                let registered = &pending.request;
                connection.connectors.id_of_named(db, registered).await?;
                pending.resolve(Ok(()));
            }
            StoreRequest::CountMessages(pending) => {
                let counted = count_messages(db, &pending.request).await?;
                pending.resolve(Ok(counted));
            }
            StoreRequest::CountQuestion(pending) => {
                let reached = day_usage::count_question(db, &pending.request).await?;
                pending.resolve(Ok(reached));
            }
            StoreRequest::ExpireDecisions(pending) => {
                let expired = user_decisions::expire(connection, db).await?;
                pending.resolve(Ok(expired));
            }
            StoreRequest::DeleteObjects(pending) => {
                let deleted = objects::delete(db, &pending.request).await?;
                pending.resolve(Ok(deleted));
            }
            StoreRequest::Erase(pending) => {
                let erased = objects::erase(connection, db, &pending.request).await?;
                pending.resolve(Ok(erased));
            }
            StoreRequest::CreateOutgoing(pending) => {
                let written = outgoing::create(connection, db, &pending.request).await?;
                pending.resolve(Ok(written));
            }
            StoreRequest::Grant(pending) => {
                let id = access::grant(connection, db, &pending.request).await?;
                pending.resolve(Ok(id));
            }
            StoreRequest::DecideAccessRequest(pending) => {
                let written = access::decide_in_namespace(connection, db, &pending.request).await?;
                pending.resolve(Ok(written));
            }
            StoreRequest::ExpireAccessRequests(pending) => {
                let expired = access::expire(connection, db).await?;
                pending.resolve(Ok(expired));
            }
            StoreRequest::SignIn(pending) => {
                let answer = sign_ins::apply(connection, db, &pending.request).await?;
                pending.resolve(Ok(answer));
            }
            StoreRequest::Probe(pending) => {
                probe(connection, db).await?;
                pending.resolve(Ok(()));
            }
        }
    }
    Ok(())
}

async fn keep_claims(
    connection: &mut Connection,
    db: &mut PgConnection,
) -> Result<Vec<(ConnectorUid, Timestamp)>, sqlx::Error> {
    let now = connection.now();
    let lease = i64::try_from(connection.options.lease.as_millis()).unwrap_or(i64::MAX / 4);
    if let Some(owner) = connection.claimant.id() {
        let working = sqlx::query("SELECT 1 FROM lane WHERE owner = $1 LIMIT 1")
            .bind(owner)
            .fetch_optional(&mut *db)
            .await?;
        if working.is_some() {
            connection.claimant.register(db, lease).await?;
        }
    }
    for owner in connection.claimant.dead_claimants(db, lease).await? {
        sqlx::query(COUNT_CRASHES)
            .bind(owner)
            .execute(&mut *db)
            .await?;
        release_lanes(db, owner).await?;
        sqlx::query("DELETE FROM claimant WHERE id = $1")
            .bind(owner)
            .execute(&mut *db)
            .await?;
    }
    sqlx::query(WAKE_OVERDUE_LANES)
        .bind(now)
        .bind(latest_ready_at(now))
        .execute(&mut *db)
        .await?;
    let waiting = sqlx::query(
        "SELECT c.uid, min(l.ready_at) FROM lane l JOIN connector c ON c.id = l.connector
         WHERE l.owner IS NULL AND l.ready_at IS NOT NULL GROUP BY c.uid",
    )
    .fetch_all(db)
    .await?;
    let waiting = waiting.into_iter();
    Ok(waiting
        .map(|r| (ConnectorUid::from(r.get::<&str, _>(0)), timestamp(r.get(1))))
        .collect())
}

async fn release_lanes(db: &mut PgConnection, owner: i64) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE lane SET owner = NULL WHERE owner = $1")
        .bind(owner)
        .execute(db)
        .await
        .map(drop)
}

async fn dead_letter_other_bots(
    connection: &mut Connection,
    db: &mut PgConnection,
    other_bots: &OtherBots,
) -> Result<u64, sqlx::Error> {
    let OtherBots {
        connector,
        bot,
        before,
    } = other_bots;
    let before = before.as_millisecond();
    let id = connection.connectors.id(db, connector).await?;
    let now = connection.now();
    let dead_letters = sqlx::query(
        "INSERT INTO dead_letter (at, namespace, name, connector, bot, chat, topic, update_id, date, kind, attempts, reason, body, sender)
         SELECT $4, c.namespace, c.name, c.id, l.bot, l.chat, l.topic, i.update_id, i.date, 'message', i.attempts,
           'the connector''s token was replaced by another bot''s', i.body, i.sender
         FROM lane l JOIN inbox i ON i.lane = l.id JOIN connector c ON c.id = l.connector
         WHERE l.connector = $1 AND l.bot <> $2 AND l.owner IS NULL AND l.ready_at IS NOT NULL AND i.received_at < $3",
    )
    .bind(id)
    .bind(bot.0)
    .bind(before)
    .bind(now)
    .execute(&mut *db)
    .await?
    .rows_affected();
    let failed = outgoing::fail_other_bots(db, id, bot.0, before, now).await?;
    if dead_letters > 0 {
        sqlx::query(
            "DELETE FROM inbox WHERE received_at < $3 AND lane IN
               (SELECT id FROM lane WHERE connector = $1 AND bot <> $2 AND owner IS NULL AND ready_at IS NOT NULL)",
        )
        .bind(id)
        .bind(bot.0)
        .bind(before)
        .execute(&mut *db)
        .await?;
        connection.backlog = BacklogCount::load(db).await?;
    }
    if dead_letters > 0 || failed > 0 {
        clear_idle_lanes(db, id).await?;
    }
    Ok(dead_letters + failed)
}

/// Lanes of a connector in which nothing waits any more.
async fn clear_idle_lanes(db: &mut PgConnection, connector: i64) -> Result<(), sqlx::Error> {
    sqlx::query(CLEAR_IDLE_LANES)
        .bind(connector)
        .execute(db)
        .await
        .map(drop)
}

async fn prune(db: &mut PgConnection, retention: &Retention) -> Result<bool, sqlx::Error> {
    let limit = PRUNE_LIMIT.unsigned_abs();
    let mut more = false;
    for (statement, before) in prune_statements(retention) {
        let removed = sqlx::query(statement)
            .bind(before.as_millisecond())
            .bind(PRUNE_LIMIT)
            .execute(&mut *db)
            .await?
            .rows_affected();
        more |= removed >= limit;
    }
    // By the database's clock, which says when they were deleted.
    let now: i64 = sqlx::query_scalar("SELECT (extract(epoch FROM now()) * 1000)::bigint")
        .fetch_one(&mut *db)
        .await?;
    let removed = sqlx::query(PRUNE_SIGN_INS)
        .bind(now - SIGN_INS_KEPT)
        .bind(PRUNE_LIMIT)
        .execute(&mut *db)
        .await?;
    more |= removed.rows_affected() >= limit;
    for statement in PRUNE_DELETED_OBJECTS {
        let pruned = sqlx::query(statement)
            .bind(now - DELETED_OBJECTS_KEPT)
            .bind(PRUNE_LIMIT);
        more |= pruned.execute(&mut *db).await?.rows_affected() >= limit;
    }
    let minute = retention.identities.as_second().div_euclid(60);
    sqlx::query("DELETE FROM message_count WHERE minute < $1")
        .bind(minute)
        .execute(db)
        .await?;
    Ok(more)
}

/// Lanes in which nothing waits, nobody works and nothing is remembered. One that somebody is about to use is locked, or no longer
/// idle once the lock is there.
async fn prune_lanes(db: &mut PgConnection, ids: &[i64]) -> Result<u64, sqlx::Error> {
    sqlx::query(
        "DELETE FROM lane WHERE id IN (SELECT id FROM lane WHERE id = ANY($1) AND owner IS NULL AND ready_at IS NULL AND open_decisions = 0
           AND NOT EXISTS (SELECT 1 FROM session s WHERE s.lane = lane.id)
           AND NOT EXISTS (SELECT 1 FROM user_decision d WHERE d.shown_lane = lane.id AND d.state = 0)
           AND NOT EXISTS (SELECT 1 FROM sign_in_message m WHERE m.lane = lane.id)
           AND NOT EXISTS (SELECT 1 FROM read_along r WHERE r.lane = lane.id) FOR UPDATE SKIP LOCKED)",
    )
    .bind(ids)
    .execute(db)
    .await
    .map(|done| done.rows_affected())
}

async fn delete_connector_data(
    connection: &mut Connection,
    db: &mut PgConnection,
    connector: &ConnectorUid,
) -> Result<(), sqlx::Error> {
    let id = connection.connectors.id(db, connector).await?;
    for statement in DELETE_CONNECTOR_DATA {
        sqlx::query(statement).bind(id).execute(&mut *db).await?;
    }
    sqlx::query("DELETE FROM message_count WHERE connector = $1")
        .bind(id)
        .execute(&mut *db)
        .await?;
    sqlx::query("DELETE FROM observation WHERE connector = $1")
        .bind(connector.as_str())
        .execute(&mut *db)
        .await?;
    connection.connectors.forget_name(connector);
    connection.backlog = BacklogCount::load(db).await?;
    Ok(())
}

async fn retry_dead_letters(
    connection: &mut Connection,
    db: &mut PgConnection,
    ids: &[i64],
) -> Result<u64, sqlx::Error> {
    outgoing::note_retried(db, ids).await?;
    let ids = rows(ids);
    let now = connection.now();
    sqlx::query(
        "INSERT INTO lane (bot, chat, topic, connector, ready_at)
         SELECT DISTINCT bot, chat, topic, connector, $2::bigint FROM dead_letter WHERE id IN (SELECT value::text::bigint FROM json_array_elements($1::json) j(value))
         ON CONFLICT (connector, bot, chat, topic) DO UPDATE SET ready_at = coalesce(lane.ready_at, excluded.ready_at)",
    )
    .bind(&ids)
    .bind(now)
    .execute(&mut *db)
    .await?;
    // What is asked again on somebody's word is no further question of its sender.
    sqlx::query(
        "INSERT INTO inbox (lane, update_id, date, received_at, body, sender, counted)
         SELECT l.id, d.update_id, d.date, $2, d.body, d.sender, 1 FROM dead_letter d
         JOIN lane l ON l.connector = d.connector AND l.bot = d.bot AND l.chat = d.chat AND l.topic = d.topic
         WHERE d.kind = 'message' AND d.id IN (SELECT value::text::bigint FROM json_array_elements($1::json) j(value)) ORDER BY d.id",
    )
    .bind(&ids)
    .bind(now)
    .execute(&mut *db)
    .await?;
    sqlx::query(
        "INSERT INTO outbox (lane, reply, number, update_id, stored_at, part, sender)
         SELECT l.id, d.reply, d.number, d.update_id, $2, d.body, d.sender FROM dead_letter d
         JOIN lane l ON l.connector = d.connector AND l.bot = d.bot AND l.chat = d.chat AND l.topic = d.topic
         WHERE d.kind = 'reply' AND d.id IN (SELECT value::text::bigint FROM json_array_elements($1::json) j(value))
         ON CONFLICT (lane, reply, number) DO NOTHING",
    )
    .bind(&ids)
    .bind(now)
    .execute(&mut *db)
    .await?;
    let retried =
        sqlx::query("DELETE FROM dead_letter WHERE id IN (SELECT value::text::bigint FROM json_array_elements($1::json) j(value))")
            .bind(&ids)
            .execute(&mut *db)
            .await?
            .rows_affected();
    connection.backlog = BacklogCount::load(db).await?;
    Ok(retried)
}

async fn count_messages(
    db: &mut PgConnection,
    messages: &CountMessages,
) -> Result<u32, sqlx::Error> {
    let counted: i64 = sqlx::query_scalar(
        "INSERT INTO message_count (connector, sender, minute, messages) VALUES ($1, $2, $3, $4)
         ON CONFLICT (connector, sender, minute) DO UPDATE SET messages = message_count.messages + excluded.messages
         RETURNING messages",
    )
    .bind(messages.connector)
    .bind(messages.sender)
    .bind(messages.minute)
    .bind(i64::from(messages.messages))
    .fetch_one(db)
    .await?;
    Ok(u32::try_from(counted).unwrap_or(u32::MAX))
}

/// A write that changes nothing but must reach the disk.
async fn probe(connection: &Connection, db: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO notice (connector, chat, kind, at) VALUES (0, 0, 0, $1) ON CONFLICT (connector, chat, kind) DO UPDATE SET at = excluded.at")
        .bind(connection.now())
        .execute(db)
        .await
        .map(drop)
}
