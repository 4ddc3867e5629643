//! How clients find out what is served: `/version`, `/api`, `/apis` (both the old documents and aggregated discovery v2) and
//! the health checks.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

use super::ServerState;
use super::kinds::{Kind, KindRegistry};
use super::response::{self, ApiResponse};

/// Answers a path that belongs to no resource; `None` for every other.
pub(super) fn respond(
    server: &ServerState,
    path: &str,
    headers: &HeaderMap,
) -> Option<ApiResponse> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let kinds = server.kinds();
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let ok = |value: Value| Some(response::json(StatusCode::OK, &value));
    match parts.as_slice() {
        ["healthz" | "livez" | "readyz", ..] => Some(response::with_media_type(
            StatusCode::OK,
            "text/plain; charset=utf-8",
            "ok",
        )),
        ["version"] => ok(version()),
        [""] => ok(
            json!({"paths": ["/api", "/api/v1", "/apis", "/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"]}),
        ),
        ["api"] => aggregated(&kinds, accept, true).or_else(|| {
            ok(json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}))
        }),
        ["apis"] => aggregated(&kinds, accept, false).or_else(|| {
            let groups: Vec<Value> = groups(&kinds)
                .iter()
                .map(|(name, all)| group(name, all))
                .collect();
            ok(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
        }),
        ["api", version] => resources(&kinds, "", version).and_then(ok),
        ["apis", name] => {
            let groups = groups(&kinds);
            let mut document = group(name, groups.get(*name)?);
            document["kind"] = "APIGroup".into();
            document["apiVersion"] = "v1".into();
            ok(document)
        }
        ["apis", group, version] => resources(&kinds, group, version).and_then(ok),
        _ => None,
    }
}

fn version() -> Value {
    let parts: Vec<&str> = super::VERSION.trim_start_matches('v').split('.').collect();
    json!({"major": parts[0], "minor": parts[1], "gitVersion": super::VERSION, "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "none", "compiler": "rustc", "platform": "embedded"})
}

type Groups = BTreeMap<String, Vec<Arc<Kind>>>;

/// Every group but the core one.
fn groups(kinds: &KindRegistry) -> Groups {
    let mut groups = Groups::new();
    for kind in kinds.all().filter(|kind| !kind.group.is_empty()) {
        groups
            .entry(kind.group.clone())
            .or_default()
            .push(Arc::clone(kind));
    }
    groups
}

fn versions(kinds: &[Arc<Kind>]) -> Vec<String> {
    let mut versions: Vec<String> = kinds.iter().map(|kind| kind.version.clone()).collect();
    versions.sort();
    versions.dedup();
    versions
}

fn group(name: &str, kinds: &[Arc<Kind>]) -> Value {
    let versions: Vec<Value> = versions(kinds)
        .into_iter()
        .map(|version| json!({"groupVersion": format!("{name}/{version}"), "version": version}))
        .collect();
    json!({"name": name, "versions": versions, "preferredVersion": versions[0]})
}

fn resources(kinds: &KindRegistry, group: &str, version: &str) -> Option<Value> {
    let mut all = Vec::new();
    for kind in kinds
        .all()
        .filter(|kind| kind.group == group && kind.version == version)
    {
        let mut resource = json!({"name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced,
            "kind": kind.kind, "verbs": kind.verbs()});
        if !kind.short_names.is_empty() {
            resource["shortNames"] = json!(kind.short_names);
        }
        if !kind.categories.is_empty() {
            resource["categories"] = json!(kind.categories);
        }
        all.push(resource);
        for (part, verbs) in subresources(kind) {
            all.push(json!({"name": format!("{}/{part}", kind.plural), "singularName": "", "namespaced": kind.namespaced,
                "kind": kind.kind, "verbs": verbs}));
        }
    }
    if all.is_empty() {
        return None;
    }
    let version = if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    };
    Some(
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": all}),
    )
}

fn subresources(kind: &Kind) -> Vec<(&'static str, &'static [&'static str])> {
    let mut all: Vec<(&str, &'static [&'static str])> = Vec::new();
    if kind.strategy == super::kinds::Strategy::Namespace {
        all.push(("finalize", &["update"]));
    }
    if kind.status {
        all.push(("status", &["get", "patch", "update"]));
    }
    all
}

/// Aggregated discovery (KEP-3352), when the client asks for it.
fn aggregated(kinds: &KindRegistry, accept: &str, core: bool) -> Option<ApiResponse> {
    let version = accept.split(',').find_map(|clause| {
        let asks = |part: &str| clause.split(';').any(|one| one.trim() == part);
        if !asks("as=APIGroupDiscoveryList") || !asks("g=apidiscovery.k8s.io") {
            return None;
        }
        ["v2", "v2beta1"]
            .into_iter()
            .find(|version| asks(&format!("v={version}")))
    })?;
    let mut all = groups(kinds);
    if core {
        all = BTreeMap::from([(
            String::new(),
            kinds
                .all()
                .filter(|kind| kind.group.is_empty())
                .cloned()
                .collect(),
        )]);
    }
    let items: Vec<Value> = all
        .iter()
        .map(|(name, kinds)| aggregated_group(name, kinds))
        .collect();
    let document = json!({"kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {}, "items": items});
    let media =
        format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
    Some(response::with_media_type(
        StatusCode::OK,
        &media,
        document.to_string(),
    ))
}

fn aggregated_group(name: &str, kinds: &[Arc<Kind>]) -> Value {
    let versions: Vec<Value> = versions(kinds)
        .into_iter()
        .map(|version| {
            let inside = kinds.iter().filter(|kind| kind.version == version);
            let resources: Vec<Value> = inside.map(|kind| aggregated_resource(kind)).collect();
            json!({"version": version, "freshness": "Current", "resources": resources})
        })
        .collect();
    let metadata = if name.is_empty() {
        json!({"creationTimestamp": null})
    } else {
        json!({"name": name, "creationTimestamp": null})
    };
    json!({"metadata": metadata, "versions": versions})
}

fn aggregated_resource(kind: &Kind) -> Value {
    let response = json!({"group": kind.group, "version": kind.version, "kind": kind.kind});
    let mut resource = json!({"resource": kind.plural, "responseKind": response,
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": kind.singular, "verbs": kind.verbs()});
    if !kind.short_names.is_empty() {
        resource["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        resource["categories"] = json!(kind.categories);
    }
    let parts: Vec<Value> = subresources(kind)
        .into_iter()
        .map(|(part, verbs)| json!({"subresource": part, "responseKind": response, "verbs": verbs}))
        .collect();
    if !parts.is_empty() {
        resource["subresources"] = parts.into();
    }
    resource
}
