//! What a connector leaves when another one gets its name: it is found by that name no longer, and that is a change.

use telegram_connector_operator::identity::{ConnectorRef, ConnectorUid};
use telegram_connector_operator::store::{
    self, Change, DeniedMessage, ObjectChange, ObjectKind, ObjectQuery, Store,
};

use super::{BOT, StoreFixture, claim, connector, end, update};
use crate::postgres_server::Postgres;

async fn deny(store: &dyn Store) {
    let of = connector("a");
    let accepted = store.accept(&of.uid, BOT, vec![update(1, 7, 100, "let me in")]);
    accepted.await.unwrap();
    let lane = claim(store, "a", 1).await.lanes.remove(0);
    let message = lane.messages[0].id;
    let denied = DeniedMessage {
        time: jiff::Timestamp::UNIX_EPOCH,
        namespace: of.namespace.to_string(),
        name: of.name.to_string(),
        bot: BOT,
        update_id: 1,
        chat: 7,
        user_id: Some(7),
        username: None,
        user_name: None,
        language: None,
        text: Some("let me in".into()),
        content: "text".into(),
        level: "Specific".into(),
    };
    let denied = Change::Denied(message, Box::new(denied));
    end(store, lane.claim, vec![denied, Change::Finish { message }]).await;
}

async fn check_left_objects_change(store: &dyn Store) {
    deny(store).await;
    let all = ObjectQuery::all(ObjectKind::DeniedMessage);
    let of_name = ObjectQuery {
        namespace: Some("acme".into()),
        connector: Some("a".into()),
        ..all.clone()
    };
    let before = store.list_objects(&of_name, None, 10).await.unwrap();
    assert!(before.objects.len() == 1 && !before.objects[0].is_left);
    let another = ConnectorRef {
        uid: ConnectorUid::from("another"),
        ..connector("a")
    };
    store.register(&another).await.unwrap();
    let now = store.list_objects(&of_name, None, 10).await.unwrap();
    assert!(now.objects.is_empty());
    let changes = store.object_changes(&all, before.revision, 10).await;
    let changes = changes.unwrap().changes;
    assert!(
        matches!(&changes[..], [ObjectChange::Present(left)] if left.is_left && left.connector == "a"),
        "{changes:?}"
    );
}

#[tokio::test]
async fn object_changes_when_another_connector_gets_the_name() {
    let env = StoreFixture::new();
    check_left_objects_change(&*env.open().await).await;
}

#[tokio::test]
async fn object_changes_with_the_name_on_postgres() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let store = store::open(&postgres.address()).await.unwrap();
    check_left_objects_change(&*store).await;
}
