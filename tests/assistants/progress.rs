//! What an assistant says of its work before its answer: told where somebody is shown it, and never part of the answer.

use rstest::rstest;
use serde_json::{Value, json};
use telegram_connector_operator::api::connector::AssistantProtocol::{self, A2A, OpenAI};
use telegram_connector_operator::assistant::{Progress, Question};

use crate::fixtures::{ask, assistant, question};
use crate::mock_server::{self, MockServer, ReceivedRequest};

fn delta(delta: &Value) -> Value {
    json!({"choices": [{"index": 0, "delta": delta}]})
}

fn chat(field: &str) -> Vec<Value> {
    vec![
        delta(&json!({field: "First"})),
        delta(
            &json!({field: " this", "reasoning_details": [{"type": "reasoning.text", "text": " this"}]}),
        ),
        delta(&json!({"content": "Hi"})),
        delta(&json!({field: " late"})),
        json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
    ]
}

fn responses(kind: &str) -> Vec<Value> {
    vec![
        json!({"type": "response.output_item.added", "item": {"type": "reasoning", "id": "r"}}),
        json!({"type": kind, "delta": "First"}),
        json!({"type": kind, "delta": " this"}),
        json!({"type": "response.output_text.delta", "delta": "Hi", "item_id": "m"}),
        json!({"type": "response.completed", "response": {"object": "response", "status": "completed"}}),
    ]
}

fn status(text: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "result": {"kind": "status-update", "taskId": "t", "contextId": "c", "final": false,
        "status": {"state": "working", "message": {"role": "agent", "parts": [{"kind": "text", "text": text}]}}}})
}

fn agent() -> Vec<Value> {
    let done = json!({"jsonrpc": "2.0", "id": 1, "result": {"kind": "status-update", "taskId": "t", "contextId": "c", "final": true,
        "status": {"state": "completed"}}});
    let artifact = json!({"jsonrpc": "2.0", "id": 1, "result": {"kind": "artifact-update", "taskId": "t", "contextId": "c",
        "artifact": {"artifactId": "a", "parts": [{"kind": "text", "text": "Hi"}]}}});
    vec![
        status("First"),
        status("First"),
        status("Then"),
        artifact,
        status("late"),
        done,
    ]
}

#[rstest]
#[case::reasoning_content(OpenAI, "/v1", chat("reasoning_content"), &["First", " this"])]
#[case::reasoning(OpenAI, "/v1", chat("reasoning"), &["First", " this"])]
#[case::summary(OpenAI, "/v1/responses", responses("response.reasoning_summary_text.delta"), &["First", " this"])]
#[case::open_reasoning(OpenAI, "/v1/responses", responses("response.reasoning_text.delta"), &["First", " this"])]
#[case::status_messages(A2A, "", agent(), &["First", "Then"])]
#[tokio::test]
async fn progress_is_told_before_the_answer_to_who_wants_it(
    #[case] protocol: AssistantProtocol,
    #[case] path: &str,
    #[case] events: Vec<Value>,
    #[case] expected: &[&str],
    #[values(false, true)] wants_progress: bool,
) {
    let events: Vec<String> = events.iter().map(Value::to_string).collect();
    let server = MockServer::start(move |asked: &ReceivedRequest| {
        if asked.path().contains(".json") {
            return mock_server::json(&json!({
                "name": "a", "version": "1", "url": "http://localhost/rpc", "protocolVersion": "0.3.0",
                "preferredTransport": "JSONRPC", "capabilities": {"streaming": true}, "skills": [],
            }));
        }
        mock_server::events(&events.iter().map(String::as_str).collect::<Vec<_>>())
    })
    .await;
    let asked = Question {
        wants_progress,
        ..question()
    };
    let assistant = assistant(protocol, &format!("{}{path}", server.url));
    let answer = ask(&assistant, asked).await.expect("an answer");
    assert_eq!(answer.text, "Hi");
    let text: String = answer
        .progress
        .iter()
        .map(|progress| match progress {
            Progress::Step(text) => format!("{text};"),
            Progress::Thought(text) => text.clone(),
        })
        .collect();
    let gap = if protocol == A2A { ";" } else { "" };
    let expected = expected.join(gap) + gap;
    assert_eq!(
        text,
        if wants_progress {
            expected
        } else {
            String::new()
        }
    );
}
