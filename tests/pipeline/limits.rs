//! What the bot says to people, at most so often.

use std::sync::atomic::{AtomicI64, Ordering};

use telegram_connector_operator::registry::{DeniedReply, ResolvedConnector};

use crate::postgres::Postgres;
use crate::store::update;
use crate::test_env::{ANN, Connector, EVE, TIMEOUT, TestEnv};

/// Beyond those of the simulator.
static NEXT_UPDATE: AtomicI64 = AtomicI64::new(1 << 40);

/// Now; a test is within one of Telegram's minutes by giving all its messages the same date.
fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// Somebody says this, all at one date of Telegram's; what the bot has said when all of it is handled.
async fn answers_to(
    env: &TestEnv,
    to: &Connector,
    from: i64,
    date: i64,
    texts: &[&str],
) -> Vec<String> {
    for text in texts {
        let id = NEXT_UPDATE.fetch_add(1, Ordering::Relaxed);
        let message = update(id, from, date, text);
        env.store
            .accept(&to.uid, to.id, vec![message])
            .await
            .unwrap();
        env.wait_until_drained().await;
    }
    env.telegram
        .sent_messages(to.id, from)
        .into_iter()
        .map(|message| message.text)
        .collect()
}

#[tokio::test]
async fn denied_user_is_told_ids_once_an_hour() {
    let mut env = TestEnv::new().await;
    let support = env.connector("support");
    for text in ["hello", "/id", "/id", "hello", "/id"] {
        env.telegram.send_private_message(support.id, EVE, text);
    }
    env.telegram
        .wait_for_sent_messages(support.id, EVE, 1, TIMEOUT)
        .await;
    env.wait_until_drained().await;
    let texts = env.telegram.sent_messages(support.id, EVE);
    assert_eq!(texts.len(), 2, "one denial, and the ids once: {texts:?}");
    for _ in 0..2 {
        let ids = env.ask(&support, "/id").await;
        assert!(ids.text.contains(&ANN.to_string()), "{ids:?}");
    }
}

#[tokio::test]
async fn silent_connector_tells_denied_users_no_ids() {
    for silent in [DeniedReply::Silent, DeniedReply::Text("".into())] {
        let mut env = TestEnv::new().await;
        let edit = |connector: &mut ResolvedConnector| connector.denied_reply = silent;
        let support = env.connector_with("support", edit);
        assert!(
            answers_to(&env, &support, EVE, now(), &["/id", "/id"])
                .await
                .is_empty()
        );
    }
}

#[tokio::test]
async fn commands_count_as_messages() {
    let mut env = TestEnv::new().await;
    let support = env.connector_with("support", |c| c.messages_per_minute = 2);
    // The simulator takes messages for whoever has written to the bot.
    env.ask(&support, "/start").await;
    let commands = ["/help", "/id", "/new", "/help", "/start"];
    let texts = answers_to(&env, &support, ANN, now() + 3600, &commands).await;
    assert_eq!(
        texts.len(),
        1 + 3,
        "two replies, and once that it is too fast: {texts:?}"
    );
}

#[tokio::test]
async fn limit_holds_for_all_replicas_together() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let mut env = TestEnv::on(&postgres.address()).await;
    let support = env.connector_with("support", |c| c.messages_per_minute = 3);
    let date = now();
    answers_to(&env, &support, ANN, date, &["a", "b"]).await;
    // Another process goes on, which has counted nothing yet.
    env.restart(std::time::Duration::from_secs(5)).await;
    answers_to(&env, &support, ANN, date, &["c", "d", "e", "f"]).await;
    assert_eq!(env.assistant.request_count(), 3);
}
