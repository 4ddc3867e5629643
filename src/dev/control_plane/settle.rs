//! What the controllers of a real cluster do after a write, done at once: garbage collection, emptying a namespace that
//! goes, installing and removing the kinds of a CRD.
//!
//! It runs in the request that caused it, so that a test sees an outcome and not a race; watchers see the same events in
//! the same order as on a real cluster.

use std::sync::Arc;

use serde_json::Value;

use super::World;
use super::definitions;
use super::delete::{self, FOREGROUND, ORPHAN, Options};
use super::kinds::{Kind, Nature};
use super::object::{at, finalizers, set_finalizers, set_meta};
use super::store::{Key, Stored};

/// After an object was created or changed. Returns it as it is then.
pub(super) fn after_write(world: &World, kind: &Kind, stored: Arc<Stored>) -> Arc<Stored> {
    match kind.nature {
        Nature::Namespace if stored.deleting => empty_namespace(world, &stored.name),
        Nature::Definition => definitions::after_write(world, &stored),
        _ => {}
    }
    if stored.deleting {
        let object = stored.object();
        if finalizers(&object).contains(&ORPHAN) {
            orphan_dependents(world, &stored.uid);
            release(world, &kind.storage, &stored, ORPHAN);
        } else if finalizers(&object).contains(&FOREGROUND) {
            delete_dependents(world, &stored);
        }
    }
    if !stored.owners.is_empty() {
        collect_if_unowned(
            world,
            &kind.storage,
            &(stored.namespace.clone(), stored.name.clone()),
        );
    }
    // The answer is what this request wrote; what the controllers make of it comes by watch, as on a real cluster.
    stored
}

/// After an object is gone.
pub(super) fn after_removal(world: &World, kind: &Kind, last: &Stored) {
    for (storage, key) in world.store.dependents(&last.uid) {
        collect_if_unowned(world, &storage, &key);
    }
    for owner in &last.owners {
        finish_foreground(world, owner);
    }
    if kind.nature == Nature::Definition {
        definitions::after_removal(world, last);
    }
    if kind.is_custom() {
        definitions::finish_removal(world, &kind.storage);
    }
    if !last.namespace.is_empty()
        && world
            .store
            .get("namespaces", "", &last.namespace)
            .is_some_and(|namespace| namespace.deleting)
    {
        finish_namespace(world, &last.namespace);
    }
}

/// Deletes an object none of whose owners lives; drops the references to owners that are gone when others live.
fn collect_if_unowned(world: &World, storage: &Arc<str>, key: &Key) {
    let kinds = world.kinds();
    let Some(kind) = kinds.by_storage(storage) else {
        return;
    };
    let Some(stored) = world.store.get(storage, &key.0, &key.1) else {
        return;
    };
    let mut object = stored.object();
    let Some(owners) = at(&object, &["metadata", "ownerReferences"])
        .as_array()
        .cloned()
    else {
        return;
    };
    let lives = |owner: &Value| {
        let uid = at(owner, &["uid"]).as_str().unwrap_or_default();
        let known = kinds.by_kind(
            at(owner, &["apiVersion"]).as_str().unwrap_or_default(),
            at(owner, &["kind"]).as_str().unwrap_or_default(),
        );
        // A kind that is not served cannot be looked up: the collector leaves its dependents alone.
        let Some(known) = known else { return true };
        world
            .store
            .living(uid)
            .is_some_and(|(storage, (namespace, name))| {
                storage == known.storage
                    && at(owner, &["name"]).as_str() == Some(name.as_str())
                    && (namespace.is_empty() || namespace == stored.namespace)
            })
    };
    let living: Vec<Value> = owners
        .iter()
        .filter(|owner| lives(owner))
        .cloned()
        .collect();
    if living.len() == owners.len() {
        return;
    }
    if living.is_empty() {
        // Gone meanwhile is as good.
        let _ = delete::delete(world, kind, &key.0, &key.1, &Options::default());
    } else {
        set_meta(&mut object, "ownerReferences", living);
        let _ = world.store.put(storage, Some(stored.revision), object);
    }
}

fn orphan_dependents(world: &World, uid: &str) {
    for (storage, (namespace, name)) in world.store.dependents(uid) {
        let Some(stored) = world.store.get(&storage, &namespace, &name) else {
            continue;
        };
        let mut object = stored.object();
        let owners = at(&object, &["metadata", "ownerReferences"])
            .as_array()
            .cloned()
            .unwrap_or_default();
        let others: Vec<Value> = owners
            .into_iter()
            .filter(|owner| at(owner, &["uid"]) != uid)
            .collect();
        if others.is_empty() {
            super::object::drop_meta(&mut object, "ownerReferences");
        } else {
            set_meta(&mut object, "ownerReferences", others);
        }
        let _ = world.store.put(&storage, Some(stored.revision), object);
    }
}

/// Foreground: the dependents go first; those that block (`blockOwnerDeletion`) hold the owner until they are gone.
fn delete_dependents(world: &World, owner: &Stored) {
    let kinds = world.kinds();
    for (storage, (namespace, name)) in world.store.dependents(&owner.uid) {
        if let Some(kind) = kinds.by_storage(&storage) {
            let going = world
                .store
                .get(&storage, &namespace, &name)
                .is_some_and(|stored| stored.deleting);
            if !going {
                let _ = delete::delete(world, kind, &namespace, &name, &Options::default());
            }
        }
    }
    finish_foreground(world, &owner.uid);
}

/// Lets an owner go whose blocking dependents are gone.
fn finish_foreground(world: &World, uid: &str) {
    let Some((storage, (namespace, name))) = world.store.living(uid) else {
        return;
    };
    let Some(owner) = world.store.get(&storage, &namespace, &name) else {
        return;
    };
    if !owner.deleting || !finalizers(&owner.object()).contains(&FOREGROUND) {
        return;
    }
    let blocks = |(storage, (namespace, name)): &(Arc<str>, Key)| {
        world
            .store
            .get(storage, namespace, name)
            .is_some_and(|stored| {
                let object = stored.object();
                let owners = at(&object, &["metadata", "ownerReferences"])
                    .as_array()
                    .cloned()
                    .unwrap_or_default();
                owners.iter().any(|owner| {
                    at(owner, &["uid"]) == uid && at(owner, &["blockOwnerDeletion"]) == true
                })
            })
    };
    if !world.store.dependents(uid).iter().any(blocks) {
        release(world, &storage, &owner, FOREGROUND);
    }
}

/// Takes one finalizer off; the object goes when it was the last.
pub(super) fn release(world: &World, storage: &Arc<str>, stored: &Stored, finalizer: &str) {
    let kinds = world.kinds();
    let Some(kind) = kinds.by_storage(storage) else {
        return;
    };
    loop {
        let Some(current) = world.store.get(storage, &stored.namespace, &stored.name) else {
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
            if let Ok(last) = world.store.remove(storage, &current, object) {
                after_removal(world, kind, &last);
                return;
            }
        } else if world
            .store
            .put(storage, Some(current.revision), object)
            .is_ok()
        {
            return;
        }
    }
}

fn empty_namespace(world: &World, namespace: &str) {
    let kinds = world.kinds();
    for (storage, (inside, name)) in world.store.contents(namespace) {
        if let Some(kind) = kinds.by_storage(&storage) {
            // What has finalizers is only marked; its last finalizer brings us back here.
            let _ = delete::delete(world, kind, &inside, &name, &Options::default());
        }
    }
    finish_namespace(world, namespace);
}

fn finish_namespace(world: &World, namespace: &str) {
    if !world.store.contents(namespace).is_empty() {
        return;
    }
    let kinds = world.kinds();
    let Some(kind) = kinds.by_storage("namespaces") else {
        return;
    };
    while let Some(stored) = world.store.get("namespaces", "", namespace) {
        let mut object = stored.object();
        object["spec"] = serde_json::json!({});
        if !finalizers(&object).is_empty() {
            if world
                .store
                .put(&kind.storage, Some(stored.revision), object)
                .is_ok()
            {
                return;
            }
        } else if world.store.remove(&kind.storage, &stored, object).is_ok() {
            return;
        }
    }
}
