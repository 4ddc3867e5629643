//! Whether an object keeps its schema, said in the API server's words.
//!
//! The texts are those of apiextensions-apiserver (which rewrites kube-openapi's), because people search for them and
//! the conformance tests compare them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::status_cause::StatusCause;
use super::{JsonType, ListType, StructuralSchema};

/// Every way in which `value` breaks `schema`.
pub(crate) fn validate(value: &Value, schema: &StructuralSchema) -> Vec<StatusCause> {
    let mut causes = Vec::new();
    check(value, schema, "", &mut causes);
    causes
}

fn join_path(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn type_matches(value: &Value, json_type: JsonType) -> bool {
    match json_type {
        JsonType::Object => value.is_object(),
        JsonType::Array => value.is_array(),
        JsonType::String => value.is_string(),
        JsonType::Integer => {
            value.is_i64()
                || value.is_u64()
                || value.as_f64().is_some_and(|number| number.fract() == 0.0)
        }
        JsonType::Number => value.is_number(),
        JsonType::Boolean => value.is_boolean(),
    }
}

fn type_word(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn check(value: &Value, schema: &StructuralSchema, path: &str, causes: &mut Vec<StatusCause>) {
    if value.is_null() && schema.nullable {
        return;
    }
    if schema.int_or_string {
        if !(value.is_string() || value.is_i64() || value.is_u64()) {
            let why = format!(
                "{path} in body must be of type integer,string: \"{}\"",
                type_word(value)
            );
            causes.push(StatusCause::type_invalid(
                path,
                &Value::from(type_word(value)),
                &why,
            ));
        }
        return;
    }
    if let Some(json_type) = schema.json_type
        && !type_matches(value, json_type)
    {
        let formatted = schema
            .format
            .as_deref()
            .filter(|_| json_type == JsonType::Integer && value.is_number());
        let (wanted, found) = formatted.map_or((json_type.as_str(), type_word(value)), |format| {
            (format, "float64")
        });
        let why = format!("{path} in body must be of type {wanted}: \"{found}\"");
        causes.push(StatusCause::type_invalid(path, &Value::from(found), &why));
        if let Some(format) = formatted {
            causes.push(format_error(path, format));
        }
        return;
    }
    if !schema.enum_values.is_empty() && !schema.enum_values.contains(value) {
        causes.push(StatusCause::unsupported(path, value, &schema.enum_values));
    }
    match value {
        Value::String(text) => check_string(text, value, schema, path, causes),
        Value::Number(number) => check_number(
            number.as_f64().unwrap_or_default(),
            value,
            schema,
            path,
            causes,
        ),
        Value::Array(items) => check_array(items, value, schema, path, causes),
        Value::Object(fields) => check_object(fields, value, schema, path, causes),
        _ => {}
    }
    check_branches(value, schema, path, causes);
}

/// Length and pattern: the server names the first that a text breaks.
fn check_string(
    text: &str,
    value: &Value,
    schema: &StructuralSchema,
    path: &str,
    causes: &mut Vec<StatusCause>,
) {
    let length = text.chars().count() as u64;
    if let Some(most) = schema.max_length.filter(|most| length > *most) {
        causes.push(StatusCause {
            reason: "FieldValueTooLong",
            field: path.into(),
            message: format!("Too long: may not be more than {most} bytes"),
        });
    } else if let Some(least) = schema.min_length.filter(|least| length < *least) {
        let why = format!("{path} in body should be at least {least} chars long");
        causes.push(StatusCause::invalid(path, value, &why));
    } else if let Some(pattern) = schema
        .pattern
        .as_ref()
        .filter(|pattern| !pattern.is_match(text))
    {
        let why = format!("{path} in body should match '{pattern}'");
        causes.push(StatusCause::invalid(path, value, &why));
    }
    if let Some(format) = &schema.format
        && !matches_format(format, text)
    {
        causes.push(StatusCause::invalid(
            path,
            value,
            &format!("{path} in body must be of type {format}: {value}"),
        ));
    }
}

/// The formats that our kinds and the built-in ones use; an unknown format holds, as on the server.
fn matches_format(format: &str, text: &str) -> bool {
    match format {
        "date-time" => text.parse::<jiff::Timestamp>().is_ok(),
        "byte" => base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).is_ok(),
        "uri" => url::Url::parse(text).is_ok(),
        _ => true,
    }
}

fn check_number(
    number: f64,
    value: &Value,
    schema: &StructuralSchema,
    path: &str,
    causes: &mut Vec<StatusCause>,
) {
    let bound = |bound: f64| {
        Value::from(bound)
            .to_string()
            .trim_end_matches(".0")
            .to_owned()
    };
    if let Some((most, exclusive)) = schema.maximum
        && (number > most || (exclusive && number >= most))
    {
        let than = if exclusive {
            "less than"
        } else {
            "less than or equal to"
        };
        causes.push(StatusCause::invalid(
            path,
            value,
            &format!("{path} in body should be {than} {}", bound(most)),
        ));
    }
    if let Some((least, exclusive)) = schema.minimum
        && (number < least || (exclusive && number <= least))
    {
        let than = if exclusive {
            "greater than"
        } else {
            "greater than or equal to"
        };
        causes.push(StatusCause::invalid(
            path,
            value,
            &format!("{path} in body should be {than} {}", bound(least)),
        ));
    }
    if let Some(step) = schema.multiple_of
        && (number / step).fract() != 0.0
    {
        causes.push(StatusCause::invalid(
            path,
            value,
            &format!("{path} in body should be a multiple of {}", bound(step)),
        ));
    }
    if schema.json_type == Some(JsonType::Integer) {
        let range = match schema.format.as_deref() {
            Some("int32") => Some((f64::from(i32::MIN), f64::from(i32::MAX))),
            _ => None,
        };
        if let Some((least, most)) = range
            && !(least..=most).contains(&number)
        {
            causes.push(format_error(path, "int32"));
        }
    }
}

/// The server checks a number's format apart from its type, and does not name the field properly.
fn format_error(path: &str, format: &str) -> StatusCause {
    let why = format!("Checked value must be of type integer with format {format} in {path}");
    StatusCause::invalid("<nil>", &Value::from(""), &why)
}

fn check_array(
    items: &[Value],
    value: &Value,
    schema: &StructuralSchema,
    path: &str,
    causes: &mut Vec<StatusCause>,
) {
    let length = items.len() as u64;
    if let Some(most) = schema.max_items
        && length > most
    {
        causes.push(StatusCause {
            reason: "FieldValueTooMany",
            field: path.into(),
            message: format!("Too many: {length}: must have at most {most} items"),
        });
    }
    if let Some(least) = schema.min_items
        && length < least
    {
        causes.push(StatusCause::invalid(
            path,
            value,
            &format!("{path} in body should have at least {least} items"),
        ));
    }
    if let Some(known) = schema.items.as_deref() {
        for (index, item) in items.iter().enumerate() {
            check(item, known, &format!("{path}[{index}]"), causes);
        }
    }
    match &schema.list_type {
        ListType::Set => check_duplicates(items.iter().cloned(), path, causes),
        ListType::Map(keys) => {
            let identities = items.iter().map(|item| {
                keys.iter()
                    .filter_map(|key| Some((key.clone(), item.get(key)?.clone())))
                    .collect::<Value>()
            });
            check_duplicates(identities, path, causes);
        }
        ListType::Atomic => {}
    }
}

fn check_duplicates(
    identities: impl Iterator<Item = Value>,
    path: &str,
    causes: &mut Vec<StatusCause>,
) {
    let (mut seen, mut named) = (BTreeSet::new(), BTreeSet::new());
    for (index, identity) in identities.enumerate() {
        let text = identity.to_string();
        // However often a value stands again, it is named once.
        if !seen.insert(text.clone()) && named.insert(text) {
            causes.push(StatusCause::duplicate(
                format!("{path}[{index}]"),
                &identity,
            ));
        }
    }
}

fn check_object(
    fields: &serde_json::Map<String, Value>,
    value: &Value,
    schema: &StructuralSchema,
    path: &str,
    causes: &mut Vec<StatusCause>,
) {
    for name in &schema.required {
        if !fields.contains_key(name) {
            causes.push(StatusCause::required(join_path(path, name), ""));
        }
    }
    if let Some(most) = schema.max_properties
        && fields.len() as u64 > most
    {
        causes.push(StatusCause {
            reason: "FieldValueTooMany",
            field: path.into(),
            message: format!("Too many: {}: must have at most {most} items", fields.len()),
        });
    }
    if let Some(least) = schema.min_properties
        && (fields.len() as u64) < least
    {
        causes.push(StatusCause::invalid(
            path,
            value,
            &format!("{path} in body should have at least {least} properties"),
        ));
    }
    for (name, child) in fields {
        if let Some(known) = schema.field(name) {
            check(child, known, &join_path(path, name), causes);
        }
    }
}

fn check_branches(
    value: &Value,
    schema: &StructuralSchema,
    path: &str,
    causes: &mut Vec<StatusCause>,
) {
    let holds = |branch: &StructuralSchema| {
        let mut inner = Vec::new();
        check(value, branch, path, &mut inner);
        inner.is_empty()
    };
    for branch in &schema.all_of {
        check(value, branch, path, causes);
    }
    if !schema.any_of.is_empty() && !schema.any_of.iter().any(holds) {
        causes.push(StatusCause::invalid(
            path,
            value,
            &format!("{path} in body must validate at least one schema (anyOf)"),
        ));
    }
    if !schema.one_of.is_empty() {
        let count = schema.one_of.iter().filter(|branch| holds(branch)).count();
        if count != 1 {
            let found = if count == 0 {
                "Found none valid".to_owned()
            } else {
                format!("Found {count} valid alternatives")
            };
            let why =
                format!("{path} in body must validate one and only one schema (oneOf). {found}");
            causes.push(StatusCause::invalid(path, value, &why));
        }
    }
    if let Some(not) = &schema.not
        && holds(not)
    {
        causes.push(StatusCause::invalid(
            path,
            value,
            &format!("{path} in body must not validate the schema (not)"),
        ));
    }
}
