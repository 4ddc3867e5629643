//! Changes to lanes, one after the other as they were noted.

use std::collections::HashMap;

use rusqlite::{Connection as Db, OptionalExtension as _, Params};

use super::connection::Connection;
use super::sent_journal::{SentPart, SentRecord};
use super::{access, day_usage, outgoing, sign_ins, user_decisions};
use crate::store::read_along;
use crate::store::requests::StoreRequest;
use crate::store::statements::{
    COUNT_UPLOAD_BYTES, DENIED_CHECK_INTERVAL, DENIED_PER_CONNECTOR, DENIED_PER_SENDER,
    INSERT_UPLOAD, NOTE_UPLOAD, SESSION_BYTES, TRIM_DELETED_OBJECTS, TRIM_DENIED_OF_CONNECTOR,
    TRIM_DENIED_OF_SENDER, TRIM_EXCHANGES, counts_session_bytes, has_upload_room, latest_ready_at,
    speaker_list,
};
use crate::store::{
    Change, Claim, DeniedMessage, LaneWrite, Notice, Release, ReplyPart, StoreError, WriteOutcome,
};

/// Exchanges that are kept of a session: as many as the greatest `maxMessages` can carry.
const EXCHANGES_KEPT: i64 = 500;

/// Does every `Write` of the batch whose claim still holds.
pub(super) fn apply_lane_writes(
    connection: &mut Connection,
    db: &Db,
    requests: &mut [StoreRequest],
) -> rusqlite::Result<()> {
    let now = connection.now();
    let mut held: HashMap<i64, bool> = HashMap::new();
    for request in requests {
        let StoreRequest::Write(pending) = request else {
            continue;
        };
        let write = &*pending.request.write;
        let owner = write.claim.owner;
        let holds = match held.get(&owner) {
            Some(holds) => *holds,
            None => {
                let holds = connection.claimant.holds(db, owner)?;
                held.insert(owner, holds);
                holds
            }
        };
        let outcome = if holds {
            Ok(apply_lane_write(connection, db, write, now)?)
        } else {
            Err(StoreError::ClaimLost)
        };
        pending.resolve(outcome);
    }
    Ok(())
}

fn apply_lane_write(
    connection: &mut Connection,
    db: &Db,
    write: &LaneWrite,
    now: i64,
) -> rusqlite::Result<WriteOutcome> {
    let lane = write.claim.lane;
    let mut written = WriteOutcome::default();
    for change in &write.changes {
        match change {
            Change::Reply {
                message,
                parts,
                notice,
            } => {
                if let Some(notice) = notice
                    && !record_notice(db, lane, *notice, now)?
                {
                    continue;
                }
                reply(db, lane, *message, parts, now)?;
                store_uploads(connection, db, (write.claim, *message), parts)?;
                written.reply_stored = true;
            }
            Change::Finish { message } => {
                let finished = finish(db, *message)?;
                connection.backlog.remove(write.claim.connector, finished);
            }
            Change::DeadLetter { message, reason } => {
                dead_letter_message(db, *message, reason, now)?;
                let finished = finish(db, *message)?;
                connection.backlog.remove(write.claim.connector, finished);
            }
            Change::Sent {
                reply,
                number,
                message_id,
            } => {
                let part = SentPart {
                    lane,
                    reply: *reply,
                    number: *number,
                };
                let message_id = *message_id;
                connection.remove_sent_parts(db, vec![SentRecord { part, message_id }])?;
            }
            Change::BeginSending { .. }
            | Change::EndSending { .. }
            | Change::FailOutgoing { .. } => outgoing::apply_change(db, lane, change, now)?,
            Change::CountTokens(count) => day_usage::count_tokens(db, count)?,
            Change::OpenDecision(new) => user_decisions::open(db, write.claim, new, now)?,
            Change::TakeDecision { id, taken } => {
                let connector = write.claim.connector;
                written.decision_taken |=
                    user_decisions::take(connection, db, connector, (id, taken), now)?;
            }
            Change::DecisionDelivered { id } => {
                user_decisions::deliver(db, write.claim.connector, id)?;
            }
            Change::DecisionShown { reply, message_id } => {
                user_decisions::set_message(db, lane, *reply, *message_id)?;
                access::set_message(db, lane, *reply, *message_id)?;
            }
            Change::AskForAccess(_) | Change::DecideAccessRequest { .. } => {
                access::apply_change(connection, db, write.claim, change, &mut written)?;
            }
            Change::HoldForSignIn(held) => {
                let held = sign_ins::hold(connection, db, write.claim, held, now)?;
                written.held = Some(held);
            }
            Change::SignOut { user } => {
                sign_ins::sign_out(db, write.claim.connector, *user, now)?;
            }
            other => apply_change(db, lane, other, now)?,
        }
    }
    let ready_at = match write.release {
        Some(Release::Now) => now,
        Some(Release::At(at)) => at.as_millisecond().min(latest_ready_at(now)),
        None => return Ok(written),
    };
    written.more_waits = db
        .prepare_cached(
            "UPDATE lane SET owner = NULL, ready_at = CASE
               WHEN EXISTS (SELECT 1 FROM inbox i WHERE i.lane = lane.id)
                 OR EXISTS (SELECT 1 FROM outbox o WHERE o.lane = lane.id) THEN ?2 END
             WHERE id = ?1 RETURNING ready_at IS NOT NULL",
        )?
        .query_row((lane, ready_at), |row| row.get(0))
        .optional()?
        .unwrap_or(false);
    Ok(written)
}

/// The changes that answer nothing.
fn apply_change(db: &Db, lane: i64, change: &Change, now: i64) -> rusqlite::Result<()> {
    match change {
        Change::Attempted { message } => run(
            db,
            "UPDATE inbox SET attempts = attempts + 1 WHERE id = ?1",
            [message],
        ),
        Change::Handled { handled } => run(
            db,
            "UPDATE lane SET handled = ?2, handled_at = ?3 WHERE id = ?1",
            (lane, handled, now),
        ),
        Change::EndSession => run(db, "UPDATE lane SET session = 0 WHERE id = ?1", [lane]),
        Change::BeginSession {
            number,
            key,
            began_at,
        } => {
            run(
                db,
                "INSERT INTO session (lane, number, key, began_at, last_at, namespace, revision)
                 SELECT l.id, ?2, ?3, ?4, ?4, c.namespace, r.number FROM lane l CROSS JOIN connector c ON c.id = l.connector CROSS JOIN revision r WHERE l.id = ?1
                 ON CONFLICT (lane, number) DO UPDATE SET key = excluded.key, began_at = excluded.began_at, last_at = excluded.last_at,
                   exchanges = 0, state = NULL, input_tokens = 0, output_tokens = 0, revision = excluded.revision",
                (lane, number, key, began_at.as_millisecond()),
            )?;
            run(
                db,
                "UPDATE lane SET session = ?2, sessions = max(sessions, ?2) WHERE id = ?1",
                (lane, number),
            )
        }
        Change::Exchange {
            session,
            number,
            asked,
            answered,
            state,
            tokens,
            at,
            oldest_kept,
            message,
            speakers,
        } => {
            if let Some(oldest) = oldest_kept {
                run(
                    db,
                    "DELETE FROM exchange WHERE lane = ?1 AND session = ?2 AND number < ?3",
                    (lane, session, oldest),
                )?;
            }
            run(
                db,
                "UPDATE session SET exchanges = ?3, last_at = ?4, state = coalesce(?5, state), input_tokens = ?6, output_tokens = ?7,
                   revision = (SELECT number FROM revision)
                 WHERE lane = ?1 AND number = ?2 AND EXISTS (SELECT 1 FROM inbox i WHERE i.id = ?8)",
                (
                    lane,
                    session,
                    number,
                    at.as_millisecond(),
                    state,
                    tokens.input,
                    tokens.output,
                    message,
                ),
            )?;
            match (asked, answered) {
                (Some(asked), Some(answered)) => {
                    let question = (*message, speaker_list(speakers));
                    insert_exchange(db, (lane, *session, *number), (asked, answered), question)
                }
                _ => Ok(()),
            }
        }
        Change::ReadAlong(message, most) => {
            let body = message.to_body();
            let (id, user) = (message.message_id, message.user_id);
            let sent_at = message.sent_at.as_millisecond();
            run(db, read_along::KEEP, (id, user, sent_at, body, lane))?;
            run(db, read_along::TRIM, (lane, most))
        }
        Change::EndReadAlong(until) => run(db, read_along::DROP, (lane, until)),
        Change::Denied(id, message) => insert_denied(db, (lane, *id), message, now),
        Change::SendAttempted {
            reply,
            number,
            ambiguous,
        } => run(
            db,
            "UPDATE outbox SET attempts = attempts + 1, ambiguous = max(ambiguous, ?4)
             WHERE lane = ?1 AND reply = ?2 AND number = ?3",
            (lane, reply, number, ambiguous),
        ),
        Change::Replace {
            reply,
            number,
            parts,
        } => replace(db, (lane, *reply, *number), parts),
        Change::EndReply {
            reply,
            dead_letter_reason: reason,
        } => {
            if let Some(reason) = reason {
                run(
                    db,
                    "INSERT INTO dead_letter (at, namespace, name, connector, bot, chat, topic, update_id, date, kind, reply, number, attempts, reason, body, sender, revision)
                     SELECT ?4, c.namespace, c.name, c.id, l.bot, l.chat, l.topic, o.update_id, 0, 'reply', o.reply, o.number, o.attempts, ?3, o.part, o.sender,
                       (SELECT number FROM revision)
                     FROM outbox o CROSS JOIN lane l ON l.id = o.lane CROSS JOIN connector c ON c.id = l.connector
                     WHERE o.lane = ?1 AND o.reply = ?2",
                    (lane, reply, reason, now),
                )?;
            }
            run(
                db,
                "DELETE FROM outbox WHERE lane = ?1 AND reply = ?2",
                (lane, reply),
            )
        }
        Change::Reply { .. }
        | Change::Finish { .. }
        | Change::DeadLetter { .. }
        | Change::Sent { .. }
        | Change::BeginSending { .. }
        | Change::EndSending { .. }
        | Change::FailOutgoing { .. }
        | Change::CountTokens(_)
        | Change::HoldForSignIn(_)
        | Change::SignOut { .. }
        | Change::OpenDecision(_)
        | Change::TakeDecision { .. }
        | Change::DecisionDelivered { .. }
        | Change::DecisionShown { .. }
        | Change::AskForAccess(_)
        | Change::DecideAccessRequest { .. } => Ok(()),
    }
}

/// Keeps a denied message, and lets the oldest go where there are too many.
fn insert_denied(
    db: &Db,
    (lane, waiting): (i64, i64),
    message: &DeniedMessage,
    now: i64,
) -> rusqlite::Result<()> {
    let sender = message.user_id.unwrap_or(0);
    let stored: Option<(i64, i64)> = db
        .prepare_cached(
            "INSERT INTO denied (connector, sender, at, namespace, name, message, stored_at, chat, revision)
             SELECT connector, ?2, ?3, ?4, ?5, ?6, ?7, ?8, (SELECT number FROM revision) FROM lane
             WHERE id = ?1 AND EXISTS (SELECT 1 FROM inbox i WHERE i.id = ?9) RETURNING id, connector",
        )?
        .query_row(
            (
                lane,
                sender,
                message.time.as_millisecond(),
                &message.namespace,
                &message.name,
                serde_json::to_string(message).expect("strings always serialize"),
                now,
                message.chat,
                waiting,
            ),
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    // A person who was erased meanwhile left nothing to deny.
    let Some((id, connector)) = stored else {
        return Ok(());
    };
    run(
        db,
        TRIM_DENIED_OF_SENDER,
        (connector, sender, DENIED_PER_SENDER),
    )?;
    if id % DENIED_CHECK_INTERVAL == 0 {
        run(
            db,
            TRIM_DENIED_OF_CONNECTOR,
            (connector, DENIED_PER_CONNECTOR),
        )?;
        for statement in TRIM_DELETED_OBJECTS {
            run(db, statement, ())?;
        }
    }
    Ok(())
}

/// Puts parts in the place of one that is still there, which each copies from.
fn replace(
    db: &Db,
    (lane, reply, number): (i64, i64, u32),
    parts: &[ReplyPart],
) -> rusqlite::Result<()> {
    for (offset, part) in (0_u32..).zip(parts) {
        let part = serde_json::to_string(part).expect("strings always serialize");
        run(
            db,
            "INSERT OR REPLACE INTO outbox (lane, reply, number, update_id, stored_at, part, sender)
             SELECT lane, reply, ?4, update_id, stored_at, ?5, sender FROM outbox WHERE lane = ?1 AND reply = ?2 AND number = ?3",
            (lane, reply, number, number + offset, part),
        )?;
    }
    Ok(())
}

pub(super) fn reply(
    db: &Db,
    lane: i64,
    message: i64,
    parts: &[ReplyPart],
    now: i64,
) -> rusqlite::Result<()> {
    for (number, part) in ReplyPart::numbered(parts) {
        let part = serde_json::to_string(part).expect("strings always serialize");
        run(
            db,
            "INSERT OR REPLACE INTO outbox (lane, reply, number, update_id, stored_at, part, sender)
             SELECT ?1, id, ?3, update_id, ?4, ?5, sender FROM inbox WHERE id = ?2",
            (lane, message, number, now, part),
        )?;
    }
    Ok(())
}

/// Stores the bytes of files beside their parts, as far as there is room.
fn store_uploads(
    connection: &Connection,
    db: &Db,
    (claim, reply): (Claim, i64),
    parts: &[ReplyPart],
) -> rusqlite::Result<()> {
    for (number, part) in ReplyPart::numbered(parts) {
        let Some(upload) = part.upload() else {
            continue;
        };
        let waiting = db
            .prepare_cached(COUNT_UPLOAD_BYTES)?
            .query_row([claim.connector], |row| Ok((row.get(0)?, row.get(1)?)))?;
        if !has_upload_room(upload.len(), waiting, connection.options.upload_bytes) {
            continue;
        }
        let bytes = i64::try_from(upload.len()).unwrap_or(i64::MAX);
        let noted = (bytes, claim.lane, reply, number);
        if db.prepare_cached(NOTE_UPLOAD)?.execute(noted)? > 0 {
            let row = (reply, number, claim.connector, &upload[..], bytes);
            run(db, INSERT_UPLOAD, row)?;
        }
    }
    Ok(())
}

/// Takes a message out of the inbox; 0 where it is gone already.
fn finish(db: &Db, message: i64) -> rusqlite::Result<u64> {
    let finished = db
        .prepare_cached("DELETE FROM inbox WHERE id = ?1")?
        .execute([message])?;
    Ok(finished as u64)
}

fn dead_letter_message(db: &Db, message: i64, reason: &str, now: i64) -> rusqlite::Result<()> {
    run(
        db,
        "INSERT INTO dead_letter (at, namespace, name, connector, bot, chat, topic, update_id, date, kind, attempts, reason, body, sender, revision)
         SELECT ?3, c.namespace, c.name, c.id, l.bot, l.chat, l.topic, i.update_id, i.date, 'message', i.attempts, ?2, i.body, i.sender,
           (SELECT number FROM revision)
         FROM inbox i CROSS JOIN lane l ON l.id = i.lane CROSS JOIN connector c ON c.id = l.connector
         WHERE i.id = ?1",
        (message, reason, now),
    )
}

/// Keeps an exchange of a session that is there, with a message that is there; with the ids of whoever else's words it holds.
fn insert_exchange(
    db: &Db,
    (lane, session, number): (i64, i64, i64),
    (asked, answered): (&str, &str),
    (message, speakers): (i64, Option<String>),
) -> rusqlite::Result<()> {
    run(
        db,
        "INSERT OR REPLACE INTO exchange (lane, session, number, asked, answered, sender, speakers)
         SELECT s.lane, s.number, ?3, ?4, ?5, i.sender, ?7 FROM session s CROSS JOIN inbox i ON i.id = ?6 WHERE s.lane = ?1 AND s.number = ?2
           AND (?7 IS NULL OR EXISTS (SELECT 1 FROM lane l WHERE l.id = ?1 AND l.erased = 0))",
        (lane, session, number, asked, answered, message, speakers),
    )?;
    if counts_session_bytes(number, asked.len() + answered.len()) {
        run(db, TRIM_EXCHANGES, (lane, session, SESSION_BYTES))?;
    }
    if number <= EXCHANGES_KEPT {
        return Ok(());
    }
    run(
        db,
        "DELETE FROM exchange WHERE lane = ?1 AND session = ?2 AND number = ?3",
        (lane, session, number - EXCHANGES_KEPT),
    )
}

/// Notes that the lane's chat, or its user, is told now; false if they were told since.
fn record_notice(db: &Db, lane: i64, notice: Notice, now: i64) -> rusqlite::Result<bool> {
    let noted = db
        .prepare_cached(
            "INSERT INTO notice (connector, chat, kind, at) SELECT connector, coalesce(?5, chat), ?4, ?3 FROM lane WHERE id = ?1
             ON CONFLICT (connector, chat, kind) DO UPDATE SET at = excluded.at WHERE at <= ?2 OR at > ?3",
        )?
        .execute((
            lane,
            notice.since.as_millisecond(),
            now,
            notice.kind.code(),
            notice.kind.user(),
        ))?;
    Ok(noted > 0)
}

fn run(db: &Db, statement: &str, values: impl Params) -> rusqlite::Result<()> {
    db.prepare_cached(statement)?.execute(values).map(drop)
}
