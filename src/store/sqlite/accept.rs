//! Intake: the identity, the lane and the message of each update that is new.

use std::collections::HashMap;

use rusqlite::{Connection as Db, OptionalExtension as _, named_params};

use super::connection::Connection;
use crate::store::requests::{Accept, StoreRequest};
use crate::store::statements::MOVE_CHAT;
use crate::store::{AcceptOutcome, StoreError};

/// How many messages wait per connector, by its number. Another process's doings are not in it until a connector looks full.
#[derive(Debug, Default)]
pub(super) struct BacklogCount(HashMap<i64, u64>);

impl BacklogCount {
    pub(super) fn load(db: &Db) -> rusqlite::Result<Self> {
        let mut counts = db.prepare(
            "SELECT l.connector, count(*) FROM inbox i JOIN lane l ON l.id = i.lane GROUP BY l.connector",
        )?;
        let counts = counts.query_map((), |row| {
            let count: i64 = row.get(1)?;
            Ok((row.get(0)?, u64::try_from(count).unwrap_or(0)))
        })?;
        counts.collect::<Result<_, _>>().map(Self)
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
pub(super) fn apply_accepts(
    connection: &mut Connection,
    db: &Db,
    requests: &mut [StoreRequest],
) -> rusqlite::Result<()> {
    let limit = connection.options.backlog_per_bot;
    let now = connection.now();
    let mut recounted = false;
    for request in requests {
        let StoreRequest::Accept(pending) = request else {
            continue;
        };
        let Accept {
            connector,
            bot,
            updates,
        } = &pending.request;
        let connector = connection.connectors.id(db, connector)?;
        if connection.backlog.of(connector) >= limit && !recounted {
            connection.backlog = BacklogCount::load(db)?;
            recounted = true;
        }
        if connection.backlog.of(connector) >= limit {
            let full = StoreError::BacklogFull(*bot);
            pending.resolve(Err(full));
            continue;
        }
        let mut seen = db.prepare_cached(
            "INSERT INTO seen (bot, update_id, at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
        )?;
        let mut lane_of =
            db.prepare_cached("SELECT id, ready_at IS NOT NULL FROM lane WHERE bot = ?1 AND chat = ?2 AND topic = ?3 AND connector = ?4")?;
        let mut wait = db.prepare_cached(
            "INSERT INTO lane (bot, chat, topic, connector, ready_at) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (connector, bot, chat, topic)
             DO UPDATE SET ready_at = coalesce(ready_at, excluded.ready_at)
             RETURNING id",
        )?;
        let mut make_ready =
            db.prepare_cached("UPDATE lane SET ready_at = ?2 WHERE id = ?1 AND ready_at > ?2")?;
        let mut inbox = db.prepare_cached(
            "INSERT INTO inbox (lane, update_id, date, received_at, body, sender) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        let mut newest =
            db.prepare_cached("SELECT coalesce(max(date), 0) FROM inbox WHERE lane = ?1")?;
        let mut new = 0;
        for update in updates {
            let route = &update.route;
            if seen.execute((bot.0, update.update_id, now))? == 0 {
                continue;
            }
            new += 1;
            if let Some(moved) = route.moved {
                // A `$1` is a name for SQLite, numbered by where it first stands.
                let chats =
                    named_params! {"$1": connector, "$2": bot.0, "$3": moved.from, "$4": moved.to};
                for statement in MOVE_CHAT {
                    db.execute(statement, chats)?;
                }
            }
            let lane = (bot.0, route.chat, route.topic, connector);
            let waits = lane_of
                .query_row(lane, |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let lane: i64 = match waits {
                // Something waits there already: nothing about the lane changes.
                Some((lane, true)) => lane,
                _ => wait.query_row((lane.0, lane.1, lane.2, lane.3, now), |row| row.get(0))?,
            };
            if route.may_interrupt {
                make_ready.execute((lane, now))?;
            }
            let date = match route.date {
                // After what waits there.
                ..=0 => newest.query_row([lane], |row| row.get(0))?,
                date => date,
            };
            let body = update.json.get();
            inbox.execute((lane, update.update_id, date, now, body, route.sender))?;
        }
        connection.backlog.add(connector, new as u64);
        let known = updates.len() - new;
        pending.resolve(Ok(AcceptOutcome { new, known }));
    }
    Ok(())
}
