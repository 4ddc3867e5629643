//! Structural schemas: what a kind's objects may hold, read once from the JSON of a CRD's schema.
//!
//! [`KindValidator`] is the whole check of one kind. One tree, [`StructuralSchema`], serves everything that must know an
//! object's structure: validation and pruning here, and in the server also server-side apply and strategic merge (which
//! lists are sets or maps).

mod cel_field_names;
pub(crate) mod cel_rules;
pub(crate) mod prune;
mod status_cause;
pub(crate) mod validate;

pub use self::prune::{drop_forbidden_nulls, prune};
pub use self::status_cause::StatusCause;

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
pub struct StructuralSchema {
    pub(crate) json_type: Option<JsonType>,
    pub(crate) format: Option<String>,
    pub(crate) nullable: bool,
    /// The named fields.
    pub properties: BTreeMap<String, StructuralSchema>,
    pub(crate) additional_properties: Option<Box<StructuralSchema>>,
    pub(crate) items: Option<Box<StructuralSchema>>,
    pub(crate) required: BTreeSet<String>,
    pub(crate) enum_values: Vec<Value>,
    pub(crate) minimum: Option<(f64, bool)>,
    pub(crate) maximum: Option<(f64, bool)>,
    pub(crate) multiple_of: Option<f64>,
    pub(crate) min_length: Option<u64>,
    pub(crate) max_length: Option<u64>,
    pub(crate) pattern: Option<Regex>,
    pub(crate) min_items: Option<u64>,
    pub(crate) max_items: Option<u64>,
    pub(crate) min_properties: Option<u64>,
    pub(crate) max_properties: Option<u64>,
    pub(crate) default: Option<Value>,
    /// What the field is for.
    pub description: Option<String>,
    pub(crate) all_of: Vec<StructuralSchema>,
    pub(crate) any_of: Vec<StructuralSchema>,
    pub(crate) one_of: Vec<StructuralSchema>,
    pub(crate) not: Option<Box<StructuralSchema>>,
    pub(crate) preserve_unknown: bool,
    pub(crate) embedded_resource: bool,
    pub(crate) int_or_string: bool,
    pub(crate) list_type: ListType,
    pub(crate) atomic_map: bool,
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
    pub fn at(&self, path: &str) -> Option<&Self> {
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
pub struct KindValidator {
    /// The structure.
    pub schema: StructuralSchema,
    rules: cel_rules::CelRules,
}

impl KindValidator {
    /// Reads `openAPIV3Schema`.
    pub fn compile(open_api_v3_schema: &Value) -> Self {
        Self {
            schema: StructuralSchema::parse(open_api_v3_schema),
            rules: cel_rules::CelRules::compile(open_api_v3_schema),
        }
    }

    /// How `object` breaks the schema.
    pub fn validate_structure(&self, object: &Value) -> Vec<StatusCause> {
        validate::validate(object, &self.schema)
    }

    /// Which CEL rules `object` breaks; to be asked only where no cause of [`Self::validate_structure`] blocks them.
    /// `old` is what it replaces, for rules about a change.
    pub fn validate_rules(&self, object: &Value, old: Option<&Value>) -> Vec<StatusCause> {
        self.rules.check(object, old)
    }
}
