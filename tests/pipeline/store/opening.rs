//! How a store is opened.

use telegram_connector_operator::store::{self};

use super::Place;

#[tokio::test]
async fn a_store_address_that_is_no_use_says_what_to_do() {
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
async fn the_file_is_its_owners_only() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let _store = place.open().await;
    let path = place.folder.path().join("deep/er/connectors.db");
    let mode = std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
