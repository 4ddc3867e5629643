//! What assistants, and people whom nobody named, can make the store keep of one message.

use telegram_connector_operator::assistant::AnswerPart;
use telegram_connector_operator::store::ListingQuery;

use crate::scripted_assistant::ScriptedAssistant;
use crate::test_env::{ANN, TIMEOUT, TestEnv, specific_users};

#[tokio::test]
async fn state_beyond_64_kib_is_not_kept() {
    let mut env = TestEnv::new().await;
    let assistant = ScriptedAssistant::new(|question| {
        let bytes = question.text.parse().unwrap_or(0);
        Ok(vec![
            Ok(AnswerPart::SessionState("s".repeat(bytes))),
            Ok(AnswerPart::Text("ok".into())),
        ])
    });
    let support = env.connector_with("support", |c| c.assistant = Some(assistant.shared()));
    for bytes in [64 << 10, (64 << 10) + 1, 15 << 20, 7] {
        env.ask(&support, &bytes.to_string()).await;
    }
    let states = assistant.take_questions().into_iter();
    let states: Vec<_> = states
        .map(|question| question.session_state.map(|state| state.len()))
        .collect();
    let largest = Some(64 << 10);
    assert_eq!(states, [None, largest, largest, largest]);
}

#[tokio::test]
async fn denied_text_is_kept_up_to_1000_characters() {
    let mut env = TestEnv::new().await;
    let support = env.connector_with("support", |c| {
        c.access = specific_users(&[]);
        c.save_denied_conversations = true;
    });
    let text = "語".repeat(4_096);
    env.telegram
        .send_and_wait(support.id, ANN, &text, TIMEOUT)
        .await;
    let query = ListingQuery {
        texts: true,
        limit: 10,
        ..ListingQuery::default()
    };
    let denied = env.store.denied(&query).await.unwrap().rows;
    let kept = denied[0].text.as_deref().unwrap_or_default();
    assert_eq!(kept, "語".repeat(1_000) + "…");
}
