//! Intake: identities, lanes and messages of a whole batch in four statements.

use std::collections::{HashMap, HashSet};

use sqlx::Row;
use sqlx::postgres::PgConnection;

use super::connection::{Connection, rows};
use crate::store::requests::{Accept, StoreRequest};
use crate::store::statements::MOVE_CHAT;
use crate::store::{AcceptOutcome, StoreError};

/// How many messages wait per connector, by its number. Another process's doings are not in it until a connector looks full.
#[derive(Debug, Default)]
pub(super) struct BacklogCount(HashMap<i64, u64>);

impl BacklogCount {
    pub(super) async fn load(db: &mut PgConnection) -> Result<Self, sqlx::Error> {
        let counts = sqlx::query(
            "SELECT l.connector, count(*) FROM inbox i JOIN lane l ON l.id = i.lane GROUP BY l.connector",
        )
        .fetch_all(db)
        .await?;
        Ok(Self(
            counts
                .into_iter()
                .map(|r| {
                    let messages = u64::try_from(r.get::<i64, _>(1)).unwrap_or(0);
                    (r.get(0), messages)
                })
                .collect(),
        ))
    }

    pub(super) fn add(&mut self, connector: i64, messages: u64) {
        *self.0.entry(connector).or_default() += messages;
    }

    pub(super) fn remove(&mut self, connector: i64, messages: u64) {
        if let Some(count) = self.0.get_mut(&connector) {
            *count = count.saturating_sub(messages);
            if *count == 0 {
                self.0.remove(&connector);
            }
        }
    }

    pub(super) fn of(&self, connector: i64) -> u64 {
        self.0.get(&connector).copied().unwrap_or(0)
    }
}

/// Does every `Accept` of the batch.
pub(super) async fn apply_accepts(
    connection: &mut Connection,
    db: &mut PgConnection,
    requests: &mut [StoreRequest],
) -> Result<(), sqlx::Error> {
    let limit = connection.options.backlog_per_bot;
    let mut recounted = false;
    let mut identities = HashSet::new();
    let mut admitted = Vec::new();
    for request in requests {
        let StoreRequest::Accept(pending) = request else {
            continue;
        };
        let Accept {
            connector,
            bot,
            updates,
        } = &pending.request;
        let connector = connection.connectors.id(db, connector).await?;
        if connection.backlog.of(connector) >= limit && !recounted {
            connection.backlog = BacklogCount::load(db).await?;
            recounted = true;
        }
        if connection.backlog.of(connector) >= limit {
            let full = StoreError::BacklogFull(*bot);
            pending.resolve(Err(full));
            continue;
        }
        identities.extend(updates.iter().map(|u| (bot.0, u.update_id)));
        admitted.push((connector, pending));
    }
    if admitted.is_empty() {
        return Ok(());
    }
    let now = connection.now();
    let mut identities = insert_identities(db, identities, now).await?;
    let mut new_lanes = HashSet::new();
    let mut newest_dates: HashMap<LaneColumns, i64> = HashMap::new();
    let mut lanes_to_ready = Vec::new();
    let mut new_messages = Vec::with_capacity(identities.len());
    // What each is answered, once nothing borrows from it.
    let mut accepted = Vec::with_capacity(admitted.len());
    for (connector, pending) in &admitted {
        let (connector, Accept { bot, updates, .. }) = (*connector, &pending.request);
        let mut new = 0;
        for update in updates {
            let route = &update.route;
            if !identities.remove(&(bot.0, update.update_id)) {
                continue;
            }
            new += 1;
            if let Some(moved) = route.moved {
                for statement in MOVE_CHAT {
                    sqlx::query(statement)
                        .bind(connector)
                        .bind(bot.0)
                        .bind(moved.from)
                        .bind(moved.to)
                        .execute(&mut *db)
                        .await?;
                }
            }
            new_lanes.insert((connector, bot.0, route.chat, route.topic));
            if route.may_interrupt {
                lanes_to_ready.push((connector, bot.0, route.chat, route.topic));
            }
            let lane = (connector, bot.0, route.chat, route.topic);
            let newest = newest_dates.entry(lane).or_insert(0);
            // Of what comes with it in this batch it is known here; below zero, since it is no date of its own.
            let date = match route.date {
                ..=0 => -*newest,
                date => date,
            };
            *newest = route.date.max(*newest);
            new_messages.push((
                connector,
                bot.0,
                route.chat,
                route.topic,
                update.update_id,
                date,
                update.json.get(),
                route.sender,
            ));
        }
        connection.backlog.add(connector, new as u64);
        let known = updates.len() - new;
        accepted.push(AcceptOutcome { new, known });
    }
    store_messages(db, now, new_lanes, &lanes_to_ready, &new_messages).await?;
    for ((_, pending), accepted) in admitted.into_iter().zip(accepted) {
        pending.resolve(Ok(accepted));
    }
    Ok(())
}

/// A lane: connector, bot, chat, topic.
type LaneColumns = (i64, i64, i64, i64);
/// A message: its lane, `update_id`, date, body and sender.
type Message<'a> = (i64, i64, i64, i64, i64, i64, &'a str, i64);

/// Enters lanes and messages that are new.
async fn store_messages(
    db: &mut PgConnection,
    now: i64,
    new_lanes: HashSet<LaneColumns>,
    lanes_to_ready: &[LaneColumns],
    new_messages: &[Message<'_>],
) -> Result<(), sqlx::Error> {
    if new_messages.is_empty() {
        return Ok(());
    }
    let mut new_lanes: Vec<_> = new_lanes.into_iter().collect();
    new_lanes.sort_unstable();
    sqlx::query(
        "INSERT INTO lane (connector, bot, chat, topic, ready_at)
         SELECT (value->>0)::bigint, (value->>1)::bigint, (value->>2)::bigint, (value->>3)::bigint, $2 FROM json_array_elements($1::json) j(value) WHERE true
         ON CONFLICT (connector, bot, chat, topic)
         DO UPDATE SET ready_at = coalesce(lane.ready_at, excluded.ready_at)",
    )
    .bind(rows(&new_lanes))
    .bind(now)
    .execute(&mut *db)
    .await?;
    if !lanes_to_ready.is_empty() {
        // Their rows are ours since the statement above.
        sqlx::query(
            "UPDATE lane SET ready_at = $2 FROM json_array_elements($1::json) j(value)
             WHERE connector = (value->>0)::bigint AND bot = (value->>1)::bigint AND chat = (value->>2)::bigint
               AND topic = (value->>3)::bigint AND ready_at > $2",
        )
        .bind(rows(lanes_to_ready))
        .bind(now)
        .execute(&mut *db)
        .await?;
    }
    // Without a date: after what waits there.
    sqlx::query(
        "INSERT INTO inbox (lane, update_id, date, received_at, body, sender)
         SELECT l.id, (j.value->>4)::bigint, CASE WHEN (j.value->>5)::bigint > 0 THEN (j.value->>5)::bigint
           ELSE greatest(-(j.value->>5)::bigint, (SELECT max(i.date) FROM inbox i WHERE i.lane = l.id)) END, $2, j.value->>6, (j.value->>7)::bigint
         FROM json_array_elements($1::json) j(value) JOIN lane l
         ON l.connector = (j.value->>0)::bigint AND l.bot = (j.value->>1)::bigint AND l.chat = (j.value->>2)::bigint
           AND l.topic = (j.value->>3)::bigint",
    )
    .bind(rows(new_messages))
    .bind(now)
    .execute(db)
    .await?;
    Ok(())
}

/// Enters identities, in one order everywhere so that two processes never wait for each other, and says which were new.
async fn insert_identities(
    db: &mut PgConnection,
    identities: HashSet<(i64, i64)>,
    now: i64,
) -> Result<HashSet<(i64, i64)>, sqlx::Error> {
    let mut identities: Vec<_> = identities.into_iter().collect();
    identities.sort_unstable();
    let new: Vec<(i64, i64)> = sqlx::query_as(
        "INSERT INTO seen (bot, update_id, at)
         SELECT (value->>0)::bigint, (value->>1)::bigint, $2 FROM json_array_elements($1::json) j(value)
         ON CONFLICT DO NOTHING RETURNING bot, update_id",
    )
    .bind(rows(&identities))
    .bind(now)
    .fetch_all(db)
    .await?;
    Ok(new.into_iter().collect())
}
