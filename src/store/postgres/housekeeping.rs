//! What is neither intake nor a lane's work: leases, take-over, retention, a connector that is gone, dead letters again.

use sqlx::Row;
use sqlx::postgres::PgConnection;

use super::accept::BacklogCount;
use super::connection::{Connection, rows};
use crate::identity::{BotId, ConnectorUid};
use crate::store::group_commit::{Op, Reply};
use crate::store::reading::timestamp;
use crate::store::statements::{FORGET, PRUNED_AT_ONCE, REST_IDLE_LANES, too_old};
use crate::store::{Retention, StoreError};

/// Does every other operation of the batch.
pub(super) async fn all(
    connection: &mut Connection,
    db: &mut PgConnection,
    ops: &[Op],
    replies: &mut [Option<Result<Reply, StoreError>>],
) -> Result<(), sqlx::Error> {
    for (n, op) in ops.iter().enumerate() {
        let reply = match op {
            Op::Accept { .. } | Op::Write(_) | Op::Claim(_) => continue,
            Op::KeepClaims => keep_claims(connection, db).await?,
            Op::ReleaseClaims => {
                if let Some(owner) = connection.claimant.id() {
                    free(db, owner).await?;
                }
                connection.claimant.deregister(db).await?;
                Reply::Done
            }
            Op::ReadyNow(connector) => {
                let id = connection.connectors.id(db, connector).await?;
                sqlx::query(
                    "UPDATE lane SET ready_at = $2 WHERE connector = $1 AND owner IS NULL AND ready_at > $2",
                )
                .bind(id)
                .bind(connection.now())
                .execute(&mut *db)
                .await?;
                Reply::Done
            }
            Op::BuryOtherBots {
                connector,
                bot,
                before,
            } => {
                let before = before.as_millisecond();
                Reply::Count(bury_other_bots(connection, db, connector, *bot, before).await?)
            }
            Op::Prune(retention) => Reply::More(prune(db, retention).await?),
            Op::PruneLanes(ids) => Reply::Count(prune_lanes(db, ids).await?),
            Op::Forget(connector) => {
                forget(connection, db, connector).await?;
                Reply::Done
            }
            Op::Retry(ids) => Reply::Count(retry(connection, db, ids).await?),
            Op::Probe => {
                probe(connection, db).await?;
                Reply::Done
            }
        };
        replies[n] = Some(Ok(reply));
    }
    Ok(())
}

async fn keep_claims(
    connection: &mut Connection,
    db: &mut PgConnection,
) -> Result<Reply, sqlx::Error> {
    let now = connection.now();
    if let Some(owner) = connection.claimant.id() {
        let working = sqlx::query("SELECT 1 FROM lane WHERE owner = $1 LIMIT 1")
            .bind(owner)
            .fetch_optional(&mut *db)
            .await?;
        if working.is_some() {
            let lease = i64::try_from(connection.options.lease.as_millis()).unwrap_or(i64::MAX / 2);
            connection.claimant.register(db, now + lease).await?;
        }
    }
    for owner in connection.claimant.dead(db, now).await? {
        free(db, owner).await?;
        sqlx::query("DELETE FROM claimant WHERE id = $1")
            .bind(owner)
            .execute(&mut *db)
            .await?;
    }
    let waiting = sqlx::query(
        "SELECT c.uid, min(l.ready_at) FROM lane l JOIN connector c ON c.id = l.connector
         WHERE l.owner IS NULL AND l.ready_at IS NOT NULL GROUP BY c.uid",
    )
    .fetch_all(db)
    .await?;
    Ok(Reply::Waiting(
        waiting
            .into_iter()
            .map(|r| (ConnectorUid::from(r.get::<&str, _>(0)), timestamp(r.get(1))))
            .collect(),
    ))
}

async fn free(db: &mut PgConnection, owner: i64) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE lane SET owner = NULL WHERE owner = $1")
        .bind(owner)
        .execute(db)
        .await
        .map(drop)
}

async fn bury_other_bots(
    connection: &mut Connection,
    db: &mut PgConnection,
    connector: &ConnectorUid,
    bot: BotId,
    before: i64,
) -> Result<u64, sqlx::Error> {
    let id = connection.connectors.id(db, connector).await?;
    let now = connection.now();
    let buried = sqlx::query(
        "INSERT INTO dead_letter (at, namespace, name, connector, bot, chat, topic, update_id, date, kind, attempts, reason, body)
         SELECT $4, c.namespace, c.name, c.id, l.bot, l.chat, l.topic, i.update_id, i.date, 'message', i.attempts,
           'the connector''s token was replaced by another bot''s', i.body
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
    if buried > 0 {
        sqlx::query(
            "DELETE FROM inbox WHERE received_at < $3 AND lane IN
               (SELECT id FROM lane WHERE connector = $1 AND bot <> $2 AND owner IS NULL AND ready_at IS NOT NULL)",
        )
        .bind(id)
        .bind(bot.0)
        .bind(before)
        .execute(&mut *db)
        .await?;
        rest_idle_lanes(db, id).await?;
        connection.backlog = BacklogCount::load(db).await?;
    }
    Ok(buried)
}

/// Lanes of a connector in which nothing waits any more.
async fn rest_idle_lanes(db: &mut PgConnection, connector: i64) -> Result<(), sqlx::Error> {
    sqlx::query(REST_IDLE_LANES)
        .bind(connector)
        .execute(db)
        .await
        .map(drop)
}

async fn prune(db: &mut PgConnection, retention: &Retention) -> Result<bool, sqlx::Error> {
    let limit = PRUNED_AT_ONCE.unsigned_abs();
    let mut more = false;
    for (statement, before) in too_old(retention) {
        let removed = sqlx::query(statement)
            .bind(before.as_millisecond())
            .bind(PRUNED_AT_ONCE)
            .execute(&mut *db)
            .await?
            .rows_affected();
        more |= removed >= limit;
    }
    Ok(more)
}

/// Lanes in which nothing waits, nobody works and nothing is remembered. One that somebody is about to use is locked, or no longer
/// idle once the lock is there.
async fn prune_lanes(db: &mut PgConnection, ids: &[i64]) -> Result<u64, sqlx::Error> {
    sqlx::query(
        "DELETE FROM lane WHERE id IN (SELECT id FROM lane WHERE id = ANY($1) AND owner IS NULL AND ready_at IS NULL
           AND NOT EXISTS (SELECT 1 FROM session s WHERE s.lane = lane.id) FOR UPDATE SKIP LOCKED)",
    )
    .bind(ids)
    .execute(db)
    .await
    .map(|done| done.rows_affected())
}

async fn forget(
    connection: &mut Connection,
    db: &mut PgConnection,
    connector: &ConnectorUid,
) -> Result<(), sqlx::Error> {
    let id = connection.connectors.id(db, connector).await?;
    for statement in FORGET {
        sqlx::query(statement).bind(id).execute(&mut *db).await?;
    }
    connection.backlog = BacklogCount::load(db).await?;
    Ok(())
}

async fn retry(
    connection: &mut Connection,
    db: &mut PgConnection,
    ids: &[i64],
) -> Result<u64, sqlx::Error> {
    let ids = rows(ids);
    let now = connection.now();
    sqlx::query(
        "INSERT INTO lane (bot, chat, topic, connector, ready_at)
         SELECT DISTINCT bot, chat, topic, connector, $2::bigint FROM dead_letter WHERE id IN (SELECT value::text::bigint FROM json_array_elements($1::json) j(value))
         ON CONFLICT (bot, chat, topic) DO UPDATE SET ready_at = coalesce(lane.ready_at, excluded.ready_at)",
    )
    .bind(&ids)
    .bind(now)
    .execute(&mut *db)
    .await?;
    sqlx::query(
        "INSERT INTO inbox (lane, update_id, date, received_at, body)
         SELECT l.id, d.update_id, d.date, $2, d.body FROM dead_letter d
         JOIN lane l ON l.bot = d.bot AND l.chat = d.chat AND l.topic = d.topic
         WHERE d.kind = 'message' AND d.id IN (SELECT value::text::bigint FROM json_array_elements($1::json) j(value)) ORDER BY d.id",
    )
    .bind(&ids)
    .bind(now)
    .execute(&mut *db)
    .await?;
    sqlx::query(
        "INSERT INTO outbox (lane, reply, number, update_id, stored_at, part)
         SELECT l.id, d.reply, d.number, d.update_id, $2, d.body FROM dead_letter d
         JOIN lane l ON l.bot = d.bot AND l.chat = d.chat AND l.topic = d.topic
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

/// A write that changes nothing but must reach the disk.
async fn probe(connection: &Connection, db: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO notice (bot, chat, at) VALUES (0, 0, $1) ON CONFLICT (bot, chat) DO UPDATE SET at = excluded.at")
        .bind(connection.now())
        .execute(db)
        .await
        .map(drop)
}
