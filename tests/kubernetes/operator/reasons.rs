//! Every reason of API.md: produced by its cause, cleared by its repair, without restart.

use std::time::Duration;

use serde_json::json;
use telegram_connector_operator::dev::bot_api_simulator::{Fault, FaultKind};
use telegram_connector_operator::dev::sample_assistant::{Behaviour, InjectedFailure};

use super::house::{House, Start};
use crate::cluster::Cluster;
use crate::suite::Suite;

pub fn register(suite: &mut Suite) {
    add!(suite, [Core], token_reasons_follow_the_secret);
    add!(
        suite,
        [Core],
        token_that_is_revoked_while_polling_is_reported_and_replaced
    );
    add!(
        suite,
        [Core],
        younger_connector_of_a_bot_waits_until_the_older_goes
    );
    add!(
        suite,
        [Core],
        telegram_that_does_not_answer_is_reported_and_recovers
    );
    add!(suite, [Core], missing_list_denies_is_reported_and_resolves);
    add!(
        suite,
        [Core],
        conflict_and_throttling_are_reported_and_recover
    );
    add!(suite, [Core], suspended_connector_rests_and_comes_back);
    add!(suite, [Core], missing_api_key_is_reported_and_found);
    add!(
        suite,
        [Core],
        failing_assistant_is_reported_and_recovers_and_ready_stays
    );
    add!(
        suite,
        [Core],
        foreign_webhook_is_named_in_an_event_and_removed
    );
}

async fn token_reasons_follow_the_secret(cluster: Cluster) {
    let house = House::new(cluster).await;
    let operator = house.operator(Start::polling()).await;
    house.connector("a", json!({})).await;
    let message = house
        .not_ready("a", "TokenValid", "False", "SecretNotFound")
        .await;
    assert_eq!(
        message,
        "Secret \"a\" does not exist; create it with key \"token\""
    );
    house
        .condition("a", "Stalled", "True", "SecretNotFound")
        .await;
    house.secret("a", "bot-token", "x").await;
    let message = house
        .not_ready("a", "TokenValid", "False", "SecretKeyMissing")
        .await;
    assert_eq!(
        message,
        "Secret \"a\" has no key \"token\"; keys present: bot-token"
    );
    house.secret("a", "token", "hunter2-hunter2").await;
    let message = house
        .not_ready("a", "TokenValid", "False", "TokenMalformed")
        .await;
    assert!(!message.contains("hunter2"), "{message}");
    house
        .secret(
            "a",
            "token",
            "8399999999:AAunknownBotTokenThatNobodyKnows_01234",
        )
        .await;
    let message = house
        .not_ready("a", "TokenValid", "False", "TokenUnauthorized")
        .await;
    assert!(
        message.contains("BotFather") && !message.contains("AAunknown"),
        "{message}"
    );
    let (_, token) = house.bot();
    house.secret("a", "token", &token).await;
    house.ready("a").await;
    operator.shutdown().await;
}

async fn token_that_is_revoked_while_polling_is_reported_and_replaced(cluster: Cluster) {
    let (house, operator, (bot, _)) = House::settled(cluster, Start::polling()).await;
    house.telegram.revoke(bot);
    house.telegram.send_private_message(bot, 1001, "hello");
    house
        .not_ready("a", "TokenValid", "False", "TokenUnauthorized")
        .await;
    let token = format!("{bot}:AAtheNewTokenOfTheSameBot_0123456789abc");
    house
        .telegram
        .add_bot(&token, &format!("test_{bot}_bot"), "Test");
    house.secret("a", "token", &token).await;
    house.ready("a").await;
    house
        .telegram
        .wait_for_sent_messages(bot, 1001, 0, Duration::from_secs(20))
        .await;
    operator.shutdown().await;
}

async fn younger_connector_of_a_bot_waits_until_the_older_goes(cluster: Cluster) {
    let house = House::new(cluster).await;
    let operator = house.operator(Start::polling()).await;
    let (bot, token) = house.sound_connector("older").await;
    house.ready("older").await;
    // Creation times have whole seconds.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    house.secret("younger", "token", &token).await;
    house.connector("younger", json!({})).await;
    let message = house
        .not_ready("younger", "TokenValid", "False", "DuplicateBot")
        .await;
    assert!(message.contains("TelegramConnector \"older\""), "{message}");
    house.delete("older").await;
    house.gone("older").await;
    house.ready("younger").await;
    assert_eq!(house.telegram.polls_in_flight(bot), 1);
    assert_eq!(house.telegram.counters(bot).conflicts, 0);
    operator.shutdown().await;
}

async fn telegram_that_does_not_answer_is_reported_and_recovers(cluster: Cluster) {
    let house = House::new(cluster).await;
    let operator = house.operator(Start::polling()).await;
    let silent = house.telegram.add_fault(Fault::new(FaultKind::Hang));
    house.sound_connector("waits").await;
    house
        .not_ready("waits", "TokenValid", "Unknown", "Connecting")
        .await;
    house.telegram.remove_fault(silent);
    house.ready("waits").await;
    let down = house.telegram.add_fault(Fault::new(FaultKind::Reset));
    house.sound_connector("a").await;
    house
        .not_ready("a", "TokenValid", "Unknown", "TelegramUnreachable")
        .await;
    house
        .condition("a", "Reconciling", "True", "TelegramUnreachable")
        .await;
    house.telegram.remove_fault(down);
    house.ready("a").await;
    // And while it polls.
    let down = house
        .telegram
        .add_fault(Fault::new(FaultKind::Html { code: 502 }));
    let (bot, _) = house.sound_connector("b").await;
    house
        .condition("b", "Connected", "False", "TelegramUnreachable")
        .await;
    house.telegram.remove_fault(down);
    house.ready("b").await;
    let error = house.telegram.add_fault(
        Fault::new(FaultKind::Status {
            code: 500,
            description: "Internal Server Error".into(),
        })
        .bot(bot)
        .method("getUpdates"),
    );
    house
        .telegram
        .send_private_message(bot, 1001, "wakes the long poll");
    house
        .condition("b", "Connected", "False", "TelegramUnreachable")
        .await;
    house
        .condition("b", "TokenValid", "True", "TokenAccepted")
        .await;
    house.telegram.remove_fault(error);
    house.ready("b").await;
    operator.shutdown().await;
}

async fn missing_list_denies_is_reported_and_resolves(cluster: Cluster) {
    let house = House::new(cluster).await;
    let operator = house.operator(Start::polling()).await;
    let (bot, token) = house.bot();
    house.secret("a", "token", &token).await;
    house
        .connector(
            "a",
            json!({"access": {"level": "Company", "companyUsers": {
                "users": [{"id": 1001}], "listRefs": [{"name": "staff"}]}}}),
        )
        .await;
    let message = house
        .not_ready("a", "AccessResolved", "False", "UserListNotFound")
        .await;
    assert!(message.contains("\"staff\""), "{message}");
    // Who is resolved keeps access; who is not is denied.
    house
        .telegram
        .send_and_wait(bot, 1001, "inline", Duration::from_secs(20))
        .await;
    let denied = house
        .telegram
        .send_and_wait(bot, 1002, "listed", Duration::from_secs(20))
        .await;
    assert!(denied.text.contains("1002"), "{}", denied.text);
    house
        .list("staff", json!([{"id": 1002}, {"username": "ann_example"}]))
        .await;
    house.ready("a").await;
    house
        .condition("a", "AccessResolved", "True", "Resolved")
        .await;
    let object = house.connectors().get("a").await.expect("it");
    let status = object.status.expect("a status");
    assert_eq!(status.access_users, Some(3));
    let answer = house
        .telegram
        .send_and_wait(bot, 1002, "listed now", Duration::from_secs(20))
        .await;
    assert!(!answer.text.contains("1002"), "{}", answer.text);
    operator.shutdown().await;
}

async fn conflict_and_throttling_are_reported_and_recover(cluster: Cluster) {
    let (house, operator, (bot, _)) = House::settled(cluster, Start::polling()).await;
    let conflict = house.telegram.add_fault(
        Fault::new(FaultKind::Status {
            code: 409,
            description: "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running".into(),
        })
        .bot(bot)
        .method("getUpdates"),
    );
    house
        .telegram
        .send_private_message(bot, 1001, "wakes the long poll");
    house
        .not_ready("a", "Connected", "False", "PollingConflict")
        .await;
    house.telegram.remove_fault(conflict);
    house.ready("a").await;
    house.telegram.add_fault(
        Fault::new(FaultKind::TooManyRequests { retry_after: 4 })
            .bot(bot)
            .method("getUpdates")
            .times(1),
    );
    house
        .telegram
        .send_private_message(bot, 1001, "wakes the long poll");
    let message = house
        .not_ready("a", "Connected", "False", "RateLimited")
        .await;
    assert!(message.contains("4 s"), "{message}");
    house.ready("a").await;
    operator.shutdown().await;
}

async fn suspended_connector_rests_and_comes_back(cluster: Cluster) {
    let (house, operator, (bot, _)) = House::settled(cluster, Start::polling()).await;
    house.patch("a", json!({"spec": {"suspend": true}})).await;
    house
        .not_ready("a", "Connected", "False", "Suspended")
        .await;
    house
        .telegram
        .send_private_message(bot, 1001, "while suspended");
    assert_eq!(house.telegram.pending(bot), 1, "Telegram keeps it");
    house.patch("a", json!({"spec": {"suspend": false}})).await;
    house.ready("a").await;
    house.condition("a", "Connected", "True", "Polling").await;
    house
        .telegram
        .wait_for_sent_messages(bot, 1001, 0, Duration::from_secs(20))
        .await;
    operator.shutdown().await;
}

async fn missing_api_key_is_reported_and_found(cluster: Cluster) {
    let house = House::new(cluster).await;
    let operator = house.operator(Start::polling()).await;
    let (bot, token) = house.bot();
    house.secret("a", "token", &token).await;
    house
        .connector(
            "a",
            json!({"assistant": {"protocol": "OpenAI", "url": house.assistant.url(), "model": "sample",
                "apiKeySecretRef": {"name": "key"}}}),
        )
        .await;
    house
        .not_ready("a", "AssistantReady", "False", "ApiKeyNotFound")
        .await;
    house
        .telegram
        .send_private_message(bot, 1001, "waits in the inbox");
    house.secret("key", "api-key", "sk-test").await;
    house.ready("a").await;
    house
        .telegram
        .wait_for_sent_messages(bot, 1001, 0, Duration::from_secs(20))
        .await;
    house
        .condition("a", "AssistantReady", "True", "ExchangesSucceed")
        .await;
    operator.shutdown().await;
}

async fn failing_assistant_is_reported_and_recovers_and_ready_stays(cluster: Cluster) {
    let (house, operator, (bot, _)) = House::settled(cluster, Start::polling()).await;
    house
        .condition("a", "AssistantReady", "Unknown", "NoExchangeYet")
        .await;
    let mut person = 2000;
    for (behaviour, reason) in [
        (
            Behaviour {
                fail: Some(InjectedFailure {
                    status: 500,
                    times: None,
                    retry_after: None,
                }),
                ..Behaviour::default()
            },
            "AssistantFailing",
        ),
        (
            Behaviour {
                api_key: Some("another".into()),
                ..Behaviour::default()
            },
            "AssistantUnauthorized",
        ),
        (
            Behaviour {
                drop_after_words: Some(0),
                ..Behaviour::default()
            },
            "AssistantUnreachable",
        ),
    ] {
        house.assistant.set_behaviour(behaviour);
        // Three people at once: three exchanges that fail.
        for _ in 0..3 {
            person += 1;
            house.telegram.send_private_message(bot, person, "hello");
        }
        house
            .condition("a", "AssistantReady", "False", reason)
            .await;
        house.condition("a", "Ready", "True", "MessagesFlow").await;
        house.assistant.set_behaviour(Behaviour::default());
        person += 1;
        house
            .telegram
            .send_private_message(bot, person, "better now?");
        house
            .condition("a", "AssistantReady", "True", "ExchangesSucceed")
            .await;
    }
    operator.shutdown().await;
}

async fn foreign_webhook_is_named_in_an_event_and_removed(cluster: Cluster) {
    let house = House::new(cluster).await;
    let (bot, token) = house.bot();
    let set = format!("{}bot{token}/setWebhook", house.telegram.url());
    let answer = reqwest::Client::new()
        .post(set)
        .json(&json!({"url": "http://127.0.0.1:9/n8n/SECRET-PATH"}))
        .send()
        .await
        .expect("an answer");
    assert!(answer.status().is_success());
    house
        .telegram
        .send_private_message(bot, 1001, "queued for somebody else");
    let operator = house.operator(Start::polling()).await;
    house.secret("a", "token", &token).await;
    house.connector("a", json!({})).await;
    house.ready("a").await;
    let notes = house.events("a", "ForeignWebhook").await;
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(
        notes[0].contains("127.0.0.1") && !notes[0].contains("SECRET"),
        "{notes:?}"
    );
    house
        .telegram
        .wait_for_sent_messages(bot, 1001, 0, Duration::from_secs(20))
        .await;
    operator.shutdown().await;
}
