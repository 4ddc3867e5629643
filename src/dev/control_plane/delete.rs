//! Delete: preconditions, finalizers, and what becomes of dependents.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};

use super::World;
use super::failure::{Failure, success};
use super::kinds::{Kind, Nature};
use super::object::{self, at, finalizers, set_finalizers, set_meta, text};
use super::reply::{self, Reply};
use super::request::{Place, Query};
use super::selectors::Selector;
use super::store::Stored;
use super::{settle, view, write};

/// Holds an object until the collector has cut it off its dependents.
pub(super) const ORPHAN: &str = "orphan";
/// Holds an object until the collector has deleted its dependents.
pub(super) const FOREGROUND: &str = "foregroundDeletion";

/// What becomes of dependents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Propagation {
    /// The collector deletes them afterwards.
    #[default]
    Background,
    /// They go first.
    Foreground,
    /// They stay.
    Orphan,
}

/// `DeleteOptions`, from body and query.
#[derive(Debug, Clone, Default)]
pub(super) struct Options {
    uid: Option<String>,
    resource_version: Option<String>,
    propagation: Option<Propagation>,
    dry_run: bool,
}

impl Options {
    pub(super) fn read(query: &Query, body: &[u8]) -> Result<Self, Failure> {
        let given: Value = if body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(body).map_err(|error| {
                Failure::bad_request(format!("error decoding DeleteOptions: {error}"))
            })?
        };
        let word = text(&given, &["propagationPolicy"]);
        let word = if word.is_empty() {
            query.propagation_policy.as_str()
        } else {
            word
        };
        let propagation = match word {
            "" => match at(&given, &["orphanDependents"]).as_bool() {
                Some(true) => Some(Propagation::Orphan),
                Some(false) => Some(Propagation::Background),
                None => None,
            },
            "Background" => Some(Propagation::Background),
            "Foreground" => Some(Propagation::Foreground),
            "Orphan" => Some(Propagation::Orphan),
            other => {
                let known = ["Foreground", "Background", "Orphan", "nil"];
                return Err(Failure::unsupported_option(
                    "DeleteOptions",
                    "propagationPolicy",
                    other,
                    &known,
                ));
            }
        };
        let precondition = |field: &str| {
            at(&given, &["preconditions", field])
                .as_str()
                .map(str::to_owned)
        };
        Ok(Self {
            uid: precondition("uid"),
            resource_version: precondition("resourceVersion"),
            propagation,
            dry_run: query.dry_run
                || at(&given, &["dryRun"])
                    .as_array()
                    .is_some_and(|all| !all.is_empty()),
        })
    }
}

/// DELETE of an object.
pub(super) fn one(
    world: &World,
    kind: &Kind,
    place: &Place,
    query: &Query,
    body: &[u8],
) -> Result<Reply, Failure> {
    let options = Options::read(query, body)?;
    let outcome = delete(world, kind, &place.namespace, &place.name, &options)?;
    Ok(match outcome {
        // Namespaces are always shown, since they go slowly.
        Outcome::Going(stored) => reply::written(StatusCode::OK, view::bytes(kind, &stored)),
        Outcome::Tried(object) => reply::json(StatusCode::OK, &view::show(kind, object)),
        Outcome::Gone(stored) => {
            reply::json(StatusCode::OK, &success(kind, &stored.name, &stored.uid))
        }
    })
}

/// DELETE of a collection: everything that the selectors match.
pub(super) fn collection(
    world: &World,
    kind: &Kind,
    place: &Place,
    query: &Query,
    body: &[u8],
) -> Result<Reply, Failure> {
    if kind.nature == Nature::Namespace {
        return Err(Failure::method_not_allowed());
    }
    let options = Options::read(query, body)?;
    let selector = Selector::parse(kind, &query.label_selector, &query.field_selector)?;
    let snapshot = world.store.list(&kind.storage, &place.namespace);
    let matched: Vec<&Arc<Stored>> = snapshot
        .objects
        .iter()
        .filter(|object| selector.matches(object))
        .collect();
    let mut items = Vec::new();
    for object in matched {
        match delete(world, kind, &object.namespace, &object.name, &options) {
            Ok(_) => items.push(view::object(kind, object)),
            Err(failure) if failure.reason == "NotFound" => {}
            Err(failure) => return Err(failure),
        }
    }
    let list = json!({"kind": kind.list_kind(), "apiVersion": kind.api_version(),
        "metadata": {"resourceVersion": snapshot.revision.to_string()}, "items": items});
    Ok(reply::json(StatusCode::OK, &list))
}

/// How far a deletion got.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Marked; finalizers hold it.
    Going(Arc<Stored>),
    Gone(Arc<Stored>),
    /// A dry run: it would be marked so.
    Tried(Value),
}

/// Deletes one object, or marks it when something holds it.
pub(super) fn delete(
    world: &World,
    kind: &Kind,
    namespace: &str,
    name: &str,
    options: &Options,
) -> Result<Outcome, Failure> {
    loop {
        let stored = world
            .store
            .get(&kind.storage, namespace, name)
            .ok_or_else(|| Failure::not_found(kind, name))?;
        check_preconditions(kind, &stored, options)?;
        let mut object = stored.object();
        let mut held: Vec<String> = finalizers(&object).into_iter().map(str::to_owned).collect();
        if let Some(policy) = options.propagation {
            held.retain(|finalizer| finalizer != ORPHAN && finalizer != FOREGROUND);
            match policy {
                Propagation::Orphan => held.push(ORPHAN.into()),
                Propagation::Foreground => held.push(FOREGROUND.into()),
                Propagation::Background => {}
            }
        }
        set_finalizers(&mut object, &held);
        let first = !stored.deleting;
        if first {
            set_meta(&mut object, "deletionTimestamp", object::now());
            set_meta(&mut object, "deletionGracePeriodSeconds", 0);
            if let Some(generation) = at(&object, &["metadata", "generation"]).as_i64() {
                set_meta(&mut object, "generation", generation + 1);
            }
            if kind.nature == Nature::Namespace {
                object["status"] = json!({"phase": "Terminating"});
            }
        }
        if held.is_empty() && !write::spec_finalizers(kind, &object) {
            let last = if first { stored.object() } else { object };
            if options.dry_run {
                return Ok(Outcome::Gone(stored));
            }
            let Ok(last) = world.store.remove(&kind.storage, &stored, last) else {
                continue;
            };
            settle::after_removal(world, kind, &last);
            return Ok(Outcome::Gone(last));
        }
        if options.dry_run {
            return Ok(Outcome::Tried(object));
        }
        if object == stored.object() {
            return Ok(Outcome::Going(stored));
        }
        let Ok(marked) = world
            .store
            .put(&kind.storage, Some(stored.revision), object)
        else {
            continue;
        };
        settle::after_write(world, kind, Arc::clone(&marked));
        return Ok(Outcome::Going(marked));
    }
}

fn check_preconditions(kind: &Kind, stored: &Stored, options: &Options) -> Result<(), Failure> {
    if let Some(uid) = &options.uid
        && *uid != stored.uid
    {
        let why = format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been deleted and then recreated",
            stored.uid
        );
        return Err(Failure::precondition(kind, &stored.name, &why));
    }
    if let Some(revision) = &options.resource_version
        && *revision != stored.revision.to_string()
    {
        let why = format!(
            "the ResourceVersion in the precondition ({revision}) does not match the ResourceVersion in record ({}). The object might have been modified",
            stored.revision
        );
        return Err(Failure::precondition(kind, &stored.name, &why));
    }
    Ok(())
}
