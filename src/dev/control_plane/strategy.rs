//! What each kind does to an object before it is stored: the fields that the server owns, and the rules beyond a schema.
//!
//! Sources: kubernetes `pkg/registry/*/strategy.go` and `pkg/apis/*/validation`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::failure::{Cause, Failure};
use super::kinds::{Kind, Nature};
use super::names;
use super::object::{at, drop_field, entry_object, meta, set_meta, text};
use super::schema::{prune, validate};

/// Reads an object of a request into its stored form. Unknown fields are dropped and returned.
pub(super) fn decode(kind: &Kind, mut object: Value) -> Result<(Value, Vec<String>), Failure> {
    let cannot = |why: &str| {
        let Kind {
            kind: name,
            version,
            ..
        } = kind;
        Failure::bad_request(format!(
            "{name} in version \"{version}\" cannot be handled as a {name}: {why}"
        ))
    };
    if !object.is_object() {
        return Err(cannot(
            "json: cannot unmarshal into Go value: an object is wanted",
        ));
    }
    let (api_version, word) = (text(&object, &["apiVersion"]), text(&object, &["kind"]));
    if !api_version.is_empty() && api_version != kind.api_version() {
        let why = format!(
            "the API version in the data ({api_version}) does not match the expected API version ({})",
            kind.api_version()
        );
        return Err(Failure::bad_request(why));
    }
    if !word.is_empty() && word != kind.kind {
        let cause = Cause::invalid(
            "kind",
            &Value::from(word),
            &format!("must be {}", kind.kind),
        );
        return Err(Failure::invalid(kind, meta(&object, "name"), &[cause]));
    }
    object["apiVersion"] = kind.api_version().into();
    object["kind"] = kind.kind.clone().into();
    if !at(&object, &["metadata"]).is_object() {
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
        let wrong_type = |cause: &Cause| cause.reason == "FieldValueTypeInvalid";
        if let Some(cause) = validate::validate(&object, &kind.schema)
            .into_iter()
            .find(wrong_type)
        {
            return Err(cannot(&format!(
                "json: cannot unmarshal field {}: {}",
                cause.field, cause.message
            )));
        }
        if kind.nature == Nature::Secret {
            check_base64(&object).map_err(|why| cannot(&why))?;
            merge_string_data(&mut object);
        }
    }
    Ok((super::view::store(kind, object), unknown))
}

/// Labels and annotations are texts, in every kind.
fn check_metadata(object: &Value) -> Result<(), String> {
    for field in ["labels", "annotations"] {
        for value in at(object, &["metadata", field])
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
    for value in at(secret, &["data"])
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
    if let Some(Value::Object(plain)) = drop_field(secret, "stringData") {
        let data = entry_object(secret, "data");
        for (key, value) in plain {
            if let Some(text) = value.as_str() {
                data.insert(key, STANDARD.encode(text).into());
            }
        }
    }
}

/// Prepares a new object: what the server owns is set, what it does not let a creator set is dropped.
pub(super) fn prepare_create(kind: &Kind, object: &mut Value) {
    if kind.status && kind.nature != Nature::Definition {
        drop_field(object, "status");
    }
    match kind.nature {
        Nature::Custom => set_meta(object, "generation", 1),
        Nature::Definition => {
            set_meta(object, "generation", 1);
            super::definitions::fill_in(object);
        }
        Nature::Secret => {
            if text(object, &["type"]).is_empty() {
                object["type"] = "Opaque".into();
            }
        }
        Nature::Namespace => {
            object["spec"] = json!({"finalizers": ["kubernetes"]});
            object["status"] = json!({"phase": "Active"});
            let name = meta(object, "name").to_owned();
            let metadata = entry_object(object, "metadata");
            let labels = metadata.entry("labels").or_insert_with(|| json!({}));
            labels["kubernetes.io/metadata.name"] = name.into();
        }
        Nature::Event | Nature::NewEvent | Nature::ConfigMap | Nature::Lease => {}
    }
}

/// Prepares a changed object: what this endpoint does not write is taken from the old one.
pub(super) fn prepare_update(kind: &Kind, subresource: &str, object: &mut Value, old: &Value) {
    if subresource == "status" {
        let status = at(object, &["status"]).clone();
        let managed = at(object, &["metadata", "managedFields"]).clone();
        let revision = at(object, &["metadata", "resourceVersion"]).clone();
        let uid = at(object, &["metadata", "uid"]).clone();
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
        set_or_drop(object, "status", at(old, &["status"]).clone());
    }
    match kind.nature {
        Nature::Namespace if subresource != "finalize" => {
            set_or_drop(object, "spec", at(old, &["spec"]).clone());
        }
        Nature::Definition => super::definitions::fill_in(object),
        Nature::Secret if text(object, &["type"]).is_empty() => object["type"] = "Opaque".into(),
        _ => {}
    }
    let generation = at(old, &["metadata", "generation"]).as_i64();
    if let Some(generation) = generation {
        let moved = specified(kind, object) != specified(kind, old);
        set_meta(object, "generation", generation + i64::from(moved));
    }
}

fn set_or_drop(object: &mut Value, field: &str, value: Value) {
    if value.is_null() {
        drop_field(object, field);
    } else {
        object[field] = value;
    }
}

/// The part of an object whose change is a new generation: all but metadata and, where it is apart, status.
fn specified(kind: &Kind, object: &Value) -> Value {
    let mut part = object.clone();
    drop_field(&mut part, "metadata");
    if kind.status {
        drop_field(&mut part, "status");
    }
    part
}

/// Everything wrong with an object that is about to be stored.
pub(super) fn validate(kind: &Kind, object: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = names::validate_metadata(kind, object);
    if let Some(old) = old {
        causes.extend(new_finalizers(object, old));
    }
    match kind.nature {
        Nature::Custom => {
            let shown = custom_part(object);
            causes.extend(validate::validate(&shown, &kind.schema));
            if causes.iter().any(Cause::blocks_rules) {
                if kind
                    .rules
                    .as_ref()
                    .is_some_and(super::schema::rules::Rules::any)
                {
                    causes.push(Cause::invalid("<nil>", &Value::Null, "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation"));
                }
            } else if let Some(rules) = &kind.rules {
                causes.extend(rules.check(object, old));
            }
        }
        Nature::Secret | Nature::ConfigMap => causes.extend(validate_data(kind, object, old)),
        Nature::Lease => {
            let seconds = at(object, &["spec", "leaseDurationSeconds"]);
            if seconds.as_i64().is_some_and(|seconds| seconds <= 0) {
                causes.push(Cause::invalid(
                    "spec.leaseDurationSeconds",
                    seconds,
                    "must be greater than 0",
                ));
            }
        }
        Nature::Event | Nature::NewEvent => {
            causes.extend(validate_event(kind, object, old.is_some()));
        }
        Nature::Definition => causes.extend(super::definitions::validate(object)),
        Nature::Namespace => {}
    }
    causes
}

/// A custom resource without the metadata, which has been checked by other rules.
fn custom_part(object: &Value) -> Value {
    let mut part = object.clone();
    drop_field(&mut part, "metadata");
    part
}

fn new_finalizers(object: &Value, old: &Value) -> Option<Cause> {
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
        Cause::forbidden("metadata.finalizers", &why)
    })
}

fn validate_data(kind: &Kind, object: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    for field in ["data", "binaryData"] {
        for key in at(object, &[field])
            .as_object()
            .into_iter()
            .flat_map(serde_json::Map::keys)
        {
            if let Some(why) = names::config_key_fault(key) {
                causes.push(Cause::invalid(
                    format!("{field}[{key}]"),
                    &Value::from(key.clone()),
                    &why,
                ));
            }
        }
    }
    let Some(old) = old else { return causes };
    if kind.nature == Nature::Secret && object["type"] != old["type"] {
        causes.push(Cause::invalid(
            "type",
            &object["type"],
            "field is immutable",
        ));
    }
    if at(old, &["immutable"]).as_bool() == Some(true) {
        if at(object, &["immutable"]).as_bool() != Some(true) {
            causes.push(Cause::forbidden(
                "immutable",
                "field is immutable when `immutable` is set",
            ));
        }
        for field in ["data", "binaryData"] {
            if at(object, &[field]) != at(old, &[field]) {
                causes.push(Cause::forbidden(
                    field,
                    "field is immutable when `immutable` is set",
                ));
            }
        }
    }
    causes
}

fn validate_event(kind: &Kind, event: &Value, exists: bool) -> Vec<Cause> {
    let mut causes = Vec::new();
    let namespace = meta(event, "namespace");
    let about = at(event, &["involvedObject", "namespace"]);
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
        causes.push(Cause::invalid(
            "involvedObject.namespace",
            &about,
            "does not match event.namespace",
        ));
    }
    if kind.nature == Nature::NewEvent && !exists {
        for (field, stored) in [
            ("eventTime", "eventTime"),
            ("reportingController", "reportingComponent"),
            ("reportingInstance", "reportingInstance"),
            ("action", "action"),
            ("reason", "reason"),
        ] {
            if text(event, &[stored]).is_empty() {
                causes.push(Cause::required(field, ""));
            }
        }
        let word = text(event, &["type"]);
        if !matches!(word, "Normal" | "Warning") {
            causes.push(Cause::invalid(
                "type",
                &Value::from(""),
                &format!("has invalid value: {word}"),
            ));
        }
        let note = text(event, &["message"]);
        if note.len() > 1024 {
            causes.push(Cause::invalid(
                "message",
                &Value::from(note),
                "can have at most 1024 characters",
            ));
        }
    }
    causes
}
