//! What people whom nobody named can make the store keep, and what goes first where there is no room.

use std::sync::Arc;

use jiff::Timestamp;
use telegram_connector_operator::store::{
    self, Change, DeniedMessage, ListingQuery, Store, StoreOptions,
};

use super::{BOT, claim, connector, end, finish, update};
use crate::postgres::Postgres;

fn denied(message: i64, name: &str, sender: i64, update_id: i64) -> Change {
    let denied = DeniedMessage {
        time: Timestamp::from_second(100).unwrap(),
        namespace: "acme".into(),
        name: name.into(),
        bot: BOT,
        update_id,
        chat: sender,
        user_id: Some(sender),
        username: None,
        user_name: None,
        language: None,
        text: Some("x".repeat(1_000)),
        content: "text".into(),
        level: "Specific".into(),
    };
    Change::Denied(message, Box::new(denied))
}

/// So many messages of each of these senders are denied by the connector.
async fn deny(store: &dyn Store, name: &str, senders: std::ops::Range<i64>, messages: i64) {
    let first = senders.start * 1_000_000;
    let uid = connector(name).uid;
    let accepted = vec![update(first, senders.start, 100, "x")];
    store.accept(&uid, BOT, accepted).await.unwrap();
    let lane = claim(store, name, 1).await.lanes.remove(0);
    let message = lane.messages[0].id;
    let mut changes = Vec::new();
    for n in 0..messages {
        changes.extend(
            senders
                .clone()
                .map(|sender| denied(message, name, sender, n)),
        );
    }
    changes.extend(finish(&lane));
    end(store, lane.claim, changes).await;
}

async fn denied_of(store: &dyn Store, name: &str) -> Vec<DeniedMessage> {
    let query = ListingQuery {
        namespace: Some("acme".into()),
        name: Some(name.into()),
        limit: 100_000,
        ..ListingQuery::default()
    };
    store.denied(&query).await.unwrap().rows
}

async fn check_bounds(store: &dyn Store) {
    deny(store, "other", 1..2, 3).await;
    deny(store, "a", 2..3, 250).await;
    let kept = denied_of(store, "a").await;
    assert_eq!(kept.len(), 100, "of one sender the newest 100 are kept");
    assert_eq!(kept.iter().map(|row| row.update_id).min(), Some(150));
    deny(store, "a", 100..300, 40).await;
    let kept = denied_of(store, "a").await.len();
    assert!(
        (5_000..5_064).contains(&kept),
        "of one connector {kept} are kept"
    );
    assert_eq!(
        denied_of(store, "other").await.len(),
        3,
        "another connector's go"
    );
}

#[tokio::test]
async fn denied_messages_are_bounded_per_sender_and_connector_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("sqlite:{}/connectors.db", folder.path().display());
    check_bounds(&*store::open(&address).await.unwrap()).await;
}

#[tokio::test]
async fn denied_messages_are_bounded_per_sender_and_connector_on_postgres() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    check_bounds(&*store::open(&postgres.address()).await.unwrap()).await;
}

#[tokio::test]
async fn denied_messages_make_room_before_intake_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("sqlite:{}/connectors.db", folder.path().display());
    let options = StoreOptions {
        max_bytes: Some(9 << 18),
        ..StoreOptions::default()
    };
    let store: Arc<dyn Store> = store::open_with(&address, options).await.unwrap();
    // About a megabyte and a half.
    deny(&*store, "a", 1..16, 80).await;
    let before = denied_of(&*store, "a").await.len();
    let text = "x".repeat(4_000);
    let uid = connector("a").uid;
    for n in 0..200 {
        let accepted = vec![update(50_000_000 + n, 5_000 + n, 100, &text)];
        store
            .accept(&uid, BOT, accepted)
            .await
            .unwrap_or_else(|e| panic!("{n}: {e}"));
    }
    let after = denied_of(&*store, "a").await.len();
    assert!(after < before, "{after} of {before} are left");
}
