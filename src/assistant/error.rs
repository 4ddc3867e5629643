//! What can go wrong with an assistant, in the classes that differ in what to do about them. The one place where errors of
//! the HTTP client and error answers enter: no URL, key, or text of a body gets past it.

use std::error::Error as _;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde_json::Value;

use super::address_policy::AddressRefused;

/// However long an assistant asks us to wait, we look again after this.
const LONGEST_WAIT: Duration = Duration::from_hours(1);

/// Why an exchange with the assistant failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AssistantFault {
    /// No connection, or no answer in time.
    Unreachable,
    /// 401 or 403.
    Unauthorized,
    /// An error answer, or one that makes no sense.
    Failing,
}

impl AssistantFault {
    /// The fault in one word: a metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Unauthorized => "unauthorized",
            Self::Failing => "failing",
        }
    }
}

/// Why there is no answer. Holds neither key nor chat text.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{detail}")]
pub struct AssistantError {
    /// What kind of failure it is for `AssistantReady`.
    pub fault: AssistantFault,
    /// Whether asking again may help.
    pub retryable: bool,
    /// The whole time that an answer may take went by.
    pub timed_out: bool,
    /// How long to wait first, if the assistant said so.
    pub retry_after: Option<std::time::Duration>,
    /// For people.
    pub detail: String,
}

impl AssistantError {
    /// No connection, or no answer in time. Asking again may help.
    pub(super) fn unreachable(detail: impl Into<String>) -> Self {
        Self::of(AssistantFault::Unreachable, true, detail)
    }

    /// No whole answer in the time that it may take.
    pub(super) fn timed_out(detail: impl Into<String>) -> Self {
        Self {
            timed_out: true,
            ..Self::unreachable(detail)
        }
    }

    /// An error that asking again may cure.
    pub(super) fn transient(detail: impl Into<String>) -> Self {
        Self::of(AssistantFault::Failing, true, detail)
    }

    /// An error that stays until somebody changes something.
    pub(super) fn permanent(detail: impl Into<String>) -> Self {
        Self::of(AssistantFault::Failing, false, detail)
    }

    fn of(fault: AssistantFault, retryable: bool, detail: impl Into<String>) -> Self {
        Self {
            fault,
            retryable,
            timed_out: false,
            retry_after: None,
            detail: detail.into(),
        }
    }

    /// No answer from `host`, which `timeout` allows in all.
    ///
    /// Whoever writes a connector reads this in its status, so it is one sentence whether a port is closed, filtered, silent or open for something
    /// else: a connector must not serve as a port scanner. The operator's log has the cause.
    pub(super) fn no_answer(host: &str, timeout: Duration) -> Self {
        Self::unreachable(format!(
            "no connection to {host}, or no answer within {} s (timeoutSeconds); check host and port of url, that the server runs, and that the operator may reach it (the operator's log says more)",
            timeout.as_secs()
        ))
    }

    /// An error of the HTTP client before there was an answer, without the URL (its query may hold a key).
    pub(super) fn from_reqwest(error: &reqwest::Error, host: &str, timeout: Duration) -> Self {
        let mut cause = error.source();
        let mut root = None;
        while let Some(inner) = cause {
            if let Some(refused) = inner.downcast_ref::<AddressRefused>() {
                return Self::permanent(refused.to_string());
            }
            root = Some(inner.to_string());
            cause = inner.source();
        }
        let why = root.unwrap_or_else(|| "the request could not be sent".into());
        if error.is_builder() {
            return Self::permanent(format!("the request to {host} cannot be built: {why}"));
        }
        tracing::info!(host, cause = %why, "no answer from an assistant");
        if error.is_connect() && is_unknown_authority(&why) {
            Self::unreachable(format!(
                "no connection to {host}: nobody whom the operator trusts vouches for its certificate; the administrator can name its authority with --assistant-ca-file"
            ))
        } else if error.is_connect() && why.starts_with(INVALID_CERTIFICATE) {
            Self::unreachable(format!("no connection to {host}: {why}"))
        } else {
            Self::no_answer(host, timeout)
        }
    }

    /// An answer that is not a success. `complaint` is what its body could be understood to say.
    pub(super) fn from_status(
        status: StatusCode,
        headers: &HeaderMap,
        known_error: Option<KnownError>,
    ) -> Self {
        let code = status.as_u16();
        let (fault, retryable, meaning) = match code {
            401 => (
                AssistantFault::Unauthorized,
                true,
                "it does not accept the API key; check apiKeySecretRef",
            ),
            403 => (
                AssistantFault::Unauthorized,
                false,
                "the API key may not do this; check the key's rights",
            ),
            404 => (
                AssistantFault::Failing,
                false,
                "nothing answers at this path; check url",
            ),
            405 => (
                AssistantFault::Failing,
                false,
                "the path takes no such request; check url and protocol",
            ),
            408 | 409 | 425 => (AssistantFault::Failing, true, "it asks to try again"),
            413 => (
                AssistantFault::Failing,
                false,
                "the request is too large for it",
            ),
            415 | 422 | 400 => (
                AssistantFault::Failing,
                false,
                "it does not understand the request; check protocol and url",
            ),
            429 => (AssistantFault::Failing, true, "it has too many requests"),
            300..=399 => (
                AssistantFault::Failing,
                false,
                "redirects are not followed; set url to the final address",
            ),
            500..=599 => (AssistantFault::Failing, true, "it has a fault"),
            _ => (AssistantFault::Failing, false, "the answer makes no sense"),
        };
        let (meaning, retryable) = match known_error {
            Some(c) => (c.meaning(), retryable && c.is_transient()),
            None => (meaning, retryable),
        };
        Self {
            fault,
            timed_out: false,
            retryable,
            retry_after: if retryable {
                retry_after(headers, Timestamp::now())
            } else {
                None
            },
            detail: format!("the assistant answered {code}: {meaning}"),
        }
    }

    /// An error object inside an answer that began as a success.
    pub(super) fn from_error_object(error: &Value) -> Self {
        let status = ["code", "status", "status_code"]
            .iter()
            .find_map(|key| {
                let v = &error[*key];
                v.as_u64().or_else(|| v.as_str()?.parse().ok())
            })
            .and_then(|code| u16::try_from(code).ok())
            .and_then(|code| StatusCode::from_u16(code).ok())
            .filter(|status| status.as_u16() >= 400);
        let known_error = KnownError::from_body(error);
        match (status, known_error) {
            (Some(status), known_error) => {
                Self::from_status(status, &HeaderMap::new(), known_error)
            }
            (None, Some(known_error)) => Self::of(
                AssistantFault::Failing,
                known_error.is_transient(),
                format!("the assistant reported an error: {}", known_error.meaning()),
            ),
            (None, None) => Self::transient("the assistant reported an error within its answer"),
        }
    }
}

/// What an error body complains of. Bodies can echo what was asked and parts of the key, so no word of them is passed on:
/// a body chooses one of these sentences, and no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KnownError {
    /// No model of this name.
    Model,
    /// The conversation is longer than the model takes.
    Length,
    /// The model takes no pictures.
    Pictures,
    /// Credit used up.
    Quota,
    /// A content filter.
    Filtered,
    /// The API key.
    Key,
    /// A parameter the server does not take.
    Parameter,
}

impl KnownError {
    /// Looks for the codes and phrases that servers in use today have.
    pub(super) fn from_body(body: &Value) -> Option<Self> {
        // `{"error": {"message", "type", "code"}}`, `{"error": "text"}`, `{"detail": ...}`, `{"message", "code"}`.
        let error = body.get("error").unwrap_or(body);
        let mut text_lowercase = String::new();
        for value in [
            error,
            &error["code"],
            &error["type"],
            &error["message"],
            &body["detail"],
            &body["message"],
        ] {
            if let Some(text) = value.as_str() {
                text_lowercase.push_str(text);
                text_lowercase.push('\n');
            }
        }
        text_lowercase.make_ascii_lowercase();
        let any = |phrases: &[&str]| phrases.iter().any(|p| text_lowercase.contains(p));
        if text_lowercase.is_empty() {
            None
        } else if any(&[
            "insufficient_quota",
            "exceeded your current quota",
            "budget has been exceeded",
        ]) {
            Some(Self::Quota)
        } else if any(&[
            "context_length_exceeded",
            "maximum context length",
            "context window",
            "exceeds the available context",
        ]) {
            Some(Self::Length)
        } else if any(&[
            "content_filter",
            "content_policy",
            "content management policy",
        ]) {
            Some(Self::Filtered)
        } else if any(&[
            "image_url",
            "image input",
            "multimodal",
            "does not support image",
            "vision",
        ]) {
            Some(Self::Pictures)
        } else if any(&["model_not_found", "invalid model name"])
            || (text_lowercase.contains("model")
                && any(&["not found", "does not exist", "not exist", "unknown model"]))
        {
            Some(Self::Model)
        } else if any(&[
            "invalid_api_key",
            "incorrect api key",
            "invalid api key",
            "invalid x-api-key",
        ]) {
            Some(Self::Key)
        } else if any(&[
            "extra_forbidden",
            "unsupported_parameter",
            "unknown parameter",
            "unrecognized request argument",
        ]) {
            Some(Self::Parameter)
        } else {
            None
        }
    }

    fn meaning(self) -> &'static str {
        match self {
            Self::Model => "it has no model of this name; check model",
            Self::Length => {
                "the conversation is longer than the model takes; lower session.maxMessages"
            }
            Self::Pictures => "the model takes no pictures",
            Self::Quota => "the quota or credit of the API key is used up",
            Self::Filtered => "its content filter refused the request",
            Self::Key => "it does not accept the API key; check apiKeySecretRef",
            Self::Parameter => "it refuses a parameter of the request; check protocol and url",
        }
    }

    /// Whether the same request may succeed later.
    fn is_transient(self) -> bool {
        matches!(self, Self::Key)
    }
}

/// `Retry-After` in seconds or as a date (RFC 9110 10.2.3), at most [`LONGEST_WAIT`].
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if let Ok(seconds) = text.parse::<f64>() {
        Duration::try_from_secs_f64(seconds).ok()?
    } else {
        let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
        Duration::try_from(date.duration_since(now)).unwrap_or(Duration::ZERO)
    };
    Some(wait.min(LONGEST_WAIT))
}

/// How rustls begins the reason for refusing a certificate: expired, made for another name, revoked.
const INVALID_CERTIFICATE: &str = "invalid peer certificate";

/// Whether a certificate was refused because no authority that is trusted made it; one of the same name, but with another key, is
/// another authority.
fn is_unknown_authority(why: &str) -> bool {
    ["UnknownIssuer", "BadSignature"]
        .iter()
        .any(|refused| why.contains(refused))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case("7", Some(7))]
    #[case("0.5", Some(0))]
    #[case("999999", Some(3600))]
    #[case("Wed, 21 Oct 2015 07:28:30 GMT", Some(30))]
    #[case("Wed, 21 Oct 2015 07:00:00 GMT", Some(0))]
    #[case("-3", None)]
    #[case("soon", None)]
    fn retry_after_is_seconds_or_a_date(#[case] text: &str, #[case] seconds: Option<u64>) {
        let now: Timestamp = "2015-10-21T07:28:00Z".parse().expect("a time");
        let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().expect("a value"))]);
        assert_eq!(retry_after(&headers, now).map(|d| d.as_secs()), seconds);
    }

    #[rstest]
    // OpenAI, vLLM, Ollama, LiteLLM, in this order.
    #[case(json!({"error": {"message": "The model `x` does not exist", "code": "model_not_found"}}), Some(KnownError::Model))]
    #[case(json!({"object": "error", "message": "The model `x` does not exist.", "type": "NotFoundError"}), Some(KnownError::Model))]
    #[case(json!({"error": "model \"x\" not found, try pulling it first"}), Some(KnownError::Model))]
    #[case(json!({"error": {"message": "Invalid model name passed in model=x", "code": "400"}}), Some(KnownError::Model))]
    #[case(json!({"error": {"message": "This model's maximum context length is 4096 tokens"}}), Some(KnownError::Length))]
    #[case(json!({"error": {"type": "insufficient_quota"}}), Some(KnownError::Quota))]
    #[case(json!({"error": {"message": "something else"}}), None)]
    #[case(json!([1, 2]), None)]
    fn bodies_of_servers_in_use_are_understood(
        #[case] body: Value,
        #[case] known_error: Option<KnownError>,
    ) {
        assert_eq!(KnownError::from_body(&body), known_error);
    }
}
