//! A copy of the database while it is in use: a snapshot of one instant, whole and compact.

use std::path::Path;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;

use super::connection::explain;
use super::create_private;
use crate::store::StoreError;

/// How long to wait for a writer that holds the database for itself, as at a checkpoint.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// Writes a copy of the database at `path` to the file `into`, which must be new or empty; readable by its owner only. Reading is all
/// it does to the database, and writers are not held up.
pub(in crate::store) async fn backup(path: &Path, into: &Path) -> Result<(), StoreError> {
    let unwritable = |reason: &dyn std::fmt::Display| {
        StoreError::Invalid(format!("the backup {}: {reason}", into.display()))
    };
    let Some(target) = into.to_str() else {
        return Err(unwritable(&"its path is not UTF-8"));
    };
    if std::fs::metadata(into).is_ok_and(|found| found.len() > 0) {
        return Err(unwritable(
            &"it exists already; name a new file, or remove this one",
        ));
    }
    create_private(into).map_err(|e| unwritable(&e))?;
    let copied = async {
        let mut connection = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .busy_timeout(BUSY_TIMEOUT)
            .disable_statement_logging()
            .connect()
            .await?;
        sqlx::query("VACUUM INTO ?")
            .bind(target)
            .execute(&mut connection)
            .await
    };
    match copied.await {
        Ok(_) => Ok(()),
        Err(error) => {
            // Half a copy is worse than none.
            let _ = std::fs::remove_file(into);
            Err(explain(path, &error))
        }
    }
}
