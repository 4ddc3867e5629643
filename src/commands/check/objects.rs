//! Checks one object against its kind: its kind, metadata, unknown fields, schema and rules.

use std::rc::Rc;

use aggregated_api_server::METADATA_FIELDS;
use embedded_control_plane::schema::{KindValidator, StatusCause, drop_forbidden_nulls, prune};
use regex::Regex;
use serde_json::Value;

use super::yaml::{Document, Node};
use super::{Finding, hints};
use crate::api::crds;
use crate::api::{GROUP, VERSION};

/// From this similarity on (1 is equal) one word is taken for a misspelling of the other.
const SIMILARITY_THRESHOLD: f64 = 0.8;

/// What the server calls the field of a number whose format is wrong.
const UNNAMED_FIELD: &str = "<nil>";

/// An object of any kind from a manifest.
#[derive(Debug)]
pub(super) struct CheckedObject {
    pub(super) file: String,
    pub(super) kind: String,
    /// Whether it is of our API group.
    pub(super) ours: bool,
    pub(super) object: Value,
    pub(super) node: Rc<Node>,
}

impl CheckedObject {
    /// `metadata.name`, or an empty text.
    pub(super) fn name(&self) -> &str {
        self.text("/metadata/name").unwrap_or_default()
    }

    /// `metadata.namespace`, if it is set.
    pub(super) fn namespace(&self) -> Option<&str> {
        self.text("/metadata/namespace")
    }

    /// The text at a JSON pointer.
    pub(super) fn text(&self, pointer: &str) -> Option<&str> {
        self.object.pointer(pointer).and_then(Value::as_str)
    }

    /// A warning about one of its fields.
    pub(super) fn warning(&self, field: &str, message: String) -> Finding {
        Finding {
            file: self.file.clone(),
            line: self.node.line_of(field),
            field: field.to_owned(),
            message,
            warning: true,
        }
    }
}

/// The validators of our kinds, compiled once.
pub(super) struct KindValidators {
    kinds: Vec<(String, KindValidator)>,
    subdomain: Regex,
    label: Regex,
}

impl KindValidators {
    pub(super) fn compile() -> Self {
        let kinds = crds::all()
            .into_iter()
            .map(|crd| {
                let schema = crd.spec.versions[0]
                    .schema
                    .as_ref()
                    .and_then(|validation| validation.open_api_v3_schema.as_ref());
                let schema =
                    serde_json::to_value(schema).expect("a schema is maps with string keys");
                (crd.spec.names.kind, KindValidator::compile(&schema))
            })
            .collect();
        let pattern = |text| Regex::new(text).expect("a constant pattern");
        Self {
            kinds,
            subdomain: pattern(
                r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
            ),
            label: pattern(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"),
        }
    }

    /// Checks a document, which is one object or a `List` of them, and collects its objects.
    pub(super) fn check(
        &self,
        file: &str,
        document: &Document,
        findings: &mut Vec<Finding>,
        objects: &mut Vec<CheckedObject>,
    ) {
        if document.root.is_null() {
            return;
        }
        let json = document.root.to_json();
        let list = json["kind"] == "List" && json["items"].is_array();
        let before = objects.len();
        if list {
            for item in document.root.items("items") {
                self.check_object(file, item, item.to_json(), findings, objects);
            }
        } else {
            self.check_object(file, &document.root, json, findings, objects);
        }
        if objects[before..].iter().any(|object| object.ours) {
            findings.extend(document.duplicate_keys.iter().map(|duplicate| Finding {
                file: file.to_owned(),
                line: duplicate.line,
                field: duplicate.key.clone(),
                message: format!(
                    "stands twice in the same mapping, first on line {}: keep one of them",
                    duplicate.first
                ),
                warning: false,
            }));
        }
    }

    fn check_object(
        &self,
        file: &str,
        node: &Rc<Node>,
        mut object: Value,
        findings: &mut Vec<Finding>,
        objects: &mut Vec<CheckedObject>,
    ) {
        let Some(kind) = object["kind"].as_str().map(str::to_owned) else {
            return;
        };
        let api_version = object["apiVersion"].as_str().unwrap_or_default().to_owned();
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        let known = self.kinds.iter().find(|(name, _)| *name == kind);
        let is_misspelt = known.is_some()
            && (api_version.is_empty() || strsim::jaro(group, GROUP) > SIMILARITY_THRESHOLD);
        let ours = group == GROUP || is_misspelt;
        let mut report = |field: &str, message: String, warning: bool| {
            findings.push(Finding {
                file: file.to_owned(),
                line: node.line_of(field),
                field: field.to_owned(),
                message,
                warning,
            });
        };
        if ours {
            if group != GROUP || version != VERSION {
                report(
                    "apiVersion",
                    format!("Unsupported value: {api_version:?}: write {GROUP}/{VERSION}"),
                    false,
                );
            }
            match known {
                None => {
                    let names: Vec<&str> =
                        self.kinds.iter().map(|(name, _)| name.as_str()).collect();
                    let message =
                        format!("Unsupported value: {kind:?}: {}", suggest(&kind, &names));
                    report("kind", message, false);
                }
                Some((_, validator)) => {
                    self.check_metadata(&object["metadata"], &mut report);
                    if let Some(message) = hints::too_long_for_client_side_apply(&object) {
                        report("spec", message, true);
                    }
                    if object
                        .as_object_mut()
                        .is_some_and(|fields| fields.remove("status").is_some())
                    {
                        let message =
                            "is written by the operator and ignored in a manifest: remove it"
                                .to_owned();
                        report("status", message, true);
                    }
                    check_body(validator, &mut object, &mut report);
                }
            }
        }
        objects.push(CheckedObject {
            file: file.to_owned(),
            kind,
            ours,
            object,
            node: node.clone(),
        });
    }

    fn check_metadata(&self, metadata: &Value, report: &mut impl FnMut(&str, String, bool)) {
        let Some(fields) = metadata.as_object() else {
            report(
                "metadata",
                "Required value: give the object a metadata.name".into(),
                false,
            );
            return;
        };
        for field in fields.keys() {
            if !METADATA_FIELDS.contains(&field.as_str()) {
                let message = format!("unknown field: {}", suggest(field, METADATA_FIELDS));
                report(&format!("metadata.{field}"), message, false);
            }
        }
        let needs_name = fields.get("generateName").is_none_or(Value::is_null);
        match fields.get("name") {
            None | Some(Value::Null) if !needs_name => {}
            None | Some(Value::Null) => {
                report(
                    "metadata.name",
                    "Required value: give the object a name".into(),
                    false,
                );
            }
            Some(name)
                if name
                    .as_str()
                    .is_some_and(|name| name.len() <= 253 && self.subdomain.is_match(name)) => {}
            Some(name) => {
                let message = format!(
                    "Invalid value: {name}: use at most 253 lower case letters, digits, '-' and '.', beginning and ending with a letter or digit"
                );
                report("metadata.name", message, false);
            }
        }
        if let Some(namespace) = fields.get("namespace").filter(|value| !value.is_null())
            && !namespace
                .as_str()
                .is_some_and(|name| name.len() <= 63 && self.label.is_match(name))
        {
            let message = format!(
                "Invalid value: {namespace}: use at most 63 lower case letters, digits and '-', beginning and ending with a letter or digit"
            );
            report("metadata.namespace", message, false);
        }
        for map in ["labels", "annotations"] {
            for (key, value) in fields
                .get(map)
                .and_then(Value::as_object)
                .into_iter()
                .flatten()
            {
                if !value.is_string() {
                    let message = format!(
                        "Invalid value: {value}: {map} are text: write \"{value}\" in quotes"
                    );
                    report(&format!("metadata.{map}.{key}"), message, false);
                }
            }
        }
    }
}

/// Unknown fields, schema and rules, in that order.
fn check_body(
    validator: &KindValidator,
    object: &mut Value,
    report: &mut impl FnMut(&str, String, bool),
) {
    let mut nulls = hints::null_fields(object);
    drop_forbidden_nulls(object, &validator.schema);
    let kept = hints::null_fields(object);
    nulls.retain(|field| !kept.contains(field));
    for path in prune(object, &validator.schema, true) {
        let (parent, name) = path.rsplit_once('.').unwrap_or(("", &path));
        let known: Vec<&str> = validator
            .schema
            .at(parent)
            .map(|schema| schema.properties.keys().map(String::as_str).collect())
            .unwrap_or_default();
        report(
            &path,
            format!("unknown field: {}", suggest(name, &known)),
            false,
        );
    }
    let mut causes = validator.validate_structure(object);
    for cause in &causes {
        if let Some((field, message)) = explain(cause, &causes, object, validator) {
            report(field, message, false);
        }
    }
    if !causes.iter().any(StatusCause::blocks_rules) {
        let broken = validator.validate_rules(object, None);
        for cause in &broken {
            report(&cause.field, cause.message.clone(), false);
        }
        causes.extend(broken);
    }
    check_duplicate_ids(object, &causes, report);
    if causes.is_empty()
        && let Some((field, problem)) = hints::unusable_assistant_field(object)
    {
        report(&field, problem, true);
    }
    for field in &nulls {
        if !causes.iter().any(|cause| cause.field == *field) {
            report(field, hints::NULL_FIELD.to_owned(), true);
        }
    }
}

/// The field at fault and the server's message without the path, which the finding shows already, plus the field's description. (A rule's message
/// needs none.) `None` if another of `causes` says it.
fn explain<'a>(
    cause: &'a StatusCause,
    causes: &[StatusCause],
    object: &Value,
    validator: &KindValidator,
) -> Option<(&'a str, String)> {
    let mut field = cause.field.as_str();
    if field == UNNAMED_FIELD {
        field = cause.message.rsplit_once(" in ")?.1;
        if causes.iter().any(|other| other.field == field) {
            return None;
        }
    }
    let pointer = field.replace(['.', '['], "/").replace(']', "");
    let found = object.pointer(&format!("/{pointer}"));
    let mut message = match found.filter(|found| found.is_f64()) {
        Some(found) if cause.message.contains(" must be of type int") => {
            format!("Invalid value: {found}: must be a whole number")
        }
        _ => cause.message.replace(&format!("{field} in body "), ""),
    };
    let schema = validator.schema.at(field);
    if let Some(description) = schema.and_then(|schema| schema.description.as_deref()) {
        let description = description.replace('\n', " ");
        message = format!("{message} ({})", description.trim_end_matches('.'));
    }
    Some((field, message))
}

/// Finds repeated ids in lists of any length; the server's rule is limited to short lists by its cost budget.
fn check_duplicate_ids(
    object: &Value,
    causes: &[StatusCause],
    report: &mut impl FnMut(&str, String, bool),
) {
    for list in [
        "spec.users",
        "spec.access.companyUsers.users",
        "spec.access.agentUsers.users",
        "spec.access.specificUsers.users",
    ] {
        if causes.iter().any(|cause| cause.field == list) {
            continue;
        }
        let pointer = format!("/{}", list.replace('.', "/"));
        let mut seen = std::collections::HashMap::new();
        for (index, user) in object
            .pointer(&pointer)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .enumerate()
        {
            if let Some(id) = user["id"].as_i64()
                && let Some(first) = seen.insert(id, index)
            {
                let message = format!(
                    "Duplicate value: {id}: stands at [{first}] too: keep one entry per id"
                );
                report(&format!("{list}[{index}].id"), message, false);
            }
        }
    }
}

/// A hint about an unknown word: the most similar known one, or else all of them.
fn suggest(found: &str, known: &[&str]) -> String {
    let alike = |name: &&&str| strsim::jaro_winkler(&found.to_lowercase(), &name.to_lowercase());
    let nearest = known.iter().max_by(|a, b| alike(a).total_cmp(&alike(b)));
    match nearest {
        Some(nearest) if alike(&nearest) > SIMILARITY_THRESHOLD => {
            format!("did you mean {nearest}?")
        }
        _ => format!("known here: {}", known.join(", ")),
    }
}
