//! Label and field selectors.

use serde_json::Value;

use super::kinds::{Kind, Strategy};
use super::object::str_at;
use super::object_store::StoredObject;
use super::status_error::StatusError;

/// Which objects of a collection a request is about.
#[derive(Debug, Clone, Default)]
pub(super) struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<FieldRequirement>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    DoesNotExist(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct FieldRequirement {
    field: String,
    value: String,
    equal: bool,
}

impl Selector {
    /// Reads both selectors of a request and checks that the kind can be selected by these fields.
    pub(super) fn parse(kind: &Kind, labels: &str, fields: &str) -> Result<Self, StatusError> {
        Ok(Self {
            labels: parse_labels(labels)?,
            fields: parse_fields(kind, fields)?,
        })
    }

    /// Only the object of this name, for a watch of one object.
    pub(super) fn with_name(mut self, name: &str) -> Self {
        self.fields.push(FieldRequirement {
            field: "metadata.name".into(),
            value: name.into(),
            equal: true,
        });
        self
    }

    /// Whether every object matches.
    pub(super) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub(super) fn matches(&self, object: &StoredObject) -> bool {
        self.labels
            .iter()
            .all(|requirement| requirement.matches(object))
            && self.fields_match(object)
    }

    fn fields_match(&self, object: &StoredObject) -> bool {
        let mut parsed: Option<Value> = None;
        self.fields.iter().all(|requirement| {
            let equal = match requirement.field.as_str() {
                "metadata.name" => object.name == requirement.value,
                "metadata.namespace" => object.namespace == requirement.value,
                field => {
                    let parsed = parsed.get_or_insert_with(|| object.object());
                    field_value(parsed, field) == requirement.value
                }
            };
            equal == requirement.equal
        })
    }
}

/// A selectable field of an object as it is stored; an event's fields go by the names of both views.
fn field_value<'a>(object: &'a Value, field: &str) -> &'a str {
    let field = match field {
        "source" => "source.component",
        "reportingController" => "reportingComponent",
        other => other,
    };
    let renamed = field
        .strip_prefix("regarding.")
        .map(|rest| format!("involvedObject.{rest}"));
    let path: Vec<&str> = renamed.as_deref().unwrap_or(field).split('.').collect();
    str_at(object, &path)
}

fn parse_fields(kind: &Kind, text: &str) -> Result<Vec<FieldRequirement>, StatusError> {
    let mut all = Vec::new();
    for part in text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let (field, value, equal) = if let Some((field, value)) = part.split_once("!=") {
            (field, value, false)
        } else if let Some((field, value)) = part.split_once("==").or_else(|| part.split_once('='))
        {
            (field, value, true)
        } else {
            let why = format!("invalid selector: '{text}'; can't understand '{part}'");
            return Err(StatusError::bad_request(why));
        };
        if !selectable(kind, field) {
            let plain = matches!(
                kind.strategy,
                Strategy::ConfigMap | Strategy::Lease | Strategy::CustomResourceDefinition
            );
            return Err(StatusError::bad_request(if plain {
                format!(
                    "\"{field}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
                )
            } else {
                format!("field label not supported: {field}")
            }));
        }
        all.push(FieldRequirement {
            field: field.trim().into(),
            value: value.trim().into(),
            equal,
        });
    }
    Ok(all)
}

fn selectable(kind: &Kind, field: &str) -> bool {
    let more: &[&str] = match kind.strategy {
        Strategy::Secret => &["type"],
        Strategy::Namespace => &["status.phase"],
        Strategy::CoreEvent | Strategy::EventsV1Event => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "regarding.apiVersion",
            "regarding.resourceVersion",
            "regarding.fieldPath",
            "reportingController",
        ],
        _ => &[],
    };
    matches!(field, "metadata.name" | "metadata.namespace") || more.contains(&field)
}

impl Requirement {
    fn matches(&self, object: &StoredObject) -> bool {
        let value = |key: &str| {
            object
                .labels
                .iter()
                .find(|(label, _)| &**label == key)
                .map(|(_, value)| &**value)
        };
        match self {
            Self::In(key, values) => {
                value(key).is_some_and(|value| values.iter().any(|one| one == value))
            }
            Self::NotIn(key, values) => {
                value(key).is_none_or(|value| values.iter().all(|one| one != value))
            }
            Self::Exists(key) => value(key).is_some(),
            Self::DoesNotExist(key) => value(key).is_none(),
        }
    }
}

fn parse_labels(text: &str) -> Result<Vec<Requirement>, StatusError> {
    split_outside_brackets(text)
        .into_iter()
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| {
            parse_label(part).ok_or_else(|| {
                StatusError::bad_request(format!("unable to parse requirement: {part}"))
            })
        })
        .collect()
}

fn split_outside_brackets(text: &str) -> Vec<&str> {
    let mut depth = 0;
    text.split(move |character| {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        character == ',' && depth == 0
    })
    .collect()
}

fn parse_label(part: &str) -> Option<Requirement> {
    let list = |text: &str| -> Option<Vec<String>> {
        let inside = text.trim().strip_prefix('(')?.strip_suffix(')')?;
        Some(
            inside
                .split(',')
                .map(|value| value.trim().to_owned())
                .collect(),
        )
    };
    let key = |text: &str| {
        let text = text.trim();
        let fits =
            |character: char| character.is_ascii_alphanumeric() || "-_./".contains(character);
        (!text.is_empty() && text.chars().all(fits)).then(|| text.to_owned())
    };
    if let Some(missing) = part.strip_prefix('!') {
        return key(missing).map(Requirement::DoesNotExist);
    }
    if let Some((name, values)) = part
        .split_once(" notin ")
        .or_else(|| part.split_once(" notin("))
    {
        let values = if values.trim_start().starts_with('(') {
            list(values)?
        } else {
            list(&format!("({values}"))?
        };
        return Some(Requirement::NotIn(key(name)?, values));
    }
    if let Some((name, values)) = part.split_once(" in ").or_else(|| part.split_once(" in(")) {
        let values = if values.trim_start().starts_with('(') {
            list(values)?
        } else {
            list(&format!("({values}"))?
        };
        return Some(Requirement::In(key(name)?, values));
    }
    if let Some((name, value)) = part.split_once("!=") {
        return Some(Requirement::NotIn(
            key(name)?,
            vec![value.trim().to_owned()],
        ));
    }
    if let Some((name, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return Some(Requirement::In(key(name)?, vec![value.trim().to_owned()]));
    }
    key(part).map(Requirement::Exists)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_selectors_parse() {
        let words = |values: &[&str]| values.iter().map(ToString::to_string).collect::<Vec<_>>();
        let parsed = parse_labels("a=b,c!=d, e in (x, y),f notin (z),g,!h").expect("a selector");
        assert_eq!(
            parsed,
            [
                Requirement::In("a".into(), words(&["b"])),
                Requirement::NotIn("c".into(), words(&["d"])),
                Requirement::In("e".into(), words(&["x", "y"])),
                Requirement::NotIn("f".into(), words(&["z"])),
                Requirement::Exists("g".into()),
                Requirement::DoesNotExist("h".into()),
            ]
        );
        assert!(parse_labels("a b c").is_err());
    }
}
