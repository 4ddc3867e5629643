//! `CustomResourceDefinition`s: installing one makes its kinds served, deleting one takes its objects along.

use serde_json::{Value, json};

use super::World;
use super::delete::{self, Options};
use super::failure::Cause;
use super::kinds::Kind;
use super::object::{at, finalizers, meta, now, set_finalizers, text};
use super::settle;
use super::store::Stored;

/// Holds a CRD until its objects are gone.
const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// Defaults that the server writes down.
pub(super) fn fill_in(definition: &mut Value) {
    if !at(definition, &["spec", "conversion"]).is_object() {
        definition["spec"]["conversion"] = json!({"strategy": "None"});
    }
    let kind = text(definition, &["spec", "names", "kind"]).to_owned();
    let names = &mut definition["spec"]["names"];
    if text(names, &["singular"]).is_empty() {
        names["singular"] = kind.to_lowercase().into();
    }
    if text(names, &["listKind"]).is_empty() {
        names["listKind"] = format!("{kind}List").into();
    }
}

/// What is wrong with a CRD, as far as serving it depends on it.
pub(super) fn validate(definition: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let (group, plural) = (
        text(definition, &["spec", "group"]),
        text(definition, &["spec", "names", "plural"]),
    );
    let wanted = format!("{plural}.{group}");
    if meta(definition, "name") != wanted {
        let why = "must be spec.names.plural+\".\"+spec.group";
        causes.push(Cause::invalid(
            "metadata.name",
            &Value::from(meta(definition, "name")),
            why,
        ));
    }
    if !matches!(
        text(definition, &["spec", "scope"]),
        "Namespaced" | "Cluster"
    ) {
        causes.push(Cause::required("spec.scope", ""));
    }
    let versions = at(definition, &["spec", "versions"])
        .as_array()
        .cloned()
        .unwrap_or_default();
    let stored = versions
        .iter()
        .filter(|version| at(version, &["storage"]) == true)
        .count();
    if stored != 1 {
        let why = "must have exactly one version marked as storage version";
        causes.push(Cause::invalid(
            "spec.versions",
            &Value::Array(versions.clone()),
            why,
        ));
    }
    for (index, version) in versions.iter().enumerate() {
        if !at(version, &["schema", "openAPIV3Schema"]).is_object() {
            let field = format!("spec.versions[{index}].schema.openAPIV3Schema");
            causes.push(Cause::required(field, "schemas are required"));
        }
    }
    causes
}

/// Serves the CRD's kinds and writes its conditions; when it is going, deletes its objects first.
pub(super) fn after_write(world: &World, stored: &Stored) {
    let definition = stored.object();
    if stored.deleting {
        delete_objects(world, &stored.name);
        return;
    }
    world.change_kinds(|kinds| {
        kinds.remove_storage(&stored.name);
        Kind::of_definition(&definition)
            .into_iter()
            .for_each(|kind| kinds.add(kind));
    });
    establish(world, stored, definition);
}

fn establish(world: &World, stored: &Stored, mut definition: Value) {
    let before = definition.clone();
    let names = at(&definition, &["spec", "names"]).clone();
    let mut versions: Vec<Value> = at(&definition, &["status", "storedVersions"])
        .as_array()
        .cloned()
        .unwrap_or_default();
    for version in at(&definition, &["spec", "versions"])
        .as_array()
        .into_iter()
        .flatten()
    {
        let name = at(version, &["name"]);
        if at(version, &["storage"]) == true && !versions.contains(name) {
            versions.push(name.clone());
        }
    }
    let known = at(&definition, &["status", "conditions"])
        .as_array()
        .cloned()
        .unwrap_or_default();
    let condition = |kind: &str, reason: &str, message: &str| {
        let since = known.iter().find(|condition| {
            at(condition, &["type"]) == kind && at(condition, &["status"]) == "True"
        });
        let since = since.map_or_else(now, |condition| {
            text(condition, &["lastTransitionTime"]).to_owned()
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
    if !held.iter().any(|finalizer| finalizer == CLEANUP) {
        held.push(CLEANUP.into());
        set_finalizers(&mut definition, &held);
    }
    if definition != before
        && let Some(kind) = world
            .kinds()
            .by_storage("customresourcedefinitions.apiextensions.k8s.io")
    {
        // Whoever wrote in between established it as well.
        let _ = world
            .store
            .put(&kind.storage, Some(stored.revision), definition);
    }
}

fn delete_objects(world: &World, storage: &str) {
    let kinds = world.kinds();
    if let Some(kind) = kinds.by_storage(storage) {
        for object in world.store.list(storage, "").objects {
            let _ = delete::delete(
                world,
                kind,
                &object.namespace,
                &object.name,
                &Options::default(),
            );
        }
    }
    finish_removal(world, storage);
}

/// Lets a CRD go that is being deleted and has no objects left.
pub(super) fn finish_removal(world: &World, storage: &str) {
    let kinds = world.kinds();
    let Some(kind) = kinds.by_storage("customresourcedefinitions.apiextensions.k8s.io") else {
        return;
    };
    let Some(definition) = world.store.get(&kind.storage, "", storage) else {
        return;
    };
    if definition.deleting && world.store.is_empty(storage) {
        settle::release(world, &kind.storage, &definition, CLEANUP);
    }
}

/// Stops serving the kinds of a CRD that is gone.
pub(super) fn after_removal(world: &World, last: &Stored) {
    world.change_kinds(|kinds| kinds.remove_storage(&last.name));
    world.store.close_watches(Some(&last.name));
}
