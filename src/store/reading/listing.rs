//! Listings for the commands, page by page.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Columns, Dialect, Readers, Value, history, timestamp};
use crate::identity::{BotId, ConnectorRef, ConnectorUid};
use crate::store::read_along::READ;
use crate::store::{
    Backlog, DeadLetter, DeniedMessage, ListingQuery, Page, ReadAlongMessage, SessionSummary,
    TokenCounts,
};

pub(in crate::store) async fn connectors(
    readers: &impl Readers,
) -> Result<Vec<ConnectorRef>, sqlx::Error> {
    let statement = "SELECT uid, namespace, name FROM connector
         WHERE id IN (SELECT connector FROM lane UNION SELECT connector FROM dead_letter
           UNION SELECT connector FROM access_grant UNION SELECT connector FROM access_request
           UNION SELECT connector FROM outgoing_message UNION SELECT connector FROM met_chat UNION SELECT connector FROM moved_chat
           UNION SELECT connector FROM notice UNION SELECT connector FROM day_usage UNION SELECT connector FROM sign_in
           UNION SELECT connector FROM user_decision)";
    let found = readers.fetch(statement.into(), &[]).await?;
    let connectors = found.iter().map(|row| ConnectorRef {
        uid: ConnectorUid::from(row.text(0)),
        namespace: row.text(1).into(),
        name: row.text(2).into(),
    });
    Ok(connectors.collect())
}

pub(in crate::store) async fn backlog(readers: &impl Readers) -> Result<Vec<Backlog>, sqlx::Error> {
    let statement = "SELECT c.uid, c.namespace, c.name, l.bot, count(*), min(i.received_at)
         FROM inbox i JOIN lane l ON l.id = i.lane JOIN connector c ON c.id = l.connector
         GROUP BY c.id, l.bot";
    let found = readers.fetch(statement.into(), &[]).await?;
    let backlogs = found.iter().map(|row| {
        let (namespace, name) = (row.text(1), row.text(2));
        Backlog {
            connector: ConnectorUid::from(row.text(0)),
            name: (!name.is_empty()).then(|| Arc::from(format!("{namespace}/{name}"))),
            bot: BotId(row.number(3)),
            messages: u64::try_from(row.number(4)).unwrap_or(0),
            oldest: row.number_or_null(5).map(timestamp),
        }
    });
    Ok(backlogs.collect())
}

/// Lanes that hold nothing any more, and in which no message was handled since, looked for where nobody's write waits for it.
pub(in crate::store) async fn idle_lanes(
    readers: &impl Readers,
    handled_before: Timestamp,
    limit: i64,
) -> Result<Vec<i64>, sqlx::Error> {
    let statement = "SELECT id FROM lane WHERE owner IS NULL AND ready_at IS NULL AND open_decisions = 0
           AND NOT EXISTS (SELECT 1 FROM session s WHERE s.lane = lane.id)
           AND NOT EXISTS (SELECT 1 FROM user_decision d WHERE d.shown_lane = lane.id AND d.state = 0)
           AND NOT EXISTS (SELECT 1 FROM read_along r WHERE r.lane = lane.id) AND handled_at < $1 LIMIT $2";
    let handled_before = handled_before.as_millisecond();
    let found = readers
        .fetch(
            statement.into(),
            &[Value::Number(handled_before), Value::Number(limit)],
        )
        .await?;
    Ok(found.iter().map(|row| row.number(0)).collect())
}

/// What is kept of a lane that was not said to the bot, oldest first.
pub(in crate::store) async fn read_along(
    readers: &impl Readers,
    lane: i64,
) -> Result<Vec<ReadAlongMessage>, sqlx::Error> {
    let found = readers.fetch(READ.into(), &[Value::Number(lane)]).await?;
    let read = |body: &str| serde_json::from_str(body).map_err(|e| sqlx::Error::Decode(e.into()));
    found.iter().map(|row| read(row.text(0))).collect()
}

pub(in crate::store) async fn denied(
    readers: &impl Readers,
    listing: &ListingQuery,
) -> Result<Page<DeniedMessage>, sqlx::Error> {
    let found = page(readers, "id, message FROM denied", listing).await?;
    read_page(&found, listing, |row| {
        serde_json::from_str(row.text(1)).map_err(|e| sqlx::Error::Decode(e.into()))
    })
}

pub(in crate::store) async fn dead_letters(
    readers: &impl Readers,
    listing: &ListingQuery,
) -> Result<Page<DeadLetter>, sqlx::Error> {
    let what =
        "id, at, namespace, name, bot, chat, update_id, kind, attempts, reason FROM dead_letter";
    let found = page(readers, what, listing).await?;
    read_page(&found, listing, |row| {
        Ok(DeadLetter {
            id: row.number(0),
            time: row.time(1),
            namespace: row.text(2).to_owned(),
            name: row.text(3).to_owned(),
            bot: BotId(row.number(4)),
            chat: row.number(5),
            update_id: row.number(6),
            kind: row.text(7).to_owned(),
            attempts: row.count(8),
            reason: row.text(9).to_owned(),
        })
    })
}

/// Sessions have no number of their own: a page goes on after the lane of its last row, and a lane's sessions are never split.
pub(in crate::store) async fn sessions<R: Readers>(
    readers: &R,
    listing: &ListingQuery,
) -> Result<Page<SessionSummary>, sqlx::Error> {
    let statement = format!(
        "SELECT l.id, c.namespace, c.name, s.key, l.bot, l.chat, l.topic, s.began_at, s.last_at, s.number = l.session, s.exchanges,
           CASE WHEN $7 THEN {} END, s.input_tokens, s.output_tokens
         FROM lane l JOIN connector c ON c.id = l.connector JOIN session s ON s.lane = l.id
         WHERE l.id IN (
             SELECT l.id FROM lane l JOIN connector c ON c.id = l.connector
             WHERE l.id > $1 AND ($2 IS NULL OR c.namespace = $2) AND ($3 IS NULL OR c.name = $3) AND {OWNED}
               AND EXISTS (SELECT 1 FROM session s WHERE s.lane = l.id AND s.last_at >= $4)
             ORDER BY l.id LIMIT $5)
           AND s.last_at >= $4
         ORDER BY l.id, s.number",
        R::Dialect::EXCHANGES,
    );
    let mut values = listing_parameters(listing);
    values.push(Value::Flag(listing.texts));
    let found = readers.fetch(statement, &values).await?;
    let mut lanes: Vec<i64> = found.iter().map(|row| row.number(0)).collect();
    lanes.dedup();
    let next = (lanes.len() >= listing.limit as usize)
        .then(|| lanes.last().copied())
        .flatten();
    let rows = found.iter().map(|row| SessionSummary {
        namespace: row.text(1).to_owned(),
        name: row.text(2).to_owned(),
        session: row.text(3).to_owned(),
        bot: BotId(row.number(4)),
        chat: row.number(5),
        topic: row.number(6),
        began: row.time(7),
        last: row.time(8),
        current: row.flag(9),
        exchanges: row.number(10),
        tokens: TokenCounts {
            input: row.number(12),
            output: row.number(13),
        },
        history: listing.texts.then(|| history(row.text_or_null(11))),
    });
    let rows = rows.collect();
    Ok(Page { rows, next })
}

/// What a listing shows: of the connector with the uid `$6`, or of the one that has the name `$3` now, or everything.
const OWNED: &str = "CASE WHEN $6 IS NOT NULL THEN connector IN (SELECT id FROM connector WHERE uid = $6)
           WHEN $3 IS NOT NULL THEN connector IN (SELECT id FROM connector WHERE superseded = 0) ELSE true END";

/// The values of every listing's statement.
fn listing_parameters(listing: &ListingQuery) -> Vec<Value<'_>> {
    let since = listing.since.map(Timestamp::as_millisecond);
    vec![
        Value::Number(listing.after),
        Value::Text(listing.namespace.as_deref()),
        Value::Text(listing.name.as_deref()),
        Value::Number(since.unwrap_or(i64::MIN)),
        Value::Number(listing.limit.into()),
        Value::Text(listing.uid.as_deref()),
    ]
}

async fn page<R: Readers>(
    readers: &R,
    what: &str,
    listing: &ListingQuery,
) -> Result<Vec<R::Row>, sqlx::Error> {
    let statement = format!(
        "SELECT {what}
         WHERE id > $1 AND ($2 IS NULL OR namespace = $2) AND ($3 IS NULL OR name = $3) AND at >= $4 AND {OWNED}
         ORDER BY id LIMIT $5"
    );
    readers.fetch(statement, &listing_parameters(listing)).await
}

fn read_page<R: Columns, T>(
    found: &[R],
    listing: &ListingQuery,
    read: impl Fn(&R) -> Result<T, sqlx::Error>,
) -> Result<Page<T>, sqlx::Error> {
    let full = found.len() >= listing.limit as usize;
    Ok(Page {
        rows: found.iter().map(read).collect::<Result<_, _>>()?,
        next: found.last().filter(|_| full).map(|row| row.number(0)),
    })
}

/// The bytes of a file that waits in the outbox.
pub(in crate::store) async fn upload<R: Readers>(
    readers: &R,
    connector: i64,
    reply: i64,
    number: u32,
) -> Result<Option<bytes::Bytes>, sqlx::Error> {
    let statement =
        "SELECT content FROM upload WHERE reply = $1 AND number = $2 AND connector = $3";
    let values = [reply, i64::from(number), connector].map(Value::Number);
    let rows = readers.fetch(statement.to_owned(), &values).await?;
    Ok(rows
        .first()
        .map(|row| bytes::Bytes::copy_from_slice(row.bytes(0))))
}
