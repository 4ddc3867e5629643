//! A message that may be what ends the process: handled with care, and in the end given up.

use std::time::Duration;

use telegram_connector_operator::store::{self, StoreOptions};

use crate::postgres::Postgres;
use crate::store::{BOT, claim, connector, update};
use crate::test_env::{ANN, TIMEOUT, TestEnv, wait_until};

fn options() -> StoreOptions {
    StoreOptions {
        lease: Duration::from_millis(100),
        ..StoreOptions::default()
    }
}

/// A message waits, and so many processes end with it in work, without a word.
async fn crash_with_a_message_in_work(address: &str, crashes: u32) {
    let store = store::open_with(address, options()).await.unwrap();
    let message = update(1 << 40, ANN, jiff::Timestamp::now().as_second(), "**hi**");
    let behind = update(
        (1 << 40) + 1,
        ANN,
        jiff::Timestamp::now().as_second() + 60,
        "**ho**",
    );
    let uid = connector("support").uid;
    store
        .accept(&uid, BOT, vec![message, behind])
        .await
        .unwrap();
    drop(store);
    for n in 0..crashes {
        let store = store::open_with(address, options()).await.unwrap();
        wait_until("the lane of the process before is taken over", async || {
            store.keep_claims().await.unwrap();
            let lanes = claim(&*store, "support", 1).await.lanes;
            lanes.iter().any(|lane| lane.messages[0].crashes == n)
        })
        .await;
    }
}

/// What the bot says to both messages after so many crashes.
async fn replies_after_crashes(env: &mut TestEnv, crashes: u32) -> Vec<String> {
    let support = env.connector("support");
    // The simulator takes messages for whoever has written to the bot.
    env.ask(&support, "/start").await;
    let resolved = env.registry.get(&support.uid).unwrap();
    env.registry.withdraw(&support.uid);
    crash_with_a_message_in_work(&env.address, crashes).await;
    env.registry.publish(resolved);
    let sent = env
        .telegram
        .wait_for_sent_messages(support.id, ANN, 2, TIMEOUT)
        .await;
    sent.into_iter()
        .skip(1)
        .map(|message| message.text)
        .collect()
}

async fn check_handled_with_care(mut env: TestEnv) {
    let replies = replies_after_crashes(&mut env, 1).await;
    assert!(replies[0].contains("**hi**"), "{replies:?}");
    assert!(
        replies[1].contains("ho") && !replies[1].contains("**ho**"),
        "{replies:?}"
    );
    assert!(env.dead_letters().await.is_empty());
}

async fn check_given_up(mut env: TestEnv) {
    let replies = replies_after_crashes(&mut env, 10).await;
    assert!(replies[1].contains("ho"), "{replies:?}");
    let dead_letters = env.dead_letters().await;
    assert_eq!(dead_letters.len(), 1, "{replies:?}");
    assert!(
        dead_letters[0].reason.contains("ended 10 times"),
        "{dead_letters:?}"
    );
    let asked = format!("{:?}", env.assistant.requests());
    assert!(
        !asked.contains("**hi**"),
        "it was asked about again: {asked}"
    );
}

#[tokio::test]
async fn message_in_work_at_a_crash_is_answered_as_plain_text_on_sqlite() {
    check_handled_with_care(TestEnv::new().await).await;
}

#[tokio::test]
async fn message_in_work_at_a_crash_is_answered_as_plain_text_on_postgres() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    check_handled_with_care(TestEnv::on(&postgres.address()).await).await;
}

#[tokio::test]
async fn message_in_work_at_ten_crashes_is_a_dead_letter_on_sqlite() {
    check_given_up(TestEnv::new().await).await;
}

#[tokio::test]
async fn message_in_work_at_ten_crashes_is_a_dead_letter_on_postgres() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    check_given_up(TestEnv::on(&postgres.address()).await).await;
}
