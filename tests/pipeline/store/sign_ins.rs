//! Bounds of sign-ins: what people who are no members can make the store keep and the provider be asked; and a clock that steps back.

use std::time::Duration;

use jiff::Timestamp;
use telegram_connector_operator::store::{
    self, Change, ClaimedSignIn, HeldForSignIn, HoldOutcome, LaneWrite, MAX_HELD, MAX_OPEN,
    MAX_PER_HOUR, NewMembership, Release, SignInStep, StepOutcome, Store,
};

use super::{BOT, StoreFixture, claim, connector, update};
use crate::postgres_server::Postgres;

/// Somebody writes, and what they wrote is to wait for their sign-in.
async fn write_and_hold(store: &dyn Store, update_id: i64, user: i64, text: &str) -> HoldOutcome {
    let uid = connector("a").uid;
    let new = vec![update(update_id, user, 100 + update_id, text)];
    store.accept(&uid, BOT, new).await.unwrap();
    let lane = claim(store, "a", 1).await.lanes.remove(0);
    let message = lane.messages[0].id;
    let held = HeldForSignIn {
        message,
        user,
        name: "Eve".into(),
        username: None,
        language: None,
    };
    let write = |changes| {
        let write = LaneWrite {
            claim: lane.claim,
            changes,
            release: None,
        };
        store.write(write.into())
    };
    let change = vec![Change::HoldForSignIn(held.into())];
    let outcome = write(change.clone()).await.unwrap().held.unwrap();
    if matches!(outcome, HoldOutcome::Begun | HoldOutcome::Held) {
        // Of a write whose outcome was lost the repetition changes nothing.
        assert_eq!(write(change).await.unwrap().held, Some(HoldOutcome::Held));
    }
    let release = LaneWrite {
        claim: lane.claim,
        changes: vec![Change::Finish { message }],
        release: Some(Release::Now),
    };
    store.write(release.into()).await.unwrap();
    outcome
}

async fn claim_one(store: &dyn Store) -> Option<ClaimedSignIn> {
    let claimed = store.claim_sign_ins(&connector("a").uid, 1).await;
    claimed.unwrap().pop()
}

async fn end(store: &dyn Store, sign_in: &ClaimedSignIn) -> StepOutcome {
    let held = store.held_messages(sign_in.claim.id).await.unwrap();
    let step = SignInStep::Ended {
        denied: Vec::new(),
        parts: Vec::new(),
        last_message: held.last().map_or(0, |m| m.id),
    };
    store.step_sign_in(sign_in.claim, step).await.unwrap()
}

async fn let_in(store: &dyn Store, sign_in: &ClaimedSignIn, subject: &str, now: Timestamp) {
    let day = Duration::from_hours(24);
    let member = NewMembership {
        issuer: "https://id.example".into(),
        subject: subject.into(),
        refresh_token: Some(vec![7; 200]),
        recheck_at: now + day,
        valid_until: now + day,
        replaced: None,
    };
    let step = SignInStep::SignedIn(member.into());
    let done = store.step_sign_in(sign_in.claim, step).await.unwrap();
    assert_eq!(done, StepOutcome::Done);
}

async fn bounds_hold(store: &dyn Store) {
    for n in 1..=MAX_HELD + 2 {
        let expected = match n {
            1 => HoldOutcome::Begun,
            2..=MAX_HELD => HoldOutcome::Held,
            _ => HoldOutcome::TooMany,
        };
        let outcome = write_and_hold(store, n, 7, "hi").await;
        assert_eq!(outcome, expected, "message {n}");
    }
    // By bytes, the message that goes beyond them is the last.
    let long = "x".repeat(60_000);
    assert_eq!(
        write_and_hold(store, 101, 8, &long).await,
        HoldOutcome::Begun
    );
    assert_eq!(
        write_and_hold(store, 102, 8, &long).await,
        HoldOutcome::Held
    );
    assert_eq!(
        write_and_hold(store, 103, 8, "x").await,
        HoldOutcome::TooMany
    );
    for n in 0..MAX_OPEN - 2 {
        let outcome = write_and_hold(store, 1000 + n, 100 + n, "hi").await;
        assert_eq!(outcome, HoldOutcome::Begun, "person {n}");
    }
    let outcome = write_and_hold(store, 5000, 99, "hi").await;
    assert_eq!(outcome, HoldOutcome::TooMany, "too many people");
}

#[tokio::test]
async fn what_waits_for_sign_ins_is_bounded() {
    let fixture = StoreFixture::new();
    bounds_hold(&*fixture.open().await).await;
}

#[tokio::test]
async fn postgres_what_waits_for_sign_ins_is_bounded() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    bounds_hold(&*store::open(&postgres.address()).await.unwrap()).await;
}

#[tokio::test]
async fn user_begins_a_bounded_number_of_sign_ins_in_an_hour() {
    let fixture = StoreFixture::new();
    let store = fixture.open().await;
    for n in 1..=MAX_PER_HOUR {
        let outcome = write_and_hold(&*store, n, 7, "hi").await;
        assert_eq!(outcome, HoldOutcome::Begun, "sign-in {n}");
        let sign_in = claim_one(&*store).await.unwrap();
        assert_eq!(end(&*store, &sign_in).await, StepOutcome::Done);
        assert_eq!(end(&*store, &sign_in).await, StepOutcome::Lost);
    }
    let outcome = write_and_hold(&*store, 50, 7, "hi").await;
    assert_eq!(outcome, HoldOutcome::TooMany);
    fixture.clock.advance_seconds(3601);
    let outcome = write_and_hold(&*store, 51, 7, "hi").await;
    assert_eq!(outcome, HoldOutcome::Begun);
}

#[tokio::test]
async fn clock_that_steps_back_delays_no_sign_in() {
    let fixture = StoreFixture::new();
    let store = fixture.open().await;
    write_and_hold(&*store, 1, 7, "hi").await;
    let sign_in = claim_one(&*store).await.unwrap();
    assert_eq!(claim_one(&*store).await, None);
    fixture.clock.advance_seconds(-5 * 3600);
    let now = Timestamp::from_second(1_800_000_000 - 5 * 3600).unwrap();
    let work = store.sign_in_work(now).await.unwrap();
    assert_eq!(work.sign_ins, [connector("a").uid]);
    let again = claim_one(&*store).await.unwrap();
    assert_eq!(again.claim.id, sign_in.claim.id);
    let_in(&*store, &again, "eve", now).await;
    // Whoever had it before changes nothing.
    assert_eq!(end(&*store, &sign_in).await, StepOutcome::Lost);
    fixture.clock.advance_seconds(-3600);
    let earlier = now - Duration::from_hours(1);
    let work = store.sign_in_work(earlier).await.unwrap();
    assert_eq!(work.memberships, [connector("a").uid]);
    let claimed = store.claim_memberships(&connector("a").uid, 10).await;
    assert_eq!(claimed.unwrap().len(), 1);
    let claimed = store.claim_memberships(&connector("a").uid, 10).await;
    assert_eq!(claimed.unwrap(), []);
}
