//! The databases in which the conversations are kept: a file for each, or a database of each on one server.

use std::sync::atomic::{AtomicUsize, Ordering};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Executor as _};
use telegram_connector_operator::store;
use tokio::sync::Mutex;

use crate::postgres::Postgres;
use crate::test_env::TestEnv;

/// Where databases are made.
pub(super) enum Server {
    Sqlite,
    Postgres(Postgres),
}

/// One conversation's.
pub(super) enum Database {
    Sqlite(String),
    Postgres(Mutex<PgConnection>),
}

impl Server {
    /// Makes a database, and what works on it.
    pub(super) async fn env(&self) -> (TestEnv, Database) {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let Self::Postgres(postgres) = self else {
            let env = TestEnv::new().await;
            let database = Database::Sqlite(env.address.clone());
            return (env, database);
        };
        let name = format!("kills_{}", MADE.fetch_add(1, Ordering::Relaxed));
        let make = format!("CREATE DATABASE {name}");
        let mut server = postgres.connect().await;
        server.execute(sqlx::AssertSqlSafe(make)).await.unwrap();
        let address = postgres.address();
        let address = address.replacen("/postgres?", &format!("/{name}?"), 1);
        let options: PgConnectOptions = address.parse().unwrap();
        let env = TestEnv::on(&address).await;
        let connection = options.connect().await.unwrap();
        (env, Database::Postgres(Mutex::new(connection)))
    }
}

impl Database {
    /// What a query counts.
    pub(super) async fn count(&self, query: &'static str) -> i64 {
        match self {
            Self::Sqlite(address) => {
                let path = store::sqlite_path(address).unwrap();
                let db = rusqlite::Connection::open(path).unwrap();
                db.query_row(query, (), |row| row.get(0)).unwrap()
            }
            Self::Postgres(connection) => {
                let mut connection = connection.lock().await;
                let count = sqlx::query_scalar(query).fetch_one(&mut *connection);
                count.await.unwrap()
            }
        }
    }
}
