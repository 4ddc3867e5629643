//! Answers as they come: what a person sees while the assistant writes.

use std::time::Duration;

use bot_api_simulator::sample_assistant::Behaviour;
use bot_api_simulator::{Fault, FaultKind};
use telegram_connector_operator::api::connector::RespondTo;
use telegram_connector_operator::registry::GroupPolicy;

use crate::world::{ANN, SOON, World};

const ANSWER: &str = "One **two** three four five six seven eight nine `ten` eleven twelve.";
const SHOWN: &str = "One two three four five six seven eight nine ten eleven twelve.";

/// An assistant that takes about three seconds for its twelve words.
fn slow() -> Behaviour {
    Behaviour {
        word_delay_ms: 250,
        answer: Some(ANSWER.into()),
        ..Behaviour::default()
    }
}

#[tokio::test]
async fn a_private_answer_grows_as_a_draft_and_ends_as_one_message() {
    let mut world = World::new().await;
    let support = world.connector("support");
    world.assistant.set_behaviour(slow());
    let answer = world.ask(&support, "count").await;
    assert_eq!(answer.text, SHOWN);
    let drafts = world.telegram.drafts(support.id);
    assert!((1..=4).contains(&drafts.len()), "{drafts:?}");
    for draft in &drafts {
        assert!(
            SHOWN.starts_with(draft.text.trim_end_matches('*')),
            "{draft:?}"
        );
        assert_eq!(draft.draft_id, drafts[0].draft_id);
    }
    assert_eq!(world.telegram.sent_messages(support.id, ANN).len(), 1);
}

#[tokio::test]
async fn a_server_without_drafts_shows_an_edited_message_that_gives_way_to_the_answer() {
    let mut world = World::new().await;
    let support = world.connector("support");
    world.assistant.set_behaviour(slow());
    world.telegram.add_fault(
        Fault::new(FaultKind::Status {
            code: 404,
            description: "Not Found: method not found".into(),
        })
        .method("sendMessageDraft"),
    );
    world
        .telegram
        .send_private_message(support.id, ANN, "count");
    let sent = world
        .telegram
        .wait_until(support.id, SOON, |telegram| {
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
async fn a_group_sees_one_preview_and_then_the_answer() {
    let mut world = World::new().await;
    let support = world.connector_with("support", |c| {
        c.groups = Some(GroupPolicy {
            respond_to: RespondTo::All,
            chats: None,
        });
    });
    world.assistant.set_behaviour(slow());
    let group = world
        .telegram
        .add_group("supergroup", "Team", &[support.id.0]);
    world
        .telegram
        .send_group_message(group, ANN, "@support_bot count");
    let sent = world
        .telegram
        .wait_until(support.id, SOON, |telegram| {
            let sent = telegram.sent_messages(support.id, group);
            // The preview, and the answer that took its place.
            (sent.len() > 1 && sent[0].deleted).then_some(sent)
        })
        .await
        .expect("the answer");
    assert!(sent.iter().filter(|m| !m.deleted).count() == 1, "{sent:?}");
    assert!(world.telegram.drafts(support.id).is_empty());
}

#[tokio::test]
async fn a_quick_answer_has_no_preview() {
    let mut world = World::new().await;
    let support = world.connector("support");
    world.ask(&support, "quick").await;
    world.drained().await;
    let calls: Vec<_> = world.telegram.calls(support.id);
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
async fn a_preview_that_cannot_be_shown_does_not_hold_up_the_answer() {
    let mut world = World::new().await;
    let support = world.connector("support");
    world.assistant.set_behaviour(slow());
    world
        .telegram
        .add_fault(Fault::new(FaultKind::Hang).method("sendMessageDraft"));
    let begun = tokio::time::Instant::now();
    let answer = world.ask(&support, "count").await;
    assert_eq!(answer.text, SHOWN);
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn a_typing_that_is_never_answered_holds_up_neither_the_first_words_nor_the_answer() {
    let mut world = World::new().await;
    let support = world.connector("support");
    // "typing…" is said before the first word, which comes after 600 ms.
    world.assistant.set_behaviour(Behaviour {
        latency_ms: 600,
        ..slow()
    });
    world
        .telegram
        .add_fault(Fault::new(FaultKind::Hang).method("sendChatAction"));
    let begun = tokio::time::Instant::now();
    let answer = world.ask(&support, "count").await;
    assert_eq!(answer.text, SHOWN);
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    let drafts = world.telegram.drafts(support.id);
    assert!(!drafts.is_empty(), "nothing showed before the answer");
}
