//! Messages that somebody sends: written down with their parts, and what becomes of them. They are rare: one statement after the other.

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;

use super::connection::Connection;
use crate::store::outgoing::{
    self, BEGIN_SENDING, END_SENDING, ENDED_BYTES_KEPT, ENDED_CHECK_INTERVAL, ENDED_KEPT, FIND_KEY,
    FIND_MET, FIND_MOVED, FIND_NAME, FIND_PENDING, FIND_RATE, INSERT, MAX_PENDING, NOTE_AMBIGUOUS,
    NOTE_FAILED, NOTE_RETRIED, NOTE_SENT, NewOutgoing, READY_LANE, STORE_PART, TRIM_ENDED,
    WrittenOutgoing, outgoing_of, reply_of, retry_after, window_start,
};
use crate::store::reading::timestamp;
use crate::store::{Change, ObjectKey, ReplyPart};

/// A change of an outgoing message, in the lane of the write.
pub(super) type OutgoingChange<'a> = (i64, &'a Change);

/// Checks a message and writes it down, unless something is against it. The connector's row is held until the end of the transaction, so that replicas
/// count one after the other.
pub(super) async fn create(
    connection: &mut Connection,
    db: &mut PgConnection,
    new: &NewOutgoing,
) -> Result<WrittenOutgoing, sqlx::Error> {
    let connector = connection
        .connectors
        .id_of_named(db, &new.connector)
        .await?;
    sqlx::query("SELECT id FROM connector WHERE id = $1 FOR NO KEY UPDATE")
        .bind(connector)
        .execute(&mut *db)
        .await?;
    let now = connection.now();
    let (chat, refusal) = refusal(db, connector, new, now).await?;
    if let Some(refusal) = refusal {
        return Ok(refusal);
    }
    let at = timestamp(now);
    if new.dry_run {
        return Ok(WrittenOutgoing::Created { id: 0, chat, at });
    }
    let inserted: Option<i64> = sqlx::query_scalar(INSERT)
        .bind(connector)
        .bind(&*new.connector.namespace)
        .bind(&new.name)
        .bind(new.bot.0)
        .bind(chat)
        .bind(new.topic)
        .bind(new.user.unwrap_or(0))
        .bind(&new.idempotency_key)
        .bind(&new.text)
        .bind(i64::from(new.silent))
        .bind(now)
        .fetch_optional(&mut *db)
        .await?;
    let Some(id) = inserted else {
        return Ok(WrittenOutgoing::NameTaken);
    };
    let lane: i64 = sqlx::query_scalar(READY_LANE)
        .bind(connector)
        .bind(new.bot.0)
        .bind(chat)
        .bind(new.topic)
        .bind(now)
        .fetch_one(&mut *db)
        .await?;
    for (number, part) in ReplyPart::numbered(&new.parts) {
        sqlx::query(STORE_PART)
            .bind(lane)
            .bind(reply_of(id))
            .bind(i64::from(number))
            .bind(now)
            .bind(serde_json::to_string(part).expect("strings always serialize"))
            .bind(new.user.unwrap_or(0))
            .execute(&mut *db)
            .await?;
    }
    if id % ENDED_CHECK_INTERVAL == 0 {
        sqlx::query(TRIM_ENDED)
            .bind(connector)
            .bind(ENDED_KEPT)
            .bind(ENDED_BYTES_KEPT)
            .execute(&mut *db)
            .await?;
    }
    Ok(WrittenOutgoing::Created { id, chat, at })
}

/// The id that the chat has now, and what is against a message to it.
async fn refusal(
    db: &mut PgConnection,
    connector: i64,
    new: &NewOutgoing,
    now: i64,
) -> Result<(i64, Option<WrittenOutgoing>), sqlx::Error> {
    let bot = new.bot.0;
    let moved: Option<i64> = sqlx::query_scalar(FIND_MOVED)
        .bind(connector)
        .bind(bot)
        .bind(new.chat)
        .fetch_optional(&mut *db)
        .await?;
    let chat = moved.unwrap_or(new.chat);
    let refused = |refusal| Ok((chat, Some(refusal)));
    let same_key: Option<i64> = sqlx::query_scalar(FIND_KEY)
        .bind(connector)
        .bind(&new.idempotency_key)
        .fetch_optional(&mut *db)
        .await?;
    if let Some(id) = same_key {
        return refused(WrittenOutgoing::SameKey { id });
    }
    let same_name: Option<i64> = sqlx::query_scalar(FIND_NAME)
        .bind(&*new.connector.namespace)
        .bind(&new.name)
        .fetch_optional(&mut *db)
        .await?;
    if same_name.is_some() {
        return refused(WrittenOutgoing::NameTaken);
    }
    let met = sqlx::query(FIND_MET)
        .bind(connector)
        .bind(bot)
        .bind(chat)
        .fetch_optional(&mut *db)
        .await?;
    if met.is_none() {
        return refused(WrittenOutgoing::NeverMet);
    }
    let pending: Option<i64> = sqlx::query_scalar(FIND_PENDING)
        .bind(connector)
        .bind(MAX_PENDING - 1)
        .fetch_optional(&mut *db)
        .await?;
    if pending.is_some() {
        return refused(WrittenOutgoing::BacklogFull);
    }
    let made_at: Option<i64> = sqlx::query_scalar(FIND_RATE)
        .bind(connector)
        .bind(window_start(now))
        .bind(i64::from(new.per_minute.max(1)) - 1)
        .fetch_optional(&mut *db)
        .await?;
    if let Some(made_at) = made_at {
        let retry_after = retry_after(made_at, now);
        return refused(WrittenOutgoing::TooMany { retry_after });
    }
    Ok((chat, None))
}

/// Does what the writes of a batch say about outgoing messages, in their order, once the outbox is as they leave it.
pub(super) async fn apply_changes(
    db: &mut PgConnection,
    changes: &[OutgoingChange<'_>],
    now: i64,
) -> Result<(), sqlx::Error> {
    for (lane, change) in changes {
        apply_change(db, *lane, change, now).await?;
    }
    Ok(())
}

async fn apply_change(
    db: &mut PgConnection,
    lane: i64,
    change: &Change,
    now: i64,
) -> Result<(), sqlx::Error> {
    let query = match change {
        Change::BeginSending { reply, number } => {
            let number = i64::from(*number);
            sqlx::query(NOTE_AMBIGUOUS)
                .bind(outgoing_of(*reply))
                .bind(lane)
                .bind(reply)
                .bind(number)
                .execute(&mut *db)
                .await?;
            sqlx::query(BEGIN_SENDING)
                .bind(lane)
                .bind(reply)
                .bind(number)
        }
        Change::EndSending { reply, number } => sqlx::query(END_SENDING)
            .bind(lane)
            .bind(reply)
            .bind(i64::from(*number)),
        Change::Sent {
            reply, message_id, ..
        } => sqlx::query(NOTE_SENT)
            .bind(message_id)
            .bind(now)
            .bind(lane)
            .bind(reply)
            .bind(outgoing_of(*reply)),
        Change::FailOutgoing { reply, reason } => sqlx::query(NOTE_FAILED)
            .bind(reason)
            .bind(now)
            .bind(outgoing_of(*reply)),
        _ => return Ok(()),
    };
    query.execute(db).await.map(drop)
}

/// Before dead letters are put back: what they are parts of waits again.
pub(super) async fn note_retried(
    db: &mut PgConnection,
    dead_letters: &[i64],
) -> Result<(), sqlx::Error> {
    for id in dead_letters {
        sqlx::query(NOTE_RETRIED).bind(id).execute(&mut *db).await?;
    }
    Ok(())
}

/// Gives up what waits for another bot of the connector than this, since before a time.
pub(super) async fn fail_other_bots(
    db: &mut PgConnection,
    connector: i64,
    bot: i64,
    before: i64,
    now: i64,
) -> Result<u64, sqlx::Error> {
    let mut failed = 0;
    for statement in outgoing::fail_other_bots("txid_current()") {
        let done = sqlx::query(AssertSqlSafe(statement))
            .bind(connector)
            .bind(bot)
            .bind(before)
            .bind(now)
            .execute(&mut *db)
            .await?;
        failed = done.rows_affected();
    }
    Ok(failed)
}

/// Deletes a message of a namespace, with what of it waits; how many there were.
pub(super) async fn delete(
    db: &mut PgConnection,
    ObjectKey(id, other): ObjectKey,
    namespace: &str,
) -> Result<u64, sqlx::Error> {
    let mut deleted = 0;
    for statement in outgoing::DELETE.into_iter().filter(|_| other == 0) {
        let done = sqlx::query(statement)
            .bind(id)
            .bind(namespace)
            .execute(&mut *db)
            .await?;
        deleted = done.rows_affected();
    }
    Ok(deleted)
}
