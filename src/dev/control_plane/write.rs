//! Create, replace and patch: from a request's body to a committed object.

use http::{HeaderMap, StatusCode, header};
use serde_json::Value;
use uuid::Uuid;

use super::World;
use super::apply::{self, Manager};
use super::failure::{Cause, Failure};
use super::kinds::{Kind, Nature};
use super::object::{self, at, drop_meta, meta, set_meta, text};
use super::patch::Patch;
use super::reply::{self, Reply};
use super::request::{Place, Query, Shape};
use super::store::Stored;
use super::{names, read, settle, strategy};

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

    fn check_apply(&self, config: &Value) -> Result<(), Failure> {
        let (api_version, kind) = (text(config, &["apiVersion"]), text(config, &["kind"]));
        if api_version.is_empty() || kind.is_empty() {
            return Err(Failure::bad_request(format!(
                "invalid object type: {api_version}/, Kind={kind}"
            )));
        }
        if !at(config, &["metadata", "managedFields"]).is_null() {
            return Err(Failure::bad_request("metadata.managedFields must be nil"));
        }
        if !self.place.subresource.is_empty() {
            self.existing()?;
        }
        if let Some(why) = apply::fault(self.kind, config) {
            return Err(Failure::internal(why));
        }
        if meta(config, "name").is_empty() {
            Ok(())
        } else {
            self.check_name(config)
        }
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

    fn read_object(&self) -> Result<(Value, Vec<String>), Failure> {
        let media = self
            .headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let parsed: Result<Value, String> = if media.contains("yaml") {
            serde_yaml::from_slice(self.body).map_err(|error| error.to_string())
        } else if media.contains("protobuf") {
            super::protobuf::object(self.kind, self.body).map_err(|error| error.to_string())
        } else if media.contains("cbor") {
            return Err(Failure::unsupported_media_type(&[
                "application/json",
                "application/yaml",
            ]));
        } else {
            serde_json::from_slice(self.body).map_err(|error| error.to_string())
        };
        let unrecognized = |why: &str| {
            let text = String::from_utf8_lossy(self.body);
            let head: String = text.chars().take(30).collect();
            let more = if head.len() < text.len() { " ..." } else { "" };
            let wanted = &self.kind.kind;
            Failure::bad_request(format!(
                "the object provided is unrecognized (must be of type {wanted}): {why} ({head}{more})"
            ))
        };
        let object = parsed.map_err(|error| {
            unrecognized(&format!(
                "couldn't get version/kind; json parse error: {error}"
            ))
        })?;
        if !object.is_object() {
            return Err(unrecognized(
                "couldn't get version/kind; json parse error: an object is wanted",
            ));
        }
        if self.kind.is_custom() && text(&object, &["kind"]).is_empty() {
            let text = String::from_utf8_lossy(self.body);
            return Err(unrecognized(&format!(
                "Object 'Kind' is missing in '{text}'"
            )));
        }
        let mut warnings = self.duplicates(media)?;
        let (object, more) = self.decode(object)?;
        warnings.extend(more);
        Ok((object, warnings))
    }

    /// Keys that are written twice: JSON keeps the last one, a strict reader refuses.
    fn duplicates(&self, media: &str) -> Result<Vec<String>, Failure> {
        if media.contains("yaml")
            || media.contains("protobuf")
            || self.query.field_validation == "Ignore"
        {
            return Ok(Vec::new());
        }
        let found = super::duplicates::find(self.body);
        let texts: Vec<String> = found
            .iter()
            .map(|path| format!("duplicate field \"{path}\""))
            .collect();
        self.judge(texts)
    }

    fn decode(&self, object: Value) -> Result<(Value, Vec<String>), Failure> {
        let (object, unknown) = strategy::decode(self.kind, object)?;
        let texts = unknown
            .iter()
            .map(|path| format!("unknown field \"{path}\""))
            .collect();
        Ok((object, self.judge(texts)?))
    }

    /// What `fieldValidation` makes of lax input: nothing, warnings, or a refusal.
    fn judge(&self, texts: Vec<String>) -> Result<Vec<String>, Failure> {
        match self.query.field_validation.as_str() {
            "Ignore" => Ok(Vec::new()),
            "Strict" if !texts.is_empty() => {
                let Kind { kind, version, .. } = self.kind;
                Err(Failure::bad_request(format!(
                    "{kind} in version \"{version}\" cannot be handled as a {kind}: strict decoding error: {}",
                    texts.join(", ")
                )))
            }
            _ => Ok(texts),
        }
    }

    fn check_name(&self, object: &Value) -> Result<(), Failure> {
        let name = meta(object, "name");
        if name != self.place.name {
            if name.is_empty() {
                return Err(Failure::bad_request("the name of the object must be set"));
            }
            let why = format!(
                "the name of the object ({name}) does not match the name on the URL ({})",
                self.place.name
            );
            return Err(Failure::bad_request(why));
        }
        self.check_namespace(object)
    }

    fn check_namespace(&self, object: &Value) -> Result<(), Failure> {
        let namespace = meta(object, "namespace");
        if !namespace.is_empty() && namespace != self.place.namespace {
            let why = "the namespace of the provided object does not match the namespace sent on the request";
            return Err(Failure::bad_request(why));
        }
        Ok(())
    }

    /// Names a new object and puts it into its namespace, which must be there and not going.
    fn place_object(&self, mut object: Value) -> Result<Value, Failure> {
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

    fn insert(&self, mut object: Value, own: impl FnOnce(&mut Value)) -> Result<Written, Failure> {
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
    fn change(
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

    fn manager(&self, operation: &'static str) -> Manager {
        let agent = self
            .headers
            .get(header::USER_AGENT)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("unknown");
        let name = if self.query.field_manager.is_empty() {
            agent
                .split('/')
                .next()
                .unwrap_or(agent)
                .chars()
                .take(128)
                .collect()
        } else {
            self.query.field_manager.clone()
        };
        Manager {
            name,
            operation,
            api_version: self.kind.api_version(),
            subresource: self.place.subresource.clone(),
        }
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

/// What became of a write.
enum Written {
    Stored(std::sync::Arc<Stored>),
    /// Nothing was stored: a dry run, or nothing changed.
    Tried(Value),
}

/// A namespace is held by `spec.finalizers` until its contents are gone.
pub(super) fn spec_finalizers(kind: &Kind, object: &Value) -> bool {
    kind.nature == Nature::Namespace
        && at(object, &["spec", "finalizers"])
            .as_array()
            .is_some_and(|finalizers| !finalizers.is_empty())
}
