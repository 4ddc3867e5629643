//! The store in `PostgreSQL`: for any number of replicas. Lanes are claimed with `FOR UPDATE SKIP LOCKED`, one process at a time.

mod accept;
mod access;
mod claim;
mod claimant;
mod connection;
mod day_usage;
mod housekeeping;
mod notices;
mod objects;
mod outgoing;
mod read_along;
mod readers;
mod reading;
mod shards;
mod sign_ins;
mod uploads;
mod user_decisions;
mod write;
mod write_rows;

use std::sync::Arc;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::time::timeout;

use super::database::DatabaseStore;
use super::group_commit::Writer;
use super::migrations::newer_version;
use super::shards::ShardLeases;
use super::{StoreError, StoreOptions, StoreState, WorkNotifier};

use connection::{Connection, explain, unanswered};
use readers::ReadConnections;

/// Every migration, oldest first.
const MIGRATIONS: &[super::migrations::File] = &[
    (1, "lanes", include_str!("migrations/0001_lanes.sql")),
    (2, "owners", include_str!("migrations/0002_owners.sql")),
    (3, "chats", include_str!("migrations/0003_chats.sql")),
    (
        4,
        "session_tokens",
        include_str!("migrations/0004_session_tokens.sql"),
    ),
    (5, "shards", include_str!("migrations/0005_shards.sql")),
    (6, "uploads", include_str!("migrations/0006_uploads.sql")),
    (
        7,
        "user_decisions",
        include_str!("migrations/0007_user_decisions.sql"),
    ),
    (
        8,
        "read_along",
        include_str!("migrations/0008_read_along.sql"),
    ),
    (
        9,
        "revisions",
        include_str!("migrations/0009_revisions.sql"),
    ),
    (10, "outgoing", include_str!("migrations/0010_outgoing.sql")),
    (11, "access", include_str!("migrations/0011_access.sql")),
    (
        12,
        "day_usage",
        include_str!("migrations/0012_day_usage.sql"),
    ),
    (13, "sign_ins", include_str!("migrations/0013_sign_ins.sql")),
    (
        14,
        "left_objects",
        include_str!("migrations/0014_left_objects.sql"),
    ),
];

fn invalid(what: &str, error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Invalid(format!(
        "--store postgres://…: {what}: {error}. Expected postgres://USER:PASSWORD@HOST:PORT/DATABASE of a database that this user may create tables in"
    ))
}

/// How long making or upgrading the tables may take, beside another process that does so.
const MIGRATION_TIMEOUT: Duration = Duration::from_hours(1);

/// What a server is asked at the start, and may never answer.
async fn answer<T, E: std::fmt::Display>(
    limit: Duration,
    what: &str,
    asked: impl Future<Output = Result<T, E>>,
) -> Result<T, StoreError> {
    let answered = timeout(limit, asked).await.map_err(|_| unanswered())?;
    answered.map_err(|e| invalid(what, &e))
}

/// The first connection, and how others are made. `address` may hold a password and is never shown.
async fn connect(
    address: &str,
    limit: Duration,
) -> Result<(PgConnectOptions, PgConnection), StoreError> {
    let options: PgConnectOptions = address
        .parse()
        .map_err(|_| invalid("the address cannot be read", &"not a PostgreSQL URL"))?;
    let options = options
        .application_name("telegram-connector-operator")
        .disable_statement_logging();
    let first = answer(limit, "no connection", options.connect()).await?;
    Ok((options, first))
}

/// Looks at the database without changing it.
pub(super) async fn inspect(address: &str) -> Result<StoreState, StoreError> {
    let limit = StoreOptions::default().answer_timeout;
    let (_, mut connection) = connect(address, limit).await?;
    let version = async {
        let is_there = "SELECT to_regclass('_sqlx_migrations') IS NOT NULL";
        let (is_there,): (bool,) = sqlx::query_as(is_there).fetch_one(&mut connection).await?;
        if !is_there {
            return Ok(0);
        }
        let newest = "SELECT coalesce(max(version), 0) FROM _sqlx_migrations";
        let (version,): (i64,) = sqlx::query_as(newest).fetch_one(&mut connection).await?;
        Ok::<_, sqlx::Error>(version)
    };
    let version = answer(limit, "it cannot be read", version).await?;
    StoreState::new(version, MIGRATIONS, "postgres://…")
}

/// Connects and makes or upgrades the tables. `address` may hold a password and is never shown.
pub(super) async fn open(
    address: &str,
    options: StoreOptions,
) -> Result<DatabaseStore<ReadConnections>, StoreError> {
    let limit = options.answer_timeout;
    let (connect, mut first) = connect(address, limit).await?;
    let migrations = super::migrations::migrator(MIGRATIONS);
    timeout(MIGRATION_TIMEOUT, migrations.run(&mut first))
        .await
        .map_err(|_| unanswered())?
        .map_err(|e| match newer_version(&e) {
            Some(newer) => StoreError::Invalid(format!("--store postgres://…: {newer}")),
            None => invalid("the tables cannot be made or upgraded", &e),
        })?;
    let counted = accept::BacklogCount::load(&mut first);
    let backlog = answer(limit, "it cannot be read", counted).await?;
    let readers = ReadConnections::new(connect.clone(), options.read_timeout);
    let (metrics, clock) = (options.metrics.clone(), options.clock.clone());
    let (shards_connect, shards_readers) = (connect.clone(), readers.clone());
    let shard_leases = move |fleet: &str| -> Arc<dyn ShardLeases> {
        let (connect, readers) = (shards_connect.clone(), shards_readers.clone());
        Arc::new(shards::PostgresShards::new(connect, readers, fleet))
    };
    let work_notifier = Arc::<WorkNotifier>::default();
    let connection = Connection::new(connect, first, backlog, options);
    let writer = Writer::start(connection, work_notifier.clone(), metrics);
    let store = DatabaseStore::new(writer, readers, work_notifier, clock, explain);
    Ok(store.with_shard_leases(shard_leases))
}
