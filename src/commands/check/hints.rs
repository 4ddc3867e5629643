//! What the API server accepts by one way of applying, and refuses by another, and what it accepts although no assistant can be made of it:
//! warnings, since a server takes it.

use serde_json::Value;

use crate::api::connector::AssistantSpec;
use crate::assistant;

/// Where `kubectl apply` without `--server-side` keeps a copy of the object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The bytes that all annotations of an object may have, keys included.
const MAX_ANNOTATION_BYTES: usize = 256 * 1024;

/// What `kubectl` puts into an object without annotations before it copies it, and behind the copy.
const COPY_OVERHEAD_BYTES: usize = "\"annotations\":{},\n".len();

/// What to say of a field that is `null`: dropped by the server, except in server-side apply, which takes it for a value.
pub(super) const NULL_FIELD: &str = "null means absent here, but server-side apply (Argo CD, Flux, Helm 4, kubectl apply --server-side) refuses it: remove the field";

/// The field of an admitted connector's assistant that the operator could not use, and why.
pub(super) fn unusable_assistant_field(connector: &Value) -> Option<(String, String)> {
    let spec: AssistantSpec =
        serde_json::from_value(connector["spec"]["assistant"].clone()).ok()?;
    let (field, problem) = assistant::find_invalid_field(&spec)?;
    Some((format!("spec.assistant.{field}"), problem))
}

/// The paths of the fields below `value` that are `null`; items of lists are none.
pub(super) fn null_fields(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    collect_nulls(value, "", &mut found);
    found
}

fn collect_nulls(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, child) in fields {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                if child.is_null() {
                    found.push(path);
                } else {
                    collect_nulls(child, &path, found);
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                collect_nulls(item, &format!("{path}[{index}]"), found);
            }
        }
        _ => {}
    }
}

/// What to say of an object whose copy does not fit into an annotation; `None` if it fits.
pub(super) fn too_long_for_client_side_apply(object: &Value) -> Option<String> {
    let copy = serde_json::to_vec(object).ok()?.len() + COPY_OVERHEAD_BYTES;
    let annotations = object["metadata"]["annotations"].as_object();
    let others: usize = annotations
        .into_iter()
        .flatten()
        .map(|(key, value)| key.len() + value.as_str().map_or(0, str::len))
        .sum();
    let needed = LAST_APPLIED.len() + copy + others;
    (needed > MAX_ANNOTATION_BYTES).then(|| {
        format!(
            "kubectl apply keeps a copy of the object in an annotation, which makes {needed} bytes of annotations where {MAX_ANNOTATION_BYTES} are allowed: apply it with --server-side, or split it"
        )
    })
}
