//! What was said in a lane and not to the bot: how much is kept, for how long, and with what it goes.

use jiff::Timestamp;
use telegram_connector_operator::store::{
    Change, Claim, LaneWrite, ReadAlongMessage, Retention, Store,
};

use super::{BOT, StoreFixture, claim, connector, end, retention_since, update};

fn message(id: i64, text: &str) -> ReadAlongMessage {
    ReadAlongMessage {
        message_id: id,
        sent_at: Timestamp::from_second(1_800_000_000 + id).unwrap(),
        user_id: if text == "elsewhere" { 8 } else { 7 },
        username: None,
        name: "Ann".into(),
        text: text.into(),
    }
}

fn keep(id: i64, text: &str) -> Change {
    Change::ReadAlong(Box::new(message(id, text)), 3)
}

async fn write(store: &dyn Store, claim: Claim, changes: Vec<Change>) {
    let write = LaneWrite {
        claim,
        changes,
        release: None,
    };
    store.write(write.into()).await.unwrap();
}

async fn texts(store: &dyn Store, lane: i64) -> Vec<String> {
    let kept = store.read_along(lane).await.unwrap();
    kept.into_iter().map(|message| message.text).collect()
}

/// Every way on which what is read along ends, on any database.
pub(crate) async fn read_along_is_bounded_and_ends(store: &dyn Store) {
    let uid = connector("a").uid;
    let updates = vec![update(1, 7, 100, "one"), update(2, 8, 100, "two")];
    store.accept(&uid, BOT, updates).await.unwrap();
    let mut lanes = claim(store, "a", 2).await.lanes;
    lanes.sort_by_key(|lane| lane.key.chat);
    let [first, second] = [&lanes[0], &lanes[1]].map(|lane| lane.claim);
    let other = vec![keep(1, "elsewhere")];
    write(store, second, other).await;
    let changes = (1..=5).map(|n| keep(n, &format!("m{n}"))).collect();
    write(store, first, changes).await;
    assert_eq!(texts(store, first.lane).await, ["m3", "m4", "m5"]);
    write(store, first, vec![keep(4, "m4, edited")]).await;
    assert_eq!(texts(store, first.lane).await, ["m3", "m4, edited", "m5"]);
    write(store, first, vec![Change::EndReadAlong(4), keep(6, "m6")]).await;
    assert_eq!(texts(store, first.lane).await, ["m5", "m6"]);
    let before = Timestamp::from_second(1_800_000_006).unwrap();
    let retention = Retention {
        read_along: before,
        outgoing: before,
        grants: before,
        ..retention_since(Timestamp::MIN)
    };
    store.prune(retention).await.unwrap();
    assert_eq!(texts(store, first.lane).await, ["m6"]);
    for lane in &lanes {
        let message = lane.messages[0].id;
        end(store, lane.claim, vec![Change::Finish { message }]).await;
    }
    // A lane in which nothing else is remembered stays as long as something is read along.
    store
        .prune(Retention {
            identities: Timestamp::now(),
            ..retention
        })
        .await
        .unwrap();
    assert_eq!(texts(store, first.lane).await, ["m6"]);
    store.delete_connector_data(&uid).await.unwrap();
    assert!(texts(store, first.lane).await.is_empty());
}

#[tokio::test]
async fn read_along_is_bounded_and_goes_with_its_connector() {
    let fixture = StoreFixture::new();
    read_along_is_bounded_and_ends(&*fixture.open().await).await;
}
