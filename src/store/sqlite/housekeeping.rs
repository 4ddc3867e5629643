//! What is neither intake nor a lane's work: leases, take-over, retention, a connector that is gone, dead letters again.

use jiff::Timestamp;
use rusqlite::Connection as Db;

use super::accept::BacklogCount;
use super::claimant::DeadClaimant;
use super::connection::Connection;
use super::sent_journal;
use super::{access, day_usage, objects, outgoing, sign_ins, user_decisions};
use crate::identity::ConnectorUid;
use crate::store::Retention;
use crate::store::reading::timestamp;
use crate::store::requests::{OtherBots, StoreRequest};
use crate::store::statements::{
    CLEAR_IDLE_LANES, COUNT_CRASHES, DELETE_CONNECTOR_DATA, DELETED_OBJECTS_KEPT,
    PRUNE_DELETED_OBJECTS, PRUNE_LIMIT, PRUNE_SIGN_INS, SIGN_INS_KEPT, WAKE_OVERDUE_LANES,
    latest_ready_at, prune_statements,
};

/// Does every other operation of the batch.
pub(super) fn apply_requests(
    connection: &mut Connection,
    db: &Db,
    requests: &mut [StoreRequest],
) -> rusqlite::Result<()> {
    for request in requests {
        match request {
            StoreRequest::Accept(_) | StoreRequest::Write(_) | StoreRequest::Claim(_) => {}
            StoreRequest::KeepClaims(pending) => {
                pending.resolve(Ok(keep_claims(connection, db)?));
            }
            StoreRequest::ReleaseClaims(pending) => {
                if let Some(owner) = connection.claimant.id() {
                    let sent = connection.sent_journal.unsettled();
                    connection.remove_sent_parts(db, sent)?;
                    release_lanes(db, owner)?;
                }
                let file = connection.claimant.deregister(db)?;
                connection.on_commit.files.extend(file);
                pending.resolve(Ok(()));
            }
            StoreRequest::ReadyNow(pending) => {
                let id = connection.connectors.id(db, &pending.request)?;
                db.execute(
                    "UPDATE lane SET ready_at = ?2 WHERE connector = ?1 AND owner IS NULL AND ready_at > ?2",
                    (id, connection.now()),
                )?;
                pending.resolve(Ok(()));
            }
            StoreRequest::DeadLetterOtherBots(pending) => {
                let given_up = dead_letter_other_bots(connection, db, &pending.request)?;
                pending.resolve(Ok(given_up));
            }
            StoreRequest::Prune(pending) => {
                let more = prune(db, &pending.request, connection.now())?;
                pending.resolve(Ok(more));
            }
            StoreRequest::PruneLanes(pending) => {
                let removed = prune_lanes(db, &pending.request)?;
                pending.resolve(Ok(removed));
            }
            StoreRequest::DeleteConnectorData(pending) => {
                delete_connector_data(connection, db, &pending.request)?;
                pending.resolve(Ok(()));
            }
            StoreRequest::Retry(pending) => {
                let retried = retry_dead_letters(connection, db, &pending.request)?;
                pending.resolve(Ok(retried));
            }
            StoreRequest::Register(pending) => {
                let registered = &pending.request;
                connection.connectors.id_of_named(db, registered)?;
                pending.resolve(Ok(()));
            }
            // One process counts by itself.
            StoreRequest::CountMessages(pending) => pending.resolve(Ok(pending.request.messages)),
            StoreRequest::CountQuestion(pending) => {
                let reached = day_usage::count_question(db, &pending.request)?;
                pending.resolve(Ok(reached));
            }
            StoreRequest::ExpireDecisions(pending) => {
                let expired = user_decisions::expire(connection, db)?;
                pending.resolve(Ok(expired));
            }
            StoreRequest::DeleteObjects(pending) => {
                let deleted = objects::delete(db, &pending.request)?;
                pending.resolve(Ok(deleted));
            }
            StoreRequest::Erase(pending) => {
                let erased = objects::erase(connection, db, &pending.request)?;
                pending.resolve(Ok(erased));
            }
            StoreRequest::CreateOutgoing(pending) => {
                let written = outgoing::create(connection, db, &pending.request)?;
                pending.resolve(Ok(written));
            }
            StoreRequest::Grant(pending) => {
                let id = access::grant(connection, db, &pending.request)?;
                pending.resolve(Ok(id));
            }
            StoreRequest::DecideAccessRequest(pending) => {
                let written = access::decide_in_namespace(connection, db, &pending.request)?;
                pending.resolve(Ok(written));
            }
            StoreRequest::ExpireAccessRequests(pending) => {
                let expired = access::expire(connection, db)?;
                pending.resolve(Ok(expired));
            }
            StoreRequest::SignIn(pending) => {
                let answer = sign_ins::apply(connection, db, &pending.request)?;
                pending.resolve(Ok(answer));
            }
            StoreRequest::Probe(pending) => {
                probe(connection, db)?;
                pending.resolve(Ok(()));
            }
        }
    }
    Ok(())
}

fn keep_claims(
    connection: &mut Connection,
    db: &Db,
) -> rusqlite::Result<Vec<(ConnectorUid, Timestamp)>> {
    let now = connection.now();
    let lease = i64::try_from(connection.options.lease.as_millis()).unwrap_or(i64::MAX / 4);
    if let Some(owner) = connection.claimant.id() {
        let working = db
            .prepare_cached("SELECT 1 FROM lane WHERE owner = ?1 LIMIT 1")?
            .exists([owner])?;
        if working {
            connection.claimant.register(db, now + lease)?;
        }
    }
    // A lease that ends later than any that is given now was given before the clock stepped back.
    db.prepare_cached("UPDATE claimant SET expires_at = ?1 + ?2 WHERE expires_at > ?1 + 2 * ?2")?
        .execute((now, lease))?;
    for DeadClaimant { id, file } in connection.claimant.dead_claimants(db, now)? {
        connection.remove_sent_parts(db, sent_journal::read(&file))?;
        db.execute(COUNT_CRASHES, [id])?;
        release_lanes(db, id)?;
        db.execute("DELETE FROM claimant WHERE id = ?1", [id])?;
        connection.on_commit.files.push(file);
    }
    let latest = latest_ready_at(now);
    let overdue = db
        .prepare_cached("SELECT 1 FROM lane WHERE owner IS NULL AND ready_at > ?1 LIMIT 1")?
        .exists([latest])?;
    if overdue {
        db.execute(WAKE_OVERDUE_LANES, (now, latest))?;
    }
    let mut waiting = db.prepare_cached(
        "SELECT c.uid, min(l.ready_at) FROM lane l JOIN connector c ON c.id = l.connector
         WHERE l.owner IS NULL AND l.ready_at IS NOT NULL GROUP BY l.connector",
    )?;
    let waiting = waiting.query_map((), |row| {
        let uid = ConnectorUid::from(row.get_ref(0)?.as_str()?);
        Ok((uid, timestamp(row.get(1)?)))
    })?;
    waiting.collect()
}

fn release_lanes(db: &Db, owner: i64) -> rusqlite::Result<()> {
    db.execute("UPDATE lane SET owner = NULL WHERE owner = ?1", [owner])
        .map(drop)
}

fn dead_letter_other_bots(
    connection: &mut Connection,
    db: &Db,
    other_bots: &OtherBots,
) -> rusqlite::Result<u64> {
    let OtherBots {
        connector,
        bot,
        before,
    } = other_bots;
    let before = before.as_millisecond();
    let id = connection.connectors.id(db, connector)?;
    let now = connection.now();
    let dead_letters = db.execute(
        "INSERT INTO dead_letter (at, namespace, name, connector, bot, chat, topic, update_id, date, kind, attempts, reason, body, sender, revision)
         SELECT ?4, c.namespace, c.name, c.id, l.bot, l.chat, l.topic, i.update_id, i.date, 'message', i.attempts,
           'the connector''s token was replaced by another bot''s', i.body, i.sender, (SELECT number FROM revision)
         FROM lane l CROSS JOIN inbox i ON i.lane = l.id CROSS JOIN connector c ON c.id = l.connector
         WHERE l.connector = ?1 AND l.bot <> ?2 AND l.owner IS NULL AND l.ready_at IS NOT NULL AND i.received_at < ?3",
        (id, bot.0, before, now),
    )?;
    let failed = outgoing::fail_other_bots(db, id, bot.0, before, now)?;
    if dead_letters > 0 {
        db.execute(
            "DELETE FROM inbox WHERE received_at < ?3 AND lane IN
               (SELECT id FROM lane WHERE connector = ?1 AND bot <> ?2 AND owner IS NULL AND ready_at IS NOT NULL)",
            (id, bot.0, before),
        )?;
        connection.backlog = BacklogCount::load(db)?;
    }
    if dead_letters > 0 || failed > 0 {
        clear_idle_lanes(db, id)?;
    }
    Ok(dead_letters as u64 + failed)
}

/// Lanes of a connector in which nothing waits any more.
fn clear_idle_lanes(db: &Db, connector: i64) -> rusqlite::Result<()> {
    db.execute(CLEAR_IDLE_LANES, [connector]).map(drop)
}

fn prune(db: &Db, retention: &Retention, now: i64) -> rusqlite::Result<bool> {
    let limit = PRUNE_LIMIT.unsigned_abs();
    let mut more = false;
    for (statement, before) in prune_statements(retention) {
        let removed = db
            .prepare_cached(statement)?
            .execute((before.as_millisecond(), PRUNE_LIMIT))?;
        more |= removed as u64 >= limit;
    }
    let ended = (now - SIGN_INS_KEPT, PRUNE_LIMIT);
    let removed = db.prepare_cached(PRUNE_SIGN_INS)?.execute(ended)?;
    more |= removed as u64 >= limit;
    for statement in PRUNE_DELETED_OBJECTS {
        let removed = db
            .prepare_cached(statement)?
            .execute((now - DELETED_OBJECTS_KEPT, PRUNE_LIMIT))?;
        more |= removed as u64 >= limit;
    }
    Ok(more)
}

/// Lanes in which nothing waits, nobody works and nothing is remembered.
fn prune_lanes(db: &Db, ids: &[i64]) -> rusqlite::Result<u64> {
    let mut delete = db.prepare_cached(
        "DELETE FROM lane WHERE id = ?1 AND owner IS NULL AND ready_at IS NULL AND open_decisions = 0
           AND NOT EXISTS (SELECT 1 FROM session s WHERE s.lane = lane.id)
           AND NOT EXISTS (SELECT 1 FROM user_decision d WHERE d.shown_lane = lane.id AND d.state = 0)
           AND NOT EXISTS (SELECT 1 FROM sign_in_message m WHERE m.lane = lane.id)
           AND NOT EXISTS (SELECT 1 FROM read_along r WHERE r.lane = lane.id)",
    )?;
    let mut removed = 0;
    for id in ids {
        removed += delete.execute([id])? as u64;
    }
    Ok(removed)
}

fn delete_connector_data(
    connection: &mut Connection,
    db: &Db,
    connector: &ConnectorUid,
) -> rusqlite::Result<()> {
    let id = connection.connectors.id(db, connector)?;
    for statement in DELETE_CONNECTOR_DATA {
        db.execute(statement, [id])?;
    }
    connection.connectors.forget_name(connector);
    connection.backlog = BacklogCount::load(db)?;
    Ok(())
}

fn retry_dead_letters(connection: &mut Connection, db: &Db, ids: &[i64]) -> rusqlite::Result<u64> {
    let now = connection.now();
    let mut retried = 0;
    for id in ids {
        outgoing::note_retried(db, *id)?;
        for statement in [
            "INSERT INTO lane (bot, chat, topic, connector, ready_at)
             SELECT bot, chat, topic, connector, ?2 FROM dead_letter WHERE id = ?1
             ON CONFLICT (connector, bot, chat, topic) DO UPDATE SET ready_at = coalesce(ready_at, excluded.ready_at)",
            // What is asked again on somebody's word is no further question of its sender.
            "INSERT INTO inbox (lane, update_id, date, received_at, body, sender, counted)
             SELECT l.id, d.update_id, d.date, ?2, d.body, d.sender, 1 FROM dead_letter d
             JOIN lane l ON l.connector = d.connector AND l.bot = d.bot AND l.chat = d.chat AND l.topic = d.topic
             WHERE d.kind = 'message' AND d.id = ?1",
            "INSERT OR REPLACE INTO outbox (lane, reply, number, update_id, stored_at, part, sender)
             SELECT l.id, d.reply, d.number, d.update_id, ?2, d.body, d.sender FROM dead_letter d
             JOIN lane l ON l.connector = d.connector AND l.bot = d.bot AND l.chat = d.chat AND l.topic = d.topic
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
    db.prepare_cached(
        "INSERT OR REPLACE INTO notice (connector, chat, kind, at) VALUES (0, 0, 0, ?1)",
    )?
    .execute([connection.now()])
    .map(drop)
}
