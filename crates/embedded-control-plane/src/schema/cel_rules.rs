//! The CEL rules of a schema (`x-kubernetes-validations`), evaluated by `kube-cel`.

use kube_cel::{CompiledSchema, ErrorKind, Validator};
use serde_json::Value;

use super::cel_field_names::with_doubled_underscores;
use super::status_cause::StatusCause;

/// The rules of one kind, compiled once.
pub(crate) struct CelRules {
    compiled: CompiledSchema,
    validator: Validator,
    has_rules: bool,
}

impl std::fmt::Debug for CelRules {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("CelRules")
            .field("has_rules", &self.has_rules)
            .finish_non_exhaustive()
    }
}

impl CelRules {
    /// Compiles the rules of an `OpenAPI` v3 schema.
    pub(crate) fn compile(schema: &Value) -> Self {
        Self {
            compiled: kube_cel::compile_schema(&with_doubled_underscores(schema)),
            validator: Validator::new(),
            has_rules: has_rules(schema),
        }
    }

    /// Whether the schema has any rule.
    pub(crate) fn has_rules(&self) -> bool {
        self.has_rules
    }

    /// Every rule that `object` breaks; `old` is what it replaces, for rules about a change.
    pub(crate) fn check(&self, object: &Value, old: Option<&Value>) -> Vec<StatusCause> {
        if !self.has_rules {
            return Vec::new();
        }
        let Err(errors) = self
            .validator
            .validate_compiled(&self.compiled, object, old)
        else {
            return Vec::new();
        };
        let mut causes: Vec<StatusCause> = Vec::new();
        for error in errors.into_vec() {
            let why = match error.kind {
                ErrorKind::ValidationFailure => error.message.clone(),
                _ => format!("{} evaluating rule: {}", error.message, error.rule),
            };
            let cause = match error.reason.as_deref() {
                Some("FieldValueForbidden") => StatusCause::forbidden(&error.field_path, &why),
                Some("FieldValueRequired") => StatusCause::required(&error.field_path, &why),
                Some("FieldValueDuplicate") => StatusCause {
                    reason: "FieldValueDuplicate",
                    field: error.field_path,
                    message: "Duplicate value".into(),
                },
                _ => match value_at(object, &error.field_path) {
                    Some(value) if !value.is_object() && !value.is_array() => {
                        StatusCause::invalid(&error.field_path, value, &why)
                    }
                    // The server shows no whole object or list.
                    _ => StatusCause {
                        reason: "FieldValueInvalid",
                        field: error.field_path,
                        message: format!("Invalid value: {why}"),
                    },
                },
            };
            if !causes.contains(&cause) {
                causes.push(cause);
            }
        }
        causes
    }
}

/// What stands at a path such as `spec.users[3].id`.
fn value_at<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    path.split(['.', '['])
        .filter(|part| !part.is_empty())
        .try_fold(object, |node, part| match part.strip_suffix(']') {
            Some(index) => node.get(index.parse::<usize>().ok()?),
            None => node.get(part),
        })
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
