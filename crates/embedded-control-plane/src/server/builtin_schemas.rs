//! Schemas of the built-in kinds, taken from the `k8s-openapi` types, so that names, descriptions and formats are
//! Kubernetes' own.
//!
//! The generated schemas leave out the merge extensions; the few lists of our kinds that are sets or maps are marked
//! here (source: the `+listType` markers in k8s.io/api and apimachinery).

use k8s_openapi::schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

/// The schema of `T` with nothing referenced: self-contained, for validation and merging.
pub(in crate::server) fn inlined_schema<T: JsonSchema>() -> Value {
    let mut settings = SchemaSettings::openapi3();
    settings.inline_subschemas = true;
    let mut schema = settings
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value();
    if let Some(fields) = schema.as_object_mut() {
        fields.remove("$schema");
        fields.remove("title");
        fields.remove("components");
    }
    mark_list_types(&mut schema, "");
    schema
}

/// The named schemas that `T` is made of, as `OpenAPI` v3 components, and the name of `T`.
pub(in crate::server) fn components<T: JsonSchema>() -> (String, Map<String, Value>) {
    let mut generator = SchemaSettings::openapi3().into_generator();
    generator.subschema_for::<T>();
    let mut all: Map<String, Value> = generator.take_definitions(true).into_iter().collect();
    for (name, schema) in &mut all {
        mark_list_types(schema, name);
    }
    (T::schema_name().into_owned(), all)
}

/// Marks lists that are sets or maps, wherever they appear under a name that our kinds give only to them.
fn mark_list_types(schema: &mut Value, name: &str) {
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        for (field, property) in properties {
            mark_list_types(property, field);
            match field.as_str() {
                // A namespace's `spec.finalizers` is one value, unlike the metadata's.
                "finalizers" if !name.ends_with("pec") => {
                    property["x-kubernetes-list-type"] = json!("set");
                    property["x-kubernetes-patch-strategy"] = json!("merge");
                }
                "fieldsV1" => property["x-kubernetes-preserve-unknown-fields"] = json!(true),
                "ownerReferences" => mark_map_list(property, "uid"),
                "conditions" if property.get("items").is_some() => mark_map_list(property, "type"),
                _ => {}
            }
        }
    }
    if let Some(items) = schema.get_mut("items") {
        mark_list_types(items, name);
    }
    // References to objects are one value (`+structType=atomic`).
    let atomic = [
        "involvedObject",
        "regarding",
        "related",
        "io.k8s.api.core.v1.ObjectReference",
    ];
    if atomic.contains(&name) {
        schema["x-kubernetes-map-type"] = json!("atomic");
    }
}

fn mark_map_list(property: &mut Value, key: &str) {
    property["x-kubernetes-list-type"] = json!("map");
    property["x-kubernetes-list-map-keys"] = json!([key]);
    property["x-kubernetes-patch-merge-key"] = json!(key);
    property["x-kubernetes-patch-strategy"] = json!("merge");
}
