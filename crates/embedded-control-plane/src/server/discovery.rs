//! How clients find out what is served: `/version`, `/api`, `/apis` (both the old documents and aggregated discovery v2) and
//! the health checks.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

use super::ServerState;
use super::aggregation::{self, RemoteGroup};
use super::kinds::{Kind, KindRegistry};
use super::response::{self, ApiResponse};

/// Answers a path that belongs to no resource; `None` for every other.
pub(super) async fn respond(
    server: &ServerState,
    path: &str,
    headers: &HeaderMap,
) -> Option<ApiResponse> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let kinds = server.kinds();
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
        ["api"] => match aggregated_version(headers) {
            Some(version) => {
                let core = kinds.all().filter(|kind| kind.group.is_empty());
                let core = aggregated_versions(&core.cloned().collect::<Vec<_>>());
                Some(aggregated(version, vec![aggregated_group("", core)]))
            }
            None => ok(
                json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}),
            ),
        },
        ["apis"] => match aggregated_version(headers) {
            Some(version) => {
                let remote = aggregation::remote_groups(server, true).await;
                Some(aggregated(version, all_aggregated(&kinds, remote)))
            }
            None => {
                let remote = aggregation::remote_groups(server, false).await;
                let groups = all_versions(&kinds, &remote);
                let groups: Vec<Value> = groups
                    .iter()
                    .map(|(name, versions)| group(name, versions))
                    .collect();
                ok(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
            }
        },
        ["api", version] => resources(&kinds, "", version).and_then(ok),
        ["apis", name] => {
            let remote = aggregation::remote_groups(server, false).await;
            let groups = all_versions(&kinds, &remote);
            let (_, versions) = groups.iter().find(|(group, _)| group == name)?;
            let mut document = group(name, versions);
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

/// Every group but the core one with its versions: those served here, then those of other servers.
fn all_versions(kinds: &KindRegistry, remote: &[RemoteGroup]) -> Vec<(String, Vec<String>)> {
    let mut all: Vec<(String, Vec<String>)> = groups(kinds)
        .into_iter()
        .map(|(name, kinds)| (name, versions(&kinds)))
        .collect();
    for RemoteGroup { group, version, .. } in remote {
        match all.iter_mut().find(|(name, _)| name == group) {
            Some((_, versions)) if versions.contains(version) => {}
            Some((_, versions)) => versions.push(version.clone()),
            None => all.push((group.clone(), vec![version.clone()])),
        }
    }
    all
}

fn group(name: &str, versions: &[String]) -> Value {
    let versions: Vec<Value> = versions
        .iter()
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

/// The version of aggregated discovery (KEP-3352) that the client asks for.
fn aggregated_version(headers: &HeaderMap) -> Option<&'static str> {
    let accept = response::header_text(headers, &header::ACCEPT);
    accept.split(',').find_map(|clause| {
        let asks = |part: &str| clause.split(';').any(|one| one.trim() == part);
        if !asks("as=APIGroupDiscoveryList") || !asks("g=apidiscovery.k8s.io") {
            return None;
        }
        ["v2", "v2beta1"]
            .into_iter()
            .find(|version| asks(&format!("v={version}")))
    })
}

fn aggregated(version: &str, items: Vec<Value>) -> ApiResponse {
    let document = json!({"kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {}, "items": items});
    let media =
        format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
    response::with_media_type(StatusCode::OK, &media, document.to_string())
}

fn all_aggregated(kinds: &KindRegistry, remote: Vec<RemoteGroup>) -> Vec<Value> {
    let mut all: Vec<(String, Vec<Value>)> = groups(kinds)
        .into_iter()
        .map(|(name, kinds)| (name, aggregated_versions(&kinds)))
        .collect();
    for group in remote {
        let freshness = if group.is_current { "Current" } else { "Stale" };
        let version =
            json!({"version": group.version, "freshness": freshness, "resources": group.resources});
        match all.iter_mut().find(|(name, _)| *name == group.group) {
            Some((_, versions)) => {
                versions.retain(|one| one["version"] != version["version"]);
                versions.push(version);
            }
            None => all.push((group.group, vec![version])),
        }
    }
    all.into_iter()
        .map(|(name, versions)| aggregated_group(&name, versions))
        .collect()
}

fn aggregated_versions(kinds: &[Arc<Kind>]) -> Vec<Value> {
    versions(kinds)
        .into_iter()
        .map(|version| {
            let inside = kinds.iter().filter(|kind| kind.version == version);
            let resources: Vec<Value> = inside.map(|kind| aggregated_resource(kind)).collect();
            json!({"version": version, "freshness": "Current", "resources": resources})
        })
        .collect()
}

fn aggregated_group(name: &str, versions: Vec<Value>) -> Value {
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
