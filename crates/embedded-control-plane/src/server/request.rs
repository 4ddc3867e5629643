//! What a request asks: path, query and headers, read once.

use http::{HeaderMap, Method, Uri, header};

use super::status_error::StatusError;

/// A place in the API: which resource, where, and which part of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct RequestInfo {
    /// "" is the core group.
    pub group: String,
    pub version: String,
    /// "" for every namespace, or a cluster-wide resource.
    pub namespace: String,
    pub plural: String,
    /// "" for the whole collection.
    pub name: String,
    /// "" or `status`, `finalize`, …
    pub subresource: String,
}

impl RequestInfo {
    /// Reads `/api/v1/…` and `/apis/<group>/<version>/…`; `None` for every other path and for the roots themselves.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let mut parts = path.trim_matches('/').split('/').map(decode);
        let group = match parts.next()?.as_str() {
            "api" => String::new(),
            "apis" => parts.next()?,
            _ => return None,
        };
        let version = parts.next()?;
        let rest: Vec<String> = parts.collect();
        let mut info = Self {
            group,
            version,
            ..Self::default()
        };
        let rest = match rest.as_slice() {
            [first, namespace, plural, more @ ..]
                if first == "namespaces"
                    && !(more.is_empty() && info.is_namespace_part(plural)) =>
            {
                info.namespace.clone_from(namespace);
                info.plural.clone_from(plural);
                more
            }
            [plural, more @ ..] => {
                info.plural.clone_from(plural);
                more
            }
            [] => return None,
        };
        match rest {
            [] => {}
            [name] => info.name.clone_from(name),
            [name, subresource] => {
                info.name.clone_from(name);
                info.subresource.clone_from(subresource);
            }
            _ => return None,
        }
        Some(info)
    }

    fn is_namespace_part(&self, word: &str) -> bool {
        self.group.is_empty() && (word == "status" || word == "finalize")
    }
}

/// A segment of a path, percent-decoded.
pub(super) fn decode(part: &str) -> String {
    if !part.contains('%') {
        return part.to_owned();
    }
    let query = format!("x={}", part.replace('+', "%2B"));
    url::form_urlencoded::parse(query.as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

/// What the query says.
#[derive(Debug, Clone, Default)]
#[allow(clippy::struct_excessive_bools)] // each is a parameter of its own in the API
pub(super) struct Query {
    pub label_selector: String,
    pub field_selector: String,
    /// 0 is no limit.
    pub limit: usize,
    pub continue_token: String,
    pub resource_version: String,
    pub resource_version_match: String,
    pub watch: bool,
    pub allow_watch_bookmarks: bool,
    pub send_initial_events: Option<bool>,
    pub timeout_seconds: Option<u64>,
    pub dry_run: bool,
    pub field_manager: String,
    pub field_validation: String,
    pub force: Option<bool>,
    pub propagation_policy: String,
    pub include_object: String,
}

impl Query {
    /// The name that the field selector asks for; "" if it asks for none.
    pub(super) fn selected_name(&self) -> &str {
        let mut requirements = self.field_selector.split(',').map(str::trim);
        let name = requirements.find_map(|one| one.strip_prefix("metadata.name="));
        name.map_or("", |name| name.strip_prefix('=').unwrap_or(name).trim())
    }

    pub(super) fn parse(uri: &Uri) -> Result<Self, StatusError> {
        let mut query = Self::default();
        for (key, value) in url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
        {
            let value = value.into_owned();
            let is_true = || matches!(value.as_str(), "true" | "1" | "True" | "");
            match &*key {
                "labelSelector" => query.label_selector = value,
                "fieldSelector" => query.field_selector = value,
                "limit" => query.limit = value.parse().unwrap_or(0),
                "continue" => query.continue_token = value,
                "resourceVersion" => query.resource_version = value,
                "resourceVersionMatch" => query.resource_version_match = value,
                "watch" => query.watch = is_true(),
                "allowWatchBookmarks" => query.allow_watch_bookmarks = is_true(),
                "sendInitialEvents" => query.send_initial_events = Some(is_true()),
                "timeoutSeconds" => query.timeout_seconds = value.parse().ok(),
                "dryRun" => {
                    if value != "All" {
                        return Err(StatusError::unsupported_option(
                            "PatchOptions",
                            "dryRun",
                            &value,
                            &["All"],
                        ));
                    }
                    query.dry_run = true;
                }
                "fieldManager" => query.field_manager = value,
                "fieldValidation" => query.field_validation = value,
                "force" => query.force = Some(is_true()),
                "propagationPolicy" => query.propagation_policy = value,
                "includeObject" => query.include_object = value,
                _ => {}
            }
        }
        Ok(query)
    }
}

/// In which shape the client wants objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Representation {
    /// As they are.
    #[default]
    Full,
    /// Rows and columns for people.
    Table,
    /// Metadata only.
    PartialObjectMetadata,
    /// A list with metadata only.
    PartialObjectMetadataList,
}

impl Representation {
    /// Reads the Accept header: the first clause that we can serve decides.
    pub(super) fn parse(headers: &HeaderMap) -> Result<Self, StatusError> {
        let Some(accept) = headers
            .get(header::ACCEPT)
            .and_then(|value| value.to_str().ok())
        else {
            return Ok(Self::Full);
        };
        for clause in accept.split(',') {
            let mut parts = clause.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            if !matches!(media, "application/json" | "*/*" | "application/*" | "") {
                continue;
            }
            let parameters: Vec<&str> = parts.collect();
            let value = |key: &str| {
                parameters
                    .iter()
                    .find_map(|parameter| parameter.strip_prefix(key)?.strip_prefix('='))
                    .unwrap_or("")
            };
            let meta = value("g") == "meta.k8s.io" && value("v") == "v1";
            match value("as") {
                "" => return Ok(Self::Full),
                "Table" if meta => return Ok(Self::Table),
                "PartialObjectMetadata" if meta => return Ok(Self::PartialObjectMetadata),
                "PartialObjectMetadataList" if meta => return Ok(Self::PartialObjectMetadataList),
                _ => {}
            }
        }
        Err(StatusError::not_acceptable(&["application/json"]))
    }
}

/// What a request does, in the words of RBAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verb {
    /// Read one object.
    Get,
    /// Read a collection.
    List,
    /// Follow a collection.
    Watch,
    /// Create an object.
    Create,
    /// Replace an object.
    Update,
    /// Change an object, server-side apply included.
    Patch,
    /// Delete one object.
    Delete,
    /// Delete what a selector matches.
    DeleteCollection,
}

impl Verb {
    pub(super) fn from_request(method: &Method, info: &RequestInfo, query: &Query) -> Option<Self> {
        let whole = info.name.is_empty();
        Some(match *method {
            Method::GET if query.watch => Self::Watch,
            Method::GET if whole => Self::List,
            Method::GET => Self::Get,
            Method::POST if whole => Self::Create,
            Method::PUT if !whole => Self::Update,
            Method::PATCH if !whole => Self::Patch,
            Method::DELETE if whole => Self::DeleteCollection,
            Method::DELETE => Self::Delete,
            _ => return None,
        })
    }

    /// The verb as RBAC writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }

    /// Whether the verb changes anything.
    pub fn is_write(self) -> bool {
        !matches!(self, Self::Get | Self::List | Self::Watch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_parsed() {
        let info = |path: &str| RequestInfo::parse(path).expect("a place");
        let status = info(
            "/apis/connectors.pupau.ai/v1alpha1/namespaces/acme/telegramconnectors/support/status",
        );
        assert_eq!(
            (status.namespace.as_str(), status.plural.as_str()),
            ("acme", "telegramconnectors")
        );
        assert_eq!(
            (status.name.as_str(), status.subresource.as_str()),
            ("support", "status")
        );
        assert_eq!(info("/api/v1/namespaces/acme").name, "acme");
        assert_eq!(
            info("/api/v1/namespaces/acme/finalize").subresource,
            "finalize"
        );
        assert_eq!(info("/api/v1/namespaces/acme/secrets").plural, "secrets");
        assert_eq!(
            info("/api/v1/namespaces/acme/secrets/status").name,
            "status"
        );
        assert_eq!(info("/api/v1/secrets").namespace, "");
        assert_eq!(RequestInfo::parse("/version"), None);
        assert_eq!(RequestInfo::parse("/api/v1"), None);
    }
}
