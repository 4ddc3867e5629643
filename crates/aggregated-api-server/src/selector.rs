//! Label and field selectors.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

use crate::description::ResourceDescription;
use crate::object::Object;
use crate::resource::DeletedObject;
use crate::status::StatusError;

/// Which objects of a collection a request is about.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selector {
    labels: Vec<LabelRequirement>,
    fields: Vec<FieldRequirement>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum LabelRequirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    DoesNotExist(String),
    /// `>` (true) or `<` a whole number.
    Than(String, bool, i64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct FieldRequirement {
    field: String,
    value: String,
    equal: bool,
    is_mutable: bool,
}

impl Selector {
    /// Reads both selectors of a request.
    pub(crate) fn parse(
        description: &ResourceDescription,
        labels: &str,
        fields: &str,
    ) -> Result<Self, StatusError> {
        Ok(Self {
            labels: parse_labels(labels)?,
            fields: parse_fields(description, fields)?,
        })
    }

    /// Only the object of this name, too.
    pub(crate) fn with_name(mut self, name: &str) -> Self {
        self.fields.push(FieldRequirement {
            field: "metadata.name".into(),
            value: name.into(),
            equal: true,
            is_mutable: false,
        });
        self
    }

    /// The one name that can match, if there is one.
    pub(crate) fn name(&self) -> Option<&str> {
        let mut named = self
            .fields
            .iter()
            .filter(|one| one.equal && one.field == "metadata.name");
        named.next().map(|one| one.value.as_str())
    }

    /// The fields that must be equal, for the storage.
    pub(crate) fn equal_fields(&self) -> BTreeMap<String, String> {
        let equal = self.fields.iter().filter(|one| one.equal);
        equal
            .map(|one| (one.field.clone(), one.value.clone()))
            .collect()
    }

    pub(crate) fn matches(&self, object: &Object) -> bool {
        self.labels.iter().all(|one| one.matches(&object.labels))
            && self.fields.iter().all(|one| one.matches(object))
    }

    /// Whether an object that does not match may have matched before: all that can never change does, and what is detached did.
    pub(crate) fn may_have_matched(&self, object: &Object) -> bool {
        let mut fields = self.fields.iter();
        self.labels.iter().all(|one| one.matches(&object.labels))
            && fields.all(|one| one.is_mutable || one.matches_shown(object))
            && self
                .fields
                .iter()
                .any(|one| one.is_mutable || one.is_detached(object))
    }

    /// Whether the deletion of an object is told: by all that is still known of it.
    pub(crate) fn matches_deleted(&self, object: &DeletedObject) -> bool {
        self.fields.iter().all(|one| {
            let value = match one.field.as_str() {
                "metadata.name" => &object.name,
                "metadata.namespace" => &object.namespace,
                _ => return true,
            };
            (*value == one.value) == one.equal
        })
    }
}

impl FieldRequirement {
    fn matches(&self, object: &Object) -> bool {
        if self.is_detached(object) {
            return self.value.is_empty() == self.equal;
        }
        self.matches_shown(object)
    }

    /// Whether what the object shows matches, though it may select it no longer.
    fn matches_shown(&self, object: &Object) -> bool {
        (field_text(object, &self.field) == self.value.as_str()) == self.equal
    }

    fn is_detached(&self, object: &Object) -> bool {
        object.detached_fields.contains(&self.field.as_str())
    }
}

/// A field by its path; null if it lacks.
pub(crate) fn field<'a>(object: &'a Object, path: &str) -> &'a Value {
    let (root, rest) = path.split_once('.').unwrap_or((path, ""));
    let mut value = match root {
        "spec" => &object.spec,
        "status" => &object.status,
        _ => return &Value::Null,
    };
    for part in rest.split('.').filter(|part| !part.is_empty()) {
        value = value.get(part).unwrap_or(&Value::Null);
    }
    value
}

fn field_text<'a>(object: &'a Object, path: &str) -> Cow<'a, str> {
    match path {
        "metadata.name" => object.name.as_str().into(),
        "metadata.namespace" => object.namespace.as_str().into(),
        _ => match field(object, path) {
            Value::String(text) => text.as_str().into(),
            Value::Null => "".into(),
            other => other.to_string().into(),
        },
    }
}

fn parse_fields(
    description: &ResourceDescription,
    text: &str,
) -> Result<Vec<FieldRequirement>, StatusError> {
    let mut all = Vec::new();
    for part in split_unescaped(text) {
        let part = part.trim();
        if part.is_empty() {
            continue;
        }
        let (field, value, equal) = if let Some((field, value)) = part.split_once("!=") {
            (field, value, false)
        } else if let Some((field, value)) = part.split_once("==").or_else(|| part.split_once('='))
        {
            (field, value, true)
        } else {
            return Err(StatusError::bad_request(format!(
                "invalid selector: '{text}'; can't understand '{part}'"
            )));
        };
        let field = field.trim();
        let selectable = description
            .selectable_fields
            .iter()
            .find(|one| one.path == field);
        if selectable.is_none() && !matches!(field, "metadata.name" | "metadata.namespace") {
            return Err(StatusError::bad_request(format!(
                "field label not supported: {field}"
            )));
        }
        all.push(FieldRequirement {
            field: field.into(),
            value: unescape(value.trim()),
            equal,
            is_mutable: selectable.is_some_and(|one| one.is_mutable),
        });
    }
    Ok(all)
}

/// Splits at commas, but not at `\,`.
fn split_unescaped(text: &str) -> Vec<&str> {
    let mut escaped = false;
    text.split(move |character| {
        let splits = character == ',' && !escaped;
        escaped = character == '\\' && !escaped;
        splits
    })
    .collect()
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => plain.extend(characters.next()),
            other => plain.push(other),
        }
    }
    plain
}

impl LabelRequirement {
    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        match self {
            Self::In(key, values) => labels.get(key).is_some_and(|value| values.contains(value)),
            Self::NotIn(key, values) => labels.get(key).is_none_or(|value| !values.contains(value)),
            Self::Exists(key) => labels.contains_key(key),
            Self::DoesNotExist(key) => !labels.contains_key(key),
            Self::Than(key, greater, bound) => labels
                .get(key)
                .and_then(|value| value.parse::<i64>().ok())
                .is_some_and(|value| {
                    if *greater {
                        value > *bound
                    } else {
                        value < *bound
                    }
                }),
        }
    }
}

fn parse_labels(text: &str) -> Result<Vec<LabelRequirement>, StatusError> {
    let mut depth = 0_i32;
    let parts = text.split(move |character| {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        character == ',' && depth == 0
    });
    parts
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| {
            parse_label(part).ok_or_else(|| {
                StatusError::bad_request(format!("unable to parse requirement: {part}"))
            })
        })
        .collect()
}

fn parse_label(part: &str) -> Option<LabelRequirement> {
    if let Some(missing) = part.strip_prefix('!') {
        return label_key(missing).map(LabelRequirement::DoesNotExist);
    }
    if let Some(open) = part.find('(') {
        let values = part[open..].strip_prefix('(')?.strip_suffix(')')?;
        let values = values
            .split(',')
            .map(|value| value.trim().to_owned())
            .collect();
        let (key, operator) = part[..open].trim_end().rsplit_once(' ')?;
        return match operator {
            "in" => Some(LabelRequirement::In(label_key(key)?, values)),
            "notin" => Some(LabelRequirement::NotIn(label_key(key)?, values)),
            _ => None,
        };
    }
    let value = |text: &str| {
        let fits = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
        let text = text.trim();
        (text.len() <= 63 && text.chars().all(fits)).then(|| text.to_owned())
    };
    if let Some((key, text)) = part.split_once("!=") {
        return Some(LabelRequirement::NotIn(label_key(key)?, vec![value(text)?]));
    }
    if let Some((key, text)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return Some(LabelRequirement::In(label_key(key)?, vec![value(text)?]));
    }
    if let Some(at) = part.find(['<', '>']) {
        let bound = part[at + 1..].trim().parse().ok()?;
        let greater = part.as_bytes()[at] == b'>';
        return Some(LabelRequirement::Than(
            label_key(&part[..at])?,
            greater,
            bound,
        ));
    }
    label_key(part).map(LabelRequirement::Exists)
}

fn label_key(text: &str) -> Option<String> {
    let text = text.trim();
    let fits = |character: char| character.is_ascii_alphanumeric() || "-_./".contains(character);
    (!text.is_empty() && text.chars().all(fits)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::description::SelectableField;

    fn description() -> ResourceDescription {
        ResourceDescription {
            selectable_fields: vec![
                SelectableField::immutable("spec.user.id"),
                SelectableField::mutable("status.phase"),
            ],
            ..ResourceDescription::default()
        }
    }

    fn object() -> Object {
        Object {
            name: "n".into(),
            labels: BTreeMap::from([("a".into(), "b".into()), ("size".into(), "7".into())]),
            spec: json!({"user": {"id": 5001}}),
            status: json!({"phase": "Sent"}),
            ..Object::default()
        }
    }

    fn matches(labels: &str, fields: &str) -> bool {
        Selector::parse(&description(), labels, fields)
            .expect("a selector")
            .matches(&object())
    }

    #[test]
    fn labels_select_by_equality_and_by_sets() {
        for yes in [
            "",
            "a",
            "a=b",
            "a==b",
            "a!=c",
            "a in (b, c)",
            "a in(b)",
            "a notin (c)",
            "!x",
            "x!=y",
            "x notin (y)",
            "a=b,!x",
            "size>6",
            "size < 8",
        ] {
            assert!(matches(yes, ""), "{yes}");
        }
        for no in [
            "x",
            "a=c",
            "a!=b",
            "a in (c)",
            "a notin (b)",
            "!a",
            "size>7",
            "a=b,x",
        ] {
            assert!(!matches(no, ""), "{no}");
        }
        for odd in ["a b c", "a in b", "=b", "a in (b", "a=ö"] {
            assert!(Selector::parse(&description(), odd, "").is_err(), "{odd}");
        }
    }

    #[test]
    fn fields_select_by_what_is_written() {
        assert!(matches("", "spec.user.id=5001,metadata.name!=x"));
        assert!(matches("", "status.phase==Sent"));
        assert!(!matches("", "spec.user.id!=5001"));
        let unknown = Selector::parse(&description(), "", "spec.text=x").expect_err("unknown");
        assert_eq!(unknown.message, "field label not supported: spec.text");
        let escaped = Selector::parse(&description(), "", r"metadata.name=a\,b").expect("one");
        assert_eq!(escaped.name(), Some("a,b"));
    }

    #[test]
    fn only_what_can_change_may_have_matched() {
        let may = |fields: &str| {
            Selector::parse(&description(), "", fields)
                .expect("a selector")
                .may_have_matched(&object())
        };
        assert!(may("status.phase=Pending"));
        assert!(may("status.phase=Pending,spec.user.id=5001"));
        assert!(!may("status.phase=Pending,spec.user.id=7"));
        assert!(!may("spec.user.id=7"));
    }

    #[test]
    fn detached_field_selects_no_longer_and_did_before() {
        let detached = Object {
            detached_fields: &["spec.user.id"],
            ..object()
        };
        for (fields, matches, may_have) in [
            ("spec.user.id=5001", false, true),
            ("spec.user.id=7", false, false),
            ("spec.user.id!=5001", true, false),
            ("metadata.name=n", true, false),
        ] {
            let selector = Selector::parse(&description(), "", fields).expect("a selector");
            assert_eq!(selector.matches(&detached), matches, "{fields}");
            assert_eq!(selector.may_have_matched(&detached), may_have, "{fields}");
        }
    }
}
