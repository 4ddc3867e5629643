//! Events for the administrator that messages cause: denied users, and a transcription whose API key is missing.

use std::time::Duration;

use bot_api_simulator::UserAction;
use serde_json::{Value, json};

use super::test_env::{OperatorOptions, TestEnv};
use crate::cluster::Cluster;
use crate::suite::Suite;

pub fn register(suite: &mut Suite) {
    add!(suite, [Core], denied_users_are_reported_in_one_event);
    add!(
        suite,
        [Core],
        connector_with_the_longest_name_gets_its_events
    );
    add!(
        suite,
        [Core],
        missing_transcription_key_blocks_only_voice_and_is_reported
    );
}

const REPLY_TIMEOUT: Duration = Duration::from_secs(20);

async fn denied_users_are_reported_in_one_event(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    let operator = env.start_operator(OperatorOptions::polling()).await;
    let access = json!({"level": "Specific", "specificUsers": {"users": [{"id": 1001}]}});
    let (bot, _) = env
        .create_connector_with_bot("a", json!({"access": access}))
        .await;
    env.wait_until_ready("a").await;

    env.telegram
        .send_and_wait(bot, 666_001, "let me in", REPLY_TIMEOUT)
        .await;
    let note = env
        .cluster
        .eventually("the event", || async {
            env.event_notes("a", "UserDenied").await.pop()
        })
        .await;
    let namespace = &env.cluster.namespace;
    for part in [
        format!("denied -n {namespace} a"),
        format!("allow -n {namespace} a USER_ID"),
        "spec.access.saveDeniedConversations".to_owned(),
    ] {
        assert!(note.contains(&part), "{note}");
    }
    assert!(
        !note.contains("666001") && !note.contains("let me in"),
        "the event must not contain the sender or the text of a denied message: {note}"
    );

    for user in 666_002..666_010 {
        env.telegram
            .send_and_wait(bot, user, "and me", REPLY_TIMEOUT)
            .await;
    }
    // AssistantReady shows that the controller has processed everything observed before this exchange.
    env.telegram
        .send_and_wait(bot, 1001, "hello", REPLY_TIMEOUT)
        .await;
    env.wait_for_condition("a", "AssistantReady", "True", "ExchangesSucceed")
        .await;
    assert_eq!(env.event_notes("a", "UserDenied").await.len(), 1);
    operator.shutdown().await;
}

async fn connector_with_the_longest_name_gets_its_events(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    let operator = env.start_operator(OperatorOptions::polling()).await;
    let name = "a".repeat(253);
    env.create_working_connector(&name).await;
    env.wait_until_ready(&name).await;
    env.delete_secret(&name).await;
    env.cluster
        .eventually("the event", || async {
            env.event_notes(&name, "SecretNotFound").await.pop()
        })
        .await;
    operator.shutdown().await;
}

async fn missing_transcription_key_blocks_only_voice_and_is_reported(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    let operator = env.start_operator(OperatorOptions::polling()).await;
    let (bot, token) = env.add_bot();
    env.set_secret("a", "token", &token).await;
    let transcription = json!({
        "url": env.assistant.url(), "model": "whisper-1", "apiKeySecretRef": {"name": "ears"},
    });
    let extract = json!({"url": env.assistant.url(), "apiKeySecretRef": {"name": "reader"}});
    let services = json!({"transcription": transcription, "files": {"extract": extract}});
    env.create_connector("a", services).await;
    env.wait_until_ready("a").await;
    let send = |content: Value| {
        env.telegram
            .perform(&UserAction {
                bot: Some(bot.0),
                from: Some(1001),
                content: content.as_object().expect("an object").clone(),
                ..UserAction::default()
            })
            .expect("the message is sent");
    };
    let send_voice = |words: &str| send(json!({"voice": {"data": words}}));
    send_voice("can you hear me?");
    let sent = env
        .telegram
        .wait_for_sent_messages(bot, 1001, 0, REPLY_TIMEOUT)
        .await;
    assert!(
        sent[0].text.contains("could not make out"),
        "{}",
        sent[0].text
    );
    let note = env
        .cluster
        .eventually("the event", || async {
            env.event_notes("a", "TranscriptionFailed").await.pop()
        })
        .await;
    assert!(
        note.contains("spec.transcription.apiKeySecretRef: Secret \"ears\" does not exist"),
        "{note}"
    );
    send(json!({"document": {"data": "%PDF-1.7\n", "file_name": "offer.pdf"}}));
    let note = env
        .cluster
        .eventually("the event about the document", || async {
            env.event_notes("a", "ExtractionFailed").await.pop()
        })
        .await;
    assert!(
        note.contains("spec.files.extract.apiKeySecretRef: Secret \"reader\" does not exist"),
        "{note}"
    );
    let answer = env
        .telegram
        .send_and_wait(bot, 1001, "and text?", REPLY_TIMEOUT)
        .await;
    assert!(
        answer.text.contains("You said: and text?"),
        "{}",
        answer.text
    );

    env.set_secret("ears", "api-key", "made-up").await;
    env.cluster
        .eventually("the voice message is transcribed", || async {
            let sent_before = env.telegram.sent_messages(bot, 1001).len();
            send_voice("and now?");
            let sent = env
                .telegram
                .wait_for_sent_messages(bot, 1001, sent_before, REPLY_TIMEOUT)
                .await;
            let last = &sent.last().expect("an answer").text;
            last.contains("You said: and now?").then_some(())
        })
        .await;
    operator.shutdown().await;
}
