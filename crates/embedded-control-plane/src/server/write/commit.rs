//! From an object that was read to the one that is stored: named, completed, validated, and put where it belongs.

use serde_json::Value;
use uuid::Uuid;

use super::WriteRequest;
use crate::schema::StatusCause;
use crate::server::kinds::{Kind, Strategy};
use crate::server::object::{self, metadata_str, remove_metadata, set_metadata, value_at};
use crate::server::object_store::StoredObject;
use crate::server::status_error::StatusError;
use crate::server::{apply, garbage_collector, metadata_validation, strategy};

/// What became of a write.
pub(super) enum WriteOutcome {
    Committed(std::sync::Arc<StoredObject>),
    /// Nothing was stored: a dry run, or nothing changed.
    NotCommitted(Value),
}

impl WriteRequest<'_> {
    /// Names a new object and puts it into its namespace, which must be there and not going.
    pub(super) fn assign_name_and_namespace(
        &self,
        mut object: Value,
    ) -> Result<Value, StatusError> {
        self.check_namespace(&object)?;
        if !self.info.name.is_empty() {
            set_metadata(&mut object, "name", self.info.name.clone());
        } else if metadata_str(&object, "name").is_empty()
            && !metadata_str(&object, "generateName").is_empty()
        {
            let name = metadata_validation::generate_name(metadata_str(&object, "generateName"));
            set_metadata(&mut object, "name", name);
        }
        if !self.kind.namespaced {
            remove_metadata(&mut object, "namespace");
            return Ok(object);
        }
        if self.info.namespace.is_empty() {
            return Err(StatusError::bad_request(
                "an empty namespace may not be set during creation",
            ));
        }
        set_metadata(&mut object, "namespace", self.info.namespace.clone());
        let namespace = self
            .server
            .store
            .get("namespaces", "", &self.info.namespace)
            .ok_or_else(|| StatusError::namespace_not_found(&self.info.namespace))?;
        if namespace.deleting {
            let why = format!(
                "unable to create new content in namespace {} because it is being terminated",
                self.info.namespace
            );
            let text = format!("namespace {} is being terminated", self.info.namespace);
            let error = StatusError::forbidden(self.kind, metadata_str(&object, "name"), &why);
            return Err(error.with_cause("NamespaceTerminating", "metadata.namespace", &text));
        }
        Ok(object)
    }

    pub(super) fn insert(
        &self,
        mut object: Value,
        set_managed_fields: impl FnOnce(&mut Value),
    ) -> Result<WriteOutcome, StatusError> {
        if !metadata_str(&object, "resourceVersion").is_empty() {
            return Err(StatusError::internal(
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
            remove_metadata(&mut object, field);
        }
        set_metadata(&mut object, "uid", Uuid::new_v4().to_string());
        set_metadata(&mut object, "creationTimestamp", object::now());
        strategy::prepare_create(self.kind, &mut object);
        let name = metadata_str(&object, "name").to_owned();
        let causes = strategy::validate(self.kind, &object, None);
        if !causes.is_empty() {
            return Err(StatusError::invalid(self.kind, &name, &causes));
        }
        set_managed_fields(&mut object);
        if self
            .server
            .store
            .get(&self.kind.storage, &self.info.namespace, &name)
            .is_some()
        {
            return Err(StatusError::already_exists(self.kind, &name));
        }
        if self.query.dry_run {
            return Ok(WriteOutcome::NotCommitted(object));
        }
        let stored = self
            .server
            .store
            .put(&self.kind.storage, None, object)
            .map_err(|_| StatusError::already_exists(self.kind, &name))?;
        Ok(WriteOutcome::Committed(garbage_collector::after_write(
            self.server,
            self.kind,
            stored,
        )))
    }

    /// Writes a changed object over `old`. `is_replacement`: the client sent all of it, and must say which version it replaces
    /// where the kind wants that.
    pub(super) fn update(
        &self,
        old: &StoredObject,
        mut object: Value,
        is_replacement: bool,
        set_managed_fields: impl FnOnce(&mut Value, &Value) -> Result<(), StatusError>,
    ) -> Result<WriteOutcome, StatusError> {
        let before = old.object();
        let name = &self.info.name;
        let revision = metadata_str(&object, "resourceVersion");
        if revision.is_empty() || revision == "0" {
            let conditional = matches!(
                self.kind.strategy,
                Strategy::CustomResource | Strategy::Lease | Strategy::CustomResourceDefinition
            );
            if is_replacement && conditional {
                let cause = StatusCause::invalid(
                    "metadata.resourceVersion",
                    &Value::from(0),
                    "must be specified for an update",
                );
                return Err(StatusError::invalid(self.kind, name, &[cause]));
            }
        } else if revision != old.revision.to_string() {
            return Err(StatusError::object_modified(self.kind, name));
        }
        let uid = metadata_str(&object, "uid");
        if !uid.is_empty() && uid != old.uid {
            if !is_replacement {
                let cause =
                    StatusCause::invalid("metadata.uid", &Value::from(uid), "field is immutable");
                return Err(StatusError::invalid(self.kind, name, &[cause]));
            }
            let why = format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                old.uid
            );
            return Err(StatusError::conflict(self.kind, name, &why));
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
            match value_at(&before, &["metadata", field]) {
                Value::Null => remove_metadata(&mut object, field),
                kept => object::metadata_mut(&mut object).insert(field.into(), kept.clone()),
            };
        }
        strategy::prepare_update(self.kind, &self.info.subresource, &mut object, &before);
        let causes = strategy::validate(self.kind, &object, Some(&before));
        if !causes.is_empty() {
            return Err(StatusError::invalid(self.kind, name, &causes));
        }
        set_managed_fields(&mut object, &before)?;
        if apply::equals_ignoring_times(&object, &before) {
            return Ok(WriteOutcome::NotCommitted(before));
        }
        if self.query.dry_run {
            return Ok(WriteOutcome::NotCommitted(object));
        }
        if old.deleting
            && object::finalizers(&object).is_empty()
            && !has_spec_finalizers(self.kind, &object)
        {
            let last = self
                .server
                .store
                .remove(&self.kind.storage, old, object)
                .map_err(|_| StatusError::object_modified(self.kind, name))?;
            garbage_collector::after_removal(self.server, self.kind, &last);
            return Ok(WriteOutcome::Committed(last));
        }
        let stored = self
            .server
            .store
            .put(&self.kind.storage, Some(old.revision), object)
            .map_err(|_| StatusError::object_modified(self.kind, name))?;
        Ok(WriteOutcome::Committed(garbage_collector::after_write(
            self.server,
            self.kind,
            stored,
        )))
    }
}

/// A namespace is held by `spec.finalizers` until its contents are gone.
pub(in crate::server) fn has_spec_finalizers(kind: &Kind, object: &Value) -> bool {
    kind.strategy == Strategy::Namespace
        && value_at(object, &["spec", "finalizers"])
            .as_array()
            .is_some_and(|finalizers| !finalizers.is_empty())
}
