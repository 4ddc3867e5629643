//! Webhook mode end to end: registration, foreign webhooks, and switches between the connection modes.

use std::time::Duration;

use bot_api_simulator::{Fault, FaultKind};
use serde_json::json;
use telegram_connector_operator::connection::ConnectionSettings;

use super::tcp_proxy::TcpProxy;
use super::test_env::{OperatorOptions, TestEnv, any_port};
use crate::cluster::Cluster;
use crate::suite::Suite;

pub fn register(suite: &mut Suite) {
    add!(
        suite,
        [Core],
        webhook_is_registered_and_an_answer_comes_back
    );
    add!(suite, [Core], rejected_webhook_is_reported_and_recovers);
    add!(
        suite,
        [Core],
        repeatedly_replaced_webhook_is_contested_until_recheck
    );
    add!(
        suite,
        [Core],
        returning_webhook_in_polling_mode_is_contested_until_recheck
    );
    add!(
        suite,
        [Core],
        webhook_that_telegram_cannot_reach_is_reported_and_recovers
    );
    add!(suite, [Core], single_401_of_a_registration_does_not_end_it);
    add!(
        suite,
        [Core],
        throttled_registration_is_reported_and_recovers
    );
    add!(
        suite,
        [Core],
        mode_switches_both_ways_without_losing_a_message
    );
}

async fn set_foreign_webhook(env: &TestEnv, token: &str) {
    let url = format!("{}bot{token}/setWebhook", env.telegram.url());
    let body = json!({"url": "http://127.0.0.1:9/somebody/else"});
    // Telegram accepts one setWebhook per second, so the call is repeated.
    env.cluster
        .eventually("a foreign webhook is set", || async {
            let answer = reqwest::Client::new().post(&url).json(&body).send().await;
            answer
                .expect("an answer")
                .status()
                .is_success()
                .then_some(())
        })
        .await;
}

async fn webhook_is_registered_and_an_answer_comes_back(cluster: Cluster) {
    let (env, operator, (bot, _)) =
        TestEnv::with_ready_connector(cluster, OperatorOptions::webhook()).await;
    env.wait_for_condition("a", "Connected", "True", "WebhookVerified")
        .await;
    let object = env.connectors().get("a").await.expect("the connector");
    let status = object.status.expect("a status");
    let url = status.webhook.expect("a webhook").url;
    assert!(url.ends_with(&format!(
        "/telegram/{}",
        object.metadata.uid.expect("a uid")
    )));
    assert_eq!(env.telegram.webhook_info(bot)["url"], json!(url));
    env.telegram
        .send_and_wait(bot, 1001, "hello", Duration::from_secs(20))
        .await;
    env.delete_connector("a").await;
    env.wait_until_gone("a").await;
    assert_eq!(
        env.telegram.webhook_info(bot)["url"],
        json!(""),
        "the webhook is not deleted"
    );
    operator.shutdown().await;
}

async fn rejected_webhook_is_reported_and_recovers(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    let operator = env.start_operator(OperatorOptions::webhook()).await;
    env.telegram.add_fault(
        Fault::new(FaultKind::Status {
            code: 400,
            description: "Bad Request: bad webhook: Failed to resolve host: Name or service not known".into(),
        })
        .method("setWebhook")
        .times(1),
    );
    env.create_working_connector("a").await;
    let message = env
        .wait_until_not_ready("a", "Connected", "False", "WebhookRejected")
        .await;
    assert!(
        message.contains("Failed to resolve host") && message.contains("--public-url"),
        "{message}"
    );
    env.wait_until_ready("a").await;
    operator.shutdown().await;
}

/// Replaces the hourly recheck in tests.
const RECHECK_INTERVAL: Duration = Duration::from_secs(6);

async fn repeatedly_replaced_webhook_is_contested_until_recheck(cluster: Cluster) {
    let options = OperatorOptions {
        recheck_interval: RECHECK_INTERVAL,
        ..OperatorOptions::webhook()
    };
    let (env, operator, (bot, token)) = TestEnv::with_ready_connector(cluster, options).await;
    for round in 1..=3 {
        set_foreign_webhook(&env, &token).await;
        env.cluster
            .eventually("the operator's webhook is registered again", || async {
                let url = env.telegram.webhook_info(bot)["url"].to_string();
                url.contains("/telegram/").then_some(())
            })
            .await;
        assert_eq!(env.event_notes("a", "ForeignWebhook").await.len(), round);
    }
    set_foreign_webhook(&env, &token).await;
    let message = env
        .wait_until_not_ready("a", "Connected", "False", "WebhookContested")
        .await;
    assert!(message.contains("127.0.0.1"), "{message}");
    assert!(
        !env.telegram.webhook_info(bot)["url"]
            .to_string()
            .contains("/telegram/"),
        "the operator must not replace the webhook again before the recheck"
    );
    env.wait_until_ready("a").await;
    assert_eq!(env.event_notes("a", "ForeignWebhook").await.len(), 3);
    operator.shutdown().await;
}

async fn returning_webhook_in_polling_mode_is_contested_until_recheck(cluster: Cluster) {
    let options = OperatorOptions {
        recheck_interval: RECHECK_INTERVAL,
        ..OperatorOptions::polling()
    };
    let (env, operator, (bot, token)) = TestEnv::with_ready_connector(cluster, options).await;
    for round in 1..=3 {
        set_foreign_webhook(&env, &token).await;
        env.cluster
            .eventually("the bot is polled again", || async {
                let deleted = env.telegram.webhook_info(bot)["url"] == json!("");
                (deleted && env.event_notes("a", "ForeignWebhook").await.len() == round)
                    .then_some(())
            })
            .await;
    }
    set_foreign_webhook(&env, &token).await;
    env.wait_until_not_ready("a", "Connected", "False", "WebhookContested")
        .await;
    assert_ne!(
        env.telegram.webhook_info(bot)["url"],
        json!(""),
        "the operator must not replace the webhook again before the recheck"
    );
    env.wait_until_ready("a").await;
    operator.shutdown().await;
}

async fn webhook_that_telegram_cannot_reach_is_reported_and_recovers(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    let mut options = OperatorOptions::webhook();
    let public = options.webhook_listen;
    options.webhook_listen = any_port();
    let operator = env.start_operator(options).await;
    let (bot, _) = env.create_working_connector("a").await;
    env.wait_until_ready("a").await;
    env.telegram
        .send_private_message(bot, 1001, "is anybody there?");
    let message = env
        .wait_until_not_ready("a", "Connected", "False", "WebhookUnreachable")
        .await;
    assert!(
        message.contains("Connection refused") && message.contains("--public-url"),
        "{message}"
    );
    // From now on the address of --public-url leads to the server.
    let server = operator.webhook_address().expect("an address");
    let _proxy = TcpProxy::start(public, server).await;
    env.telegram
        .wait_for_sent_messages(bot, 1001, 0, Duration::from_mins(1))
        .await;
    env.wait_until_ready("a").await;
    operator.shutdown().await;
}

async fn single_401_of_a_registration_does_not_end_it(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    let operator = env.start_operator(OperatorOptions::webhook()).await;
    for method in ["setWebhook", "getWebhookInfo", "sendMessage"] {
        env.telegram.add_fault(
            Fault::new(FaultKind::Status {
                code: 401,
                description: "Unauthorized".into(),
            })
            .method(method)
            .times(1),
        );
    }
    let (bot, _) = env.create_working_connector("a").await;
    env.wait_until_ready("a").await;
    env.telegram
        .send_and_wait(bot, 1001, "hello", Duration::from_secs(20))
        .await;
    env.wait_for_condition("a", "TokenValid", "True", "TokenAccepted")
        .await;
    operator.shutdown().await;
}

async fn throttled_registration_is_reported_and_recovers(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    let operator = env.start_operator(OperatorOptions::webhook()).await;
    env.telegram.add_fault(
        Fault::new(FaultKind::TooManyRequests { retry_after: 5 })
            .method("setWebhook")
            .times(1),
    );
    env.create_working_connector("a").await;
    let message = env
        .wait_until_not_ready("a", "Connected", "False", "RateLimited")
        .await;
    assert!(message.contains("5 s"), "{message}");
    env.wait_until_ready("a").await;
    operator.shutdown().await;
}

async fn mode_switches_both_ways_without_losing_a_message(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    let (bot, _) = env.create_working_connector("a").await;
    let mut user = 3000;
    for options in [
        OperatorOptions::polling(),
        OperatorOptions::webhook(),
        OperatorOptions::polling(),
    ] {
        // Sent while no operator runs; it must be answered afterwards.
        user += 1;
        env.telegram
            .send_private_message(bot, user, "between two operators");
        let reason = match options.connection {
            ConnectionSettings::Polling => "Polling",
            ConnectionSettings::Webhook(_) => "WebhookVerified",
        };
        let operator = env.start_operator(options).await;
        env.wait_for_condition("a", "Connected", "True", reason)
            .await;
        env.telegram
            .wait_for_sent_messages(bot, user, 0, Duration::from_secs(20))
            .await;
        operator.shutdown().await;
    }
    assert!(
        env.event_notes("a", "ForeignWebhook").await.is_empty(),
        "the operator must not take its own webhook for a foreign one"
    );
}
