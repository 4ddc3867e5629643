//! What a resource refuses a request with.

use std::time::Duration;

/// Why a request is not carried out. The server makes the `Status` of it, with the object's name and resource.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// 404: there is no such object.
    #[error("not found")]
    NotFound,
    /// 409: an object of this name is there.
    #[error("it exists already")]
    AlreadyExists,
    /// 409: the object is in a state, or in a version, in which this cannot be done; the text says which.
    #[error("conflict: {0}")]
    Conflict(String),
    /// 422: fields have values that cannot be.
    #[error("invalid: {}", .0.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect::<Vec<_>>().join(", "))]
    Invalid(Vec<FieldCause>),
    /// 400: the request makes no sense.
    #[error("bad request: {0}")]
    BadRequest(String),
    /// 403: the caller has the right, but a rule of the resource says no; the text says which.
    #[error("forbidden: {0}")]
    Forbidden(String),
    /// 405: this cannot be done with this resource.
    #[error("method not allowed")]
    MethodNotAllowed,
    /// 410: what the client builds on is too old; it has to list anew.
    #[error("expired: {0}")]
    Expired(String),
    /// 429: too often; a client tries again after `retry_after` (whole seconds, at least one).
    #[error("too many requests: {message}")]
    TooManyRequests {
        /// What there is too much of.
        message: String,
        /// When it may be tried again.
        retry_after: Duration,
    },
    /// 503: the storage is away; a client tries again after `retry_after` (whole seconds, at least one).
    #[error("unavailable: {message}")]
    Unavailable {
        /// What is away.
        message: String,
        /// When it may be tried again.
        retry_after: Duration,
    },
    /// 500: a fault of ours. The text is for clients, too: nothing of a person, no secret.
    #[error("internal error: {0}")]
    Internal(String),
}

/// One field that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldCause {
    /// Its path, as in `spec.to.chat`.
    pub field: String,
    /// In which way it is wrong.
    pub reason: CauseReason,
    /// What is wrong, with the value if it may be seen: `Invalid value: "x": must be …`.
    pub message: String,
}

/// In which way a field is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CauseReason {
    /// It lacks.
    Required,
    /// Its value cannot be.
    Invalid,
    /// Its value is none of those that can be.
    NotSupported,
    /// It must not be set, or not by this caller.
    Forbidden,
    /// It is too long.
    TooLong,
    /// What it names is not there.
    NotFound,
}

impl CauseReason {
    /// As a `Status` names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::NotFound => "FieldValueNotFound",
        }
    }

    /// The words that Kubernetes begins the message with.
    fn words(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::NotFound => "Not found",
        }
    }
}

impl FieldCause {
    /// A cause with the words of Kubernetes before `detail`: `Required value: give a chat or a user`.
    pub fn new(field: impl Into<String>, reason: CauseReason, detail: impl AsRef<str>) -> Self {
        Self {
            field: field.into(),
            reason,
            message: format!("{}: {}", reason.words(), detail.as_ref()),
        }
    }
}

impl ApiError {
    /// One field is wrong.
    pub fn invalid(field: impl Into<String>, reason: CauseReason, detail: impl AsRef<str>) -> Self {
        Self::Invalid(vec![FieldCause::new(field, reason, detail)])
    }

    /// The storage is away; clients try again in a second. client-go, and so kubectl, does that ten times before it says what is wrong.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::Unavailable {
            message: message.into(),
            retry_after: Duration::from_secs(1),
        }
    }
}
