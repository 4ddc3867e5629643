//! Two views of one storage: events are stored as `v1` and served as `events.k8s.io/v1` as well.

use bytes::Bytes;
use serde_json::{Map, Value};

use super::kinds::{Kind, Strategy};
use super::object_store::StoredObject;

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
pub(super) fn to_served_bytes(kind: &Kind, stored: &StoredObject) -> Bytes {
    if kind.strategy == Strategy::EventsV1Event {
        serde_json::to_vec(&to_served_object(kind, stored))
            .expect("a JSON value serializes")
            .into()
    } else {
        stored.json.clone()
    }
}

/// An object as this kind shows it.
pub(super) fn to_served_object(kind: &Kind, stored: &StoredObject) -> Value {
    to_served(kind, stored.object())
}

/// From the stored form to the kind's.
pub(super) fn to_served(kind: &Kind, object: Value) -> Value {
    if kind.strategy == Strategy::EventsV1Event {
        rename_fields(object, "events.k8s.io/v1", |field| {
            renamed_field(field, true)
        })
    } else {
        object
    }
}

/// From the kind's form to the stored one.
pub(super) fn to_stored(kind: &Kind, object: Value) -> Value {
    if kind.strategy == Strategy::EventsV1Event {
        rename_fields(object, "v1", |field| renamed_field(field, false))
    } else {
        object
    }
}

fn renamed_field(field: &str, to_new: bool) -> &str {
    let found = EVENT_FIELDS
        .iter()
        .find(|(old, new)| if to_new { *old == field } else { *new == field });
    found.map_or(field, |(old, new)| if to_new { new } else { old })
}

fn rename_fields(object: Value, api_version: &str, name: impl Fn(&str) -> &str) -> Value {
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
