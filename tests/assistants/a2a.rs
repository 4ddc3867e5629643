//! Agents of both versions of A2A: discovery, streaming, tasks that are looked at, sessions.

mod cancellation;
mod odd_agents;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::{StreamExt, stream};
use rstest::rstest;
use serde_json::{Value, json};
use telegram_connector_operator::api::connector::AssistantProtocol::A2A;
use telegram_connector_operator::assistant::{FailureKind, Picture, Question, QuestionProgress};

use crate::fixtures::{KEY, TEXT, ask, ask_expecting_error, assistant, question};
use crate::mock_server::{self, MockServer, ReceivedRequest};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V1,
    V03,
}
use Version::{V1, V03};

fn card(version: Version, streaming: bool) -> Value {
    // Agents write an address into their card at which only they reach themselves.
    let url = "http://localhost:1/rpc";
    let mut card = json!({"name": "x", "capabilities": {"streaming": streaming}});
    match version {
        V1 => {
            card["supportedInterfaces"] =
                json!([{"url": url, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}]);
        }
        V03 => {
            card["url"] = url.into();
            card["protocolVersion"] = "0.3.0".into();
        }
    }
    card
}

fn is_card(asked: &ReceivedRequest) -> bool {
    asked.path() == "/.well-known/agent-card.json"
}

fn result(value: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": "x", "result": value})
}

fn status(version: Version, state: &str, text: Option<&str>) -> Value {
    let message = text.map(|t| match version {
        V1 => json!({"messageId": "m", "role": "ROLE_AGENT", "parts": [{"text": t}]}),
        V03 => json!({"kind": "message", "messageId": "m", "role": "agent", "parts": [{"kind": "text", "text": t}]}),
    });
    match version {
        V1 => {
            json!({"state": format!("TASK_STATE_{}", state.to_uppercase().replace('-', "_")), "message": message})
        }
        V03 => json!({"state": state, "message": message}),
    }
}

fn task(version: Version, state: &str, artifact: Option<&str>) -> Value {
    let artifacts: Vec<Value> = artifact
        .iter()
        .map(|t| json!({"artifactId": "a", "parts": [{"text": t}]}))
        .collect();
    let task = json!({"id": "task-1", "contextId": "context-1", "status": status(version, state, None), "artifacts": artifacts});
    wrapped(version, "task", "task", task)
}

fn status_update(version: Version, state: &str, text: Option<&str>) -> Value {
    let update = json!({"taskId": "task-1", "contextId": "context-1", "status": status(version, state, text)});
    wrapped(version, "statusUpdate", "status-update", update)
}

fn artifact_update(version: Version, text: &str, append: bool) -> Value {
    let update = json!({"taskId": "task-1", "contextId": "context-1", "append": append,
        "artifact": {"artifactId": "a", "parts": [{"text": text}]}});
    wrapped(version, "artifactUpdate", "artifact-update", update)
}

fn wrapped(version: Version, field: &str, kind: &str, mut value: Value) -> Value {
    match version {
        V1 => json!({field: value}),
        V03 => {
            value["kind"] = kind.into();
            value
        }
    }
}

fn stream_of(updates: &[Value]) -> axum::response::Response {
    let events: Vec<String> = updates.iter().map(|u| result(u).to_string()).collect();
    mock_server::events(&events.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Asks in a session whose task the agent has forgotten: there is an answer, and the session goes on without the task.
async fn ask_in_a_forgotten_task(server: &MockServer, context: &str) {
    let state = json!({"contextId": context, "taskId": "gone"});
    let asked = Question {
        session_state: Some(state.to_string()),
        ..question()
    };
    let answer = ask(&assistant(A2A, &server.url), asked).await;
    let answer = answer.expect("an answer");
    assert_eq!(answer.text, "Hello");
    assert_eq!(
        answer.state.as_deref(),
        Some(r#"{"contextId":"context-1"}"#)
    );
}

fn method(asked: &ReceivedRequest) -> String {
    asked.json()["method"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[rstest]
#[tokio::test]
async fn streamed_answer_is_the_artifact_with_its_context(#[values(V1, V03)] version: Version) {
    let server = MockServer::start(move |asked: &ReceivedRequest| {
        if is_card(asked) {
            return mock_server::json(&card(version, true));
        }
        stream_of(&[
            task(version, "submitted", None),
            status_update(version, "working", Some("thinking")),
            artifact_update(version, "Hel", false),
            artifact_update(version, "lo", true),
            status_update(version, "completed", None),
        ])
    })
    .await;
    let agent = assistant(A2A, &server.url);
    assert!(!agent.needs_history());
    let asked = Question {
        pictures: vec![Picture {
            media_type: "image/png".into(),
            bytes: bytes::Bytes::from_static(b"\x01\x02"),
        }],
        ..question()
    };
    let first = ask(&agent, asked).await.expect("an answer");
    assert_eq!(first.text, "Hello");
    let state = first.state.expect("a session");
    assert_eq!(state, r#"{"contextId":"context-1"}"#);

    let next = Question {
        session_state: Some(state),
        ..question()
    };
    let second = ask(&agent, next).await.expect("an answer");
    assert_eq!((second.text.as_str(), second.state), ("Hello", None));

    let received = server.received();
    assert_eq!(received.len(), 3, "the card is read once");
    let request = &received[1];
    assert_eq!(request.path(), "/rpc");
    assert_eq!(request.header("authorization"), format!("Bearer {KEY}"));
    assert_eq!(request.header("x-telegram-user-id"), "424242");
    assert_eq!(
        request.header("a2a-version"),
        if version == V1 { "1.0" } else { "" }
    );
    let expected = if version == V1 {
        "SendStreamingMessage"
    } else {
        "message/stream"
    };
    assert_eq!(method(request), expected);
    let message = &request.json()["params"]["message"];
    assert_eq!(message["messageId"], "8400000001-77");
    assert_eq!(message["contextId"], Value::Null);
    assert_eq!(
        message["metadata"]["telegram"],
        json!({"connector": "acme/support", "session": "session-1", "chat": {"id": 424_242, "type": "private"},
            "bot": {"name": "Acme Support", "username": "acme_support_bot"},
            "user": {"id": 424_242, "name": "Ann Bär", "username": "ann_example", "language": "de"}})
    );
    let parts = match version {
        V1 => json!([{"text": TEXT}, {"raw": "AQI=", "mediaType": "image/png"}]),
        V03 => {
            json!([{"kind": "text", "text": TEXT}, {"kind": "file", "file": {"bytes": "AQI=", "mimeType": "image/png"}}])
        }
    };
    assert_eq!(message["parts"], parts);
    assert_eq!(
        received[2].json()["params"]["message"]["contextId"],
        "context-1"
    );
}

#[rstest]
#[tokio::test]
async fn task_of_a_non_streaming_agent_is_polled_until_it_ends(
    #[values(V1, V03)] version: Version,
) {
    let looks = AtomicUsize::new(0);
    let server = MockServer::start(move |asked: &ReceivedRequest| {
        if is_card(asked) {
            return mock_server::json(&card(version, false));
        }
        match method(asked).as_str() {
            "SendMessage" | "message/send" => mock_server::json(&result(&task(version, "working", None))),
            _ if looks.fetch_add(1, Ordering::SeqCst) == 0 => mock_server::json(&result(&json!({
                "kind": "task", "id": "task-1", "contextId": "context-1", "status": status(version, "working", None)}))),
            // GetTask answers the bare task in both versions.
            _ => mock_server::json(&result(&json!({"id": "task-1", "contextId": "context-1", "status": status(version, "completed", None),
                "artifacts": [{"artifactId": "a", "parts": [{"text": "Hello"}]}]}))),
        }
    })
    .await;
    assert_eq!(
        ask(&assistant(A2A, &server.url), question())
            .await
            .expect("an answer")
            .text,
        "Hello"
    );
    let received = server.received();
    let look = received.last().expect("requests");
    assert_eq!(
        method(look),
        if version == V1 {
            "GetTask"
        } else {
            "tasks/get"
        }
    );
    assert_eq!(look.json()["params"]["id"], "task-1");
    let blocking = &received[1].json()["params"]["configuration"]["blocking"];
    assert_eq!(
        blocking,
        &if version == V1 {
            Value::Null
        } else {
            json!(true)
        }
    );
}

#[rstest]
#[tokio::test]
async fn a_message_is_an_answer_without_a_task(#[values(true, false)] streaming: bool) {
    let server = MockServer::start(move |asked: &ReceivedRequest| {
        let message = json!({"message": {"messageId": "m", "role": "ROLE_AGENT", "parts": [{"text": "Hello"}]}});
        match (is_card(asked), streaming) {
            (true, _) => mock_server::json(&card(V1, streaming)),
            (false, true) => stream_of(&[message]),
            (false, false) => mock_server::json(&result(&message)),
        }
    })
    .await;
    assert_eq!(
        ask(&assistant(A2A, &server.url), question())
            .await
            .expect("an answer")
            .text,
        "Hello"
    );
}

#[rstest]
#[case::broken(true)]
#[case::ended(false)]
#[tokio::test]
async fn broken_stream_is_followed_by_polling_its_task(#[case] broken: bool) {
    let server = MockServer::start(move |asked: &ReceivedRequest| {
        if is_card(asked) {
            return mock_server::json(&card(V03, true));
        }
        if method(asked) == "message/stream" {
            let first = format!("data: {}\n\n", result(&artifact_update(V03, "Hel", false)));
            let end = stream::once(async {
                // So that the first piece is on its way before the connection goes.
                tokio::time::sleep(Duration::from_millis(50)).await;
                Err(std::io::Error::other("gone"))
            });
            return mock_server::raw_events(
                stream::iter([Ok(first)]).chain(end.take(usize::from(broken))),
            );
        }
        mock_server::json(&result(&task(V03, "completed", Some("Hello"))))
    })
    .await;
    assert_eq!(
        ask(&assistant(A2A, &server.url), question())
            .await
            .expect("an answer")
            .text,
        "Hello"
    );
    let methods: Vec<String> = server.received().iter().skip(1).map(method).collect();
    assert_eq!(methods, ["message/stream", "tasks/get"]);
}

#[rstest]
#[tokio::test]
async fn a_task_that_waits_for_input_gets_the_next_message(#[values(V1, V03)] version: Version) {
    let server = MockServer::start(move |asked: &ReceivedRequest| {
        if is_card(asked) {
            return mock_server::json(&card(version, true));
        }
        if asked.json()["params"]["message"]["taskId"] == "task-1" {
            stream_of(&[
                artifact_update(version, "Booked", false),
                status_update(version, "completed", None),
            ])
        } else {
            stream_of(&[
                task(version, "submitted", None),
                status_update(version, "input-required", Some("Which day?")),
            ])
        }
    })
    .await;
    let agent = assistant(A2A, &server.url);
    let first = ask(&agent, question()).await.expect("an answer");
    assert_eq!(first.text, "Which day?");
    let next = Question {
        session_state: first.state,
        ..question()
    };
    let second = ask(&agent, next).await.expect("an answer");
    assert_eq!(second.text, "Booked");
    assert_eq!(
        second.state.as_deref(),
        Some(r#"{"contextId":"context-1"}"#),
        "the task is over"
    );
}

#[tokio::test]
async fn an_agent_that_has_forgotten_the_session_is_asked_without_it() {
    let server = MockServer::start(|asked: &ReceivedRequest| {
        if is_card(asked) {
            return mock_server::json(&card(V1, true));
        }
        let message = &asked.json()["params"]["message"];
        if message["taskId"].is_string() || message["contextId"].is_string() {
            return mock_server::json(&json!({"jsonrpc": "2.0", "id": "x", "error": {"code": -32001, "message": "Task not found"}}));
        }
        stream_of(&[task(V1, "completed", Some("Hello"))])
    })
    .await;
    ask_in_a_forgotten_task(&server, "gone").await;
    assert_eq!(
        server.received().len(),
        4,
        "the card, with task, with context, without"
    );
}

#[tokio::test]
async fn an_older_agents_card_is_found_below_the_path() {
    let server = MockServer::start(|asked: &ReceivedRequest| match asked.path() {
        "/api/a2a/kagent/helper/.well-known/agent.json" => {
            let mut card = card(V03, false);
            card["url"] = "http://127.0.0.1:8083/api/a2a/kagent/helper/".into();
            mock_server::json(&card)
        }
        "/api/a2a/kagent/helper/" => {
            mock_server::json(&result(&task(V03, "completed", Some("Hello"))))
        }
        _ => mock_server::status(404, &[], "not here"),
    })
    .await;
    let agent = assistant(A2A, &format!("{}/api/a2a/kagent/helper", server.url));
    assert_eq!(
        ask(&agent, question()).await.expect("an answer").text,
        "Hello"
    );
}

#[tokio::test]
async fn the_key_goes_into_the_header_that_the_card_names() {
    let server = MockServer::start(|asked: &ReceivedRequest| {
        if is_card(asked) {
            let mut card = card(V03, false);
            card["securitySchemes"] =
                json!({"k": {"type": "apiKey", "in": "header", "name": "X-API-Key"}});
            return mock_server::json(&card);
        }
        mock_server::json(&result(&task(V03, "completed", Some("Hello"))))
    })
    .await;
    ask(&assistant(A2A, &server.url), question())
        .await
        .expect("an answer");
    let request = &server.received()[1];
    assert_eq!(
        (request.header("x-api-key"), request.header("authorization")),
        (KEY, "")
    );
}

#[tokio::test]
async fn card_is_read_again_when_the_version_is_wrong() {
    let upgraded = AtomicUsize::new(0);
    let server = MockServer::start(move |asked: &ReceivedRequest| {
        if is_card(asked) {
            let version = if upgraded.fetch_add(1, Ordering::SeqCst) == 0 { V03 } else { V1 };
            return mock_server::json(&card(version, false));
        }
        if method(asked) == "SendMessage" {
            return mock_server::json(&result(&task(V1, "completed", Some("Hello"))));
        }
        mock_server::json(&json!({"jsonrpc": "2.0", "id": "x", "error": {"code": -32601, "message": "Method not found"}}))
    })
    .await;
    let agent = assistant(A2A, &server.url);
    assert!(ask_expecting_error(&agent).await.is_retryable());
    assert_eq!(
        ask(&agent, question()).await.expect("an answer").text,
        "Hello"
    );
}

#[rstest]
#[case::internal(-32603, true)]
#[case::params(-32602, false)]
#[case::content(-32005, false)]
#[case::own(-32050, true)]
#[tokio::test]
async fn a_json_rpc_error_has_its_class(
    #[case] code: i64,
    #[case] retryable: bool,
    #[values(true, false)] streaming: bool,
) {
    let server = MockServer::start(move |asked: &ReceivedRequest| {
        let error = json!({"jsonrpc": "2.0", "id": "x", "error": {"code": code, "message": TEXT, "data": KEY}});
        match (is_card(asked), streaming) {
            (true, _) => mock_server::json(&card(V1, streaming)),
            (false, true) => mock_server::events(&[&error.to_string()]),
            (false, false) => mock_server::json(&error),
        }
    })
    .await;
    assert_eq!(
        ask_expecting_error(&assistant(A2A, &server.url))
            .await
            .is_retryable(),
        retryable
    );
}

#[rstest]
#[tokio::test]
async fn failed_task_with_words_says_them(
    #[values("failed", "rejected", "canceled")] state: &'static str,
) {
    let server = MockServer::start(move |asked: &ReceivedRequest| {
        if is_card(asked) {
            return mock_server::json(&card(V1, true));
        }
        stream_of(&[
            task(V1, "working", None),
            status_update(V1, "working", Some("looking")),
            status_update(V1, state, Some("Order 17 does not exist.")),
        ])
    })
    .await;
    let answer = ask(&assistant(A2A, &server.url), question()).await;
    assert_eq!(answer.expect("an answer").text, "Order 17 does not exist.");
}

#[tokio::test]
async fn failed_task_without_words_is_not_asked_again() {
    let server = MockServer::start(|asked: &ReceivedRequest| {
        if is_card(asked) {
            return mock_server::json(&card(V1, true));
        }
        stream_of(&[task(V1, "working", None), status_update(V1, "failed", None)])
    })
    .await;
    let error = ask_expecting_error(&assistant(A2A, &server.url)).await;
    assert_eq!(error.kind, FailureKind::TaskFailed);
    assert_eq!(error.progress, QuestionProgress::Begun);
}

#[tokio::test]
async fn no_card_says_where_it_should_be() {
    let server = MockServer::start(|_| mock_server::status(404, &[], "")).await;
    let error = ask_expecting_error(&assistant(A2A, &server.url)).await;
    assert!(
        error.detail.contains(".well-known/agent-card.json"),
        "{error}"
    );
}
