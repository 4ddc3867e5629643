//! Who claims: a random name per process (never a PID: containers reuse those), a row in the database as the fence, and a
//! lock on a file beside it that the kernel lets go of the moment the process dies. The file holds the process's [`SentJournal`].

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection as Db;

use super::sent_journal::SentJournal;

/// This process as a claimant.
pub(super) struct Claimant {
    database: PathBuf,
    registered: Option<Registered>,
    sent_journal: Arc<SentJournal>,
}

/// A claimant that is gone.
pub(super) struct DeadClaimant {
    /// The number of its claims.
    pub(super) id: i64,
    /// Its file, to be removed once its lanes are given back.
    pub(super) file: PathBuf,
}

struct Registered {
    id: i64,
    /// A registration that was rolled back leaves its number to others: only number and name together are ours.
    name: String,
    /// Locked for as long as this process lives.
    file: PathBuf,
}

impl Claimant {
    pub(super) fn new(database: &Path, sent_journal: Arc<SentJournal>) -> Self {
        Self {
            database: database.to_owned(),
            registered: None,
            sent_journal,
        }
    }

    /// The number claims are made under, if there is one.
    pub(super) fn id(&self) -> Option<i64> {
        self.registered.as_ref().map(|r| r.id)
    }

    /// Whether claims made under this number still hold: nobody has taken them over.
    pub(super) fn holds(&self, db: &Db, owner: i64) -> rusqlite::Result<bool> {
        let Some(registered) = self.registered.as_ref().filter(|r| r.id == owner) else {
            return Ok(false);
        };
        db.prepare_cached("SELECT 1 FROM claimant WHERE id = ?1 AND name = ?2")?
            .exists((owner, &registered.name))
    }

    /// Ends the registration; its lanes must have been given back. Returns its file, which goes once that is committed: of a process that ends in
    /// any other way it stays, for whoever takes over.
    pub(super) fn deregister(&mut self, db: &Db) -> rusqlite::Result<Option<PathBuf>> {
        let Some(registered) = self.registered.take() else {
            return Ok(None);
        };
        self.sent_journal.begin(None);
        db.execute(
            "DELETE FROM claimant WHERE id = ?1 AND name = ?2",
            (registered.id, &registered.name),
        )?;
        Ok(Some(registered.file))
    }

    /// Registers, or prolongs the registration.
    pub(super) fn register(&mut self, db: &Db, expires_at: i64) -> rusqlite::Result<i64> {
        if let Some(registered) = &self.registered {
            let prolonged = db
                .prepare_cached("UPDATE claimant SET expires_at = ?3 WHERE id = ?1 AND name = ?2")?
                .execute((registered.id, &registered.name, expires_at))?;
            if prolonged == 1 {
                return Ok(registered.id);
            }
            self.registered = None;
        }
        let name = format!("{:032x}", rand::random::<u128>());
        let path = file_path(&self.database, &name);
        let file = File::create_new(&path).ok();
        // Without the lock (a file system that has none) the lease alone says that we live.
        let locked = file.as_ref().is_some_and(|f| f.try_lock().is_ok());
        let id = db.query_row(
            "INSERT INTO claimant (name, locked, expires_at) VALUES (?1, ?2, ?3) RETURNING id",
            (&name, locked, expires_at),
            |row| row.get(0),
        )?;
        self.sent_journal.begin(file.map(Arc::new));
        self.registered = Some(Registered {
            id,
            name,
            file: path,
        });
        Ok(id)
    }

    /// The other claimants that are gone: their lease ran out, or nobody holds their lock.
    pub(super) fn dead_claimants(&self, db: &Db, now: i64) -> rusqlite::Result<Vec<DeadClaimant>> {
        let mut others = db.prepare_cached(
            "SELECT id, name, expires_at, locked FROM claimant WHERE id IS NOT ?1",
        )?;
        let mut others = others.query([self.id()])?;
        let mut dead = Vec::new();
        while let Some(row) = others.next()? {
            let file = file_path(&self.database, row.get_ref(1)?.as_str()?);
            if row.get::<_, i64>(2)? < now || (row.get(3)? && is_unlocked(&file)) {
                let id = row.get(0)?;
                dead.push(DeadClaimant { id, file });
            }
        }
        Ok(dead)
    }
}

fn file_path(database: &Path, name: &str) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(format!("-claimant-{name}"));
    path.into()
}

/// Whether nobody holds this lock, which was held when its owner registered.
fn is_unlocked(lock: &Path) -> bool {
    match File::open(lock) {
        Ok(file) => file.try_lock().is_ok(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}
