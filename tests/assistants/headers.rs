//! The headers that a connector configures, on every protocol: its own, and the one that carries the API key.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::response::Response;
use rstest::rstest;
use serde_json::json;
use telegram_connector_operator::api::connector::AssistantProtocol::{
    self, A2A, OpenAI, Pupau, Webhook,
};
use telegram_connector_operator::api::connector::{
    ApiKeyHeader, AssistantHeader, AssistantSpec, HeaderValueSource, OpenAiApi, OpenAiSpec,
    SecretKeySelector,
};
use telegram_connector_operator::assistant::{Assistant, Credentials, build_assistant};

use crate::fixtures::{self, KEY, ask, http_client, question};
use crate::mock_server::{self, MockServer, ReceivedRequest};

const SECRET: &str = "value-from-a-secret";

fn header(name: &str, value: &str) -> AssistantHeader {
    AssistantHeader {
        name: name.into(),
        value: Some(value.into()),
        value_from: None,
    }
}

fn header_from_secret(name: &str) -> AssistantHeader {
    let secret_key_ref = SecretKeySelector {
        name: "gateway".into(),
        key: "key".into(),
    };
    AssistantHeader {
        name: name.into(),
        value: None,
        value_from: Some(HeaderValueSource { secret_key_ref }),
    }
}

/// The key, and the value of a header at position 1.
fn credentials(header_value: &str) -> Credentials {
    Credentials {
        api_key: Some(KEY.into()),
        header_values: BTreeMap::from([(1, header_value.into())]),
    }
}

/// A server of any protocol.
fn answer(request: &ReceivedRequest) -> Response {
    match request.path() {
        "/.well-known/agent-card.json" => mock_server::json(&json!({
            "name": "x", "capabilities": {},
            "supportedInterfaces": [{"url": "/", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}],
            "securitySchemes": {"key": {"apiKeySecurityScheme": {"location": "header", "name": "X-Card-Key"}}},
        })),
        path if path.ends_with("/conversations") => {
            mock_server::json(&json!({"id": "c", "token": "t"}))
        }
        path if path.ends_with("/queries") => {
            mock_server::events(&[r#"{"id":"1","message":"Hello","chatBotId":"b"}"#])
        }
        path if path.ends_with("/chat/completions") => mock_server::json(
            &json!({"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]}),
        ),
        _ if request.json()["jsonrpc"] == "2.0" => mock_server::json(&json!({
            "jsonrpc": "2.0", "id": "x",
            "result": {"message": {"messageId": "m", "role": "ROLE_AGENT", "parts": [{"text": "Hello"}]}},
        })),
        _ => mock_server::json(&json!({"text": "Hello"})),
    }
}

fn build(spec: &AssistantSpec, credentials: Credentials) -> Arc<dyn Assistant> {
    build_assistant(spec, credentials, &http_client()).expect("an assistant")
}

#[rstest]
#[tokio::test]
async fn every_request_carries_the_configured_headers(
    #[values(OpenAI, A2A, Webhook, Pupau)] protocol: AssistantProtocol,
) {
    let server = MockServer::start(answer).await;
    let spec = AssistantSpec {
        headers: Some(vec![
            header("X-Team", "support desk"),
            header_from_secret("X-Gateway-Key"),
        ]),
        ..fixtures::spec(protocol, &server.url)
    };
    let assistant = build(&spec, credentials(&format!("{SECRET}\n")));
    let answered = ask(&assistant, question()).await.expect("an answer");
    assert_eq!(answered.text, "Hello");
    let received = server.received();
    assert!(!received.is_empty());
    for request in received {
        assert_eq!(
            request.header("x-team"),
            "support desk",
            "{}",
            request.path()
        );
        assert_eq!(
            request.header("x-gateway-key"),
            SECRET,
            "{}",
            request.path()
        );
    }
    let shown = format!("{assistant:?} {spec:?}");
    assert!(
        !shown.contains(SECRET) && !shown.contains("support desk"),
        "{shown}"
    );
}

#[rstest]
#[case(OpenAI, None, "authorization", &format!("Bearer {KEY}"))]
#[case(OpenAI, Some(("api-key", None)), "api-key", KEY)]
#[case(OpenAI, Some(("X-Auth", Some("Token "))), "x-auth", &format!("Token {KEY}"))]
#[case(OpenAI, Some(("authorization", Some(""))), "authorization", KEY)]
#[case(Pupau, None, "api-key", KEY)]
#[case(Pupau, Some(("Authorization", None)), "authorization", &format!("Bearer {KEY}"))]
#[case(A2A, None, "x-card-key", KEY)]
#[case(A2A, Some(("X-Auth", None)), "x-auth", KEY)]
#[tokio::test]
async fn api_key_is_in_the_configured_header(
    #[case] protocol: AssistantProtocol,
    #[case] configured: Option<(&str, Option<&str>)>,
    #[case] name: &str,
    #[case] value: &str,
) {
    let server = MockServer::start(answer).await;
    let spec = AssistantSpec {
        api_key_header: configured.map(|(name, prefix)| ApiKeyHeader {
            name: Some(name.into()),
            prefix: prefix.map(Into::into),
        }),
        ..fixtures::spec(protocol, &server.url)
    };
    let assistant = build(&spec, credentials("x"));
    ask(&assistant, question()).await.expect("an answer");
    let received = server.received();
    let request = received.last().expect("a request");
    assert_eq!(request.header(name), value);
    for other in ["authorization", "api-key", "x-card-key"] {
        assert!(other == name || request.header(other).is_empty(), "{other}");
    }
}

fn refusal(spec: &AssistantSpec, credentials: Credentials) -> String {
    let error = build_assistant(spec, credentials, &http_client()).expect_err("refused");
    assert!(!error.to_string().contains(SECRET), "{error}");
    error.to_string()
}

// An API server without CEL admits all of these.
#[rstest]
#[case(vec![header("X Team", "a")], "spec.assistant.headers[0]: name must be the name of an HTTP header")]
#[case(vec![header("Host", "a")], "spec.assistant.headers[0]: name must be none of the headers")]
#[case(vec![header("A", "a"), header("authorization", "a")], "spec.assistant.headers[1]: name must not be Authorization")]
#[case(vec![header("X-A", "a"), header("x-a", "b")], "spec.assistant.headers[1]: the same name stands twice")]
#[case(vec![header("X-A", "a\nb")], "spec.assistant.headers[0]: its value holds control characters")]
#[case(vec![header("X-A", "")], "spec.assistant.headers[0]: its value is empty")]
#[case(vec![header("X-A", &"a".repeat(4097))], "longer than 4096 bytes")]
#[case(vec![header("X-Key", "a")], "spec.assistant.headers: x-key carries the API key")]
#[case(vec![AssistantHeader { value: None, ..header("X-A", "") }], "set exactly one of value and valueFrom")]
#[case(vec![AssistantHeader { value: Some("a".into()), ..header_from_secret("X-A") }], "set exactly one of value and valueFrom")]
#[case((0..33).map(|n| header(&format!("X-{n}"), "a")).collect(), "at most 32 headers")]
fn headers_that_cannot_be_sent_are_refused(
    #[case] headers: Vec<AssistantHeader>,
    #[case] expected: &str,
) {
    let spec = AssistantSpec {
        headers: Some(headers),
        api_key_header: Some(ApiKeyHeader {
            name: Some("X-Key".into()),
            prefix: None,
        }),
        ..fixtures::spec(OpenAI, "http://h/v1")
    };
    let error = refusal(&spec, credentials("x"));
    assert!(error.contains(expected), "{error}");
}

#[rstest]
#[case("line one\nline two", "its value holds control characters")]
#[case(" \n", "its value is empty, or no text")]
fn value_of_a_secret_that_no_header_can_carry_is_refused(
    #[case] value: &str,
    #[case] expected: &str,
) {
    let spec = AssistantSpec {
        headers: Some(vec![header("X-A", "a"), header_from_secret("X-B")]),
        ..fixtures::spec(OpenAI, "http://h/v1")
    };
    let error = refusal(&spec, credentials(value));
    assert!(error.contains("spec.assistant.headers[1]: "), "{error}");
    assert!(
        error.contains(expected) && !error.contains("line one"),
        "{error}"
    );
}

#[rstest]
#[case(
    "model",
    "spec.assistant.openAI.parameters: parameters must not hold model: remove it; set spec.assistant.model"
)]
#[case("user", "parameters must not hold user")]
#[case("previous_response_id", "all users would share one conversation")]
fn parameters_of_the_operator_are_refused(#[case] name: &str, #[case] expected: &str) {
    let options = OpenAiSpec {
        parameters: json!({"temperature": 1, name: "x"}).as_object().cloned(),
        ..OpenAiSpec::default()
    };
    let spec = AssistantSpec {
        open_ai: Some(options),
        ..fixtures::spec(OpenAI, "http://h/v1")
    };
    let error = refusal(&spec, credentials("x"));
    assert!(error.contains(expected), "{error}");
}

#[test]
fn parameters_have_a_largest_size() {
    let options = OpenAiSpec {
        parameters: json!({"x": "a".repeat(70_000)}).as_object().cloned(),
        ..OpenAiSpec::default()
    };
    let spec = AssistantSpec {
        open_ai: Some(options),
        ..fixtures::spec(OpenAI, "http://h/v1")
    };
    let error = refusal(&spec, credentials("x"));
    assert!(error.contains("at most 65536 are sent"), "{error}");
}

#[tokio::test]
async fn responses_api_is_asked_at_its_own_path() {
    let server = MockServer::start(|_| mock_server::status(503, &[], "")).await;
    let options = OpenAiSpec {
        api: Some(OpenAiApi::Responses),
        ..OpenAiSpec::default()
    };
    let spec = AssistantSpec {
        open_ai: Some(options),
        ..fixtures::spec(OpenAI, &format!("{}/v1", server.url))
    };
    let assistant = build_assistant(&spec, None, &http_client()).expect("an assistant");
    let error = fixtures::ask(&assistant, fixtures::question()).await;
    assert!(error.is_err());
    assert_eq!(server.received()[0].path(), "/v1/responses");
}
