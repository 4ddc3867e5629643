//! Looks at a file without changing it: whether it opens, and which version its tables have.

use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, SqliteConnection};

use super::{MIGRATIONS, open_error};
use crate::store::{StoreError, StoreState};

/// Nothing is made, upgraded or written.
pub(in crate::store) async fn inspect(path: &Path) -> Result<StoreState, StoreError> {
    if !path.is_file() {
        return Err(open_error::unusable_path(
            path,
            "there is no such file",
            &"the operator makes it at its start",
        ));
    }
    let version = async {
        let mut connection = SqliteConnectOptions::new()
            .filename(path)
            .read_only(true)
            .disable_statement_logging()
            .connect()
            .await?;
        schema_version(&mut connection).await
    };
    let version = version
        .await
        .map_err(|e| open_error::explain(path, "it cannot be read", &e))?;
    StoreState::new(version, MIGRATIONS, &format!("sqlite:{}", path.display()))
}

async fn schema_version(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    let is_there = "SELECT count(*) FROM sqlite_master WHERE name = '_sqlx_migrations'";
    let (tables,): (i64,) = sqlx::query_as(is_there).fetch_one(&mut *connection).await?;
    if tables == 0 {
        return Ok(0);
    }
    let (version,): (i64,) =
        sqlx::query_as("SELECT coalesce(max(version), 0) FROM _sqlx_migrations")
            .fetch_one(connection)
            .await?;
    Ok(version)
}
