//! Create, replace and patch: from a request's body to a committed object.

mod body;
mod commit;

use http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::ServerState;
use super::apply;
use super::kinds::Kind;
use super::object::metadata_str;
use super::object_store::StoredObject;
use super::patch::Patch;
use super::read;
use super::request::{Query, Representation, RequestInfo};
use super::response::{self, ApiResponse};
use super::status_error::StatusError;
use crate::schema::StatusCause;

pub(super) use commit::has_spec_finalizers;

use commit::WriteOutcome;

/// How often a patch is tried again when somebody else wrote in between (the real server: five times).
const MAX_ATTEMPTS: usize = 5;

/// A write request, read.
pub(super) struct WriteRequest<'a> {
    pub server: &'a ServerState,
    pub kind: &'a Kind,
    pub info: &'a RequestInfo,
    pub query: &'a Query,
    pub representation: Representation,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
}

impl WriteRequest<'_> {
    /// POST to a collection.
    pub(super) fn create(&self) -> Result<ApiResponse, StatusError> {
        let (object, warnings) = self.parse_object()?;
        let manager = self.manager("Update");
        let object = self.assign_name_and_namespace(object)?;
        let stored = self.insert(object, |object| {
            apply::record_update(self.kind, None, object, &manager);
        })?;
        self.respond(stored, StatusCode::CREATED, &warnings)
    }

    /// PUT of an object.
    pub(super) fn replace(&self) -> Result<ApiResponse, StatusError> {
        let (object, warnings) = self.parse_object()?;
        self.check_name(&object)?;
        let manager = self.manager("Update");
        let old = self.existing_object()?;
        let stored = self.update(&old, object, true, |object, before| {
            apply::record_update(self.kind, Some(before), object, &manager);
            Ok(())
        })?;
        self.respond(stored, StatusCode::OK, &warnings)
    }

    /// PATCH of an object.
    pub(super) fn patch(&self) -> Result<ApiResponse, StatusError> {
        let patch = Patch::parse(self.kind, self.headers, self.body)?;
        if let Patch::Apply(config) = &patch {
            return self.apply(config);
        }
        if self.query.force.is_some() {
            let cause = StatusCause::forbidden("force", "may not be specified for non-apply patch");
            return Err(StatusError::invalid_options("PatchOptions", &cause));
        }
        let manager = self.manager("Update");
        for _ in 0..MAX_ATTEMPTS {
            let old = self.existing_object()?;
            let mut object = super::conversion::to_served_object(self.kind, &old);
            patch.apply(self.kind, &mut object)?;
            let chosen = metadata_str(&object, "resourceVersion") != old.revision.to_string();
            let (object, warnings) = self.decode(object)?;
            self.check_name(&object)?;
            let changed = self.update(&old, object, false, |object, before| {
                apply::record_update(self.kind, Some(before), object, &manager);
                Ok(())
            });
            match changed {
                Err(error)
                    if error.code == 409
                        && error.reason == "Conflict"
                        && !chosen
                        && self.was_modified_since(&old) => {}
                Err(error) => return Err(error),
                Ok(stored) => return self.respond(stored, StatusCode::OK, &warnings),
            }
        }
        Err(StatusError::object_modified(self.kind, &self.info.name))
    }

    /// Server-side apply: creates what is missing.
    fn apply(&self, config: &Value) -> Result<ApiResponse, StatusError> {
        if self.query.field_manager.is_empty() {
            let cause = StatusCause::required("fieldManager", "is required for apply patch");
            return Err(StatusError::invalid_options("PatchOptions", &cause));
        }
        self.check_apply(config)?;
        let manager = self.manager("Apply");
        let force = self.query.force == Some(true);
        let (config, warnings) = self.decode(config.clone())?;
        let config = apply::ApplyConfiguration::new(config);
        for _ in 0..MAX_ATTEMPTS {
            let Some(old) = self.stored_object() else {
                if !self.info.subresource.is_empty() {
                    return Err(StatusError::not_found(self.kind, &self.info.name));
                }
                if !metadata_str(&config.object, "uid").is_empty() {
                    return Err(StatusError::not_found(self.kind, &self.info.name));
                }
                let object = self.assign_name_and_namespace(config.object.clone())?;
                let made = self.insert(object, |object| {
                    apply::record_apply_create(self.kind, &config, object, &manager);
                });
                match made {
                    Err(error) if error.reason == "AlreadyExists" => continue,
                    Err(error) => return Err(error),
                    Ok(stored) => return self.respond(stored, StatusCode::CREATED, &warnings),
                }
            };
            let before = old.object();
            let revision = metadata_str(&config.object, "resourceVersion");
            if !revision.is_empty() && revision != old.revision.to_string() {
                return Err(StatusError::object_modified(self.kind, &self.info.name));
            }
            let (object, managed) = apply::merge(self.kind, &before, &config, &manager, force)
                .map_err(|conflicts| StatusError::apply_conflict(&conflicts))?;
            let changed = self.update(&old, object, false, |object, before| {
                managed.write(before, object, &manager);
                Ok(())
            });
            match changed {
                Err(error)
                    if error.code == 409
                        && error.reason == "Conflict"
                        && self.was_modified_since(&old) => {}
                Err(error) => return Err(error),
                Ok(stored) => return self.respond(stored, StatusCode::OK, &warnings),
            }
        }
        Err(StatusError::object_modified(self.kind, &self.info.name))
    }

    fn stored_object(&self) -> Option<std::sync::Arc<StoredObject>> {
        self.server
            .store
            .get(&self.kind.storage, &self.info.namespace, &self.info.name)
    }

    fn existing_object(&self) -> Result<std::sync::Arc<StoredObject>, StatusError> {
        self.stored_object()
            .ok_or_else(|| StatusError::not_found(self.kind, &self.info.name))
    }

    fn was_modified_since(&self, old: &StoredObject) -> bool {
        self.stored_object()
            .is_none_or(|now| now.revision != old.revision)
    }

    fn respond(
        &self,
        written: WriteOutcome,
        status: StatusCode,
        warnings: &[String],
    ) -> Result<ApiResponse, StatusError> {
        let mut response = match written {
            WriteOutcome::Committed(stored) => {
                read::object_response(self.kind, &stored, self.query, self.representation, status)?
            }
            WriteOutcome::NotCommitted(object) => response::json(
                status,
                &read::represent(self.kind, &object, self.query, self.representation)?,
            ),
        };
        response::add_warnings(&mut response, warnings);
        Ok(response)
    }
}
