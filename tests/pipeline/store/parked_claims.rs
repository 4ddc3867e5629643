//! A claim that waits for a message takes it as it is accepted.

use std::time::Duration;

use telegram_connector_operator::store::{
    ClaimOutcome, ClaimRequest, LaneWrite, ParkedClaim, Release, Store,
};

use super::{BOT, StoreFixture, claim, connector, end, finish, ids, update};

fn park(store: &dyn Store, name: &str, lanes: usize) -> ParkedClaim {
    store.park_claim(ClaimRequest {
        connector: connector(name),
        bot: BOT,
        lanes,
        history: 25,
    })
}

async fn accept(store: &dyn Store, name: &str, messages: &[(i64, i64)]) {
    let messages = messages.iter();
    let updates = messages.map(|(id, chat)| update(*id, *chat, 100, "text"));
    let uid = connector(name).uid;
    store.accept(&uid, BOT, updates.collect()).await.unwrap();
}

async fn outcome(parked: ParkedClaim) -> ClaimOutcome {
    let outcome = tokio::time::timeout(Duration::from_secs(30), parked.outcome());
    let outcome = outcome.await.expect("it is carried out");
    outcome.expect("it is not withdrawn").unwrap()
}

/// Whose message came, as far as the notifier was told by now.
async fn notified(store: &dyn Store) -> Vec<String> {
    let notifier = store.work_notifier();
    // What is told last shows that nothing else was.
    notifier.notify(&connector("last").uid);
    let notified = notifier.notified_connectors().await;
    let mut notified: Vec<_> = notified.iter().map(|uid| uid.as_str().to_owned()).collect();
    notified.sort();
    notified
}

/// Shared by the tests of both databases.
pub(crate) async fn check_parked_claim_takes_the_next_message(store: &dyn Store) {
    let parked = park(store, "a", 4);
    accept(store, "b", &[(1, 9)]).await;
    accept(store, "a", &[(2, 7), (3, 7), (4, 8)]).await;
    let claimed = outcome(parked).await;
    let mut messages = ids(&claimed);
    messages.sort();
    assert_eq!(messages, [vec![2, 3], vec![4]]);
    assert_eq!(claimed.drained, [connector("a").uid]);
    assert_eq!(notified(store).await, ["uid-b", "uid-last"]);
    assert!(!store.withdraw_claim(&connector("a").uid));
}

#[tokio::test]
async fn parked_claim_takes_the_next_message_as_it_is_accepted() {
    let store = StoreFixture::new().open().await;
    check_parked_claim_takes_the_next_message(&*store).await;
}

#[tokio::test]
async fn parked_claim_takes_no_more_lanes_than_it_asked_for() {
    let store = StoreFixture::new().open().await;
    let parked = park(&*store, "a", 1);
    accept(&*store, "a", &[(1, 7), (2, 8)]).await;
    let claimed = outcome(parked).await;
    assert_eq!((claimed.lanes.len(), claimed.drained.len()), (1, 0));
    assert_eq!(claim(&*store, "a", 10).await.lanes.len(), 1);
}

#[tokio::test]
async fn parked_claim_brings_the_lane_that_another_message_freed() {
    let store = StoreFixture::new().open().await;
    accept(&*store, "a", &[(1, 7)]).await;
    let held = claim(&*store, "a", 10).await.lanes.remove(0);
    let parked = park(&*store, "a", 4);
    store.release_in_background(
        connector("a").uid,
        LaneWrite {
            claim: held.claim,
            changes: finish(&held),
            release: Some(Release::Now),
        },
    );
    accept(&*store, "a", &[(2, 7)]).await;
    assert_eq!(ids(&outcome(parked).await), [[2]]);
}

#[tokio::test]
async fn withdrawn_claim_takes_nothing_and_the_message_is_notified() {
    let store = StoreFixture::new().open().await;
    let parked = park(&*store, "a", 4);
    assert!(store.withdraw_claim(&connector("a").uid));
    accept(&*store, "a", &[(1, 7)]).await;
    assert!(parked.outcome().await.is_none());
    assert_eq!(notified(&*store).await, ["uid-a", "uid-last"]);
    let claimed = claim(&*store, "a", 10).await;
    assert_eq!(ids(&claimed), [[1]]);
    end(&*store, claimed.lanes[0].claim, finish(&claimed.lanes[0])).await;
}
