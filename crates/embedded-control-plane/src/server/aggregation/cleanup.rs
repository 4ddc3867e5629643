//! What lies on other servers goes with its namespace and with its owners, as on a real cluster.
//!
//! Sources: kubernetes `pkg/controller/namespace/deletion` and `pkg/controller/garbagecollector`. A namespace stays, as there, while
//! a group cannot be discovered: that is what an `APIService` whose server is away costs.

use std::sync::Arc;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::connection::{self, Document, ProxyError};
use super::{RemoteApi, replace_condition};
use crate::server::ServerState;
use crate::server::caller::Caller;
use crate::server::garbage_collector;
use crate::server::object::{metadata_str, now, str_at, value_at};

/// Owners that are remembered for servers that are away.
const MAX_GONE_OWNERS: usize = 1_000;
/// How controllers ask for lists.
const METADATA_LIST: &str =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

/// Whether a namespace that is going must wait until other servers have been asked.
pub(in crate::server) fn holds_namespace(server: &ServerState) -> bool {
    let holds = !super::remote_apis(server).is_empty();
    if holds {
        server.aggregation.wake();
    }
    holds
}

/// Has the dependents of an object that is gone deleted on other servers.
pub(in crate::server) fn owner_is_gone(server: &ServerState, uid: &str) {
    if !server.aggregation.is_used() {
        return;
    }
    let mut gone = server.aggregation.gone_owners.lock();
    if gone.len() < MAX_GONE_OWNERS {
        gone.push(uid.to_owned());
    }
    drop(gone);
    server.aggregation.wake();
}

/// A resource of another server.
struct Resource {
    plural: String,
    namespaced: bool,
    verbs: Vec<String>,
}

impl Resource {
    fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|one| one == verb)
    }
}

/// What a server serves, subresources left out.
async fn resources(
    server: &ServerState,
    api: &RemoteApi,
    caller: &Caller,
) -> Result<Vec<Resource>, ProxyError> {
    if !api.is_available {
        return Err(ProxyError::Unreachable("service unavailable".into()));
    }
    let root = api.root();
    let request = (Method::GET, root.as_str(), "application/json");
    let answer = connection::call(server, api, caller, request, &Value::Null).await?;
    if !answer.status.is_success() {
        return Err(ProxyError::Unreachable(answer.status.to_string()));
    }
    let all = value_at(&answer.body, &["resources"]).as_array();
    let all = all.into_iter().flatten();
    Ok(all
        .filter(|resource| !str_at(resource, &["name"]).contains('/'))
        .map(|resource| Resource {
            plural: str_at(resource, &["name"]).into(),
            namespaced: value_at(resource, &["namespaced"]) == true,
            verbs: value_at(resource, &["verbs"])
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|verb| verb.as_str().map(str::to_owned))
                .collect(),
        })
        .collect())
}

/// Deletes everything of the namespaces that are going; returns whether none is left.
pub(super) async fn empty_namespaces(server: &Arc<ServerState>, apis: &[RemoteApi]) -> bool {
    let snapshot = server.store.list("namespaces", "");
    let going = snapshot.objects.iter().filter(|stored| stored.deleting);
    let mut done = true;
    for namespace in going.map(|stored| stored.name.clone()) {
        let left = empty_namespace(server, apis, &namespace).await;
        write_conditions(server, &namespace, &left);
        if left.is_nothing() {
            garbage_collector::finalize_emptied_namespace(server, &namespace);
        } else {
            done = false;
        }
    }
    done
}

/// Why a namespace cannot go yet.
#[derive(Default)]
struct Left {
    /// Groups that could not be discovered.
    undiscovered: Vec<String>,
    failed: Vec<String>,
    remaining: Vec<String>,
}

impl Left {
    fn is_nothing(&self) -> bool {
        [&self.undiscovered, &self.failed, &self.remaining]
            .into_iter()
            .all(Vec::is_empty)
    }
}

async fn empty_namespace(server: &ServerState, apis: &[RemoteApi], namespace: &str) -> Left {
    let caller = Caller::controller("namespace-controller");
    let mut left = Left::default();
    for api in apis {
        let Ok(resources) = resources(server, api, &caller).await else {
            let group = format!("{}/{}", api.group, api.version);
            left.undiscovered.push(format!(
                "{group}: the server is currently unable to handle the request"
            ));
            continue;
        };
        for resource in resources
            .iter()
            .filter(|resource| resource.namespaced && resource.can("delete"))
        {
            let path = format!("{}/namespaces/{namespace}/{}", api.root(), resource.plural);
            match empty_collection(server, api, &caller, resource, &path).await {
                Ok(0) => {}
                Ok(count) => left.remaining.push(format!(
                    "{}.{} has {count} resource instances",
                    resource.plural, api.group
                )),
                Err(why) => left.failed.push(why),
            }
        }
    }
    left
}

/// Returns how many objects are left.
async fn empty_collection(
    server: &ServerState,
    api: &RemoteApi,
    caller: &Caller,
    resource: &Resource,
    path: &str,
) -> Result<usize, String> {
    let options =
        json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"});
    let mut deleted = false;
    if resource.can("deletecollection") {
        let request = (Method::DELETE, path, "application/json");
        let answer = connection::call(server, api, caller, request, &options).await;
        deleted = is_done(answer, path)?;
    }
    if !resource.can("list") {
        return Ok(0);
    }
    if !deleted {
        for name in names(server, api, caller, path).await? {
            let path = format!("{path}/{name}");
            let request = (Method::DELETE, path.as_str(), "application/json");
            let answer = connection::call(server, api, caller, request, &options).await;
            is_done(answer, &path)?;
        }
    }
    Ok(names(server, api, caller, path).await?.len())
}

/// Whether a deletion was carried out; a server that does not know the verb has not, and that is no error.
fn is_done(answer: Result<Document, ProxyError>, path: &str) -> Result<bool, String> {
    let answer = answer.map_err(|error| format!("{path}: {error:?}"))?;
    match answer.status {
        status if status.is_success() => Ok(true),
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Ok(false),
        status => {
            let message = str_at(&answer.body, &["message"]);
            Err(format!("{path}: {status} {message}"))
        }
    }
}

async fn names(
    server: &ServerState,
    api: &RemoteApi,
    caller: &Caller,
    path: &str,
) -> Result<Vec<String>, String> {
    let items = list(server, api, caller, path).await?;
    let name = |item: &Value| metadata_str(item, "name").to_owned();
    Ok(items.iter().map(name).collect())
}

/// Every object of a collection, page by page.
async fn list(
    server: &ServerState,
    api: &RemoteApi,
    caller: &Caller,
    path: &str,
) -> Result<Vec<Value>, String> {
    let mut all = Vec::new();
    let mut token = String::new();
    loop {
        let next: String = url::form_urlencoded::byte_serialize(token.as_bytes()).collect();
        let page = if token.is_empty() {
            format!("{path}?limit=500")
        } else {
            format!("{path}?limit=500&continue={next}")
        };
        let request = (Method::GET, page.as_str(), METADATA_LIST);
        let answer = connection::call(server, api, caller, request, &Value::Null)
            .await
            .map_err(|error| format!("{path}: {error:?}"))?;
        match answer.status {
            status if status.is_success() => {}
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => return Ok(all),
            status => return Err(format!("{path}: {status}")),
        }
        let items = value_at(&answer.body, &["items"]).as_array().cloned();
        all.extend(items.unwrap_or_default());
        str_at(&answer.body, &["metadata", "continue"]).clone_into(&mut token);
        if token.is_empty() {
            return Ok(all);
        }
    }
}

/// The conditions of a namespace that is going, once other servers have a say in it.
fn write_conditions(server: &ServerState, namespace: &str, left: &Left) {
    let Some(stored) = server.store.get("namespaces", "", namespace) else {
        return;
    };
    let mut object = stored.object();
    let undiscovered = format!(
        "Discovery failed for some groups, {} failing: unable to retrieve the complete list of server APIs: {}",
        left.undiscovered.len(),
        left.undiscovered.join(", ")
    );
    let failed = format!(
        "Failed to delete all resource types, {} remaining: {}",
        left.failed.len(),
        left.failed.join(", ")
    );
    let remaining = format!(
        "Some resources are remaining: {}",
        left.remaining.join(", ")
    );
    for (kind, why, (bad, bad_text), (good, good_text)) in [
        (
            "NamespaceDeletionDiscoveryFailure",
            &left.undiscovered,
            ("DiscoveryFailed", undiscovered),
            (
                "ResourcesDiscovered",
                "All resources successfully discovered",
            ),
        ),
        (
            "NamespaceDeletionContentFailure",
            &left.failed,
            ("ContentDeletionFailed", failed),
            (
                "ContentDeleted",
                "All content successfully deleted, may be waiting on finalization",
            ),
        ),
        (
            "NamespaceContentRemaining",
            &left.remaining,
            ("SomeResourcesRemain", remaining),
            ("ContentRemoved", "All content successfully removed"),
        ),
    ] {
        let (status, reason, message) = if why.is_empty() {
            ("False", good, good_text.to_owned())
        } else {
            ("True", bad, bad_text)
        };
        let known = value_at(&object, &["status", "conditions"]).as_array();
        let known = known.into_iter().flatten();
        let mut same = known
            .filter(|one| one["type"] == kind && one["status"] == status)
            .map(|one| one["lastTransitionTime"].clone());
        let since = same.next_back().unwrap_or_else(|| now().into());
        replace_condition(
            &mut object,
            json!({"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": since}),
        );
    }
    if object != stored.object() {
        let storage: Arc<str> = "namespaces".into();
        let _ = server.store.put(&storage, Some(stored.revision), object);
    }
}

/// Deletes the dependents of owners that are gone; returns whether every server could be asked.
pub(super) async fn collect_dependents(server: &Arc<ServerState>, apis: &[RemoteApi]) -> bool {
    let gone = std::mem::take(&mut *server.aggregation.gone_owners.lock());
    if gone.is_empty() {
        return true;
    }
    let mut done = true;
    for api in apis {
        done &= collect_in(server, api, &gone).await.is_ok();
    }
    if !done {
        let mut waiting = server.aggregation.gone_owners.lock();
        let room = MAX_GONE_OWNERS.saturating_sub(waiting.len());
        waiting.extend(gone.into_iter().take(room));
    }
    done
}

async fn collect_in(server: &ServerState, api: &RemoteApi, gone: &[String]) -> Result<(), String> {
    let caller = Caller::controller("generic-garbage-collector");
    let resources = resources(server, api, &caller).await;
    for resource in resources.map_err(|error| format!("{error:?}"))? {
        // What cannot be watched is not collected on a real cluster either.
        if !["delete", "list", "watch"]
            .iter()
            .all(|verb| resource.can(verb))
        {
            continue;
        }
        let path = format!("{}/{}", api.root(), resource.plural);
        for object in list(server, api, &caller, &path).await? {
            if !is_garbage(server, &object, gone) {
                continue;
            }
            let (namespace, name) = (
                metadata_str(&object, "namespace"),
                metadata_str(&object, "name"),
            );
            let inside = if resource.namespaced {
                format!("/namespaces/{namespace}")
            } else {
                String::new()
            };
            let path = format!("{}{inside}/{}/{name}", api.root(), resource.plural);
            let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background",
                "preconditions": {"uid": metadata_str(&object, "uid")}});
            let request = (Method::DELETE, path.as_str(), "application/json");
            let answer = connection::call(server, api, &caller, request, &options).await;
            is_done(answer, &path)?;
        }
    }
    Ok(())
}

/// Whether an owner of the object is among those that are gone, and no other lives.
fn is_garbage(server: &ServerState, object: &Value, gone: &[String]) -> bool {
    let owners = value_at(object, &["metadata", "ownerReferences"]).as_array();
    let uids: Vec<&str> = owners
        .into_iter()
        .flatten()
        .map(|owner| str_at(owner, &["uid"]))
        .collect();
    let is_gone = |uid: &&str| gone.iter().any(|one| one == uid);
    uids.iter().any(is_gone)
        && !uids
            .iter()
            .any(|uid| !is_gone(uid) && server.store.find_by_uid(uid).is_some())
}
