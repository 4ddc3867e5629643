//! Prints a change: as a list entry, as a JSON patch, or as a manifest for server-side apply.

use serde_json::{Value, json};

use super::change::{ListEdit, UserListLocation};
use super::{Direction, TargetConnector};
use crate::api::connector::ListKind;
use crate::api::{GROUP, VERSION};
use crate::cli::ChangeOutput;

/// The object with the list that an edit changes.
#[derive(Debug, Clone, Copy)]
pub(super) struct TargetObject<'a> {
    pub(super) kind: &'static str,
    /// "" where the object is in none.
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    /// The list's path, such as `spec.access.companyUsers.users`.
    pub(super) field: &'a str,
}

impl std::fmt::Display for TargetObject<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ", self.kind)?;
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(self.name)
    }
}

impl<'a> TargetObject<'a> {
    pub(super) fn of(target: &'a TargetConnector, location: &'a UserListLocation) -> Self {
        match location {
            UserListLocation::Inline => Self {
                kind: "TelegramConnector",
                namespace: &target.namespace,
                name: &target.connector,
                field: &target.inline_field,
            },
            UserListLocation::List(list) => Self {
                kind: list.kind().as_str(),
                namespace: match list.kind() {
                    ListKind::TelegramUserList => &target.namespace,
                    ListKind::ClusterTelegramUserList => "",
                },
                name: &list.name,
                field: "spec.users",
            },
        }
    }

    /// The manifest for server-side apply: the whole list, which is atomic, and no other field.
    pub(super) fn manifest(&self, edit: &ListEdit) -> Value {
        let users = serde_json::to_value(&edit.after).expect(ENTRIES);
        let fields = self
            .field
            .rsplit('.')
            .fold(users, |inner, field| json!({field: inner}));
        let mut manifest = json!({
            "apiVersion": format!("{GROUP}/{VERSION}"),
            "kind": self.kind,
            "metadata": {"name": self.name},
            "spec": fields["spec"],
        });
        if !self.namespace.is_empty() {
            manifest["metadata"]["namespace"] = self.namespace.into();
        }
        manifest
    }

    /// A patch by RFC 6902. A removal first tests that the entry is still at its position.
    fn patch(&self, direction: Direction, edit: &ListEdit) -> Value {
        let list = format!("/{}", self.field.replace('.', "/"));
        let replacements = edit.replaced.iter().zip(&edit.entries);
        if !edit.replaced.is_empty() {
            let operations = replacements.flat_map(|(before, (at, entry))| {
                let path = format!("{list}/{at}");
                [
                    json!({"op": "test", "path": path, "value": before}),
                    json!({"op": "replace", "path": path, "value": entry}),
                ]
            });
            return operations.collect();
        }
        let operations: Vec<Value> = match direction {
            // The list may be missing beside listRefs.
            Direction::Allow if edit.after.len() == 1 => {
                vec![json!({"op": "add", "path": list, "value": edit.after})]
            }
            Direction::Allow => edit
                .entries
                .iter()
                .map(|(_, entry)| json!({"op": "add", "path": format!("{list}/-"), "value": entry}))
                .collect(),
            Direction::Deny => edit
                .entries
                .iter()
                .rev()
                .flat_map(|(at, entry)| {
                    let path = format!("{list}/{at}");
                    [
                        json!({"op": "test", "path": path, "value": entry}),
                        json!({"op": "remove", "path": path}),
                    ]
                })
                .collect(),
        };
        Value::Array(operations)
    }
}

const ENTRIES: &str = "entries are numbers and texts";

/// The text of all edits, as YAML.
pub(super) fn render(
    target: &TargetConnector,
    direction: Direction,
    edits: &[ListEdit],
    output: ChangeOutput,
) -> String {
    let documents = edits.iter().map(|edit| {
        let object = TargetObject::of(target, &edit.location);
        let TargetObject {
            kind,
            namespace,
            name,
            field,
        } = object;
        let in_namespace = match namespace {
            "" => String::new(),
            _ => format!(" -n {namespace}"),
        };
        let (comment, value) = match output {
            ChangeOutput::Entry => {
                let verb = match direction {
                    Direction::Allow if !edit.replaced.is_empty() => "change in",
                    Direction::Allow => "add to",
                    Direction::Deny => "remove from",
                };
                let entries: Vec<_> = edit.entries.iter().map(|(_, entry)| entry).collect();
                (
                    format!("{object}: {verb} {field}"),
                    serde_json::to_value(entries).expect(ENTRIES),
                )
            }
            ChangeOutput::Patch => (
                format!(
                    "kubectl patch {} {name}{in_namespace} --type=json --patch-file FILE",
                    kind.to_lowercase()
                ),
                object.patch(direction, edit),
            ),
            ChangeOutput::Manifest => (
                "kubectl apply --server-side -f FILE".to_owned(),
                object.manifest(edit),
            ),
        };
        let yaml = serde_yaml::to_string(&value).expect(ENTRIES);
        format!("# {comment}\n{yaml}")
    });
    documents.collect::<Vec<_>>().join("---\n")
}
