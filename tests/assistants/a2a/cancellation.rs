//! Tasks that nobody waits for any longer: cancelled in either dialect, and left alone when they are over.

use std::time::Duration;

use futures::{StreamExt, stream};
use rstest::rstest;
use serde_json::json;
use telegram_connector_operator::api::connector::AssistantProtocol::A2A;
use telegram_connector_operator::api::connector::AssistantSpec;
use telegram_connector_operator::assistant::{AnswerPart, FailureKind, build_assistant};

use super::{
    V1, V03, Version, artifact_update, card, is_card, method, result, status_update, stream_of,
    task,
};
use crate::fixtures::{KEY, ask, ask_expecting_error, assistant, http_client, question, spec};
use crate::mock_server::{self, MockServer, ReceivedRequest};

/// An agent that begins to answer and never ends; it agrees to cancel its task, or does not.
async fn endless(version: Version, agrees: bool) -> MockServer {
    MockServer::start(move |asked: &ReceivedRequest| {
        if is_card(asked) {
            return mock_server::json(&card(version, true));
        }
        match method(asked).as_str() {
            "SendStreamingMessage" | "message/stream" => {
                let message = [
                    task(version, "working", None),
                    artifact_update(version, "Hel", false),
                ];
                let message = message.map(|u| Ok(format!("data: {}\n\n", result(&u))));
                mock_server::raw_events(stream::iter(message).chain(stream::pending()))
            }
            _ if agrees => mock_server::json(&result(&task(version, "canceled", None))),
            _ => mock_server::json(&json!({"jsonrpc": "2.0", "id": "x", "error": {"code": -32002, "message": "Task cannot be canceled"}})),
        }
    })
    .await
}

/// The third request: after the card and the question.
async fn third_request(server: &MockServer) -> ReceivedRequest {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while server.received().len() < 3 {
        let received = server.received();
        assert!(tokio::time::Instant::now() < deadline, "{received:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.received().remove(2)
}

#[rstest]
#[tokio::test]
async fn an_answer_that_is_stopped_has_its_task_cancelled(
    #[values(V1, V03)] version: Version,
    #[values(true, false)] agrees: bool,
) {
    let server = endless(version, agrees).await;
    let agent = assistant(A2A, &server.url);
    let mut answer = agent.ask(question()).await.expect("an answer begins");
    while !matches!(
        answer.next().await.expect("words").expect("no error"),
        AnswerPart::Text(_)
    ) {}
    drop(answer);
    let cancel = third_request(&server).await;
    let expected = match version {
        V1 => "CancelTask",
        V03 => "tasks/cancel",
    };
    assert_eq!(method(&cancel), expected);
    assert_eq!(cancel.path(), "/rpc");
    assert_eq!(cancel.json()["params"]["id"], "task-1");
    assert_eq!(cancel.header("authorization"), format!("Bearer {KEY}"));
    assert_eq!(
        cancel.header("idempotency-key"),
        "",
        "it is not the question once more"
    );
}

#[tokio::test]
async fn a_task_that_nobody_waits_for_any_longer_is_cancelled() {
    let server = endless(V1, true).await;
    let spec = AssistantSpec {
        timeout_seconds: Some(1),
        ..spec(A2A, &server.url)
    };
    let agent = build_assistant(&spec, Some(KEY.into()), &http_client()).expect("an assistant");
    assert!(ask_expecting_error(&agent).await.kind == FailureKind::TimedOut);
    assert_eq!(method(&third_request(&server).await), "CancelTask");
}

#[rstest]
#[case::completed("completed")]
#[case::input_required("input-required")]
#[case::failed("failed")]
#[tokio::test]
async fn a_task_that_is_over_is_not_cancelled(#[case] state: &'static str) {
    let server = MockServer::start(move |asked: &ReceivedRequest| {
        if is_card(asked) {
            return mock_server::json(&card(V1, true));
        }
        stream_of(&[
            task(V1, "working", None),
            artifact_update(V1, "Hello", false),
            status_update(V1, state, None),
        ])
    })
    .await;
    let agent = assistant(A2A, &server.url);
    let answered = ask(&agent, question()).await;
    assert_eq!(answered.is_ok(), state != "failed");
    // What the answer's end had sent would come before the next question.
    assert_eq!(ask(&agent, question()).await.is_ok(), state != "failed");
    let methods: Vec<String> = server.received().iter().skip(1).map(method).collect();
    assert_eq!(methods, ["SendStreamingMessage", "SendStreamingMessage"]);
}
