//! The write-ahead log as a file: what was committed survives the loss of power once it is synced.
//!
//! The writer commits with `synchronous = NORMAL`: `SQLite` then writes the log, which a killed process cannot take back, and syncs it only
//! before it is copied into the database. The rest is done here, so that nobody else waits for the disk. What is no longer in the log
//! when it is synced is in the database by then, and synced there.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use rusqlite::Connection as Db;

use crate::store::StoreError;
use crate::store::disk_sync::Disk;

/// The log of one database, for the writer and for whoever syncs.
pub(super) struct WalFile {
    path: PathBuf,
    file: Mutex<Arc<File>>,
    /// A sync has failed: the system may have dropped what it could not write, and call the next one a success.
    has_failed: AtomicBool,
}

impl WalFile {
    /// The log of a connection that was just opened.
    pub(super) fn open(database: &Path, db: &Db) -> rusqlite::Result<Self> {
        let mut path = database.as_os_str().to_owned();
        path.push("-wal");
        let path = PathBuf::from(path);
        let file = open_file(&path, db)?;
        Ok(Self {
            path,
            file: Mutex::new(Arc::new(file)),
            has_failed: AtomicBool::new(false),
        })
    }

    /// Goes on with the log of a further connection: without any, the file may have been replaced.
    pub(super) fn reopen(&self, db: &Db) -> rusqlite::Result<()> {
        *self.file.lock() = Arc::new(open_file(&self.path, db)?);
        Ok(())
    }

    /// After a sync that failed, brings what the log holds to the disk in another way: copied into the database, which is synced. Until that has
    /// worked nothing counts as synced; it is tried again before each batch.
    pub(super) fn recover(&self, db: &Db) {
        if !self.has_failed.load(Ordering::Acquire) {
            return;
        }
        let checkpoint = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |row| row.get(0));
        match checkpoint {
            Ok(false) => {
                self.has_failed.store(false, Ordering::Release);
                tracing::info!("the store's log is on the disk again");
            }
            Ok(true) => tracing::warn!("the store's log is in use and cannot be copied yet"),
            Err(error) => tracing::warn!(%error, "the store's log cannot be copied"),
        }
    }
}

fn open_file(path: &Path, db: &Db) -> rusqlite::Result<File> {
    // The first read makes the file; it stays the same for as long as the connection lives.
    db.query_row("SELECT count(*) FROM sqlite_schema", (), |_| Ok(()))?;
    File::open(path).map_err(|error| {
        let path = path.display();
        rusqlite::Error::ToSqlConversionFailure(
            format!("the log {path} cannot be opened: {error}").into(),
        )
    })
}

/// Syncs a log.
pub(super) struct WalDisk(pub(super) Arc<WalFile>);

impl Disk for WalDisk {
    fn sync(&mut self) -> Result<(), StoreError> {
        let Self(wal) = self;
        let file = wal.file.lock().clone();
        let failed = wal.has_failed.load(Ordering::Acquire);
        match file.sync_data() {
            Ok(()) if !failed => Ok(()),
            Ok(()) => Err(unsynced(wal, &"an earlier sync failed")),
            Err(error) => {
                wal.has_failed.store(true, Ordering::Release);
                Err(unsynced(wal, &error))
            }
        }
    }
}

fn unsynced(wal: &WalFile, why: &dyn std::fmt::Display) -> StoreError {
    StoreError::Unavailable(format!(
        "{}: it cannot be synced: {why}: look at the node's disk",
        wal.path.display()
    ))
}
