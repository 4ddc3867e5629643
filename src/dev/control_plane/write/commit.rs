//! From an object that was read to the one that is stored: named, completed, validated, and put where it belongs.

use serde_json::Value;
use uuid::Uuid;

use super::Writing;
use crate::dev::control_plane::failure::{Cause, Failure};
use crate::dev::control_plane::kinds::{Kind, Nature};
use crate::dev::control_plane::object::{self, at, drop_meta, meta, set_meta};
use crate::dev::control_plane::store::Stored;
use crate::dev::control_plane::{apply, names, settle, strategy};

/// What became of a write.
pub(super) enum Written {
    Stored(std::sync::Arc<Stored>),
    /// Nothing was stored: a dry run, or nothing changed.
    Tried(Value),
}

impl Writing<'_> {
    /// Names a new object and puts it into its namespace, which must be there and not going.
    pub(super) fn place_object(&self, mut object: Value) -> Result<Value, Failure> {
        self.check_namespace(&object)?;
        if !self.place.name.is_empty() {
            set_meta(&mut object, "name", self.place.name.clone());
        } else if meta(&object, "name").is_empty() && !meta(&object, "generateName").is_empty() {
            let name = names::generated(meta(&object, "generateName"));
            set_meta(&mut object, "name", name);
        }
        if !self.kind.namespaced {
            drop_meta(&mut object, "namespace");
            return Ok(object);
        }
        if self.place.namespace.is_empty() {
            return Err(Failure::bad_request(
                "an empty namespace may not be set during creation",
            ));
        }
        set_meta(&mut object, "namespace", self.place.namespace.clone());
        let namespace = self
            .world
            .store
            .get("namespaces", "", &self.place.namespace)
            .ok_or_else(|| Failure::namespace_not_found(&self.place.namespace))?;
        if namespace.deleting {
            let why = format!(
                "unable to create new content in namespace {} because it is being terminated",
                self.place.namespace
            );
            let text = format!("namespace {} is being terminated", self.place.namespace);
            let failure = Failure::forbidden(self.kind, meta(&object, "name"), &why);
            return Err(failure.with_cause("NamespaceTerminating", "metadata.namespace", &text));
        }
        Ok(object)
    }

    pub(super) fn insert(
        &self,
        mut object: Value,
        own: impl FnOnce(&mut Value),
    ) -> Result<Written, Failure> {
        if !meta(&object, "resourceVersion").is_empty() {
            return Err(Failure::internal(
                "resourceVersion should not be set on objects to be created",
            ));
        }
        for field in [
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "selfLink",
            "generation",
            "resourceVersion",
        ] {
            drop_meta(&mut object, field);
        }
        set_meta(&mut object, "uid", Uuid::new_v4().to_string());
        set_meta(&mut object, "creationTimestamp", object::now());
        strategy::prepare_create(self.kind, &mut object);
        let name = meta(&object, "name").to_owned();
        let causes = strategy::validate(self.kind, &object, None);
        if !causes.is_empty() {
            return Err(Failure::invalid(self.kind, &name, &causes));
        }
        own(&mut object);
        if self
            .world
            .store
            .get(&self.kind.storage, &self.place.namespace, &name)
            .is_some()
        {
            return Err(Failure::already_exists(self.kind, &name));
        }
        if self.query.dry_run {
            return Ok(Written::Tried(object));
        }
        let stored = self
            .world
            .store
            .put(&self.kind.storage, None, object)
            .map_err(|_| Failure::already_exists(self.kind, &name))?;
        Ok(Written::Stored(settle::after_write(
            self.world, self.kind, stored,
        )))
    }

    /// Writes a changed object over `old`. `whole`: the client sent all of it, and must say which version it replaces
    /// where the kind wants that.
    pub(super) fn change(
        &self,
        old: &Stored,
        mut object: Value,
        whole: bool,
        own: impl FnOnce(&mut Value, &Value) -> Result<(), Failure>,
    ) -> Result<Written, Failure> {
        let before = old.object();
        let name = &self.place.name;
        let revision = meta(&object, "resourceVersion");
        if revision.is_empty() || revision == "0" {
            let conditional = matches!(
                self.kind.nature,
                Nature::Custom | Nature::Lease | Nature::Definition
            );
            if whole && conditional {
                let cause = Cause::invalid(
                    "metadata.resourceVersion",
                    &Value::from(0),
                    "must be specified for an update",
                );
                return Err(Failure::invalid(self.kind, name, &[cause]));
            }
        } else if revision != old.revision.to_string() {
            return Err(Failure::modified(self.kind, name));
        }
        let uid = meta(&object, "uid");
        if !uid.is_empty() && uid != old.uid {
            if !whole {
                let cause = Cause::invalid("metadata.uid", &Value::from(uid), "field is immutable");
                return Err(Failure::invalid(self.kind, name, &[cause]));
            }
            let why = format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                old.uid
            );
            return Err(Failure::conflict(self.kind, name, &why));
        }
        for field in [
            "name",
            "namespace",
            "uid",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "generation",
            "selfLink",
            "generateName",
            "resourceVersion",
        ] {
            match at(&before, &["metadata", field]) {
                Value::Null => drop_meta(&mut object, field),
                kept => object::meta_mut(&mut object).insert(field.into(), kept.clone()),
            };
        }
        strategy::prepare_update(self.kind, &self.place.subresource, &mut object, &before);
        let causes = strategy::validate(self.kind, &object, Some(&before));
        if !causes.is_empty() {
            return Err(Failure::invalid(self.kind, name, &causes));
        }
        own(&mut object, &before)?;
        if apply::same_but_times(&object, &before) {
            return Ok(Written::Tried(before));
        }
        if self.query.dry_run {
            return Ok(Written::Tried(object));
        }
        if old.deleting
            && object::finalizers(&object).is_empty()
            && !spec_finalizers(self.kind, &object)
        {
            let last = self
                .world
                .store
                .remove(&self.kind.storage, old, object)
                .map_err(|_| Failure::modified(self.kind, name))?;
            settle::after_removal(self.world, self.kind, &last);
            return Ok(Written::Stored(last));
        }
        let stored = self
            .world
            .store
            .put(&self.kind.storage, Some(old.revision), object)
            .map_err(|_| Failure::modified(self.kind, name))?;
        Ok(Written::Stored(settle::after_write(
            self.world, self.kind, stored,
        )))
    }
}

/// A namespace is held by `spec.finalizers` until its contents are gone.
pub(in crate::dev::control_plane) fn spec_finalizers(kind: &Kind, object: &Value) -> bool {
    kind.nature == Nature::Namespace
        && at(object, &["spec", "finalizers"])
            .as_array()
            .is_some_and(|finalizers| !finalizers.is_empty())
}
