//! The store in one `SQLite` file: for a single replica, and safe for two processes on one machine (a rolling update on one
//! volume).

mod accept;
mod arrived;
pub(super) mod backup;
mod claim;
mod claimant;
mod connection;
mod housekeeping;
mod listing;
mod write;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection as _};

use super::group_commit::{Op, Reply, Writer};
use super::lane::place;
use super::{
    Accepted, Backlog, Claimed, DeadLetter, DeniedMessage, Inbox, LaneWrite, Listing, Page,
    Retention, SessionSummary, Store, StoreError, StoreOptions, WaitingMessage, Wake, Want,
    Written,
};
use crate::identity::{BotId, ConnectorRef, ConnectorUid};
use crate::telegram::RawUpdate;

use connection::{Connection, explain};
use housekeeping::PRUNED_AT_ONCE;

/// The store in one file.
pub(super) struct SqliteStore {
    writer: Writer,
    readers: SqlitePool,
    path: PathBuf,
    wake: Arc<Wake>,
}

/// Opens the file, making it (readable by its owner only) and its folders where they are missing.
pub(super) async fn open(path: &Path, options: StoreOptions) -> Result<SqliteStore, StoreError> {
    let invalid = |what: &str, error: &dyn std::fmt::Display| {
        StoreError::Invalid(format!(
            "--store sqlite:{}: {what}: {error}. Give a path that this process may write, or mount a writable volume there",
            path.display()
        ))
    };
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
        .busy_timeout(options.busy)
        .disable_statement_logging();
    let mut first = connect
        .connect()
        .await
        .map_err(|e| invalid("not a usable database", &e))?;
    migrate(&mut first)
        .await
        .map_err(|e| invalid("its tables cannot be made or upgraded", &e))?;
    first
        .close()
        .await
        .map_err(|e| invalid("it cannot be written", &e))?;
    let metrics = options.metrics.clone();
    let connection =
        Connection::open(path.to_owned(), options).map_err(|e| invalid("it cannot be read", &e))?;
    let readers = SqlitePoolOptions::new()
        .min_connections(0)
        .max_connections(2)
        .idle_timeout(Duration::from_mins(1))
        .connect_lazy_with(connect);
    Ok(SqliteStore {
        writer: Writer::on_its_own_thread(connection, metrics)
            .map_err(|e| invalid("no thread can be started for it", &e))?,
        readers,
        path: path.to_owned(),
        wake: Arc::default(),
    })
}

/// Two processes may start at the same moment; the second finds the first's migrations done.
async fn migrate(
    connection: &mut sqlx::SqliteConnection,
) -> Result<(), sqlx::migrate::MigrateError> {
    let migrations = sqlx::migrate!("src/store/sqlite/migrations");
    let mut tries = 0;
    loop {
        match migrations.run(&mut *connection).await {
            Ok(()) => return Ok(()),
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

/// A reply of another kind than the write's would be a fault of this module.
macro_rules! reply {
    ($call:expr, $pattern:pat => $value:expr) => {
        match $call? {
            $pattern => Ok($value),
            _ => unreachable!("the writer answers each operation in kind"),
        }
    };
}

#[async_trait]
impl Inbox for SqliteStore {
    async fn accept(
        &self,
        connector: &ConnectorUid,
        bot: BotId,
        updates: Vec<RawUpdate>,
    ) -> Result<Accepted, StoreError> {
        if updates.is_empty() {
            return Ok(Accepted { new: 0, known: 0 });
        }
        let updates = updates
            .into_iter()
            .map(|u| {
                let place = place(u.json.get());
                (u, place)
            })
            .collect();
        let op = Op::Accept {
            connector: connector.clone(),
            bot,
            updates,
        };
        let accepted = reply!(self.writer.call(op).await, Reply::Accepted(a) => a)?;
        if accepted.new > 0 {
            self.wake.wake(connector);
        }
        Ok(accepted)
    }

    async fn forget(&self, connector: &ConnectorUid) -> Result<(), StoreError> {
        reply!(self.writer.call(Op::Forget(connector.clone())).await, Reply::Done => ())
    }

    async fn connectors(&self) -> Result<Vec<ConnectorRef>, StoreError> {
        listing::connectors(&self.readers)
            .await
            .map_err(|e| explain(&self.path, &e))
    }

    async fn writable(&self) -> Result<(), StoreError> {
        reply!(self.writer.call(Op::Probe).await, Reply::Done => ())
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn wake(&self) -> Arc<Wake> {
        self.wake.clone()
    }

    async fn claim(&self, wants: Vec<Want>) -> Result<Claimed, StoreError> {
        reply!(self.writer.call(Op::Claim(wants)).await, Reply::Claimed(c) => c)
    }

    async fn write(&self, write: LaneWrite) -> Result<Written, StoreError> {
        reply!(self.writer.call(Op::Write(write)).await, Reply::Written(w) => w)
    }

    async fn arrived(&self, lanes: &[i64]) -> Result<Vec<(i64, Vec<WaitingMessage>)>, StoreError> {
        arrived::arrived(&self.readers, lanes)
            .await
            .map_err(|e| explain(&self.path, &e))
    }

    async fn keep_claims(&self) -> Result<Vec<(ConnectorUid, Timestamp)>, StoreError> {
        reply!(self.writer.call(Op::KeepClaims).await, Reply::Waiting(w) => w)
    }

    async fn release_claims(&self) -> Result<(), StoreError> {
        reply!(self.writer.call(Op::ReleaseClaims).await, Reply::Done => ())
    }

    async fn ready_now(&self, connector: &ConnectorUid) -> Result<(), StoreError> {
        reply!(self.writer.call(Op::ReadyNow(connector.clone())).await, Reply::Done => ())
    }

    async fn backlog(&self) -> Result<Vec<Backlog>, StoreError> {
        listing::backlog(&self.readers)
            .await
            .map_err(|e| explain(&self.path, &e))
    }

    async fn bury_other_bots(
        &self,
        connector: &ConnectorUid,
        bot: BotId,
        before: Timestamp,
    ) -> Result<u64, StoreError> {
        let op = Op::BuryOtherBots {
            connector: connector.clone(),
            bot,
            before,
        };
        reply!(self.writer.call(op).await, Reply::Count(n) => n)
    }

    async fn prune(&self, retention: Retention) -> Result<bool, StoreError> {
        let more = reply!(self.writer.call(Op::Prune(retention)).await, Reply::More(more) => more)?;
        let idle = listing::idle_lanes(&self.readers, PRUNED_AT_ONCE)
            .await
            .map_err(|e| explain(&self.path, &e))?;
        if idle.is_empty() {
            return Ok(more);
        }
        let found = idle.len() as u64;
        let removed = reply!(self.writer.call(Op::PruneLanes(idle)).await, Reply::Count(n) => n)?;
        // Those that came back to life meanwhile are no reason to look again at once.
        Ok(more || (removed == found && found >= PRUNED_AT_ONCE.unsigned_abs()))
    }

    async fn denied(&self, listing: &Listing) -> Result<Page<DeniedMessage>, StoreError> {
        listing::denied(&self.readers, listing)
            .await
            .map_err(|e| explain(&self.path, &e))
    }

    async fn sessions(&self, listing: &Listing) -> Result<Page<SessionSummary>, StoreError> {
        listing::sessions(&self.readers, listing)
            .await
            .map_err(|e| explain(&self.path, &e))
    }

    async fn dead_letters(&self, listing: &Listing) -> Result<Page<DeadLetter>, StoreError> {
        listing::dead_letters(&self.readers, listing)
            .await
            .map_err(|e| explain(&self.path, &e))
    }

    async fn retry_dead_letters(&self, ids: &[i64]) -> Result<u64, StoreError> {
        reply!(self.writer.call(Op::Retry(ids.to_vec())).await, Reply::Count(n) => n)
    }
}
