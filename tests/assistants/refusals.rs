//! Requests that providers refuse by name: the part is left out, the question is asked again at once, and the assistant remembers it.

use std::sync::Arc;

use axum::response::Response;
use rstest::rstest;
use serde_json::{Value, json};
use telegram_connector_operator::api::connector::{
    AssistantProtocol, AssistantSpec, OmittableField, OpenAiSpec,
};
use telegram_connector_operator::assistant::{Assistant, Question, build_assistant};
use telegram_connector_operator::history::{ChatMessage, Role};

use crate::fixtures::{self, KEY, ask, ask_expecting_error, http_client, question};
use crate::mock_server::{self, MockServer, ReceivedRequest};

fn whole() -> Value {
    json!({"choices": [{"message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}]})
}

/// An answer as it was asked for.
fn answer(request: &ReceivedRequest) -> Response {
    if request.json()["stream"] == true {
        mock_server::events(&[
            r#"{"choices":[{"delta":{"content":"Hello"},"finish_reason":"stop"}]}"#,
            "[DONE]",
        ])
    } else {
        mock_server::json(&whole())
    }
}

fn refuse(code: u16, body: &Value) -> Response {
    let json = [("content-type", "application/json")];
    mock_server::status(code, &json, body.to_string())
}

fn extra_forbidden(field: &str) -> Value {
    json!({"detail": [{"type": "extra_forbidden", "loc": ["body", field], "msg": "Extra inputs are not permitted", "input": "telegram:424242"}]})
}

fn has_system_role(request: &ReceivedRequest) -> bool {
    let body = request.json();
    let messages = body["messages"].as_array().cloned().unwrap_or_default();
    messages.iter().any(|message| message["role"] == "system")
}

fn refuse_user(request: &ReceivedRequest) -> Response {
    if request.json()["user"].is_null() {
        answer(request)
    } else {
        refuse(422, &extra_forbidden("user"))
    }
}

fn build(url: &str, open_ai: OpenAiSpec) -> Arc<dyn Assistant> {
    let spec = AssistantSpec {
        system_prompt: Some("Be kind".into()),
        open_ai: Some(open_ai),
        ..fixtures::spec(AssistantProtocol::OpenAI, url)
    };
    build_assistant(&spec, Some(KEY.into()), &http_client()).expect("an assistant")
}

async fn answer_of(assistant: &Arc<dyn Assistant>) -> String {
    ask(assistant, question()).await.expect("an answer").text
}

#[tokio::test]
async fn refused_user_is_left_out_and_remembered() {
    let server = MockServer::start(refuse_user).await;
    let assistant = build(&server.url, OpenAiSpec::default());
    assert_eq!(answer_of(&assistant).await, "Hello");
    let received = server.received();
    let [first, second] = &received[..] else {
        panic!("asked {} times", received.len());
    };
    assert_eq!(first.json()["user"], "telegram:424242");
    let mut without_user = first.json();
    without_user
        .as_object_mut()
        .expect("an object")
        .remove("user");
    assert_eq!(second.json(), without_user);
    let key = |request: &ReceivedRequest| request.header("idempotency-key").to_owned();
    assert_eq!(key(first), key(second));

    assert_eq!(answer_of(&assistant).await, "Hello");
    assert_eq!(server.received().len(), 3);

    // Another spec or Secret makes another assistant, which knows nothing of it.
    let rebuilt = build(&server.url, OpenAiSpec::default());
    assert_eq!(answer_of(&rebuilt).await, "Hello");
    assert_eq!(server.received().len(), 5);
}

#[tokio::test]
async fn refused_streaming_is_asked_for_in_one_piece() {
    let server = MockServer::start(|request: &ReceivedRequest| {
        if request.json()["stream"] == true {
            refuse(400, &json!({"error": {"message": "Your organization must be verified to stream this model.", "type": "invalid_request_error", "param": "stream", "code": "unsupported_value"}}))
        } else {
            answer(request)
        }
    })
    .await;
    let assistant = build(&server.url, OpenAiSpec::default());
    assert_eq!(answer_of(&assistant).await, "Hello");
    assert_eq!(answer_of(&assistant).await, "Hello");
    let received = server.received();
    assert_eq!(received.len(), 3);
    assert_eq!(received[1].json().get("stream"), None);
    assert_eq!(received[1].header("accept"), "application/json");
}

#[rstest]
#[case(400, json!({"object": "error", "message": "System role not supported", "type": "BadRequestError", "code": 400}))]
#[case(500, json!({"error": {"code": 500, "message": "Jinja Exception: System role not supported", "type": "server_error"}}))]
#[tokio::test]
async fn refused_system_role_moves_the_prompt_to_the_user(
    #[case] status: u16,
    #[case] body: Value,
) {
    let server = MockServer::start(move |request: &ReceivedRequest| {
        if has_system_role(request) {
            refuse(status, &body)
        } else {
            answer(request)
        }
    })
    .await;
    let assistant = build(&server.url, OpenAiSpec::default());
    let message = |role, text: &str| ChatMessage {
        role,
        text: text.into(),
    };
    let asked = Question {
        history: vec![
            message(Role::User, "Hi"),
            message(Role::Assistant, "Hello!"),
        ],
        text: "Where is it?".into(),
        ..question()
    };
    ask(&assistant, asked).await.expect("an answer");
    let received = server.received();
    assert_eq!(received.len(), 2);
    assert_eq!(
        received[1].json()["messages"],
        json!([
            {"role": "user", "content": "Be kind\n\nHi"},
            {"role": "assistant", "content": "Hello!"},
            {"role": "user", "content": "Where is it?"},
        ])
    );
}

#[tokio::test]
async fn each_refused_part_is_left_out_once() {
    let server = MockServer::start(|request: &ReceivedRequest| {
        let body = request.json();
        if !body["user"].is_null() {
            refuse(400, &json!([{"error": {"code": 400, "message": "Invalid JSON payload received. Unknown name \"user\": Cannot find field.", "status": "INVALID_ARGUMENT"}}]))
        } else if body["stream"] == true {
            refuse(400, &json!({"error": {"message": "Streaming is not supported for this model"}}))
        } else if has_system_role(request) {
            refuse(400, &json!({"error": {"message": "System role not supported"}}))
        } else {
            answer(request)
        }
    })
    .await;
    let assistant = build(&server.url, OpenAiSpec::default());
    assert_eq!(answer_of(&assistant).await, "Hello");
    assert_eq!(server.received().len(), 4);
    assert_eq!(answer_of(&assistant).await, "Hello");
    assert_eq!(server.received().len(), 5);
}

#[tokio::test]
async fn refusal_of_what_is_not_sent_is_an_error() {
    let server = MockServer::start(|_| refuse(422, &extra_forbidden("user"))).await;
    let assistant = build(&server.url, OpenAiSpec::default());
    let error = ask_expecting_error(&assistant).await;
    assert!(error.detail.contains("422"), "{error}");
    assert_eq!(server.received().len(), 2);
    ask_expecting_error(&assistant).await;
    assert_eq!(server.received().len(), 3);
}

#[rstest]
#[case(400, json!({"error": {"message": "something about a user and a stream"}}))]
#[case(401, json!({"error": {"message": "Unknown parameter: 'user'", "param": "user"}}))]
#[case(422, json!("user"))]
#[tokio::test]
async fn refusal_that_names_no_part_is_asked_once(#[case] status: u16, #[case] body: Value) {
    let server = MockServer::start(move |_| refuse(status, &body)).await;
    ask_expecting_error(&build(&server.url, OpenAiSpec::default())).await;
    let received = server.received();
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].json()["user"], "telegram:424242");
}

#[tokio::test]
async fn endless_refusal_is_read_within_its_limit() {
    let server = MockServer::start(|_| {
        let long = "x".repeat(1 << 20);
        refuse(
            422,
            &json!({"padding": long, "detail": extra_forbidden("user")["detail"]}),
        )
    })
    .await;
    ask_expecting_error(&build(&server.url, OpenAiSpec::default())).await;
    assert_eq!(server.received().len(), 1);
}

#[tokio::test]
async fn questions_at_once_each_learn_of_a_refusal() {
    let server = MockServer::start(refuse_user).await;
    let assistant = build(&server.url, OpenAiSpec::default());
    let answers = futures::future::join_all((0..5).map(|_| answer_of(&assistant))).await;
    assert_eq!(answers, ["Hello"; 5]);
    assert!(server.received().len() <= 10);
}

#[tokio::test]
async fn options_shape_the_request() {
    let server = MockServer::start(answer).await;
    let parameters = json!({"temperature": 0.2, "reasoning": {"effort": "low"}, "stop": ["END"]});
    let options = OpenAiSpec {
        parameters: parameters.as_object().cloned(),
        omit: Some(vec![OmittableField::User]),
        stream: Some(false),
        ..OpenAiSpec::default()
    };
    assert_eq!(answer_of(&build(&server.url, options)).await, "Hello");
    let request = &server.received()[0];
    assert_eq!(
        request.json(),
        json!({
            "model": "support-agent",
            "stream": false,
            "temperature": 0.2,
            "reasoning": {"effort": "low"},
            "stop": ["END"],
            "messages": [{"role": "system", "content": "Be kind"}, {"role": "user", "content": fixtures::TEXT}],
        })
    );
    assert_eq!(request.header("accept"), "application/json");

    let options = OpenAiSpec {
        omit: Some(vec![OmittableField::Stream]),
        ..OpenAiSpec::default()
    };
    assert_eq!(answer_of(&build(&server.url, options)).await, "Hello");
    assert_eq!(server.received()[1].json().get("stream"), None);
}

#[rstest]
#[case("max_tokens", json!({"error": {"message": "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.", "type": "invalid_request_error", "param": "max_tokens", "code": "unsupported_parameter"}}), "max_completion_tokens")]
#[case("temperature", json!({"error": {"message": "Unsupported value: 'temperature' does not support 0.2 with this model. Only the default (1) value is supported.", "param": "temperature"}}), "change its value")]
#[tokio::test]
async fn refused_parameter_is_named_with_its_field(
    #[case] name: &'static str,
    #[case] body: Value,
    #[case] fix: &str,
) {
    let server = MockServer::start(move |_| refuse(400, &body)).await;
    let options = OpenAiSpec {
        parameters: json!({name: 5}).as_object().cloned(),
        ..OpenAiSpec::default()
    };
    let error = ask_expecting_error(&build(&server.url, options)).await;
    assert_eq!(server.received().len(), 1);
    let expected = format!("it refuses {name} of spec.assistant.openAI.parameters");
    assert!(error.detail.contains(&expected), "{error}");
    assert!(error.detail.contains(fix), "{error}");
}
