//! The command `backup` on a store in use, as `kubectl exec … backup > file` runs it.

use std::path::Path;
use std::sync::Arc;

use telegram_connector_operator::identity::{BotId, ConnectorUid};
use telegram_connector_operator::store::{self, Store};
use telegram_connector_operator::telegram::RawUpdate;

use super::{error_output, run_program};

/// Writes messages to the store's inbox.
async fn accept(store: &Arc<dyn Store>, updates: std::ops::Range<i64>) {
    let updates = updates.map(|update_id| {
        let update = serde_json::json!({
            "update_id": update_id,
            "message": {"message_id": update_id, "date": 1, "text": "hello", "chat": {"id": 1, "type": "private", "first_name": "A"}},
        });
        RawUpdate::from_body(update.to_string().as_bytes()).unwrap()
    });
    let connector = ConnectorUid::from("uid");
    store
        .accept(&connector, BotId(1), updates.collect())
        .await
        .unwrap();
}

async fn waiting(path: &Path) -> u64 {
    let store = store::open(&format!("sqlite:{}", path.display()))
        .await
        .unwrap();
    let backlog = store.backlog().await.unwrap();
    backlog.iter().map(|b| b.messages).sum()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[tokio::test]
async fn backup_of_a_store_in_use_is_complete() {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("sqlite:{}/connectors.db", folder.path().display());
    let store = store::open(&address).await.unwrap();
    accept(&store, 1..4).await;
    let output = run_program(&["backup"], &[("STORE", &address)]);
    assert!(output.status.success(), "{output:?}");
    accept(&store, 4..9).await;

    assert!(
        names(folder.path()).iter().all(|n| !n.contains("-backup-")),
        "what is passed on goes"
    );
    let restored = tempfile::tempdir().unwrap();
    let copy = restored.path().join("connectors.db");
    std::fs::write(&copy, output.stdout).unwrap();
    assert_eq!(waiting(&copy).await, 3);
}

#[tokio::test]
async fn a_copy_in_a_file_is_private_and_replaces_nothing() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let address = format!("sqlite:{}/connectors.db", folder.path().display());
    let store = store::open(&address).await.unwrap();
    accept(&store, 1..3).await;
    let copy = folder.path().join("copy.db");
    let args = [
        "backup",
        "--store",
        &address,
        "--output",
        copy.to_str().unwrap(),
    ];
    let output = run_program(&args, &[]);
    assert!(output.status.success(), "{output:?}");
    let mode = std::fs::metadata(&copy).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
    assert_eq!(waiting(&copy).await, 2);
    let error = error_output(&run_program(&args, &[]));
    assert!(
        error.contains("copy.db") && error.contains("exists already"),
        "{error}"
    );
}

#[test]
fn backup_of_a_missing_or_foreign_store_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = format!("sqlite:{}/none.db", folder.path().display());
    let error = error_output(&run_program(&["backup", "--store", &nowhere], &[]));
    assert!(error.contains("none.db"), "{error}");
    assert_eq!(names(folder.path()), [""; 0]);
    let postgres = ["backup", "--store", "postgres://db.example/connectors"];
    let error = error_output(&run_program(&postgres, &[]));
    assert!(error.contains("pg_dump"), "{error}");
}
