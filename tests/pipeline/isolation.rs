//! Two connectors of one bot, one after the other: nothing that one of them was told reaches the other.

mod changes;
mod model;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::postgres::Postgres;
use crate::test_env::{ANN, TIMEOUT, TestEnv};
use changes::Treatment;
use model::{Event, Model, event};

/// Every case has a bot and connectors of its own in the one store.
fn check_isolation(address: &str, cases: u32) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    });
    let bot = std::cell::Cell::new(8_400_000_000_i64);
    let histories = prop::collection::vec(event(), 1..50);
    let checked = runner.run(&histories, |history| {
        bot.set(bot.get() + 2);
        runtime.block_on(async {
            let mut model = Model::new(address, bot.get()).await;
            for (side, event) in history {
                model.apply(side, event).await;
            }
            for side in 0..2 {
                model.apply(side, Event::Works(Treatment::Answered)).await;
            }
            for side in 0..2 {
                model.apply(side, Event::IsReplaced).await;
            }
            model.collect_unseen().await;
        });
        Ok(())
    });
    checked.unwrap();
}

#[test]
fn connectors_of_one_bot_share_nothing_in_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("sqlite:{}/connectors.db", folder.path().display());
    check_isolation(&address, 32);
}

#[test]
fn connectors_of_one_bot_share_nothing_in_postgres() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let Some(postgres) = runtime.block_on(Postgres::start()) else {
        return;
    };
    check_isolation(&postgres.address(), 16);
}

/// A talks, B takes the bot over and back.
async fn check_takeover(env: &mut TestEnv) {
    let a = env.connector("one");
    let resolved = env.registry.get(&a.uid).unwrap();
    env.ask(&a, "my PIN is 4711").await;
    env.registry.withdraw(&a.uid);
    // Accepted by A alone, and not answered before A is back.
    env.telegram
        .send_private_message(a.id, ANN, "and my door code 0815");
    env.wait_until_waiting(1).await;
    let b = env.hand_over(&resolved, "two");
    env.ask(&b, "who am I?").await;
    let asked = env.assistant.requests();
    let of_b = format!("{:?}", asked.last().unwrap());
    assert!(of_b.contains("who am I?"), "{of_b}");
    for secret in ["4711", "0815"] {
        assert!(
            !of_b.contains(secret),
            "B's assistant is told A's words: {of_b}"
        );
    }
    env.registry.withdraw(&b.uid);
    let a = env.hand_over(&resolved, "one");
    env.telegram
        .wait_for_sent_messages(a.id, ANN, 2, TIMEOUT)
        .await;
    env.ask(&a, "go on").await;
    let of_a = format!("{:?}", env.assistant.requests().last().unwrap());
    assert!(of_a.contains("4711") && of_a.contains("0815"), "{of_a}");
    assert!(
        !of_a.contains("who am I?"),
        "A's assistant is told B's words: {of_a}"
    );
    // B's end is not A's.
    env.store.delete_connector_data(&b.uid).await.unwrap();
    env.ask(&a, "still there?").await;
    let of_a = format!("{:?}", env.assistant.requests().last().unwrap());
    assert!(of_a.contains("4711"), "{of_a}");
}

#[tokio::test]
async fn new_owner_of_a_bot_begins_anew_on_sqlite() {
    let mut env = TestEnv::new().await;
    check_takeover(&mut env).await;
}

#[tokio::test]
async fn new_owner_of_a_bot_begins_anew_on_postgres() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let mut env = TestEnv::on(&postgres.address()).await;
    check_takeover(&mut env).await;
}
