//! Why a file cannot be opened as a store, and what to do: a path that may not be written, a damaged file and a newer version's file are different
//! things.

use std::fmt::Display;
use std::path::Path;

use sqlx::migrate::MigrateError;

use crate::store::StoreError;
use crate::store::migrations::newer_version;

/// The path cannot be used: a folder that cannot be made, or no permission.
pub(super) fn unusable_path(path: &Path, what: &str, error: &dyn Display) -> StoreError {
    invalid(
        path,
        what,
        error,
        "Give a path that this process may write, or mount a writable volume there",
    )
}

/// The file was opened, but `SQLite` refuses it.
pub(super) fn explain(path: &Path, what: &str, error: &sqlx::Error) -> StoreError {
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .and_then(|code| code.parse().ok());
    by_code(path, what, error, code)
}

/// The same of the writer's first connection.
pub(super) fn explain_writer(path: &Path, error: &rusqlite::Error) -> StoreError {
    let code = error.sqlite_error().map(|e| e.extended_code);
    by_code(path, "it cannot be read", error, code)
}

/// The tables cannot be made or upgraded.
pub(super) fn explain_migration(path: &Path, error: &MigrateError) -> StoreError {
    const WHAT: &str = "its tables cannot be made or upgraded";
    if let Some(newer) = newer_version(error) {
        return StoreError::Invalid(format!("--store sqlite:{}: {newer}", path.display()));
    }
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            explain(path, WHAT, error)
        }
        // An applied migration that differs, or is half done: nobody but the operator writes its tables.
        other => invalid(path, WHAT, other, DAMAGED),
    }
}

const DAMAGED: &str = "The file is damaged, or not a store of the operator: restore it from a backup (docs/backup.md), or move it away to begin with an empty one";

fn by_code(path: &Path, what: &str, error: &dyn Display, code: Option<i32>) -> StoreError {
    // The low byte is SQLite's primary result code.
    match code.map(|code| code & 0xff) {
        // SQLITE_CORRUPT, SQLITE_NOTADB; SQLITE_ERROR: a table or column is missing.
        Some(11 | 26 | 1) => invalid(path, what, error, DAMAGED),
        // SQLITE_BUSY, SQLITE_LOCKED.
        Some(5 | 6) => invalid(path, what, error, "Another process holds it: stop that one"),
        // SQLITE_FULL.
        Some(13) => invalid(path, what, error, "Free some space on its volume"),
        // SQLITE_IOERR.
        Some(10) => invalid(
            path,
            what,
            error,
            "Its volume answers with errors: look at the node's disk",
        ),
        _ => unusable_path(path, what, error),
    }
}

fn invalid(path: &Path, what: &str, error: &dyn Display, advice: &str) -> StoreError {
    StoreError::Invalid(format!(
        "--store sqlite:{}: {what}: {error}. {advice}",
        path.display()
    ))
}
