//! The store in one `SQLite` file: for a single replica, and safe for two processes on one machine (a rolling update on one
//! volume).

mod accept;
mod access;
pub(super) mod backup;
mod claim;
mod claimant;
mod connection;
mod day_usage;
mod housekeeping;
pub(super) mod inspect;
mod objects;
mod open_error;
mod outgoing;
mod reading;
mod sent_journal;
mod sign_ins;
mod user_decisions;
mod wal_file;
mod write;

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection as _};

use super::database::DatabaseStore;
use super::group_commit::Writer;
use super::{StoreError, StoreOptions, WorkNotifier};

use connection::{Connection, explain};
use sent_journal::{SentPart, SentRecord};

/// Opens the file, making it (readable by its owner only) and its folders where they are missing.
pub(super) async fn open(
    path: &Path,
    options: StoreOptions,
) -> Result<DatabaseStore<SqlitePool>, StoreError> {
    let invalid = |what: &str, error: &dyn Display| open_error::unusable_path(path, what, error);
    if path.as_os_str().is_empty() {
        return Err(invalid("no path", &"nothing after \"sqlite:\""));
    }
    if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|e| {
            invalid(
                &format!("the folder {} cannot be made", folder.display()),
                &e,
            )
        })?;
    }
    create_private(path).map_err(|e| invalid("the file cannot be opened for writing", &e))?;
    let connect = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(options.busy_timeout)
        .disable_statement_logging();
    let mut first = connect
        .connect()
        .await
        .map_err(|e| open_error::explain(path, "not a usable database", &e))?;
    migrate(&mut first)
        .await
        .map_err(|e| open_error::explain_migration(path, &e))?;
    first
        .close()
        .await
        .map_err(|e| open_error::explain(path, "it cannot be written", &e))?;
    let (metrics, clock) = (options.metrics.clone(), options.clock.clone());
    let connection = Connection::open(path.to_owned(), options)
        .map_err(|e| open_error::explain_writer(path, &e))?;
    let readers = SqlitePoolOptions::new()
        .min_connections(0)
        .max_connections(2)
        .idle_timeout(Duration::from_mins(1))
        .connect_lazy_with(connect);
    let (disk, sent_journal) = (connection.disk(), connection.sent_journal.clone());
    let work_notifier = Arc::<WorkNotifier>::default();
    let writer = Writer::start_thread(connection, disk, work_notifier.clone(), metrics)
        .map_err(|e| invalid("no thread can be started for it", &e))?;
    let path = path.to_owned();
    let explain = move |error: &_| explain(&path, error);
    let store = DatabaseStore::new(writer, readers, work_notifier, clock, explain);
    Ok(
        store.with_sent_journal(move |claim, reply, number, message_id| {
            let lane = claim.lane;
            let part = SentPart {
                lane,
                reply,
                number,
            };
            sent_journal.record(SentRecord { part, message_id })
        }),
    )
}

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
    (5, "uploads", include_str!("migrations/0005_uploads.sql")),
    (
        6,
        "user_decisions",
        include_str!("migrations/0006_user_decisions.sql"),
    ),
    (
        7,
        "read_along",
        include_str!("migrations/0007_read_along.sql"),
    ),
    (
        8,
        "revisions",
        include_str!("migrations/0008_revisions.sql"),
    ),
    (9, "outgoing", include_str!("migrations/0009_outgoing.sql")),
    (10, "access", include_str!("migrations/0010_access.sql")),
    (
        11,
        "day_usage",
        include_str!("migrations/0011_day_usage.sql"),
    ),
    (12, "sign_ins", include_str!("migrations/0012_sign_ins.sql")),
    (
        13,
        "left_objects",
        include_str!("migrations/0013_left_objects.sql"),
    ),
];

/// Two processes may start at the same moment; the second finds the first's migrations done.
async fn migrate(
    connection: &mut sqlx::SqliteConnection,
) -> Result<(), sqlx::migrate::MigrateError> {
    let migrations = super::migrations::migrator(MIGRATIONS);
    let mut tries = 0;
    loop {
        match migrations.run(&mut *connection).await {
            Ok(()) => return Ok(()),
            Err(error @ sqlx::migrate::MigrateError::VersionMissing(_)) => return Err(error),
            Err(error) if tries == 5 => return Err(error),
            Err(_) => tries += 1,
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn create_private(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}
