//! Two views of one storage: events are stored as `v1` and served as `events.k8s.io/v1` as well.

use bytes::Bytes;
use serde_json::{Map, Value};

use super::kinds::{Kind, Nature};
use super::store::Stored;

/// (in `v1`, in `events.k8s.io/v1`)
const EVENT_FIELDS: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

/// The bytes of an object as this kind shows it.
pub(super) fn bytes(kind: &Kind, stored: &Stored) -> Bytes {
    if kind.nature == Nature::NewEvent {
        serde_json::to_vec(&object(kind, stored))
            .expect("a JSON value serializes")
            .into()
    } else {
        stored.json.clone()
    }
}

/// An object as this kind shows it.
pub(super) fn object(kind: &Kind, stored: &Stored) -> Value {
    show(kind, stored.object())
}

/// From the stored form to the kind's.
pub(super) fn show(kind: &Kind, object: Value) -> Value {
    if kind.nature == Nature::NewEvent {
        rename(object, "events.k8s.io/v1", |field| renamed(field, true))
    } else {
        object
    }
}

/// From the kind's form to the stored one.
pub(super) fn store(kind: &Kind, object: Value) -> Value {
    if kind.nature == Nature::NewEvent {
        rename(object, "v1", |field| renamed(field, false))
    } else {
        object
    }
}

fn renamed(field: &str, to_new: bool) -> &str {
    let found = EVENT_FIELDS
        .iter()
        .find(|(old, new)| if to_new { *old == field } else { *new == field });
    found.map_or(field, |(old, new)| if to_new { new } else { old })
}

fn rename(object: Value, api_version: &str, name: impl Fn(&str) -> &str) -> Value {
    let Value::Object(fields) = object else {
        return object;
    };
    let mut shown: Map<String, Value> = fields
        .into_iter()
        .map(|(field, value)| (name(&field).to_owned(), value))
        .collect();
    shown.insert("apiVersion".into(), api_version.into());
    Value::Object(shown)
}
