//! Structural schemas: what a kind's objects may hold, read once from the JSON of a CRD's schema.
//!
//! One tree serves everything that must know an object's structure: validation and pruning here, for `check` and for the
//! embedded control plane, and there also server-side apply and strategic merge (which lists are sets or maps).

pub(crate) mod cel_rules;
pub(crate) mod prune;
pub(crate) mod status_cause;
pub(crate) mod validate;

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;
use serde_json::Value;

/// How a list's items are told apart when two owners write it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum ListType {
    /// The list is one value.
    #[default]
    Atomic,
    /// Scalars, each at most once.
    Set,
    /// Objects told apart by these keys.
    Map(Vec<String>),
}

/// What JSON type a value must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JsonType {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

impl JsonType {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }
}

/// One node of a schema.
#[derive(Debug, Clone, Default)]
#[allow(clippy::struct_excessive_bools)] // each is a keyword of its own in OpenAPI
pub(crate) struct StructuralSchema {
    pub json_type: Option<JsonType>,
    pub format: Option<String>,
    pub nullable: bool,
    pub properties: BTreeMap<String, StructuralSchema>,
    pub additional_properties: Option<Box<StructuralSchema>>,
    pub items: Option<Box<StructuralSchema>>,
    pub required: BTreeSet<String>,
    pub enum_values: Vec<Value>,
    pub minimum: Option<(f64, bool)>,
    pub maximum: Option<(f64, bool)>,
    pub multiple_of: Option<f64>,
    pub min_length: Option<u64>,
    pub max_length: Option<u64>,
    pub pattern: Option<Regex>,
    pub min_items: Option<u64>,
    pub max_items: Option<u64>,
    pub min_properties: Option<u64>,
    pub max_properties: Option<u64>,
    pub default: Option<Value>,
    pub description: Option<String>,
    pub all_of: Vec<StructuralSchema>,
    pub any_of: Vec<StructuralSchema>,
    pub one_of: Vec<StructuralSchema>,
    pub not: Option<Box<StructuralSchema>>,
    pub preserve_unknown: bool,
    pub embedded_resource: bool,
    pub int_or_string: bool,
    pub list_type: ListType,
    pub atomic_map: bool,
}

impl StructuralSchema {
    /// Reads an `OpenAPI` v3 schema. What it does not know it ignores, as the server does with unknown keywords of a
    /// stored CRD.
    pub(crate) fn parse(json: &Value) -> Self {
        let number = |key: &str| json.get(key).and_then(Value::as_f64);
        let count = |key: &str| json.get(key).and_then(Value::as_u64);
        let flag = |key: &str| json.get(key).and_then(Value::as_bool).unwrap_or(false);
        let child = |key: &str| {
            json.get(key)
                .filter(|value| value.is_object())
                .map(|value| Box::new(Self::parse(value)))
        };
        let children = |key: &str| -> Vec<Self> {
            json.get(key)
                .and_then(Value::as_array)
                .map(|all| all.iter().map(Self::parse).collect())
                .unwrap_or_default()
        };
        let words = |key: &str| -> Vec<String> {
            let list = json.get(key).and_then(Value::as_array);
            list.map(|all| {
                all.iter()
                    .filter_map(|word| word.as_str().map(str::to_owned))
                    .collect()
            })
            .unwrap_or_default()
        };
        let (json_type, null_type) = match json.get("type") {
            Some(Value::String(word)) => (Self::type_of(word), false),
            Some(Value::Array(words)) => {
                let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
                (
                    words.iter().find_map(|word| Self::type_of(word)),
                    words.contains(&"null"),
                )
            }
            _ => (None, false),
        };
        Self {
            json_type,
            format: json
                .get("format")
                .and_then(Value::as_str)
                .map(str::to_owned),
            nullable: flag("nullable") || null_type,
            properties: json
                .get("properties")
                .and_then(Value::as_object)
                .map(|all| {
                    all.iter()
                        .map(|(name, value)| (name.clone(), Self::parse(value)))
                        .collect()
                })
                .unwrap_or_default(),
            additional_properties: child("additionalProperties"),
            items: child("items"),
            required: words("required").into_iter().collect(),
            enum_values: json
                .get("enum")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default(),
            minimum: number("minimum").map(|bound| (bound, flag("exclusiveMinimum"))),
            maximum: number("maximum").map(|bound| (bound, flag("exclusiveMaximum"))),
            multiple_of: number("multipleOf"),
            min_length: count("minLength"),
            max_length: count("maxLength"),
            pattern: json
                .get("pattern")
                .and_then(Value::as_str)
                .and_then(|pattern| Regex::new(pattern).ok()),
            min_items: count("minItems"),
            max_items: count("maxItems"),
            min_properties: count("minProperties"),
            max_properties: count("maxProperties"),
            default: json.get("default").cloned(),
            description: json
                .get("description")
                .and_then(Value::as_str)
                .map(str::to_owned),
            all_of: children("allOf"),
            any_of: children("anyOf"),
            one_of: children("oneOf"),
            not: child("not"),
            preserve_unknown: flag("x-kubernetes-preserve-unknown-fields"),
            embedded_resource: flag("x-kubernetes-embedded-resource"),
            int_or_string: flag("x-kubernetes-int-or-string"),
            list_type: match json.get("x-kubernetes-list-type").and_then(Value::as_str) {
                Some("set") => ListType::Set,
                Some("map") => ListType::Map(words("x-kubernetes-list-map-keys")),
                _ => ListType::Atomic,
            },
            atomic_map: json.get("x-kubernetes-map-type").and_then(Value::as_str) == Some("atomic"),
        }
    }

    fn type_of(word: &str) -> Option<JsonType> {
        Some(match word {
            "object" => JsonType::Object,
            "array" => JsonType::Array,
            "string" => JsonType::String,
            "integer" => JsonType::Integer,
            "number" => JsonType::Number,
            "boolean" => JsonType::Boolean,
            _ => return None,
        })
    }

    /// The schema of a field: a named property, or what additional properties are.
    pub(crate) fn field(&self, name: &str) -> Option<&Self> {
        self.properties
            .get(name)
            .or(self.additional_properties.as_deref())
    }

    /// The schema at a path such as `spec.users[3].id`.
    pub(crate) fn at(&self, path: &str) -> Option<&Self> {
        path.split(['.', '['])
            .filter(|part| !part.is_empty())
            .try_fold(self, |node, part| {
                if part.ends_with(']') {
                    node.items.as_deref()
                } else {
                    node.field(part)
                }
            })
    }
}

/// A kind's schema and rules, compiled once: what decides whether an object of it is admitted.
#[derive(Debug)]
pub(crate) struct KindValidator {
    /// The structure.
    pub schema: StructuralSchema,
    rules: cel_rules::CelRules,
}

impl KindValidator {
    /// Reads `openAPIV3Schema`.
    pub(crate) fn compile(open_api_v3_schema: &Value) -> Self {
        Self {
            schema: StructuralSchema::parse(open_api_v3_schema),
            rules: cel_rules::CelRules::compile(open_api_v3_schema),
        }
    }

    /// How `object` breaks the schema.
    pub(crate) fn validate_structure(&self, object: &Value) -> Vec<status_cause::StatusCause> {
        validate::validate(object, &self.schema)
    }

    /// Which CEL rules `object` breaks; to be asked only where no cause of [`Self::validate_structure`] blocks them.
    /// `old` is what it replaces, for rules about a change.
    pub(crate) fn validate_rules(
        &self,
        object: &Value,
        old: Option<&Value>,
    ) -> Vec<status_cause::StatusCause> {
        self.rules.check(object, old)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::KindValidator;
    use super::prune::{drop_forbidden_nulls, prune};
    use crate::api::crds;

    fn validator(index: usize) -> KindValidator {
        let crd = serde_json::to_value(&crds::all()[index]).unwrap();
        KindValidator::compile(&crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
    }

    fn list(ids: impl Iterator<Item = i64>) -> Value {
        let users: Vec<Value> = ids
            .map(|id| json!({"id": id, "note": format!("user {id}")}))
            .collect();
        json!({"spec": {"users": users}})
    }

    fn messages(validator: &KindValidator, object: &Value) -> Vec<String> {
        let mut causes = validator.validate_structure(object);
        causes.extend(validator.validate_rules(object, None));
        causes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn repeated_ids_are_found_wherever_they_stand() {
        let validator = validator(1);
        assert_eq!(messages(&validator, &list(1..=900)), Vec::<String>::new());
        let repeated = list((1..=899).chain([450]));
        let said = "spec.users: Invalid value: the same id stands twice in this list: keep one entry per id";
        assert_eq!(messages(&validator, &repeated), [said]);
    }

    #[test]
    fn inline_lists_find_repeated_ids_up_to_their_limit() {
        let validator = validator(0);
        let connector = |mut users: Value| {
            json!({"spec": {
                "botTokenSecretRef": {"name": "bot"},
                "assistant": {"protocol": "OpenAI", "url": "http://a/v1", "model": "m"},
                "access": {"level": "Specific", "specificUsers": users["spec"].take()},
            }})
        };
        assert_eq!(
            messages(&validator, &connector(list(1..=1000))),
            Vec::<String>::new()
        );
        let said = messages(&validator, &connector(list((1..=999).chain([7]))));
        assert!(
            said.len() == 1 && said[0].starts_with("spec.access.specificUsers.users: "),
            "{said:?}"
        );
    }

    #[test]
    fn an_empty_optional_field_means_that_it_is_absent() {
        let validator = validator(1);
        let mut object = json!({"spec": {"users": [{"id": 1, "username": null, "unknown": 1}]}});
        drop_forbidden_nulls(&mut object, &validator.schema);
        assert_eq!(
            prune(&mut object, &validator.schema, true),
            ["spec.users[0].unknown"]
        );
        assert_eq!(object, json!({"spec": {"users": [{"id": 1}]}}));
        assert_eq!(messages(&validator, &object), Vec::<String>::new());
    }
}
