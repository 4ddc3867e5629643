//! The one connection that writes: a batch per transaction, and a new connection after any failure, so that a disk that
//! was full or read-only heals by itself.
//!
//! It is rusqlite's, and the writer has a thread of its own: through sqlx every statement goes to another thread and back, which
//! cost more than all else that is done for a message.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::config::DbConfig;
use rusqlite::{Connection as Db, OpenFlags};

use super::accept::{self, BacklogCount};
use super::claimant::Claimant;
use super::sent_journal::{SentJournal, SentPart, SentRecord};
use super::wal_file::{WalDisk, WalFile};
use super::{claim, housekeeping, objects, outgoing, write};
use crate::identity::{ConnectorRef, ConnectorUid};
use crate::store::group_commit::Backend;
use crate::store::requests::StoreRequest;
use crate::store::{StoreError, StoreOptions};

/// `SQLite`'s page size, in bytes.
const PAGE: u64 = 4096;

/// The writing connection with what it remembers between batches.
pub(super) struct Connection {
    path: PathBuf,
    open: Option<Db>,
    wal: Arc<WalFile>,
    pub(super) options: StoreOptions,
    pub(super) backlog: BacklogCount,
    pub(super) connectors: ConnectorIds,
    pub(super) claimant: Claimant,
    pub(super) sent_journal: Arc<SentJournal>,
    pub(super) on_commit: OnCommit,
}

/// What is done once the transaction is committed.
#[derive(Default)]
pub(super) struct OnCommit {
    /// The database says of these parts that they were sent.
    settled: Vec<SentPart>,
    /// Nobody needs these files any more.
    pub(super) files: Vec<PathBuf>,
    /// These lanes are gone with all that was in them.
    pub(super) erased_lanes: Vec<i64>,
    /// What was deleted is to leave the file itself.
    pub(super) clean_file: bool,
}

impl Connection {
    /// Opens a database that exists and has its tables.
    pub(super) fn open(path: PathBuf, mut options: StoreOptions) -> rusqlite::Result<Self> {
        let first = open(&path, &options)?;
        let volume = options.max_bytes.or_else(|| volume_bytes(&path));
        options.upload_bytes = upload_room(options.upload_bytes, volume);
        let sent_journal = Arc::<SentJournal>::default();
        Ok(Self {
            backlog: BacklogCount::load(&first)?,
            claimant: Claimant::new(&path, sent_journal.clone()),
            wal: Arc::new(WalFile::open(&path, &first)?),
            path,
            open: Some(first),
            options,
            connectors: ConnectorIds::default(),
            sent_journal,
            on_commit: OnCommit::default(),
        })
    }

    /// What syncs the log that is written here.
    pub(super) fn disk(&self) -> WalDisk {
        WalDisk(self.wal.clone())
    }

    /// Removes parts from the outbox that Telegram has taken.
    pub(super) fn remove_sent_parts(
        &mut self,
        db: &Db,
        sent: Vec<SentRecord>,
    ) -> rusqlite::Result<()> {
        let mut remove =
            db.prepare_cached("DELETE FROM outbox WHERE lane = ?1 AND reply = ?2 AND number = ?3")?;
        for record in &sent {
            let part = &record.part;
            if remove.execute((part.lane, part.reply, part.number))? > 0 {
                outgoing::note_sent(db, record, self.now())?;
            }
        }
        let parts = sent.into_iter().map(|record| record.part);
        self.on_commit.settled.extend(parts);
        Ok(())
    }

    pub(super) fn now(&self) -> i64 {
        self.options.clock.now().as_millisecond()
    }

    fn transaction(&mut self, db: &Db, requests: &mut [StoreRequest]) -> rusqlite::Result<()> {
        self.wal.recover(db);
        db.prepare_cached("BEGIN IMMEDIATE")?.execute(())?;
        self.apply(db, requests)?;
        db.prepare_cached("COMMIT")?.execute(())?;
        let OnCommit {
            settled,
            files,
            erased_lanes,
            clean_file,
        } = std::mem::take(&mut self.on_commit);
        self.sent_journal.settle(&settled);
        if clean_file {
            self.sent_journal.drop_lanes(&erased_lanes);
            self.clean_file(db, requests);
        }
        for file in files {
            // It may be gone already; nothing depends on it.
            let _ = std::fs::remove_file(file);
        }
        Ok(())
    }

    /// Has what was erased leave the file, too. Where that fails, whoever erased is told so: the rows are gone all the same.
    fn clean_file(&self, db: &Db, requests: &mut [StoreRequest]) {
        let folder = self.path.parent().and_then(Path::to_str);
        let folder = folder.filter(|folder| !folder.is_empty());
        let Err(error) = objects::clean_file(db, folder) else {
            return;
        };
        let error = explain_writer(&self.path, &error);
        tracing::warn!(%error, "rows were erased, but the file could not be cleaned; erase again");
        for request in requests {
            if let StoreRequest::Erase(pending) = request {
                let why = format!(
                    "the rows are erased, but the file could not be written anew without them: {error}; erase again"
                );
                pending.resolve(Err(StoreError::Unavailable(why)));
            }
        }
    }

    /// Intake first and claims last, so that a message can be claimed in the very commit that makes it durable.
    fn apply(&mut self, db: &Db, requests: &mut [StoreRequest]) -> rusqlite::Result<()> {
        if requests.iter().any(StoreRequest::may_change_objects) {
            objects::count_revision(db, self.now())?;
        }
        accept::apply_accepts(self, db, requests)?;
        write::apply_lane_writes(self, db, requests)?;
        housekeeping::apply_requests(self, db, requests)?;
        claim::apply_claims(self, db, requests)
    }

    /// Whether nothing of the transaction is left. What was remembered may rest on what was rolled back.
    fn roll_back(&mut self, db: &Db) -> bool {
        self.connectors = ConnectorIds::default();
        self.on_commit = OnCommit::default();
        let rolled_back = db.is_autocommit() || db.execute_batch("ROLLBACK").is_ok();
        if rolled_back && let Ok(counted) = BacklogCount::load(db) {
            self.backlog = counted;
        }
        rolled_back
    }

    fn commit_all(&mut self, requests: &mut [StoreRequest]) -> Result<(), StoreError> {
        let db = match self.open.take() {
            Some(db) => db,
            None => open(&self.path, &self.options)
                .and_then(|db| self.wal.reopen(&db).map(|()| db))
                .map_err(|e| explain_writer(&self.path, &e))?,
        };
        let mut result = self.transaction(&db, requests);
        while let Err(error) = &result
            && is_full(error)
            && self.roll_back(&db)
            && free_denied(&db, self.now()).unwrap_or(0) > 0
        {
            result = self.transaction(&db, requests);
        }
        match result {
            Ok(()) => {
                self.open = Some(db);
                Ok(())
            }
            Err(error) => {
                self.roll_back(&db);
                Err(explain_writer(&self.path, &error))
            }
        }
    }
}

/// Whether there was no space left.
fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
}

/// Denied messages that make room at a time.
const DENIED_PER_FREEING: i64 = 500;

/// Lets the oldest denied messages go, so that what people may say finds room. Returns how many went.
fn free_denied(db: &Db, now: i64) -> rusqlite::Result<usize> {
    // What the log holds is in the file by now or can be: the log's own space may be all that there is.
    db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
    let transaction = db.unchecked_transaction()?;
    objects::count_revision(&transaction, now)?;
    let freed = transaction.execute(
        "DELETE FROM denied WHERE id IN (SELECT id FROM denied ORDER BY id LIMIT ?1)",
        [DENIED_PER_FREEING],
    )?;
    transaction.commit()?;
    if freed > 0 {
        tracing::warn!(
            freed,
            "the store is full: the oldest denied messages were deleted to make room"
        );
    }
    Ok(freed)
}

impl Backend for Connection {
    /// Blocks: the writer has a thread of its own.
    async fn commit(&mut self, requests: &mut [StoreRequest]) -> Result<(), StoreError> {
        self.commit_all(requests)
    }
}

/// The size of the volume that a file is on.
fn volume_bytes(path: &Path) -> Option<u64> {
    let volume = rustix::fs::statvfs(path).ok()?;
    Some(volume.f_blocks.saturating_mul(volume.f_frsize))
}

/// How many bytes of files may wait, of a connector and of all, on a volume of this size: files of some tenants must not take the room for what others
/// are told.
fn upload_room((of_one, of_all): (u64, u64), volume: Option<u64>) -> (u64, u64) {
    let most = volume.unwrap_or(u64::MAX);
    (of_one.min(most / 8), of_all.min(most / 4))
}

fn open(path: &Path, options: &StoreOptions) -> rusqlite::Result<Db> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Db::open_with_flags(path, flags)?;
    db.busy_timeout(options.busy_timeout)?;
    db.set_prepared_statement_cache_capacity(100);
    // A plan that may depend on a bound value is made anew for each value; none of ours should.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // What is replaced is deleted, for the triggers too. The log is synced beside the commits ([`WalFile`]). Checkpoint every 16 MB, and give the space back after a peak.
    db.execute_batch(
        "PRAGMA recursive_triggers = ON; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -8000; PRAGMA temp_store = memory;
         PRAGMA wal_autocheckpoint = 4000; PRAGMA journal_size_limit = 33554432;",
    )?;
    if let Some(bytes) = options.max_bytes {
        let pages = (bytes / PAGE).max(1);
        db.execute_batch(&format!("PRAGMA max_page_count = {pages}"))?;
    }
    Ok(db)
}

/// The numbers of connectors, remembered.
#[derive(Default)]
pub(super) struct ConnectorIds(HashMap<ConnectorUid, CachedConnector>);

struct CachedConnector {
    id: i64,
    stored_name: Option<ConnectorRef>,
}

impl ConnectorIds {
    /// The number of a connector, new ones being entered.
    pub(super) fn id(&mut self, db: &Db, uid: &ConnectorUid) -> rusqlite::Result<i64> {
        if let Some(known) = self.0.get(uid) {
            return Ok(known.id);
        }
        let id = db
            .prepare_cached(
                "INSERT INTO connector (uid) VALUES (?1) ON CONFLICT (uid) DO UPDATE SET uid = uid RETURNING id",
            )?
            .query_row([uid.as_str()], |row| row.get(0))?;
        self.0.insert(
            uid.clone(),
            CachedConnector {
                id,
                stored_name: None,
            },
        );
        Ok(id)
    }

    /// Has the name of a connector written down again when it is next told.
    pub(super) fn forget_name(&mut self, uid: &ConnectorUid) {
        if let Some(known) = self.0.get_mut(uid) {
            known.stored_name = None;
        }
    }

    /// The number of a connector whose name is known: it is written down for the listings, and that no other connector has the name now.
    pub(super) fn id_of_named(
        &mut self,
        db: &Db,
        connector: &ConnectorRef,
    ) -> rusqlite::Result<i64> {
        let id = self.id(db, &connector.uid)?;
        if let Some(known) = self.0.get_mut(&connector.uid)
            && known.stored_name.as_ref() != Some(connector)
        {
            let named = (id, &*connector.namespace, &*connector.name);
            db.prepare_cached(
                "UPDATE connector SET namespace = ?2, name = ?3, superseded = 0
                 WHERE id = ?1 AND (namespace, name, superseded) IS NOT (?2, ?3, 0)",
            )?
            .execute(named)?;
            db.prepare_cached(
                "UPDATE connector SET superseded = 1 WHERE namespace = ?2 AND name = ?3 AND id <> ?1 AND superseded = 0",
            )?
            .execute(named)?;
            known.stored_name = Some(connector.clone());
        }
        Ok(id)
    }
}

/// Says what is wrong with the file and what to do.
pub(super) fn explain(path: &Path, error: &sqlx::Error) -> StoreError {
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .and_then(|c| c.parse().ok());
    advise(path, error, code)
}

/// The same of the writer's errors.
fn explain_writer(path: &Path, error: &rusqlite::Error) -> StoreError {
    let code = error.sqlite_error().map(|e| e.extended_code);
    advise(path, error, code)
}

fn advise(path: &Path, error: &dyn std::fmt::Display, code: Option<i32>) -> StoreError {
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
