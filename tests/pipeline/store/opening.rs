//! How a store is opened.

use telegram_connector_operator::store::{self};

use super::StoreFixture;

#[tokio::test]
async fn invalid_store_address_says_what_to_do() {
    for (address, says) in [
        ("sqlite:", "no path"),
        ("sqlite:/proc/nowhere/connectors.db", "/proc/nowhere"),
        ("mysql://root:secret@db/x", "expected sqlite:PATH"),
    ] {
        let error = store::open(address).await.err().unwrap().to_string();
        assert!(error.contains(says) && !error.contains("secret"), "{error}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn store_file_is_readable_by_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let fixture = StoreFixture::new();
    let _store = fixture.open().await;
    let path = fixture.folder.path().join("deep/er/connectors.db");
    let mode = std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
