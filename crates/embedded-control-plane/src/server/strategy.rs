//! What each kind does to an object before it is stored: the fields that the server owns, and the rules beyond a schema.
//!
//! Sources: kubernetes `pkg/registry/*/strategy.go` and `pkg/apis/*/validation`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::kinds::{Kind, Strategy};
use super::metadata_validation;
use super::object::{metadata_str, object_entry, remove_field, set_metadata, str_at, value_at};
use super::status_error::StatusError;
use crate::schema::StatusCause;
use crate::schema::{prune, validate};

/// Reads an object of a request into its stored form. Unknown fields are dropped and returned.
pub(super) fn decode(kind: &Kind, mut object: Value) -> Result<(Value, Vec<String>), StatusError> {
    let cannot = |why: &str| {
        let Kind {
            kind: name,
            version,
            ..
        } = kind;
        StatusError::bad_request(format!(
            "{name} in version \"{version}\" cannot be handled as a {name}: {why}"
        ))
    };
    if !object.is_object() {
        return Err(cannot(
            "json: cannot unmarshal into Go value: an object is wanted",
        ));
    }
    let (api_version, word) = (str_at(&object, &["apiVersion"]), str_at(&object, &["kind"]));
    if !api_version.is_empty() && api_version != kind.api_version() {
        let why = format!(
            "the API version in the data ({api_version}) does not match the expected API version ({})",
            kind.api_version()
        );
        return Err(StatusError::bad_request(why));
    }
    if !word.is_empty() && word != kind.kind {
        let cause = StatusCause::invalid(
            "kind",
            &Value::from(word),
            &format!("must be {}", kind.kind),
        );
        return Err(StatusError::invalid(
            kind,
            metadata_str(&object, "name"),
            &[cause],
        ));
    }
    object["apiVersion"] = kind.api_version().into();
    object["kind"] = kind.kind.clone().into();
    if !value_at(&object, &["metadata"]).is_object() {
        object["metadata"] = json!({});
    }
    check_metadata(&object).map_err(|why| cannot(&why))?;
    let mut unknown = prune::prune(&mut object, &kind.schema, true);
    unknown.sort();
    if kind.is_custom() {
        prune::fill_defaults(&mut object, &kind.schema);
        prune::drop_forbidden_nulls(&mut object, &kind.schema);
    } else {
        prune::drop_nulls(&mut object, &kind.schema);
        object["metadata"]
            .as_object_mut()
            .into_iter()
            .for_each(|all| all.retain(|_, value| !value.is_null()));
        let wrong_type = |cause: &StatusCause| cause.reason == "FieldValueTypeInvalid";
        if let Some(cause) = validate::validate(&object, &kind.schema)
            .into_iter()
            .find(wrong_type)
        {
            return Err(cannot(&format!(
                "json: cannot unmarshal field {}: {}",
                cause.field, cause.message
            )));
        }
        if kind.strategy == Strategy::Secret {
            check_base64(&object).map_err(|why| cannot(&why))?;
            merge_string_data(&mut object);
        }
    }
    Ok((super::conversion::to_stored(kind, object), unknown))
}

/// Labels and annotations are texts, in every kind.
fn check_metadata(object: &Value) -> Result<(), String> {
    for field in ["labels", "annotations"] {
        for value in value_at(object, &["metadata", field])
            .as_object()
            .into_iter()
            .flat_map(serde_json::Map::values)
        {
            let found = match value {
                Value::String(_) | Value::Null => continue,
                Value::Bool(_) => "bool",
                Value::Number(_) => "number",
                Value::Array(_) => "array",
                Value::Object(_) => "object",
            };
            return Err(format!(
                "json: cannot unmarshal {found} into Go struct field ObjectMeta.{field} of type string"
            ));
        }
    }
    Ok(())
}

fn check_base64(secret: &Value) -> Result<(), String> {
    for value in value_at(secret, &["data"])
        .as_object()
        .into_iter()
        .flat_map(serde_json::Map::values)
    {
        if let Some(Err(error)) = value.as_str().map(|text| STANDARD.decode(text)) {
            let at = match error {
                base64::DecodeError::InvalidByte(at, _)
                | base64::DecodeError::InvalidLastSymbol(at, _) => at,
                _ => value.as_str().map_or(0, str::len),
            };
            return Err(format!("illegal base64 data at input byte {at}"));
        }
    }
    Ok(())
}

/// `stringData` is written only: it ends up in `data`.
fn merge_string_data(secret: &mut Value) {
    if let Some(Value::Object(plain)) = remove_field(secret, "stringData") {
        let data = object_entry(secret, "data");
        for (key, value) in plain {
            if let Some(text) = value.as_str() {
                data.insert(key, STANDARD.encode(text).into());
            }
        }
    }
}

/// Prepares a new object: what the server owns is set, what it does not let a creator set is dropped.
pub(super) fn prepare_create(kind: &Kind, object: &mut Value) {
    if kind.status && kind.strategy != Strategy::CustomResourceDefinition {
        remove_field(object, "status");
    }
    match kind.strategy {
        Strategy::CustomResource => set_metadata(object, "generation", 1),
        Strategy::CustomResourceDefinition => {
            set_metadata(object, "generation", 1);
            super::crd::set_defaults(object);
        }
        Strategy::ApiService => super::aggregation::set_defaults(object),
        Strategy::Secret => {
            if str_at(object, &["type"]).is_empty() {
                object["type"] = "Opaque".into();
            }
        }
        Strategy::Namespace => {
            object["spec"] = json!({"finalizers": ["kubernetes"]});
            object["status"] = json!({"phase": "Active"});
            let name = metadata_str(object, "name").to_owned();
            let metadata = object_entry(object, "metadata");
            let labels = metadata.entry("labels").or_insert_with(|| json!({}));
            labels["kubernetes.io/metadata.name"] = name.into();
        }
        // Pods have a generation on newer servers only.
        Strategy::Kept if kind.kind == "Deployment" => set_metadata(object, "generation", 1),
        Strategy::CoreEvent
        | Strategy::EventsV1Event
        | Strategy::ConfigMap
        | Strategy::Lease
        | Strategy::Kept => {}
    }
}

/// Prepares a changed object: what this endpoint does not write is taken from the old one.
pub(super) fn prepare_update(kind: &Kind, subresource: &str, object: &mut Value, old: &Value) {
    if subresource == "status" {
        let status = value_at(object, &["status"]).clone();
        let managed = value_at(object, &["metadata", "managedFields"]).clone();
        let revision = value_at(object, &["metadata", "resourceVersion"]).clone();
        let uid = value_at(object, &["metadata", "uid"]).clone();
        *object = old.clone();
        set_or_drop(object, "status", status);
        for (field, value) in [
            ("managedFields", managed),
            ("resourceVersion", revision),
            ("uid", uid),
        ] {
            set_or_drop(&mut object["metadata"], field, value);
        }
        return;
    }
    if kind.status {
        set_or_drop(object, "status", value_at(old, &["status"]).clone());
    }
    match kind.strategy {
        Strategy::Namespace if subresource != "finalize" => {
            set_or_drop(object, "spec", value_at(old, &["spec"]).clone());
        }
        Strategy::CustomResourceDefinition => super::crd::set_defaults(object),
        Strategy::ApiService => super::aggregation::set_defaults(object),
        Strategy::Secret if str_at(object, &["type"]).is_empty() => {
            object["type"] = "Opaque".into();
        }
        _ => {}
    }
    let generation = value_at(old, &["metadata", "generation"]).as_i64();
    if let Some(generation) = generation {
        let spec_changed = spec_part(kind, object) != spec_part(kind, old);
        set_metadata(object, "generation", generation + i64::from(spec_changed));
    }
}

fn set_or_drop(object: &mut Value, field: &str, value: Value) {
    if value.is_null() {
        remove_field(object, field);
    } else {
        object[field] = value;
    }
}

/// The part of an object whose change is a new generation: all but metadata and, where it is apart, status.
fn spec_part(kind: &Kind, object: &Value) -> Value {
    let mut part = object.clone();
    remove_field(&mut part, "metadata");
    if kind.status {
        remove_field(&mut part, "status");
    }
    part
}

/// Everything wrong with an object that is about to be stored.
pub(super) fn validate(kind: &Kind, object: &Value, old: Option<&Value>) -> Vec<StatusCause> {
    let mut causes = metadata_validation::validate_metadata(kind, object);
    if let Some(old) = old {
        causes.extend(new_finalizers(object, old));
    }
    match kind.strategy {
        Strategy::CustomResource => {
            let shown = without_metadata(object);
            causes.extend(validate::validate(&shown, &kind.schema));
            if causes.iter().any(StatusCause::blocks_rules) {
                if kind
                    .rules
                    .as_ref()
                    .is_some_and(crate::schema::cel_rules::CelRules::has_rules)
                {
                    causes.push(StatusCause::invalid("<nil>", &Value::Null, "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation"));
                }
            } else if let Some(rules) = &kind.rules {
                causes.extend(rules.check(object, old));
            }
        }
        Strategy::Secret | Strategy::ConfigMap => causes.extend(validate_data(kind, object, old)),
        Strategy::Lease => {
            let seconds = value_at(object, &["spec", "leaseDurationSeconds"]);
            if seconds.as_i64().is_some_and(|seconds| seconds <= 0) {
                causes.push(StatusCause::invalid(
                    "spec.leaseDurationSeconds",
                    seconds,
                    "must be greater than 0",
                ));
            }
        }
        Strategy::CoreEvent | Strategy::EventsV1Event => {
            causes.extend(validate_event(kind, object, old.is_some()));
        }
        Strategy::CustomResourceDefinition => causes.extend(super::crd::validate(object)),
        Strategy::ApiService => causes.extend(super::aggregation::validate(object)),
        Strategy::Namespace | Strategy::Kept => {}
    }
    causes
}

/// A custom resource without the metadata, which has been checked by other rules.
fn without_metadata(object: &Value) -> Value {
    let mut part = object.clone();
    remove_field(&mut part, "metadata");
    part
}

fn new_finalizers(object: &Value, old: &Value) -> Option<StatusCause> {
    if !super::object::is_deleting(old) {
        return None;
    }
    let known = super::object::finalizers(old);
    let fresh: Vec<&str> = super::object::finalizers(object)
        .into_iter()
        .filter(|finalizer| !known.contains(finalizer))
        .collect();
    (!fresh.is_empty()).then(|| {
        let quoted: Vec<String> = fresh.iter().map(|name| format!("{name:?}")).collect();
        let why = format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
            quoted.join(", ")
        );
        StatusCause::forbidden("metadata.finalizers", &why)
    })
}

fn validate_data(kind: &Kind, object: &Value, old: Option<&Value>) -> Vec<StatusCause> {
    let mut causes = Vec::new();
    for field in ["data", "binaryData"] {
        for key in value_at(object, &[field])
            .as_object()
            .into_iter()
            .flat_map(serde_json::Map::keys)
        {
            if let Some(why) = metadata_validation::config_key_error(key) {
                causes.push(StatusCause::invalid(
                    format!("{field}[{key}]"),
                    &Value::from(key.clone()),
                    &why,
                ));
            }
        }
    }
    let Some(old) = old else { return causes };
    if kind.strategy == Strategy::Secret && object["type"] != old["type"] {
        causes.push(StatusCause::invalid(
            "type",
            &object["type"],
            "field is immutable",
        ));
    }
    if value_at(old, &["immutable"]).as_bool() == Some(true) {
        if value_at(object, &["immutable"]).as_bool() != Some(true) {
            causes.push(StatusCause::forbidden(
                "immutable",
                "field is immutable when `immutable` is set",
            ));
        }
        for field in ["data", "binaryData"] {
            if value_at(object, &[field]) != value_at(old, &[field]) {
                causes.push(StatusCause::forbidden(
                    field,
                    "field is immutable when `immutable` is set",
                ));
            }
        }
    }
    causes
}

fn validate_event(kind: &Kind, event: &Value, exists: bool) -> Vec<StatusCause> {
    let mut causes = Vec::new();
    let namespace = metadata_str(event, "namespace");
    let about = value_at(event, &["involvedObject", "namespace"]);
    let fits = match about.as_str().unwrap_or_default() {
        "" => namespace == "default",
        about => about == namespace,
    };
    if !fits {
        let about = if about.is_null() {
            Value::from("")
        } else {
            about.clone()
        };
        causes.push(StatusCause::invalid(
            "involvedObject.namespace",
            &about,
            "does not match event.namespace",
        ));
    }
    if kind.strategy == Strategy::EventsV1Event && !exists {
        for (field, stored) in [
            ("eventTime", "eventTime"),
            ("reportingController", "reportingComponent"),
            ("reportingInstance", "reportingInstance"),
            ("action", "action"),
            ("reason", "reason"),
        ] {
            if str_at(event, &[stored]).is_empty() {
                causes.push(StatusCause::required(field, ""));
            }
        }
        let word = str_at(event, &["type"]);
        if !matches!(word, "Normal" | "Warning") {
            causes.push(StatusCause::invalid(
                "type",
                &Value::from(""),
                &format!("has invalid value: {word}"),
            ));
        }
        let note = str_at(event, &["message"]);
        if note.len() > 1024 {
            causes.push(StatusCause::invalid(
                "message",
                &Value::from(note),
                "can have at most 1024 characters",
            ));
        }
    }
    causes
}
