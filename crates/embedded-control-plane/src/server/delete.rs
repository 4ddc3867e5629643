//! Delete: preconditions, finalizers, and what becomes of dependents.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};

use super::ServerState;
use super::kinds::{Kind, Strategy};
use super::object::{self, finalizers, set_finalizers, set_metadata, str_at, value_at};
use super::object_store::StoredObject;
use super::request::{Query, RequestInfo};
use super::response::{self, ApiResponse};
use super::selectors::Selector;
use super::status_error::{StatusError, success_status};
use super::{conversion, garbage_collector, write};

/// Holds an object until the collector has cut it off its dependents.
pub(super) const ORPHAN_FINALIZER: &str = "orphan";
/// Holds an object until the collector has deleted its dependents.
pub(super) const FOREGROUND_FINALIZER: &str = "foregroundDeletion";

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
pub(super) struct DeleteOptions {
    uid: Option<String>,
    resource_version: Option<String>,
    propagation: Option<Propagation>,
    dry_run: bool,
}

impl DeleteOptions {
    pub(super) fn parse(query: &Query, body: &[u8]) -> Result<Self, StatusError> {
        let given: Value = if body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(body).map_err(|error| {
                StatusError::bad_request(format!("error decoding DeleteOptions: {error}"))
            })?
        };
        let word = str_at(&given, &["propagationPolicy"]);
        let word = if word.is_empty() {
            query.propagation_policy.as_str()
        } else {
            word
        };
        let propagation = match word {
            "" => match value_at(&given, &["orphanDependents"]).as_bool() {
                Some(true) => Some(Propagation::Orphan),
                Some(false) => Some(Propagation::Background),
                None => None,
            },
            "Background" => Some(Propagation::Background),
            "Foreground" => Some(Propagation::Foreground),
            "Orphan" => Some(Propagation::Orphan),
            other => {
                let known = ["Foreground", "Background", "Orphan", "nil"];
                return Err(StatusError::unsupported_option(
                    "DeleteOptions",
                    "propagationPolicy",
                    other,
                    &known,
                ));
            }
        };
        let precondition = |field: &str| {
            value_at(&given, &["preconditions", field])
                .as_str()
                .map(str::to_owned)
        };
        Ok(Self {
            uid: precondition("uid"),
            resource_version: precondition("resourceVersion"),
            propagation,
            dry_run: query.dry_run
                || value_at(&given, &["dryRun"])
                    .as_array()
                    .is_some_and(|all| !all.is_empty()),
        })
    }
}

/// DELETE of an object.
pub(super) fn delete_object(
    server: &ServerState,
    kind: &Kind,
    info: &RequestInfo,
    query: &Query,
    body: &[u8],
) -> Result<ApiResponse, StatusError> {
    let options = DeleteOptions::parse(query, body)?;
    let outcome = delete(server, kind, &info.namespace, &info.name, &options)?;
    Ok(match outcome {
        // Namespaces are always shown, since they go slowly.
        DeleteOutcome::Terminating(stored) => {
            response::json_bytes(StatusCode::OK, conversion::to_served_bytes(kind, &stored))
        }
        DeleteOutcome::DryRun(object) => {
            response::json(StatusCode::OK, &conversion::to_served(kind, object))
        }
        DeleteOutcome::Deleted(stored) => response::json(
            StatusCode::OK,
            &success_status(kind, &stored.name, &stored.uid),
        ),
    })
}

/// DELETE of a collection: everything that the selectors match.
pub(super) fn delete_collection(
    server: &ServerState,
    kind: &Kind,
    info: &RequestInfo,
    query: &Query,
    body: &[u8],
) -> Result<ApiResponse, StatusError> {
    if kind.strategy == Strategy::Namespace {
        return Err(StatusError::method_not_allowed());
    }
    let options = DeleteOptions::parse(query, body)?;
    let selector = Selector::parse(kind, &query.label_selector, &query.field_selector)?;
    let snapshot = server.store.list(&kind.storage, &info.namespace);
    let matched: Vec<&Arc<StoredObject>> = snapshot
        .objects
        .iter()
        .filter(|object| selector.matches(object))
        .collect();
    let mut items = Vec::new();
    for object in matched {
        match delete(server, kind, &object.namespace, &object.name, &options) {
            Ok(_) => items.push(conversion::to_served_object(kind, object)),
            Err(error) if error.reason == "NotFound" => {}
            Err(error) => return Err(error),
        }
    }
    let list = json!({"kind": kind.list_kind(), "apiVersion": kind.api_version(),
        "metadata": {"resourceVersion": snapshot.revision.to_string()}, "items": items});
    Ok(response::json(StatusCode::OK, &list))
}

/// How far a deletion got.
#[derive(Debug)]
pub(super) enum DeleteOutcome {
    /// Marked; finalizers hold it.
    Terminating(Arc<StoredObject>),
    Deleted(Arc<StoredObject>),
    /// A dry run: it would be marked so.
    DryRun(Value),
}

/// Deletes one object, or marks it when something holds it.
pub(super) fn delete(
    server: &ServerState,
    kind: &Kind,
    namespace: &str,
    name: &str,
    options: &DeleteOptions,
) -> Result<DeleteOutcome, StatusError> {
    loop {
        let stored = server
            .store
            .get(&kind.storage, namespace, name)
            .ok_or_else(|| StatusError::not_found(kind, name))?;
        check_preconditions(kind, &stored, options)?;
        let mut object = stored.object();
        let mut held: Vec<String> = finalizers(&object).into_iter().map(str::to_owned).collect();
        if let Some(policy) = options.propagation {
            held.retain(|finalizer| {
                finalizer != ORPHAN_FINALIZER && finalizer != FOREGROUND_FINALIZER
            });
            match policy {
                Propagation::Orphan => held.push(ORPHAN_FINALIZER.into()),
                Propagation::Foreground => held.push(FOREGROUND_FINALIZER.into()),
                Propagation::Background => {}
            }
        }
        set_finalizers(&mut object, &held);
        let first = !stored.deleting;
        if first {
            set_metadata(&mut object, "deletionTimestamp", object::now());
            set_metadata(&mut object, "deletionGracePeriodSeconds", 0);
            if let Some(generation) = value_at(&object, &["metadata", "generation"]).as_i64() {
                set_metadata(&mut object, "generation", generation + 1);
            }
            if kind.strategy == Strategy::Namespace {
                object["status"] = json!({"phase": "Terminating"});
            }
        }
        if held.is_empty() && !write::has_spec_finalizers(kind, &object) {
            let last = if first { stored.object() } else { object };
            if options.dry_run {
                return Ok(DeleteOutcome::Deleted(stored));
            }
            let Ok(last) = server.store.remove(&kind.storage, &stored, last) else {
                continue;
            };
            garbage_collector::after_removal(server, kind, &last);
            return Ok(DeleteOutcome::Deleted(last));
        }
        if options.dry_run {
            return Ok(DeleteOutcome::DryRun(object));
        }
        if object == stored.object() {
            return Ok(DeleteOutcome::Terminating(stored));
        }
        let Ok(marked) = server
            .store
            .put(&kind.storage, Some(stored.revision), object)
        else {
            continue;
        };
        garbage_collector::after_write(server, kind, Arc::clone(&marked));
        return Ok(DeleteOutcome::Terminating(marked));
    }
}

fn check_preconditions(
    kind: &Kind,
    stored: &StoredObject,
    options: &DeleteOptions,
) -> Result<(), StatusError> {
    if let Some(uid) = &options.uid
        && *uid != stored.uid
    {
        let why = format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been deleted and then recreated",
            stored.uid
        );
        return Err(StatusError::precondition_failed(kind, &stored.name, &why));
    }
    if let Some(revision) = &options.resource_version
        && *revision != stored.revision.to_string()
    {
        let why = format!(
            "the ResourceVersion in the precondition ({revision}) does not match the ResourceVersion in record ({}). The object might have been modified",
            stored.revision
        );
        return Err(StatusError::precondition_failed(kind, &stored.name, &why));
    }
    Ok(())
}
