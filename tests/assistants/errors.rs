//! Peers that fail: each failure has its class, ends in time, and tells neither key nor words.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::response::Response;
use futures::{StreamExt, stream};
use rstest::rstest;
use serde_json::{Value, json};
use telegram_connector_operator::api::connector::AssistantProtocol::{
    self, A2A, OpenAI, Pupau, Webhook,
};
use telegram_connector_operator::assistant::AssistantFault;
use telegram_connector_operator::assistant::FailureKind::{
    self, ContextFull, Filtered, Forbidden, KeyRefused, Misconfigured, Overloaded, PicturesRefused,
    QuotaExhausted, ServerFault, TooLarge,
};
use telegram_connector_operator::assistant::{Assistant, HttpLimits, build_assistant};
use tokio::io::AsyncWriteExt;

use crate::fixtures::{
    KEY, TEXT, ask_expecting_error, assistant, assistant_with_short_timeouts, spec, with_limits,
};
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
    let server =
        MockServer::start(move |_| mock_server::status(code, &[JSON], body.to_string())).await;
    let error = ask_expecting_error(&assistant(OpenAI, &server.url)).await;
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
    let server =
        MockServer::start(move |_| mock_server::status(code, &[JSON], body.to_string())).await;
    let error = ask_expecting_error(&assistant(OpenAI, &server.url)).await;
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

/// Peers on loopback that give no answer, each for a reason of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NoAnswer {
    ClosedPort,
    Reset,
    ClosedAtOnce,
    AnotherProtocol,
    Silence,
    InformationalAnswersForEver,
}

async fn peer_without_answer(kind: NoAnswer) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("bound");
    if kind == NoAnswer::ClosedPort {
        return address;
    }
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            match kind {
                // Closed with unread bytes.
                NoAnswer::Reset => drop(stream.readable().await),
                NoAnswer::ClosedAtOnce | NoAnswer::ClosedPort => {}
                NoAnswer::AnotherProtocol => {
                    let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n").await;
                    open.push(stream);
                }
                NoAnswer::Silence => open.push(stream),
                NoAnswer::InformationalAnswersForEver => {
                    tokio::spawn(async move {
                        let hint = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
                        while stream.write_all(hint).await.is_ok() {}
                    });
                }
            }
        }
    });
    address
}

#[tokio::test]
async fn whatever_keeps_an_answer_away_the_message_is_the_same() {
    let mut messages = std::collections::BTreeSet::new();
    for kind in [
        NoAnswer::ClosedPort,
        NoAnswer::Reset,
        NoAnswer::ClosedAtOnce,
        NoAnswer::AnotherProtocol,
        NoAnswer::Silence,
        NoAnswer::InformationalAnswersForEver,
    ] {
        let address = peer_without_answer(kind).await;
        let url = format!("http://{address}/v1");
        let error = ask_expecting_error(&assistant_with_short_timeouts(OpenAI, &url)).await;
        assert_eq!(
            error.fault(),
            AssistantFault::Unreachable,
            "{kind:?}: {error}"
        );
        messages.insert(error.detail.replace(&address.to_string(), "HOST"));
    }
    let unknown = "no-such-host.invalid";
    let url = format!("http://{unknown}/v1");
    let error = ask_expecting_error(&assistant_with_short_timeouts(OpenAI, &url)).await;
    messages.insert(error.detail.replace(unknown, "HOST"));
    assert_eq!(messages.len(), 1, "{messages:#?}");
}

fn piece(text: &str) -> String {
    format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
}

fn then_nothing(first: Vec<String>) -> Response {
    mock_server::raw_events(stream::iter(first.into_iter().map(Ok)).chain(stream::pending()))
}

/// Something every 50 ms, for ever.
fn for_ever(text: &'static str) -> Response {
    let ticks = tokio::time::interval(Duration::from_millis(50));
    mock_server::raw_events(stream::unfold(ticks, move |mut ticks| async move {
        ticks.tick().await;
        Some((Ok(text.to_owned()), ticks))
    }))
}

#[rstest]
#[case::silent_after_the_head(|| then_nothing(vec![": hello\n\n".into()]), true)]
#[case::silent_in_the_middle(|| then_nothing(vec![piece("Hel")]), false)]
#[case::comments_for_ever(|| for_ever(": still here\n\n"), true)]
#[case::words_for_ever(|| for_ever("data: {\"choices\":[{\"delta\":{\"content\":\"and \"}}]}\n\n"), false)]
#[tokio::test]
async fn a_slow_answer_ends_by_timeout_seconds_alone(
    #[case] answer: fn() -> Response,
    #[case] is_asked_again: bool,
) {
    let server = MockServer::start(move |_| answer()).await;
    let begun = Instant::now();
    let error = ask_expecting_error(&assistant_with_short_timeouts(OpenAI, &server.url)).await;
    assert!(
        (900..5000).contains(&begun.elapsed().as_millis()),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(
        (error.fault(), error.is_retryable()),
        (AssistantFault::Unreachable, is_asked_again),
        "{error}"
    );
    assert!(error.detail.contains("timeoutSeconds"), "{error}");
}

#[tokio::test]
async fn answer_that_has_ended_needs_no_end_of_its_body() {
    let server = MockServer::start(|_| {
        let stop = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n".into();
        then_nothing(vec![piece("Hi"), stop])
    })
    .await;
    let assistant = assistant_with_short_timeouts(OpenAI, &server.url);
    let answer = crate::fixtures::ask(&assistant, crate::fixtures::question()).await;
    assert_eq!(answer.expect("an answer").text, "Hi");
}

#[rstest]
#[tokio::test]
async fn no_answer_at_all_ends_by_the_time_limit(
    #[values(OpenAI, A2A, Pupau, Webhook)] protocol: AssistantProtocol,
) {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let address = silent.local_addr().expect("bound");
    let begun = Instant::now();
    let error = ask_expecting_error(&assistant_with_short_timeouts(
        protocol,
        &format!("http://{address}"),
    ))
    .await;
    assert!(
        (900..5000).contains(&begun.elapsed().as_millis()),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(
        (
            error.fault(),
            error.is_retryable(),
            error.kind == FailureKind::TimedOut
        ),
        (AssistantFault::Unreachable, true, true),
        "{error}"
    );
    assert!(error.detail.contains("1 s"), "{error}");
}

#[tokio::test]
async fn dropped_connection_is_an_error_after_the_received_text() {
    let server = MockServer::start(|_| {
        let broken = Err(std::io::Error::other("gone"));
        mock_server::raw_events(stream::iter([Ok(piece("Hel"))]).chain(stream::once(async {
            // So that the first piece is on its way before the connection goes.
            tokio::time::sleep(Duration::from_millis(50)).await;
            broken
        })))
    })
    .await;
    let assistant = assistant(OpenAI, &server.url);
    let mut parts = assistant
        .ask(crate::fixtures::question())
        .await
        .expect("an answer");
    assert!(parts.next().await.expect("a part").is_ok());
    let error = parts
        .next()
        .await
        .expect("the end of it")
        .expect_err("an error");
    assert_eq!(
        (error.fault(), error.is_retryable()),
        (AssistantFault::Unreachable, false),
        "{error}"
    );
    assert!(parts.next().await.is_none());
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

fn small(protocol: AssistantProtocol, url: &str) -> Arc<dyn Assistant> {
    let limits = HttpLimits {
        request_bytes: 1000,
        response_bytes: 1000,
        ..HttpLimits::default()
    };
    build_assistant(&spec(protocol, url), Some(KEY.into()), &with_limits(limits))
        .expect("an assistant")
}

#[rstest]
#[case::json(|| mock_server::json(&json!({"choices": [{"message": {"content": "x".repeat(2000)}}]})))]
#[case::events(|| for_ever("data: {\"choices\":[{\"delta\":{\"content\":\"and and and and and and and and and and and and\"}}]}\n\n"))]
#[tokio::test]
async fn an_answer_that_is_too_large_ends(#[case] answer: fn() -> Response) {
    let server = MockServer::start(move |_| answer()).await;
    let error = ask_expecting_error(&small(OpenAI, &server.url)).await;
    assert!(!error.is_retryable());
    assert!(error.detail.contains("too large"), "{error}");
}

/// Raw bytes for ever, as fast as they are taken.
fn flood(first: &str, piece: &'static str) -> Response {
    let first = stream::iter([Ok(first.to_owned())]);
    mock_server::raw_events(first.chain(stream::repeat_with(move || Ok(piece.repeat(2000)))))
}

#[rstest]
#[case::one_line(|| flood("data: ", "xxxxxxxxxx"), false)]
#[case::one_event(|| flood("", "data: xxx\n"), false)]
#[case::comments(|| flood("", ": xxxxxxx\n\n"), false)]
#[case::blank_lines(|| flood("{", "\n   \n\r\n"), false)]
#[case::brackets(|| flood("data: ", "[[[[{\"a\":"), false)]
#[case::behind_the_last_event(|| flood(&(piece("Hi") + "data: [DONE]\n\n"), "data: xxx\n\n"), true)]
#[tokio::test]
async fn endless_bytes_end_at_the_limit_of_an_answer(
    #[case] answer: fn() -> Response,
    #[case] is_answer: bool,
) {
    let server = MockServer::start(move |_| answer()).await;
    let assistant = assistant(OpenAI, &server.url);
    if is_answer {
        let answer = crate::fixtures::ask(&assistant, crate::fixtures::question()).await;
        assert_eq!(answer.expect("an answer").text, "Hi");
    } else {
        let error = ask_expecting_error(&assistant).await;
        assert_eq!(error.kind, FailureKind::TooLarge, "{error}");
        assert!(error.detail.contains("too large"), "{error}");
    }
}

/// A peer that answers each connection with these bytes, and then ends it or goes on with `more` for ever.
async fn raw_peer(head: &'static str, more: &'static str) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = vec![0; 65536];
                let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut request).await;
                let _ = stream.write_all(head.as_bytes()).await;
                while !more.is_empty() && stream.write_all(more.as_bytes()).await.is_ok() {}
                let _ = stream.shutdown().await;
                let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut request).await;
            });
        }
    });
    format!("http://{address}/v1")
}

#[rstest]
#[case::many_headers("HTTP/1.1 200 OK\r\n", "x-a: b\r\n")]
#[case::one_header("HTTP/1.1 200 OK\r\nx-a: ", "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb")]
#[case::status_line("HTTP/1.1 200 ", "OKOKOKOKOKOKOKOKOKOKOKOKOKOKOKOK")]
#[tokio::test]
async fn headers_without_end_are_no_answer(#[case] head: &'static str, #[case] more: &'static str) {
    let url = raw_peer(head, more).await;
    let error = ask_expecting_error(&assistant_with_short_timeouts(OpenAI, &url)).await;
    assert_eq!(error.fault(), AssistantFault::Unreachable, "{error}");
    assert!(error.detail.contains("no answer within 1 s"), "{error}");
}

#[rstest]
#[case::length_not_reached(
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 1000\r\n\r\ndata: {\"choices\":[{\"delta\":{\"content\":\"Half\"}}]}\n\n",
    AssistantFault::Unreachable
)]
#[case::last_chunk_missing(
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n34\r\ndata: {\"choices\":[{\"delta\":{\"content\":\"Half\"}}]}\n\n\r\n",
    AssistantFault::Unreachable
)]
#[case::closed_as_http_1_0(
    "HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {\"choices\":[{\"delta\":{\"content\":\"Half\"}}]}\n\n",
    AssistantFault::Failing
)]
#[tokio::test]
async fn body_that_ends_too_early_is_broken_off(
    #[case] bytes: &'static str,
    #[case] fault: AssistantFault,
) {
    let url = raw_peer(bytes, "").await;
    let assistant = assistant(OpenAI, &url);
    let asked = assistant.ask(crate::fixtures::question());
    let mut parts = asked.await.expect("an answer");
    let first = parts.next().await.expect("a part").expect("text");
    let text = telegram_connector_operator::assistant::AnswerPart::Text("Half".into());
    assert_eq!(first, text);
    let error = parts.next().await.expect("an end").expect_err("an error");
    assert_eq!(
        (error.fault(), error.is_retryable()),
        (fault, false),
        "{error}"
    );
}

#[tokio::test]
async fn a_request_that_is_too_large_is_not_sent() {
    let server = MockServer::start(|_| mock_server::json(&json!({}))).await;
    let assistant = small(OpenAI, &server.url);
    let question = telegram_connector_operator::assistant::Question {
        text: "x".repeat(2000),
        ..crate::fixtures::question()
    };
    let error = assistant.ask(question).await.err().expect("an error");
    assert!(!error.is_retryable());
    assert_eq!(server.received().len(), 0);
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
