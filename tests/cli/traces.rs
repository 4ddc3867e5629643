//! `--otlp-endpoint`: what a collector receives of a conversation, and what it must not receive.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::json;

/// Texts of the quickstart's manifests that no collector may receive.
const TOKEN_PART: &str = "quickstart-not-a-real-token";
const CHAT_TEXT: &str = "Where is my parcel number 90125?";

/// The requests received: content type and body.
type Received = Arc<Mutex<Vec<(Option<String>, Bytes)>>>;

async fn collect(State(received): State<Received>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let kind = headers
        .get("content-type")
        .and_then(|kind| kind.to_str().ok());
    received.lock().unwrap().push((kind.map(Into::into), body));
    StatusCode::OK
}

/// Starts a collector; returns its address and what it receives.
async fn collector() -> (String, Received) {
    let received = Received::default();
    let routes = Router::new()
        .route("/v1/traces", axum::routing::post(collect))
        .with_state(received.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (format!("http://{address}"), received)
}

/// A process of `dev` with the quickstart, and the address of its Bot API simulator. Killed when dropped.
struct DevProcess(Child, String);

impl DevProcess {
    fn start(args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_telegram-connector-operator"))
            .args(["dev", "--log-level", "warn"])
            .args(args)
            .env_clear()
            .envs(std::env::var("PATH").map(|path| ("PATH".to_owned(), path)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let telegram = lines
            .by_ref()
            .map(Result::unwrap)
            .find_map(|line| line.trim().strip_prefix("Telegram").map(str::to_owned))
            .expect("dev says where its Telegram is");
        // Keeps the pipe open, to which the process goes on printing.
        std::thread::spawn(move || lines.for_each(drop));
        Self(child, telegram.trim().trim_end_matches('/').to_owned())
    }

    /// Sends a message as the user Ann and waits for the reply.
    async fn send_and_wait(&self, text: &str) {
        let http = reqwest::Client::new();
        let action = json!({"bot": 7_000_001, "from": 1001, "text": text});
        http.post(format!("{}/control/say", self.1))
            .json(&action)
            .send()
            .await
            .unwrap()
            .error_for_status()
            .unwrap();
        let sent = format!("{}/control/bots/7000001/sent", self.1);
        wait_for(Duration::from_secs(30), "an answer", async || {
            let sent = http.get(&sent).send().await.unwrap().text().await.unwrap();
            sent.contains("You said").then_some(())
        })
        .await;
    }
}

impl Drop for DevProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn wait_for<T>(timeout: Duration, what: &str, poll: impl AsyncFn() -> Option<T>) -> T {
    let end = Instant::now() + timeout;
    loop {
        if let Some(found) = poll().await {
            return found;
        }
        assert!(Instant::now() < end, "waited {timeout:?} for {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn spans(received: &Received) -> Vec<Span> {
    let received = received.lock().unwrap();
    let requests = received
        .iter()
        .map(|(_, body)| ExportTraceServiceRequest::decode(body.clone()).expect("protobuf"));
    requests
        .flat_map(|request| request.resource_spans)
        .flat_map(|resource| resource.scope_spans)
        .flat_map(|scope| scope.spans)
        .collect()
}

/// Asserts an attribute's value as a collector would show it.
#[track_caller]
fn assert_attribute(span: &Span, key: &str, value: &str) {
    let found = span.attributes.iter().find(|found| found.key == key);
    let shown = format!("{:?}", found.and_then(|found| found.value.as_ref()));
    assert!(shown.contains(value), "{key} is {shown} in {span:#?}");
}

#[tokio::test]
async fn message_is_one_trace_without_token_or_text() {
    let (endpoint, received) = collector().await;
    let dev = DevProcess::start(&["--otlp-endpoint", &endpoint]);
    dev.send_and_wait(CHAT_TEXT).await;
    let (message, trace) = wait_for(Duration::from_secs(20), "the message's trace", async || {
        let all = spans(&received);
        let message = all.iter().find(|span| span.name == "message")?.clone();
        let trace: Vec<Span> = all
            .into_iter()
            .filter(|span| span.trace_id == message.trace_id)
            .collect();
        (trace.len() >= 3).then_some((message, trace))
    })
    .await;

    assert!(message.parent_span_id.is_empty());
    assert_attribute(&message, "namespace", "\"acme\"");
    assert_attribute(&message, "connector", "\"support\"");
    assert_attribute(&message, "bot_id", "7000001");
    let below = |name: &str| {
        trace
            .iter()
            .find(|span| span.name == name && span.parent_span_id == message.span_id)
            .unwrap_or_else(|| panic!("no span {name} below the message: {trace:#?}"))
    };
    let exchange = below("assistant");
    assert_attribute(exchange, "protocol", "OpenAI");
    assert_attribute(exchange, "result", "\"ok\"");
    // The sample assistant takes its time, so that the bot is seen typing before.
    let is_sent =
        |span: &&Span| span.name == "telegram" && format!("{span:?}").contains("\"sendMessage\"");
    let sent = trace.iter().find(is_sent).expect("the answer is sent");
    assert_eq!(sent.parent_span_id, message.span_id);

    let received = received.lock().unwrap();
    for (kind, body) in received.iter() {
        assert_eq!(kind.as_deref(), Some("application/x-protobuf"));
        let body = String::from_utf8_lossy(body);
        assert!(body.contains("telegram-connector-operator"), "service.name");
        assert!(!body.contains(TOKEN_PART), "the token: {body}");
        assert!(!body.contains(CHAT_TEXT), "a text: {body}");
    }
}

#[tokio::test]
async fn unreachable_collector_delays_no_answer() {
    // Nothing listens on port 9 of this machine.
    let dev = DevProcess::start(&["--otlp-endpoint", "http://127.0.0.1:9"]);
    dev.send_and_wait("Are you there?").await;
}
