//! Agents that do not do what their card or the specification says, as they are found in clusters.

use axum::response::Response;
use rstest::rstest;
use serde_json::{Value, json};
use telegram_connector_operator::api::connector::AssistantProtocol::A2A;
use telegram_connector_operator::assistant::{
    Action, FailureKind, Picture, Question, QuestionProgress,
};

use super::{
    V1, V03, Version, artifact_update, ask_in_a_forgotten_task, card, is_card, method, result,
    status_update, stream_of, task,
};
use crate::fixtures::{ask, ask_expecting_error, assistant, question};
use crate::mock_server::{self, MockServer, ReceivedRequest};

const JSON: (&str, &str) = ("content-type", "application/json");
const EVENTS: (&str, &str) = ("content-type", "text/event-stream");

fn rpc_error(code: i64, message: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": "x", "error": {"code": code, "message": message}})
}

fn is_streaming(asked: &ReceivedRequest) -> bool {
    !is_card(asked)
        && matches!(
            method(asked).as_str(),
            "message/stream" | "SendStreamingMessage"
        )
}

#[rstest]
#[tokio::test]
async fn every_question_names_the_output_it_takes(
    #[values(V1, V03)] version: Version,
    #[values(true, false)] streaming: bool,
) {
    let server = MockServer::start(move |asked: &ReceivedRequest| {
        if is_card(asked) {
            return mock_server::json(&card(version, streaming));
        }
        mock_server::json(&result(&task(version, "completed", Some("Hello"))))
    })
    .await;
    ask(&assistant(A2A, &server.url), question())
        .await
        .expect("an answer");
    let asked = server.received()[1].json();
    let modes = &asked["params"]["configuration"]["acceptedOutputModes"];
    assert!(
        modes
            .as_array()
            .is_some_and(|m| m.contains(&json!("text/plain"))),
        "{asked}"
    );
}

#[rstest]
#[case::unsupported(200, rpc_error(-32004, "This operation is not supported"))]
#[case::unsupported_by_status(400, rpc_error(-32004, "Unsupported"))]
#[case::internal_error_of_a2a_sdk(200, rpc_error(-32603, "Streaming is not supported by the agent"))]
#[case::unknown_method(200, rpc_error(-32601, "Method not found"))]
#[case::not_found(404, json!({"detail": "Not Found"}))]
#[case::not_implemented(501, json!({}))]
#[tokio::test]
async fn agent_that_does_not_stream_is_asked_without(
    #[values(V1, V03)] version: Version,
    #[case] code: u16,
    #[case] body: Value,
) {
    let server = MockServer::start(move |asked: &ReceivedRequest| {
        if is_card(asked) {
            mock_server::json(&card(version, true))
        } else if is_streaming(asked) {
            mock_server::status(code, &[JSON], body.to_string())
        } else {
            mock_server::json(&result(&task(version, "completed", Some("Hello"))))
        }
    })
    .await;
    let agent = assistant(A2A, &server.url);
    for _ in 0..2 {
        assert_eq!(
            ask(&agent, question()).await.expect("an answer").text,
            "Hello"
        );
    }
    let streamed = server
        .received()
        .iter()
        .filter(|asked| is_streaming(asked))
        .count();
    assert_eq!(streamed, 1, "it is remembered");
}

#[rstest]
#[tokio::test]
async fn task_that_is_not_found_is_forgotten(
    #[values(V1, V03)] version: Version,
    #[values(200, 400, 404)] code: u16,
) {
    let server = MockServer::start(move |asked: &ReceivedRequest| {
        if is_card(asked) {
            mock_server::json(&card(version, true))
        } else if asked.json()["params"]["message"]["taskId"].is_null() {
            stream_of(&[task(version, "completed", Some("Hello"))])
        } else {
            mock_server::status(
                code,
                &[JSON],
                rpc_error(-32001, "Task not found").to_string(),
            )
        }
    })
    .await;
    ask_in_a_forgotten_task(&server, "context-1").await;
}

#[rstest]
#[case::json_as_events(EVENTS, |v: Version| result(&task(v, "completed", Some("Hello"))).to_string())]
#[case::json_behind_a_mark(JSON, |v: Version| format!("\u{feff}{}", result(&task(v, "completed", Some("Hello")))))]
#[case::events_as_json(JSON, |v: Version| format!("data: {}\n\n", result(&task(v, "completed", Some("Hello")))))]
#[case::one_line_end_between(EVENTS, |v: Version| format!("data: {}\ndata: {}\n",
    result(&artifact_update(v, "Hello", false)), result(&status_update(v, "completed", None))))]
#[case::pings(EVENTS, |v: Version| format!("data: ping\n\n: x\n\ndata: {}\n\n", result(&task(v, "completed", Some("Hello")))))]
#[tokio::test]
async fn body_is_read_for_what_it_is(
    #[values(V1, V03)] version: Version,
    #[case] label: (&'static str, &'static str),
    #[case] body: fn(Version) -> String,
) {
    let server = MockServer::start(move |asked: &ReceivedRequest| {
        if is_card(asked) {
            return mock_server::json(&card(version, true));
        }
        mock_server::status(200, &[label], body(version))
    })
    .await;
    let answer = ask(&assistant(A2A, &server.url), question()).await;
    assert_eq!(answer.expect("an answer").text, "Hello");
}

/// A stream of a task that breaks in a chunk; the task itself is whole.
fn broken_stream(asked: &ReceivedRequest) -> Response {
    if is_card(asked) {
        mock_server::json(&card(V03, true))
    } else if is_streaming(asked) {
        let begun = result(&task(V03, "working", None));
        let piece = result(&artifact_update(V03, "Pay 10", false));
        let body = format!("data: {begun}\n\ndata: {piece}\n\ndata: {{\"result\": {{\"kind\"\n\n");
        mock_server::status(200, &[EVENTS], body)
    } else {
        mock_server::json(&result(&task(V03, "completed", Some("Pay 10 today."))))
    }
}

#[tokio::test]
async fn unreadable_event_is_made_good_by_the_task() {
    let server = MockServer::start(broken_stream).await;
    let answer = ask(&assistant(A2A, &server.url), question())
        .await
        .expect("an answer");
    assert_eq!(answer.text, "Pay 10 today.");
    let methods: Vec<String> = server.received()[1..].iter().map(method).collect();
    assert_eq!(methods, ["message/stream", "tasks/get"]);
}

#[tokio::test]
async fn unreadable_event_without_a_task_is_an_error() {
    let server = MockServer::start(|asked: &ReceivedRequest| {
        if is_card(asked) {
            return mock_server::json(&card(V03, true));
        }
        mock_server::status(200, &[EVENTS], "data: {\"result\": {\"kind\"\n\n")
    })
    .await;
    let error = ask_expecting_error(&assistant(A2A, &server.url)).await;
    assert_eq!(error.progress, QuestionProgress::Uncertain, "{error}");
}

#[tokio::test]
async fn agent_that_takes_no_pictures_says_so() {
    let server = MockServer::start(|asked: &ReceivedRequest| {
        if is_card(asked) {
            return mock_server::json(&card(V1, true));
        }
        mock_server::json(&rpc_error(-32005, "Incompatible content types"))
    })
    .await;
    let asked = Question {
        pictures: vec![Picture {
            media_type: "image/png".into(),
            bytes: bytes::Bytes::from_static(b"\x01"),
        }],
        ..question()
    };
    let error = ask(&assistant(A2A, &server.url), asked)
        .await
        .expect_err("refused");
    assert_eq!(error.kind, FailureKind::PicturesRefused);
}

#[rstest]
#[case(Some(true), json!([{"kind": "data", "data": {"decision_type": "approve"}, "metadata": {}}]))]
#[case(Some(false), json!([{"kind": "data", "data": {"decision_type": "reject"}, "metadata": {}}]))]
#[case::words_decide_nothing_here(None, json!([{"kind": "text", "text": "yes"}]))]
#[tokio::test]
async fn decision_on_a_tool_of_kagent_goes_back_in_its_form(
    #[case] decided: Option<bool>,
    #[case] parts: Value,
) {
    let recorded = include_str!("kagent-approval.sse");
    let server = MockServer::start(move |asked: &ReceivedRequest| {
        if is_card(asked) {
            return mock_server::json(&card(V03, true));
        }
        if asked.json()["params"]["message"]["taskId"].is_null() {
            return mock_server::status(200, &[EVENTS], recorded);
        }
        stream_of(&[task(V03, "completed", Some("Done."))])
    })
    .await;
    let agent = assistant(A2A, &server.url);
    let first = ask(&agent, question()).await.expect("an answer");
    let request = first.approval.clone().expect("a request");
    assert_eq!(
        (request.title.as_str(), first.text.as_str()),
        ("delete_pod", "")
    );
    for shown in ["web-1", "Please approve or reject"] {
        assert!(request.details.contains(shown), "{}", request.details);
    }
    let action = decided.and_then(|approved| first.decided(approved));
    let decided = Question {
        // A session may have gone on since: the decision belongs to its own task.
        session_state: first.state.filter(|_| action.is_none()),
        action,
        text: "yes".into(),
        ..question()
    };
    assert_eq!(ask(&agent, decided).await.expect("an answer").text, "Done.");
    let sent = server.received().last().expect("a request").json();
    assert_eq!(sent["params"]["message"]["parts"], parts);
    assert_eq!(
        sent["params"]["message"]["taskId"],
        "45610742-c368-43af-a703-858391731030"
    );
}

const HITL: &str = "https://kagent.dev/extensions/hitl/v1";

/// An agent that announces kagent's extension, and asks by it before it deletes something.
async fn agent_with_the_hitl_extension(version: Version) -> MockServer {
    MockServer::start(move |asked: &ReceivedRequest| {
        if is_card(asked) {
            let mut card = card(version, true);
            card["capabilities"]["extensions"] = json!([{"uri": HITL, "required": false}]);
            return mock_server::json(&card);
        }
        if !asked.json()["params"]["message"]["taskId"].is_null() {
            return stream_of(&[task(version, "completed", Some("Done."))]);
        }
        let mut waits = status_update(version, "input-required", Some("It waits."));
        let update = match version {
            V1 => &mut waits["statusUpdate"],
            V03 => &mut waits,
        };
        let tool =
            json!({"id": "a1", "call_id": "c1", "name": "delete_pod", "args": {"name": "web-1"}});
        update["status"]["message"]["extensions"] = json!([HITL]);
        update["status"]["message"]["metadata"] =
            json!({(HITL): {"type": "tool_approval_request", "hint": "Really?", "tools": [tool]}});
        stream_of(&[waits])
    })
    .await
}

#[rstest]
#[tokio::test]
async fn decision_goes_back_by_the_extension_that_is_asked_for(
    #[values(V1, V03)] version: Version,
    #[values(true, false)] approved: bool,
) {
    let server = agent_with_the_hitl_extension(version).await;
    let agent = assistant(A2A, &server.url);
    let first = ask(&agent, question()).await.expect("an answer");
    let request = first.approval.clone().expect("a request");
    assert_eq!(request.title, "delete_pod");
    assert!(request.details.contains("web-1"), "{}", request.details);
    let decided = Question {
        session_state: None,
        action: first.decided(approved),
        text: "Approve".into(),
        ..question()
    };
    assert_eq!(ask(&agent, decided).await.expect("an answer").text, "Done.");
    let received = server.received();
    for asked in received.iter().filter(|asked| !is_card(asked)) {
        let named = |name| asked.headers.get(name).and_then(|v| v.to_str().ok());
        assert_eq!(named("a2a-extensions"), Some(HITL));
        assert_eq!(named("x-a2a-extensions"), Some(HITL));
    }
    let message = &received.last().expect("a request").json()["params"]["message"];
    let response = json!({"type": "tool_approval_response", "approvals": [{"id": "a1", "approved": approved}]});
    assert_eq!(message["metadata"][HITL], response);
    assert_eq!(message["extensions"], json!([HITL]));
    assert_eq!(message["taskId"], "task-1");
}

#[rstest]
#[case::old(V03)]
#[case::new(V1)]
#[tokio::test]
async fn buttons_of_an_agent_come_back_as_an_action(#[case] version: Version) {
    let server = MockServer::start(move |asked: &ReceivedRequest| {
        if is_card(asked) {
            return mock_server::json(&card(version, false));
        }
        let data = json!({"type": "buttons", "id": "q1", "for": "anyone", "buttons": [[{"text": "Yes", "value": "y"}]]});
        let mut message = json!({"messageId": "m", "contextId": "c", "role": "agent",
            "parts": [{"kind": "text", "text": "Go on?"}, {"kind": "data", "data": data}]});
        let result = if version == V1 {
            json!({ "message": message })
        } else {
            message["kind"] = "message".into();
            message
        };
        mock_server::json(&json!({"jsonrpc": "2.0", "id": "1", "result": result}))
    })
    .await;
    let agent = assistant(A2A, &server.url);
    let first = ask(&agent, question()).await.expect("an answer");
    let choice = first.choice.expect("buttons");
    assert_eq!(first.text, "Go on?");
    assert_eq!(
        (choice.id.as_deref(), choice.for_anyone),
        (Some("q1"), true)
    );
    let tapped = Question {
        text: "Yes".into(),
        action: Some(Action {
            value: "y".into(),
            of: "q1".into(),
            approval: None,
        }),
        ..question()
    };
    ask(&agent, tapped).await.expect("an answer");
    let sent = server.received().last().expect("a request").json();
    let parts = &sent["params"]["message"]["parts"];
    assert_eq!(parts[0]["text"], "Yes");
    assert_eq!(
        parts[1]["data"],
        json!({"type": "action", "value": "y", "of": "q1"})
    );
}
