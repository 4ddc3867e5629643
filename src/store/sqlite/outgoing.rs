//! Messages that somebody sends: written down with their parts, and what becomes of them.

use rusqlite::{Connection as Db, ToSql};

use super::connection::{Connection, timestamp};
use super::sent_journal::SentRecord;
use crate::store::outgoing::{
    self, BEGIN_SENDING, END_SENDING, ENDED_BYTES_KEPT, ENDED_CHECK_INTERVAL, ENDED_KEPT, FIND_KEY,
    FIND_MET, FIND_MOVED, FIND_NAME, FIND_PENDING, FIND_RATE, INSERT, MAX_PENDING, NOTE_AMBIGUOUS,
    NOTE_FAILED, NOTE_RETRIED, NOTE_SENT, NewOutgoing, READY_LANE, STORE_PART, TRIM_ENDED,
    WrittenOutgoing, outgoing_of, reply_of, retry_after, window_start,
};
use crate::store::{Change, ObjectKey, ReplyPart};

/// Checks a message and writes it down, unless something is against it.
pub(super) fn create(
    connection: &mut Connection,
    db: &Db,
    new: &NewOutgoing,
) -> rusqlite::Result<WrittenOutgoing> {
    let now = connection.now();
    let connector = connection.connectors.id_of_named(db, &new.connector)?;
    let (chat, refusal) = refusal(db, connector, new, now)?;
    if let Some(refusal) = refusal {
        return Ok(refusal);
    }
    let at = timestamp(now);
    if new.dry_run {
        return Ok(WrittenOutgoing::Created { id: 0, chat, at });
    }
    let inserted = number(
        db,
        INSERT,
        &[
            &connector,
            &&*new.connector.namespace,
            &new.name,
            &new.bot.0,
            &chat,
            &new.topic,
            &new.user.unwrap_or(0),
            &new.idempotency_key,
            &new.text,
            &i64::from(new.silent),
            &now,
        ],
    )?;
    let Some(id) = inserted else {
        return Ok(WrittenOutgoing::NameTaken);
    };
    let lane = [&connector, &new.bot.0, &chat, &new.topic, &now];
    let person = new.user.unwrap_or(0);
    let lane = number(db, READY_LANE, &lane.map(|value| value as &dyn ToSql))?.unwrap_or_default();
    for (n, part) in ReplyPart::numbered(&new.parts) {
        let part = serde_json::to_string(part).expect("strings always serialize");
        let reply = reply_of(id);
        execute(db, STORE_PART, &[&lane, &reply, &n, &now, &part, &person])?;
    }
    if id % ENDED_CHECK_INTERVAL == 0 {
        execute(
            db,
            TRIM_ENDED,
            &[&connector, &ENDED_KEPT, &ENDED_BYTES_KEPT],
        )?;
    }
    Ok(WrittenOutgoing::Created { id, chat, at })
}

/// The id that the chat has now, and what is against a message to it.
fn refusal(
    db: &Db,
    connector: i64,
    new: &NewOutgoing,
    now: i64,
) -> rusqlite::Result<(i64, Option<WrittenOutgoing>)> {
    let bot = new.bot.0;
    let chat = number(db, FIND_MOVED, &[&connector, &bot, &new.chat])?.unwrap_or(new.chat);
    let refused = |refusal| Ok((chat, Some(refusal)));
    if let Some(id) = number(db, FIND_KEY, &[&connector, &new.idempotency_key])? {
        return refused(WrittenOutgoing::SameKey { id });
    }
    if number(db, FIND_NAME, &[&&*new.connector.namespace, &new.name])?.is_some() {
        return refused(WrittenOutgoing::NameTaken);
    }
    if number(db, FIND_MET, &[&connector, &bot, &chat])?.is_none() {
        return refused(WrittenOutgoing::NeverMet);
    }
    if number(db, FIND_PENDING, &[&connector, &(MAX_PENDING - 1)])?.is_some() {
        return refused(WrittenOutgoing::BacklogFull);
    }
    let nth = i64::from(new.per_minute.max(1)) - 1;
    if let Some(made_at) = number(db, FIND_RATE, &[&connector, &window_start(now), &nth])? {
        let retry_after = retry_after(made_at, now);
        return refused(WrittenOutgoing::TooMany { retry_after });
    }
    Ok((chat, None))
}

/// Does what a write says about an outgoing message.
pub(super) fn apply_change(db: &Db, lane: i64, change: &Change, now: i64) -> rusqlite::Result<()> {
    match change {
        Change::BeginSending { reply, number } => {
            let id = outgoing_of(*reply);
            execute(db, NOTE_AMBIGUOUS, &[&id, &lane, reply, number])?;
            execute(db, BEGIN_SENDING, &[&lane, reply, number])
        }
        Change::EndSending { reply, number } => execute(db, END_SENDING, &[&lane, reply, number]),
        Change::FailOutgoing { reply, reason } => {
            execute(db, NOTE_FAILED, &[reason, &now, &outgoing_of(*reply)])
        }
        _ => Ok(()),
    }
}

/// Notes that a part has left the outbox because it was sent, if it is one of an outgoing message.
pub(super) fn note_sent(db: &Db, sent: &SentRecord, now: i64) -> rusqlite::Result<()> {
    let part = &sent.part;
    match outgoing_of(part.reply) {
        None => Ok(()),
        Some(id) => execute(
            db,
            NOTE_SENT,
            &[&sent.message_id, &now, &part.lane, &part.reply, &id],
        ),
    }
}

/// Before a dead letter is put back: what it is a part of waits again.
pub(super) fn note_retried(db: &Db, dead_letter: i64) -> rusqlite::Result<()> {
    execute(db, NOTE_RETRIED, &[&dead_letter])
}

/// Gives up what waits for another bot of the connector than this, since before a time.
pub(super) fn fail_other_bots(
    db: &Db,
    connector: i64,
    bot: i64,
    before: i64,
    now: i64,
) -> rusqlite::Result<u64> {
    let values: [&dyn ToSql; 4] = [&connector, &bot, &before, &now];
    let mut failed = 0;
    for statement in outgoing::fail_other_bots("(SELECT number FROM revision)") {
        failed = change(db, &statement, &values)? as u64;
    }
    Ok(failed)
}

/// Deletes a message of a namespace, with what of it waits; how many there were.
pub(super) fn delete(
    db: &Db,
    ObjectKey(id, other): ObjectKey,
    namespace: &str,
) -> rusqlite::Result<u64> {
    let mut deleted = 0;
    for statement in outgoing::DELETE.into_iter().filter(|_| other == 0) {
        deleted = change(db, statement, &[&id, &namespace])? as u64;
    }
    Ok(deleted)
}

/// The first number that a statement answers, with its values by their names: `SQLite` counts a `$2` by where it first stands.
pub(super) fn number(
    db: &Db,
    statement: &str,
    values: &[&dyn ToSql],
) -> rusqlite::Result<Option<i64>> {
    let mut statement = db.prepare_cached(statement)?;
    bind(&mut statement, values)?;
    let mut rows = statement.raw_query();
    rows.next()?.map(|row| row.get(0)).transpose()
}

pub(super) fn execute(db: &Db, statement: &str, values: &[&dyn ToSql]) -> rusqlite::Result<()> {
    change(db, statement, values).map(drop)
}

pub(super) fn change(db: &Db, statement: &str, values: &[&dyn ToSql]) -> rusqlite::Result<usize> {
    let mut statement = db.prepare_cached(statement)?;
    bind(&mut statement, values)?;
    statement.raw_execute()
}

pub(super) fn bind(
    statement: &mut rusqlite::Statement<'_>,
    values: &[&dyn ToSql],
) -> rusqlite::Result<()> {
    for (n, value) in (1..).zip(values) {
        if let Some(index) = statement.parameter_index(&format!("${n}"))? {
            statement.raw_bind_parameter(index, value)?;
        }
    }
    Ok(())
}
