//! Tables, which kubectl shows as they come.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::description::{ColumnType, ResourceDescription};
use crate::encoding;
use crate::negotiation::{IncludeObject, MetaVersion};
use crate::object::Object;
use crate::resource::DeletedObject;
use crate::selector::field;
use crate::served::Served;

/// The columns: the name first, the age last.
pub(crate) fn columns(description: &ResourceDescription) -> Value {
    let column = |name: &str, kind: &str, format: &str, text: &str, priority: u8| json!({"name": name, "type": kind, "format": format, "description": text, "priority": priority});
    let name = column("Name", "string", "name", "The name of the object.", 0);
    let age = column("Age", "date", "", "How long ago the object was made.", 0);
    let own = description.columns.iter().map(|one| {
        let (kind, format) = match one.column_type {
            ColumnType::String => ("string", ""),
            ColumnType::Integer => ("integer", "int64"),
            ColumnType::Date => ("date", ""),
            ColumnType::Boolean => ("boolean", ""),
        };
        column(&one.name, kind, format, &one.description, one.priority)
    });
    std::iter::once(name).chain(own).chain([age]).collect()
}

/// The row of an object.
pub(crate) fn row(
    served: &Served,
    object: &Object,
    include: IncludeObject,
    now: Timestamp,
) -> Value {
    let cell = |column: &crate::description::TableColumn| {
        let value = field(object, &column.path);
        match (column.column_type, value) {
            (_, Value::Null) => Value::Null,
            (ColumnType::Date, Value::String(time)) => match time.parse::<Timestamp>() {
                Ok(time) => ago(now, time).into(),
                Err(_) => "<invalid>".into(),
            },
            (ColumnType::String, Value::Array(_) | Value::Object(_) | Value::Number(_)) => {
                value.to_string().into()
            }
            _ => value.clone(),
        }
    };
    let own = served.description().columns.iter().map(cell);
    let cells: Vec<Value> = std::iter::once(object.name.as_str().into())
        .chain(own)
        .chain([ago(now, object.created).into()])
        .collect();
    match include {
        IncludeObject::None => json!({"cells": cells}),
        IncludeObject::Metadata => {
            json!({"cells": cells, "object": encoding::partial(object, None)})
        }
        IncludeObject::Object => {
            let whole =
                encoding::object(served, object, crate::negotiation::Representation::Object);
            json!({"cells": cells, "object": whole})
        }
    }
}

/// The row of an object of which only the metadata is known.
pub(crate) fn deleted_row(
    served: &Served,
    gone: &DeletedObject,
    metadata: Value,
    include: IncludeObject,
) -> Value {
    let mut cells = vec![Value::Null; served.description().columns.len() + 2];
    cells[0] = gone.name.as_str().into();
    let mut row = json!({"cells": cells});
    if include != IncludeObject::None {
        row["object"] = json!({"apiVersion": MetaVersion::V1.api_version(), "kind": "PartialObjectMetadata", "metadata": metadata});
    }
    row
}

/// A table of these rows.
pub(crate) fn of_rows(
    served: &Served,
    meta: MetaVersion,
    revision: i64,
    rows: Vec<Value>,
) -> Value {
    json!({"kind": "Table", "apiVersion": meta.api_version(), "metadata": {"resourceVersion": revision.to_string()},
        "columnDefinitions": columns(served.description()), "rows": rows})
}

/// How long ago, in the words of kubectl (apimachinery `pkg/util/duration`).
fn ago(now: Timestamp, then: Timestamp) -> String {
    let seconds = now.as_second() - then.as_second();
    // A rest of zero is not shown.
    let two = |whole: i64, unit: char, rest: i64, part: char| match rest {
        0 => format!("{whole}{unit}"),
        _ => format!("{whole}{unit}{rest}{part}"),
    };
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let days = hours / 24;
    match () {
        () if seconds < -1 => "<invalid>".into(),
        () if seconds < 0 => "0s".into(),
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => two(minutes, 'm', seconds % 60, 's'),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => two(hours, 'h', minutes % 60, 'm'),
        () if hours < 48 => format!("{hours}h"),
        () if days < 8 => two(days, 'd', hours % 24, 'h'),
        () if days < 730 => format!("{days}d"),
        () if days < 2920 => two(days / 365, 'y', days % 365, 'd'),
        () => format!("{}y", days / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_told_in_the_words_of_kubectl() {
        let now: Timestamp = "2026-11-28T12:00:00Z".parse().expect("a time");
        let age = |seconds: i64| {
            let then = Timestamp::from_second(now.as_second() - seconds).expect("a time");
            ago(now, then)
        };
        for (seconds, expected) in [
            (-5, "<invalid>"),
            (-1, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (3600, "60m"),
            (3 * 3600, "3h"),
            (3 * 3600 + 60, "3h1m"),
            (47 * 3600, "47h"),
            (49 * 3600, "2d1h"),
            (9 * 86400, "9d"),
            (800 * 86400, "2y70d"),
            (3000 * 86400, "8y"),
        ] {
            assert_eq!(age(seconds), expected);
        }
    }
}
