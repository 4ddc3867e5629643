//! Peers that fail: each failure has its class, ends in time, and tells neither key nor words.

use std::time::Duration;

use axum::response::Response;
use futures::stream;
use rstest::rstest;
use serde_json::{Value, json};
use telegram_connector_operator::api::connector::AssistantProtocol::{
    self, A2A, OpenAI, Pupau, Webhook,
};
use telegram_connector_operator::assistant::FailureKind::{
    self, ContextFull, FilesRefused, Filtered, Forbidden, KeyRefused, Misconfigured, Overloaded,
    PicturesRefused, QuotaExhausted, ServerFault, TooLarge,
};
use telegram_connector_operator::assistant::{AssistantError, AssistantFault};

use crate::fixtures::{KEY, TEXT, ask_expecting_error, assistant, piece};
use crate::mock_server::{self, MockServer, ReceivedRequest};

/// A body such as servers send that echo everything.
fn echo() -> String {
    json!({"error": {"message": format!("{TEXT} {KEY}"), "code": TEXT, "type": KEY}, "detail": TEXT, "message": KEY}).to_string()
}

const JSON: (&str, &str) = ("content-type", "application/json");

#[rstest]
#[case(400, AssistantFault::Failing, false)]
#[case(401, AssistantFault::Unauthorized, false)]
#[case(403, AssistantFault::Unauthorized, false)]
#[case(404, AssistantFault::Failing, false)]
#[case(409, AssistantFault::Failing, true)]
#[case(413, AssistantFault::Failing, false)]
#[case(422, AssistantFault::Failing, false)]
#[case(429, AssistantFault::Failing, true)]
#[case(500, AssistantFault::Failing, true)]
#[case(503, AssistantFault::Failing, true)]
#[tokio::test]
async fn a_status_has_its_class_in_every_protocol(
    #[case] code: u16,
    #[case] fault: AssistantFault,
    #[case] retryable: bool,
    #[values(OpenAI, A2A, Pupau, Webhook)] protocol: AssistantProtocol,
) {
    let server = MockServer::start(move |asked: &ReceivedRequest| {
        if asked.path().contains("agent-card") {
            mock_server::json(&json!({"url": "http://localhost/", "protocolVersion": "0.3.0"}))
        } else {
            mock_server::status(code, &[JSON, ("retry-after", "7")], echo())
        }
    })
    .await;
    let error = ask_expecting_error(&assistant(protocol, &server.url)).await;
    assert_eq!(
        (error.fault(), error.is_retryable()),
        (fault, retryable),
        "{error}"
    );
    assert_eq!(
        error.retry_after,
        retryable.then_some(Duration::from_secs(7))
    );
    assert!(error.detail.contains(&code.to_string()), "{error}");
}

/// Gemini's errors are objects in an array.
/// What becomes of a question that is answered with this status and body.
async fn complain(code: u16, body: Value) -> AssistantError {
    let server =
        MockServer::start(move |_| mock_server::status(code, &[JSON], body.to_string())).await;
    ask_expecting_error(&assistant(OpenAI, &server.url)).await
}

fn gemini(code: u16, status: &str, message: &str) -> Value {
    json!([{"error": {"code": code, "message": message, "status": status}}])
}

/// What a gateway makes of another server's error.
fn nested(error: &Value) -> Value {
    json!({"error": {"message": error.to_string(), "type": "None", "param": null, "code": "400"}})
}

#[rstest]
#[case::unknown_model(404, json!({"error": {"message": "The model `x` does not exist", "code": "model_not_found"}}), Misconfigured, "check model")]
#[case::unknown_model_of_gemini(
    404,
    gemini(
        404,
        "NOT_FOUND",
        "models/x is not found for API version v1main, or is not supported for generateContent."
    ),
    Misconfigured,
    "check model"
)]
#[case::full_context(400, json!({"error": {"message": "This model's maximum context length is 4096 tokens"}}), ContextFull, "session.maxTokens")]
#[case::full_context_of_gemini(
    400,
    gemini(
        400,
        "INVALID_ARGUMENT",
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."
    ),
    ContextFull,
    "session.maxMessages"
)]
#[case::full_context_in_a_message(400, nested(&json!({"error": {"message": "prompt is too long: 210000 tokens > 200000 maximum"}})), ContextFull, "session.maxTokens")]
#[case::full_context_as_a_fault(500, json!({"error": {"message": "the request exceeds the available context size"}}), ContextFull, "session.maxTokens")]
#[case::no_quota(429, json!({"error": {"code": "insufficient_quota"}}), QuotaExhausted, "apiKeySecretRef")]
#[case::no_credit(402, json!({"error": {"message": "This request requires more credits, or fewer max_tokens.", "code": 402}}), QuotaExhausted, "apiKeySecretRef")]
#[case::no_credit_and_no_reason(402, json!({}), QuotaExhausted, "apiKeySecretRef")]
#[case::no_budget(400, json!({"error": {"message": "Budget has been exceeded! Current cost: 2, Max budget: 1", "type": "budget_exceeded"}}), QuotaExhausted, "apiKeySecretRef")]
#[case::no_credit_as_a_refused_key(401, json!({"error": {"message": "insufficient balance"}}), QuotaExhausted, "apiKeySecretRef")]
#[case::unknown_key(401, json!({"error": {"message": "Incorrect API key provided"}}), KeyRefused, "apiKeySecretRef")]
#[case::unknown_key_that_echoes_a_phrase(401, json!({"detail": "the prompt is too long"}), KeyRefused, "apiKeySecretRef")]
#[case::unknown_key_of_gemini(
    400,
    gemini(
        400,
        "INVALID_ARGUMENT",
        "API key not valid. Please pass a valid API key."
    ),
    KeyRefused,
    "apiKeySecretRef"
)]
#[case::key_without_rights(403, json!({"error": {"message": "not for you"}}), Forbidden, "the key's rights")]
#[case::blind_model(400, json!({"error": {"message": "Invalid content type. image_url is only supported by certain models."}}), PicturesRefused, "in model")]
#[case::model_without_files(400, json!({"error": {"message": "Invalid value: 'file'. This model does not support file content types.", "type": "invalid_request_error"}}), FilesRefused, "files.extract")]
#[case::model_without_files_of_vllm(400, json!({"object": "error", "message": "Unknown part type: file"}), FilesRefused, "files.extract")]
#[case::blind_model_of_vllm(400, json!({"object": "error", "message": "At most 0 image(s) may be provided in one prompt."}), PicturesRefused, "in model")]
#[case::filter(400, json!({"error": {"code": "content_filter", "message": "The response was filtered"}}), Filtered, "systemPrompt")]
#[case::filter_of_deepseek(400, json!({"error": {"message": "Content Exists Risk"}}), Filtered, "systemPrompt")]
#[case::parameter_in_a_message(422, json!({"object": "error", "message": {"detail": [{"type": "extra_forbidden", "loc": ["body", "user"], "msg": "Extra inputs are not permitted", "input": "telegram:1"}]}}), Misconfigured, "parameter")]
#[case::large_body(413, json!({}), TooLarge, "session.maxMessages")]
#[case::redirect(302, json!({}), Misconfigured, "url")]
#[case::other_path(404, json!({}), Misconfigured, "url")]
#[case::other_status(418, json!({}), Misconfigured, "protocol")]
#[tokio::test]
async fn lasting_complaint_has_its_kind_and_what_to_change(
    #[case] code: u16,
    #[case] body: Value,
    #[case] kind: FailureKind,
    #[case] hint: &str,
) {
    let error = complain(code, body).await;
    assert_eq!(error.kind, kind, "{error}");
    assert!(error.detail.contains(hint), "{error}");
    assert!(!error.is_retryable());
}

#[rstest]
#[case::too_many(429, json!({"error": {"message": "Rate limit reached"}}), Overloaded, "limits.messagesPerMinute")]
#[case::quota_of_a_minute(429, json!([{"error": {"code": 429, "message": "You exceeded your current quota", "details": [{"retryDelay": "1s"}]}}]), Overloaded, "limits.messagesPerMinute")]
#[case::fault(500, json!({"error": {"message": "oops"}}), ServerFault, "its log")]
#[tokio::test]
async fn passing_complaint_has_its_kind_and_is_retryable(
    #[case] code: u16,
    #[case] body: Value,
    #[case] kind: FailureKind,
    #[case] hint: &str,
) {
    let error = complain(code, body).await;
    assert_eq!(error.kind, kind, "{error}");
    assert!(error.detail.contains(hint), "{error}");
    assert!(error.is_retryable());
}

#[rstest]
#[tokio::test]
async fn nobody_there_is_unreachable(
    #[values(OpenAI, A2A, Pupau, Webhook)] protocol: AssistantProtocol,
) {
    let unused = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let address = unused.local_addr().expect("bound");
    drop(unused);
    let error = ask_expecting_error(&assistant(
        protocol,
        &format!("http://{address}/?key={KEY}"),
    ))
    .await;
    assert_eq!(
        (error.fault(), error.is_retryable()),
        (AssistantFault::Unreachable, true),
        "{error}"
    );
    assert!(error.detail.contains(&address.to_string()), "{error}");
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_unreachable() {
    let error = ask_expecting_error(&assistant(OpenAI, "http://no-such-host.invalid/v1")).await;
    assert_eq!(
        (error.fault(), error.is_retryable()),
        (AssistantFault::Unreachable, true),
        "{error}"
    );
}

#[rstest]
#[tokio::test]
async fn redirects_are_not_followed(
    #[values(OpenAI, A2A, Pupau, Webhook)] protocol: AssistantProtocol,
) {
    let elsewhere = MockServer::start(|_| mock_server::json(&json!({}))).await;
    let target = elsewhere.url.clone();
    let server =
        MockServer::start(move |_| mock_server::status(307, &[("location", &target)], "")).await;
    let error = ask_expecting_error(&assistant(protocol, &server.url)).await;
    assert!(!error.is_retryable());
    assert!(
        error.detail.contains("redirects are not followed"),
        "{error}"
    );
    assert_eq!(elsewhere.received().len(), 0);
}

#[rstest]
#[case::html(|| mock_server::status(200, &[("content-type", "text/html")], "<html>my private words</html>"))]
#[case::other_json(|| mock_server::json(&json!({"my private words": 1})))]
#[case::nothing(|| mock_server::status(200, &[], ""))]
#[tokio::test]
async fn an_answer_of_another_kind_makes_no_sense(
    #[case] answer: fn() -> Response,
    #[values(OpenAI, Webhook)] protocol: AssistantProtocol,
) {
    let server = MockServer::start(move |_| answer()).await;
    let error = ask_expecting_error(&assistant(protocol, &server.url)).await;
    assert_eq!(
        (error.fault(), error.is_retryable()),
        (AssistantFault::Failing, false),
        "{error}"
    );
    assert!(error.detail.contains("check protocol and url"), "{error}");
}

#[tokio::test]
async fn an_error_within_the_answer_comes_after_its_words() {
    let server = MockServer::start(|_| {
        let echo = format!("data: {}\n\n", echo());
        mock_server::raw_events(stream::iter([Ok(piece("Hel")), Ok(echo)]))
    })
    .await;
    let error = ask_expecting_error(&assistant(OpenAI, &server.url)).await;
    assert_eq!(
        (error.fault(), error.is_retryable()),
        (AssistantFault::Failing, false),
        "{error}"
    );
}

#[rstest]
#[tokio::test]
async fn a_compressed_answer_is_refused_with_a_sentence(
    #[values(OpenAI, Webhook)] protocol: AssistantProtocol,
    #[values(200, 500)] code: u16,
) {
    let server = MockServer::start(move |_| {
        mock_server::status(code, &[JSON, ("content-encoding", "gzip")], "\x1f\u{8b}")
    })
    .await;
    let error = ask_expecting_error(&assistant(protocol, &server.url)).await;
    assert_eq!(error.kind, FailureKind::Misconfigured);
    assert!(
        error.detail.contains("content-encoding gzip")
            && error.detail.contains("switch compression off"),
        "{error}"
    );
    assert_eq!(server.received()[0].header("accept-encoding"), "");
}
