//! Claims: which lanes are this process's, and what waits in them.

use std::collections::HashMap;

use sqlx::Row;
use sqlx::postgres::PgConnection;

use super::connection::{Connection, rows};
use crate::identity::{BotId, ConnectorUid};
use crate::store::reading::{count, history, timestamp};
use crate::store::requests::StoreRequest;
use crate::store::{
    Claim, ClaimOutcome, ClaimRequest, ClaimedLane, LaneKey, Session, TokenCounts, WaitingMessage,
    WaitingPart,
};

/// Messages that a claim brings along per lane; the rest come with the next claim.
const MESSAGES_PER_CLAIM: i64 = 16;

/// Does every `Claim` of the batch.
pub(super) async fn apply_claims(
    connection: &mut Connection,
    db: &mut PgConnection,
    requests: &mut [StoreRequest],
) -> Result<(), sqlx::Error> {
    for request in requests {
        if let StoreRequest::Claim(pending) = request {
            let claimed = claim(connection, db, &pending.request).await?;
            pending.resolve(Ok(claimed));
        }
    }
    Ok(())
}

async fn claim(
    connection: &mut Connection,
    db: &mut PgConnection,
    claim_requests: &[ClaimRequest],
) -> Result<ClaimOutcome, sqlx::Error> {
    let now = connection.now();
    let lease = i64::try_from(connection.options.lease.as_millis()).unwrap_or(i64::MAX / 2);
    let owner = connection.claimant.register(db, lease).await?;
    let mut claimed = ClaimOutcome::default();
    let mut whose: HashMap<i64, &ConnectorUid> = HashMap::new();
    let mut lanes = Vec::new();
    for claim_request in claim_requests {
        let connector = connection
            .connectors
            .id_of_named(db, &claim_request.connector)
            .await?;
        let taken = sqlx::query(
            "UPDATE lane SET owner = $1, erased = 0 WHERE id IN (
               SELECT id FROM lane WHERE connector = $2 AND bot = $3 AND owner IS NULL AND ready_at <= $4
               ORDER BY ready_at LIMIT $5 FOR UPDATE SKIP LOCKED)
             RETURNING id",
        )
        .bind(owner)
        .bind(connector)
        .bind(claim_request.bot.0)
        .bind(now)
        .bind(i64::try_from(claim_request.lanes).unwrap_or(i64::MAX))
        .fetch_all(&mut *db)
        .await?;
        if taken.len() < claim_request.lanes {
            claimed.drained.push(claim_request.connector.uid.clone());
            let next: Option<i64> = sqlx::query_scalar(
                "SELECT min(ready_at) FROM lane
                 WHERE connector = $1 AND bot = $2 AND owner IS NULL AND ready_at IS NOT NULL",
            )
            .bind(connector)
            .bind(claim_request.bot.0)
            .fetch_one(&mut *db)
            .await?;
            if let Some(next) = next {
                claimed
                    .next_ready
                    .push((claim_request.connector.uid.clone(), timestamp(next)));
            }
        }
        for row in taken {
            let lane: i64 = row.get(0);
            whose.insert(lane, &claim_request.connector.uid);
            lanes.push((lane, claim_request.history));
        }
    }
    if lanes.is_empty() {
        return Ok(claimed);
    }
    let lanes = rows(&lanes);
    let mut messages = messages(db, &lanes).await?;
    let mut parts = parts(db, &lanes).await?;
    let described = sqlx::query(
        "SELECT l.id, l.bot, l.chat, l.topic, l.sessions, s.number, s.key, s.began_at, s.state, s.exchanges,
           CASE WHEN (j.value->>1)::bigint > 0 AND s.number IS NOT NULL THEN
             (SELECT json_agg(json_build_array(asked, answered))::text FROM
               (SELECT asked, answered FROM exchange e
                WHERE e.lane = l.id AND e.session = s.number AND e.number > s.exchanges - ((j.value->>1)::bigint)
                ORDER BY e.number DESC) newest)
           END, l.connector, l.handled, m.moved_from, s.input_tokens, s.output_tokens, l.open_decisions
         FROM json_array_elements($1::json) j(value) JOIN lane l ON l.id = (j.value->>0)::bigint
         LEFT JOIN session s ON s.lane = l.id AND s.number = l.session
         LEFT JOIN moved_chat m ON m.connector = l.connector AND m.bot = l.bot AND m.chat = l.chat",
    )
    .bind(&lanes)
    .fetch_all(&mut *db)
    .await?;
    for row in described {
        let lane: i64 = row.get(0);
        let bot = BotId(row.get(1));
        let session = row.get::<Option<i64>, _>(5).map(|number| Session {
            number,
            key: row.get(6),
            began_at: timestamp(row.get(7)),
            state: row.get(8),
            exchanges: row.get(9),
            tokens: TokenCounts {
                input: row.get(14),
                output: row.get(15),
            },
            history: history(row.get(10)),
        });
        claimed.lanes.push(ClaimedLane {
            claim: Claim {
                lane,
                owner,
                connector: row.get(11),
            },
            key: LaneKey {
                bot,
                chat: row.get(2),
                topic: row.get(3),
            },
            connector: whose[&lane].clone(),
            parts: parts.remove(&lane).unwrap_or_default(),
            messages: messages.remove(&lane).unwrap_or_default(),
            session,
            sessions: row.get(4),
            handled: row.get(12),
            moved_from: row.get(13),
            has_open_decision: row.get::<i64, _>(16) > 0,
        });
    }
    Ok(claimed)
}

/// The oldest messages of each lane, by a look at each lane: with `id IN (SELECT …)` instead, `PostgreSQL` would look for each message of the
/// inbox whether it is among them.
async fn messages(
    db: &mut PgConnection,
    lanes: &str,
) -> Result<HashMap<i64, Vec<WaitingMessage>>, sqlx::Error> {
    let found = sqlx::query(
        "SELECT i.lane, i.id, i.update_id, i.body, i.attempts, i.received_at, i.crashes
         FROM json_array_elements($1::json) j(value) CROSS JOIN LATERAL
           (SELECT * FROM inbox WHERE lane = (j.value->>0)::bigint ORDER BY date, update_id LIMIT $2) i
         ORDER BY i.lane, i.date, i.update_id",
    )
    .bind(lanes)
    .bind(MESSAGES_PER_CLAIM)
    .fetch_all(db)
    .await?;
    let mut by_lane: HashMap<i64, Vec<WaitingMessage>> = HashMap::new();
    for row in found {
        by_lane.entry(row.get(0)).or_default().push(WaitingMessage {
            id: row.get(1),
            update_id: row.get(2),
            json: row.get(3),
            attempts: count(row.get(4)),
            received_at: timestamp(row.get(5)),
            crashes: count(row.get(6)),
        });
    }
    Ok(by_lane)
}

async fn parts(
    db: &mut PgConnection,
    lanes: &str,
) -> Result<HashMap<i64, Vec<WaitingPart>>, sqlx::Error> {
    let found = sqlx::query(
        "SELECT o.lane, o.reply, o.number, o.part, o.attempts, o.ambiguous, o.stored_at
         FROM json_array_elements($1::json) j(value) JOIN outbox o ON o.lane = (j.value->>0)::bigint
         ORDER BY o.lane, o.stored_at, o.reply, o.number",
    )
    .bind(lanes)
    .fetch_all(db)
    .await?;
    let mut by_lane: HashMap<i64, Vec<WaitingPart>> = HashMap::new();
    for row in found {
        let part = serde_json::from_str(row.get(3)).map_err(|e| sqlx::Error::Decode(e.into()))?;
        by_lane.entry(row.get(0)).or_default().push(WaitingPart {
            reply: row.get(1),
            number: count(row.get(2)),
            part,
            attempts: count(row.get(4)),
            ambiguous: row.get(5),
            stored_at: timestamp(row.get(6)),
        });
    }
    Ok(by_lane)
}
