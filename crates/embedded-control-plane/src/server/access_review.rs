//! Access reviews: whether somebody may do something (`SelfSubjectAccessReview`, `SubjectAccessReview`).
//!
//! Everybody may do everything except what is denied through [`Faults::deny`](super::Faults::deny) and, once RBAC is enforced, what no role
//! allows. What is denied to whoever calls, or to the user that the caller acts as, is refused too when it is tried.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::ServerState;
use super::caller::Caller;
use super::object::{str_at, value_at};
use super::protobuf;
use super::rbac;
use super::request::{Query, RequestInfo, Verb};
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
            && concerns(&self.resource, &access.resource())
            && concerns(&self.namespace, access.namespace)
    }
}

/// What is to be done, in the words of RBAC.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Access<'a> {
    pub verb: &'a str,
    /// "" is the core group.
    pub group: &'a str,
    pub plural: &'a str,
    pub subresource: &'a str,
    /// "" for a collection, and for every object in a review.
    pub name: &'a str,
    /// "" for every namespace, or a cluster-wide resource.
    pub namespace: &'a str,
    /// A path that is no resource's; else "".
    pub path: &'a str,
}

impl<'a> Access<'a> {
    /// What a request for a resource does. A list or watch of one object alone, by a field selector, is of that object, so that a rule with
    /// `resourceNames` allows it (apiserver `pkg/endpoints/request/requestinfo.go`).
    pub(super) fn of_request(verb: Verb, info: &'a RequestInfo, query: &'a Query) -> Self {
        let name = match verb {
            Verb::List | Verb::Watch if info.name.is_empty() => query.selected_name(),
            _ => &info.name,
        };
        Self {
            verb: verb.as_str(),
            group: &info.group,
            plural: &info.plural,
            subresource: &info.subresource,
            name,
            namespace: &info.namespace,
            path: "",
        }
    }

    /// With its group and part, as [`AccessDenial::resource`] has it.
    fn resource(&self) -> String {
        let mut resource = self.plural.to_owned();
        for (separator, part) in [('.', self.group), ('/', self.subresource)] {
            if !part.is_empty() {
                resource.push(separator);
                resource.push_str(part);
            }
        }
        resource
    }

    /// What a denied request is answered.
    fn forbidden(&self) -> StatusError {
        StatusError::injected(
            403,
            format!(
                "{} is forbidden: the caller cannot {} it in the namespace \"{}\" (denied)",
                self.resource(),
                self.verb,
                self.namespace
            ),
        )
    }

    /// What a request is answered that no role allows.
    fn forbidden_to(&self, user: &str) -> StatusError {
        if !self.path.is_empty() {
            let why = format!("User {user:?} cannot {} path {:?}", self.verb, self.path);
            return StatusError::injected(403, format!("forbidden: {why}"));
        }
        let mut resource = self.plural.to_owned();
        if !self.subresource.is_empty() {
            resource = format!("{resource}/{}", self.subresource);
        }
        let scope = match self.namespace {
            "" => "at the cluster scope".to_owned(),
            namespace => format!("in the namespace {namespace:?}"),
        };
        let why = format!(
            "User {user:?} cannot {} resource {resource:?} in API group {:?} {scope}",
            self.verb, self.group
        );
        StatusError::forbidden_request(self.group, self.plural, self.name, &why)
    }
}

/// Refuses what a denial forbids to the caller and, once RBAC is enforced, what no role allows.
pub(super) fn authorize(
    server: &ServerState,
    caller: &Caller,
    access: &Access<'_>,
) -> Result<(), StatusError> {
    if is_denied(server, caller, access) {
        return Err(access.forbidden());
    }
    if server.rbac_is_enforced()
        && rbac::allows(server, &caller.name, &caller.groups, access).is_none()
    {
        return Err(access.forbidden_to(&caller.name));
    }
    Ok(())
}

/// Whoever acts as another user meets the denials to both.
fn is_denied(server: &ServerState, caller: &Caller, access: &Access<'_>) -> bool {
    server.faults.is_denied(None, access)
        || caller.impersonated && server.faults.is_denied(Some(&caller.name), access)
}

/// The answer to a review; `None` for any other path.
pub(super) fn respond(
    server: &ServerState,
    caller: &Caller,
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
    let reviewing = Access {
        verb: "create",
        group: "authorization.k8s.io",
        plural: resource,
        ..Access::default()
    };
    if let Err(error) = authorize(server, caller, &reviewing) {
        return Some(response::status_error(&error));
    }
    let read = if body.starts_with(b"k8s\0") {
        protobuf::decode_review(body).ok()
    } else {
        serde_json::from_slice::<Value>(body).ok()
    };
    let Some(review) = read else {
        let error = StatusError::bad_request(format!("{kind} cannot be read"));
        return Some(response::status_error(&error));
    };
    let spec = value_at(&review, &["spec"]);
    let answer = json!({
        "apiVersion": GROUP_VERSION,
        "kind": kind,
        "metadata": {},
        "spec": spec,
        "status": verdict(server, caller, resource == "subjectaccessreviews", spec),
    });
    Some(response::json(StatusCode::CREATED, &answer))
}

/// The status of a review.
fn verdict(server: &ServerState, caller: &Caller, of_another: bool, spec: &Value) -> Value {
    let access = asked_access(spec);
    let (denied, user, groups) = if of_another {
        let user = str_at(spec, &["user"]);
        let groups = value_at(spec, &["groups"]).as_array();
        let groups = groups.into_iter().flatten().filter_map(Value::as_str);
        let groups: Vec<String> = groups.map(str::to_owned).collect();
        (server.faults.is_denied(Some(user), &access), user, groups)
    } else {
        let denied = is_denied(server, caller, &access);
        (denied, caller.name.as_str(), caller.groups.clone())
    };
    if denied {
        return json!({"allowed": false});
    }
    if !server.rbac_is_enforced() {
        return json!({"allowed": true});
    }
    match rbac::allows(server, user, &groups, &access) {
        None => json!({"allowed": false}),
        Some(reason) if reason.is_empty() => json!({"allowed": true}),
        Some(reason) => json!({"allowed": true, "reason": reason}),
    }
}

fn asked_access(spec: &Value) -> Access<'_> {
    let attribute = |name: &str| str_at(spec, &["resourceAttributes", name]);
    if value_at(spec, &["nonResourceAttributes"]).is_object() {
        return Access {
            verb: str_at(spec, &["nonResourceAttributes", "verb"]),
            path: str_at(spec, &["nonResourceAttributes", "path"]),
            ..Access::default()
        };
    }
    Access {
        verb: attribute("verb"),
        group: attribute("group"),
        plural: attribute("resource"),
        subresource: attribute("subresource"),
        name: attribute("name"),
        namespace: attribute("namespace"),
        path: "",
    }
}
