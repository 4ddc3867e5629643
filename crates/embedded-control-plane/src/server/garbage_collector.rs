//! What the controllers of a real cluster do after a write, done at once: garbage collection, emptying a namespace that
//! goes, installing and removing the kinds of a CRD.
//!
//! It runs in the request that caused it, so that a test sees an outcome and not a race; watchers see the same events in
//! the same order as on a real cluster. Only what lies on other servers (`aggregation`) goes a moment later.

use std::sync::Arc;

use serde_json::Value;

use super::ServerState;
use super::aggregation;
use super::crd;
use super::delete::{self, DeleteOptions, FOREGROUND_FINALIZER, ORPHAN_FINALIZER};
use super::kinds::{Kind, Strategy};
use super::object::{finalizers, set_finalizers, set_metadata, value_at};
use super::object_store::{ObjectKey, StoredObject};

/// After an object was created or changed. Returns it as it is then.
pub(super) fn after_write(
    server: &ServerState,
    kind: &Kind,
    stored: Arc<StoredObject>,
) -> Arc<StoredObject> {
    match kind.strategy {
        Strategy::Namespace if stored.deleting => delete_namespace_contents(server, &stored.name),
        Strategy::CustomResourceDefinition => crd::after_write(server, &stored),
        Strategy::ApiService => aggregation::after_write(server, &stored),
        Strategy::Kept if &*kind.storage == "services" => aggregation::look_again(server),
        _ => {}
    }
    if stored.deleting {
        let object = stored.object();
        if finalizers(&object).contains(&ORPHAN_FINALIZER) {
            orphan_dependents(server, &stored.uid);
            remove_finalizer(server, &kind.storage, &stored, ORPHAN_FINALIZER);
        } else if finalizers(&object).contains(&FOREGROUND_FINALIZER) {
            delete_dependents(server, &stored);
        }
    }
    if !stored.owners.is_empty() {
        collect_dependent(
            server,
            &kind.storage,
            &(stored.namespace.clone(), stored.name.clone()),
        );
    }
    // The answer is what this request wrote; what the controllers make of it comes by watch, as on a real cluster.
    stored
}

/// After an object is gone.
pub(super) fn after_removal(server: &ServerState, kind: &Kind, last: &StoredObject) {
    for (storage, key) in server.store.dependents(&last.uid) {
        collect_dependent(server, &storage, &key);
    }
    for owner in &last.owners {
        finish_foreground_deletion(server, owner);
    }
    aggregation::owner_is_gone(server, &last.uid);
    if kind.strategy == Strategy::CustomResourceDefinition {
        crd::after_removal(server, last);
    }
    if kind.is_custom() {
        crd::finish_crd_deletion(server, &kind.storage);
    }
    if !last.namespace.is_empty()
        && server
            .store
            .get("namespaces", "", &last.namespace)
            .is_some_and(|namespace| namespace.deleting)
    {
        finalize_namespace(server, &last.namespace);
    }
}

/// Deletes an object none of whose owners lives; drops the references to owners that are gone when others live.
fn collect_dependent(server: &ServerState, storage: &Arc<str>, key: &ObjectKey) {
    let kinds = server.kinds();
    let Some(kind) = kinds.by_storage(storage) else {
        return;
    };
    let Some(stored) = server.store.get(storage, &key.0, &key.1) else {
        return;
    };
    let mut object = stored.object();
    let Some(owners) = value_at(&object, &["metadata", "ownerReferences"])
        .as_array()
        .cloned()
    else {
        return;
    };
    let exists = |owner: &Value| {
        let uid = value_at(owner, &["uid"]).as_str().unwrap_or_default();
        let known = kinds.by_kind(
            value_at(owner, &["apiVersion"])
                .as_str()
                .unwrap_or_default(),
            value_at(owner, &["kind"]).as_str().unwrap_or_default(),
        );
        // A kind that is not served cannot be looked up: the collector leaves its dependents alone.
        let Some(known) = known else { return true };
        server
            .store
            .find_by_uid(uid)
            .is_some_and(|(storage, (namespace, name))| {
                storage == known.storage
                    && value_at(owner, &["name"]).as_str() == Some(name.as_str())
                    && (namespace.is_empty() || namespace == stored.namespace)
            })
    };
    let existing_owners: Vec<Value> = owners
        .iter()
        .filter(|owner| exists(owner))
        .cloned()
        .collect();
    if existing_owners.len() == owners.len() {
        return;
    }
    if existing_owners.is_empty() {
        // Gone meanwhile is as good.
        let _ = delete::delete(server, kind, &key.0, &key.1, &DeleteOptions::default());
    } else {
        set_metadata(&mut object, "ownerReferences", existing_owners);
        let _ = server.store.put(storage, Some(stored.revision), object);
    }
}

fn orphan_dependents(server: &ServerState, uid: &str) {
    for (storage, (namespace, name)) in server.store.dependents(uid) {
        let Some(stored) = server.store.get(&storage, &namespace, &name) else {
            continue;
        };
        let mut object = stored.object();
        let owners = value_at(&object, &["metadata", "ownerReferences"])
            .as_array()
            .cloned()
            .unwrap_or_default();
        let others: Vec<Value> = owners
            .into_iter()
            .filter(|owner| value_at(owner, &["uid"]) != uid)
            .collect();
        if others.is_empty() {
            super::object::remove_metadata(&mut object, "ownerReferences");
        } else {
            set_metadata(&mut object, "ownerReferences", others);
        }
        let _ = server.store.put(&storage, Some(stored.revision), object);
    }
}

/// Foreground: the dependents go first; those that block (`blockOwnerDeletion`) hold the owner until they are gone.
fn delete_dependents(server: &ServerState, owner: &StoredObject) {
    let kinds = server.kinds();
    for (storage, (namespace, name)) in server.store.dependents(&owner.uid) {
        if let Some(kind) = kinds.by_storage(&storage) {
            let going = server
                .store
                .get(&storage, &namespace, &name)
                .is_some_and(|stored| stored.deleting);
            if !going {
                let _ = delete::delete(server, kind, &namespace, &name, &DeleteOptions::default());
            }
        }
    }
    finish_foreground_deletion(server, &owner.uid);
}

/// Lets an owner go whose blocking dependents are gone.
fn finish_foreground_deletion(server: &ServerState, uid: &str) {
    let Some((storage, (namespace, name))) = server.store.find_by_uid(uid) else {
        return;
    };
    let Some(owner) = server.store.get(&storage, &namespace, &name) else {
        return;
    };
    if !owner.deleting || !finalizers(&owner.object()).contains(&FOREGROUND_FINALIZER) {
        return;
    }
    let blocks = |(storage, (namespace, name)): &(Arc<str>, ObjectKey)| {
        server
            .store
            .get(storage, namespace, name)
            .is_some_and(|stored| {
                let object = stored.object();
                let owners = value_at(&object, &["metadata", "ownerReferences"])
                    .as_array()
                    .cloned()
                    .unwrap_or_default();
                owners.iter().any(|owner| {
                    value_at(owner, &["uid"]) == uid
                        && value_at(owner, &["blockOwnerDeletion"]) == true
                })
            })
    };
    if !server.store.dependents(uid).iter().any(blocks) {
        remove_finalizer(server, &storage, &owner, FOREGROUND_FINALIZER);
    }
}

/// Takes one finalizer off; the object goes when it was the last.
pub(super) fn remove_finalizer(
    server: &ServerState,
    storage: &Arc<str>,
    stored: &StoredObject,
    finalizer: &str,
) {
    let kinds = server.kinds();
    let Some(kind) = kinds.by_storage(storage) else {
        return;
    };
    loop {
        let Some(current) = server.store.get(storage, &stored.namespace, &stored.name) else {
            return;
        };
        let mut object = current.object();
        let held: Vec<String> = finalizers(&object)
            .into_iter()
            .filter(|one| *one != finalizer)
            .map(str::to_owned)
            .collect();
        set_finalizers(&mut object, &held);
        if current.deleting && held.is_empty() {
            if let Ok(last) = server.store.remove(storage, &current, object) {
                after_removal(server, kind, &last);
                return;
            }
        } else if server
            .store
            .put(storage, Some(current.revision), object)
            .is_ok()
        {
            return;
        }
    }
}

fn delete_namespace_contents(server: &ServerState, namespace: &str) {
    let kinds = server.kinds();
    for (storage, (inside, name)) in server.store.objects_in_namespace(namespace) {
        if let Some(kind) = kinds.by_storage(&storage) {
            // What has finalizers is only marked; its last finalizer brings us back here.
            let _ = delete::delete(server, kind, &inside, &name, &DeleteOptions::default());
        }
    }
    finalize_namespace(server, namespace);
}

fn finalize_namespace(server: &ServerState, namespace: &str) {
    if !aggregation::holds_namespace(server) {
        finalize_emptied_namespace(server, namespace);
    }
}

/// Lets a namespace go that is being deleted, unless something is left in it here.
pub(super) fn finalize_emptied_namespace(server: &ServerState, namespace: &str) {
    if !server.store.objects_in_namespace(namespace).is_empty() {
        return;
    }
    let kinds = server.kinds();
    let Some(kind) = kinds.by_storage("namespaces") else {
        return;
    };
    while let Some(stored) = server.store.get("namespaces", "", namespace) {
        let mut object = stored.object();
        object["spec"] = serde_json::json!({});
        if !finalizers(&object).is_empty() {
            if server
                .store
                .put(&kind.storage, Some(stored.revision), object)
                .is_ok()
            {
                return;
            }
        } else if server.store.remove(&kind.storage, &stored, object).is_ok() {
            return;
        }
    }
}
