//! Every reason of a condition: its cause produces it and the repair clears it, without a restart.

use std::time::Duration;

use bot_api_simulator::sample_assistant::{Behaviour, InjectedFailure};
use bot_api_simulator::{Fault, FaultKind};
use embedded_control_plane::Verb;
use serde_json::json;

use super::test_env::{OperatorOptions, TestEnv};
use crate::cluster::Cluster;
use crate::suite::Suite;

pub fn register(suite: &mut Suite) {
    add!(suite, [Core], token_reasons_follow_the_secret);
    add!(
        suite,
        [Core],
        token_revoked_while_polling_is_reported_and_replaced
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
    add!(
        suite,
        [Core, Embedded],
        foreign_poller_costs_one_write_and_one_event
    );
    add!(
        suite,
        [Core],
        suspended_connector_disconnects_and_comes_back
    );
    add!(suite, [Core], missing_api_key_is_reported_and_found);
    add!(
        suite,
        [Core],
        failing_assistant_is_reported_and_recovers_and_ready_stays
    );
    add!(
        suite,
        [Core],
        refused_api_key_is_reported_at_once_and_replaced
    );
    add!(
        suite,
        [Core],
        foreign_webhook_is_named_in_an_event_and_removed
    );
}

async fn token_reasons_follow_the_secret(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    let operator = env.start_operator(OperatorOptions::polling()).await;
    env.create_connector("a", json!({})).await;
    let message = env
        .wait_until_not_ready("a", "TokenValid", "False", "SecretNotFound")
        .await;
    assert_eq!(
        message,
        "Secret \"a\" does not exist; create it with key \"token\""
    );
    env.wait_for_condition("a", "Stalled", "True", "SecretNotFound")
        .await;
    env.set_secret("a", "bot-token", "x").await;
    let message = env
        .wait_until_not_ready("a", "TokenValid", "False", "SecretKeyMissing")
        .await;
    assert_eq!(
        message,
        "Secret \"a\" has no key \"token\"; keys present: bot-token"
    );
    env.set_secret("a", "token", "hunter2-hunter2").await;
    let message = env
        .wait_until_not_ready("a", "TokenValid", "False", "TokenMalformed")
        .await;
    assert!(!message.contains("hunter2"), "{message}");
    env.set_secret(
        "a",
        "token",
        "8399999999:AAunknownBotTokenThatNobodyKnows_01234",
    )
    .await;
    let message = env
        .wait_until_not_ready("a", "TokenValid", "False", "TokenUnauthorized")
        .await;
    assert!(
        message.contains("BotFather") && !message.contains("AAunknown"),
        "{message}"
    );
    let (_, token) = env.add_bot();
    env.set_secret("a", "token", &token).await;
    env.wait_until_ready("a").await;
    operator.shutdown().await;
}

async fn token_revoked_while_polling_is_reported_and_replaced(cluster: Cluster) {
    let (env, operator, (bot, _)) =
        TestEnv::with_ready_connector(cluster, OperatorOptions::polling()).await;
    env.telegram.revoke(bot);
    env.telegram.send_private_message(bot, 1001, "hello");
    env.wait_until_not_ready("a", "TokenValid", "False", "TokenUnauthorized")
        .await;
    let token = format!("{bot}:AAtheNewTokenOfTheSameBot_0123456789abc");
    env.telegram
        .add_bot(&token, &format!("test_{bot}_bot"), "Test");
    env.set_secret("a", "token", &token).await;
    env.wait_until_ready("a").await;
    env.telegram
        .wait_for_sent_messages(bot, 1001, 0, Duration::from_secs(20))
        .await;
    operator.shutdown().await;
}

async fn younger_connector_of_a_bot_waits_until_the_older_goes(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    let operator = env.start_operator(OperatorOptions::polling()).await;
    let (bot, token) = env.create_working_connector("older").await;
    env.wait_until_ready("older").await;
    // Creation timestamps have a resolution of one second, so the connectors are created in different seconds.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    env.set_secret("younger", "token", &token).await;
    env.create_connector("younger", json!({})).await;
    let message = env
        .wait_until_not_ready("younger", "TokenValid", "False", "DuplicateBot")
        .await;
    assert!(message.contains("TelegramConnector \"older\""), "{message}");
    env.delete_connector("older").await;
    env.wait_until_gone("older").await;
    env.wait_until_ready("younger").await;
    assert_eq!(env.telegram.polls_in_flight(bot), 1);
    assert_eq!(env.telegram.counters(bot).conflicts, 0);
    operator.shutdown().await;
}

async fn telegram_that_does_not_answer_is_reported_and_recovers(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    let operator = env.start_operator(OperatorOptions::polling()).await;
    let hang = env.telegram.add_fault(Fault::new(FaultKind::Hang));
    env.create_working_connector("waits").await;
    env.wait_until_not_ready("waits", "TokenValid", "Unknown", "Connecting")
        .await;
    env.telegram.remove_fault(hang);
    env.wait_until_ready("waits").await;
    let reset = env.telegram.add_fault(Fault::new(FaultKind::Reset));
    env.create_working_connector("a").await;
    env.wait_until_not_ready("a", "TokenValid", "Unknown", "TelegramUnreachable")
        .await;
    env.wait_for_condition("a", "Reconciling", "True", "TelegramUnreachable")
        .await;
    env.telegram.remove_fault(reset);
    env.wait_until_ready("a").await;
    // The same while the bot is polled.
    let bad_gateway = env
        .telegram
        .add_fault(Fault::new(FaultKind::Html { code: 502 }));
    let (bot, _) = env.create_working_connector("b").await;
    env.wait_for_condition("b", "Connected", "False", "TelegramUnreachable")
        .await;
    env.telegram.remove_fault(bad_gateway);
    env.wait_until_ready("b").await;
    let error = env.telegram.add_fault(
        Fault::new(FaultKind::Status {
            code: 500,
            description: "Internal Server Error".into(),
        })
        .bot(bot)
        .method("getUpdates"),
    );
    env.telegram
        .send_private_message(bot, 1001, "wakes the long poll");
    env.wait_for_condition("b", "Connected", "False", "TelegramUnreachable")
        .await;
    env.wait_for_condition("b", "TokenValid", "True", "TokenAccepted")
        .await;
    env.telegram.remove_fault(error);
    env.wait_until_ready("b").await;
    operator.shutdown().await;
}

async fn missing_list_denies_is_reported_and_resolves(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    let operator = env.start_operator(OperatorOptions::polling()).await;
    let (bot, _) = env
        .create_connector_with_bot(
            "a",
            json!({"access": {"level": "Company", "companyUsers": {
                "users": [{"id": 1001}], "listRefs": [{"name": "staff"}]}}}),
        )
        .await;
    let message = env
        .wait_until_not_ready("a", "AccessResolved", "False", "UserListNotFound")
        .await;
    assert!(message.contains("\"staff\""), "{message}");
    // A user who is named inline has access; a user of the missing list is denied.
    env.telegram
        .send_and_wait(bot, 1001, "inline", Duration::from_secs(20))
        .await;
    let denied = env
        .telegram
        .send_and_wait(bot, 1002, "listed", Duration::from_secs(20))
        .await;
    assert!(denied.text.contains("1002"), "{}", denied.text);
    env.create_user_list("staff", json!([{"id": 1002}, {"username": "ann_example"}]))
        .await;
    env.wait_until_ready("a").await;
    env.wait_for_condition("a", "AccessResolved", "True", "Resolved")
        .await;
    let object = env.connectors().get("a").await.expect("the connector");
    let status = object.status.expect("a status");
    assert_eq!(status.access_users, Some(3));
    let answer = env
        .telegram
        .send_and_wait(bot, 1002, "listed now", Duration::from_secs(20))
        .await;
    assert!(!answer.text.contains("1002"), "{}", answer.text);
    operator.shutdown().await;
}

async fn conflict_and_throttling_are_reported_and_recover(cluster: Cluster) {
    let (env, operator, (bot, _)) =
        TestEnv::with_ready_connector(cluster, OperatorOptions::in_a_hurry()).await;
    let conflict = env.telegram.add_fault(
        Fault::new(FaultKind::Status {
            code: 409,
            description: "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running".into(),
        })
        .bot(bot)
        .method("getUpdates"),
    );
    env.telegram
        .send_private_message(bot, 1001, "wakes the long poll");
    env.wait_until_not_ready("a", "Connected", "False", "PollingConflict")
        .await;
    env.telegram.remove_fault(conflict);
    env.wait_until_ready("a").await;
    env.telegram.add_fault(
        Fault::new(FaultKind::TooManyRequests { retry_after: 4 })
            .bot(bot)
            .method("getUpdates")
            .times(1),
    );
    env.telegram
        .send_private_message(bot, 1001, "wakes the long poll");
    let message = env
        .wait_until_not_ready("a", "Connected", "False", "RateLimited")
        .await;
    assert!(message.contains("4 s"), "{message}");
    env.wait_until_ready("a").await;
    operator.shutdown().await;
}

async fn foreign_poller_costs_one_write_and_one_event(cluster: Cluster) {
    let (env, operator, (bot, _)) =
        TestEnv::with_ready_connector(cluster, OperatorOptions::polling()).await;
    env.telegram
        .send_and_wait(bot, 1001, "hello", Duration::from_secs(20))
        .await;
    env.wait_for_condition("a", "AssistantReady", "True", "ExchangesSucceed")
        .await;
    let requests = env.cluster.control_plane().request_log();
    requests.clear();
    for round in 0..5 {
        env.telegram.add_fault(
            Fault::new(FaultKind::Status {
                code: 409,
                description: "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running".into(),
            })
            .bot(bot)
            .method("getUpdates")
            .times(1),
        );
        env.telegram
            .send_private_message(bot, 1001, "wakes the long poll");
        // An answer shows that a poll has completed since.
        env.telegram
            .send_and_wait(bot, 2000 + round, "still there?", Duration::from_secs(30))
            .await;
        // A single 409 may be a leader that is being replaced.
        if round > 0 {
            env.wait_for_condition("a", "Connected", "False", "PollingConflict")
                .await;
        }
    }
    let writes = requests.count(Verb::Patch, "telegramconnectors.connectors.pupau.ai");
    assert_eq!(writes, 1, "{:?}", requests.counts());
    assert_eq!(env.event_notes("a", "PollingConflict").await.len(), 1);
    operator.shutdown().await;
}

async fn suspended_connector_disconnects_and_comes_back(cluster: Cluster) {
    let (env, operator, (bot, _)) =
        TestEnv::with_ready_connector(cluster, OperatorOptions::polling()).await;
    env.patch_connector("a", json!({"spec": {"suspend": true}}))
        .await;
    env.wait_until_not_ready("a", "Connected", "False", "Suspended")
        .await;
    env.telegram
        .send_private_message(bot, 1001, "while suspended");
    assert_eq!(
        env.telegram.pending(bot),
        1,
        "Telegram must keep the update"
    );
    env.patch_connector("a", json!({"spec": {"suspend": false}}))
        .await;
    env.wait_until_ready("a").await;
    env.wait_for_condition("a", "Connected", "True", "Polling")
        .await;
    env.telegram
        .wait_for_sent_messages(bot, 1001, 0, Duration::from_secs(20))
        .await;
    operator.shutdown().await;
}

async fn missing_api_key_is_reported_and_found(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    let operator = env.start_operator(OperatorOptions::polling()).await;
    let (bot, _) = env.create_connector_with_bot("a",
        json!({"assistant": {"protocol": "OpenAI", "url": env.assistant.url(), "model": "sample",
                "apiKeySecretRef": {"name": "key"}}}),
    )
    .await;
    env.wait_until_not_ready("a", "AssistantReady", "False", "ApiKeyNotFound")
        .await;
    env.telegram
        .send_private_message(bot, 1001, "waits in the inbox");
    env.set_secret("key", "api-key", "sk-test").await;
    env.wait_until_ready("a").await;
    env.telegram
        .wait_for_sent_messages(bot, 1001, 0, Duration::from_secs(20))
        .await;
    env.wait_for_condition("a", "AssistantReady", "True", "ExchangesSucceed")
        .await;
    operator.shutdown().await;
}

async fn failing_assistant_is_reported_and_recovers_and_ready_stays(cluster: Cluster) {
    let (env, operator, (bot, _)) =
        TestEnv::with_ready_connector(cluster, OperatorOptions::polling()).await;
    env.wait_for_condition("a", "AssistantReady", "Unknown", "NoExchangeYet")
        .await;
    let mut user = 2000;
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
                fail: Some(InjectedFailure {
                    status: 403,
                    times: None,
                    retry_after: None,
                }),
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
        env.assistant.set_behaviour(behaviour);
        // Three users write at once, so three exchanges fail.
        for _ in 0..3 {
            user += 1;
            env.telegram.send_private_message(bot, user, "hello");
        }
        env.wait_for_condition("a", "AssistantReady", "False", reason)
            .await;
        env.wait_for_condition("a", "Ready", "True", "MessagesFlow")
            .await;
        env.assistant.set_behaviour(Behaviour::default());
        user += 1;
        env.telegram.send_private_message(bot, user, "better now?");
        env.wait_for_condition("a", "AssistantReady", "True", "ExchangesSucceed")
            .await;
    }
    operator.shutdown().await;
}

async fn refused_api_key_is_reported_at_once_and_replaced(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    let operator = env.start_operator(OperatorOptions::polling()).await;
    env.set_secret("key", "api-key", "sk-old").await;
    env.assistant.set_behaviour(Behaviour {
        api_key: Some("sk-new".into()),
        ..Behaviour::default()
    });
    let (bot, _) = env.create_connector_with_bot("a",
        json!({"assistant": {"protocol": "OpenAI", "url": env.assistant.url(), "model": "sample",
                "apiKeySecretRef": {"name": "key"}}}),
    )
    .await;
    env.wait_until_ready("a").await;
    let users = [2001, 2002, 2003];
    for user in users {
        env.telegram.send_private_message(bot, user, "hello");
        let sent = env
            .telegram
            .wait_for_sent_messages(bot, user, 0, Duration::from_secs(20))
            .await;
        assert!(sent[0].text.contains("refuses the bot's key"), "{sent:?}");
    }
    assert_eq!(env.assistant.request_count(), 1);
    let condition = env
        .wait_for_condition("a", "AssistantReady", "False", "AssistantUnauthorized")
        .await;
    for words in ["apiKeySecretRef", "messages wait"] {
        assert!(condition.message.contains(words), "{}", condition.message);
    }
    env.wait_for_condition("a", "Ready", "True", "MessagesFlow")
        .await;
    env.set_secret("key", "api-key", "sk-new").await;
    for user in users {
        let sent = env
            .telegram
            .wait_for_sent_messages(bot, user, 1, Duration::from_secs(20))
            .await;
        assert!(sent[1].text.starts_with("You said: hello"), "{sent:?}");
    }
    assert_eq!(env.assistant.request_count(), 4);
    env.wait_for_condition("a", "AssistantReady", "True", "ExchangesSucceed")
        .await;
    operator.shutdown().await;
}

async fn foreign_webhook_is_named_in_an_event_and_removed(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    let (bot, token) = env.add_bot();
    let set_webhook = format!("{}bot{token}/setWebhook", env.telegram.url());
    let answer = reqwest::Client::new()
        .post(set_webhook)
        .json(&json!({"url": "http://127.0.0.1:9/n8n/SECRET-PATH"}))
        .send()
        .await
        .expect("an answer");
    assert!(answer.status().is_success());
    env.telegram
        .send_private_message(bot, 1001, "queued for somebody else");
    let operator = env.start_operator(OperatorOptions::polling()).await;
    env.set_secret("a", "token", &token).await;
    env.create_connector("a", json!({})).await;
    env.wait_until_ready("a").await;
    let notes = env.event_notes("a", "ForeignWebhook").await;
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(
        notes[0].contains("127.0.0.1") && !notes[0].contains("SECRET"),
        "{notes:?}"
    );
    env.telegram
        .wait_for_sent_messages(bot, 1001, 0, Duration::from_secs(20))
        .await;
    operator.shutdown().await;
}
