//! When chats were last told that they are denied, or their ids, and users that they get no more answers today: read for a whole batch, and written back once.

use std::collections::HashMap;

use sqlx::Row;
use sqlx::postgres::PgConnection;

use super::connection::rows;
use super::write::run;
use crate::store::requests::{ChangeLane, Pending};
use crate::store::{Change, Notice, WriteOutcome};

/// A lane, and who is told there: a user by their id, or its chat.
type NoticeKey = (i64, Option<i64>);

/// When the chats and users of this batch were last told.
#[derive(Default)]
pub(super) struct Notices {
    /// Connector, and chat or user.
    row_of: HashMap<NoticeKey, (i64, i64)>,
    at: HashMap<(i64, i64, i64), i64>,
    new: Vec<(i64, i64, i64)>,
}

impl Notices {
    pub(super) async fn load(
        db: &mut PgConnection,
        writes: &[&mut Pending<ChangeLane, WriteOutcome>],
    ) -> Result<Self, sqlx::Error> {
        let mut keys: Vec<NoticeKey> = Vec::new();
        for pending in writes {
            let write = &pending.request.write;
            for change in &write.changes {
                if let Change::Reply {
                    notice: Some(notice),
                    ..
                } = change
                {
                    keys.push((write.claim.lane, notice.kind.user()));
                }
            }
        }
        let mut notices = Self::default();
        if keys.is_empty() {
            return Ok(notices);
        }
        let of_users: Vec<i64> = keys
            .iter()
            .filter(|(_, user)| user.is_some())
            .map(|(lane, _)| *lane)
            .collect();
        // A user writes in several chats, and so is told by several processes: one after the other.
        run(
            db,
            "SELECT id FROM connector WHERE $2 IS NOT NULL AND id IN
               (SELECT connector FROM lane WHERE id IN (SELECT value::text::bigint FROM json_array_elements($1::json) j(value)))
             ORDER BY id FOR NO KEY UPDATE",
            &of_users,
            0,
        )
        .await?;
        let found = sqlx::query(
            "SELECT l.id, (j.value->>1)::bigint, l.connector, coalesce((j.value->>1)::bigint, l.chat), n.at, n.kind
             FROM json_array_elements($1::json) j(value) JOIN lane l ON l.id = (j.value->>0)::bigint
             LEFT JOIN notice n ON n.connector = l.connector AND n.chat = coalesce((j.value->>1)::bigint, l.chat)",
        )
        .bind(rows(&keys))
        .fetch_all(db)
        .await?;
        for row in found {
            let (connector, chat) = (row.get(2), row.get(3));
            let key = (row.get(0), row.get(1));
            notices.row_of.insert(key, (connector, chat));
            if let (Some(at), Some(kind)) = (row.get(4), row.get(5)) {
                notices.at.insert((connector, chat, kind), at);
            }
        }
        Ok(notices)
    }

    /// Whether the chat or the user had none since; then it has one now.
    pub(super) fn record(&mut self, lane: i64, notice: Notice, now: i64) -> bool {
        let Some((connector, chat)) = self.row_of.get(&(lane, notice.kind.user())).copied() else {
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
