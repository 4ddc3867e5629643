//! Headers whose values come from Secrets: missing, found, changed.

use std::time::Duration;

use serde_json::json;

use super::test_env::{OperatorOptions, TestEnv};
use crate::cluster::Cluster;
use crate::suite::Suite;

pub fn register(suite: &mut Suite) {
    add!(suite, [Core], header_secret_is_reported_found_and_followed);
}

async fn header_secret_is_reported_found_and_followed(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    let operator = env.start_operator(OperatorOptions::polling()).await;
    let headers = json!([
        {"name": "X-Team", "value": "support"},
        {"name": "X-Gateway-Key", "valueFrom": {"secretKeyRef": {"name": "gateway", "key": "key"}}},
    ]);
    let assistant = json!({"protocol": "OpenAI", "url": env.assistant.url(), "model": "sample", "headers": headers});
    let (bot, _) = env
        .create_connector_with_bot("a", json!({"assistant": assistant}))
        .await;
    let message = env
        .wait_until_not_ready("a", "AssistantReady", "False", "ApiKeyNotFound")
        .await;
    for part in [
        "spec.assistant.headers[1].valueFrom.secretKeyRef",
        "X-Gateway-Key",
        "Secret \"gateway\"",
        "create it with key \"key\"",
    ] {
        assert!(message.contains(part), "{message}");
    }
    env.telegram
        .send_private_message(bot, 1001, "waits in the inbox");

    env.set_secret("gateway", "other", "x").await;
    env.cluster
        .eventually("the message names the keys that there are", || async {
            let ready = env
                .wait_for_condition("a", "Ready", "False", "ApiKeyNotFound")
                .await;
            let names_keys = ready.message.contains("keys present: other");
            names_keys.then_some(())
        })
        .await;

    // Values end in a line end where they are made with an editor.
    env.set_secret("gateway", "key", "first-value\n").await;
    env.wait_until_ready("a").await;
    env.telegram
        .wait_for_sent_messages(bot, 1001, 0, Duration::from_secs(20))
        .await;
    let requests = env.assistant.requests();
    let request = requests.last().expect("a request");
    assert_eq!(request.header("x-team"), Some("support"));
    assert_eq!(request.header("x-gateway-key"), Some("first-value"));

    env.set_secret("gateway", "key", "second-value").await;
    env.cluster
        .eventually("the new value is sent", || async {
            env.telegram
                .send_and_wait(bot, 1002, "and now?", Duration::from_secs(20))
                .await;
            let requests = env.assistant.requests();
            let last = requests.last().expect("a request");
            (last.header("x-gateway-key") == Some("second-value")).then_some(())
        })
        .await;
    let connector = env.connectors().get("a").await.expect("the connector");
    let status = serde_json::to_string(&connector.status).expect("JSON");
    assert!(!status.contains("-value"), "{status}");
    operator.shutdown().await;
}
