//! A clock that steps back: nothing that was stored before waits for the old time to come again.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use telegram_connector_operator::clock::{ManualClock, SharedClock};
use telegram_connector_operator::store::{
    self, AskOutcome, Change, CreateOutcome, LaneWrite, NewOutgoing, Notice, NoticeKind, Release,
    StoreOptions,
};

use super::{BOT, access, claim, connector, end, finish, outgoing, part, update};
use crate::postgres::Postgres;

const DAY_SECONDS: i64 = 86_400;

async fn check_clock_that_steps_back(address: &str) {
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let clock = Arc::new(ManualClock::new(now));
    let options = || {
        let clock: SharedClock = clock.clone();
        StoreOptions {
            clock,
            lease: Duration::from_secs(30),
            ..StoreOptions::default()
        }
    };
    let store = store::open_with(address, options()).await.unwrap();
    let uid = connector("a").uid;
    let updates = vec![update(1, 7, 100, "one"), update(2, 8, 100, "two")];
    store.accept(&uid, BOT, updates).await.unwrap();
    let mut lanes = claim(&*store, "a", 10).await.lanes;
    lanes.sort_by_key(|lane| lane.key.chat);
    // One question waits for a retry; somebody in the other chat is told that he is denied.
    let write = async |lane: &store::ClaimedLane, changes, release| {
        let write = LaneWrite {
            claim: lane.claim,
            changes,
            release,
        };
        store.write(write.into()).await.unwrap()
    };
    let retry = now.checked_add(SignedDuration::from_secs(60)).unwrap();
    write(&lanes[0], vec![], Some(Release::At(retry))).await;
    let notice = || Change::Reply {
        message: lanes[1].messages[0].id,
        parts: vec![part("denied")],
        notice: Some(Notice {
            kind: NoticeKind::Denial,
            since: clock_now(&clock)
                .checked_sub(SignedDuration::from_hours(1))
                .unwrap(),
        }),
    };
    assert!(write(&lanes[1], vec![notice()], None).await.reply_stored);
    assert!(!write(&lanes[1], vec![notice()], None).await.reply_stored);
    assert!(claim(&*store, "a", 10).await.lanes.is_empty());

    clock.advance_seconds(-DAY_SECONDS);
    assert!(
        write(&lanes[1], vec![notice()], None).await.reply_stored,
        "a notice of tomorrow counts"
    );
    store.keep_claims().await.unwrap();
    let due = claim(&*store, "a", 10).await.lanes;
    assert_eq!(due.len(), 1, "the question waits for tomorrow");
    assert_eq!(due[0].messages[0].update_id, 1);
}

/// What a connector has sent and whom a user has asked tomorrow counts for nothing today.
async fn check_counts_when_the_clock_steps_back(address: &str) {
    let clock = Arc::new(ManualClock::new(Timestamp::now()));
    let shared: SharedClock = clock.clone();
    let options = StoreOptions {
        clock: shared,
        ..StoreOptions::default()
    };
    let store = store::open_with(address, options).await.unwrap();
    outgoing::meet(&*store).await;
    let send = async |name: &str| {
        let message = NewOutgoing {
            per_minute: 1,
            ..outgoing::new(name)
        };
        store.create_outgoing(message).await.unwrap()
    };
    let ask = async |update_id| {
        let uid = connector("a").uid;
        let asks = vec![update(update_id, 8, 100, "may I?")];
        store.accept(&uid, BOT, asks).await.unwrap();
        let lanes = claim(&*store, "a", 10).await.lanes;
        let lane = lanes.into_iter().find(|lane| lane.key.chat == 8).unwrap();
        let request = access::request(lane.messages[0].id, |new| {
            new.user = 8;
            new.per_user_per_day = 1;
            new.expires_at = Timestamp::UNIX_EPOCH;
        });
        let mut changes = vec![request];
        changes.extend(finish(&lane));
        end(&*store, lane.claim, changes).await.access_request
    };
    assert!(matches!(send("first").await, CreateOutcome::Created(_)));
    assert!(matches!(
        send("second").await,
        CreateOutcome::TooMany { .. }
    ));
    assert!(matches!(ask(11).await, Some(AskOutcome::Asked(_))));
    assert_eq!(ask(12).await, Some(AskOutcome::TooMany));

    clock.advance_seconds(-DAY_SECONDS);
    store.keep_claims().await.unwrap();
    let sent = send("third").await;
    assert!(matches!(sent, CreateOutcome::Created(_)), "{sent:?}");
    let asked = ask(13).await;
    assert!(matches!(asked, Some(AskOutcome::Asked(_))), "{asked:?}");
}

#[tokio::test]
async fn counts_begin_anew_when_the_clock_steps_back_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("sqlite:{}/connectors.db", folder.path().display());
    check_counts_when_the_clock_steps_back(&address).await;
}

#[tokio::test]
async fn counts_begin_anew_when_the_clock_steps_back_on_postgres() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    check_counts_when_the_clock_steps_back(&postgres.address()).await;
}

fn clock_now(clock: &ManualClock) -> Timestamp {
    telegram_connector_operator::clock::Clock::now(clock)
}

#[tokio::test]
async fn waiting_question_is_due_when_the_clock_steps_back_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    check_clock_that_steps_back(&format!("sqlite:{}/connectors.db", folder.path().display())).await;
}

#[tokio::test]
async fn waiting_question_is_due_when_the_clock_steps_back_on_postgres() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    check_clock_that_steps_back(&postgres.address()).await;
}
