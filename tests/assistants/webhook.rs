//! Webhook: what is sent obeys the published schema, and every form of reply is understood. (Signatures are checked by foreign
//! libraries in `foreign.sh` and by the specification's own example in the module.)

use jsonschema::Validator;
use rstest::rstest;
use serde_json::{Value, json};
use telegram_connector_operator::api::connector::AssistantProtocol::Webhook;
use telegram_connector_operator::assistant::{Picture, Question, Sender, build_assistant};
use telegram_connector_operator::assistant::{TokenUsage, Truncation};

use crate::fixtures::{
    ask, ask_expecting_error, assistant, group_topic, http_client, question, spec,
};
use crate::mock_server::{self, MockServer};

fn schema() -> Value {
    let text = include_str!("../../docs/assistant-webhook.schema.json");
    serde_json::from_str(text).expect("JSON")
}

fn of_requests() -> Validator {
    jsonschema::validator_for(&schema()).expect("a schema")
}

fn of_replies() -> Validator {
    let mut schema = schema();
    let reply = schema["$defs"]["reply"].take();
    jsonschema::validator_for(&reply).expect("a schema")
}

fn with_everything() -> Question {
    Question {
        session_state: Some("where we were".into()),
        pictures: vec![Picture {
            media_type: "image/jpeg".into(),
            bytes: bytes::Bytes::from_static(b"\xff\xd8"),
        }],
        context: group_topic(),
        ..question()
    }
}

fn with_the_least() -> Question {
    Question {
        sender: Sender {
            id: i64::MAX,
            name: String::new(),
            username: None,
            language_code: None,
        },
        text: String::new(),
        ..question()
    }
}

#[rstest]
#[case::everything(with_everything())]
#[case::the_least(with_the_least())]
#[tokio::test]
async fn a_request_obeys_the_schema_and_is_signed(#[case] asked: Question) {
    let server = MockServer::start(|_| mock_server::json(&json!({"text": "Hello"}))).await;
    let answer = ask(&assistant(Webhook, &server.url), asked.clone())
        .await
        .expect("an answer");
    assert_eq!(answer.text, "Hello");
    let [request] = &server.received()[..] else {
        panic!("one request")
    };
    let body = request.json();
    let faults: Vec<String> = of_requests()
        .iter_errors(&body)
        .map(|e| e.to_string())
        .collect();
    assert!(faults.is_empty(), "{faults:?} in {body}");
    assert_eq!(body["text"], asked.text);
    assert_eq!(body["user"]["id"], asked.sender.id);
    assert_eq!(body["session"]["state"], json!(asked.session_state));
    let context = json!(asked.context);
    for field in ["chat", "bot", "displayName", "start", "replyTo"] {
        assert_eq!(body.get(field), context.get(field), "{field}");
    }
    assert_eq!(request.header("webhook-id"), "8400000001-77");
    assert_eq!(request.header("idempotency-key"), "8400000001-77");
    let age = jiff::Timestamp::now().as_second()
        - request
            .header("webhook-timestamp")
            .parse::<i64>()
            .expect("seconds");
    assert!((0..30).contains(&age), "{age}");
    assert!(request.header("webhook-signature").starts_with("v1,"));
}

#[test]
fn the_schema_refuses_what_is_not_of_the_protocol() {
    let validator = of_requests();
    for wrong in [
        json!({}),
        json!({"version": 2, "id": "1", "connector": "a/b", "session": {"id": "s"}, "user": {"id": 1, "name": ""}, "text": ""}),
        json!({"version": 1, "id": "1", "connector": "a", "session": {"id": "s"}, "user": {"id": 1, "name": ""}, "text": ""}),
        json!({"version": 1, "id": "1", "connector": "a/b", "session": {"id": "s"}, "user": {"id": "1", "name": ""}, "text": ""}),
    ] {
        assert!(!validator.is_valid(&wrong), "{wrong}");
    }
}

#[tokio::test]
async fn without_a_key_nothing_is_signed() {
    let server = MockServer::start(|_| mock_server::json(&json!({"text": "Hello"}))).await;
    let assistant =
        build_assistant(&spec(Webhook, &server.url), None, &http_client()).expect("an assistant");
    ask(&assistant, question()).await.expect("an answer");
    assert_eq!(server.received()[0].header("webhook-signature"), "");
}

#[rstest]
#[case::json(json!({"text": "Hello"}), None)]
#[case::with_state(json!({"text": "Hello", "state": "7"}), Some("7"))]
#[tokio::test]
async fn a_json_reply_is_an_answer(#[case] reply: Value, #[case] state: Option<&str>) {
    assert!(of_replies().is_valid(&reply));
    let server = MockServer::start(move |_| mock_server::json(&reply)).await;
    let answer = ask(&assistant(Webhook, &server.url), question())
        .await
        .expect("an answer");
    assert_eq!(
        (answer.text.as_str(), answer.state.as_deref()),
        ("Hello", state)
    );
}

#[tokio::test]
async fn a_reply_may_be_empty() {
    let nothing = MockServer::start(|_| mock_server::status(204, &[], "")).await;
    assert_eq!(
        ask(&assistant(Webhook, &nothing.url), question())
            .await
            .expect("an answer")
            .text,
        ""
    );
    let empty = MockServer::start(|_| mock_server::json(&json!({"text": ""}))).await;
    assert_eq!(
        ask(&assistant(Webhook, &empty.url), question())
            .await
            .expect("an answer")
            .text,
        ""
    );
}

#[tokio::test]
async fn events_are_an_answer_that_ends_with_done() {
    let data = [
        r#"{"text":"Hel","state":"7"}"#,
        r#"{"text":"lo"}"#,
        "[DONE]",
    ];
    for event in &data[..2] {
        assert!(of_replies().is_valid(&serde_json::from_str(event).expect("JSON")));
    }
    let server = MockServer::start(move |_| mock_server::events(&data)).await;
    let answer = ask(&assistant(Webhook, &server.url), question())
        .await
        .expect("an answer");
    assert_eq!(
        (answer.text.as_str(), answer.state.as_deref()),
        ("Hello", Some("7"))
    );
}

#[rstest]
#[case::json(|reply: &Value| mock_server::json(reply))]
#[case::json_as_events(|reply: &Value| mock_server::status(200, &[("content-type", "text/event-stream")], reply.to_string()))]
#[case::event(|reply: &Value| mock_server::events(&[&reply.to_string(), "[DONE]"]))]
#[case::event_as_json(|reply: &Value| mock_server::status(200, &[("content-type", "application/json")], format!("data: {reply}\n\ndata: [DONE]\n\n")))]
#[tokio::test]
async fn a_reply_says_how_it_ends_what_it_cost_and_its_sources(
    #[case] answer: fn(&Value) -> axum::response::Response,
) {
    let reply = json!({"text": "Hello", "end": "length", "usage": {"input": 7, "output": 2}, "more": [1e300],
        "citations": [{"url": "https://a.example/", "title": "A"}, {"url": "gs://b"}]});
    assert!(!of_replies().is_valid(&reply), "gs:// is no web address");
    let server = MockServer::start(move |_| answer(&reply)).await;
    let answer = ask(&assistant(Webhook, &server.url), question()).await;
    let answer = answer.expect("an answer");
    assert_eq!(answer.text, "Hello");
    assert_eq!(answer.truncation, Some(Truncation::Length));
    let usage = TokenUsage {
        input: 7,
        output: 2,
    };
    assert_eq!(answer.usage, Some(usage));
    let urls: Vec<&str> = answer.citations.iter().map(|c| c.url.as_str()).collect();
    assert_eq!(urls, ["https://a.example/"]);
}

#[tokio::test]
async fn a_text_of_another_type_is_an_error_behind_the_text_before() {
    let server = MockServer::start(|_| {
        mock_server::events(&[r#"{"text":"Hel"}"#, r#"{"text":["lo"]}"#, "[DONE]"])
    })
    .await;
    let error = ask_expecting_error(&assistant(Webhook, &server.url)).await;
    assert!(error.detail.contains("text that is no string"), "{error}");
}

#[tokio::test]
async fn events_that_end_without_done_are_half_an_answer() {
    let server = MockServer::start(|_| mock_server::events(&[r#"{"text":"Hel"}"#])).await;
    let error = ask_expecting_error(&assistant(Webhook, &server.url)).await;
    assert!(
        error.is_retryable() && error.detail.contains("[DONE]"),
        "{error}"
    );
}

#[rstest]
#[case::json(|| mock_server::json(&json!({"error": {"code": 503, "message": "my private words"}})), true)]
#[case::event(|| mock_server::events(&[r#"{"error":{"code":400,"message":"my private words"}}"#]), false)]
#[case::no_json(|| mock_server::events(&["my private words"]), false)]
#[tokio::test]
async fn an_error_in_the_reply_is_an_error(
    #[case] answer: fn() -> axum::response::Response,
    #[case] retryable: bool,
) {
    let server = MockServer::start(move |_| answer()).await;
    assert_eq!(
        ask_expecting_error(&assistant(Webhook, &server.url))
            .await
            .is_retryable(),
        retryable
    );
}

#[test]
fn a_key_in_the_form_of_standard_webhooks_must_be_base64() {
    assert!(
        build_assistant(
            &spec(Webhook, "http://h"),
            Some("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into()),
            &http_client()
        )
        .is_ok()
    );
    assert!(
        build_assistant(
            &spec(Webhook, "http://h"),
            Some("whsec_???".into()),
            &http_client()
        )
        .is_err()
    );
}

#[tokio::test]
async fn buttons_and_approvals_are_read_and_answered() {
    let reply = json!({"text": "Go on?", "buttons": [[{"text": "Yes", "value": "y"}]], "buttonsId": "q1",
        "approval": {"id": "a1", "title": "Delete web-1", "details": "namespace: shop"}});
    assert!(of_replies().is_valid(&reply));
    let served = reply.clone();
    let server = MockServer::start(move |_| mock_server::json(&served)).await;
    let agent = assistant(Webhook, &server.url);
    let answer = ask(&agent, question()).await.expect("an answer");
    let choice = answer.choice.clone().expect("buttons");
    assert_eq!(
        (choice.id.as_deref(), choice.for_anyone),
        (Some("q1"), false)
    );
    let request = answer.approval.clone().expect("a request");
    assert_eq!(
        (request.title.as_str(), request.details.as_str()),
        ("Delete web-1", "namespace: shop")
    );
    let decided = Question {
        action: answer.decided(true),
        ..question()
    };
    ask(&agent, decided).await.expect("an answer");
    let sent = server.received().last().expect("a request").json();
    assert!(of_requests().is_valid(&sent), "{sent}");
    assert_eq!(
        sent["action"],
        json!({"value": "approve", "of": "a1", "approved": true})
    );
}

#[rstest]
#[case(json!({"text": "x", "buttons": "yes"}), "buttons that are no list")]
#[case(json!({"text": "x", "approval": {"details": "y"}}), "approval without a title")]
#[tokio::test]
async fn question_that_cannot_be_shown_is_an_error(#[case] reply: Value, #[case] says: &str) {
    let server = MockServer::start(move |_| mock_server::json(&reply)).await;
    let error = ask_expecting_error(&assistant(Webhook, &server.url)).await;
    assert!(error.detail.contains(says), "{error}");
}
