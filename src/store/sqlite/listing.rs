//! Listings for the commands, page by page, on connections that only read.

use std::sync::Arc;

use sqlx::Row;
use sqlx::sqlite::{SqlitePool, SqliteRow};

use super::connection::timestamp;
use crate::assistant::{Role, Turn};
use crate::identity::{BotId, ConnectorRef, ConnectorUid};
use crate::store::{Backlog, DeadLetter, DeniedMessage, Listing, Page, SessionSummary};

pub(super) async fn connectors(readers: &SqlitePool) -> Result<Vec<ConnectorRef>, sqlx::Error> {
    let found = sqlx::query(
        "SELECT uid, namespace, name FROM connector
         WHERE id IN (SELECT connector FROM lane UNION SELECT connector FROM dead_letter)",
    )
    .fetch_all(readers)
    .await?;
    Ok(found
        .into_iter()
        .map(|row| ConnectorRef {
            uid: ConnectorUid::from(row.get::<&str, _>(0)),
            namespace: row.get::<&str, _>(1).into(),
            name: row.get::<&str, _>(2).into(),
        })
        .collect())
}

pub(super) async fn backlog(readers: &SqlitePool) -> Result<Vec<Backlog>, sqlx::Error> {
    let found = sqlx::query(
        "SELECT c.uid, c.namespace, c.name, l.bot, count(*), min(i.received_at)
         FROM inbox i JOIN lane l ON l.id = i.lane JOIN connector c ON c.id = l.connector
         GROUP BY l.connector, l.bot",
    )
    .fetch_all(readers)
    .await?;
    Ok(found
        .into_iter()
        .map(|row| {
            let (namespace, name): (&str, &str) = (row.get(1), row.get(2));
            Backlog {
                connector: ConnectorUid::from(row.get::<&str, _>(0)),
                name: (!name.is_empty()).then(|| Arc::from(format!("{namespace}/{name}"))),
                bot: BotId(row.get(3)),
                messages: u64::try_from(row.get::<i64, _>(4)).unwrap_or(0),
                oldest: row.get::<Option<i64>, _>(5).map(timestamp),
            }
        })
        .collect())
}

/// Lanes that hold nothing any more, looked for where nobody's write waits for it.
pub(super) async fn idle_lanes(readers: &SqlitePool, limit: i64) -> Result<Vec<i64>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT id FROM lane WHERE owner IS NULL AND ready_at IS NULL
           AND NOT EXISTS (SELECT 1 FROM session s WHERE s.lane = lane.id) LIMIT ?1",
    )
    .bind(limit)
    .fetch_all(readers)
    .await
}

pub(super) async fn denied(
    readers: &SqlitePool,
    listing: &Listing,
) -> Result<Page<DeniedMessage>, sqlx::Error> {
    let found = page(
        readers,
        "SELECT id, message FROM denied
         WHERE id > ?1 AND (?2 IS NULL OR namespace = ?2) AND (?3 IS NULL OR name = ?3) AND at >= ?4
         ORDER BY id LIMIT ?5",
        listing,
    )
    .await?;
    read_page(&found, listing, |row| {
        serde_json::from_str(row.get(1)).map_err(|e| sqlx::Error::Decode(e.into()))
    })
}

pub(super) async fn dead_letters(
    readers: &SqlitePool,
    listing: &Listing,
) -> Result<Page<DeadLetter>, sqlx::Error> {
    let found = page(
        readers,
        "SELECT id, at, namespace, name, bot, chat, update_id, kind, attempts, reason FROM dead_letter
         WHERE id > ?1 AND (?2 IS NULL OR namespace = ?2) AND (?3 IS NULL OR name = ?3) AND at >= ?4
         ORDER BY id LIMIT ?5",
        listing,
    )
    .await?;
    read_page(&found, listing, |row| {
        Ok(DeadLetter {
            id: row.get(0),
            time: timestamp(row.get(1)),
            namespace: row.get(2),
            name: row.get(3),
            bot: BotId(row.get(4)),
            chat: row.get(5),
            update_id: row.get(6),
            kind: row.get(7),
            attempts: row.get(8),
            reason: row.get(9),
        })
    })
}

/// Sessions have no number of their own: a page goes on after the lane of its last row, and a lane's sessions are never split.
pub(super) async fn sessions(
    readers: &SqlitePool,
    listing: &Listing,
) -> Result<Page<SessionSummary>, sqlx::Error> {
    let found = sqlx::query(
        "SELECT l.id, c.namespace, c.name, s.key, l.bot, l.chat, l.topic, s.began_at, s.last_at, s.number = l.session, s.exchanges,
           CASE WHEN ?6 THEN (SELECT json_group_array(json_array(asked, answered)) FROM
             (SELECT asked, answered FROM exchange e WHERE e.lane = s.lane AND e.session = s.number ORDER BY e.number DESC))
           END
         FROM lane l JOIN connector c ON c.id = l.connector JOIN session s ON s.lane = l.id
         WHERE l.id IN (
             SELECT l.id FROM lane l JOIN connector c ON c.id = l.connector
             WHERE l.id > ?1 AND (?2 IS NULL OR c.namespace = ?2) AND (?3 IS NULL OR c.name = ?3)
               AND EXISTS (SELECT 1 FROM session s WHERE s.lane = l.id AND s.last_at >= ?4)
             ORDER BY l.id LIMIT ?5)
           AND s.last_at >= ?4
         ORDER BY l.id, s.number",
    )
    .bind(listing.after)
    .bind(&listing.namespace)
    .bind(&listing.name)
    .bind(listing.since.map_or(i64::MIN, jiff::Timestamp::as_millisecond))
    .bind(listing.limit)
    .bind(listing.texts)
    .fetch_all(readers)
    .await?;
    let mut lanes: Vec<i64> = found.iter().map(|r| r.get(0)).collect();
    lanes.dedup();
    let next = (lanes.len() >= listing.limit as usize)
        .then(|| lanes.last().copied())
        .flatten();
    let rows = found
        .iter()
        .map(|row| SessionSummary {
            namespace: row.get(1),
            name: row.get(2),
            session: row.get(3),
            bot: BotId(row.get(4)),
            chat: row.get(5),
            topic: row.get(6),
            began: timestamp(row.get(7)),
            last: timestamp(row.get(8)),
            current: row.get(9),
            exchanges: row.get(10),
            history: listing.texts.then(|| history(row.get(11))),
        })
        .collect();
    Ok(Page { rows, next })
}

async fn page(
    readers: &SqlitePool,
    statement: &'static str,
    listing: &Listing,
) -> Result<Vec<SqliteRow>, sqlx::Error> {
    sqlx::query(statement)
        .bind(listing.after)
        .bind(&listing.namespace)
        .bind(&listing.name)
        .bind(
            listing
                .since
                .map_or(i64::MIN, jiff::Timestamp::as_millisecond),
        )
        .bind(listing.limit)
        .fetch_all(readers)
        .await
}

fn read_page<T>(
    found: &[SqliteRow],
    listing: &Listing,
    read: impl Fn(&SqliteRow) -> Result<T, sqlx::Error>,
) -> Result<Page<T>, sqlx::Error> {
    let full = found.len() >= listing.limit as usize;
    Ok(Page {
        rows: found.iter().map(read).collect::<Result<_, _>>()?,
        next: found.last().filter(|_| full).map(|row| row.get(0)),
    })
}

/// Exchanges come newest first; they are told oldest first.
fn history(newest_first: Option<String>) -> Vec<Turn> {
    let exchanges: Vec<(String, String)> = newest_first
        .and_then(|json| serde_json::from_str(&json).ok())
        .unwrap_or_default();
    let turns = exchanges.into_iter().rev().map(|(asked, answered)| {
        [(Role::User, asked), (Role::Assistant, answered)].map(|(role, text)| Turn { role, text })
    });
    turns.flatten().collect()
}
