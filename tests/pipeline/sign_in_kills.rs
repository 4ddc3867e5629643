//! Sign-ins whose process ends before or after each call of the store on their way, and sign-ins with two processes: everybody is answered, in order, and
//! nobody before they have signed in.

use std::collections::HashSet;
use std::time::Duration;

use telegram_connector_operator::store::ListingQuery;

use crate::identity_provider::{Entered, FakeProvider};
use crate::kill_moments::{ending_at, resolve_anew};
use crate::postgres_server::Postgres;
use crate::sign_in::{Company, DAY};
use crate::test_env::{TestEnv, open_with_lease, wait_until};

/// A claim of a process that is gone holds for so long, of a sign-in four times that.
const LEASE: Duration = Duration::from_millis(150);
/// More moments than there are on the way of two messages and their sign-in.
const MOST_MOMENTS: usize = 120;

/// Calls that come by the clock, or of the test itself.
static NOT_ON_THE_WAY: [&str; 7] = [
    "keep_claims",
    "prune",
    "expire_decisions",
    "expire_access_requests",
    "backlog",
    "sign_in_work",
    "membership_issuers",
];

/// The person enters each code that they are sent, until both messages are answered.
async fn sign_in_until_answered(company: &Company, user: i64) {
    let subject = format!("subject-{user}");
    wait_until("both messages are answered", async || {
        for code in company.codes(user) {
            company.provider.enter(&code, Entered::As(subject.clone()));
        }
        let texts = company.said_to(user);
        ["re one", "re two"]
            .iter()
            .all(|answer| texts.iter().any(|text| text == answer))
    })
    .await;
}

/// In a process that ends at the moment `n`, somebody new writes two messages and signs in; whether it ended.
fn is_killed_while_signing_in(company: &Company, n: usize, user: i64) -> bool {
    let process = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let killed = process.block_on(async {
        let store = ending_at(
            open_with_lease(&company.env.address, LEASE).await,
            n,
            &NOT_ON_THE_WAY,
        );
        resolve_anew(&company.env, &company.support);
        let _pipeline = company.env.second_process(store.clone());
        tokio::select! {
            () = store.ended() => true,
            () = sign_in_until_answered(company, user) => false,
        }
    });
    process.shutdown_background();
    killed
}

/// Both were answered, the first one first; and nothing was asked of the assistant before the person had signed in.
fn check_answers(company: &Company, n: usize, user: i64) {
    let texts = company.said_to(user);
    let place = |answer: &str| texts.iter().position(|text| text == answer);
    assert!(place("re one") < place("re two"), "moment {n}: {texts:?}");
    let link = texts.iter().position(|text| text.contains("CODE-"));
    assert!(link < place("re one"), "moment {n}: {texts:?}");
    let mut keys = HashSet::new();
    for question in company.assistant.take_questions() {
        // Asked again after an end in between it has the same key.
        keys.insert((question.text, question.idempotency_key));
    }
    assert_eq!(keys.len(), 2, "moment {n}: {keys:?}");
}

/// `moments`: of so many one is tried, beginning with the first.
async fn everybody_is_answered_whenever_the_process_ends(env: TestEnv, moments: usize) {
    let mut company = Company::on(env, FakeProvider::new(), DAY, Duration::ZERO);
    company.env.stop(Duration::from_secs(5)).await;
    for (tried, n) in (1..=MOST_MOMENTS).step_by(moments).enumerate() {
        let user = 20_000 + i64::try_from(n).unwrap();
        company.say(user, "one");
        company.say(user, "two");
        let accepted = async || {
            let info = company.support.bot.get_webhook_info().await.unwrap();
            info.pending_update_count == 0
        };
        wait_until("the messages are accepted", accepted).await;
        let killed = tokio::task::block_in_place(|| is_killed_while_signing_in(&company, n, user));
        company.env.store = open_with_lease(&company.env.address, LEASE).await;
        resolve_anew(&company.env, &company.support);
        let pipeline = company.env.second_process(company.env.store.clone());
        sign_in_until_answered(&company, user).await;
        company.env.wait_until_drained().await;
        pipeline.shutdown(Duration::from_secs(5)).await;
        check_answers(&company, n, user);
        assert_eq!(company.grants().await, tried + 1, "one grant each");
        if !killed {
            println!("{tried} of {} moments", n - 1);
            assert!(n > 16, "{n}: hold, start, tell, poll, let in and answer");
            let listing = ListingQuery {
                limit: 10,
                ..ListingQuery::default()
            };
            let denied = company.env.store.denied(&listing).await.unwrap();
            assert!(denied.rows.is_empty());
            return;
        }
    }
    panic!("more than {MOST_MOMENTS} moments");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_is_answered_in_order_whoever_ends() {
    everybody_is_answered_whenever_the_process_ends(TestEnv::new().await, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_everybody_is_answered_in_order_whoever_ends() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let env = TestEnv::on(&postgres.address()).await;
    everybody_is_answered_whenever_the_process_ends(env, 5).await;
}

#[tokio::test]
async fn postgres_two_processes_let_everybody_in_once() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let env = TestEnv::on(&postgres.address()).await;
    let company = Company::on(env, FakeProvider::new(), DAY, Duration::ZERO);
    let other = open_with_lease(&postgres.address(), Duration::from_secs(30)).await;
    let second = company.env.second_process(other);
    let users: Vec<i64> = (30_000..30_030).collect();
    for user in &users {
        company.say(*user, "one");
        company.say(*user, "two");
    }
    for user in &users {
        sign_in_until_answered(&company, *user).await;
    }
    company.env.wait_until_drained().await;
    second.shutdown(Duration::from_secs(5)).await;
    for user in &users {
        let texts = company.said_to(*user);
        assert_eq!(texts[1..], ["re one", "re two"], "{texts:?}");
    }
    assert_eq!(company.grants().await, users.len());
    assert_eq!(company.provider.started(), users.len());
}
