//! What a request is refused with: the API server's `Status`, its reasons, codes and texts.
//!
//! Clients decide by `reason` and `code` and people read `message`, so all three are the real server's
//! (apimachinery `pkg/api/errors`).

use crate::schema::StatusCause;
use serde_json::{Value, json};

use super::kinds::Kind;

/// A refused request, as the client will read it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StatusError {
    pub code: u16,
    pub reason: &'static str,
    pub message: String,
    pub details: Value,
}

impl StatusError {
    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details: Value::Null,
        }
    }

    fn with_details(mut self, kind: &Kind, name: &str) -> Self {
        self.details = json!({"name": name, "kind": kind.plural});
        if !kind.group.is_empty() {
            self.details["group"] = json!(kind.group);
        }
        self
    }

    /// A fault for which the real server has no reason of its own.
    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self::new(500, "", message)
    }

    /// A JSON patch that cannot be carried out.
    pub(super) fn invalid_patch() -> Self {
        let mut error = Self::new(
            422,
            "Invalid",
            "the server rejected our request due to an error in our request",
        );
        error.details = json!({});
        error
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub(super) fn not_found(kind: &Kind, name: &str) -> Self {
        Self::new(
            404,
            "NotFound",
            format!("{} \"{name}\" not found", kind.resource()),
        )
        .with_details(kind, name)
    }

    /// The path itself leads nowhere.
    pub(super) fn path_not_found() -> Self {
        let mut error = Self::new(
            404,
            "NotFound",
            "the server could not find the requested resource",
        );
        error.details = json!({});
        error
    }

    pub(super) fn namespace_not_found(name: &str) -> Self {
        let mut error = Self::new(404, "NotFound", format!("namespaces \"{name}\" not found"));
        error.details = json!({"name": name, "kind": "namespaces"});
        error
    }

    pub(super) fn method_not_allowed() -> Self {
        let mut error = Self::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        );
        error.details = json!({});
        error
    }

    pub(super) fn already_exists(kind: &Kind, name: &str) -> Self {
        Self::new(
            409,
            "AlreadyExists",
            format!("{} \"{name}\" already exists", kind.resource()),
        )
        .with_details(kind, name)
    }

    pub(super) fn conflict(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{name}\": {why}",
            kind.resource()
        );
        Self::new(409, "Conflict", message).with_details(kind, name)
    }

    /// The write was made against an older version.
    pub(super) fn object_modified(kind: &Kind, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(kind, name, why)
    }

    /// Server-side apply met fields of other managers: (manager as the message names it, field path).
    pub(super) fn apply_conflict(conflicts: &[(String, String)]) -> Self {
        let mut by_manager: Vec<(&str, Vec<&str>)> = Vec::new();
        for (manager, field) in conflicts {
            match by_manager.iter_mut().find(|(known, _)| known == manager) {
                Some((_, fields)) => fields.push(field),
                None => by_manager.push((manager, vec![field])),
            }
        }
        let plural = if conflicts.len() == 1 {
            "conflict"
        } else {
            "conflicts"
        };
        let what = match by_manager.as_slice() {
            [(manager, fields)] if fields.len() == 1 => {
                format!("conflict with {manager}: {}", fields[0])
            }
            several => {
                let lines = several.iter().map(|(manager, fields)| {
                    let fields: Vec<String> =
                        fields.iter().map(|field| format!("- {field}")).collect();
                    format!("conflicts with {manager}:\n{}", fields.join("\n"))
                });
                lines.collect::<Vec<_>>().join("\n")
            }
        };
        let mut error = Self::new(
            409,
            "Conflict",
            format!("Apply failed with {} {plural}: {what}", conflicts.len()),
        );
        let causes: Vec<Value> = conflicts
            .iter()
            .map(|(manager, field)| {
                json!({"reason": "FieldManagerConflict", "message": format!("conflict with {manager}"), "field": field})
            })
            .collect();
        error.details = json!({"causes": causes});
        error
    }

    /// A precondition of a deletion does not hold. Custom resources are named by their kind here.
    pub(super) fn precondition_failed(kind: &Kind, name: &str, why: &str) -> Self {
        let mut error = Self::conflict(kind, name, why);
        if kind.is_custom() {
            error.message = error.message.replacen(
                &kind.resource(),
                &format!("{}.{}", kind.kind, kind.group),
                1,
            );
            error.details["kind"] = json!(kind.kind);
        }
        error
    }

    pub(super) fn forbidden(kind: &Kind, name: &str, why: &str) -> Self {
        Self::new(
            403,
            "Forbidden",
            format!("{} \"{name}\" is forbidden: {why}", kind.resource()),
        )
        .with_details(kind, name)
    }

    /// What no role allows; `name` is "" for a collection.
    pub(super) fn forbidden_request(group: &str, plural: &str, name: &str, why: &str) -> Self {
        let mut resource = plural.to_owned();
        let mut details = json!({"kind": plural});
        if !group.is_empty() {
            resource = format!("{plural}.{group}");
            details["group"] = json!(group);
        }
        if !name.is_empty() {
            resource = format!("{resource} {name:?}");
            details["name"] = json!(name);
        }
        let mut error = Self::new(403, "Forbidden", format!("{resource} is forbidden: {why}"));
        error.details = details;
        error
    }

    /// The object breaks its schema, a rule, or a rule of all objects.
    pub(super) fn invalid(kind: &Kind, name: &str, causes: &[StatusCause]) -> Self {
        let lines: Vec<String> = causes.iter().map(StatusCause::to_string).collect();
        let text = if lines.len() == 1 {
            lines[0].clone()
        } else {
            format!("[{}]", lines.join(", "))
        };
        let qualified = if kind.group.is_empty() {
            kind.kind.clone()
        } else {
            format!("{}.{}", kind.kind, kind.group)
        };
        let mut error = Self::new(
            422,
            "Invalid",
            format!("{qualified} \"{name}\" is invalid: {text}"),
        );
        let causes: Vec<Value> = causes
            .iter()
            .map(|cause| json!({"reason": cause.reason, "message": cause.message, "field": cause.field}))
            .collect();
        error.details = json!({"kind": kind.kind, "causes": causes});
        if !name.is_empty() {
            error.details["name"] = json!(name);
        }
        if !kind.group.is_empty() {
            error.details["group"] = json!(kind.group);
        }
        error
    }

    /// The query of a request is contradictory.
    pub(super) fn invalid_options(options: &str, cause: &StatusCause) -> Self {
        let message = format!("{options}.meta.k8s.io \"\" is invalid: {cause}");
        let mut error = Self::new(422, "Invalid", message);
        error.details = json!({"group": "meta.k8s.io", "kind": options,
            "causes": [{"reason": cause.reason, "message": cause.message, "field": cause.field}]});
        error
    }

    /// An option of a request has a value that is none of the known ones.
    pub(super) fn unsupported_option(
        options: &str,
        field: &str,
        value: &str,
        known: &[&str],
    ) -> Self {
        let known: Vec<Value> = known.iter().copied().map(Value::from).collect();
        let cause = StatusCause::unsupported(field, &Value::from(value), &known);
        Self::invalid_options(options, &cause)
    }

    pub(super) fn unsupported_media_type(accepted: &[&str]) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            accepted.join(", ")
        );
        Self::new(415, "UnsupportedMediaType", message)
    }

    pub(super) fn not_acceptable(accepted: &[&str]) -> Self {
        let message = format!(
            "only the following media types are accepted: {}",
            accepted.join(", ")
        );
        Self::new(406, "NotAcceptable", message)
    }

    /// The history that the client asks for is gone.
    pub(super) fn expired(wanted: u64, oldest: u64) -> Self {
        Self::new(
            410,
            "Expired",
            format!("too old resource version: {wanted} ({oldest})"),
        )
    }

    /// A continue token outlived the history it leans on.
    pub(super) fn continue_expired() -> Self {
        let message = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";
        Self::new(410, "Expired", message)
    }

    /// The client knows a version that does not exist yet.
    pub(super) fn resource_version_too_large(wanted: u64, current: u64) -> Self {
        let message = format!("Timeout: Too large resource version: {wanted}, current: {current}");
        let mut error = Self::new(504, "Timeout", message);
        error.details = json!({"causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1});
        error
    }

    /// An injected fault: any code, with the reason that the real server gives it.
    pub(super) fn injected(code: u16, message: impl Into<String>) -> Self {
        let reason = match code {
            400 => "BadRequest",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "NotFound",
            409 => "Conflict",
            410 => "Expired",
            422 => "Invalid",
            429 => "TooManyRequests",
            500 => "InternalError",
            503 => "ServiceUnavailable",
            504 => "Timeout",
            _ => "Unknown",
        };
        Self::new(code, reason, message)
    }

    pub(super) fn with_cause(mut self, reason: &str, field: &str, message: &str) -> Self {
        self.details["causes"] = json!([{"reason": reason, "message": message, "field": field}]);
        self
    }

    /// As a `Status` object.
    pub(super) fn to_status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            status["reason"] = json!(self.reason);
        }
        if !self.details.is_null() {
            status["details"] = self.details.clone();
        }
        status
    }
}

/// The `Status` of a request that has nothing else to return: a finished deletion.
pub(super) fn success_status(kind: &Kind, name: &str, uid: &str) -> Value {
    let mut status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
        "details": {"name": name, "kind": kind.plural, "uid": uid}});
    if !kind.group.is_empty() {
        status["details"]["group"] = json!(kind.group);
    }
    status
}
