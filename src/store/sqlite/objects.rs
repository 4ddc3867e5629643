//! Objects of the data API deleted, and persons erased.

use rusqlite::types::Value;
use rusqlite::{Connection as Db, OptionalExtension as _, params_from_iter};

use super::accept::BacklogCount;
use super::connection::Connection;
use super::{access, outgoing};
use crate::store::erasure::{
    AFTERWARDS, Blanked, END_DECISION, END_LANE, ERASE_PERSON, Erased, FIND_DECISIONS, LANES,
    MARK_CLAIMED, MENTIONS, Mention, has_number,
};
use crate::store::objects::{ErasedCounts, ObjectKey, ObjectKind};
use crate::store::requests::{DeleteObjects, Erase};
use crate::store::statements::{COUNT_REVISION, END_CONVERSATION};

/// Counts the transaction as one that changes objects.
pub(super) fn count_revision(db: &Db, now: i64) -> rusqlite::Result<()> {
    db.prepare_cached(COUNT_REVISION)?.execute([now]).map(drop)
}

/// Deletes objects of a namespace; how many were there.
pub(super) fn delete(db: &Db, objects: &DeleteObjects) -> rusqlite::Result<u64> {
    let mut deleted = 0;
    for key in &objects.keys {
        deleted += match objects.kind {
            ObjectKind::DeniedMessage => delete_row(db, "denied", *key, &objects.namespace)?,
            ObjectKind::DeadLetter => delete_row(db, "dead_letter", *key, &objects.namespace)?,
            ObjectKind::OutgoingMessage => outgoing::delete(db, *key, &objects.namespace)?,
            ObjectKind::AccessGrant => access::delete_grant(db, *key, &objects.namespace)?,
            ObjectKind::AccessRequest => access::delete_request(db, *key, &objects.namespace)?,
            ObjectKind::Conversation => end_conversation(db, *key, &objects.namespace)?,
        };
    }
    Ok(deleted)
}

fn delete_row(
    db: &Db,
    table: &str,
    ObjectKey(id, other): ObjectKey,
    namespace: &str,
) -> rusqlite::Result<u64> {
    let statement = format!("DELETE FROM {table} WHERE id = ?1 AND 0 = ?2 AND namespace = ?3");
    let deleted = db
        .prepare_cached(&statement)?
        .execute((id, other, namespace))?;
    Ok(deleted as u64)
}

fn end_conversation(
    db: &Db,
    ObjectKey(lane, number): ObjectKey,
    namespace: &str,
) -> rusqlite::Result<u64> {
    let is_there = db
        .prepare_cached("SELECT 1 FROM session WHERE lane = ?1 AND number = ?2 AND namespace = ?3")?
        .exists((lane, number, namespace))?;
    if is_there {
        for statement in END_CONVERSATION {
            db.prepare_cached(statement)?.execute((lane, number))?;
        }
    }
    Ok(is_there.into())
}

/// Erases all that is kept of a person. What is left of it in the file's free pages goes once that is committed.
pub(super) fn erase(
    connection: &mut Connection,
    db: &Db,
    erase: &Erase,
) -> rusqlite::Result<ErasedCounts> {
    let person = (erase.user, erase.namespace.as_deref());
    let mut counts = ErasedCounts::default();
    let lanes = db
        .prepare(LANES)?
        .query_map(person, |row| row.get(0))?
        .collect::<rusqlite::Result<Vec<i64>>>()?;
    for lane in &lanes {
        for (what, statement) in END_LANE {
            let rows = db.prepare_cached(statement)?.execute([lane])?;
            counts.add(what, rows as u64);
        }
    }
    for (what, statement) in ERASE_PERSON {
        counts.add(what, db.execute(statement, person)? as u64);
    }
    db.execute(MARK_CLAIMED, person)?;
    end_decisions(db, person, &mut counts)?;
    for mention in &MENTIONS {
        blank(db, mention, person)?;
    }
    for statement in AFTERWARDS {
        db.execute(statement, ())?;
    }
    connection.backlog = BacklogCount::load(db)?;
    connection.on_commit.erased_lanes.extend(lanes);
    connection.on_commit.clean_file = true;
    Ok(counts)
}

/// Ends the decisions that name the person: asked, or decided.
fn end_decisions(
    db: &Db,
    person: (i64, Option<&str>),
    counts: &mut ErasedCounts,
) -> rusqlite::Result<()> {
    let mut found = db.prepare(FIND_DECISIONS)?;
    let found = found
        .query_map(person, |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<Vec<(String, String)>>>()?;
    for (id, words) in found {
        if has_number(&words, person.0) {
            let rows = db.prepare_cached(END_DECISION)?.execute([id])?;
            counts.add(Erased::Others, rows as u64);
        }
    }
    Ok(())
}

/// Blanks the person in rows of others.
fn blank(db: &Db, mention: &Mention, person: (i64, Option<&str>)) -> rusqlite::Result<()> {
    let keys = mention.keys.len();
    let mut found = db.prepare(&mention.find())?;
    let mut store = db.prepare(&mention.store())?;
    let mut changed = Vec::new();
    let mut rows = found.query(person)?;
    while let Some(row) = rows.next()? {
        let text = row.get_ref(keys)?.as_str()?;
        if let Blanked::Changed(blanked) = mention.blank(text, person.0) {
            let mut values = vec![blanked.map_or(Value::Null, Value::Text)];
            for key in 0..keys {
                values.push(Value::Integer(row.get(key)?));
            }
            changed.push(values);
        }
    }
    drop(rows);
    for values in changed {
        store.execute(params_from_iter(values))?;
    }
    Ok(())
}

/// Writes the file anew, without what was ever deleted from it, and empties its log.
pub(super) fn clean_file(db: &Db, folder: Option<&str>) -> rusqlite::Result<()> {
    // The copy is as big as the file: beside it, not in memory.
    db.execute_batch("PRAGMA temp_store = file")?;
    if let Some(folder) = folder {
        db.pragma_update(None, "temp_store_directory", folder)?;
    }
    let cleaned = db.execute_batch("VACUUM");
    if folder.is_some() {
        db.pragma_update(None, "temp_store_directory", "")?;
    }
    db.execute_batch("PRAGMA temp_store = memory")?;
    cleaned?;
    let is_read = db
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |row| {
            row.get::<_, bool>(0)
        })
        .optional()?;
    if is_read == Some(true) {
        return Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY),
            Some("its log is being read, and still holds what was erased".to_owned()),
        ));
    }
    Ok(())
}
