//! When chats were last told that they are denied, or their ids: read for a whole batch, and written back once.

use std::collections::HashMap;

use sqlx::Row;
use sqlx::postgres::PgConnection;

use super::connection::rows;
use super::write::run;
use crate::store::requests::{ChangeLane, Pending};
use crate::store::{Change, Notice, WriteOutcome};

/// When the chats of this batch were last told that they are denied.
#[derive(Default)]
pub(super) struct Notices {
    chat_of: HashMap<i64, (i64, i64)>,
    at: HashMap<(i64, i64, i64), i64>,
    new: Vec<(i64, i64, i64)>,
}

impl Notices {
    pub(super) async fn load(
        db: &mut PgConnection,
        writes: &[&mut Pending<ChangeLane, WriteOutcome>],
    ) -> Result<Self, sqlx::Error> {
        let lanes: Vec<i64> = writes
            .iter()
            .map(|pending| &pending.request)
            .filter(|w| {
                w.write.changes.iter().any(|c| {
                    matches!(
                        c,
                        Change::Reply {
                            notice: Some(_),
                            ..
                        }
                    )
                })
            })
            .map(|w| w.write.claim.lane)
            .collect();
        let mut notices = Self::default();
        if lanes.is_empty() {
            return Ok(notices);
        }
        let found = sqlx::query(
            "SELECT l.id, l.connector, l.chat, n.at, n.kind FROM json_array_elements($1::json) j(value) JOIN lane l ON l.id = j.value::text::bigint
             LEFT JOIN notice n ON n.connector = l.connector AND n.chat = l.chat",
        )
        .bind(rows(&lanes))
        .fetch_all(db)
        .await?;
        for row in found {
            let (connector, chat) = (row.get(1), row.get(2));
            notices.chat_of.insert(row.get(0), (connector, chat));
            if let (Some(at), Some(kind)) = (row.get(3), row.get(4)) {
                notices.at.insert((connector, chat, kind), at);
            }
        }
        Ok(notices)
    }

    /// Whether the chat had none since; then it has one now.
    pub(super) fn record(&mut self, lane: i64, notice: Notice, now: i64) -> bool {
        let Some((connector, chat)) = self.chat_of.get(&lane).copied() else {
            return false;
        };
        let since = notice.since.as_millisecond();
        let key = (connector, chat, notice.kind.code());
        // A notice of the future is one of a clock that has stepped back.
        if self
            .at
            .get(&key)
            .is_some_and(|at| *at > since && *at <= now)
        {
            return false;
        }
        self.at.insert(key, now);
        self.new.push(key);
        true
    }

    pub(super) async fn save(&self, db: &mut PgConnection, now: i64) -> Result<(), sqlx::Error> {
        run(
            db,
            "INSERT INTO notice (connector, chat, kind, at) SELECT (value->>0)::bigint, (value->>1)::bigint, (value->>2)::bigint, $2 FROM json_array_elements($1::json) j(value)
             ON CONFLICT (connector, chat, kind) DO UPDATE SET at = excluded.at",
            &self.new,
            now,
        )
        .await
        .map(drop)
    }
}
