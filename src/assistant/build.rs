//! Builds an assistant from `spec.assistant` and its API key. Errors that can be detected without a request are reported here, before
//! the first message.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::a2a::A2a;
use super::address_policy::AddressRefused;
use super::configured_headers::{KeyHeader, configured_headers, key_header};
use super::credentials::Credentials;
use super::http_client::AssistantServer;
use super::openai::{OpenAi, OpenAiOptions};
use super::pupau::{self, Pupau};
use super::webhook::Webhook;
use super::{Assistant, AssistantHttpClient};
use crate::api::connector::{AssistantProtocol, AssistantSpec};

/// `timeoutSeconds` where the spec has none.
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(2);

/// Why an assistant cannot be built. Holds no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// The URL cannot be called.
    #[error("spec.assistant.url is not an http(s) URL without user info: {0}")]
    InvalidUrl(String),
    /// A field that the protocol needs is missing.
    #[error("spec.assistant.{field} is missing; protocol {protocol} needs it")]
    MissingField {
        /// Name of the field in `spec.assistant`.
        field: &'static str,
        /// The protocol that requires it.
        protocol: &'static str,
    },
    /// A field cannot be used as it is written, or what its Secret holds cannot.
    #[error("spec.assistant.{field}: {problem}")]
    InvalidField {
        /// The field's path below `spec.assistant`.
        field: String,
        /// What is wrong and what to do. Holds no value.
        problem: String,
    },
    /// The address policy refuses the URL's host.
    #[error("spec.assistant.url: {0}")]
    AddressRefused(#[from] AddressRefused),
    /// No header can carry the key.
    #[error(
        "the API key holds characters that no HTTP header can carry; check the Secret of spec.assistant.apiKeySecretRef"
    )]
    InvalidKey,
    /// A `whsec_` key that is no Base64.
    #[error(
        "the API key begins with whsec_, but the rest is not Base64; check the Secret of spec.assistant.apiKeySecretRef"
    )]
    InvalidSigningKey,
    /// The HTTP client could not be made.
    #[error("the HTTP client cannot start: {0}")]
    HttpClient(String),
}

/// Builds the assistant of a connector. Sends nothing.
///
/// # Errors
/// [`BuildError`], which says what to change in the connector.
pub fn build_assistant(
    spec: &AssistantSpec,
    credentials: impl Into<Credentials>,
    client: &AssistantHttpClient,
) -> Result<Arc<dyn Assistant>, BuildError> {
    let credentials = credentials.into();
    let url = checked_url(spec, client)?;
    let timeout = spec
        .timeout_seconds
        .and_then(|s| u64::try_from(s).ok())
        .map_or(DEFAULT_TIMEOUT, Duration::from_secs);
    let RequestHeaders {
        configured,
        key,
        key_header,
    } = RequestHeaders::new(spec, &url, credentials)?;
    let server = AssistantServer::new(client, &url, timeout).with_headers(configured);
    match spec.protocol {
        AssistantProtocol::OpenAI => {
            let model = required(spec.model.as_deref(), "model", "OpenAI")?;
            let options = OpenAiOptions::new(model, spec, key_header)?;
            Ok(Arc::new(OpenAi::new(server, &url, options)))
        }
        AssistantProtocol::A2A => {
            let card_chooses_header = spec.api_key_header.is_none();
            let key = key.as_ref().zip(key_header);
            Ok(Arc::new(A2a::new(server, &url, key, card_chooses_header)?))
        }
        AssistantProtocol::Webhook => Ok(Arc::new(Webhook::new(server, &url, key.as_ref())?)),
        AssistantProtocol::Pupau => {
            let id = required(spec.assistant_id.as_deref(), "assistantId", "Pupau")?;
            Ok(Arc::new(Pupau::new(server, &url, key_header, id)))
        }
    }
}

/// The assistant's URL, unless the address policy refuses its host.
pub(super) fn checked_url(
    spec: &AssistantSpec,
    client: &AssistantHttpClient,
) -> Result<Url, BuildError> {
    let url = match (spec.url.trim(), spec.protocol) {
        ("", AssistantProtocol::Pupau) => parse_url(pupau::DEFAULT_ROOT)?,
        (url, _) => parse_url(url)?,
    };
    client.address_policy.check_url(&url)?;
    Ok(url)
}

/// What requests carry by the connector's wish.
pub(super) struct RequestHeaders {
    pub(super) configured: HeaderMap,
    pub(super) key: Option<SecretString>,
    /// The header with the key, where the protocol sends it.
    pub(super) key_header: Option<KeyHeader>,
}

impl RequestHeaders {
    pub(super) fn new(
        spec: &AssistantSpec,
        url: &Url,
        credentials: Credentials,
    ) -> Result<Self, BuildError> {
        let configured = configured_headers(spec, &credentials)?;
        let key = credentials.api_key.map(trim_key);
        let key_header = match (&key, spec.protocol) {
            (None, _) | (_, AssistantProtocol::Webhook) => None,
            (Some(key), _) => Some(key_header(spec, url, key)?),
        };
        if let Some(KeyHeader { name, .. }) = &key_header
            && configured.contains_key(name)
        {
            return Err(BuildError::InvalidField {
                field: "headers".into(),
                problem: format!("{name} carries the API key of apiKeySecretRef: remove it here"),
            });
        }
        Ok(Self {
            configured,
            key,
            key_header,
        })
    }
}

/// The field below `spec.assistant` that no Secret's value could make usable, and what is wrong with it: what admission admits because its rules
/// cannot see it.
pub(crate) fn find_invalid_field(spec: &AssistantSpec) -> Option<(String, String)> {
    let url = parse_url(&spec.url).ok()?;
    let value = || SecretString::from("value");
    let headers = spec.headers.iter().flatten().enumerate();
    let from_secrets = headers.filter(|(_, header)| header.value_from.is_some());
    let credentials = Credentials {
        api_key: spec.api_key_secret_ref.as_ref().map(|_| value()),
        header_values: from_secrets.map(|(n, _)| (n, value())).collect(),
    };
    let checked = RequestHeaders::new(spec, &url, credentials)
        .and_then(|headers| OpenAiOptions::new("", spec, headers.key_header));
    match checked {
        Err(BuildError::InvalidField { field, problem }) => Some((field, problem)),
        _ => None,
    }
}

pub(super) fn parse_url(text: &str) -> Result<Url, BuildError> {
    let url: Url = text
        .trim()
        .parse()
        .map_err(|e: url::ParseError| BuildError::InvalidUrl(e.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(BuildError::InvalidUrl("its scheme is another one".into()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(BuildError::InvalidUrl(
            "put the key into a Secret and name it in apiKeySecretRef".into(),
        ));
    }
    Ok(url)
}

fn required<'a>(
    value: Option<&'a str>,
    field: &'static str,
    protocol: &'static str,
) -> Result<&'a str, BuildError> {
    value
        .filter(|v| !v.is_empty())
        .ok_or(BuildError::MissingField { field, protocol })
}

/// Removes surrounding whitespace: Secrets made with `echo` or an editor end in a newline.
pub(super) fn trim_key(key: SecretString) -> SecretString {
    let exposed = key.expose_secret();
    if exposed.trim().len() == exposed.len() {
        key
    } else {
        exposed.trim().into()
    }
}

/// `url` with path segments after its own; its query stays.
pub(super) fn join_path(url: &Url, segments: &[&str]) -> Url {
    let mut joined = url.clone();
    if let Ok(mut path) = joined.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    joined
}

/// A header value that holds a key; marked so that no debug output shows it.
pub(super) fn secret_header_value(
    prefix: &str,
    key: &SecretString,
) -> Result<HeaderValue, BuildError> {
    let mut value = HeaderValue::try_from(format!("{prefix}{}", key.expose_secret()))
        .map_err(|_| BuildError::InvalidKey)?;
    value.set_sensitive(true);
    Ok(value)
}
