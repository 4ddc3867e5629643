//! Who claims: a random name per process (never a PID: containers reuse those), a row in the database as the fence, and a
//! lock on a file beside it that the kernel lets go of the moment the process dies.

use std::fs::File;
use std::path::{Path, PathBuf};

use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

/// This process as a claimant.
pub(super) struct Claimant {
    database: PathBuf,
    registered: Option<Registered>,
}

struct Registered {
    id: i64,
    /// A registration that was rolled back leaves its number to others: only number and name together are ours.
    name: String,
    lock: PathBuf,
    /// Held for as long as this process lives.
    _file: Option<File>,
}

impl Claimant {
    pub(super) fn new(database: &Path) -> Self {
        Self {
            database: database.to_owned(),
            registered: None,
        }
    }

    /// The number claims are made under, if there is one.
    pub(super) fn id(&self) -> Option<i64> {
        self.registered.as_ref().map(|r| r.id)
    }

    /// Whether claims made under this number still hold: nobody has taken them over.
    pub(super) async fn holds(
        &self,
        db: &mut SqliteConnection,
        owner: i64,
    ) -> Result<bool, sqlx::Error> {
        let Some(registered) = self.registered.as_ref().filter(|r| r.id == owner) else {
            return Ok(false);
        };
        let row = sqlx::query("SELECT 1 FROM claimant WHERE id = ?1 AND name = ?2")
            .bind(owner)
            .bind(&registered.name)
            .fetch_optional(db)
            .await?;
        Ok(row.is_some())
    }

    /// Ends the registration; its lanes must have been given back.
    pub(super) async fn deregister(
        &mut self,
        db: &mut SqliteConnection,
    ) -> Result<(), sqlx::Error> {
        if let Some(registered) = self.registered.take() {
            sqlx::query("DELETE FROM claimant WHERE id = ?1 AND name = ?2")
                .bind(registered.id)
                .bind(&registered.name)
                .execute(db)
                .await?;
        }
        Ok(())
    }

    /// Registers, or prolongs the registration.
    pub(super) async fn register(
        &mut self,
        db: &mut SqliteConnection,
        expires_at: i64,
    ) -> Result<i64, sqlx::Error> {
        if let Some(registered) = &self.registered {
            let prolonged =
                sqlx::query("UPDATE claimant SET expires_at = ?3 WHERE id = ?1 AND name = ?2")
                    .bind(registered.id)
                    .bind(&registered.name)
                    .bind(expires_at)
                    .execute(&mut *db)
                    .await?;
            if prolonged.rows_affected() == 1 {
                return Ok(registered.id);
            }
            self.registered = None;
        }
        let name = format!("{:032x}", rand::random::<u128>());
        let lock = lock_path(&self.database, &name);
        // Without the lock (a file system that has none) the lease alone says that we live.
        let file = File::create_new(&lock)
            .ok()
            .filter(|f| f.try_lock().is_ok());
        let id = sqlx::query(
            "INSERT INTO claimant (name, locked, expires_at) VALUES (?1, ?2, ?3) RETURNING id",
        )
        .bind(&name)
        .bind(file.is_some())
        .bind(expires_at)
        .fetch_one(db)
        .await?
        .get(0);
        self.registered = Some(Registered {
            id,
            name,
            lock,
            _file: file,
        });
        Ok(id)
    }

    /// The other claimants that are gone: their lease ran out, or nobody holds their lock.
    pub(super) async fn dead(
        &self,
        db: &mut SqliteConnection,
        now: i64,
    ) -> Result<Vec<i64>, sqlx::Error> {
        let others =
            sqlx::query("SELECT id, name, expires_at, locked FROM claimant WHERE id IS NOT ?1")
                .bind(self.id())
                .fetch_all(db)
                .await?;
        Ok(others
            .into_iter()
            .filter(|row| {
                let lock = lock_path(&self.database, row.get(1));
                let gone = row.get::<i64, _>(2) < now || (row.get(3) && abandoned(&lock));
                if gone {
                    // It may be gone already; nothing depends on it.
                    let _ = std::fs::remove_file(&lock);
                }
                gone
            })
            .map(|row| row.get(0))
            .collect())
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.lock);
    }
}

fn lock_path(database: &Path, name: &str) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(format!("-claimant-{name}"));
    path.into()
}

/// Whether nobody holds this lock, which was held when its owner registered.
fn abandoned(lock: &Path) -> bool {
    match File::open(lock) {
        Ok(file) => file.try_lock().is_ok(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}
