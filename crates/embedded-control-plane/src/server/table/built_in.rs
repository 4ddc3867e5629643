//! The columns of the built-in kinds (kubernetes `pkg/printers/internalversion`).

use serde_json::Value;

use super::super::object::{metadata_str, str_at, value_at};
use super::{Column, time_since};

pub(super) fn name(object: &Value) -> Value {
    metadata_str(object, "name").into()
}

pub(super) fn age(object: &Value) -> Value {
    time_since(metadata_str(object, "creationTimestamp")).into()
}

fn name_column() -> Column {
    Column::built_in("Name", "string", 0, name)
}

fn age_column() -> Column {
    Column::built_in("Age", "string", 0, age)
}

fn entry_count(object: &Value, field: &str) -> usize {
    value_at(object, &[field])
        .as_object()
        .map_or(0, serde_json::Map::len)
}

pub(in crate::server) fn namespace() -> Vec<Column> {
    let phase = |object: &Value| str_at(object, &["status", "phase"]).into();
    vec![
        name_column(),
        Column::built_in("Status", "string", 0, phase),
        age_column(),
    ]
}

pub(in crate::server) fn secret() -> Vec<Column> {
    let kind = |object: &Value| str_at(object, &["type"]).into();
    let data = |object: &Value| entry_count(object, "data").into();
    vec![
        name_column(),
        Column::built_in("Type", "string", 0, kind),
        Column::built_in("Data", "string", 0, data),
        age_column(),
    ]
}

pub(in crate::server) fn config_map() -> Vec<Column> {
    let data =
        |object: &Value| (entry_count(object, "data") + entry_count(object, "binaryData")).into();
    vec![
        name_column(),
        Column::built_in("Data", "string", 0, data),
        age_column(),
    ]
}

pub(in crate::server) fn lease() -> Vec<Column> {
    let holder = |object: &Value| str_at(object, &["spec", "holderIdentity"]).into();
    vec![
        name_column(),
        Column::built_in("Holder", "string", 0, holder),
        age_column(),
    ]
}

pub(in crate::server) fn pod() -> Vec<Column> {
    let phase = |object: &Value| str_at(object, &["status", "phase"]).into();
    vec![
        name_column(),
        Column::built_in("Status", "string", 0, phase),
        age_column(),
    ]
}

pub(in crate::server) fn deployment() -> Vec<Column> {
    let ready = |object: &Value| {
        let count = |path: &[&str]| value_at(object, path).as_u64().unwrap_or(0);
        let wanted = value_at(object, &["spec", "replicas"])
            .as_u64()
            .unwrap_or(1);
        format!("{}/{wanted}", count(&["status", "readyReplicas"])).into()
    };
    vec![
        name_column(),
        Column::built_in("Ready", "string", 0, ready),
        age_column(),
    ]
}

pub(in crate::server) fn custom_resource_definition() -> Vec<Column> {
    let created = |object: &Value| metadata_str(object, "creationTimestamp").into();
    vec![
        name_column(),
        Column::built_in("Created At", "date", 0, created),
    ]
}

pub(in crate::server) fn service() -> Vec<Column> {
    let kind = |object: &Value| match str_at(object, &["spec", "type"]) {
        "" => "ClusterIP".into(),
        kind => kind.into(),
    };
    let external = |object: &Value| match str_at(object, &["spec", "externalName"]) {
        "" => "<none>".into(),
        name => name.into(),
    };
    vec![
        name_column(),
        Column::built_in("Type", "string", 0, kind),
        Column::built_in("External-IP", "string", 0, external),
        age_column(),
    ]
}

pub(in crate::server) fn role() -> Vec<Column> {
    let created = |object: &Value| metadata_str(object, "creationTimestamp").into();
    vec![
        name_column(),
        Column::built_in("Created At", "date", 0, created),
    ]
}

pub(in crate::server) fn role_binding() -> Vec<Column> {
    let role = |object: &Value| {
        let part = |field: &str| str_at(object, &["roleRef", field]).to_owned();
        format!("{}/{}", part("kind"), part("name")).into()
    };
    vec![
        name_column(),
        Column::built_in("Role", "string", 0, role),
        age_column(),
    ]
}

pub(in crate::server) fn api_service() -> Vec<Column> {
    let service = |object: &Value| {
        let part = |field: &str| str_at(object, &["spec", "service", field]).to_owned();
        match part("name") {
            name if name.is_empty() => "Local".into(),
            name => format!("{}/{name}", part("namespace")).into(),
        }
    };
    let available = |object: &Value| {
        let conditions = value_at(object, &["status", "conditions"]).as_array();
        let found = conditions
            .into_iter()
            .flatten()
            .find(|condition| str_at(condition, &["type"]) == "Available");
        match found.map(|condition| (str_at(condition, &["status"]), condition)) {
            None => "Unknown".into(),
            Some(("True", _)) => "True".into(),
            Some((status, condition)) => {
                format!("{status} ({})", str_at(condition, &["reason"])).into()
            }
        }
    };
    vec![
        name_column(),
        Column::built_in("Service", "string", 0, service),
        Column::built_in("Available", "string", 0, available),
        age_column(),
    ]
}

pub(in crate::server) fn event() -> Vec<Column> {
    let kind = |event: &Value| str_at(event, &["type"]).into();
    let reason = |event: &Value| str_at(event, &["reason"]).into();
    let subobject = |event: &Value| str_at(event, &["involvedObject", "fieldPath"]).into();
    let message = |event: &Value| str_at(event, &["message"]).trim().into();
    vec![
        Column::built_in("Last Seen", "string", 0, last_seen),
        Column::built_in("Type", "string", 0, kind),
        Column::built_in("Reason", "string", 0, reason),
        Column::built_in("Object", "string", 0, involved_object),
        Column::built_in("Subobject", "string", 1, subobject),
        Column::built_in("Source", "string", 1, source),
        Column::built_in("Message", "string", 0, message),
        Column::built_in("First Seen", "string", 1, first_seen),
        Column::built_in("Count", "string", 1, count),
        Column::built_in("Name", "string", 1, name),
    ]
}

fn first_seen(event: &Value) -> Value {
    let first = str_at(event, &["firstTimestamp"]);
    time_since(if first.is_empty() {
        str_at(event, &["eventTime"])
    } else {
        first
    })
    .into()
}

fn last_seen(event: &Value) -> Value {
    match (
        str_at(event, &["series", "lastObservedTime"]),
        str_at(event, &["lastTimestamp"]),
    ) {
        ("", "") => first_seen(event),
        ("", last) => time_since(last).into(),
        (observed, _) => time_since(observed).into(),
    }
}

fn count(event: &Value) -> Value {
    let series = value_at(event, &["series", "count"]).as_i64();
    let count = series
        .or_else(|| value_at(event, &["count"]).as_i64())
        .filter(|count| *count > 0);
    count.unwrap_or(1).into()
}

fn involved_object(event: &Value) -> Value {
    let kind = str_at(event, &["involvedObject", "kind"]).to_lowercase();
    match str_at(event, &["involvedObject", "name"]) {
        "" => kind.into(),
        name => format!("{kind}/{name}").into(),
    }
}

fn source(event: &Value) -> Value {
    let either = |old: &[&str], new: &str| match str_at(event, old) {
        "" => str_at(event, &[new]).to_owned(),
        found => found.to_owned(),
    };
    let component = either(&["source", "component"], "reportingComponent");
    let host = either(&["source", "host"], "reportingInstance");
    if host.is_empty() {
        component.into()
    } else {
        format!("{component}, {host}").into()
    }
}
