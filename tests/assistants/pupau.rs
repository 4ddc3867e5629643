//! Pupau: conversations, frames, and conversations that have expired.

use futures::StreamExt;
use serde_json::{Value, json};
use telegram_connector_operator::api::connector::AssistantProtocol::Pupau;
use telegram_connector_operator::assistant::Question;
use telegram_connector_operator::assistant::{AnswerPart, AssistantFault};

use crate::fixtures::{KEY, TEXT, ask, ask_expecting_error, assistant, question};
use crate::mock_server::{self, MockServer, ReceivedRequest};

/// A Pupau API that knows the one conversation `new`.
async fn pupau() -> MockServer {
    MockServer::start(|asked: &ReceivedRequest| match asked.path() {
        "/chat-bots/bot-1/conversations" => {
            mock_server::json(&json!({"id": "new", "token": "token-of-new", "title": "x"}))
        }
        "/chat-bots/bot-1/conversations/new/queries"
            if asked.header("conversation-token") == "token-of-new" =>
        {
            // Bare data lines, some of them without blank lines between.
            let lines = [
                r#"{"type":"kb","kbReferences":[]}"#,
                r#"{"id":"1","message":"Hel","chatBotId":"bot-1"}"#,
                r#"{"type":"context_info","contextInfo":{},"message":"not this"}"#,
                r#"{"id":"1","message":"lo","chatBotId":"bot-1"}"#,
            ];
            let body: String = lines.iter().fold(String::new(), |text, line| {
                text + "data: "
                    + line
                    + "
"
            });
            mock_server::status(200, &[("content-type", "text/event-stream")], body)
        }
        _ => mock_server::status(404, &[], ""),
    })
    .await
}

fn in_session(state: &Value) -> Question {
    Question {
        session_state: Some(state.to_string()),
        ..question()
    }
}

#[tokio::test]
async fn a_session_is_one_conversation() {
    let server = pupau().await;
    let assistant = assistant(Pupau, &server.url);
    assert!(!assistant.needs_history() && !assistant.supports_pictures());
    let first = ask(&assistant, question()).await.expect("an answer");
    assert_eq!(first.text, "Hello");
    let state: Value = serde_json::from_str(&first.state.expect("a state")).expect("JSON");
    assert_eq!(state, json!({"id": "new", "token": "token-of-new"}));

    let second = ask(&assistant, in_session(&state))
        .await
        .expect("an answer");
    assert_eq!((second.text.as_str(), second.state), ("Hello", None));

    let received = server.received();
    let paths: Vec<String> = received.iter().map(|r| r.uri.to_string()).collect();
    let query = "/chat-bots/bot-1/conversations/new/queries?sse=true";
    assert_eq!(paths, ["/chat-bots/bot-1/conversations", query, query]);
    assert!(
        received
            .iter()
            .all(|r| r.header("api-key") == KEY && r.header("idempotency-key") == "8400000001-77")
    );
    let begun = received[0].json();
    assert_eq!(begun["source"], "INTEGRATION");
    assert_eq!(begun["title"], "Ann Bär (Telegram 424242)");
    assert_eq!(
        begun["data"],
        json!({"connector": "acme/support", "session": "session-1", "chat": {"id": 424_242, "type": "private"},
            "bot": {"name": "Acme Support", "username": "acme_support_bot"},
            "user": {"id": 424_242, "name": "Ann Bär", "username": "ann_example", "language": "de"}})
    );
    assert_eq!(
        received[1].json(),
        json!({"request": TEXT, "attachments": []})
    );
}

#[tokio::test]
async fn an_expired_conversation_is_replaced_by_a_new_one() {
    let server = pupau().await;
    let assistant = assistant(Pupau, &server.url);
    let expired = json!({"id": "old", "token": "token-of-old"});
    let answer = ask(&assistant, in_session(&expired))
        .await
        .expect("an answer");
    assert_eq!(answer.text, "Hello");
    assert!(answer.state.expect("a new state").contains("token-of-new"));
}

#[tokio::test]
async fn a_busy_api_does_not_cost_the_conversation() {
    let server = MockServer::start(|_| mock_server::status(503, &[], "")).await;
    let assistant = assistant(Pupau, &server.url);
    let stored = json!({"id": "old", "token": "token-of-old"});
    let error = ask(&assistant, in_session(&stored))
        .await
        .expect_err("busy");
    assert!(error.is_retryable());
    assert_eq!(server.received().len(), 1, "no new conversation was begun");
}

#[tokio::test]
async fn an_error_frame_is_an_error() {
    let server = MockServer::start(|asked: &ReceivedRequest| {
        if asked.path().ends_with("/queries") {
            mock_server::events(&[r#"{"type":"error","error":"my private words","code":401}"#])
        } else {
            mock_server::json(&json!({"id": 7, "token": "t"}))
        }
    })
    .await;
    let error = ask_expecting_error(&assistant(Pupau, &server.url)).await;
    assert_eq!(error.fault(), AssistantFault::Unauthorized, "{error}");
    assert_eq!(
        server.received()[1].path(),
        "/chat-bots/bot-1/conversations/7/queries"
    );
}

/// A server whose conversations answer with this body.
async fn pupau_answering(label: &'static str, body: &'static str) -> MockServer {
    MockServer::start(move |asked: &ReceivedRequest| {
        if asked.path().ends_with("/queries") {
            mock_server::status(200, &[("content-type", label)], body)
        } else {
            mock_server::json(&json!({"id": 7, "token": "t"}))
        }
    })
    .await
}

#[tokio::test]
async fn a_frame_that_cannot_be_read_breaks_the_answer_off() {
    let body = "data: {\"message\":\"Pay 10\"}\ndata: {\"message\":\" tod\ndata: {\"message\":\" today.\"}\n";
    let server = pupau_answering("text/event-stream", body).await;
    let parts = assistant(Pupau, &server.url)
        .ask(question())
        .await
        .expect("an answer");
    let parts: Vec<_> = parts.collect().await;
    assert_eq!(
        parts[1].as_ref().expect("a part"),
        &AnswerPart::Text("Pay 10".into())
    );
    assert!(parts[2].is_err() && parts.len() == 3, "{parts:?}");
}

#[tokio::test]
async fn an_answer_in_one_json_object_is_read_whatever_its_label() {
    for label in ["text/event-stream", "application/json"] {
        let server = pupau_answering(label, r#"{"id": "1", "message": "Hello"}"#).await;
        let answer = ask(&assistant(Pupau, &server.url), question()).await;
        assert_eq!(answer.expect("an answer").text, "Hello");
    }
}
