//! API aggregation: the groups that other servers serve, as `kube-aggregator` brings them into a cluster.
//!
//! An `APIService` with a `service` sends every request below `/apis/GROUP/VERSION` over TLS to that service, with the identity of
//! the caller in `X-Remote-*` headers and the client certificate of the front proxy. Only services of type `ExternalName`
//! lead anywhere: there are no Pods.
//!
//! | file | what it does |
//! |---|---|
//! | `front_proxy` | the certificate authority, the client certificate, and the `ConfigMap` that tells servers of them |
//! | `proxy`, `connection` | requests that go on to such a server; one TLS connection for each |
//! | `controllers` | the task that keeps `Available` right, and starts the next one |
//! | `cleanup` | a namespace that goes, and owners that went, take the objects of such a server along |
//! | `discovery`, `openapi` | what such a server says of itself, merged into what this one says |

mod cleanup;
mod connection;
mod controllers;
mod discovery;
mod front_proxy;
mod openapi;
mod proxy;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::Notify;

use super::ServerState;
use super::object::{metadata_str, object_entry, str_at, value_at};
use super::object_store::StoredObject;
use crate::schema::StatusCause;

pub(super) use cleanup::{holds_namespace, owner_is_gone};
pub(super) use controllers::keep_running;
pub(super) use discovery::{RemoteGroup, remote_groups};
pub(super) use front_proxy::publish as publish_front_proxy;
pub(super) use openapi::{remote_index_entries, remote_swagger};
pub(super) use proxy::handle;

/// Where the `APIService`s lie.
const STORAGE: &str = "apiservices.apiregistration.k8s.io";

/// What aggregation knows beside the objects.
#[derive(Debug, Default)]
pub(super) struct Aggregation {
    /// Whether there ever was an `APIService`.
    is_used: AtomicBool,
    front_proxy: OnceLock<front_proxy::FrontProxy>,
    /// Wakes the controllers.
    wake: Arc<Notify>,
    task: Mutex<Option<tokio::task::JoinHandle<()>>>,
    /// Owners that went, whose dependents on other servers are still to be deleted.
    gone_owners: Mutex<Vec<String>>,
    /// What servers said of themselves last, by name of their `APIService`.
    last_discovery: Mutex<BTreeMap<String, Vec<Value>>>,
    last_openapi: Mutex<BTreeMap<(String, &'static str), Value>>,
}

impl Aggregation {
    fn is_used(&self) -> bool {
        self.is_used.load(Ordering::Relaxed)
    }

    /// Has the controllers look again.
    fn wake(&self) {
        self.wake.notify_one();
    }
}

/// A version of an API group that another server serves.
#[derive(Debug, Clone)]
pub(super) struct RemoteApi {
    /// Of the `APIService`.
    name: String,
    pub group: String,
    pub version: String,
    group_priority: i64,
    version_priority: i64,
    service_namespace: String,
    service_name: String,
    port: u16,
    /// PEM.
    ca_bundle: Vec<u8>,
    insecure_skip_tls_verify: bool,
    /// The condition `Available`.
    is_available: bool,
}

impl RemoteApi {
    /// `None` for an `APIService` without a service, which this server serves itself.
    fn parse(stored: &StoredObject) -> Option<Self> {
        let object = stored.object();
        let spec = value_at(&object, &["spec"]);
        let service = value_at(spec, &["service"]);
        if !service.is_object() {
            return None;
        }
        let priority = |field: &str| value_at(spec, &[field]).as_i64().unwrap_or_default();
        let port = value_at(service, &["port"]).as_u64().unwrap_or(443);
        Some(Self {
            name: stored.name.clone(),
            group: str_at(spec, &["group"]).into(),
            version: str_at(spec, &["version"]).into(),
            group_priority: priority("groupPriorityMinimum"),
            version_priority: priority("versionPriority"),
            service_namespace: str_at(service, &["namespace"]).into(),
            service_name: str_at(service, &["name"]).into(),
            port: u16::try_from(port).unwrap_or(443),
            ca_bundle: STANDARD
                .decode(str_at(spec, &["caBundle"]))
                .unwrap_or_default(),
            insecure_skip_tls_verify: value_at(spec, &["insecureSkipTLSVerify"]) == true,
            is_available: str_at(&available_condition(&object), &["status"]) == "True",
        })
    }

    /// `/apis/GROUP/VERSION`.
    fn root(&self) -> String {
        format!("/apis/{}/{}", self.group, self.version)
    }
}

/// The condition `Available` of an `APIService`; `Null` without one.
fn available_condition(object: &Value) -> Value {
    let all = value_at(object, &["status", "conditions"]).as_array();
    let mut all = all.into_iter().flatten();
    all.find(|condition| str_at(condition, &["type"]) == "Available")
        .cloned()
        .unwrap_or_default()
}

/// What other servers serve: the most important group first, and in it the most important version.
fn remote_apis(server: &ServerState) -> Vec<RemoteApi> {
    if !server.aggregation.is_used() {
        return Vec::new();
    }
    let snapshot = server.store.list(STORAGE, "");
    let mut all: Vec<RemoteApi> = snapshot
        .objects
        .iter()
        .filter_map(|stored| RemoteApi::parse(stored))
        .collect();
    all.sort_by_key(|api| {
        (
            -api.group_priority,
            api.group.clone(),
            -api.version_priority,
            api.version.clone(),
        )
    });
    all
}

/// Who serves a path, if another server does: a group's version with all below it, and its `OpenAPI` v3 document.
pub(super) fn remote_api_of(server: &ServerState, path: &str) -> Option<RemoteApi> {
    if !server.aggregation.is_used() {
        return None;
    }
    let path = path.strip_prefix("/openapi/v3").unwrap_or(path);
    let mut parts = path.strip_prefix("/apis/")?.split('/');
    let (group, version) = (parts.next()?, parts.next()?);
    let stored = server
        .store
        .get(STORAGE, "", &format!("{version}.{group}"))?;
    RemoteApi::parse(&stored)
}

/// Defaults that the server writes down.
pub(super) fn set_defaults(object: &mut Value) {
    let service = &mut object["spec"]["service"];
    if service.is_object() && service.get("port").is_none() {
        service["port"] = 443.into();
    }
}

/// What is wrong with an `APIService` (kube-aggregator `pkg/apis/apiregistration/validation`).
pub(super) fn validate(object: &Value) -> Vec<StatusCause> {
    let mut causes = Vec::new();
    let spec = value_at(object, &["spec"]);
    let (group, version) = (str_at(spec, &["group"]), str_at(spec, &["version"]));
    let name = metadata_str(object, "name");
    let wanted = format!("{version}.{group}");
    if name != wanted {
        let why = format!("must be `spec.version+\".\"+spec.group`: {wanted:?}");
        causes.push(StatusCause::invalid(
            "metadata.name",
            &Value::from(name),
            &why,
        ));
    }
    for (field, most, why) in [
        (
            "groupPriorityMinimum",
            20_000,
            "must be positive and less than 20000",
        ),
        (
            "versionPriority",
            1_000,
            "must be positive and less than 1000",
        ),
    ] {
        let priority = value_at(spec, &[field]).as_i64().unwrap_or_default();
        if priority <= 0 || priority > most {
            let field = format!("spec.{field}");
            causes.push(StatusCause::invalid(field, &Value::from(priority), why));
        }
    }
    causes.extend(validate_service(spec));
    causes
}

fn validate_service(spec: &Value) -> Vec<StatusCause> {
    let mut causes = Vec::new();
    let ca_bundle = str_at(spec, &["caBundle"]);
    let skips = value_at(spec, &["insecureSkipTLSVerify"]) == true;
    let skip =
        |why: &str| StatusCause::invalid("spec.insecureSkipTLSVerify", &Value::from(true), why);
    let service = value_at(spec, &["service"]);
    if !service.is_object() {
        if !ca_bundle.is_empty() {
            let bytes = Value::from(format!("{} bytes", ca_bundle.len() / 4 * 3));
            let why = "local APIServices may not have a caBundle";
            causes.push(StatusCause::invalid("spec.caBundle", &bytes, why));
        }
        if skips {
            causes.push(skip("local APIServices may not have insecureSkipTLSVerify"));
        }
        return causes;
    }
    for field in ["namespace", "name"] {
        if str_at(service, &[field]).is_empty() {
            let field = format!("spec.service.{field}");
            causes.push(StatusCause::required(field, ""));
        }
    }
    if skips && !ca_bundle.is_empty() {
        causes.push(skip("may not be true if caBundle is present"));
    }
    causes
}

/// After an `APIService` was created or changed.
pub(super) fn after_write(server: &ServerState, stored: &StoredObject) {
    server.aggregation.is_used.store(true, Ordering::Relaxed);
    publish_front_proxy(server);
    if RemoteApi::parse(stored).is_none() {
        controllers::set_available(server, &stored.name, &controllers::Verdict::local());
    }
    server.aggregation.wake();
}

/// After something changed on which aggregation depends, such as a service.
pub(super) fn look_again(server: &ServerState) {
    if server.aggregation.is_used() {
        server.aggregation.wake();
    }
}

/// The object's `status.conditions` with one of them replaced.
fn replace_condition(object: &mut Value, condition: Value) {
    let mut all = value_at(object, &["status", "conditions"])
        .as_array()
        .cloned()
        .unwrap_or_default();
    let is_same = |one: &Value| one["type"] == condition["type"];
    match all.iter_mut().find(|one| is_same(one)) {
        Some(place) => *place = condition,
        None => all.push(condition),
    }
    object_entry(object, "status").insert("conditions".into(), all.into());
}
