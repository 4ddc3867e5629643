//! Create, replace and patch: from a request's body to a committed object.

mod body;
mod commit;

use http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::World;
use super::apply;
use super::failure::{Cause, Failure};
use super::kinds::Kind;
use super::object::meta;
use super::patch::Patch;
use super::read;
use super::reply::{self, Reply};
use super::request::{Place, Query, Shape};
use super::store::Stored;

pub(super) use commit::spec_finalizers;

use commit::Written;

/// How often a patch is tried again when somebody else wrote in between (the real server: five times).
const RETRIES: usize = 5;

/// A write request, read.
pub(super) struct Writing<'a> {
    pub world: &'a World,
    pub kind: &'a Kind,
    pub place: &'a Place,
    pub query: &'a Query,
    pub shape: Shape,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
}

impl Writing<'_> {
    /// POST to a collection.
    pub(super) fn create(&self) -> Result<Reply, Failure> {
        let (object, warnings) = self.read_object()?;
        let manager = self.manager("Update");
        let object = self.place_object(object)?;
        let stored = self.insert(object, |object| {
            apply::record(self.kind, None, object, &manager);
        })?;
        self.answer(stored, StatusCode::CREATED, &warnings)
    }

    /// PUT of an object.
    pub(super) fn replace(&self) -> Result<Reply, Failure> {
        let (object, warnings) = self.read_object()?;
        self.check_name(&object)?;
        let manager = self.manager("Update");
        let old = self.existing()?;
        let stored = self.change(&old, object, true, |object, before| {
            apply::record(self.kind, Some(before), object, &manager);
            Ok(())
        })?;
        self.answer(stored, StatusCode::OK, &warnings)
    }

    /// PATCH of an object.
    pub(super) fn patch(&self) -> Result<Reply, Failure> {
        let patch = Patch::read(self.kind, self.headers, self.body)?;
        if let Patch::Apply(config) = &patch {
            return self.apply(config);
        }
        if self.query.force.is_some() {
            let cause = Cause::forbidden("force", "may not be specified for non-apply patch");
            return Err(Failure::invalid_options("PatchOptions", &cause));
        }
        let manager = self.manager("Update");
        for _ in 0..RETRIES {
            let old = self.existing()?;
            let mut object = super::view::object(self.kind, &old);
            patch.apply(self.kind, &mut object)?;
            let chosen = meta(&object, "resourceVersion") != old.revision.to_string();
            let (object, warnings) = self.decode(object)?;
            self.check_name(&object)?;
            let changed = self.change(&old, object, false, |object, before| {
                apply::record(self.kind, Some(before), object, &manager);
                Ok(())
            });
            match changed {
                Err(failure)
                    if failure.code == 409
                        && failure.reason == "Conflict"
                        && !chosen
                        && self.moved(&old) => {}
                Err(failure) => return Err(failure),
                Ok(stored) => return self.answer(stored, StatusCode::OK, &warnings),
            }
        }
        Err(Failure::modified(self.kind, &self.place.name))
    }

    /// Server-side apply: creates what is missing.
    fn apply(&self, config: &Value) -> Result<Reply, Failure> {
        if self.query.field_manager.is_empty() {
            let cause = Cause::required("fieldManager", "is required for apply patch");
            return Err(Failure::invalid_options("PatchOptions", &cause));
        }
        self.check_apply(config)?;
        let manager = self.manager("Apply");
        let force = self.query.force == Some(true);
        let (config, warnings) = self.decode(config.clone())?;
        let config = apply::Config::new(self.kind, config);
        for _ in 0..RETRIES {
            let Some(old) = self.find() else {
                if !self.place.subresource.is_empty() {
                    return Err(Failure::not_found(self.kind, &self.place.name));
                }
                if !meta(&config.object, "uid").is_empty() {
                    return Err(Failure::not_found(self.kind, &self.place.name));
                }
                let object = self.place_object(config.object.clone())?;
                let made = self.insert(object, |object| {
                    apply::record_apply_create(self.kind, &config, object, &manager);
                });
                match made {
                    Err(failure) if failure.reason == "AlreadyExists" => continue,
                    Err(failure) => return Err(failure),
                    Ok(stored) => return self.answer(stored, StatusCode::CREATED, &warnings),
                }
            };
            let before = old.object();
            let revision = meta(&config.object, "resourceVersion");
            if !revision.is_empty() && revision != old.revision.to_string() {
                return Err(Failure::modified(self.kind, &self.place.name));
            }
            let (object, managed) = apply::merge(self.kind, &before, &config, &manager, force)
                .map_err(|conflicts| Failure::apply_conflict(&conflicts))?;
            let changed = self.change(&old, object, false, |object, before| {
                managed.write(self.kind, before, object, &manager);
                Ok(())
            });
            match changed {
                Err(failure)
                    if failure.code == 409 && failure.reason == "Conflict" && self.moved(&old) => {}
                Err(failure) => return Err(failure),
                Ok(stored) => return self.answer(stored, StatusCode::OK, &warnings),
            }
        }
        Err(Failure::modified(self.kind, &self.place.name))
    }

    fn find(&self) -> Option<std::sync::Arc<Stored>> {
        self.world
            .store
            .get(&self.kind.storage, &self.place.namespace, &self.place.name)
    }

    fn existing(&self) -> Result<std::sync::Arc<Stored>, Failure> {
        self.find()
            .ok_or_else(|| Failure::not_found(self.kind, &self.place.name))
    }

    fn moved(&self, old: &Stored) -> bool {
        self.find().is_none_or(|now| now.revision != old.revision)
    }

    fn answer(
        &self,
        written: Written,
        status: StatusCode,
        warnings: &[String],
    ) -> Result<Reply, Failure> {
        let mut reply = match written {
            Written::Stored(stored) => {
                read::one(self.kind, &stored, self.query, self.shape, status)?
            }
            Written::Tried(object) => reply::json(
                status,
                &read::shaped(self.kind, &object, self.query, self.shape)?,
            ),
        };
        reply::warn(&mut reply, warnings);
        Ok(reply)
    }
}
