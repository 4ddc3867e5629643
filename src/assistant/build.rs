//! From `spec.assistant` and its key to something that answers. Whatever can be known to be wrong is said here, before the
//! first message.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::a2a::A2a;
use super::exchange::Peer;
use super::guard::Refused;
use super::openai::OpenAi;
use super::pupau::{self, Pupau};
use super::webhook::Webhook;
use super::{Assistant, AssistantContext};
use crate::api::connector::{AssistantProtocol, AssistantSpec};

/// `timeoutSeconds` where the spec has none.
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(2);

/// Why an assistant cannot be built. Holds no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// The URL is none that can be called.
    #[error("spec.assistant.url is not an http(s) URL without user info: {0}")]
    Url(String),
    /// A field that the protocol needs is missing.
    #[error("spec.assistant.{field} is missing; protocol {protocol} needs it")]
    Missing {
        /// The field.
        field: &'static str,
        /// The protocol.
        protocol: &'static str,
    },
    /// The guard refuses the URL's host.
    #[error("spec.assistant.url: {0}")]
    Refused(#[from] Refused),
    /// No header can carry the key.
    #[error(
        "the API key holds characters that no HTTP header can carry; check the Secret of spec.assistant.apiKeySecretRef"
    )]
    Key,
    /// A `whsec_` key that is no Base64.
    #[error(
        "the API key begins with whsec_, but the rest is not Base64; check the Secret of spec.assistant.apiKeySecretRef"
    )]
    SigningKey,
    /// The HTTP client could not be made.
    #[error("the HTTP client cannot start: {0}")]
    Http(String),
}

/// Builds the assistant of a connector. Sends nothing.
///
/// # Errors
/// [`BuildError`], which says what to change in the connector.
pub fn build(
    spec: &AssistantSpec,
    api_key: Option<SecretString>,
    context: &AssistantContext,
) -> Result<Arc<dyn Assistant>, BuildError> {
    let url = match (spec.url.trim(), spec.protocol) {
        ("", AssistantProtocol::Pupau) => parse_url(pupau::DEFAULT_ROOT)?,
        (url, _) => parse_url(url)?,
    };
    context.guard.check_url(&url)?;
    let timeout = spec
        .timeout_seconds
        .and_then(|s| u64::try_from(s).ok())
        .map_or(DEFAULT_TIMEOUT, Duration::from_secs);
    let peer = Peer::new(context, &url, timeout);
    let key = api_key.map(trimmed);
    match spec.protocol {
        AssistantProtocol::OpenAI => {
            let model = required(spec.model.as_deref(), "model", "OpenAI")?;
            let prompt = spec.system_prompt.as_deref();
            Ok(Arc::new(OpenAi::new(
                peer,
                &url,
                key.as_ref(),
                model,
                prompt,
            )?))
        }
        AssistantProtocol::A2A => Ok(Arc::new(A2a::new(peer, &url, key.as_ref())?)),
        AssistantProtocol::Webhook => Ok(Arc::new(Webhook::new(peer, &url, key.as_ref())?)),
        AssistantProtocol::Pupau => {
            let id = required(spec.assistant_id.as_deref(), "assistantId", "Pupau")?;
            Ok(Arc::new(Pupau::new(peer, &url, key.as_ref(), id)?))
        }
    }
}

pub(super) fn parse_url(text: &str) -> Result<Url, BuildError> {
    let url: Url = text
        .trim()
        .parse()
        .map_err(|e: url::ParseError| BuildError::Url(e.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(BuildError::Url("its scheme is another one".into()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(BuildError::Url(
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
        .ok_or(BuildError::Missing { field, protocol })
}

/// Secrets made with `echo` or an editor end in a line end that belongs to nobody.
pub(super) fn trimmed(key: SecretString) -> SecretString {
    let exposed = key.expose_secret();
    if exposed.trim().len() == exposed.len() {
        key
    } else {
        exposed.trim().into()
    }
}

/// `url` with path segments after its own; its query stays.
pub(super) fn below(url: &Url, segments: &[&str]) -> Url {
    let mut below = url.clone();
    if let Ok(mut path) = below.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    below
}

/// A header value that holds a key; marked so that no debug output shows it.
pub(super) fn secret_value(prefix: &str, key: &SecretString) -> Result<HeaderValue, BuildError> {
    let mut value = HeaderValue::try_from(format!("{prefix}{}", key.expose_secret()))
        .map_err(|_| BuildError::Key)?;
    value.set_sensitive(true);
    Ok(value)
}
