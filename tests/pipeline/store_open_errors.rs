//! Why a store cannot be opened: the sentence says what the file is, and what to do about just that.

use std::path::Path;

use sqlx::{ConnectOptions, Connection};
use telegram_connector_operator::store::{self, StoreOptions};

fn address(path: &Path) -> String {
    format!("sqlite:{}", path.display())
}

async fn error_of(path: &Path) -> String {
    let opened = store::open_with(&address(path), StoreOptions::default()).await;
    opened.err().expect("it cannot be opened").to_string()
}

/// Makes a store, closes it, and changes its file by SQL.
async fn changed_store(path: &Path, statements: &[&str]) {
    let opened = store::open_with(&address(path), StoreOptions::default()).await;
    drop(opened.unwrap());
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    let mut file = options.connect().await.unwrap();
    for statement in statements.iter().copied() {
        let statement = sqlx::AssertSqlSafe(statement);
        sqlx::query(statement).execute(&mut file).await.unwrap();
    }
    file.close().await.unwrap();
}

#[tokio::test]
async fn file_that_is_no_database_is_restored_from_a_backup() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("connectors.db");
    std::fs::write(&path, "not a database ".repeat(1000)).unwrap();
    let error = error_of(&path).await;
    assert!(error.contains("restore it from a backup"), "{error}");
    assert!(!error.contains("may write"), "{error}");
}

#[tokio::test]
async fn malformed_database_is_restored_from_a_backup() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("connectors.db");
    changed_store(&path, &["PRAGMA wal_checkpoint(TRUNCATE)"]).await;
    let mut bytes = std::fs::read(&path).unwrap();
    // The header stays; the pages behind it are overwritten.
    bytes[100..].fill(0xa5);
    std::fs::write(&path, bytes).unwrap();
    for beside in ["connectors.db-wal", "connectors.db-shm"] {
        let _ = std::fs::remove_file(folder.path().join(beside));
    }
    let error = error_of(&path).await;
    assert!(error.contains("restore it from a backup"), "{error}");
    assert!(!error.contains("may write"), "{error}");
}

#[tokio::test]
async fn store_of_a_newer_version_asks_for_that_version() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("connectors.db");
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'later', 1, x'00', 0)";
    changed_store(&path, &[newer]).await;
    let error = error_of(&path).await;
    assert!(
        error.contains("newer version") && error.contains("9999"),
        "{error}"
    );
    assert!(!error.contains("may write"), "{error}");
}

#[tokio::test]
async fn path_that_cannot_be_written_asks_for_another_path() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = error_of(&file.join("connectors.db")).await;
    assert!(
        error.contains("Give a path that this process may write"),
        "{error}"
    );
}
