//! Tables: how `kubectl get` sees a list. The server computes the cells; the client only lays them out.

pub(super) mod built_in;
mod json_path;

use jiff::Timestamp;
use serde_json::{Value, json};

use self::json_path::JsonPath;
use super::object::{str_at, value_at};

/// Where a cell comes from.
#[derive(Debug, Clone)]
enum CellSource {
    /// `additionalPrinterColumns`.
    JsonPath(JsonPath),
    /// A column of a built-in kind.
    BuiltIn(fn(&Value) -> Value),
}

/// One column.
#[derive(Debug, Clone)]
pub(super) struct Column {
    name: String,
    kind: String,
    format: String,
    description: String,
    priority: i64,
    source: CellSource,
}

/// What the server says of a name, for every kind.
const NAME_TEXT: &str = "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and configuration definition. Cannot be updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names";
const AGE_TEXT: &str = "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

impl Column {
    fn built_in(name: &str, kind: &str, priority: i64, cell: fn(&Value) -> Value) -> Self {
        let (format, description) = match name {
            "Name" => ("name", NAME_TEXT),
            "Age" => ("", AGE_TEXT),
            _ => ("", ""),
        };
        Self {
            name: name.into(),
            kind: kind.into(),
            format: format.into(),
            description: description.into(),
            priority,
            source: CellSource::BuiltIn(cell),
        }
    }

    /// The columns of a version of a CRD: the name, then its `additionalPrinterColumns` or else the age.
    pub(super) fn from_crd_version(version: &Value) -> Vec<Self> {
        let mut columns = vec![Self::built_in("Name", "string", 0, built_in::name)];
        match value_at(version, &["additionalPrinterColumns"])
            .as_array()
            .filter(|all| !all.is_empty())
        {
            None => columns.push(Self {
                kind: "date".into(),
                ..Self::built_in("Age", "date", 0, built_in::age)
            }),
            Some(all) => columns.extend(all.iter().filter_map(|column| {
                let name = str_at(column, &["name"]);
                let described = str_at(column, &["description"]);
                let fallback = format!(
                    "Custom resource definition column (in JSONPath format): {}",
                    str_at(column, &["jsonPath"])
                );
                Some(Self {
                    name: name.into(),
                    kind: str_at(column, &["type"]).into(),
                    format: str_at(column, &["format"]).into(),
                    description: if described.is_empty() {
                        fallback
                    } else {
                        described.into()
                    },
                    priority: value_at(column, &["priority"]).as_i64().unwrap_or(0),
                    source: CellSource::JsonPath(JsonPath::parse(str_at(column, &["jsonPath"]))?),
                })
            })),
        }
        columns
    }

    fn definition(&self) -> Value {
        json!({"name": self.name, "type": self.kind, "format": self.format, "description": self.description,
            "priority": self.priority})
    }

    fn cell(&self, object: &Value) -> Value {
        match &self.source {
            CellSource::BuiltIn(cell) => cell(object),
            CellSource::JsonPath(path) => path
                .first(object)
                .map_or(Value::Null, |value| typed_cell(&self.kind, value)),
        }
    }
}

/// A found value as a cell of the column's type; a value of another type is no value.
fn typed_cell(kind: &str, value: &Value) -> Value {
    match kind {
        "integer" => value.as_i64().map_or_else(
            || {
                value
                    .as_f64()
                    .filter(|number| number.fract() == 0.0)
                    .map_or(Value::Null, Value::from)
            },
            Value::from,
        ),
        "number" if value.is_number() => value.clone(),
        "boolean" if value.is_boolean() => value.clone(),
        "date" => match value.as_str() {
            Some(text) => Value::from(time_since(text)),
            None => Value::Null,
        },
        "string" => match value {
            Value::String(text) => Value::from(text.clone()),
            other => Value::from(other.to_string()),
        },
        _ => Value::Null,
    }
}

/// What a row carries beside its cells (`includeObject`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IncludeObject {
    None,
    Metadata,
    Object,
}

/// The head of a table; empty in the second and later events of a watch.
pub(super) fn column_definitions(columns: &[Column]) -> Value {
    columns.iter().map(Column::definition).collect()
}

/// One row.
pub(super) fn row(columns: &[Column], object: &Value, include_object: IncludeObject) -> Value {
    let cells: Value = columns.iter().map(|column| column.cell(object)).collect();
    let object = match include_object {
        IncludeObject::None => Value::Null,
        IncludeObject::Metadata => metadata_only(object, "PartialObjectMetadata"),
        IncludeObject::Object => object.clone(),
    };
    json!({"cells": cells, "object": object})
}

/// A table of rows.
pub(super) fn table(head: Value, rows: Vec<Value>, metadata: Value) -> Value {
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "columnDefinitions": head, "rows": rows})
}

/// An object reduced to its metadata.
pub(super) fn metadata_only(object: &Value, kind: &str) -> Value {
    json!({"kind": kind, "apiVersion": "meta.k8s.io/v1", "metadata": value_at(object, &["metadata"])})
}

/// How long ago, as people read it; `<unknown>` for no time at all.
fn time_since(timestamp: &str) -> String {
    match timestamp.parse::<Timestamp>() {
        Ok(then) => human_duration(Timestamp::now().as_second() - then.as_second()),
        Err(_) if timestamp.is_empty() => "<unknown>".into(),
        Err(_) => "<invalid>".into(),
    }
}

/// A duration in at most three figures (apimachinery `duration.HumanDuration`).
fn human_duration(seconds: i64) -> String {
    let two = |big: i64, big_unit: &str, small: i64, small_unit: &str| {
        if small == 0 {
            format!("{big}{big_unit}")
        } else {
            format!("{big}{big_unit}{small}{small_unit}")
        }
    };
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match seconds {
        ..-1 => "<invalid>".into(),
        -1 => "0s".into(),
        0..120 => format!("{seconds}s"),
        _ if minutes < 10 => two(minutes, "m", seconds % 60, "s"),
        _ if minutes < 180 => format!("{minutes}m"),
        _ if hours < 8 => two(hours, "h", minutes % 60, "m"),
        _ if hours < 48 => format!("{hours}h"),
        _ if hours < 192 => two(hours / 24, "d", hours % 24, "h"),
        _ if hours < 24 * 365 * 2 => format!("{}d", hours / 24),
        _ if hours < 24 * 365 * 8 => two(hours / 24 / 365, "y", hours / 24 % 365, "d"),
        _ => format!("{}y", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_kubectl_prints_them() {
        let cases = [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (11_100, "3h5m"),
            (28_800, "8h"),
            (172_800, "2d"),
            (180_000, "2d2h"),
            (691_200, "8d"),
            (86_400 * 730, "2y"),
        ];
        for (seconds, text) in cases {
            assert_eq!(human_duration(seconds), text, "{seconds}");
        }
    }
}
