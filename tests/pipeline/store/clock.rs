//! A clock that steps back: nothing that was stored before waits for the old time to come again.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use telegram_connector_operator::clock::{ManualClock, SharedClock};
use telegram_connector_operator::store::{
    self, Change, LaneWrite, Notice, NoticeKind, Release, StoreOptions,
};

use super::{BOT, claim, connector, part, update};
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
