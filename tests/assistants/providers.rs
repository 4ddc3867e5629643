//! The examples of hosted providers, each against a double that enforces what the provider documents.
//!
//! Sources: Azure OpenAI "Chat completions" and "Content filtering"; `OpenRouter` "Streaming" and "Errors"; Mistral "Chat completion endpoint";
//! Gemini "`OpenAI` compatibility"; Anthropic "`OpenAI` SDK compatibility"; for the wording of refusals, public reports of users.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use rstest::rstest;
use serde::Deserialize;
use serde_json::{Value, json};
use telegram_connector_operator::api::connector::{AssistantProtocol, AssistantSpec};
use telegram_connector_operator::assistant::{Assistant, Question, build_assistant};
use telegram_connector_operator::history::{ChatMessage, Role};
use url::Url;

use crate::fixtures::{self, KEY, ask, http_client, question};
use crate::mock_server::{self, MockServer, ReceivedRequest};

/// `spec.assistant` of an example, with its host replaced by the double's.
fn example(name: &str, server: &MockServer) -> Arc<dyn Assistant> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("examples/assistants/{name}.yaml"));
    let text = fs::read_to_string(path).expect("an example");
    let mut manifest: Value = serde_yaml::from_str(&text).expect("YAML");
    let mut spec =
        AssistantSpec::deserialize(manifest["spec"]["assistant"].take()).expect("a spec");
    let mut url: Url = spec.url.parse().expect("a URL");
    let double: Url = server.url.parse().expect("a URL");
    url.set_scheme(double.scheme()).expect("http");
    url.set_host(double.host_str()).expect("a host");
    url.set_port(double.port()).expect("a port");
    spec.url = url.into();
    assert!(spec.api_key_secret_ref.is_some() && spec.system_prompt.is_some());
    build_assistant(&spec, Some(KEY.into()), &http_client()).expect("an assistant")
}

fn error(status: u16, body: &Value) -> Response {
    let json = [("content-type", "application/json")];
    mock_server::status(status, &json, body.to_string())
}

fn text(content: &str) -> Value {
    json!({"id": "x", "object": "chat.completion.chunk", "model": "m", "choices": [{"index": 0, "delta": {"content": content}, "finish_reason": null}]})
}

fn stop() -> Value {
    json!({"id": "x", "object": "chat.completion.chunk", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
}

/// "Hello" as it was asked for, streamed or in one piece; `first` comes before it.
fn hello(request: &ReceivedRequest, first: &[Value]) -> Response {
    if request.json()["stream"] != true {
        return mock_server::json(&json!({"id": "x", "object": "chat.completion", "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}]}));
    }
    let chunks = first
        .iter()
        .cloned()
        .chain([text("Hel"), text("lo"), stop()]);
    let mut events: Vec<String> = chunks.map(|chunk| chunk.to_string()).collect();
    events.push("[DONE]".into());
    mock_server::events(&events.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The fields of a request's body that are none of `known`.
fn unknown_fields(request: &ReceivedRequest, known: &[&str]) -> Vec<String> {
    let body = request.json();
    let fields = body.as_object().expect("an object").keys();
    fields
        .filter(|name| !known.contains(&name.as_str()))
        .cloned()
        .collect()
}

fn has_bearer(request: &ReceivedRequest) -> bool {
    request.header("authorization") == format!("Bearer {KEY}")
}

/// Deployments, `api-version` and `api-key` are required; a stream begins with the verdict of the content filter on the prompt.
fn azure(request: &ReceivedRequest) -> Response {
    const KNOWN: [&str; 12] = [
        "messages",
        "model",
        "stream",
        "stream_options",
        "temperature",
        "top_p",
        "max_tokens",
        "stop",
        "user",
        "n",
        "presence_penalty",
        "frequency_penalty",
    ];
    let version = request
        .uri
        .query()
        .and_then(|query| query.strip_prefix("api-version="));
    if request.path() != "/openai/deployments/support/chat/completions"
        || version != Some("2024-10-21")
    {
        return error(
            404,
            &json!({"error": {"code": "404", "message": "Resource not found"}}),
        );
    }
    if request.header("api-key") != KEY || !request.header("authorization").is_empty() {
        return error(
            401,
            &json!({"error": {"code": "401", "message": "Access denied due to invalid subscription key or wrong API endpoint."}}),
        );
    }
    if let [field, ..] = &unknown_fields(request, &KNOWN)[..] {
        let message = format!("Unrecognized request argument supplied: {field}");
        return error(
            400,
            &json!({"error": {"message": message, "type": "invalid_request_error", "param": null, "code": null}}),
        );
    }
    hello(
        request,
        &[json!({"id": "", "object": "", "model": "", "choices": [],
        "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {"hate": {"filtered": false, "severity": "safe"}}}]})],
    )
}

/// Fields that it does not know are refused with 422, as pydantic lists them.
fn mistral(request: &ReceivedRequest) -> Response {
    const KNOWN: [&str; 17] = [
        "model",
        "messages",
        "temperature",
        "top_p",
        "max_tokens",
        "stream",
        "stop",
        "random_seed",
        "metadata",
        "response_format",
        "tools",
        "tool_choice",
        "presence_penalty",
        "frequency_penalty",
        "n",
        "safe_prompt",
        "prompt_mode",
    ];
    if request.path() != "/v1/chat/completions" || !has_bearer(request) {
        return error(401, &json!({"detail": "Unauthorized"}));
    }
    let body = request.json();
    let unknown = unknown_fields(request, &KNOWN);
    if !unknown.is_empty() {
        let detail: Vec<Value> = unknown
            .iter()
            .map(|name| json!({"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs are not permitted", "input": body[name]}))
            .collect();
        return error(
            422,
            &json!({"object": "error", "message": {"detail": detail}, "type": "invalid_request_error", "param": null, "code": null}),
        );
    }
    let last = body["messages"]
        .as_array()
        .and_then(|messages| messages.last());
    if last.is_none_or(|message| message["role"] != "user") {
        return error(
            400,
            &json!({"object": "error", "message": "Expected last role User or Tool (or Assistant with prefix True) for serving but got assistant", "type": "invalid_request_message_order"}),
        );
    }
    hello(request, &[])
}

/// Fields that it does not know are refused with 400; errors are in an array.
fn gemini(request: &ReceivedRequest) -> Response {
    const KNOWN: [&str; 13] = [
        "model",
        "messages",
        "temperature",
        "top_p",
        "max_tokens",
        "max_completion_tokens",
        "n",
        "stop",
        "stream",
        "stream_options",
        "tools",
        "response_format",
        "reasoning_effort",
    ];
    if request.path() != "/v1beta/openai/chat/completions" || !has_bearer(request) {
        return error(
            400,
            &json!([{"error": {"code": 400, "message": "API key not valid. Please pass a valid API key.", "status": "INVALID_ARGUMENT"}}]),
        );
    }
    let unknown = unknown_fields(request, &KNOWN);
    if !unknown.is_empty() {
        let lines: Vec<String> = unknown
            .iter()
            .map(|name| {
                format!(
                    "Invalid JSON payload received. Unknown name \"{name}\": Cannot find field."
                )
            })
            .collect();
        let violations: Vec<Value> = lines
            .iter()
            .map(|line| json!({"description": line}))
            .collect();
        return error(
            400,
            &json!([{"error": {"code": 400, "message": lines.join("\n"), "status": "INVALID_ARGUMENT",
            "details": [{"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": violations}]}}]),
        );
    }
    hello(request, &[])
}

/// Fields that it does not know are ignored; `n` is 1; a temperature above 1 is taken for 1, one below 0 refused.
fn anthropic(request: &ReceivedRequest) -> Response {
    let body = request.json();
    if request.path() != "/v1/chat/completions" || !has_bearer(request) {
        return error(
            401,
            &json!({"error": {"code": "authentication_error", "message": "invalid x-api-key"}}),
        );
    }
    if body.get("n").is_some_and(|n| n != 1)
        || body["temperature"].as_f64().is_some_and(|t| t < 0.0)
    {
        return error(
            400,
            &json!({"error": {"code": "invalid_request_error", "message": "n: must be 1"}}),
        );
    }
    hello(
        request,
        &[
            json!({"id": "x", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}),
        ],
    )
}

/// Comments keep the connection alive; an error after the answer has begun is in the stream.
fn openrouter(request: &ReceivedRequest) -> Response {
    if request.path() != "/api/v1/chat/completions" || !has_bearer(request) {
        return error(
            401,
            &json!({"error": {"code": 401, "message": "No auth credentials found"}}),
        );
    }
    assert_eq!(request.header("http-referer"), "https://acme.example");
    assert_eq!(request.header("x-title"), "Acme support");
    assert_eq!(request.json()["provider"]["data_collection"], "deny");
    let rest = if request.json().to_string().contains("break off") {
        let broken = json!({"id": "x", "error": {"code": 502, "message": "Provider disconnected unexpectedly"},
            "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]});
        format!("data: {}\n\ndata: {broken}\n\n", text("Hel"))
    } else {
        format!(
            "data: {}\n\n: OPENROUTER PROCESSING\n\ndata: {}\n\ndata: {}\n\ndata: [DONE]\n\n",
            text("Hel"),
            text("lo"),
            stop()
        )
    };
    let stream = format!(": OPENROUTER PROCESSING\n\n: OPENROUTER PROCESSING\n\n{rest}");
    ([("content-type", "text/event-stream")], stream).into_response()
}

#[rstest]
#[case("azure", azure, 2)]
#[case("mistral", mistral, 2)]
// The first question tells that user is refused.
#[case("gemini", gemini, 3)]
#[case("anthropic", anthropic, 2)]
#[case("openrouter", openrouter, 2)]
#[tokio::test]
async fn example_gets_answers_from_its_provider(
    #[case] name: &str,
    #[case] double: fn(&ReceivedRequest) -> Response,
    #[case] requests: usize,
) {
    let server = MockServer::start(double).await;
    let assistant = example(name, &server);
    let first = ask(&assistant, question()).await.expect("an answer");
    assert_eq!(first.text, "Hello");
    let message = |role, text: &str| ChatMessage {
        role,
        text: text.into(),
    };
    let again = Question {
        history: vec![message(Role::User, "Hi"), message(Role::Assistant, "Hello")],
        ..question()
    };
    let second = ask(&assistant, again).await.expect("an answer");
    assert_eq!(second.text, "Hello");
    assert_eq!(server.received().len(), requests);
}

#[tokio::test]
async fn error_within_a_stream_of_openrouter_is_an_error() {
    let server = MockServer::start(openrouter).await;
    let asked = Question {
        text: "break off".into(),
        ..question()
    };
    let answer = ask(&example("openrouter", &server), asked).await;
    assert!(answer.is_err(), "{answer:?}");
}

#[tokio::test]
async fn mistral_without_omit_is_asked_once_more_for_each_refusal() {
    let server = MockServer::start(mistral).await;
    let spec = AssistantSpec {
        system_prompt: Some("Be kind".into()),
        ..fixtures::spec(AssistantProtocol::OpenAI, &format!("{}/v1", server.url))
    };
    let assistant = build_assistant(&spec, Some(KEY.into()), &http_client()).expect("an assistant");
    for requests in [2, 3] {
        let answer = ask(&assistant, question()).await.expect("an answer");
        assert_eq!(
            (answer.text.as_str(), server.received().len()),
            ("Hello", requests)
        );
    }
}
