//! Fields of a body that the schema does not know: dropped, and named if the client wants to know (`fieldValidation`).

use serde_json::{Map, Value};

use crate::request::Parameters;
use crate::status::StatusError;

/// The fields of `metadata` that a client may send: those of `ObjectMeta` (Kubernetes 1.36).
pub const METADATA_FIELDS: &[&str] = &[
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// Drops what the schemas in `properties` do not know; returns the warnings to send, or refuses if the client is strict.
pub(crate) fn prune(
    body: &mut Value,
    properties: &Value,
    kind: &str,
    version: &str,
    parameters: &Parameters,
) -> Result<Vec<String>, StatusError> {
    let mut unknown = Vec::new();
    if let Some(fields) = body.as_object_mut() {
        retain(fields, "", &mut unknown, |name| {
            matches!(name, "apiVersion" | "kind" | "metadata" | "status")
                || properties.get(name).is_some()
        });
        if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
            retain(metadata, "metadata", &mut unknown, |name| {
                METADATA_FIELDS.contains(&name)
            });
        }
        for (name, value) in fields {
            if let Some(schema) = properties.get(name.as_str()) {
                prune_value(value, schema, name, &mut unknown);
            }
        }
    }
    let sentences: Vec<String> = unknown
        .iter()
        .map(|path| format!("unknown field \"{path}\""))
        .collect();
    match parameters.text("fieldValidation") {
        "Ignore" => Ok(Vec::new()),
        "" | "Warn" => Ok(sentences),
        "Strict" if sentences.is_empty() => Ok(sentences),
        "Strict" => Err(StatusError::bad_request(format!(
            "{kind} in version \"{version}\" cannot be handled as a {kind}: strict decoding error: {}",
            sentences.join(", ")
        ))),
        other => Err(StatusError::bad_request(format!(
            "fieldValidation: Unsupported value: \"{other}\": supported values: \"\", \"Ignore\", \"Strict\", \"Warn\""
        ))),
    }
}

fn retain(
    fields: &mut Map<String, Value>,
    path: &str,
    unknown: &mut Vec<String>,
    is_known: impl Fn(&str) -> bool,
) {
    fields.retain(|name, _| {
        let known = is_known(name);
        if !known {
            unknown.push(match path {
                "" => name.clone(),
                path => format!("{path}.{name}"),
            });
        }
        known
    });
}

fn prune_value(value: &mut Value, schema: &Value, path: &str, unknown: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            let properties = schema.get("properties");
            let others = schema.get("additionalProperties");
            let open = others.is_some() || schema["x-kubernetes-preserve-unknown-fields"] == true;
            // A schema that names no properties says nothing about them.
            let Some(properties) = properties else { return };
            if !open {
                retain(fields, path, unknown, |name| properties.get(name).is_some());
            }
            for (name, value) in fields {
                if let Some(schema) = properties.get(name.as_str()) {
                    prune_value(value, schema, &format!("{path}.{name}"), unknown);
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                prune_value(item, &schema["items"], &format!("{path}[{index}]"), unknown);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pruned(validation: &str) -> (Value, Result<Vec<String>, String>) {
        let properties = json!({"spec": {"type": "object", "properties": {
            "to": {"type": "object", "properties": {"chat": {"type": "integer"}}},
            "parts": {"type": "array", "items": {"type": "object", "properties": {"text": {"type": "string"}}}},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}}}}});
        let mut body = json!({"apiVersion": "v1", "kind": "Note", "other": 1, "metadata": {"name": "n", "nom": "n"},
            "spec": {"to": {"chat": 1, "chatt": 2}, "parts": [{"text": "a"}, {"txt": "b"}], "labels": {"any": "x"}}});
        let parameters = Parameters::parse(Some(&format!("fieldValidation={validation}")));
        let result = prune(&mut body, &properties, "Note", "v1", &parameters);
        (body, result.map_err(|error| error.message))
    }

    #[test]
    fn unknown_fields_are_dropped_and_named_as_asked() {
        let fields = [
            "other",
            "metadata.nom",
            "spec.parts[1].txt",
            "spec.to.chatt",
        ];
        let sentences = fields.map(|field| format!("unknown field \"{field}\""));
        let (body, warnings) = pruned("Warn");
        assert_eq!(warnings.expect("warnings"), sentences);
        let expected = json!({"apiVersion": "v1", "kind": "Note", "metadata": {"name": "n"},
            "spec": {"to": {"chat": 1}, "parts": [{"text": "a"}, {}], "labels": {"any": "x"}}});
        assert_eq!(body, expected);
        assert_eq!(pruned("Ignore"), (expected, Ok(Vec::new())));
        let refused = pruned("Strict").1.expect_err("refused");
        let sentence =
            "Note in version \"v1\" cannot be handled as a Note: strict decoding error: ";
        assert_eq!(refused, format!("{sentence}{}", sentences.join(", ")));
        assert!(pruned("Loud").1.is_err());
    }
}
