//! Grants, and requests for them: made, decided once, expired. They are rare: one statement after the other.

use jiff::Timestamp;
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};

use super::connection::Connection;
use crate::identity::ConnectorUid;
use crate::store::access_statements::{
    COUNT_ASKED, COUNT_WAITING, DELETE_GRANT, DELETE_REQUEST, DecideRequest, END_REQUEST,
    ENDED_CHECK_INTERVAL, ENDED_KEPT, EXPIRE_LIMIT, Ending, FIND_EXPIRED, FIND_MESSAGE, FIND_OPEN,
    FIND_WAITING, FIND_WAITING_OF_NAMESPACE, FOLLOW_UP, GRANT_REQUESTED, INSERT_GRANT,
    INSERT_REQUEST, NOTE_SHOWN, READY_ASKING_LANE, READY_NOTICE_LANE, REPLACE_GRANT, TRIM_ENDED,
    WrittenVerdict, ask_window_start,
};
use crate::store::{
    AskOutcome, Change, Claim, ExpiredRequest, LaneWrite, MAX_WAITING_REQUESTS, NewAccessRequest,
    NewGrant, ObjectKey, ReplyPart, RequestPhase, WriteOutcome,
};

/// Gives a grant in the place of one of the same source; its number.
pub(super) async fn grant(
    connection: &mut Connection,
    db: &mut PgConnection,
    new: &NewGrant,
) -> Result<i64, sqlx::Error> {
    let connector = connection
        .connectors
        .id_of_named(db, &new.connector)
        .await?;
    hold_connector(db, connector).await?;
    sqlx::query(REPLACE_GRANT)
        .bind(connector)
        .bind(new.user)
        .bind(new.source.code())
        .execute(&mut *db)
        .await?;
    sqlx::query_scalar(INSERT_GRANT)
        .bind(connector)
        .bind(new.user)
        .bind(new.source.code())
        .bind(&*new.connector.namespace)
        .bind(&*new.connector.name)
        .bind(&new.name)
        .bind(&new.username)
        .bind(&new.by)
        .bind(connection.now())
        .bind(new.until.map(Timestamp::as_millisecond))
        .fetch_one(db)
        .await
}

/// The connector's row is held until the end of the transaction, so that replicas count and replace one after the other.
async fn hold_connector(db: &mut PgConnection, connector: i64) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT id FROM connector WHERE id = $1 FOR NO KEY UPDATE")
        .bind(connector)
        .execute(db)
        .await
        .map(drop)
}

/// Does what a write says about requests.
pub(super) async fn apply_write(
    connection: &mut Connection,
    db: &mut PgConnection,
    write: &LaneWrite,
    written: &mut WriteOutcome,
) -> Result<(), sqlx::Error> {
    let claim = write.claim;
    for change in &write.changes {
        match change {
            Change::AskForAccess(new) => {
                written.access_request = ask(connection, db, claim, new).await?;
            }
            Change::DecideAccessRequest {
                id,
                verdict,
                by,
                message,
                tapped_message,
            } => {
                // Of somebody who was erased meanwhile nothing is written down.
                if !is_there(db, *message).await? {
                    continue;
                }
                let waiting = sqlx::query(FIND_WAITING).bind(id);
                let Some(row) = waiting.fetch_optional(&mut *db).await? else {
                    continue;
                };
                let (connector, expires_at) = (row.get(0), row.get(1));
                if connector == claim.connector {
                    let ending = Ending::decided(*verdict, by, *tapped_message);
                    let request = (*id, connector, expires_at);
                    written.access_request_decided |=
                        decide(connection, db, request, ending).await?;
                }
            }
            Change::DecisionShown { reply, message_id } => {
                sqlx::query(NOTE_SHOWN)
                    .bind(claim.lane)
                    .bind(reply)
                    .bind(message_id)
                    .execute(&mut *db)
                    .await?;
            }
            _ => {}
        }
    }
    Ok(())
}

async fn is_there(db: &mut PgConnection, message: i64) -> Result<bool, sqlx::Error> {
    let found = sqlx::query(FIND_MESSAGE).bind(message);
    Ok(found.fetch_optional(db).await?.is_some())
}

/// Makes a request, unless something is against it; `None`: the message that asks has gone.
async fn ask(
    connection: &mut Connection,
    db: &mut PgConnection,
    claim: Claim,
    new: &NewAccessRequest,
) -> Result<Option<AskOutcome>, sqlx::Error> {
    if !is_there(db, new.message).await? {
        return Ok(None);
    }
    hold_connector(db, claim.connector).await?;
    let now = connection.now();
    let outcome = match refusal(connection, db, claim.connector, new).await? {
        Some(refusal) => refusal,
        None => AskOutcome::Asked(insert(db, claim.connector, new, now).await?),
    };
    let replies = new.replies.of(outcome);
    if !matches!(outcome, AskOutcome::Asked(_)) {
        reply(db, claim.lane, new.message, replies, now).await?;
        return Ok(Some(outcome));
    }
    let notice = &new.notice;
    let notice_lane: Option<i64> = sqlx::query_scalar(READY_NOTICE_LANE)
        .bind(claim.lane)
        .bind(notice.chat)
        .bind(notice.topic)
        .bind(now)
        .fetch_optional(&mut *db)
        .await?;
    let notice_lane = notice_lane.unwrap_or(claim.lane);
    if notice_lane == claim.lane {
        let parts = [&notice.parts[..], replies].concat();
        reply(db, notice_lane, new.message, &parts, now).await?;
    } else {
        reply(db, notice_lane, new.message, &notice.parts, now).await?;
        reply(db, claim.lane, new.message, replies, now).await?;
    }
    Ok(Some(outcome))
}

/// What is against a request. One that is over is ended first.
async fn refusal(
    connection: &mut Connection,
    db: &mut PgConnection,
    connector: i64,
    new: &NewAccessRequest,
) -> Result<Option<AskOutcome>, sqlx::Error> {
    let now = connection.now();
    let open = sqlx::query(FIND_OPEN)
        .bind(connector)
        .bind(new.user)
        .fetch_optional(&mut *db)
        .await?;
    if let Some(open) = open {
        let (phase, id, expires_at): (i64, i64, i64) = (open.get(0), open.get(1), open.get(2));
        if RequestPhase::from_code(phase) == RequestPhase::Muted {
            return Ok(Some(AskOutcome::Muted));
        }
        if expires_at > now {
            return Ok(Some(AskOutcome::Waiting));
        }
        end(connection, db, (id, connector), Ending::EXPIRED).await?;
    }
    let asked: i64 = sqlx::query_scalar(COUNT_ASKED)
        .bind(connector)
        .bind(new.user)
        .bind(ask_window_start(now))
        .fetch_one(&mut *db)
        .await?;
    let waiting: i64 = sqlx::query_scalar(COUNT_WAITING)
        .bind(connector)
        .fetch_one(db)
        .await?;
    let is_too_many =
        asked >= i64::from(new.per_user_per_day.max(1)) || waiting >= MAX_WAITING_REQUESTS;
    Ok(is_too_many.then_some(AskOutcome::TooMany))
}

async fn insert(
    db: &mut PgConnection,
    connector: i64,
    new: &NewAccessRequest,
    now: i64,
) -> Result<i64, sqlx::Error> {
    let id: i64 = sqlx::query_scalar(INSERT_REQUEST)
        .bind(new.message)
        .bind(&new.token)
        .bind(new.user)
        .bind(&new.name)
        .bind(&new.username)
        .bind(&new.level)
        .bind(&new.language)
        .bind(now)
        .bind(new.expires_at.as_millisecond())
        .bind(&new.follow_up)
        .bind(new.notice.chat)
        .bind(new.notice.topic)
        .fetch_one(&mut *db)
        .await?;
    if id % ENDED_CHECK_INTERVAL == 0 {
        sqlx::query(TRIM_ENDED)
            .bind(connector)
            .bind(ENDED_KEPT)
            .execute(db)
            .await?;
    }
    Ok(id)
}

/// Stores the parts of a reply to a message that is there.
async fn reply(
    db: &mut PgConnection,
    lane: i64,
    message: i64,
    parts: &[ReplyPart],
    now: i64,
) -> Result<(), sqlx::Error> {
    let json = |part| serde_json::to_string(part).expect("strings always serialize");
    let parts: Vec<_> = ReplyPart::numbered(parts)
        .map(|(number, part)| (lane, message, number, json(part)))
        .collect();
    super::write::run(db, super::write::STORE_PARTS, &parts, now)
        .await
        .map(drop)
}

/// Decides a request that waits, as far as it has not expired; then it ends so. Whether it was decided.
async fn decide(
    connection: &mut Connection,
    db: &mut PgConnection,
    (id, connector, expires_at): (i64, i64, i64),
    ending: Ending<'_>,
) -> Result<bool, sqlx::Error> {
    let is_over = expires_at <= connection.now();
    let ending = if is_over { Ending::EXPIRED } else { ending };
    let ended = end(connection, db, (id, connector), ending).await?;
    Ok(ended && !is_over)
}

/// Ends a request that waits: with the grant, if it is allowed, and what follows from it in the lane that asked.
async fn end(
    connection: &mut Connection,
    db: &mut PgConnection,
    (id, connector): (i64, i64),
    ending: Ending<'_>,
) -> Result<bool, sqlx::Error> {
    // Before the request's own row, as whoever asks holds them.
    hold_connector(db, connector).await?;
    let now = connection.now();
    let ended = sqlx::query(END_REQUEST)
        .bind(id)
        .bind(ending.phase.code())
        .bind(now)
        .bind(ending.by)
        .bind(ending.until.map(Timestamp::as_millisecond))
        .bind(ending.tapped_message)
        .execute(&mut *db)
        .await?;
    if ended.rows_affected() == 0 {
        return Ok(false);
    }
    if ending.phase == RequestPhase::Allowed {
        for statement in GRANT_REQUESTED {
            sqlx::query(statement).bind(id).execute(&mut *db).await?;
        }
    }
    let lane: Option<i64> = sqlx::query_scalar(READY_ASKING_LANE)
        .bind(id)
        .bind(now)
        .fetch_optional(&mut *db)
        .await?;
    if let Some(lane) = lane {
        let added = sqlx::query(FOLLOW_UP)
            .bind(id)
            .bind(lane)
            .bind(now.div_euclid(1000))
            .bind(now)
            .execute(db)
            .await?;
        connection.backlog.add(connector, added.rows_affected());
    }
    Ok(true)
}

/// Decides a request of a namespace.
pub(super) async fn decide_in_namespace(
    connection: &mut Connection,
    db: &mut PgConnection,
    decide: &DecideRequest,
) -> Result<WrittenVerdict, sqlx::Error> {
    let waiting = sqlx::query(FIND_WAITING_OF_NAMESPACE)
        .bind(decide.id)
        .bind(&decide.namespace)
        .fetch_optional(&mut *db)
        .await?;
    let Some(row) = waiting else {
        return Ok(WrittenVerdict::default());
    };
    let request = (decide.id, row.get(0), row.get(1));
    let ending = Ending::decided(decide.verdict, &decide.by, None);
    Ok(WrittenVerdict {
        is_decided: self::decide(connection, db, request, ending).await?,
        follows_for: Some(uid(&row, 2)),
    })
}

/// Ends requests whose time is over.
pub(super) async fn expire(
    connection: &mut Connection,
    db: &mut PgConnection,
) -> Result<Vec<ExpiredRequest>, sqlx::Error> {
    let due = sqlx::query(FIND_EXPIRED)
        .bind(connection.now())
        .bind(EXPIRE_LIMIT)
        .fetch_all(&mut *db)
        .await?;
    let mut expired = Vec::with_capacity(due.len());
    for row in due {
        let (id, connector) = (row.get(0), row.get(1));
        if end(connection, db, (id, connector), Ending::EXPIRED).await? {
            let connector = uid(&row, 2);
            expired.push(ExpiredRequest { connector, id });
        }
    }
    Ok(expired)
}

/// Deletes a grant of a namespace; how many there were.
pub(super) async fn delete_grant(
    db: &mut PgConnection,
    key: ObjectKey,
    namespace: &str,
) -> Result<u64, sqlx::Error> {
    delete(db, &[DELETE_GRANT], key, namespace).await
}

/// Deletes a request of a namespace, with what is to be said about it; how many there were.
pub(super) async fn delete_request(
    db: &mut PgConnection,
    key: ObjectKey,
    namespace: &str,
) -> Result<u64, sqlx::Error> {
    delete(db, &DELETE_REQUEST, key, namespace).await
}

async fn delete(
    db: &mut PgConnection,
    statements: &[&'static str],
    ObjectKey(id, other): ObjectKey,
    namespace: &str,
) -> Result<u64, sqlx::Error> {
    let mut deleted = 0;
    for statement in statements.iter().filter(|_| other == 0) {
        let done = sqlx::query(*statement)
            .bind(id)
            .bind(namespace)
            .execute(&mut *db)
            .await?;
        deleted = done.rows_affected();
    }
    Ok(deleted)
}

fn uid(row: &PgRow, column: usize) -> ConnectorUid {
    ConnectorUid::from(row.get::<&str, _>(column))
}
