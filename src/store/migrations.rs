//! The migrations of both stores, for sqlx to run. Listed by hand, because `sqlx::migrate!` has sqlx and `SQLite` compiled twice: the
//! second time for the macro.

use sqlx::SqlSafeStr;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};

/// One migration: its version, its name, and its SQL. All three are stored in the database and must never change.
pub(super) type File = (i64, &'static str, &'static str);

/// The migrations as sqlx runs them.
pub(super) fn migrator(files: &[File]) -> Migrator {
    Migrator::with_migrations(
        files
            .iter()
            .map(|&(version, name, sql)| {
                Migration::new(
                    version,
                    name.into(),
                    MigrationType::Simple,
                    sql.into_sql_str(),
                    false,
                )
            })
            .collect(),
    )
}

/// What is wrong and what to do where the tables are those of a newer version; `None` for any other error.
pub(super) fn newer_version(error: &MigrateError) -> Option<String> {
    let MigrateError::VersionMissing(version) = error else {
        return None;
    };
    Some(format!(
        "a newer version of the operator made its tables (migration {version} is unknown here). Run that version or a later one, or restore a backup from before the upgrade (docs/upgrade.md)"
    ))
}
