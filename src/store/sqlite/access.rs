//! Grants, and requests for them: made, decided once, expired.

use jiff::Timestamp;
use rusqlite::{Connection as Db, Row, ToSql};

use super::connection::Connection;
use super::outgoing::{bind, change, execute, number};
use crate::identity::ConnectorUid;
use crate::store::access_statements::{
    COUNT_ASKED, COUNT_WAITING, DELETE_GRANT, DELETE_REQUEST, DecideRequest, END_REQUEST,
    ENDED_CHECK_INTERVAL, ENDED_KEPT, EXPIRE_LIMIT, Ending, FIND_EXPIRED, FIND_MESSAGE, FIND_OPEN,
    FIND_WAITING, FIND_WAITING_OF_NAMESPACE, FOLLOW_UP, GRANT_REQUESTED, INSERT_GRANT,
    INSERT_REQUEST, NOTE_SHOWN, READY_ASKING_LANE, READY_NOTICE_LANE, REPLACE_GRANT, TRIM_ENDED,
    WrittenVerdict, ask_window_start,
};
use crate::store::{
    AskOutcome, Change, Claim, ExpiredRequest, MAX_WAITING_REQUESTS, NewAccessRequest, NewGrant,
    ObjectKey, RequestPhase, WriteOutcome,
};

/// Gives a grant in the place of one of the same source; its number.
pub(super) fn grant(connection: &mut Connection, db: &Db, new: &NewGrant) -> rusqlite::Result<i64> {
    let connector = connection.connectors.id_of_named(db, &new.connector)?;
    let (user, source) = (new.user, new.source.code());
    execute(db, REPLACE_GRANT, &[&connector, &user, &source])?;
    let id = number(
        db,
        INSERT_GRANT,
        &[
            &connector,
            &user,
            &source,
            &&*new.connector.namespace,
            &&*new.connector.name,
            &new.name,
            &new.username,
            &new.by,
            &connection.now(),
            &new.until.map(Timestamp::as_millisecond),
        ],
    )?;
    Ok(id.unwrap_or_default())
}

/// Does what a write says about requests.
pub(super) fn apply_change(
    connection: &mut Connection,
    db: &Db,
    claim: Claim,
    change: &Change,
    written: &mut WriteOutcome,
) -> rusqlite::Result<()> {
    match change {
        Change::AskForAccess(new) => {
            written.access_request = ask(connection, db, claim, new)?;
        }
        Change::DecideAccessRequest {
            id,
            verdict,
            by,
            message,
            tapped_message,
        } => {
            // Of somebody who was erased meanwhile nothing is written down.
            if number(db, FIND_MESSAGE, &[message])?.is_none() {
                return Ok(());
            }
            let waiting = row(db, FIND_WAITING, &[id], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
            let Some((connector, expires_at)) = waiting else {
                return Ok(());
            };
            if connector == claim.connector {
                let ending = Ending::decided(*verdict, by, *tapped_message);
                written.access_request_decided |=
                    decide(connection, db, (*id, connector, expires_at), ending)?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// Makes a request, unless something is against it; `None`: the message that asks has gone.
fn ask(
    connection: &mut Connection,
    db: &Db,
    claim: Claim,
    new: &NewAccessRequest,
) -> rusqlite::Result<Option<AskOutcome>> {
    if number(db, FIND_MESSAGE, &[&new.message])?.is_none() {
        return Ok(None);
    }
    let now = connection.now();
    let outcome = match refusal(connection, db, claim.connector, new)? {
        Some(refusal) => refusal,
        None => AskOutcome::Asked(insert(db, claim.connector, new, now)?),
    };
    let replies = new.replies.of(outcome);
    if !matches!(outcome, AskOutcome::Asked(_)) {
        super::write::reply(db, claim.lane, new.message, replies, now)?;
        return Ok(Some(outcome));
    }
    let notice = &new.notice;
    let shown: [&dyn ToSql; 4] = [&claim.lane, &notice.chat, &notice.topic, &now];
    let notice_lane = number(db, READY_NOTICE_LANE, &shown)?.unwrap_or(claim.lane);
    if notice_lane == claim.lane {
        let parts = [&notice.parts[..], replies].concat();
        super::write::reply(db, notice_lane, new.message, &parts, now)?;
    } else {
        super::write::reply(db, notice_lane, new.message, &notice.parts, now)?;
        super::write::reply(db, claim.lane, new.message, replies, now)?;
    }
    Ok(Some(outcome))
}

/// What is against a request. One that is over is ended first.
fn refusal(
    connection: &mut Connection,
    db: &Db,
    connector: i64,
    new: &NewAccessRequest,
) -> rusqlite::Result<Option<AskOutcome>> {
    let now = connection.now();
    let open = row(db, FIND_OPEN, &[&connector, &new.user], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?))
    })?;
    match open {
        Some((phase, ..)) if RequestPhase::from_code(phase) == RequestPhase::Muted => {
            return Ok(Some(AskOutcome::Muted));
        }
        Some((_, _, expires_at)) if expires_at > now => return Ok(Some(AskOutcome::Waiting)),
        Some((_, id, _)) => drop(end(connection, db, (id, connector), Ending::EXPIRED)?),
        None => {}
    }
    let since = ask_window_start(now);
    let asked = number(db, COUNT_ASKED, &[&connector, &new.user, &since])?;
    let waiting = number(db, COUNT_WAITING, &[&connector])?;
    let is_too_many = asked.unwrap_or_default() >= i64::from(new.per_user_per_day.max(1))
        || waiting.unwrap_or_default() >= MAX_WAITING_REQUESTS;
    Ok(is_too_many.then_some(AskOutcome::TooMany))
}

fn insert(db: &Db, connector: i64, new: &NewAccessRequest, now: i64) -> rusqlite::Result<i64> {
    let id = number(
        db,
        INSERT_REQUEST,
        &[
            &new.message,
            &new.token,
            &new.user,
            &new.name,
            &new.username,
            &new.level,
            &new.language,
            &now,
            &new.expires_at.as_millisecond(),
            &new.follow_up,
            &new.notice.chat,
            &new.notice.topic,
        ],
    )?;
    let id = id.unwrap_or_default();
    if id % ENDED_CHECK_INTERVAL == 0 {
        execute(db, TRIM_ENDED, &[&connector, &ENDED_KEPT])?;
    }
    Ok(id)
}

/// Decides a request that waits, as far as it has not expired; then it ends so. Whether it was decided.
fn decide(
    connection: &mut Connection,
    db: &Db,
    (id, connector, expires_at): (i64, i64, i64),
    ending: Ending<'_>,
) -> rusqlite::Result<bool> {
    let is_over = expires_at <= connection.now();
    let ending = if is_over { Ending::EXPIRED } else { ending };
    let ended = end(connection, db, (id, connector), ending)?;
    Ok(ended && !is_over)
}

/// Ends a request that waits: with the grant, if it is allowed, and what follows from it in the lane that asked.
fn end(
    connection: &mut Connection,
    db: &Db,
    (id, connector): (i64, i64),
    ending: Ending<'_>,
) -> rusqlite::Result<bool> {
    let now = connection.now();
    let until = ending.until.map(Timestamp::as_millisecond);
    let phase = ending.phase.code();
    let ended: [&dyn ToSql; 6] = [
        &id,
        &phase,
        &now,
        &ending.by,
        &until,
        &ending.tapped_message,
    ];
    if change(db, END_REQUEST, &ended)? == 0 {
        return Ok(false);
    }
    if ending.phase == RequestPhase::Allowed {
        for statement in GRANT_REQUESTED {
            execute(db, statement, &[&id])?;
        }
    }
    if let Some(lane) = number(db, READY_ASKING_LANE, &[&id, &now])? {
        let seconds = now.div_euclid(1000);
        let added = change(db, FOLLOW_UP, &[&id, &lane, &seconds, &now])?;
        connection.backlog.add(connector, added as u64);
    }
    Ok(true)
}

/// Decides a request of a namespace.
pub(super) fn decide_in_namespace(
    connection: &mut Connection,
    db: &Db,
    decide: &DecideRequest,
) -> rusqlite::Result<WrittenVerdict> {
    let DecideRequest {
        namespace,
        id,
        verdict,
        by,
    } = decide;
    let waiting = row(db, FIND_WAITING_OF_NAMESPACE, &[id, namespace], |row| {
        Ok((row.get(0)?, row.get(1)?, uid(row, 2)?))
    })?;
    let Some((connector, expires_at, uid)) = waiting else {
        return Ok(WrittenVerdict::default());
    };
    let ending = Ending::decided(*verdict, by, None);
    let is_decided = self::decide(connection, db, (*id, connector, expires_at), ending)?;
    Ok(WrittenVerdict {
        is_decided,
        follows_for: Some(uid),
    })
}

/// Ends requests whose time is over.
pub(super) fn expire(
    connection: &mut Connection,
    db: &Db,
) -> rusqlite::Result<Vec<ExpiredRequest>> {
    let due = {
        let mut found = db.prepare_cached(FIND_EXPIRED)?;
        bind(&mut found, &[&connection.now(), &EXPIRE_LIMIT])?;
        let mut rows = found.raw_query();
        let mut due: Vec<(i64, i64, ConnectorUid)> = Vec::new();
        while let Some(row) = rows.next()? {
            due.push((row.get(0)?, row.get(1)?, uid(row, 2)?));
        }
        due
    };
    let mut expired = Vec::with_capacity(due.len());
    for (id, connector, uid) in due {
        if end(connection, db, (id, connector), Ending::EXPIRED)? {
            let connector = uid;
            expired.push(ExpiredRequest { connector, id });
        }
    }
    Ok(expired)
}

/// Notes which message shows the buttons of a reply, if it is that of a request.
pub(super) fn set_message(db: &Db, lane: i64, reply: i64, message_id: i64) -> rusqlite::Result<()> {
    execute(db, NOTE_SHOWN, &[&lane, &reply, &message_id])
}

/// Deletes a grant of a namespace; how many there were.
pub(super) fn delete_grant(db: &Db, key: ObjectKey, namespace: &str) -> rusqlite::Result<u64> {
    delete(db, &[DELETE_GRANT], key, namespace)
}

/// Deletes a request of a namespace, with what is to be said about it; how many there were.
pub(super) fn delete_request(db: &Db, key: ObjectKey, namespace: &str) -> rusqlite::Result<u64> {
    delete(db, &DELETE_REQUEST, key, namespace)
}

fn delete(
    db: &Db,
    statements: &[&str],
    ObjectKey(id, other): ObjectKey,
    namespace: &str,
) -> rusqlite::Result<u64> {
    let mut deleted = 0;
    for statement in statements.iter().filter(|_| other == 0) {
        deleted = change(db, statement, &[&id, &namespace])? as u64;
    }
    Ok(deleted)
}

/// The first row that a statement answers.
fn row<T>(
    db: &Db,
    statement: &str,
    values: &[&dyn ToSql],
    read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Option<T>> {
    let mut statement = db.prepare_cached(statement)?;
    bind(&mut statement, values)?;
    let mut rows = statement.raw_query();
    rows.next()?.map(read).transpose()
}

fn uid(row: &Row<'_>, column: usize) -> rusqlite::Result<ConnectorUid> {
    Ok(ConnectorUid::from(row.get_ref(column)?.as_str()?))
}
