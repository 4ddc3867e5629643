//! What is neither intake nor a lane's work: leases, take-over, retention, a connector that is gone, dead letters again.

use rusqlite::Connection as Db;

use super::accept::BacklogCount;
use super::connection::Connection;
use crate::identity::{BotId, ConnectorUid};
use crate::store::group_commit::{Op, Reply};
use crate::store::reading::timestamp;
use crate::store::statements::{FORGET, PRUNED_AT_ONCE, REST_IDLE_LANES, too_old};
use crate::store::{Retention, StoreError};

/// Does every other operation of the batch.
pub(super) fn all(
    connection: &mut Connection,
    db: &Db,
    ops: &[Op],
    replies: &mut [Option<Result<Reply, StoreError>>],
) -> rusqlite::Result<()> {
    for (n, op) in ops.iter().enumerate() {
        let reply = match op {
            Op::Accept { .. } | Op::Write(_) | Op::Claim(_) => continue,
            Op::KeepClaims => keep_claims(connection, db)?,
            Op::ReleaseClaims => {
                if let Some(owner) = connection.claimant.id() {
                    free(db, owner)?;
                }
                connection.claimant.deregister(db)?;
                Reply::Done
            }
            Op::ReadyNow(connector) => {
                let id = connection.connectors.id(db, connector)?;
                db.execute(
                    "UPDATE lane SET ready_at = ?2 WHERE connector = ?1 AND owner IS NULL AND ready_at > ?2",
                    (id, connection.now()),
                )?;
                Reply::Done
            }
            Op::BuryOtherBots {
                connector,
                bot,
                before,
            } => {
                let before = before.as_millisecond();
                Reply::Count(bury_other_bots(connection, db, connector, *bot, before)?)
            }
            Op::Prune(retention) => Reply::More(prune(db, retention)?),
            Op::PruneLanes(ids) => Reply::Count(prune_lanes(db, ids)?),
            Op::Forget(connector) => {
                forget(connection, db, connector)?;
                Reply::Done
            }
            Op::Retry(ids) => Reply::Count(retry(connection, db, ids)?),
            Op::Probe => {
                probe(connection, db)?;
                Reply::Done
            }
        };
        replies[n] = Some(Ok(reply));
    }
    Ok(())
}

fn keep_claims(connection: &mut Connection, db: &Db) -> rusqlite::Result<Reply> {
    let now = connection.now();
    if let Some(owner) = connection.claimant.id() {
        let working = db
            .prepare_cached("SELECT 1 FROM lane WHERE owner = ?1 LIMIT 1")?
            .exists([owner])?;
        if working {
            let lease = i64::try_from(connection.options.lease.as_millis()).unwrap_or(i64::MAX / 2);
            connection.claimant.register(db, now + lease)?;
        }
    }
    for owner in connection.claimant.dead(db, now)? {
        free(db, owner)?;
        db.execute("DELETE FROM claimant WHERE id = ?1", [owner])?;
    }
    let mut waiting = db.prepare_cached(
        "SELECT c.uid, min(l.ready_at) FROM lane l JOIN connector c ON c.id = l.connector
         WHERE l.owner IS NULL AND l.ready_at IS NOT NULL GROUP BY l.connector",
    )?;
    let waiting = waiting.query_map((), |row| {
        let uid = ConnectorUid::from(row.get_ref(0)?.as_str()?);
        Ok((uid, timestamp(row.get(1)?)))
    })?;
    waiting.collect::<Result<_, _>>().map(Reply::Waiting)
}

fn free(db: &Db, owner: i64) -> rusqlite::Result<()> {
    db.execute("UPDATE lane SET owner = NULL WHERE owner = ?1", [owner])
        .map(drop)
}

fn bury_other_bots(
    connection: &mut Connection,
    db: &Db,
    connector: &ConnectorUid,
    bot: BotId,
    before: i64,
) -> rusqlite::Result<u64> {
    let id = connection.connectors.id(db, connector)?;
    let now = connection.now();
    let buried = db.execute(
        "INSERT INTO dead_letter (at, namespace, name, connector, bot, chat, topic, update_id, date, kind, attempts, reason, body)
         SELECT ?4, c.namespace, c.name, c.id, l.bot, l.chat, l.topic, i.update_id, i.date, 'message', i.attempts,
           'the connector''s token was replaced by another bot''s', i.body
         FROM lane l CROSS JOIN inbox i ON i.lane = l.id CROSS JOIN connector c ON c.id = l.connector
         WHERE l.connector = ?1 AND l.bot <> ?2 AND l.owner IS NULL AND l.ready_at IS NOT NULL AND i.received_at < ?3",
        (id, bot.0, before, now),
    )?;
    if buried > 0 {
        db.execute(
            "DELETE FROM inbox WHERE received_at < ?3 AND lane IN
               (SELECT id FROM lane WHERE connector = ?1 AND bot <> ?2 AND owner IS NULL AND ready_at IS NOT NULL)",
            (id, bot.0, before),
        )?;
        rest_idle_lanes(db, id)?;
        connection.backlog = BacklogCount::load(db)?;
    }
    Ok(buried as u64)
}

/// Lanes of a connector in which nothing waits any more.
fn rest_idle_lanes(db: &Db, connector: i64) -> rusqlite::Result<()> {
    db.execute(REST_IDLE_LANES, [connector]).map(drop)
}

fn prune(db: &Db, retention: &Retention) -> rusqlite::Result<bool> {
    let limit = PRUNED_AT_ONCE.unsigned_abs();
    let mut more = false;
    for (statement, before) in too_old(retention) {
        let removed = db
            .prepare_cached(statement)?
            .execute((before.as_millisecond(), PRUNED_AT_ONCE))?;
        more |= removed as u64 >= limit;
    }
    Ok(more)
}

/// Lanes in which nothing waits, nobody works and nothing is remembered.
fn prune_lanes(db: &Db, ids: &[i64]) -> rusqlite::Result<u64> {
    let mut delete = db.prepare_cached(
        "DELETE FROM lane WHERE id = ?1 AND owner IS NULL AND ready_at IS NULL
           AND NOT EXISTS (SELECT 1 FROM session s WHERE s.lane = lane.id)",
    )?;
    let mut removed = 0;
    for id in ids {
        removed += delete.execute([id])? as u64;
    }
    Ok(removed)
}

fn forget(connection: &mut Connection, db: &Db, connector: &ConnectorUid) -> rusqlite::Result<()> {
    let id = connection.connectors.id(db, connector)?;
    for statement in FORGET {
        db.execute(statement, [id])?;
    }
    connection.backlog = BacklogCount::load(db)?;
    Ok(())
}

fn retry(connection: &mut Connection, db: &Db, ids: &[i64]) -> rusqlite::Result<u64> {
    let now = connection.now();
    let mut retried = 0;
    for id in ids {
        for statement in [
            "INSERT INTO lane (bot, chat, topic, connector, ready_at)
             SELECT bot, chat, topic, connector, ?2 FROM dead_letter WHERE id = ?1
             ON CONFLICT (bot, chat, topic) DO UPDATE SET ready_at = coalesce(ready_at, excluded.ready_at)",
            "INSERT INTO inbox (lane, update_id, date, received_at, body)
             SELECT l.id, d.update_id, d.date, ?2, d.body FROM dead_letter d
             JOIN lane l ON l.bot = d.bot AND l.chat = d.chat AND l.topic = d.topic
             WHERE d.kind = 'message' AND d.id = ?1",
            "INSERT OR REPLACE INTO outbox (lane, reply, number, update_id, stored_at, part)
             SELECT l.id, d.reply, d.number, d.update_id, ?2, d.body FROM dead_letter d
             JOIN lane l ON l.bot = d.bot AND l.chat = d.chat AND l.topic = d.topic
             WHERE d.kind = 'reply' AND d.id = ?1",
        ] {
            db.prepare_cached(statement)?.execute((id, now))?;
        }
        retried += db.execute("DELETE FROM dead_letter WHERE id = ?1", [id])?;
    }
    connection.backlog = BacklogCount::load(db)?;
    Ok(retried as u64)
}

/// A write that changes nothing but must reach the disk.
fn probe(connection: &Connection, db: &Db) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT OR REPLACE INTO notice (bot, chat, at) VALUES (0, 0, ?1)")?
        .execute([connection.now()])
        .map(drop)
}
