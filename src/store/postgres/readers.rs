//! The connections that only read. Whoever reads has an answer or an error in bounded time: a server that is frozen, or whose host is gone,
//! says nothing, and what waits for it would wait as long as the system keeps the connection.
//!
//! A connection whose work was given up is dropped, never handed on: sqlx's own pool would wait without a limit for what the server owes on it,
//! and have one connection fewer meanwhile.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Postgres};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::store::reading::{Readers, Value, query};

/// How many read at once.
const CONNECTIONS: usize = 2;
/// What was not used for so long is not used again.
const IDLE: Duration = Duration::from_mins(1);

/// Connections that are made when somebody reads, and the time that a read may take.
#[derive(Clone)]
pub(in crate::store) struct ReadConnections {
    connect: PgConnectOptions,
    limit: Duration,
    permits: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<IdleConnection>>>,
}

struct IdleConnection {
    since: Instant,
    db: PgConnection,
}

impl ReadConnections {
    /// `limit`: what a read may take, from waiting for a connection to its last row.
    pub(super) fn new(connect: PgConnectOptions, limit: Duration) -> Self {
        Self {
            connect,
            limit,
            permits: Arc::new(Semaphore::new(CONNECTIONS)),
            idle: Arc::default(),
        }
    }

    /// Has `work` done in the time that a read may take. It has its connection from [`lend`](Self::lend).
    pub(super) async fn within_limit<T>(
        &self,
        work: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        let done = tokio::time::timeout(self.limit, work).await;
        done.unwrap_or(Err(sqlx::Error::PoolTimedOut))
    }

    /// A connection for one piece of work.
    pub(super) async fn lend(&self) -> Result<LentConnection, sqlx::Error> {
        let permit = self.permits.clone().acquire_owned().await;
        let permit = permit.map_err(|_| sqlx::Error::PoolClosed)?;
        let db = loop {
            let idle = self.idle.lock().pop();
            match idle {
                None => break self.open().await?,
                Some(idle) if idle.since.elapsed() >= IDLE => {}
                // The server may have ended it meanwhile.
                Some(IdleConnection { mut db, .. }) => {
                    if db.ping().await.is_ok() {
                        break db;
                    }
                }
            }
        };
        let idle = self.idle.clone();
        Ok(LentConnection { db, idle, permit })
    }

    async fn open(&self) -> Result<PgConnection, sqlx::Error> {
        let mut db = self.connect.connect().await?;
        // The server gives up as well, so that it does not work on for nobody.
        let limit = self.limit.as_millis().max(1);
        let set = AssertSqlSafe(format!("SET statement_timeout = {limit}"));
        sqlx::query(set).execute(&mut db).await?;
        Ok(db)
    }
}

impl Readers for ReadConnections {
    type Row = PgRow;
    type Dialect = Postgres;

    async fn fetch(
        &self,
        statement: String,
        values: &[Value<'_>],
    ) -> Result<Vec<PgRow>, sqlx::Error> {
        let query = query::<Postgres>(statement, values);
        self.within_limit(async {
            let mut db = self.lend().await?;
            let found = query.fetch_all(&mut *db).await?;
            db.give_back();
            Ok(found)
        })
        .await
    }
}

/// A connection at work, which ends with work that fails or is given up.
pub(super) struct LentConnection {
    db: PgConnection,
    idle: Arc<Mutex<Vec<IdleConnection>>>,
    permit: OwnedSemaphorePermit,
}

impl LentConnection {
    /// After work that came to its end.
    pub(super) fn give_back(self) {
        let idle = IdleConnection {
            since: Instant::now(),
            db: self.db,
        };
        self.idle.lock().push(idle);
        // Whoever has waited for the permit finds it.
        drop(self.permit);
    }
}

impl Deref for LentConnection {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.db
    }
}

impl DerefMut for LentConnection {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.db
    }
}
