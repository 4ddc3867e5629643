//! Decisions of users: taken once, with what follows from them; expired, withdrawn, pruned and deleted. Shared by the tests of both databases.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use telegram_connector_operator::store::{
    Change, Claim, DecidedHow, DecisionDetails, DecisionKind, LaneWrite, NewUserDecision,
    Retention, ShownElsewhere, Store, TakenDecision, UserDecision, WriteOutcome,
};

use super::{
    BOT, StoreFixture, claim, connector, end, finish, ids, part, retention_since, store_backlog,
    update,
};

const ID: &str = "0123456789abcdef0123456789abcdef";
/// The group of the approvers.
const GROUP: i64 = -100_777;

async fn accept(store: &dyn Store, update_id: i64, chat: i64) {
    let updates = vec![update(update_id, chat, 100, "text")];
    let uid = connector("a").uid;
    store.accept(&uid, BOT, updates).await.unwrap();
}

/// Answers the message of a chat with a question with buttons, and gives the lane back.
async fn open(
    store: &dyn Store,
    edit: impl FnOnce(&mut NewUserDecision),
) -> (Claim, Option<UserDecision>) {
    accept(store, 1, 7).await;
    let lane = claim(store, "a", 10).await.lanes.remove(0);
    let message = lane.messages[0].id;
    let mut new = NewUserDecision {
        id: ID.into(),
        kind: DecisionKind::Approval,
        session: 0,
        expires_at: Timestamp::MAX,
        details: DecisionDetails::default(),
        message,
        follow_up: r#"{"decision":"x"}"#.into(),
        shown_in: None,
    };
    edit(&mut new);
    let changes = vec![
        Change::Reply {
            message,
            parts: vec![part("Go on?")],
            notice: None,
        },
        Change::OpenDecision(Box::new(new)),
        Change::Sent {
            reply: message,
            number: 0,
            message_id: None,
        },
        Change::DecisionShown {
            reply: message,
            message_id: 55,
        },
        Change::Finish { message },
    ];
    end(store, lane.claim, changes).await;
    (lane.claim, stored(store, &lane.claim).await)
}

async fn stored(store: &dyn Store, claim: &Claim) -> Option<UserDecision> {
    store.user_decision(claim.connector, ID).await.unwrap()
}

fn taken(how: DecidedHow) -> TakenDecision {
    TakenDecision {
        how,
        option: (how == DecidedHow::Tap).then_some(0),
        by: None,
        tapped_message: None,
    }
}

/// Handles one more message of the chat, which takes the decision.
async fn take(store: &dyn Store, update_id: i64, how: DecidedHow) -> WriteOutcome {
    accept(store, update_id, 7).await;
    let lane = claim(store, "a", 10).await.lanes.remove(0);
    let mut changes = vec![Change::TakeDecision {
        id: ID.into(),
        taken: taken(how),
    }];
    changes.extend(finish(&lane));
    end(store, lane.claim, changes).await
}

pub(crate) async fn check_decision_is_taken_once(store: &dyn Store) {
    let (asked, open) = open(store, |_| {}).await;
    let open = open.expect("it is stored");
    assert_eq!((open.message_id, open.shown_chat), (Some(55), Some(7)));
    let first = take(store, 2, DecidedHow::Tap).await;
    assert!(first.decision_taken && first.more_waits);
    // What follows waits in the lane that asked, whoever is killed now; another tap takes nothing.
    accept(store, 3, 7).await;
    let lane = claim(store, "a", 10).await.lanes.remove(0);
    assert!(!lane.has_open_decision);
    assert_eq!(lane.messages[0].json, r#"{"decision":"x"}"#);
    let mut changes = finish(&lane);
    changes.push(Change::TakeDecision {
        id: ID.into(),
        taken: taken(DecidedHow::Typed),
    });
    changes.push(Change::DecisionDelivered { id: ID.into() });
    assert!(!end(store, lane.claim, changes).await.decision_taken);
    let kept = stored(store, &asked).await.expect("the record stays");
    assert_eq!(kept.taken, Some(taken(DecidedHow::Tap)));
    assert_eq!(store_backlog(store).await, 0);
}

pub(crate) async fn check_decision_expires_with_what_follows(store: &dyn Store) {
    let past = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1);
    let (asked, _) = open(store, |new| new.expires_at = past).await;
    let expired = store.expire_decisions().await.unwrap();
    assert_eq!(
        (expired.len(), &*expired[0].id, expired[0].kind),
        (1, ID, DecisionKind::Approval)
    );
    assert!(store.expire_decisions().await.unwrap().is_empty());
    let kept = stored(store, &asked).await.expect("the record stays");
    assert_eq!(kept.taken, Some(taken(DecidedHow::Expired)));
    assert_eq!(store_backlog(store).await, 1);
}

pub(crate) async fn check_withdrawn_decision_has_no_consequence(store: &dyn Store) {
    open(store, |_| {}).await;
    assert!(take(store, 2, DecidedHow::Superseded).await.decision_taken);
    assert_eq!(store_backlog(store).await, 0);
    assert!(!take(store, 3, DecidedHow::Tap).await.decision_taken);
    assert_eq!(store_backlog(store).await, 0);
}

pub(crate) async fn check_decision_is_shown_in_another_chat(store: &dyn Store) {
    let (asked, _) = open(store, |new| {
        new.shown_in = Some(ShownElsewhere {
            chat: GROUP,
            topic: 0,
            parts: vec![part("Approve?")],
        });
    })
    .await;
    let group = claim(store, "a", 10).await.lanes.remove(0);
    assert_eq!((group.key.chat, group.parts.len()), (GROUP, 1));
    let part = &group.parts[0];
    let changes = vec![
        Change::Sent {
            reply: part.reply,
            number: part.number,
            message_id: None,
        },
        Change::DecisionShown {
            reply: part.reply,
            message_id: 56,
        },
    ];
    end(store, group.claim, changes).await;
    let later = Timestamp::MAX;
    let retention = Retention {
        sessions: Timestamp::UNIX_EPOCH,
        ..retention_since(later)
    };
    // Nothing waits in either lane now, but a person.
    while store.prune(retention).await.unwrap() {}
    let shown = stored(store, &asked).await.expect("it is stored");
    assert_eq!(
        (shown.shown_chat, shown.message_id),
        (Some(GROUP), Some(56))
    );
    assert_ne!(shown.lane, shown.shown_lane);
    let open = store.open_user_decisions(shown.lane).await.unwrap();
    assert_eq!(open.len(), 1);
}

pub(crate) async fn check_decisions_go_with_their_connector(store: &dyn Store) {
    let (asked, _) = open(store, |_| {}).await;
    let uid = connector("a").uid;
    store.delete_connector_data(&uid).await.unwrap();
    assert_eq!(stored(store, &asked).await, None);
}

#[tokio::test]
async fn decision_is_taken_once_on_sqlite() {
    check_decision_is_taken_once(&*StoreFixture::new().open().await).await;
}

#[tokio::test]
async fn decision_expires_with_what_follows_on_sqlite() {
    check_decision_expires_with_what_follows(&*StoreFixture::new().open().await).await;
}

#[tokio::test]
async fn withdrawn_decision_has_no_consequence_on_sqlite() {
    check_withdrawn_decision_has_no_consequence(&*StoreFixture::new().open().await).await;
}

#[tokio::test]
async fn decision_is_shown_in_another_chat_on_sqlite() {
    check_decision_is_shown_in_another_chat(&*StoreFixture::new().open().await).await;
}

#[tokio::test]
async fn decisions_go_with_their_connector_on_sqlite() {
    check_decisions_go_with_their_connector(&*StoreFixture::new().open().await).await;
}

/// A process ends between the tap and its end: the tap is handled again, or what follows from it waits; never both, never neither.
#[tokio::test]
async fn decision_and_its_tap_are_one_write() {
    let fixture = StoreFixture::new();
    let store: Arc<dyn Store> = fixture.open().await;
    open(&*store, |_| {}).await;
    accept(&*store, 2, 7).await;
    assert_eq!(ids(&claim(&*store, "a", 10).await), [[2]]);
    let write = |claim, changes| LaneWrite {
        claim,
        changes,
        release: None,
    };
    let take = Change::TakeDecision {
        id: ID.into(),
        taken: taken(DecidedHow::Tap),
    };
    drop(store);
    let store = fixture.open().await;
    store.keep_claims().await.unwrap();
    let again = claim(&*store, "a", 10).await;
    assert_eq!(ids(&again), [[2]]);
    let lane = &again.lanes[0];
    let mut changes = finish(lane);
    changes.push(take);
    store
        .write(write(lane.claim, changes).into())
        .await
        .unwrap();
    drop(store);
    let store = fixture.open().await;
    store.keep_claims().await.unwrap();
    let after = claim(&*store, "a", 10).await;
    assert_eq!(after.lanes[0].messages.len(), 1);
    assert_eq!(after.lanes[0].messages[0].json, r#"{"decision":"x"}"#);
}
