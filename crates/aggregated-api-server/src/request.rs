//! What a request is about: the path, the query and the verb, as Kubernetes reads them (apiserver `pkg/endpoints/request`).

use http::Method;
use percent_encoding::percent_decode_str;

use crate::status::StatusError;

/// The parameters of a query; those that nobody asks for are ignored, as Kubernetes does.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(crate) fn parse(query: Option<&str>) -> Self {
        let decode = |text: &str| {
            let text = text.replace('+', " ");
            percent_decode_str(&text).decode_utf8_lossy().into_owned()
        };
        let pairs = query.unwrap_or_default().split('&');
        Self(
            pairs
                .filter(|pair| !pair.is_empty())
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(name), decode(value))
                })
                .collect(),
        )
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The value, or the empty string.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    /// Kubernetes takes everything but `false` and `0` for true, the empty string too.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|value| !matches!(value, "false" | "0"))
    }

    /// A flag that may be absent.
    pub(crate) fn optional_flag(&self, name: &str) -> Option<bool> {
        self.get(name).map(|_| self.flag(name))
    }

    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, StatusError> {
        match self.text(name) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                StatusError::bad_request(format!(
                    "unable to parse query parameter {name}: invalid number \"{text}\""
                ))
            }),
        }
    }

    /// A `resourceVersion`; absent as `None`.
    pub(crate) fn resource_version(&self) -> Result<Option<i64>, StatusError> {
        match self.text("resourceVersion") {
            "" => Ok(None),
            text => match text.parse() {
                Ok(number) if number >= 0 => Ok(Some(number)),
                _ => Err(StatusError::bad_request(format!(
                    "resourceVersion: Invalid value: \"{text}\": must be one that this server has given"
                ))),
            },
        }
    }

    /// Whether nothing is to be done but everything checked.
    pub(crate) fn dry_run(&self) -> Result<bool, StatusError> {
        let mut all = false;
        for (_, value) in self.0.iter().filter(|(name, _)| name == "dryRun") {
            if value != "All" {
                return Err(StatusError::bad_request(format!(
                    "dryRun: Unsupported value: \"{value}\": supported values: \"All\""
                )));
            }
            all = true;
        }
        Ok(all)
    }
}

/// A path under `/apis/GROUP/VERSION`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ResourcePath {
    /// Empty for all namespaces.
    pub namespace: String,
    pub resource: String,
    pub name: String,
    pub subresource: String,
}

impl ResourcePath {
    /// Reads what follows the version; `None` if it leads nowhere.
    pub(crate) fn parse(segments: &[&str]) -> Option<Self> {
        let mut parts = Vec::with_capacity(segments.len());
        for segment in segments {
            let part = percent_decode_str(segment).decode_utf8().ok()?;
            if part.is_empty() || part.contains('/') || part == "." || part == ".." {
                return None;
            }
            parts.push(part.into_owned());
        }
        let mut parts = parts.into_iter();
        let mut path = Self {
            resource: parts.next()?,
            ..Self::default()
        };
        if path.resource == "namespaces" {
            path.namespace = parts.next()?;
            path.resource = parts.next()?;
            path.name = parts.next().unwrap_or_default();
            path.subresource = parts.next().unwrap_or_default();
        }
        parts.next().is_none().then_some(path)
    }
}

/// The verb that RBAC knows for a request.
pub(crate) fn verb(method: &Method, path: &ResourcePath, watch: bool) -> Option<&'static str> {
    let collection = path.name.is_empty();
    Some(match *method {
        Method::GET | Method::HEAD if watch && path.subresource.is_empty() => "watch",
        Method::GET | Method::HEAD if collection => "list",
        Method::GET | Method::HEAD => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if collection => "deletecollection",
        Method::DELETE => "delete",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_kubernetes_reads_them() {
        let path = |text: &str| ResourcePath::parse(&text.split('/').collect::<Vec<_>>());
        let is = |namespace: &str, resource: &str, name: &str, subresource: &str| {
            Some(ResourcePath {
                namespace: namespace.into(),
                resource: resource.into(),
                name: name.into(),
                subresource: subresource.into(),
            })
        };
        assert_eq!(path("notes"), is("", "notes", "", ""));
        assert_eq!(path("namespaces/a/notes"), is("a", "notes", "", ""));
        assert_eq!(path("namespaces/a/notes/n/s"), is("a", "notes", "n", "s"));
        assert_eq!(path("notes/n"), None, "no name without a namespace");
        assert_eq!(path("namespaces/a/notes/n/s/t"), None);
        assert_eq!(path("namespaces/a%2Fb/notes"), None);
        assert_eq!(path("namespaces/../notes"), None);
    }

    #[test]
    fn parameters_are_decoded() {
        let all = Parameters::parse(Some("labelSelector=a+in+%28b%2Cc%29&watch&limit=x"));
        assert_eq!(all.text("labelSelector"), "a in (b,c)");
        assert!(all.flag("watch") && !all.flag("pretty"));
        assert_eq!(all.number("limit").expect_err("no number").code, 400);
    }
}
