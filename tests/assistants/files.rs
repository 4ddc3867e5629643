//! Files of a question as the peer receives them, in each protocol that takes files (`files.toAssistant`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use rstest::rstest;
use serde_json::{Value, json};
use telegram_connector_operator::api::connector::AssistantProtocol::{A2A, OpenAI, Webhook};
use telegram_connector_operator::api::connector::{AssistantSpec, OpenAiApi, OpenAiSpec};
use telegram_connector_operator::assistant::{Question, QuestionFile, build_assistant};

use crate::fixtures::{self, KEY, TEXT, http_client, question};
use crate::mock_server::{self, MockServer, ReceivedRequest};

/// How a file is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wire {
    ChatCompletions,
    Responses,
    A2aOld,
    A2aNew,
    Webhook,
}

/// A file as the peer reads it.
#[derive(Debug, PartialEq, Eq)]
struct Received {
    name: String,
    media_type: String,
    bytes: Vec<u8>,
}

fn file(name: &str, media_type: &str, bytes: &[u8]) -> QuestionFile {
    QuestionFile {
        name: name.into(),
        media_type: media_type.into(),
        bytes: Bytes::copy_from_slice(bytes),
    }
}

fn card(wire: Wire) -> Value {
    let mut card = json!({
        "name": "a", "version": "1", "url": "http://localhost/rpc", "protocolVersion": "0.3.0",
        "preferredTransport": "JSONRPC", "capabilities": {"streaming": true}, "skills": [],
    });
    if wire == Wire::A2aNew {
        card["supportedInterfaces"] = json!([{
            "url": "http://localhost/rpc", "protocolBinding": "JSONRPC", "protocolVersion": "1.0",
        }]);
    }
    card
}

/// The body of the request that asks about these files; what comes of it does not matter.
async fn body(wire: Wire, files: Vec<QuestionFile>) -> Value {
    let server = MockServer::start(move |asked: &ReceivedRequest| {
        if asked.path().ends_with("agent-card.json") {
            mock_server::json(&card(wire))
        } else {
            mock_server::status(400, &[], "")
        }
    })
    .await;
    let protocol = match wire {
        Wire::ChatCompletions | Wire::Responses => OpenAI,
        Wire::A2aOld | Wire::A2aNew => A2A,
        Wire::Webhook => Webhook,
    };
    let spec = AssistantSpec {
        open_ai: (wire == Wire::Responses).then(|| OpenAiSpec {
            api: Some(OpenAiApi::Responses),
            ..OpenAiSpec::default()
        }),
        ..fixtures::spec(protocol, &server.url)
    };
    let assistant = build_assistant(&spec, Some(KEY.into()), &http_client()).expect("an assistant");
    let asked = Question {
        files,
        ..question()
    };
    fixtures::ask(&assistant, asked).await.expect_err("refused");
    server.received().pop().expect("a request").json()
}

/// The words of the question, and the files behind them.
fn read(wire: Wire, body: &Value) -> (String, Vec<Received>) {
    let last = |messages: &Value| messages.as_array().expect("a list").last().cloned();
    let (words, parts) = match wire {
        Wire::Webhook => (body["text"].clone(), body["files"].clone()),
        _ => {
            let parts = match wire {
                Wire::ChatCompletions => {
                    last(&body["messages"]).expect("a message")["content"].take()
                }
                Wire::Responses => last(&body["input"]).expect("a message")["content"].take(),
                _ => body["params"]["message"]["parts"].clone(),
            };
            let mut parts = parts.as_array().expect("parts").clone();
            let words = parts.remove(0)["text"].take();
            (words, Value::from(parts))
        }
    };
    let files = parts.as_array().expect("parts").iter();
    let files = files.map(|part| read_file(wire, part)).collect();
    (words.as_str().expect("words").to_owned(), files)
}

fn read_file(wire: Wire, part: &Value) -> Received {
    let text = |value: &Value| {
        value
            .as_str()
            .unwrap_or_else(|| panic!("{part}"))
            .to_owned()
    };
    let (name, media_type, base64) = match wire {
        Wire::ChatCompletions | Wire::Responses => {
            let file = if wire == Wire::Responses {
                assert_eq!(part["type"], "input_file", "{part}");
                part
            } else {
                assert_eq!(part["type"], "file", "{part}");
                &part["file"]
            };
            let data = text(&file["file_data"]);
            let (head, base64) = data.split_once(";base64,").expect("a data URL");
            let media_type = head.strip_prefix("data:").expect("a data URL");
            (
                text(&file["filename"]),
                media_type.to_owned(),
                base64.to_owned(),
            )
        }
        Wire::A2aOld => {
            assert_eq!(part["kind"], "file", "{part}");
            let file = &part["file"];
            (
                text(&file["name"]),
                text(&file["mimeType"]),
                text(&file["bytes"]),
            )
        }
        Wire::A2aNew => {
            assert!(part.get("kind").is_none(), "{part}");
            (
                text(&part["filename"]),
                text(&part["mediaType"]),
                text(&part["raw"]),
            )
        }
        Wire::Webhook => (
            text(&part["name"]),
            text(&part["mediaType"]),
            text(&part["base64"]),
        ),
    };
    Received {
        name,
        media_type,
        bytes: STANDARD.decode(base64).expect("Base64"),
    }
}

#[rstest]
#[case::bytes_of_every_value("offer.pdf", "application/pdf", &(0..=255).collect::<Vec<u8>>())]
#[case::hostile_name(
    "../\"a\\b\"\n\u{202e}\u{0}</x>;\r\nX-Evil: 1.pdf",
    "application/pdf",
    b"%PDF"
)]
#[case::empty("empty.pdf", "application/pdf", b"")]
#[case::other_type_than_it_is("cat.png", "application/x-msdownload", b"\x89PNG\r\n\x1a\n")]
#[case::without_a_name("", "application/octet-stream", b"\x00")]
#[tokio::test]
async fn peer_receives_files_byte_for_byte(
    #[case] name: &str,
    #[case] media_type: &str,
    #[case] bytes: &[u8],
    #[values(
        Wire::ChatCompletions,
        Wire::Responses,
        Wire::A2aOld,
        Wire::A2aNew,
        Wire::Webhook
    )]
    wire: Wire,
) {
    let second = file("b.zip", "application/zip", b"PK\x03\x04");
    let files = vec![file(name, media_type, bytes), second];
    let (words, received) = read(wire, &body(wire, files).await);
    assert_eq!(words, TEXT);
    let expected = [
        (name, media_type, bytes),
        ("b.zip", "application/zip", b"PK\x03\x04"),
    ];
    let expected = expected.map(|(name, media_type, bytes)| Received {
        name: name.into(),
        media_type: media_type.into(),
        bytes: bytes.into(),
    });
    assert_eq!(received, expected);
}

#[rstest]
#[tokio::test]
async fn question_without_files_has_no_place_for_them(
    #[values(
        Wire::ChatCompletions,
        Wire::Responses,
        Wire::A2aOld,
        Wire::A2aNew,
        Wire::Webhook
    )]
    wire: Wire,
) {
    let body = body(wire, vec![]).await.to_string();
    assert!(!body.contains("file"), "{body}");
}
