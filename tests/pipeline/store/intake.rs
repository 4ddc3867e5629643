//! What is accepted: once, in order, and no more than may wait.

use telegram_connector_operator::identity::BotId;
use telegram_connector_operator::store::StoreError;

use super::{
    BOT, StoreFixture, check_stop_makes_waiting_lane_ready,
    check_tap_waits_behind_what_came_before_it, claim, connector, end, finish, ids, update,
};

#[tokio::test]
async fn second_delivery_of_handled_update_changes_nothing() {
    let fixture = StoreFixture::new();
    let store = fixture.open().await;
    let uid = connector("a").uid;
    let batch = || vec![update(1, 7, 100, "one"), update(2, 7, 101, "two")];
    let first = store.accept(&uid, BOT, batch()).await.unwrap();
    assert_eq!((first.new, first.known), (2, 0));
    let second = store.accept(&uid, BOT, batch()).await.unwrap();
    assert_eq!((second.new, second.known), (0, 2));
    let claimed = claim(&*store, "a", 10).await;
    assert_eq!(ids(&claimed), [[1, 2]]);
    let lane = &claimed.lanes[0];
    end(&*store, lane.claim, finish(lane)).await;
    let third = store.accept(&uid, BOT, batch()).await.unwrap();
    assert_eq!((third.new, third.known), (0, 2));
    assert!(claim(&*store, "a", 10).await.lanes.is_empty());
}

#[tokio::test]
async fn lane_is_ordered_by_date_and_update_id() {
    let fixture = StoreFixture::new();
    let store = fixture.open().await;
    let uid = connector("a").uid;
    // After an idle week the next update_id is random: 5 is newer than 900 here.
    store
        .accept(
            &uid,
            BOT,
            vec![
                update(5, 7, 900_000, "newest"),
                update(901, 7, 100, "second"),
                update(900, 7, 100, "first"),
            ],
        )
        .await
        .unwrap();
    assert_eq!(ids(&claim(&*store, "a", 10).await), [[900, 901, 5]]);
}

#[tokio::test]
async fn tap_waits_behind_what_came_before_it() {
    let fixture = StoreFixture::new();
    check_tap_waits_behind_what_came_before_it(&*fixture.open().await).await;
}

#[tokio::test]
async fn full_backlog_refuses_updates_of_its_bot_only() {
    let fixture = StoreFixture::new();
    let store = fixture.open_with(|o| o.backlog_per_bot = 3).await;
    let uid = connector("a").uid;
    for n in 0..3 {
        store
            .accept(&uid, BOT, vec![update(n, n, 100, "x")])
            .await
            .unwrap();
    }
    let refused = store.accept(&uid, BOT, vec![update(3, 3, 100, "x")]).await;
    assert!(matches!(refused, Err(StoreError::BacklogFull(BOT))));
    let other = BotId(2);
    let accepted = store
        .accept(&connector("b").uid, other, vec![update(3, 3, 100, "x")])
        .await
        .unwrap();
    assert_eq!(accepted.new, 1);
    let lane = claim(&*store, "a", 1).await.lanes.remove(0);
    end(&*store, lane.claim, finish(&lane)).await;
    store
        .accept(&uid, BOT, vec![update(3, 3, 100, "x")])
        .await
        .unwrap();
}

#[tokio::test]
async fn stop_command_makes_waiting_lane_ready() {
    let fixture = StoreFixture::new();
    check_stop_makes_waiting_lane_ready(&*fixture.open().await).await;
}
