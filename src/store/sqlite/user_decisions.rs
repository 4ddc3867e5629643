//! Decisions of users: opened with the reply that asks, taken once.

use rusqlite::{Connection as Db, OptionalExtension as _};

use super::connection::Connection;
use crate::identity::ConnectorUid;
use crate::store::user_decisions::{COUNT_OPEN, EXPIRE_LIMIT, FOLLOW_UP, WAKE_ASKING_LANE};
use crate::store::{
    Claim, DecidedHow, DecisionKind, ExpiredDecision, NewUserDecision, TakenDecision,
};

/// Opens a decision, and puts what asks for it into the lane that shows it, if that is another.
pub(super) fn open(db: &Db, claim: Claim, new: &NewUserDecision, now: i64) -> rusqlite::Result<()> {
    let shown_lane = match &new.shown_in {
        None => claim.lane,
        Some(shown) => db
            .prepare_cached(
                "INSERT INTO lane (bot, chat, topic, connector, ready_at)
                 SELECT bot, ?2, ?3, connector, ?4 FROM lane WHERE id = ?1
                 ON CONFLICT (connector, bot, chat, topic) DO UPDATE SET ready_at = coalesce(ready_at, excluded.ready_at)
                 RETURNING id",
            )?
            .query_row((claim.lane, shown.chat, shown.topic, now), |row| row.get(0))
            .optional()?
            .unwrap_or(claim.lane),
    };
    let details = serde_json::to_string(&new.details).expect("strings always serialize");
    db.prepare_cached(
        "INSERT INTO user_decision (id, connector, lane, shown_lane, reply, session, kind, opened_at, expires_at, update_id, follow_up, details, sender)
         SELECT ?1, ?2, ?3, ?4, id, ?6, ?7, ?8, ?9, update_id, ?10, ?11, sender FROM inbox WHERE id = ?5
         ON CONFLICT (id) DO NOTHING",
    )?
    .execute(rusqlite::params![
        new.id,
        claim.connector,
        claim.lane,
        shown_lane,
        new.message,
        new.session,
        new.kind.code(),
        now,
        new.expires_at.as_millisecond(),
        new.follow_up,
        details,
    ])?;
    if let Some(shown) = &new.shown_in {
        super::write::reply(db, shown_lane, new.message, &shown.parts, now)?;
    }
    count_open(db, &new.id)
}

/// Takes a decision if it is open. What follows from it waits in the lane that asked; a decision that is superseded has no consequence.
pub(super) fn take(
    connection: &mut Connection,
    db: &Db,
    connector: i64,
    (id, taken): (&str, &TakenDecision),
    now: i64,
) -> rusqlite::Result<bool> {
    let json = serde_json::to_string(taken).expect("strings always serialize");
    let was_open = db
        .prepare_cached(
            "UPDATE user_decision SET state = 1, taken_at = ?3, taken = ?4 WHERE id = ?1 AND connector = ?2 AND state = 0",
        )?
        .execute((id, connector, now, json))?
        > 0;
    if !was_open {
        return Ok(false);
    }
    if taken.how != DecidedHow::Superseded {
        follow_up(connection, db, connector, id, now)?;
    }
    count_open(db, id)?;
    Ok(true)
}

fn follow_up(
    connection: &mut Connection,
    db: &Db,
    connector: i64,
    id: &str,
    now: i64,
) -> rusqlite::Result<()> {
    let added = db
        .prepare_cached(FOLLOW_UP)?
        .execute((now.div_euclid(1000), now, id))?;
    connection.backlog.add(connector, added as u64);
    db.prepare_cached(WAKE_ASKING_LANE)?.execute((now, id))?;
    Ok(())
}

fn count_open(db: &Db, id: &str) -> rusqlite::Result<()> {
    db.prepare_cached(COUNT_OPEN)?.execute([id]).map(drop)
}

/// Notes that the assistant has been told.
pub(super) fn deliver(db: &Db, connector: i64, id: &str) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE user_decision SET state = 2 WHERE id = ?1 AND connector = ?2 AND state = 1",
    )?
    .execute((id, connector))
    .map(drop)
}

/// Notes which message shows the buttons of a reply.
pub(super) fn set_message(db: &Db, lane: i64, reply: i64, message_id: i64) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE user_decision SET message_id = ?3 WHERE shown_lane = ?1 AND reply = ?2 AND state = 0",
    )?
    .execute((lane, reply, message_id))
    .map(drop)
}

/// Ends decisions whose time is over: approvals as refused, choices without consequence.
pub(super) fn expire(
    connection: &mut Connection,
    db: &Db,
) -> rusqlite::Result<Vec<ExpiredDecision>> {
    let now = connection.now();
    let mut due = db.prepare_cached(
        "SELECT d.id, d.kind, d.connector, c.uid FROM user_decision d JOIN connector c ON c.id = d.connector
         WHERE d.state = 0 AND d.expires_at <= ?1 ORDER BY d.expires_at LIMIT ?2",
    )?;
    let due = due
        .query_map((now, EXPIRE_LIMIT), |row| {
            let uid = ConnectorUid::from(row.get_ref(3)?.as_str()?);
            let expired = ExpiredDecision {
                connector: uid,
                id: row.get(0)?,
                kind: DecisionKind::from_code(row.get(1)?),
            };
            Ok((expired, row.get::<_, i64>(2)?))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let mut expired = Vec::with_capacity(due.len());
    for (decision, connector) in due {
        let taken = TakenDecision::expired(decision.kind);
        if take(connection, db, connector, (&decision.id, &taken), now)? {
            expired.push(decision);
        }
    }
    Ok(expired)
}
