//! The one connection that writes: a batch per transaction, and a new connection after any failure, so that a disk that
//! was full or read-only heals by itself.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Row};

use super::accept::{self, BacklogCount};
use super::claimant::Claimant;
use super::{claim, housekeeping, write};
use crate::identity::{ConnectorRef, ConnectorUid};
use crate::store::group_commit::{Backend, Op, Replies, Reply};
use crate::store::{StoreError, StoreOptions};

/// The writing connection with what it remembers between batches.
pub(super) struct Connection {
    path: PathBuf,
    connect: SqliteConnectOptions,
    open: Option<SqliteConnection>,
    /// `PRAGMA synchronous` as it is set: FULL, or NORMAL for batches whose loss loses nothing.
    durable: bool,
    pub(super) options: StoreOptions,
    pub(super) backlog: BacklogCount,
    pub(super) connectors: Connectors,
    pub(super) claimant: Claimant,
}

impl Connection {
    pub(super) fn new(
        path: PathBuf,
        connect: SqliteConnectOptions,
        first: SqliteConnection,
        backlog: BacklogCount,
        options: StoreOptions,
    ) -> Self {
        Self {
            claimant: Claimant::new(&path),
            path,
            connect,
            open: Some(first),
            durable: true,
            options,
            backlog,
            connectors: Connectors::default(),
        }
    }

    pub(super) fn now(&self) -> i64 {
        self.options.clock.now().as_millisecond()
    }

    async fn transaction(
        &mut self,
        db: &mut SqliteConnection,
        ops: &[Op],
    ) -> Result<Replies, sqlx::Error> {
        let durable = ops.iter().any(Op::must_be_durable);
        if durable != self.durable {
            let pragma = if durable {
                "PRAGMA synchronous = FULL"
            } else {
                "PRAGMA synchronous = NORMAL"
            };
            sqlx::query(pragma).execute(&mut *db).await?;
            self.durable = durable;
        }
        sqlx::query("BEGIN IMMEDIATE").execute(&mut *db).await?;
        let replies = self.apply(db, ops).await?;
        sqlx::query("COMMIT").execute(&mut *db).await?;
        Ok(replies)
    }

    /// Intake first and claims last, so that a message can be claimed in the very commit that makes it durable.
    async fn apply(
        &mut self,
        db: &mut SqliteConnection,
        ops: &[Op],
    ) -> Result<Replies, sqlx::Error> {
        let mut replies: Vec<Option<Result<Reply, StoreError>>> = Vec::new();
        replies.resize_with(ops.len(), || None);
        accept::all(self, db, ops, &mut replies).await?;
        write::all(self, db, ops, &mut replies).await?;
        housekeeping::all(self, db, ops, &mut replies).await?;
        claim::all(self, db, ops, &mut replies).await?;
        Ok(replies
            .into_iter()
            .map(|r| r.unwrap_or(Ok(Reply::Done)))
            .collect())
    }
}

impl Backend for Connection {
    async fn commit(&mut self, ops: &[Op]) -> Result<Replies, StoreError> {
        let mut db = match self.open.take() {
            Some(db) => db,
            None => self
                .connect
                .clone()
                .create_if_missing(false)
                .connect()
                .await
                .map_err(|e| explain(&self.path, &e))?,
        };
        match self.transaction(&mut db, ops).await {
            Ok(replies) => {
                self.open = Some(db);
                Ok(replies)
            }
            Err(error) => {
                let error = explain(&self.path, &error);
                // What was remembered may rest on what was rolled back.
                self.durable = true;
                self.connectors = Connectors::default();
                let rolled_back = sqlx::query("ROLLBACK").execute(&mut db).await;
                let counted = BacklogCount::load(&mut db).await;
                if let (Ok(_), Ok(counted)) = (rolled_back, counted) {
                    self.backlog = counted;
                }
                drop(db);
                Err(error)
            }
        }
    }
}

/// The numbers of connectors, remembered.
#[derive(Default)]
pub(super) struct Connectors(HashMap<ConnectorUid, Known>);

struct Known {
    id: i64,
    named: Option<ConnectorRef>,
}

impl Connectors {
    /// The number of a connector, new ones being entered.
    pub(super) async fn id(
        &mut self,
        db: &mut SqliteConnection,
        uid: &ConnectorUid,
    ) -> Result<i64, sqlx::Error> {
        if let Some(known) = self.0.get(uid) {
            return Ok(known.id);
        }
        let row = sqlx::query(
            "INSERT INTO connector (uid) VALUES (?1) ON CONFLICT (uid) DO UPDATE SET uid = uid RETURNING id",
        )
        .bind(uid.as_str())
        .fetch_one(db)
        .await?;
        let id = row.get(0);
        self.0.insert(uid.clone(), Known { id, named: None });
        Ok(id)
    }

    /// The number of a connector whose name is known: it is written down for the listings.
    pub(super) async fn named(
        &mut self,
        db: &mut SqliteConnection,
        connector: &ConnectorRef,
    ) -> Result<i64, sqlx::Error> {
        let id = self.id(db, &connector.uid).await?;
        if let Some(known) = self.0.get_mut(&connector.uid)
            && known.named.as_ref() != Some(connector)
        {
            sqlx::query("UPDATE connector SET namespace = ?2, name = ?3 WHERE id = ?1 AND (namespace, name) IS NOT (?2, ?3)")
                .bind(id)
                .bind(&*connector.namespace)
                .bind(&*connector.name)
                .execute(db)
                .await?;
            known.named = Some(connector.clone());
        }
        Ok(id)
    }
}

/// Says what is wrong with the file and what to do.
pub(super) fn explain(path: &Path, error: &sqlx::Error) -> StoreError {
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .and_then(|c| c.parse::<u32>().ok());
    // The low byte is SQLite's primary result code.
    let advice = match code.map(|c| c & 0xff) {
        Some(13) => "free some space on its volume",
        Some(8) => "make it and its folder writable",
        Some(5 | 6) => "another process holds it; stop that one",
        Some(10) => "its volume answers with errors; look at the node's disk",
        Some(11 | 26) => "the file is damaged; restore it from a backup",
        Some(14) => "see that the file exists and may be opened",
        Some(_) => return StoreError::Invalid(format!("the store {}: {error}", path.display())),
        None => "it is tried again with the next write",
    };
    StoreError::Unavailable(format!("{}: {error}: {advice}", path.display()))
}

/// A time as the store keeps it; a row that was tampered with reads as the epoch.
pub(super) fn timestamp(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Rows as one JSON array, for `json_each`: one statement and one parameter however many rows there are.
pub(super) fn rows<T: serde::Serialize>(rows: &[T]) -> String {
    serde_json::to_string(rows).expect("numbers and strings always serialize")
}
