//! `OpenAPI` v3, one document for each group and version: what `kubectl explain`, `kubectl apply` and its validation read; and
//! v2, all in one, as JSON.

use http::{HeaderMap, StatusCode, header};
use serde_json::{Map, Value, json};

use super::ServerState;
use super::aggregation;
use super::builtin_schemas;
use super::kinds::{Kind, KindRegistry};
use super::object::{str_at, value_at};
use super::response::{self, ApiResponse};
use super::status_error::StatusError;

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// Answers `/openapi/…`; `None` for every other path. The documents of other servers' groups are asked of them elsewhere.
pub(super) async fn respond(
    server: &ServerState,
    path: &str,
    headers: &HeaderMap,
) -> Option<ApiResponse> {
    let rest = path.strip_prefix("/openapi/")?;
    let kinds = server.kinds();
    let document = match rest.trim_end_matches('/') {
        "v2" => {
            let accept = response::header_text(headers, &header::ACCEPT);
            if !accept.is_empty() && !accept.contains("json") && !accept.contains("*/*") {
                // `kubectl` asks for Protobuf, and does without where v3 is there.
                let error = StatusError::not_acceptable(&["application/json"]);
                return Some(response::status_error(&error));
            }
            let (paths, definitions) = aggregation::remote_swagger(server).await;
            swagger(&kinds, paths, definitions)
        }
        "v3" => {
            let mut index = index(&kinds);
            for (root, entry) in aggregation::remote_index_entries(server).await {
                index["paths"][root] = entry;
            }
            index
        }
        rest => {
            let segments: Vec<&str> = rest.strip_prefix("v3/")?.split('/').collect();
            match segments.as_slice() {
                ["api", version] => group_version(&kinds, "", version)?,
                ["apis", group, version] => group_version(&kinds, group, version)?,
                _ => return None,
            }
        }
    };
    Some(response::json(StatusCode::OK, &document))
}

/// `OpenAPI` v2, which has the same schemas at another place.
fn swagger(
    kinds: &KindRegistry,
    remote_paths: Map<String, Value>,
    remote_definitions: Map<String, Value>,
) -> Value {
    let (mut definitions, mut paths) = (Map::new(), Map::new());
    for kind in kinds.all() {
        add_components(kind, &mut definitions);
        add_paths(kind, &mut paths);
    }
    let mut paths = Value::Object(paths);
    let mut definitions = Value::Object(definitions);
    for document in [&mut paths, &mut definitions] {
        move_references(document);
    }
    for operation in paths
        .as_object_mut()
        .into_iter()
        .flat_map(Map::values_mut)
        .filter_map(Value::as_object_mut)
        .flat_map(Map::values_mut)
    {
        swagger_operation(operation);
    }
    if let (Value::Object(paths), Value::Object(definitions)) = (&mut paths, &mut definitions) {
        paths.extend(remote_paths);
        // Kinds that everybody has, such as ObjectMeta, are this server's.
        for (name, definition) in remote_definitions {
            definitions.entry(name).or_insert(definition);
        }
    }
    json!({"swagger": "2.0", "info": {"title": "Kubernetes", "version": super::VERSION}, "paths": paths, "definitions": definitions})
}

/// `#/components/schemas/` is `#/definitions/` in v2, which has references alone or not at all.
fn move_references(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::Array(all)) = fields.get("allOf")
                && let [only] = all.as_slice()
                && only.get("$ref").is_some()
            {
                let reference = only["$ref"].clone();
                fields.remove("allOf");
                fields.insert("$ref".into(), reference);
            }
            if let Some(Value::String(reference)) = fields.get_mut("$ref") {
                *reference = reference.replace("#/components/schemas/", "#/definitions/");
            }
            fields.values_mut().for_each(move_references);
        }
        Value::Array(items) => items.iter_mut().for_each(move_references),
        _ => {}
    }
}

fn swagger_operation(operation: &mut Value) {
    if let Some(answer) = operation.pointer_mut("/responses/200") {
        let schema = answer["content"]["application/json"]["schema"].take();
        *answer = json!({"description": "OK", "schema": schema});
    }
    let parameters = operation["parameters"].as_array_mut();
    for parameter in parameters.into_iter().flatten() {
        let schema = parameter["schema"].take();
        *parameter = json!({"name": parameter["name"], "in": parameter["in"], "type": schema["type"], "uniqueItems": true});
    }
    operation["produces"] = json!(["application/json"]);
}

/// The components of a kind that a CRD defines, and the name of the one that is the kind.
pub(super) fn custom_components(
    definition: &Value,
    version: &Value,
) -> (String, Map<String, Value>) {
    let group = str_at(definition, &["spec", "group"]);
    let reversed: Vec<&str> = group.split('.').rev().collect();
    let kind = str_at(definition, &["spec", "names", "kind"]);
    let name = format!(
        "{}.{}.{kind}",
        reversed.join("."),
        str_at(version, &["name"])
    );
    let mut schema = value_at(version, &["schema", "openAPIV3Schema"]).clone();
    if !schema.is_object() {
        schema = json!({"type": "object"});
    }
    let (_, mut components) =
        builtin_schemas::components::<k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta>();
    let words = components.get(META).cloned().unwrap_or_default();
    let described = |text: &str| json!({"description": text, "type": "string"});
    schema["properties"]["apiVersion"] = described(
        "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources",
    );
    schema["properties"]["kind"] = described(
        "Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds",
    );
    schema["properties"]["metadata"] = json!({
        "description": "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata",
        "allOf": [{"$ref": format!("#/components/schemas/{META}")}],
    });
    components.insert(META.into(), words);
    components.insert(name.clone(), schema);
    (name, components)
}

fn root(kind: &Kind) -> String {
    if kind.group.is_empty() {
        format!("api/{}", kind.version)
    } else {
        format!("apis/{}/{}", kind.group, kind.version)
    }
}

fn index(kinds: &KindRegistry) -> Value {
    let mut paths = Map::new();
    for kind in kinds.all() {
        let root = root(kind);
        let url = format!("/openapi/v3/{root}");
        paths.insert(root, json!({"serverRelativeURL": url}));
    }
    json!({"paths": paths})
}

fn group_version(kinds: &KindRegistry, group: &str, version: &str) -> Option<Value> {
    let mut components = Map::new();
    let mut paths = Map::new();
    for kind in kinds
        .all()
        .filter(|kind| kind.group == group && kind.version == version)
    {
        add_components(kind, &mut components);
        add_paths(kind, &mut paths);
    }
    if paths.is_empty() {
        return None;
    }
    Some(
        json!({"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": super::VERSION}, "paths": paths,
        "components": {"schemas": components}}),
    )
}

fn gvk(kind: &Kind) -> Value {
    json!({"group": kind.group, "version": kind.version, "kind": kind.kind})
}

fn add_components(kind: &Kind, components: &mut Map<String, Value>) {
    let (name, own) = &kind.components;
    components.extend(own.clone());
    if let Some(schema) = components.get_mut(name) {
        schema["x-kubernetes-group-version-kind"] = json!([gvk(kind)]);
    }
    let list = json!({"type": "object", "required": ["items"], "properties": {
        "apiVersion": {"type": "string"}, "kind": {"type": "string"},
        "items": {"type": "array", "items": {"$ref": format!("#/components/schemas/{name}")}},
        "metadata": {"type": "object"},
    }, "x-kubernetes-group-version-kind": [{"group": kind.group, "version": kind.version, "kind": kind.list_kind()}]});
    components.insert(format!("{name}List"), list);
}

fn add_paths(kind: &Kind, paths: &mut Map<String, Value>) {
    let inside = if kind.namespaced {
        "/namespaces/{namespace}"
    } else {
        ""
    };
    let collection = format!("/{}{inside}/{}", root(kind), kind.plural);
    let schema = json!({"$ref": format!("#/components/schemas/{}", kind.components.0)});
    let parameter = |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}});
    let operation = |action: &str, writes: bool| {
        let mut parameters = Vec::new();
        if writes {
            parameters.extend([
                parameter("dryRun"),
                parameter("fieldManager"),
                parameter("fieldValidation"),
            ]);
        }
        if action == "patch" {
            parameters.push(json!({"name": "force", "in": "query", "schema": {"type": "boolean", "uniqueItems": true}}));
        }
        json!({"x-kubernetes-action": action, "x-kubernetes-group-version-kind": gvk(kind), "parameters": parameters,
            "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": schema}}}}})
    };
    let whole = json!({"get": operation("list", false), "post": operation("post", true),
        "delete": operation("deletecollection", false)});
    let one = json!({"get": operation("get", false), "put": operation("put", true), "patch": operation("patch", true),
        "delete": operation("delete", false)});
    paths.insert(collection.clone(), whole);
    paths.insert(format!("{collection}/{{name}}"), one.clone());
    if kind.status {
        paths.insert(format!("{collection}/{{name}}/status"), one);
    }
}
