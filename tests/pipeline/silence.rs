//! Assistants that are silent for more than a minute, in real time: `timeoutSeconds` alone ends a question, and a silence is no reason to ask again.

use std::time::Duration;

use axum::response::Response;
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use telegram_connector_operator::api::connector::AssistantProtocol::{
    self, A2A, OpenAI, Pupau, Webhook,
};

use crate::mock_server::{self, MockServer, ReceivedRequest};
use crate::test_env::{ANN, TestEnv};

/// Longer than what once ended a silence.
const SILENCE: Duration = Duration::from_secs(65);
const BEFORE_IT: &str = "Booking your flight. ";
const AFTER_IT: &str = "Booked.";

/// Server-sent events; before each there is a silence.
fn events(pieces: Vec<(Duration, String)>) -> Response {
    let pieces = stream::iter(pieces).then(async |(silence, data)| {
        tokio::time::sleep(silence).await;
        Ok(format!("data: {data}\n\n"))
    });
    mock_server::raw_events(pieces)
}

/// An answer of two pieces with a silence before the last, and what ends it.
fn two_pieces(piece: impl Fn(&str) -> Value, end: &str) -> Response {
    let now = Duration::ZERO;
    events(vec![
        (now, piece(BEFORE_IT).to_string()),
        (SILENCE, piece(AFTER_IT).to_string()),
        (now, end.to_owned()),
    ])
}

fn chunk(text: &str) -> Value {
    json!({"choices": [{"index": 0, "delta": {"content": text}}]})
}

fn openai_end() -> String {
    format!(
        "{}\n\ndata: [DONE]",
        json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    )
}

/// The events of an A2A 0.3 agent whose tool takes its time.
fn agent_stream() -> Response {
    let result = |value: Value| json!({"jsonrpc": "2.0", "id": "x", "result": value}).to_string();
    let artifact = |text: &str, append: bool| {
        result(
            json!({"kind": "artifact-update", "taskId": "t", "contextId": "c", "append": append,
            "artifact": {"artifactId": "a", "parts": [{"kind": "text", "text": text}]}}),
        )
    };
    let status = |state: &str, is_final: bool| {
        result(
            json!({"kind": "status-update", "taskId": "t", "contextId": "c",
            "status": {"state": state}, "final": is_final}),
        )
    };
    let now = Duration::ZERO;
    events(vec![
        (now, status("working", false)),
        (now, artifact(BEFORE_IT, false)),
        (SILENCE, artifact(AFTER_IT, true)),
        (now, status("completed", true)),
    ])
}

fn respond(protocol: AssistantProtocol, asked: &ReceivedRequest) -> Response {
    match protocol {
        OpenAI => two_pieces(chunk, &openai_end()),
        Webhook => two_pieces(|text| json!({ "text": text }), "[DONE]"),
        A2A if asked.path().contains("agent-card") => mock_server::json(
            &json!({"name": "x", "url": "http://localhost/", "protocolVersion": "0.3.0", "capabilities": {"streaming": true}}),
        ),
        A2A => agent_stream(),
        Pupau if asked.path().ends_with("/conversations") => {
            mock_server::json(&json!({"id": "new", "token": "token"}))
        }
        Pupau => two_pieces(
            |text| json!({"id": "1", "message": text}),
            &json!({"id": "1", "message": ""}).to_string(),
        ),
    }
}

/// How often a server was asked the question itself.
fn count_questions(server: &MockServer) -> usize {
    let is_question = |r: &&ReceivedRequest| {
        !r.path().contains("agent-card") && !r.path().ends_with("/conversations")
    };
    server.received().iter().filter(is_question).count()
}

#[tokio::test]
async fn silence_of_a_minute_is_waited_out_and_asked_once() {
    let mut env = TestEnv::new().await;
    let mut running = Vec::new();
    for (name, protocol) in [
        ("openai", OpenAI),
        ("a2a", A2A),
        ("pupau", Pupau),
        ("webhook", Webhook),
    ] {
        let server = MockServer::start(move |asked: &ReceivedRequest| respond(protocol, asked));
        running.push((name, protocol, server.await, "Booking your flight. Booked."));
    }
    let first_chunk_late = MockServer::start(|_: &ReceivedRequest| {
        events(vec![
            (SILENCE + Duration::from_secs(5), chunk("Here.").to_string()),
            (Duration::ZERO, openai_end()),
        ])
    });
    running.push(("busy", OpenAI, first_chunk_late.await, "Here."));

    let mut connectors = Vec::new();
    for (name, protocol, server, expected) in &running {
        let assistant = env.assistant_at(*protocol, &server.url, 300, None);
        let connector = env.connector_with(name, |c| c.assistant = Some(assistant));
        env.telegram
            .send_private_message(connector.id, ANN, "book it");
        connectors.push((connector, name, server, expected));
    }
    for (connector, name, server, expected) in connectors {
        let sent = env
            .telegram
            .wait_for_sent_messages(connector.id, ANN, 0, 2 * SILENCE)
            .await;
        assert_eq!(sent[0].text, **expected, "{name}");
        assert_eq!(sent.len(), 1, "{name}: {sent:?}");
        assert_eq!(count_questions(server), 1, "{name}");
    }
    assert!(env.dead_letters().await.is_empty());
}
