//! The CEL rules of a schema (`x-kubernetes-validations`), evaluated by `kube-cel`.

use kube_cel::{CompiledSchema, ErrorKind, Validator};
use serde_json::Value;

use super::super::failure::Cause;

/// The rules of one kind, compiled once.
pub(in super::super) struct Rules {
    compiled: CompiledSchema,
    validator: Validator,
    /// The schema, for the type word that a violation carries.
    schema: Value,
    any: bool,
}

impl std::fmt::Debug for Rules {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Rules")
            .field("any", &self.any)
            .finish_non_exhaustive()
    }
}

impl Rules {
    /// Compiles the rules of an OpenAPI v3 schema.
    pub(in super::super) fn compile(schema: &Value) -> Self {
        Self {
            compiled: kube_cel::compile_schema(schema),
            validator: Validator::new(),
            any: has_rules(schema),
            schema: schema.clone(),
        }
    }

    /// Whether there are any.
    pub(in super::super) fn any(&self) -> bool {
        self.any
    }

    /// Every rule that `object` breaks; `old` is what it replaces, for rules about a change.
    pub(in super::super) fn check(&self, object: &Value, old: Option<&Value>) -> Vec<Cause> {
        if !self.any {
            return Vec::new();
        }
        let Err(errors) = self
            .validator
            .validate_compiled(&self.compiled, object, old)
        else {
            return Vec::new();
        };
        let mut causes: Vec<Cause> = Vec::new();
        for error in errors.into_vec() {
            let node = self.type_at(&error.field_path);
            let why = match error.kind {
                ErrorKind::ValidationFailure => error.message.clone(),
                _ => format!("{} evaluating rule: {}", error.message, error.rule),
            };
            let cause = match error.reason.as_deref() {
                Some("FieldValueForbidden") => Cause::forbidden(&error.field_path, &why),
                Some("FieldValueRequired") => Cause::required(&error.field_path, &why),
                Some("FieldValueDuplicate") => {
                    Cause::duplicate(&error.field_path, &Value::from(node))
                }
                _ => Cause::invalid(&error.field_path, &Value::from(node), &why),
            };
            if !causes.contains(&cause) {
                causes.push(cause);
            }
        }
        causes
    }

    /// The schema's type word at a path such as `spec.users[3].id`.
    fn type_at(&self, path: &str) -> &str {
        let mut node = &self.schema;
        for part in path.split(['.', '[']).filter(|part| !part.is_empty()) {
            let next = if part.ends_with(']') {
                node.get("items")
                    .or_else(|| node.get("additionalProperties"))
            } else {
                node.get("properties")
                    .and_then(|all| all.get(part))
                    .or_else(|| node.get("additionalProperties"))
            };
            match next {
                Some(next) => node = next,
                None => return "object",
            }
        }
        node.get("type").and_then(Value::as_str).unwrap_or("object")
    }
}

fn has_rules(schema: &Value) -> bool {
    match schema {
        Value::Object(fields) => {
            fields
                .get("x-kubernetes-validations")
                .is_some_and(Value::is_array)
                || fields.values().any(has_rules)
        }
        Value::Array(items) => items.iter().any(has_rules),
        _ => false,
    }
}
