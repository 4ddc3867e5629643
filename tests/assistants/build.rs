//! What is known to be wrong before the first message.

use rstest::rstest;
use secrecy::SecretString;
use telegram_connector_operator::api::connector::{AssistantProtocol, AssistantSpec};
use telegram_connector_operator::assistant::{
    AddressPolicy, AssistantHttpClient, BuildError, HttpLimits, build_assistant, build_extractor,
    build_speaker, build_transcriber,
};

use crate::fixtures::{http_client, spec};

fn error(spec: &AssistantSpec, key: Option<&str>) -> BuildError {
    build_assistant(spec, key.map(Into::into), &http_client()).expect_err("refused")
}

#[rstest]
#[case("ftp://agent.acme.svc/v1")]
#[case("agent.acme.svc/v1")]
#[case("http://user:password@agent.acme.svc/v1")]
#[case("")]
fn a_url_that_cannot_be_called_is_refused(#[case] url: &str) {
    let error = error(&spec(AssistantProtocol::OpenAI, url), None);
    assert!(matches!(error, BuildError::InvalidUrl(_)), "{error}");
    assert!(!error.to_string().contains("password"), "{error}");
}

#[rstest]
fn metadata_addresses_are_refused_for_every_protocol(
    #[values(
        AssistantProtocol::OpenAI,
        AssistantProtocol::A2A,
        AssistantProtocol::Webhook,
        AssistantProtocol::Pupau
    )]
    protocol: AssistantProtocol,
    #[values(
        "http://169.254.169.254/v1",
        "http://[fe80::1]/",
        "http://metadata.google.internal/"
    )]
    url: &str,
) {
    let error = error(&spec(protocol, url), None);
    assert!(matches!(error, BuildError::AddressRefused(_)), "{error}");
    assert!(
        error.to_string().contains("--allow-assistant-address"),
        "{error}"
    );
}

/// What a connector calls beside its assistant.
#[rstest]
fn metadata_addresses_are_refused_beside_assistants(
    #[values("transcription", "speech", "extraction")] what: &str,
    #[values(
        "http://169.254.169.254/v1",
        "http://127.1:8080/",
        "http://[::ffff:0:169.254.169.254]/",
        "http://metadata.google.internal/"
    )]
    url: &str,
) {
    fn error<T, S: serde::de::DeserializeOwned>(
        build: fn(&S, Option<SecretString>, &AssistantHttpClient) -> Result<T, String>,
        spec: serde_json::Value,
        client: &AssistantHttpClient,
    ) -> String {
        let spec = serde_json::from_value(spec).expect("a spec");
        build(&spec, None, client).err().expect("refused")
    }
    let client = AssistantHttpClient::new(HttpLimits::default(), AddressPolicy::default());
    let client = client.expect("a client");
    let spec = serde_json::json!({"url": url, "model": "m", "voice": "v"});
    let error = match what {
        "transcription" => error(build_transcriber, spec, &client),
        "speech" => error(build_speaker, spec, &client),
        _ => error(build_extractor, serde_json::json!({"url": url}), &client),
    };
    assert!(error.contains("--allow-assistant-address"), "{error}");
}

#[test]
fn an_allowed_address_can_be_built() {
    let guard = AddressPolicy::allowing(vec!["169.254.169.254".parse().expect("an address")]);
    let http_client = AssistantHttpClient::new(HttpLimits::default(), guard).expect("a client");
    let spec = spec(AssistantProtocol::Webhook, "http://169.254.169.254/");
    assert!(build_assistant(&spec, None, &http_client).is_ok());
}

#[test]
fn a_missing_field_is_named() {
    let without_model = AssistantSpec {
        model: None,
        ..spec(AssistantProtocol::OpenAI, "http://h/v1")
    };
    assert!(matches!(
        error(&without_model, None),
        BuildError::MissingField { field: "model", .. }
    ));
    let without_id = AssistantSpec {
        assistant_id: None,
        ..spec(AssistantProtocol::Pupau, "http://h")
    };
    assert!(matches!(
        error(&without_id, None),
        BuildError::MissingField {
            field: "assistantId",
            ..
        }
    ));
}

#[test]
fn a_key_that_no_header_can_carry_is_refused_and_not_shown() {
    let error = error(
        &spec(AssistantProtocol::OpenAI, "http://h/v1"),
        Some("line one\nline two"),
    );
    assert_eq!(error, BuildError::InvalidKey);
    assert!(!format!("{error} {error:?}").contains("line one"));
}

#[test]
fn a_pupau_connector_without_url_goes_to_pupaus_own_root() {
    assert!(build_assistant(&spec(AssistantProtocol::Pupau, ""), None, &http_client()).is_ok());
}
