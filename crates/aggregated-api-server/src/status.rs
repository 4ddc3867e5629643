//! A refusal as Kubernetes clients read it: they decide by `reason` and `code`, people read `message` (apimachinery `pkg/api/errors`).

use std::time::Duration;

use serde_json::{Value, json};

use crate::caller::{AccessAttributes, Caller};
use crate::error::{ApiError, FieldCause};

/// A refused request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StatusError {
    pub code: u16,
    pub reason: &'static str,
    pub message: String,
    pub details: Value,
}

/// What a refusal is about.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Subject<'a> {
    pub group: &'a str,
    pub kind: &'a str,
    pub resource: &'a str,
    pub name: &'a str,
}

impl Subject<'_> {
    fn qualified(&self) -> String {
        format!("{}.{}", self.resource, self.group)
    }

    fn details(&self) -> Value {
        let mut details = json!({"group": self.group, "kind": self.resource});
        if !self.name.is_empty() {
            details["name"] = self.name.into();
        }
        details
    }
}

impl StatusError {
    pub(crate) fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details: Value::Null,
        }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    pub(crate) fn path_not_found() -> Self {
        Self::new(
            404,
            "NotFound",
            "the server could not find the requested resource",
        )
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        )
    }

    pub(crate) fn not_acceptable() -> Self {
        Self::new(
            406,
            "NotAcceptable",
            "only the following media types are accepted: application/json",
        )
    }

    pub(crate) fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    pub(crate) fn too_large(limit: usize) -> Self {
        Self::new(
            413,
            "RequestEntityTooLarge",
            format!("Request entity too large: limit is {limit}"),
        )
    }

    pub(crate) fn unsupported_media_type() -> Self {
        Self::new(
            415,
            "UnsupportedMediaType",
            "the body of the request was in an unknown format - accepted media types include: application/json",
        )
    }

    pub(crate) fn timeout() -> Self {
        Self::new(
            504,
            "Timeout",
            "request did not complete within the allotted timeout",
        )
    }

    pub(crate) fn precondition_failed(subject: Subject<'_>, what: &str) -> Self {
        Self::from_error(
            ApiError::Conflict(format!("Precondition failed: {what}")),
            subject,
        )
    }

    /// Kubernetes' own sentence for what RBAC does not allow.
    pub(crate) fn forbidden(
        caller: &Caller,
        attributes: &AccessAttributes,
        why: &str,
        subject: Subject<'_>,
    ) -> Self {
        let resource = if attributes.subresource.is_empty() {
            attributes.resource.clone()
        } else {
            format!("{}/{}", attributes.resource, attributes.subresource)
        };
        let scope = if attributes.namespace.is_empty() {
            "at the cluster scope".to_owned()
        } else {
            format!("in the namespace \"{}\"", attributes.namespace)
        };
        let mut sentence = format!(
            "User \"{}\" cannot {} resource \"{resource}\" in API group \"{}\" {scope}",
            caller.user, attributes.verb, attributes.group
        );
        if !why.is_empty() {
            sentence = format!("{sentence}: {why}");
        }
        Self::from_error(ApiError::Forbidden(sentence), subject)
    }

    /// What a resource says, with the words of Kubernetes around it.
    pub(crate) fn from_error(error: ApiError, subject: Subject<'_>) -> Self {
        let qualified = subject.qualified();
        let named = if subject.name.is_empty() {
            qualified.clone()
        } else {
            format!("{qualified} \"{}\"", subject.name)
        };
        let mut status = match error {
            ApiError::NotFound => Self::new(404, "NotFound", format!("{named} not found")),
            ApiError::AlreadyExists => {
                Self::new(409, "AlreadyExists", format!("{named} already exists"))
            }
            ApiError::Conflict(why) => Self::new(
                409,
                "Conflict",
                format!("Operation cannot be fulfilled on {named}: {why}"),
            ),
            ApiError::Invalid(causes) => return Self::invalid(&causes, subject),
            ApiError::BadRequest(why) => return Self::bad_request(why),
            ApiError::Forbidden(why) => {
                Self::new(403, "Forbidden", format!("{named} is forbidden: {why}"))
            }
            ApiError::MethodNotAllowed => return Self::method_not_allowed(),
            ApiError::Expired(why) => return Self::expired(why),
            ApiError::TooManyRequests {
                message,
                retry_after,
            } => return Self::new(429, "TooManyRequests", message).retry_after(retry_after),
            ApiError::Unavailable {
                message,
                retry_after,
            } => return Self::new(503, "ServiceUnavailable", message).retry_after(retry_after),
            ApiError::Internal(why) => {
                tracing::error!(resource = subject.resource, %why, "a request of the data API failed");
                return Self::new(
                    500,
                    "InternalError",
                    format!("Internal error occurred: {why}"),
                );
            }
        };
        status.details = subject.details();
        status
    }

    fn invalid(causes: &[FieldCause], subject: Subject<'_>) -> Self {
        let texts: Vec<String> = causes
            .iter()
            .map(|cause| format!("{}: {}", cause.field, cause.message))
            .collect();
        let what = match texts.as_slice() {
            [one] => one.clone(),
            several => format!("[{}]", several.join(", ")),
        };
        let message = format!(
            "{}.{} \"{}\" is invalid: {what}",
            subject.kind, subject.group, subject.name
        );
        let mut status = Self::new(422, "Invalid", message);
        status.details = subject.details();
        status.details["kind"] = subject.kind.into();
        status.details["causes"] = causes
            .iter()
            .map(|cause| {
                json!({"reason": cause.reason.as_str(), "message": cause.message, "field": cause.field})
            })
            .collect();
        status
    }

    fn retry_after(mut self, after: Duration) -> Self {
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        self.details = json!({"retryAfterSeconds": seconds.max(1)});
        self
    }

    /// After how many seconds a client should try again.
    pub(crate) fn retry_after_seconds(&self) -> Option<u64> {
        self.details.get("retryAfterSeconds")?.as_u64()
    }

    /// The object that is sent.
    pub(crate) fn to_value(&self) -> Value {
        let mut status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code});
        if !self.details.is_null() {
            status["details"] = self.details.clone();
        }
        status
    }
}
