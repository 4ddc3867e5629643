//! Access reviews: whether somebody may do something (`SelfSubjectAccessReview`, `SubjectAccessReview`).
//!
//! There is no RBAC: everybody may do everything except what is denied through [`Faults::deny`](super::Faults::deny). What is denied to whoever
//! calls is refused too when it is tried; there is no authentication, so that a denial to a named user shows in reviews only.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::ServerState;
use super::object::{str_at, value_at};
use super::response::{self, ApiResponse};
use super::status_error::StatusError;

const GROUP_VERSION: &str = "authorization.k8s.io/v1";

/// Something that somebody may not do. Every part that is `None` means all.
#[derive(Debug, Clone, Default)]
pub struct AccessDenial {
    user: Option<String>,
    verb: Option<String>,
    resource: Option<String>,
    namespace: Option<String>,
}

impl AccessDenial {
    /// Everything, to whoever calls.
    pub fn to_caller() -> Self {
        Self::default()
    }

    /// Everything, to this user, such as `system:serviceaccount:default:operator`.
    pub fn to_user(user: impl Into<String>) -> Self {
        Self {
            user: Some(user.into()),
            ..Self::default()
        }
    }

    /// Only this verb: `get`, `list`.
    #[must_use]
    pub fn verb(mut self, verb: impl Into<String>) -> Self {
        self.verb = Some(verb.into());
        self
    }

    /// Only this resource with its group and part: `secrets`, `telegramconnectors.connectors.pupau.ai/status`.
    #[must_use]
    pub fn resource(mut self, resource: impl Into<String>) -> Self {
        self.resource = Some(resource.into());
        self
    }

    /// Only in this namespace.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    pub(super) fn forbids(&self, user: Option<&str>, access: &Access<'_>) -> bool {
        let concerns =
            |part: &Option<String>, asked: &str| part.as_deref().is_none_or(|part| part == asked);
        self.user.as_deref() == user
            && concerns(&self.verb, access.verb)
            && concerns(&self.resource, &access.resource)
            && concerns(&self.namespace, access.namespace)
    }
}

/// What is to be done, in the words of RBAC.
pub(super) struct Access<'a> {
    pub verb: &'a str,
    /// With its group and part, as [`AccessDenial::resource`] has it.
    pub resource: String,
    pub namespace: &'a str,
}

impl Access<'_> {
    /// What a denied request is answered.
    pub(super) fn forbidden(&self) -> StatusError {
        StatusError::injected(
            403,
            format!(
                "{} is forbidden: the caller cannot {} it in the namespace \"{}\" (denied)",
                self.resource, self.verb, self.namespace
            ),
        )
    }
}

/// The answer to a review; `None` for any other path.
pub(super) fn respond(
    server: &ServerState,
    path: &str,
    method: &Method,
    body: &[u8],
) -> Option<ApiResponse> {
    let resource = path.strip_prefix("/apis/authorization.k8s.io/v1/")?;
    let kind = match resource {
        "selfsubjectaccessreviews" => "SelfSubjectAccessReview",
        "subjectaccessreviews" => "SubjectAccessReview",
        _ => return None,
    };
    if *method != Method::POST {
        return Some(response::status_error(&StatusError::method_not_allowed()));
    }
    let Ok(review) = serde_json::from_slice::<Value>(body) else {
        let error = StatusError::bad_request(format!("{kind} cannot be read: it is no JSON"));
        return Some(response::status_error(&error));
    };
    let spec = value_at(&review, &["spec"]);
    let user = (resource == "subjectaccessreviews").then(|| str_at(spec, &["user"]));
    let denied = server.faults.is_denied(user, &asked_access(spec));
    let answer = json!({
        "apiVersion": GROUP_VERSION,
        "kind": kind,
        "metadata": {},
        "spec": spec,
        "status": {"allowed": !denied},
    });
    Some(response::json(StatusCode::CREATED, &answer))
}

fn asked_access(spec: &Value) -> Access<'_> {
    let attribute = |name: &str| str_at(spec, &["resourceAttributes", name]);
    let mut resource = attribute("resource").to_owned();
    for (separator, part) in [('.', attribute("group")), ('/', attribute("subresource"))] {
        if !part.is_empty() {
            resource.push(separator);
            resource.push_str(part);
        }
    }
    Access {
        verb: attribute("verb"),
        resource,
        namespace: attribute("namespace"),
    }
}
