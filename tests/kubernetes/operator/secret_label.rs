//! Secrets by label, where the administrator requires one.

use std::time::Duration;

use serde_json::json;
use telegram_connector_operator::identity::ConnectorUid;
use telegram_connector_operator::registry::Transcription;

use super::test_env::{OperatorOptions, TestEnv};
use crate::cluster::Cluster;
use crate::suite::Suite;

pub fn register(suite: &mut Suite) {
    add!(suite, [Core], secret_is_used_only_while_it_has_the_label);
}

async fn secret_is_used_only_while_it_has_the_label(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    let options = OperatorOptions {
        require_secret_label: true,
        ..OperatorOptions::polling()
    };
    let operator = env.start_operator(options).await;
    env.set_secret("key", "api-key", "sk-test").await;
    env.set_secret("speech", "api-key", "sk-test").await;
    let url = env.assistant.url();
    let (bot, _) = env
        .create_connector_with_bot(
            "a",
            json!({"assistant": {"protocol": "OpenAI", "url": url, "model": "sample", "apiKeySecretRef": {"name": "key"}},
                "transcription": {"url": url, "model": "whisper", "apiKeySecretRef": {"name": "speech"}}}),
        )
        .await;
    let message = env
        .wait_until_not_ready("a", "TokenValid", "False", "SecretNotAllowed")
        .await;
    for part in [
        "Secret \"a\"",
        "connectors.pupau.ai/allow-use: \"true\"",
        "kubectl label secret a ",
    ] {
        assert!(message.contains(part), "{message}");
    }
    env.wait_for_condition("a", "Stalled", "True", "SecretNotAllowed")
        .await;
    assert!(env.telegram.calls(bot).is_empty(), "the token was used");

    env.set_allow_use_label("a", Some("true")).await;
    env.wait_for_condition("a", "TokenValid", "True", "TokenAccepted")
        .await;
    let message = env
        .wait_until_not_ready("a", "AssistantReady", "False", "SecretNotAllowed")
        .await;
    assert!(message.contains("Secret \"key\""), "{message}");
    env.telegram
        .send_private_message(bot, 1001, "waits in the inbox");
    let uid = ConnectorUid::from(env.uid_of("a").await.as_str());
    let transcription = || {
        let connector = operator.registry().get(&uid).expect("it is published");
        connector.transcription.clone()
    };
    let Transcription::Unavailable(why) = transcription() else {
        panic!("the key of transcription is used: {:?}", transcription());
    };
    assert!(why.contains("Secret \"speech\""), "{why}");
    assert_eq!(env.assistant.request_count(), 0, "the key was used");

    env.set_allow_use_label("speech", Some("true")).await;
    env.set_allow_use_label("key", Some("true")).await;
    env.wait_until_ready("a").await;
    env.telegram
        .wait_for_sent_messages(bot, 1001, 0, Duration::from_secs(20))
        .await;
    env.cluster
        .eventually("the key of transcription is used", || async {
            matches!(transcription(), Transcription::Ready(_)).then_some(())
        })
        .await;

    // Whoever takes the label away stops the use.
    env.set_allow_use_label("key", None).await;
    env.wait_until_not_ready("a", "AssistantReady", "False", "SecretNotAllowed")
        .await;
    let requests = env.assistant.request_count();
    env.telegram.send_private_message(bot, 1001, "waits too");
    env.set_allow_use_label("a", Some("false")).await;
    env.wait_until_not_ready("a", "TokenValid", "False", "SecretNotAllowed")
        .await;
    env.cluster
        .eventually("the poll has ended", || async {
            (env.telegram.polls_in_flight(bot) == 0).then_some(())
        })
        .await;
    assert_eq!(env.assistant.request_count(), requests);
    env.set_allow_use_label("a", Some("true")).await;
    env.set_allow_use_label("key", Some("true")).await;
    env.wait_until_ready("a").await;
    env.telegram
        .wait_for_sent_messages(bot, 1001, 1, Duration::from_secs(20))
        .await;
    operator.shutdown().await;
}
