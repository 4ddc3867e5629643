//! What becomes of fields that the schema does not name, and of those it has a default for.

use serde_json::Value;

use super::{JsonType, StructuralSchema};

/// Drops every field that the schema does not name and returns the dropped paths, in order. `root` marks an object
/// whose `apiVersion`, `kind` and `metadata` are not the schema's business.
pub fn prune(object: &mut Value, schema: &StructuralSchema, root: bool) -> Vec<String> {
    let mut dropped = Vec::new();
    prune_value(
        object,
        schema,
        root || schema.embedded_resource,
        "",
        &mut dropped,
    );
    dropped
}

fn prune_value(
    value: &mut Value,
    schema: &StructuralSchema,
    resource: bool,
    path: &str,
    dropped: &mut Vec<String>,
) {
    match value {
        Value::Object(fields) => {
            let keep = schema.preserve_unknown
                || (schema.json_type.is_none() && schema.properties.is_empty());
            let own = |name: &str| resource && matches!(name, "apiVersion" | "kind" | "metadata");
            if !keep && schema.additional_properties.is_none() {
                let unknown: Vec<String> = fields
                    .keys()
                    .filter(|name| !schema.properties.contains_key(*name) && !own(name))
                    .cloned()
                    .collect();
                for name in unknown {
                    fields.remove(&name);
                    dropped.push(join_path(path, &name));
                }
            }
            for (name, child) in fields.iter_mut() {
                if own(name)
                    && schema
                        .properties
                        .get(name)
                        .is_none_or(|known| known.properties.is_empty())
                {
                    continue;
                }
                if let Some(known) = schema.field(name) {
                    prune_value(
                        child,
                        known,
                        known.embedded_resource,
                        &join_path(path, name),
                        dropped,
                    );
                }
            }
        }
        Value::Array(items) => {
            if let Some(known) = schema.items.as_deref() {
                for (index, item) in items.iter_mut().enumerate() {
                    prune_value(
                        item,
                        known,
                        known.embedded_resource,
                        &format!("{path}[{index}]"),
                        dropped,
                    );
                }
            }
        }
        _ => {}
    }
}

fn join_path(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// Fills in the schema's defaults, and drops a `null` where the schema allows none but has a default.
pub(crate) fn fill_defaults(value: &mut Value, schema: &StructuralSchema) {
    match value {
        Value::Object(fields) => {
            for (name, known) in &schema.properties {
                let missing = match fields.get(name) {
                    None => true,
                    Some(Value::Null) => !known.nullable,
                    Some(_) => false,
                };
                if missing && let Some(default) = &known.default {
                    fields.insert(name.clone(), default.clone());
                }
            }
            for (name, child) in fields.iter_mut() {
                if let Some(known) = schema.field(name) {
                    fill_defaults(child, known);
                }
            }
        }
        Value::Array(items) => {
            if let Some(known) = schema.items.as_deref() {
                for item in items {
                    fill_defaults(item, known);
                }
            }
        }
        _ => {}
    }
}

/// Drops every `null` where the schema allows none: the server does it before it validates, so that `session:` with nothing
/// behind it is no session. A `null` in a list stays, and is a fault of type.
pub fn drop_forbidden_nulls(value: &mut Value, schema: &StructuralSchema) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, child| {
                !(child.is_null() && schema.field(name).is_some_and(|known| !known.nullable))
            });
            for (name, child) in fields.iter_mut() {
                if let Some(known) = schema.field(name) {
                    drop_forbidden_nulls(child, known);
                }
            }
        }
        Value::Array(items) => {
            if let Some(known) = schema.items.as_deref() {
                for item in items {
                    drop_forbidden_nulls(item, known);
                }
            }
        }
        _ => {}
    }
}

/// Drops `null`s that mean "absent", as the decoder of a built-in kind does, and empty values of its fields that it
/// would leave out when writing.
pub(crate) fn drop_nulls(value: &mut Value, schema: &StructuralSchema) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, child| !child.is_null());
            for (name, child) in fields.iter_mut() {
                if let Some(known) = schema.field(name) {
                    drop_nulls(child, known);
                }
            }
            fields.retain(|name, child| match child {
                Value::Array(items) => !items.is_empty(),
                Value::Object(inner) => {
                    !inner.is_empty()
                        || schema
                            .field(name)
                            .is_none_or(|known| known.json_type != Some(JsonType::Object))
                        || !is_map_schema(schema.field(name))
                }
                _ => true,
            });
        }
        Value::Array(items) => {
            if let Some(known) = schema.items.as_deref() {
                for item in items {
                    drop_nulls(item, known);
                }
            }
        }
        _ => {}
    }
}

/// A map of its own keys, not a struct: Go leaves an empty one out.
fn is_map_schema(schema: Option<&StructuralSchema>) -> bool {
    schema.is_some_and(|schema| schema.additional_properties.is_some())
}
