//! Daily life: what the administrator is told of people who write, and what a missing key of the transcription does.

use std::time::Duration;

use serde_json::json;
use telegram_connector_operator::dev::bot_api_simulator::UserAction;

use super::house::{House, Start};
use crate::cluster::Cluster;
use crate::suite::Suite;

pub fn register(suite: &mut Suite) {
    add!(suite, [Core], denied_users_are_told_of_in_one_event);
    add!(
        suite,
        [Core],
        a_missing_transcription_key_stops_voice_alone_and_is_told
    );
}

const SOON: Duration = Duration::from_secs(20);

async fn denied_users_are_told_of_in_one_event(cluster: Cluster) {
    let house = House::new(cluster).await;
    let operator = house.operator(Start::polling()).await;
    let (bot, token) = house.bot();
    house.secret("a", "token", &token).await;
    let access = json!({"level": "Specific", "specificUsers": {"users": [{"id": 1001}]}});
    house.connector("a", json!({"access": access})).await;
    house.ready("a").await;

    house
        .telegram
        .send_and_wait(bot, 666_001, "let me in", SOON)
        .await;
    let note = house
        .cluster
        .eventually("the event", || async {
            house.events("a", "UserDenied").await.pop()
        })
        .await;
    let namespace = &house.cluster.namespace;
    for part in [
        format!("denied -n {namespace} a"),
        format!("allow -n {namespace} a USER_ID"),
        "spec.access.saveDeniedConversations".to_owned(),
    ] {
        assert!(note.contains(&part), "{note}");
    }
    assert!(
        !note.contains("666001") && !note.contains("let me in"),
        "nothing of a denied message is kept: {note}"
    );

    for user in 666_002..666_010 {
        house
            .telegram
            .send_and_wait(bot, user, "and me", SOON)
            .await;
    }
    // An allowed user's exchange passes the controller (AssistantReady) after all that.
    house.telegram.send_and_wait(bot, 1001, "hello", SOON).await;
    house
        .condition("a", "AssistantReady", "True", "ExchangesSucceed")
        .await;
    assert_eq!(house.events("a", "UserDenied").await.len(), 1);
    operator.shutdown().await;
}

async fn a_missing_transcription_key_stops_voice_alone_and_is_told(cluster: Cluster) {
    let house = House::new(cluster).await;
    let operator = house.operator(Start::polling()).await;
    let (bot, token) = house.bot();
    house.secret("a", "token", &token).await;
    let transcription = json!({
        "url": house.assistant.url(), "model": "whisper-1", "apiKeySecretRef": {"name": "ears"},
    });
    house
        .connector("a", json!({"transcription": transcription}))
        .await;
    house.ready("a").await;
    let speak = |words: &str| {
        let voice = json!({"voice": {"data": words}});
        house
            .telegram
            .perform(&UserAction {
                bot: Some(bot.0),
                from: Some(1001),
                content: voice.as_object().expect("an object").clone(),
                ..UserAction::default()
            })
            .expect("said");
    };
    speak("can you hear me?");
    let sent = house
        .telegram
        .wait_for_sent_messages(bot, 1001, 0, SOON)
        .await;
    assert!(
        sent[0].text.contains("could not make out"),
        "{}",
        sent[0].text
    );
    let note = house
        .cluster
        .eventually("the event", || async {
            house.events("a", "TranscriptionFailed").await.pop()
        })
        .await;
    assert!(
        note.contains("spec.transcription.apiKeySecretRef: Secret \"ears\" does not exist"),
        "{note}"
    );
    let text = house
        .telegram
        .send_and_wait(bot, 1001, "and text?", SOON)
        .await;
    assert!(text.text.contains("You said: and text?"), "{}", text.text);

    house.secret("ears", "api-key", "made-up").await;
    house
        .cluster
        .eventually("it hears", || async {
            let already = house.telegram.sent_messages(bot, 1001).len();
            speak("and now?");
            let sent = house
                .telegram
                .wait_for_sent_messages(bot, 1001, already, SOON)
                .await;
            let last = &sent.last().expect("an answer").text;
            last.contains("You said: and now?").then_some(())
        })
        .await;
    operator.shutdown().await;
}
