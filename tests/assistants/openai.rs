//! `OpenAI` Chat Completions against peers that answer as servers in use do.

use std::sync::Arc;

use futures::{StreamExt, stream};
use rstest::rstest;
use serde_json::{Value, json};
use telegram_connector_operator::api::connector::{AssistantProtocol, AssistantSpec};
use telegram_connector_operator::assistant::QuestionProgress;
use telegram_connector_operator::assistant::{
    AnswerPart, Assistant, Picture, Question, build_assistant,
};
use telegram_connector_operator::history::{ChatMessage, Role};
use tokio::sync::Notify;

use crate::fixtures::{self, KEY, TEXT, ask, http_client, question};
use crate::mock_server::{self, MockServer};

const HELLO: &[&str] = &[
    r#"{"choices":[{"delta":{"role":"assistant","content":"Hel"}}]}"#,
    r#"{"choices":[{"delta":{"content":"lo"},"finish_reason":"stop"}]}"#,
    "[DONE]",
];

fn assistant(url: &str) -> Arc<dyn Assistant> {
    fixtures::assistant(AssistantProtocol::OpenAI, url)
}

#[tokio::test]
async fn a_question_carries_prompt_history_pictures_identity_and_key() {
    let server = MockServer::start(|_| mock_server::events(HELLO)).await;
    let spec = AssistantSpec {
        system_prompt: Some("Be kind".into()),
        ..fixtures::spec(AssistantProtocol::OpenAI, &format!("{}/v1", server.url))
    };
    // Secrets made with an editor end in a line end.
    let assistant = build_assistant(&spec, Some(format!("{KEY}\n").into()), &http_client())
        .expect("an assistant");
    assert!(assistant.needs_history() && assistant.supports_pictures());
    let asked = Question {
        history: vec![
            ChatMessage {
                role: Role::User,
                text: "Hi".into(),
            },
            ChatMessage {
                role: Role::Assistant,
                text: "Hello!".into(),
            },
        ],
        pictures: vec![Picture {
            media_type: "image/png".into(),
            bytes: bytes::Bytes::from_static(b"\x01\x02"),
        }],
        ..question()
    };
    assert_eq!(
        ask(&assistant, asked).await.expect("an answer").text,
        "Hello"
    );

    let [request] = &server.received()[..] else {
        panic!("one request")
    };
    assert_eq!(request.path(), "/v1/chat/completions");
    assert_eq!(request.header("authorization"), format!("Bearer {KEY}"));
    assert_eq!(request.header("content-type"), "application/json");
    assert_eq!(request.header("idempotency-key"), "8400000001-77");
    assert_eq!(request.header("x-telegram-connector"), "acme/support");
    assert_eq!(request.header("x-telegram-session"), "session-1");
    assert_eq!(request.header("x-telegram-user-id"), "424242");
    assert_eq!(request.header("x-telegram-user-name"), "Ann B%C3%A4r");
    assert_eq!(request.header("x-telegram-username"), "ann_example");
    assert_eq!(request.header("x-telegram-language"), "de");
    assert_eq!(
        request.json(),
        json!({
            "model": "support-agent",
            "stream": true,
            "stream_options": {"include_usage": true},
            "user": "telegram:424242",
            "messages": [
                {"role": "system", "content": "Be kind"},
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": "Hello!"},
                {"role": "user", "content": [
                    {"type": "text", "text": TEXT},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AQI="}},
                ]},
            ],
        })
    );
}

#[rstest]
#[case("/v1", "/v1/chat/completions")]
#[case("/v1/", "/v1/chat/completions")]
#[case("", "/chat/completions")]
#[case("/v1/chat/completions", "/v1/chat/completions")]
#[case("/v1/responses", "/v1/responses")]
#[case("/openai?api-version=7", "/openai/chat/completions?api-version=7")]
#[tokio::test]
async fn the_url_is_the_apis_root_or_the_whole_path(#[case] url: &str, #[case] called: &str) {
    let server = MockServer::start(|_| mock_server::events(HELLO)).await;
    let assistant = assistant(&format!("{}{url}", server.url));
    ask(&assistant, question()).await.expect("an answer");
    assert_eq!(server.received()[0].uri.to_string(), called);
}

#[tokio::test]
async fn the_first_words_are_there_while_the_rest_is_being_written() {
    let go_on = Arc::new(Notify::new());
    let gate = go_on.clone();
    let server = MockServer::start(move |_| {
        let gate = gate.clone();
        let first = stream::iter([Ok(
            ": keep-alive\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"Hel\"}}]}\n\n".into(),
        )]);
        let rest = stream::once(async move {
            gate.notified().await;
            Ok("data: {\"choices\":[{\"delta\":{\"content\":\"lo\"}}]}\n\ndata: [DONE]\n\n".into())
        });
        mock_server::raw_events(first.chain(rest))
    })
    .await;
    let mut parts = assistant(&server.url)
        .ask(question())
        .await
        .expect("an answer");
    let first = parts.next().await.expect("a part").expect("no error");
    assert_eq!(first, AnswerPart::Text("Hel".into()));
    go_on.notify_one();
    let rest: Vec<_> = parts.map(|p| p.expect("no error")).collect().await;
    assert_eq!(rest, [AnswerPart::Text("lo".into())]);
}

/// The events as text, with this line end.
fn lines(end: &str) -> String {
    HELLO.iter().fold(String::new(), |text, data| {
        text + "data: " + data + end + end
    })
}

fn whole() -> Value {
    json!({"object": "chat.completion", "choices": [{"message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}]})
}

#[rstest]
#[case::json(|| mock_server::json(&whole()))]
#[case::json_without_type(|| mock_server::status(200, &[], whole().to_string()))]
#[case::events_called_json(|| mock_server::status(200, &[("content-type", "application/json")], lines("\n")))]
#[case::crlf(|| mock_server::status(200, &[("content-type", "text/event-stream; charset=utf-8")], lines("\r\n")))]
#[case::no_done(|| mock_server::events(&HELLO[..2]))]
#[case::no_last_blank_line(|| mock_server::status(200, &[("content-type", "text/event-stream")], format!("data: {}", whole())))]
#[tokio::test]
async fn servers_that_answer_otherwise_are_understood(
    #[case] answer: fn() -> axum::response::Response,
) {
    let server = MockServer::start(move |_| answer()).await;
    assert_eq!(
        ask(&assistant(&server.url), question())
            .await
            .expect("an answer")
            .text,
        "Hello"
    );
}

#[tokio::test]
async fn an_empty_answer_is_an_answer() {
    let server = MockServer::start(|_| {
        mock_server::events(&[
            r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#,
            "[DONE]",
        ])
    })
    .await;
    assert_eq!(
        ask(&assistant(&server.url), question())
            .await
            .expect("an answer")
            .text,
        ""
    );
}

#[tokio::test]
async fn one_connection_serves_many_questions() {
    let server = MockServer::start(|_| mock_server::events(HELLO)).await;
    let assistant = assistant(&server.url);
    for _ in 0..20 {
        ask(&assistant, question()).await.expect("an answer");
    }
    assert_eq!(server.received().len(), 20);
    assert_eq!(server.connections(), 1);
}

/// A server that promises to keep its connections, and ends each after one answer: once it has read the next question, or at once.
async fn server_that_hangs_up(reads_next_question: bool) -> (String, tokio::task::JoinHandle<()>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let server = tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.expect("a connection");
            tokio::spawn(async move {
                let mut request = vec![0; 65536];
                let _ = socket.read(&mut request).await;
                let body = whole().to_string();
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                let _ = socket.write_all((head + &body).as_bytes()).await;
                if reads_next_question {
                    let _ = socket.read(&mut request).await;
                }
            });
        }
    });
    (url, server)
}

#[tokio::test]
async fn connection_that_was_closed_meanwhile_is_replaced() {
    let (url, server) = server_that_hangs_up(false).await;
    let assistant = assistant(&url);
    for _ in 0..3 {
        let answer = ask(&assistant, question()).await.expect("an answer");
        assert_eq!(answer.text, "Hello");
        // The client hears of the end.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    server.abort();
}

#[tokio::test]
async fn question_that_was_read_is_not_sent_again_at_once() {
    let (url, server) = server_that_hangs_up(true).await;
    let assistant = assistant(&url);
    ask(&assistant, question()).await.expect("an answer");
    let error = ask(&assistant, question()).await.expect_err("a hang-up");
    assert_eq!(error.progress, QuestionProgress::Uncertain, "{error}");
    server.abort();
}
