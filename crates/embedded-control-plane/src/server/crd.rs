//! `CustomResourceDefinition`s: installing one makes its kinds served, deleting one takes its objects along.

use serde_json::{Value, json};

use super::ServerState;
use super::delete::{self, DeleteOptions};
use super::garbage_collector;
use super::kinds::Kind;
use super::object::{finalizers, metadata_str, now, set_finalizers, str_at, value_at};
use super::object_store::StoredObject;
use crate::schema::StatusCause;

/// Holds a CRD until its objects are gone.
const CLEANUP_FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

/// Defaults that the server writes down.
pub(super) fn set_defaults(definition: &mut Value) {
    if !value_at(definition, &["spec", "conversion"]).is_object() {
        definition["spec"]["conversion"] = json!({"strategy": "None"});
    }
    let kind = str_at(definition, &["spec", "names", "kind"]).to_owned();
    let names = &mut definition["spec"]["names"];
    if str_at(names, &["singular"]).is_empty() {
        names["singular"] = kind.to_lowercase().into();
    }
    if str_at(names, &["listKind"]).is_empty() {
        names["listKind"] = format!("{kind}List").into();
    }
}

/// What is wrong with a CRD, as far as serving it depends on it.
pub(super) fn validate(definition: &Value) -> Vec<StatusCause> {
    let mut causes = Vec::new();
    let (group, plural) = (
        str_at(definition, &["spec", "group"]),
        str_at(definition, &["spec", "names", "plural"]),
    );
    let wanted = format!("{plural}.{group}");
    if metadata_str(definition, "name") != wanted {
        let why = "must be spec.names.plural+\".\"+spec.group";
        causes.push(StatusCause::invalid(
            "metadata.name",
            &Value::from(metadata_str(definition, "name")),
            why,
        ));
    }
    if !matches!(
        str_at(definition, &["spec", "scope"]),
        "Namespaced" | "Cluster"
    ) {
        causes.push(StatusCause::required("spec.scope", ""));
    }
    let versions = value_at(definition, &["spec", "versions"])
        .as_array()
        .cloned()
        .unwrap_or_default();
    let stored = versions
        .iter()
        .filter(|version| value_at(version, &["storage"]) == true)
        .count();
    if stored != 1 {
        let why = "must have exactly one version marked as storage version";
        causes.push(StatusCause::invalid(
            "spec.versions",
            &Value::Array(versions.clone()),
            why,
        ));
    }
    for (index, version) in versions.iter().enumerate() {
        if !value_at(version, &["schema", "openAPIV3Schema"]).is_object() {
            let field = format!("spec.versions[{index}].schema.openAPIV3Schema");
            causes.push(StatusCause::required(field, "schemas are required"));
        }
    }
    causes
}

/// Serves the CRD's kinds and writes its conditions; when it is going, deletes its objects first.
pub(super) fn after_write(server: &ServerState, stored: &StoredObject) {
    let definition = stored.object();
    if stored.deleting {
        delete_objects(server, &stored.name);
        return;
    }
    server.update_kinds(|kinds| {
        kinds.remove_storage(&stored.name);
        Kind::from_crd(&definition)
            .into_iter()
            .for_each(|kind| kinds.add(kind));
    });
    establish(server, stored, definition);
}

fn establish(server: &ServerState, stored: &StoredObject, mut definition: Value) {
    let before = definition.clone();
    let names = value_at(&definition, &["spec", "names"]).clone();
    let mut versions: Vec<Value> = value_at(&definition, &["status", "storedVersions"])
        .as_array()
        .cloned()
        .unwrap_or_default();
    for version in value_at(&definition, &["spec", "versions"])
        .as_array()
        .into_iter()
        .flatten()
    {
        let name = value_at(version, &["name"]);
        if value_at(version, &["storage"]) == true && !versions.contains(name) {
            versions.push(name.clone());
        }
    }
    let known = value_at(&definition, &["status", "conditions"])
        .as_array()
        .cloned()
        .unwrap_or_default();
    let condition = |kind: &str, reason: &str, message: &str| {
        let since = known.iter().find(|condition| {
            value_at(condition, &["type"]) == kind && value_at(condition, &["status"]) == "True"
        });
        let since = since.map_or_else(now, |condition| {
            str_at(condition, &["lastTransitionTime"]).to_owned()
        });
        json!({"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": since})
    };
    definition["status"] = json!({
        "acceptedNames": names,
        "storedVersions": versions,
        "conditions": [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ],
    });
    let mut held: Vec<String> = finalizers(&definition)
        .into_iter()
        .map(str::to_owned)
        .collect();
    if !held.iter().any(|finalizer| finalizer == CLEANUP_FINALIZER) {
        held.push(CLEANUP_FINALIZER.into());
        set_finalizers(&mut definition, &held);
    }
    if definition != before
        && let Some(kind) = server
            .kinds()
            .by_storage("customresourcedefinitions.apiextensions.k8s.io")
    {
        // Whoever wrote in between established it as well.
        let _ = server
            .store
            .put(&kind.storage, Some(stored.revision), definition);
    }
}

fn delete_objects(server: &ServerState, storage: &str) {
    let kinds = server.kinds();
    if let Some(kind) = kinds.by_storage(storage) {
        for object in server.store.list(storage, "").objects {
            let _ = delete::delete(
                server,
                kind,
                &object.namespace,
                &object.name,
                &DeleteOptions::default(),
            );
        }
    }
    finish_crd_deletion(server, storage);
}

/// Lets a CRD go that is being deleted and has no objects left.
pub(super) fn finish_crd_deletion(server: &ServerState, storage: &str) {
    let kinds = server.kinds();
    let Some(kind) = kinds.by_storage("customresourcedefinitions.apiextensions.k8s.io") else {
        return;
    };
    let Some(definition) = server.store.get(&kind.storage, "", storage) else {
        return;
    };
    if definition.deleting && server.store.is_empty(storage) {
        garbage_collector::remove_finalizer(server, &kind.storage, &definition, CLEANUP_FINALIZER);
    }
}

/// Stops serving the kinds of a CRD that is gone.
pub(super) fn after_removal(server: &ServerState, last: &StoredObject) {
    server.update_kinds(|kinds| kinds.remove_storage(&last.name));
    server.store.close_watches(Some(&last.name));
}
