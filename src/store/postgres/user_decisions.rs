//! Decisions of users: opened with the reply that asks, taken once.

use sqlx::Row;
use sqlx::postgres::PgConnection;

use super::connection::{Connection, rows};
use crate::identity::ConnectorUid;
use crate::store::user_decisions::{COUNT_OPEN, EXPIRE_LIMIT, FOLLOW_UP, WAKE_ASKING_LANE};
use crate::store::{
    Change, Claim, DecidedHow, DecisionKind, ExpiredDecision, LaneWrite, NewUserDecision,
    TakenDecision,
};

/// What the changes of a write did to decisions.
#[derive(Debug, Default)]
pub(super) struct DecisionsWritten {
    /// A decision was taken that was open.
    pub(super) taken: bool,
    /// Messages that follow from decisions.
    pub(super) follow_ups: u64,
}

/// Does what a write says about decisions. Decisions are rare: one statement after the other.
pub(super) async fn apply_write(
    db: &mut PgConnection,
    write: &LaneWrite,
    now: i64,
) -> Result<DecisionsWritten, sqlx::Error> {
    let mut written = DecisionsWritten::default();
    let connector = write.claim.connector;
    for change in &write.changes {
        match change {
            Change::OpenDecision(new) => open(db, write.claim, new, now).await?,
            Change::TakeDecision { id, taken } => {
                let follow_ups = take(db, connector, (id, taken), now).await?;
                written.taken |= follow_ups.is_some();
                written.follow_ups += follow_ups.unwrap_or(0);
            }
            Change::DecisionDelivered { id } => deliver(db, connector, id).await?,
            Change::DecisionShown { reply, message_id } => {
                set_message(db, write.claim.lane, *reply, *message_id).await?;
            }
            _ => {}
        }
    }
    Ok(written)
}

async fn open(
    db: &mut PgConnection,
    claim: Claim,
    new: &NewUserDecision,
    now: i64,
) -> Result<(), sqlx::Error> {
    let shown_lane = match &new.shown_in {
        None => claim.lane,
        Some(shown) => sqlx::query_scalar(
            "INSERT INTO lane (bot, chat, topic, connector, ready_at)
             SELECT bot, $2, $3, connector, $4 FROM lane WHERE id = $1
             ON CONFLICT (connector, bot, chat, topic) DO UPDATE SET ready_at = coalesce(lane.ready_at, excluded.ready_at)
             RETURNING id",
        )
        .bind(claim.lane)
        .bind(shown.chat)
        .bind(shown.topic)
        .bind(now)
        .fetch_optional(&mut *db)
        .await?
        .unwrap_or(claim.lane),
    };
    sqlx::query(
        "INSERT INTO user_decision (id, connector, lane, shown_lane, reply, session, kind, opened_at, expires_at, update_id, follow_up, details, sender)
         SELECT $1, $2, $3, $4, id, $6, $7, $8, $9, update_id, $10, $11, sender FROM inbox WHERE id = $5
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(&new.id)
    .bind(claim.connector)
    .bind(claim.lane)
    .bind(shown_lane)
    .bind(new.message)
    .bind(new.session)
    .bind(new.kind.code())
    .bind(now)
    .bind(new.expires_at.as_millisecond())
    .bind(&new.follow_up)
    .bind(serde_json::to_string(&new.details).expect("strings always serialize"))
    .execute(&mut *db)
    .await?;
    if let Some(shown) = &new.shown_in {
        let json = |part| serde_json::to_string(part).expect("strings always serialize");
        let parts: Vec<_> = (0_u32..)
            .zip(&shown.parts)
            .map(|(number, part)| (shown_lane, new.message, number, json(part)))
            .collect();
        sqlx::query(super::write::STORE_PARTS)
            .bind(rows(&parts))
            .bind(now)
            .execute(&mut *db)
            .await?;
    }
    count_open(db, &new.id).await
}

/// Takes a decision if it is open; then how many messages follow from it. One that is superseded has no consequence.
async fn take(
    db: &mut PgConnection,
    connector: i64,
    (id, taken): (&str, &TakenDecision),
    now: i64,
) -> Result<Option<u64>, sqlx::Error> {
    let was_open = sqlx::query(
        "UPDATE user_decision SET state = 1, taken_at = $3, taken = $4 WHERE id = $1 AND connector = $2 AND state = 0",
    )
    .bind(id)
    .bind(connector)
    .bind(now)
    .bind(serde_json::to_string(taken).expect("strings always serialize"))
    .execute(&mut *db)
    .await?;
    if was_open.rows_affected() == 0 {
        return Ok(None);
    }
    let mut follow_ups = 0;
    if taken.how != DecidedHow::Superseded {
        let added = sqlx::query(FOLLOW_UP)
            .bind(now.div_euclid(1000))
            .bind(now)
            .bind(id)
            .execute(&mut *db)
            .await?;
        follow_ups = added.rows_affected();
        sqlx::query(WAKE_ASKING_LANE)
            .bind(now)
            .bind(id)
            .execute(&mut *db)
            .await?;
    }
    count_open(db, id).await?;
    Ok(Some(follow_ups))
}

async fn count_open(db: &mut PgConnection, id: &str) -> Result<(), sqlx::Error> {
    sqlx::query(COUNT_OPEN).bind(id).execute(db).await.map(drop)
}

async fn deliver(db: &mut PgConnection, connector: i64, id: &str) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE user_decision SET state = 2 WHERE id = $1 AND connector = $2 AND state = 1")
        .bind(id)
        .bind(connector)
        .execute(db)
        .await
        .map(drop)
}

async fn set_message(
    db: &mut PgConnection,
    lane: i64,
    reply: i64,
    message_id: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE user_decision SET message_id = $3 WHERE shown_lane = $1 AND reply = $2 AND state = 0",
    )
    .bind(lane)
    .bind(reply)
    .bind(message_id)
    .execute(db)
    .await
    .map(drop)
}

/// Ends decisions whose time is over: approvals as refused, choices without consequence.
pub(super) async fn expire(
    connection: &mut Connection,
    db: &mut PgConnection,
) -> Result<Vec<ExpiredDecision>, sqlx::Error> {
    let now = connection.now();
    let due = sqlx::query(
        "SELECT d.id, d.kind, d.connector, c.uid FROM user_decision d JOIN connector c ON c.id = d.connector
         WHERE d.state = 0 AND d.expires_at <= $1 ORDER BY d.expires_at LIMIT $2 FOR UPDATE OF d SKIP LOCKED",
    )
    .bind(now)
    .bind(EXPIRE_LIMIT)
    .fetch_all(&mut *db)
    .await?;
    let mut expired = Vec::with_capacity(due.len());
    for row in due {
        let decision = ExpiredDecision {
            connector: ConnectorUid::from(row.get::<&str, _>(3)),
            id: row.get(0),
            kind: DecisionKind::from_code(row.get(1)),
        };
        let (connector, taken) = (row.get(2), TakenDecision::expired(decision.kind));
        let follow_ups = take(db, connector, (&decision.id, &taken), now).await?;
        connection
            .backlog
            .add(connector, follow_ups.unwrap_or_default());
        expired.push(decision);
    }
    Ok(expired)
}
