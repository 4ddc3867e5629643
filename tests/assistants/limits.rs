//! What ends an answer that does not end by itself, or does not begin: time, bytes, and connections that break.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::response::Response;
use futures::{StreamExt, stream};
use rstest::rstest;
use serde_json::json;
use telegram_connector_operator::api::connector::AssistantProtocol::{
    self, A2A, OpenAI, Pupau, Webhook,
};
use telegram_connector_operator::assistant::AssistantFault;
use telegram_connector_operator::assistant::FailureKind;
use telegram_connector_operator::assistant::{Assistant, HttpLimits, build_assistant};
use tokio::io::AsyncWriteExt;

use crate::fixtures::{
    KEY, ask_expecting_error, assistant, assistant_with_short_timeouts, piece, spec, with_limits,
};
use crate::mock_server::{self, MockServer};

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
fn endless_answer(first: &str, piece: &'static str) -> Response {
    let first = stream::iter([Ok(first.to_owned())]);
    mock_server::raw_events(first.chain(stream::repeat_with(move || Ok(piece.repeat(2000)))))
}

#[rstest]
#[case::one_line(|| endless_answer("data: ", "xxxxxxxxxx"), false)]
#[case::one_event(|| endless_answer("", "data: xxx\n"), false)]
#[case::comments(|| endless_answer("", ": xxxxxxx\n\n"), false)]
#[case::blank_lines(|| endless_answer("{", "\n   \n\r\n"), false)]
#[case::brackets(|| endless_answer("data: ", "[[[[{\"a\":"), false)]
#[case::behind_the_last_event(|| endless_answer(&(piece("Hi") + "data: [DONE]\n\n"), "data: xxx\n\n"), true)]
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
