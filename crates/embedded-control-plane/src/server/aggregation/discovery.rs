//! What other servers serve, for the discovery documents.

use http::Method;
use serde_json::{Value, json};

use super::{RemoteApi, connection};
use crate::server::ServerState;
use crate::server::caller::Caller;
use crate::server::object::{str_at, value_at};

/// How aggregated discovery is asked for.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

/// A version of a group that another server serves.
#[derive(Debug)]
pub(in crate::server) struct RemoteGroup {
    pub group: String,
    pub version: String,
    /// The resources as aggregated discovery lists them; empty unless they were asked for.
    pub resources: Vec<Value>,
    /// Whether the server said so just now.
    pub is_current: bool,
}

/// The groups of other servers, most important first; `with_resources` asks each server for what aggregated discovery lists.
pub(in crate::server) async fn remote_groups(
    server: &ServerState,
    with_resources: bool,
) -> Vec<RemoteGroup> {
    let asking = super::remote_apis(server).into_iter().map(async |api| {
        let found = if with_resources {
            resources(server, &api).await
        } else {
            Some(Vec::new())
        };
        let is_current = found.is_some();
        let mut last = server.aggregation.last_discovery.lock();
        let resources = match found {
            Some(found) => {
                last.insert(api.name.clone(), found.clone());
                found
            }
            None => last.get(&api.name).cloned().unwrap_or_default(),
        };
        RemoteGroup {
            group: api.group,
            version: api.version,
            resources,
            is_current,
        }
    });
    futures::future::join_all(asking).await
}

/// What a server says now; `None` when it cannot be asked.
async fn resources(server: &ServerState, api: &RemoteApi) -> Option<Vec<Value>> {
    if !api.is_available {
        return None;
    }
    let caller = Caller::system("system:kube-aggregator", &["system:masters"]);
    let request = (Method::GET, "/apis", AGGREGATED);
    let answer = connection::call(server, api, &caller, request, &Value::Null).await;
    if let Ok(answer) = answer
        && answer.status.is_success()
        && str_at(&answer.body, &["kind"]) == "APIGroupDiscoveryList"
        && answer.media.contains("APIGroupDiscoveryList")
    {
        let groups = value_at(&answer.body, &["items"]).as_array();
        let mut versions = groups
            .into_iter()
            .flatten()
            .filter(|group| str_at(group, &["metadata", "name"]) == api.group)
            .flat_map(|group| {
                value_at(group, &["versions"])
                    .as_array()
                    .into_iter()
                    .flatten()
            });
        let found = versions.find(|version| str_at(version, &["version"]) == api.version)?;
        return value_at(found, &["resources"]).as_array().cloned();
    }
    let root = api.root();
    let request = (Method::GET, root.as_str(), "application/json");
    let answer = connection::call(server, api, &caller, request, &Value::Null)
        .await
        .ok()?;
    answer
        .status
        .is_success()
        .then(|| from_resource_list(api, &answer.body))
}

/// An `APIResourceList` in the form of aggregated discovery.
fn from_resource_list(api: &RemoteApi, list: &Value) -> Vec<Value> {
    let all = value_at(list, &["resources"]).as_array();
    let all: Vec<&Value> = all.into_iter().flatten().collect();
    let response_kind = |resource: &Value| {
        let or = |field: &str, default: &str| match str_at(resource, &[field]) {
            "" => default.to_owned(),
            given => given.to_owned(),
        };
        json!({"group": or("group", &api.group), "version": or("version", &api.version), "kind": str_at(resource, &["kind"])})
    };
    let whole = all
        .iter()
        .filter(|resource| !str_at(resource, &["name"]).contains('/'));
    whole
        .map(|resource| {
            let plural = str_at(resource, &["name"]);
            let scope = if value_at(resource, &["namespaced"]) == true {
                "Namespaced"
            } else {
                "Cluster"
            };
            let mut entry = json!({"resource": plural, "responseKind": response_kind(resource), "scope": scope,
                "singularResource": str_at(resource, &["singularName"]), "verbs": value_at(resource, &["verbs"])});
            for field in ["shortNames", "categories"] {
                if value_at(resource, &[field]).is_array() {
                    entry[field] = resource[field].clone();
                }
            }
            let parts: Vec<Value> = all
                .iter()
                .filter_map(|part| {
                    let (of, name) = str_at(part, &["name"]).split_once('/')?;
                    (of == plural).then(|| {
                        json!({"subresource": name, "responseKind": response_kind(part), "verbs": value_at(part, &["verbs"])})
                    })
                })
                .collect();
            if !parts.is_empty() {
                entry["subresources"] = parts.into();
            }
            entry
        })
        .collect()
}
