//! Answers as they come: what a person sees while the assistant writes.

use std::time::Duration;

use bot_api_simulator::sample_assistant::Behaviour;
use bot_api_simulator::{Fault, FaultKind};
use telegram_connector_operator::api::connector::RespondTo;
use telegram_connector_operator::registry::GroupPolicy;

use crate::test_env::{ANN, TIMEOUT, TestEnv};

const ANSWER: &str = "One **two** three four five six seven eight nine `ten` eleven twelve.";
const SHOWN: &str = "One two three four five six seven eight nine ten eleven twelve.";

/// An assistant that takes about three seconds for its twelve words.
fn slow_assistant() -> Behaviour {
    Behaviour {
        word_delay_ms: 250,
        answer: Some(ANSWER.into()),
        ..Behaviour::default()
    }
}

#[tokio::test]
async fn private_answer_shows_as_draft_then_one_message() {
    let mut env = TestEnv::new().await;
    let support = env.connector("support");
    env.assistant.set_behaviour(slow_assistant());
    let answer = env.ask(&support, "count").await;
    assert_eq!(answer.text, SHOWN);
    let drafts = env.telegram.drafts(support.id);
    assert!((1..=4).contains(&drafts.len()), "{drafts:?}");
    for draft in &drafts {
        assert!(
            SHOWN.starts_with(draft.text.trim_end_matches('*')),
            "{draft:?}"
        );
        assert_eq!(draft.draft_id, drafts[0].draft_id);
    }
    assert_eq!(env.telegram.sent_messages(support.id, ANN).len(), 1);
}

#[tokio::test]
async fn preview_of_a_long_answer_shows_its_end() {
    let mut env = TestEnv::new().await;
    let support = env.connector("support");
    let begin = "long".repeat(3_000);
    env.assistant.set_behaviour(Behaviour {
        answer: Some(format!("{begin} {ANSWER}")),
        ..slow_assistant()
    });
    env.ask(&support, "count").await;
    let drafts = env.telegram.drafts(support.id);
    assert!((1..=4).contains(&drafts.len()), "{}", drafts.len());
    for draft in &drafts {
        assert!(draft.text.contains("long One"), "{}", draft.text);
    }
}

#[tokio::test]
async fn without_drafts_the_preview_is_an_edited_message() {
    let mut env = TestEnv::new().await;
    let support = env.connector("support");
    env.assistant.set_behaviour(slow_assistant());
    env.telegram.add_fault(
        Fault::new(FaultKind::Status {
            code: 404,
            description: "Not Found: method not found".into(),
        })
        .method("sendMessageDraft"),
    );
    env.telegram.send_private_message(support.id, ANN, "count");
    let sent = env
        .telegram
        .wait_until(support.id, TIMEOUT, |telegram| {
            let sent = telegram.sent_messages(support.id, ANN);
            // The preview, and the answer that took its place.
            (sent.len() > 1 && sent[0].deleted).then_some(sent)
        })
        .await
        .expect("the answer");
    assert_eq!(sent.len(), 2, "{sent:?}");
    assert!(!sent[1].deleted && sent[1].text == SHOWN, "{sent:?}");
    assert!(SHOWN.starts_with(&sent[0].text), "{sent:?}");
}

#[tokio::test]
async fn group_shows_one_preview_then_the_answer() {
    let mut env = TestEnv::new().await;
    let support = env.connector_with("support", |c| {
        c.groups = Some(GroupPolicy {
            read_along: 0,
            respond_to: RespondTo::All,
            chats: None,
        });
    });
    env.assistant.set_behaviour(slow_assistant());
    let group = env
        .telegram
        .add_group("supergroup", "Team", &[support.id.0]);
    env.telegram
        .send_group_message(group, ANN, "@support_bot count");
    let sent = env
        .telegram
        .wait_until(support.id, TIMEOUT, |telegram| {
            let sent = telegram.sent_messages(support.id, group);
            // The preview, and the answer that took its place.
            (sent.len() > 1 && sent[0].deleted).then_some(sent)
        })
        .await
        .expect("the answer");
    assert!(sent.iter().filter(|m| !m.deleted).count() == 1, "{sent:?}");
    assert!(env.telegram.drafts(support.id).is_empty());
}

#[tokio::test]
async fn quick_answer_has_no_preview() {
    let mut env = TestEnv::new().await;
    let support = env.connector("support");
    env.ask(&support, "quick").await;
    env.wait_until_drained().await;
    let calls: Vec<_> = env.telegram.calls(support.id);
    assert_eq!(
        calls
            .iter()
            .filter(|c| c.method != "getupdates" && c.method != "getme")
            .count(),
        1,
        "{calls:?}"
    );
}

#[tokio::test]
async fn failed_preview_does_not_delay_the_answer() {
    let mut env = TestEnv::new().await;
    let support = env.connector("support");
    env.assistant.set_behaviour(slow_assistant());
    env.telegram
        .add_fault(Fault::new(FaultKind::Hang).method("sendMessageDraft"));
    let begun = tokio::time::Instant::now();
    let answer = env.ask(&support, "count").await;
    assert_eq!(answer.text, SHOWN);
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn hanging_typing_call_delays_neither_preview_nor_answer() {
    let mut env = TestEnv::new().await;
    let support = env.connector("support");
    // "typing…" is said before the first word, which comes after 600 ms.
    env.assistant.set_behaviour(Behaviour {
        latency_ms: 600,
        ..slow_assistant()
    });
    env.telegram
        .add_fault(Fault::new(FaultKind::Hang).method("sendChatAction"));
    let begun = tokio::time::Instant::now();
    let answer = env.ask(&support, "count").await;
    assert_eq!(answer.text, SHOWN);
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    let drafts = env.telegram.drafts(support.id);
    assert!(!drafts.is_empty(), "nothing showed before the answer");
}
