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
        // Of the pages in the log, those that were copied. It waits for no reader.
        let checkpoint = db.query_row("PRAGMA wal_checkpoint(PASSIVE)", (), |row| {
            Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
        });
        match checkpoint {
            Ok((pages, copied)) if copied == pages => {
                self.has_failed.store(false, Ordering::Release);
                tracing::info!("the store's log is on the disk again");
            }
            Ok(_) => tracing::warn!("the store's log is being read and cannot be copied yet"),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_failed_sync_none_counts_until_the_log_is_copied() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("store.db");
        let db = Db::open(&path).expect("a database");
        db.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (x)")
            .expect("a table");
        let wal = Arc::new(WalFile::open(&path, &db).expect("the log"));
        let mut disk = WalDisk(wal.clone());
        assert!(disk.sync().is_ok());
        // No device syncs this file.
        let unsyncable = File::open("/dev/null").expect("a file");
        let log = std::mem::replace(&mut *wal.file.lock(), Arc::new(unsyncable));
        let failed = disk.sync().expect_err("a failed sync").to_string();
        assert!(failed.contains("store.db-wal"), "{failed}");
        *wal.file.lock() = log;
        assert!(
            disk.sync().is_err(),
            "the system calls the next one a success"
        );
        wal.recover(&db);
        assert!(disk.sync().is_ok());
        let copy = folder.path().join("without-the-log.db");
        std::fs::copy(&path, &copy).expect("a copy");
        let copied = Db::open(&copy).expect("a database");
        let rows = copied.query_row("SELECT count(*) FROM t", (), |row| row.get(0));
        assert_eq!(rows, Ok(0_i64));
    }

    #[test]
    fn log_in_use_is_copied_later() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("store.db");
        let db = Db::open(&path).expect("a database");
        db.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (x); INSERT INTO t VALUES (1)")
            .expect("a table");
        let wal = WalFile::open(&path, &db).expect("the log");
        wal.has_failed.store(true, Ordering::Release);
        let reader = Db::open(&path).expect("a reader");
        reader
            .execute_batch("BEGIN; SELECT * FROM t")
            .expect("a read");
        db.execute_batch("INSERT INTO t VALUES (2)").expect("a row");
        wal.recover(&db);
        assert!(wal.has_failed.load(Ordering::Acquire));
        reader.execute_batch("COMMIT").expect("the end of the read");
        wal.recover(&db);
        assert!(!wal.has_failed.load(Ordering::Acquire));
    }
}
