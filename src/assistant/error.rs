//! What can go wrong with an assistant, in the kinds that differ in what is done about them and what people are told. The one place where
//! errors of the HTTP client and error answers enter: no URL, key, or text of a body gets past it.

mod error_body;

use std::error::Error;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde_json::Value;

use super::address_policy::AddressRefused;
use error_body::Complaint;
pub(super) use error_body::ErrorBody;

/// However long an assistant asks us to wait, we look again after this.
const LONGEST_WAIT: Duration = Duration::from_hours(1);

/// Why an exchange with the assistant failed, as `AssistantReady` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum AssistantFault {
    /// No connection, or no answer in time.
    Unreachable,
    /// The API key is not accepted, or may not do this.
    Unauthorized,
    /// An error answer, or one that makes no sense.
    Failing,
}

/// Why there is no whole answer: decides what the user is told and whether asking again may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// No connection, or one that broke.
    Unreachable,
    /// No whole answer within `timeoutSeconds`.
    TimedOut,
    /// The API key is missing or not accepted (401): every question fails until the Secret changes.
    KeyRefused,
    /// The API key may not do this (403).
    Forbidden,
    /// Too many requests at once (429).
    Overloaded,
    /// The quota or credit of the API key is used up (402).
    QuotaExhausted,
    /// The conversation is longer than the model's context.
    ContextFull,
    /// A content filter refused the question.
    Filtered,
    /// The model takes no pictures.
    PicturesRefused,
    /// The model takes no files, or none of this type.
    FilesRefused,
    /// A fault of the assistant's own (5xx), or an error that it reports without a reason.
    ServerFault,
    /// The agent says that it could not do what it was asked.
    TaskFailed,
    /// The question, or the answer, is larger than what is carried.
    TooLarge,
    /// Somebody must change the connector: model, url, protocol, a parameter.
    Misconfigured,
}

impl FailureKind {
    /// All kinds.
    pub const ALL: [Self; 14] = [
        Self::Unreachable,
        Self::TimedOut,
        Self::KeyRefused,
        Self::Forbidden,
        Self::Overloaded,
        Self::QuotaExhausted,
        Self::ContextFull,
        Self::Filtered,
        Self::PicturesRefused,
        Self::FilesRefused,
        Self::ServerFault,
        Self::TaskFailed,
        Self::TooLarge,
        Self::Misconfigured,
    ];

    /// The fault that the condition `AssistantReady` names.
    pub fn fault(self) -> AssistantFault {
        match self {
            Self::Unreachable | Self::TimedOut => AssistantFault::Unreachable,
            Self::KeyRefused | Self::Forbidden => AssistantFault::Unauthorized,
            Self::Overloaded
            | Self::QuotaExhausted
            | Self::ContextFull
            | Self::Filtered
            | Self::PicturesRefused
            | Self::FilesRefused
            | Self::ServerFault
            | Self::TaskFailed
            | Self::TooLarge
            | Self::Misconfigured => AssistantFault::Failing,
        }
    }

    /// The kind in snake case: the metric label `result`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed_out",
            Self::KeyRefused => "key_refused",
            Self::Forbidden => "forbidden",
            Self::Overloaded => "overloaded",
            Self::QuotaExhausted => "quota_exhausted",
            Self::ContextFull => "context_full",
            Self::Filtered => "filtered",
            Self::PicturesRefused => "pictures_refused",
            Self::FilesRefused => "files_refused",
            Self::ServerFault => "server_fault",
            Self::TaskFailed => "task_failed",
            Self::TooLarge => "too_large",
            Self::Misconfigured => "misconfigured",
        }
    }

    /// Whether the same question may succeed later, although nobody changes anything.
    pub(crate) fn is_transient(self) -> bool {
        matches!(
            self,
            Self::Unreachable | Self::TimedOut | Self::Overloaded | Self::ServerFault
        )
    }
}

/// How far a question came before it failed: what may have happened by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QuestionProgress {
    /// It never arrived, or was refused: nothing has happened.
    NotTaken,
    /// It may have arrived; nothing of an answer has come.
    Uncertain,
    /// The assistant has begun to answer it, or to work on it.
    Begun,
}

/// Why there is no answer, or no whole one. Holds neither key nor chat text.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{detail}")]
pub struct AssistantError {
    /// What kind of failure it is.
    pub kind: FailureKind,
    /// How far the question came.
    pub progress: QuestionProgress,
    /// How long to wait before asking again, if the assistant said so.
    pub retry_after: Option<Duration>,
    /// For the administrator: what failed, and the field to change where there is one.
    pub detail: String,
}

impl AssistantError {
    /// A failure before the assistant took the question.
    pub(super) fn new(kind: FailureKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            progress: QuestionProgress::NotTaken,
            retry_after: None,
            detail: detail.into(),
        }
    }

    /// The same failure, once the question had come so far; never less far than it had.
    #[must_use]
    pub(crate) fn at_progress(self, progress: QuestionProgress) -> Self {
        Self {
            progress: self.progress.max(progress),
            ..self
        }
    }

    /// No connection, or one that broke.
    pub(super) fn unreachable(detail: impl Into<String>) -> Self {
        Self::new(FailureKind::Unreachable, detail)
    }

    /// No whole answer in the time that it may take.
    pub(super) fn timed_out(detail: impl Into<String>) -> Self {
        Self::new(FailureKind::TimedOut, detail).at_progress(QuestionProgress::Uncertain)
    }

    /// A fault over there that asking again may cure.
    pub(super) fn server_fault(detail: impl Into<String>) -> Self {
        Self::new(FailureKind::ServerFault, detail)
    }

    /// An error that stays until somebody changes the connector.
    pub(super) fn misconfigured(detail: impl Into<String>) -> Self {
        Self::new(FailureKind::Misconfigured, detail)
    }

    /// Whether the same question may be asked again by itself: it may succeed, and the assistant has not begun to answer it.
    pub fn is_retryable(&self) -> bool {
        self.kind.is_transient() && self.progress != QuestionProgress::Begun
    }

    /// Whether the assistant may take the same question with less history: it refused it for its length.
    pub(crate) fn is_too_long(&self) -> bool {
        matches!(self.kind, FailureKind::ContextFull | FailureKind::TooLarge)
            && self.progress == QuestionProgress::NotTaken
    }

    /// The fault that the condition `AssistantReady` names.
    pub fn fault(&self) -> AssistantFault {
        self.kind.fault()
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

    /// An error of reqwest before there was an answer, without the URL (its query may hold a key).
    pub(super) fn from_reqwest(error: &reqwest::Error, host: &str, timeout: Duration) -> Self {
        if error.is_builder() {
            let why = root_cause(error);
            return Self::misconfigured(format!("the request to {host} cannot be built: {why}"));
        }
        Self::from_http_client(error, error.is_connect(), host, timeout)
    }

    /// An error of an HTTP client before there was an answer. `is_connect`: before there was a connection.
    pub(super) fn from_http_client(
        error: &dyn Error,
        is_connect: bool,
        host: &str,
        timeout: Duration,
    ) -> Self {
        let mut causes = causes(error);
        if let Some(refused) = causes.find_map(|cause| cause.downcast_ref::<AddressRefused>()) {
            return Self::misconfigured(refused.to_string());
        }
        let why = root_cause(error);
        tracing::info!(host, cause = %why, "no answer from an assistant");
        if is_connect && is_unknown_authority(&why) {
            Self::unreachable(format!(
                "no connection to {host}: nobody whom the operator trusts vouches for its certificate; the administrator can name its authority with --assistant-ca-file"
            ))
        } else if is_connect && why.starts_with(INVALID_CERTIFICATE) {
            Self::unreachable(format!("no connection to {host}: {why}"))
        } else if is_connect {
            Self::no_answer(host, timeout)
        } else {
            // The connection broke after the request, or a part of it, was sent.
            Self::no_answer(host, timeout).at_progress(QuestionProgress::Uncertain)
        }
    }

    /// An answer that is not a success.
    pub(super) fn from_status(status: StatusCode, headers: &HeaderMap, body: &ErrorBody) -> Self {
        let code = status.as_u16();
        let (kind, meaning) = match (code, body.complaint) {
            // These say it themselves, whatever the body echoes; but a key without credit may be refused like a wrong one.
            (401, Some(complaint)) if complaint != Complaint::Quota => meaning_of_status(code),
            (402, _) | (_, None) => meaning_of_status(code),
            (_, Some(complaint)) => (complaint.kind(), complaint.meaning()),
        };
        let error = Self {
            kind,
            progress: match code {
                // A gateway gave up waiting for whoever works on it.
                408 | 504 | 524 => QuestionProgress::Uncertain,
                _ => QuestionProgress::NotTaken,
            },
            retry_after: None,
            detail: format!("the assistant answered {code}: {meaning}"),
        };
        let retry_after = retry_after(headers, Timestamp::now()).or(body.retry_after);
        Self {
            retry_after: retry_after
                .filter(|_| kind.is_transient())
                .map(|wait| wait.min(LONGEST_WAIT)),
            ..error
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
        let body = ErrorBody::read(error);
        match (status, body.complaint) {
            (Some(status), _) => Self::from_status(status, &HeaderMap::new(), &body),
            (None, Some(complaint)) => Self::new(
                complaint.kind(),
                format!("the assistant reported an error: {}", complaint.meaning()),
            ),
            (None, None) => Self::server_fault(
                "the assistant reported an error within its answer; look into its log",
            ),
        }
    }
}

/// The causes of an error, the nearest first.
fn causes(error: &dyn Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |cause| (*cause).source())
}

/// The words of the last cause.
fn root_cause(error: &dyn Error) -> String {
    let root = causes(error).last().map(ToString::to_string);
    root.unwrap_or_else(|| "the request could not be sent".into())
}

/// What a status means of which the body says nothing.
fn meaning_of_status(code: u16) -> (FailureKind, &'static str) {
    match code {
        401 => (
            FailureKind::KeyRefused,
            "it does not accept the API key; check apiKeySecretRef",
        ),
        402 => (FailureKind::QuotaExhausted, Complaint::Quota.meaning()),
        403 => (
            FailureKind::Forbidden,
            "the API key may not do this; check the key's rights",
        ),
        404 => (
            FailureKind::Misconfigured,
            "nothing answers at this path; check url",
        ),
        405 => (
            FailureKind::Misconfigured,
            "the path takes no such request; check url and protocol",
        ),
        408 | 409 | 425 => (FailureKind::ServerFault, "it asks to try again"),
        413 => (
            FailureKind::TooLarge,
            "the request is too large for it; raise the limit there, or of the proxy before it, or lower session.maxMessages",
        ),
        400 | 415 | 422 => (
            FailureKind::Misconfigured,
            "it does not understand the request; check protocol and url",
        ),
        429 => (FailureKind::Overloaded, Complaint::Overloaded.meaning()),
        300..=399 => (
            FailureKind::Misconfigured,
            "redirects are not followed; set url to the final address",
        ),
        500..=599 => (
            FailureKind::ServerFault,
            "it has a fault; look into its log",
        ),
        _ => (
            FailureKind::Misconfigured,
            "the answer makes no sense; check protocol and url",
        ),
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
}
