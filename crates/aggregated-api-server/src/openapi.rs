//! `OpenAPI` 2 and 3 of everything that is served: for `kubectl explain`, for the validation of old clients, and for those that generate
//! code. kube-apiserver fetches it and merges it with its own, so that all names are ours.

use serde_json::{Map, Value, json};

use crate::description::{ResourceDescription, ResourceVerb, SubresourceVerb};

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edition {
    V2,
    V3,
}

struct Writer<'a> {
    edition: Edition,
    group: &'a str,
    version: &'a str,
    /// As in `com.example.data.v1`.
    prefix: String,
    schemas: Map<String, Value>,
    paths: Map<String, Value>,
}

/// An operation on a path.
struct Operation<'a> {
    /// As Kubernetes names it in `x-kubernetes-action`.
    action: &'a str,
    /// The kind whose objects go over the path.
    kind: &'a str,
    /// What is answered.
    answer: &'a str,
    /// Whether something is sent, of the kind.
    has_body: bool,
    parameters: &'a [(&'a str, &'a str)],
    /// Ends the name of the operation.
    suffix: &'a str,
}

const LIST_PARAMETERS: &[(&str, &str)] = &[
    ("allowWatchBookmarks", "boolean"),
    ("continue", "string"),
    ("fieldSelector", "string"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("timeoutSeconds", "integer"),
    ("watch", "boolean"),
];

const WRITE_PARAMETERS: &[(&str, &str)] = &[
    ("dryRun", "string"),
    ("fieldManager", "string"),
    ("fieldValidation", "string"),
];

const DELETE_PARAMETERS: &[(&str, &str)] = &[
    ("dryRun", "string"),
    ("gracePeriodSeconds", "integer"),
    ("propagationPolicy", "string"),
];

/// The document for one version of a group.
pub(crate) fn document(
    edition: Edition,
    group: &str,
    version: &str,
    all: &[&ResourceDescription],
) -> Value {
    let mut labels: Vec<&str> = group.split('.').collect();
    labels.reverse();
    let mut writer = Writer {
        edition,
        group,
        version,
        prefix: format!("{}.{version}", labels.join(".")),
        schemas: Map::new(),
        paths: Map::new(),
    };
    writer.add_metadata_schemas();
    for one in all {
        writer.add_resource(one);
    }
    let info = json!({"title": group, "version": version});
    let Writer { schemas, paths, .. } = writer;
    match edition {
        Edition::V2 => {
            json!({"swagger": "2.0", "info": info, "paths": paths, "definitions": schemas})
        }
        Edition::V3 => {
            json!({"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": schemas}})
        }
    }
}

impl Writer<'_> {
    fn reference(&self, name: &str) -> Value {
        let place = match self.edition {
            Edition::V2 => "#/definitions",
            Edition::V3 => "#/components/schemas",
        };
        json!({"$ref": format!("{place}/{}.{name}", self.prefix)})
    }

    /// A reference with a text: `OpenAPI` 3.0 allows none beside a `$ref`.
    fn described_reference(&self, name: &str, text: &str) -> Value {
        let mut reference = self.reference(name);
        match self.edition {
            Edition::V2 => {
                reference["description"] = text.into();
                reference
            }
            Edition::V3 => json!({"description": text, "default": {}, "allOf": [reference]}),
        }
    }

    fn add_schema(&mut self, name: &str, mut schema: Value, is_kind: bool) {
        if is_kind {
            schema["x-kubernetes-group-version-kind"] =
                json!([{"group": self.group, "version": self.version, "kind": name}]);
        }
        if self.edition == Edition::V2 {
            strip_for_v2(&mut schema);
        }
        self.schemas
            .insert(format!("{}.{name}", self.prefix), schema);
    }

    fn add_metadata_schemas(&mut self) {
        let text = |text: &str| json!({"type": "string", "description": text});
        let map = |text: &str| json!({"type": "object", "description": text, "additionalProperties": {"type": "string"}});
        let time =
            |text: &str| json!({"type": "string", "format": "date-time", "description": text});
        let open = || json!({"type": "object"});
        let object_meta = json!({"type": "object", "description": "What every object of Kubernetes has.", "properties": {
            "name": text("The name, unique in the namespace."),
            "generateName": text("The beginning of a name that the server completes."),
            "namespace": text("The namespace."),
            "labels": map("Words to select objects by."),
            "annotations": map("Words for tools."),
            "uid": text("What tells this object from every other one."),
            "resourceVersion": text("The version of the object."),
            "creationTimestamp": time("When it was made."),
            "deletionTimestamp": time("Not used here."),
            "deletionGracePeriodSeconds": {"type": "integer", "format": "int64", "description": "Not used here."},
            "generation": {"type": "integer", "format": "int64", "description": "Not used here."},
            "selfLink": text("Not used here."),
            "finalizers": {"type": "array", "items": {"type": "string"}, "description": "Not used here."},
            "ownerReferences": {"type": "array", "items": open(), "description": "Not used here."},
            "managedFields": {"type": "array", "items": open(), "description": "Not used here."}}});
        self.add_schema("ObjectMeta", object_meta, false);
        let list_meta = json!({"type": "object", "description": "What every list of Kubernetes has.", "properties": {
            "resourceVersion": text("From where on a watch can follow."),
            "continue": text("Asks for the next part of the list.")}});
        self.add_schema("ListMeta", list_meta, false);
    }

    /// `apiVersion` and `kind`, then `metadata`, then what is the kind's own.
    fn kind_schema(&self, summary: &str, properties: &Value) -> Value {
        let mut all = Map::new();
        let text = |text: &str| json!({"type": "string", "description": text});
        all.insert(
            "apiVersion".into(),
            text("The group and the version of the API."),
        );
        all.insert("kind".into(), text("What this is."));
        all.insert(
            "metadata".into(),
            self.described_reference("ObjectMeta", "Name, namespace and the like."),
        );
        if let Some(properties) = properties.as_object() {
            all.extend(properties.clone());
        }
        json!({"type": "object", "description": summary, "properties": all})
    }

    fn add_resource(&mut self, one: &ResourceDescription) {
        let schema = self.kind_schema(&one.summary, &one.properties);
        self.add_schema(&one.kind, schema, true);
        let list = format!("{}List", one.kind);
        let items = self.reference(&one.kind);
        let metadata = self.reference("ListMeta");
        let text = |text: &str| json!({"type": "string", "description": text});
        let schema = json!({"type": "object", "description": format!("A list of {}.", one.plural), "required": ["items"],
            "properties": {"apiVersion": text("The group and the version of the API."), "kind": text("What this is."), "metadata": metadata,
                "items": {"type": "array", "items": items}}});
        self.add_schema(&list, schema, true);

        let root = format!("/apis/{}/{}", self.group, self.version);
        let read = |action, answer, parameters, suffix| Operation {
            action,
            kind: &one.kind,
            answer,
            has_body: false,
            parameters,
            suffix,
        };
        if one.allows(ResourceVerb::List) {
            let everywhere = read("list", list.as_str(), LIST_PARAMETERS, "ForAllNamespaces");
            let operations = [("get", everywhere)];
            self.add_path(format!("{root}/{}", one.plural), &operations, &[]);
        }
        let mut operations = Vec::new();
        if one.allows(ResourceVerb::List) {
            operations.push(("get", read("list", &list, LIST_PARAMETERS, "")));
        }
        if one.allows(ResourceVerb::Create) {
            let create = Operation {
                has_body: true,
                ..read("post", &one.kind, WRITE_PARAMETERS, "")
            };
            operations.push(("post", create));
        }
        if one.allows(ResourceVerb::DeleteCollection) {
            let parameters = DELETE_PARAMETERS;
            operations.push(("delete", read("deletecollection", "", parameters, "")));
        }
        let collection = format!("{root}/namespaces/{{namespace}}/{}", one.plural);
        self.add_path(collection.clone(), &operations, &["namespace"]);

        let mut operations = Vec::new();
        if one.allows(ResourceVerb::Get) {
            operations.push(("get", read("get", &one.kind, &[], "")));
        }
        if one.allows(ResourceVerb::Delete) {
            operations.push(("delete", read("delete", "", DELETE_PARAMETERS, "")));
        }
        // Answered with 405. It is here because kubectl looks at this operation alone to see whether a kind can be dry-run and validated.
        operations.push(("patch", read("patch", &one.kind, WRITE_PARAMETERS, "")));
        let item = format!("{collection}/{{name}}");
        self.add_path(item.clone(), &operations, &["namespace", "name"]);
        self.add_subresources(one, &item);
    }

    fn add_subresources(&mut self, one: &ResourceDescription, item: &str) {
        for part in &one.subresources {
            let schema = self.kind_schema(&part.summary, &part.properties);
            // A kind of its own may be read through several resources.
            if part.kind != one.kind {
                self.add_schema(&part.kind, schema, true);
            }
            let suffix = format!("{}{}", one.kind, capitalized(&part.name));
            let operation = |verb: &SubresourceVerb| {
                let creates = *verb == SubresourceVerb::Create;
                let operation = Operation {
                    action: if creates { "post" } else { "get" },
                    kind: &part.kind,
                    answer: &part.kind,
                    has_body: creates,
                    parameters: if creates { WRITE_PARAMETERS } else { &[] },
                    suffix: &suffix,
                };
                (operation.action, operation)
            };
            let operations: Vec<_> = part.verbs.iter().map(operation).collect();
            let path = format!("{item}/{}", part.name);
            self.add_path(path, &operations, &["namespace", "name"]);
        }
    }

    fn add_path(&mut self, path: String, operations: &[(&str, Operation<'_>)], inside: &[&str]) {
        let mut all = Map::new();
        for (method, operation) in operations {
            all.insert((*method).into(), self.operation(operation));
        }
        let parameters: Vec<Value> = inside
            .iter()
            .map(|name| self.parameter(name, "string", true))
            .collect();
        if !parameters.is_empty() {
            all.insert("parameters".into(), parameters.into());
        }
        self.paths.insert(path, all.into());
    }

    fn parameter(&self, name: &str, kind: &str, in_path: bool) -> Value {
        let mut parameter = json!({"name": name, "in": if in_path { "path" } else { "query" }});
        if in_path {
            parameter["required"] = true.into();
        }
        match self.edition {
            Edition::V2 => {
                parameter["type"] = kind.into();
                parameter["uniqueItems"] = true.into();
            }
            Edition::V3 => parameter["schema"] = json!({"type": kind, "uniqueItems": true}),
        }
        parameter
    }

    fn operation(&self, operation: &Operation<'_>) -> Value {
        let group: String = self.group.split('.').map(capitalized).collect();
        let id = format!(
            "{}{group}{}Namespaced{}{}",
            operation.action,
            capitalized(self.version),
            operation.kind,
            operation.suffix
        );
        let mut parameters: Vec<Value> = operation
            .parameters
            .iter()
            .map(|(name, kind)| self.parameter(name, kind, false))
            .collect();
        let answer = (!operation.answer.is_empty()).then(|| self.reference(operation.answer));
        let mut response = json!({"description": "OK"});
        let kind = json!({"group": self.group, "version": self.version, "kind": operation.kind});
        let mut document = json!({"operationId": id, "tags": [format!("{group}_{}", self.version)],
            "description": format!("{} {}", operation.action, operation.kind),
            "x-kubernetes-action": operation.action, "x-kubernetes-group-version-kind": kind});
        match self.edition {
            Edition::V2 => {
                document["consumes"] = json!(["*/*"]);
                document["produces"] = json!(["application/json"]);
                document["schemes"] = json!(["https"]);
                if operation.has_body {
                    parameters.push(json!({"name": "body", "in": "body", "required": true, "schema": self.reference(operation.kind)}));
                }
                if let Some(answer) = answer {
                    response["schema"] = answer;
                }
            }
            Edition::V3 => {
                let content = |schema: Value| json!({"application/json": {"schema": schema}});
                if operation.has_body {
                    document["requestBody"] = json!({"content": content(self.reference(operation.kind)), "required": true});
                }
                if let Some(answer) = answer {
                    response["content"] = content(answer);
                }
            }
        }
        document["parameters"] = parameters.into();
        document["responses"] = json!({"200": response});
        document
    }
}

fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(characters).collect()
}

/// Drops what `OpenAPI` 2 has no words for, so that nothing is promised wrongly.
fn strip_for_v2(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            for name in ["nullable", "oneOf", "anyOf", "allOf", "not"] {
                // A property may have such a name; a keyword never has a schema with a type of its own as its value.
                if fields
                    .get(name)
                    .is_some_and(|value| value.get("type").is_none())
                {
                    fields.remove(name);
                }
            }
            fields.values_mut().for_each(strip_for_v2);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_for_v2),
        _ => {}
    }
}
