//! Reading and writing the metadata of an object held as plain JSON.
//!
//! The control plane serves kinds it has never heard of, so an object is a `serde_json::Value` and these few accessors
//! are all the structure it relies on.

use jiff::{Timestamp, Unit};
use serde_json::{Map, Value};

/// An empty object, for `static` defaults.
static NULL: Value = Value::Null;

/// Follows `path` through objects; `Null` where it ends early.
pub(super) fn value_at<'a>(object: &'a Value, path: &[&str]) -> &'a Value {
    path.iter()
        .try_fold(object, |value, key| value.get(key))
        .unwrap_or(&NULL)
}

/// The string at `path`, or "".
pub(super) fn str_at<'a>(object: &'a Value, path: &[&str]) -> &'a str {
    value_at(object, path).as_str().unwrap_or_default()
}

/// `metadata.<field>` as a string, or "".
pub(super) fn metadata_str<'a>(object: &'a Value, field: &str) -> &'a str {
    str_at(object, &["metadata", field])
}

/// `metadata`, made where it is missing or no object.
pub(super) fn metadata_mut(object: &mut Value) -> &mut Map<String, Value> {
    object_entry(object, "metadata")
}

/// The object under `key`, made where it is missing or no object.
pub(super) fn object_entry<'a>(object: &'a mut Value, key: &str) -> &'a mut Map<String, Value> {
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    let entry = object
        .as_object_mut()
        .expect("made an object above")
        .entry(key)
        .or_insert_with(empty_object);
    if !entry.is_object() {
        *entry = empty_object();
    }
    entry.as_object_mut().expect("made an object above")
}

/// `{}`.
pub(super) fn empty_object() -> Value {
    Value::Object(Map::new())
}

/// Sets `metadata.<field>`.
pub(super) fn set_metadata(object: &mut Value, field: &str, value: impl Into<Value>) {
    metadata_mut(object).insert(field.to_owned(), value.into());
}

/// Removes `metadata.<field>`.
pub(super) fn remove_metadata(object: &mut Value, field: &str) -> Option<Value> {
    object
        .get_mut("metadata")
        .and_then(Value::as_object_mut)
        .and_then(|metadata| metadata.remove(field))
}

/// Removes a top-level field.
pub(super) fn remove_field(object: &mut Value, field: &str) -> Option<Value> {
    object
        .as_object_mut()
        .and_then(|object| object.remove(field))
}

/// `metadata.finalizers`.
pub(super) fn finalizers(object: &Value) -> Vec<&str> {
    value_at(object, &["metadata", "finalizers"])
        .as_array()
        .map(|items| items.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default()
}

/// Writes `metadata.finalizers`; none at all when empty.
pub(super) fn set_finalizers(object: &mut Value, finalizers: &[String]) {
    if finalizers.is_empty() {
        remove_metadata(object, "finalizers");
    } else {
        set_metadata(object, "finalizers", finalizers.to_vec());
    }
}

/// Whether a deletion has begun.
pub(super) fn is_deleting(object: &Value) -> bool {
    value_at(object, &["metadata", "deletionTimestamp"]).is_string()
}

/// Now, as the API writes it: whole seconds, UTC.
pub(super) fn now() -> String {
    let now = Timestamp::now();
    now.round(Unit::Second)
        .unwrap_or(now)
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}
