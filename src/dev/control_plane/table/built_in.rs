//! The columns of the built-in kinds (kubernetes `pkg/printers/internalversion`).

use serde_json::Value;

use super::super::object::{at, meta, text};
use super::{Column, since};

pub(super) fn name(object: &Value) -> Value {
    meta(object, "name").into()
}

pub(super) fn age(object: &Value) -> Value {
    since(meta(object, "creationTimestamp")).into()
}

fn named() -> Column {
    Column::built("Name", "string", 0, name)
}

fn aged() -> Column {
    Column::built("Age", "string", 0, age)
}

fn entries(object: &Value, field: &str) -> usize {
    at(object, &[field])
        .as_object()
        .map_or(0, serde_json::Map::len)
}

pub(in super::super) fn namespace() -> Vec<Column> {
    let phase = |object: &Value| text(object, &["status", "phase"]).into();
    vec![named(), Column::built("Status", "string", 0, phase), aged()]
}

pub(in super::super) fn secret() -> Vec<Column> {
    let kind = |object: &Value| text(object, &["type"]).into();
    let data = |object: &Value| entries(object, "data").into();
    vec![
        named(),
        Column::built("Type", "string", 0, kind),
        Column::built("Data", "string", 0, data),
        aged(),
    ]
}

pub(in super::super) fn config_map() -> Vec<Column> {
    let data = |object: &Value| (entries(object, "data") + entries(object, "binaryData")).into();
    vec![named(), Column::built("Data", "string", 0, data), aged()]
}

pub(in super::super) fn lease() -> Vec<Column> {
    let holder = |object: &Value| text(object, &["spec", "holderIdentity"]).into();
    vec![
        named(),
        Column::built("Holder", "string", 0, holder),
        aged(),
    ]
}

pub(in super::super) fn definition() -> Vec<Column> {
    let created = |object: &Value| meta(object, "creationTimestamp").into();
    vec![named(), Column::built("Created At", "date", 0, created)]
}

pub(in super::super) fn event() -> Vec<Column> {
    let kind = |event: &Value| text(event, &["type"]).into();
    let reason = |event: &Value| text(event, &["reason"]).into();
    let subobject = |event: &Value| text(event, &["involvedObject", "fieldPath"]).into();
    let message = |event: &Value| text(event, &["message"]).trim().into();
    vec![
        Column::built("Last Seen", "string", 0, last_seen),
        Column::built("Type", "string", 0, kind),
        Column::built("Reason", "string", 0, reason),
        Column::built("Object", "string", 0, involved),
        Column::built("Subobject", "string", 1, subobject),
        Column::built("Source", "string", 1, source),
        Column::built("Message", "string", 0, message),
        Column::built("First Seen", "string", 1, first_seen),
        Column::built("Count", "string", 1, count),
        Column::built("Name", "string", 1, name),
    ]
}

fn first_seen(event: &Value) -> Value {
    let first = text(event, &["firstTimestamp"]);
    since(if first.is_empty() {
        text(event, &["eventTime"])
    } else {
        first
    })
    .into()
}

fn last_seen(event: &Value) -> Value {
    match (
        text(event, &["series", "lastObservedTime"]),
        text(event, &["lastTimestamp"]),
    ) {
        ("", "") => first_seen(event),
        ("", last) => since(last).into(),
        (observed, _) => since(observed).into(),
    }
}

fn count(event: &Value) -> Value {
    let series = at(event, &["series", "count"]).as_i64();
    let count = series
        .or_else(|| at(event, &["count"]).as_i64())
        .filter(|count| *count > 0);
    count.unwrap_or(1).into()
}

fn involved(event: &Value) -> Value {
    let kind = text(event, &["involvedObject", "kind"]).to_lowercase();
    match text(event, &["involvedObject", "name"]) {
        "" => kind.into(),
        name => format!("{kind}/{name}").into(),
    }
}

fn source(event: &Value) -> Value {
    let either = |old: &[&str], new: &str| match text(event, old) {
        "" => text(event, &[new]).to_owned(),
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
