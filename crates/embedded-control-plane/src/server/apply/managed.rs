//! `metadata.managedFields`: reading, writing, and which fields nobody owns.

use serde_json::{Value, json};

use super::super::object::{now, remove_metadata, set_metadata, str_at, value_at};
use super::field_set::FieldSet;

/// Who writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::server) struct FieldManager {
    pub name: String,
    /// `Apply` or `Update`.
    pub operation: &'static str,
    pub api_version: String,
    /// "" or `status`.
    pub subresource: String,
}

/// One owner and its fields.
#[derive(Debug, Clone)]
pub(super) struct ManagedFieldsEntry {
    name: String,
    operation: String,
    api_version: String,
    subresource: String,
    time: Option<String>,
    pub set: FieldSet,
}

impl ManagedFieldsEntry {
    pub(super) fn new(manager: &FieldManager, set: FieldSet) -> Self {
        Self {
            name: manager.name.clone(),
            operation: manager.operation.into(),
            api_version: manager.api_version.clone(),
            subresource: manager.subresource.clone(),
            time: Some(now()),
            set,
        }
    }

    /// Whether the entry is this manager's. An applier keeps its entry when it changes the version it applies.
    pub(super) fn is_of(&self, manager: &FieldManager) -> bool {
        self.name == manager.name
            && self.operation == manager.operation
            && self.subresource == manager.subresource
            && (manager.operation == "Apply" || self.api_version == manager.api_version)
    }

    /// As conflict messages name the owner.
    pub(super) fn display_name(&self) -> String {
        let mut who = format!("{:?}", self.name);
        if !self.subresource.is_empty() {
            who = format!("{who} with subresource {:?}", self.subresource);
        }
        if self.operation == "Update" {
            who = format!("{who} using {}", self.api_version);
        }
        who
    }
}

/// All owners of an object.
#[derive(Debug, Clone, Default)]
pub(super) struct ManagedFields {
    pub entries: Vec<ManagedFieldsEntry>,
}

/// What a written object says about its owners.
pub(super) enum RequestedManagedFields {
    /// Nothing: they stay.
    Keep,
    /// `[{}]`: forget them all.
    Reset,
    /// These.
    Replace(ManagedFields),
}

impl ManagedFields {
    pub(super) fn read(object: &Value) -> Self {
        let entries = value_at(object, &["metadata", "managedFields"])
            .as_array()
            .map(|all| {
                all.iter()
                    .map(|entry| ManagedFieldsEntry {
                        name: str_at(entry, &["manager"]).into(),
                        operation: str_at(entry, &["operation"]).into(),
                        api_version: str_at(entry, &["apiVersion"]).into(),
                        subresource: str_at(entry, &["subresource"]).into(),
                        time: entry.get("time").and_then(Value::as_str).map(str::to_owned),
                        set: FieldSet {
                            member: false,
                            ..FieldSet::read(value_at(entry, &["fieldsV1"]))
                        },
                    })
                    .collect()
            });
        Self {
            entries: entries.unwrap_or_default(),
        }
    }

    pub(super) fn requested_in(object: &Value) -> RequestedManagedFields {
        match value_at(object, &["metadata", "managedFields"])
            .as_array()
            .map(Vec::as_slice)
        {
            None | Some([]) => RequestedManagedFields::Keep,
            Some([only]) if only.as_object().is_some_and(serde_json::Map::is_empty) => {
                RequestedManagedFields::Reset
            }
            Some(_) => RequestedManagedFields::Replace(Self::read(object)),
        }
    }

    /// Takes a manager's entry out.
    pub(super) fn take(&mut self, manager: &FieldManager) -> Option<ManagedFieldsEntry> {
        let place = self.entries.iter().position(|entry| entry.is_of(manager))?;
        Some(self.entries.remove(place))
    }

    /// Notes that a manager wrote just now.
    pub(super) fn touch(&mut self, manager: &FieldManager) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.is_of(manager)) {
            entry.time = Some(now());
        }
    }

    pub(super) fn write(&self, object: &mut Value) {
        let mut entries: Vec<&ManagedFieldsEntry> = self.entries.iter().collect();
        entries.sort_by(|left, right| {
            let order = |entry: &ManagedFieldsEntry| {
                (
                    entry.operation.clone(),
                    entry.time.clone(),
                    entry.name.clone(),
                    entry.api_version.clone(),
                    entry.subresource.clone(),
                )
            };
            order(left).cmp(&order(right))
        });
        let entries: Vec<Value> = entries
            .into_iter()
            .map(|entry| {
                let mut written = json!({"manager": entry.name, "operation": entry.operation,
                    "apiVersion": entry.api_version, "fieldsType": "FieldsV1", "fieldsV1": entry.set.write()});
                if let Some(time) = &entry.time {
                    written["time"] = time.clone().into();
                }
                if !entry.subresource.is_empty() {
                    written["subresource"] = entry.subresource.clone().into();
                }
                written
            })
            .collect();
        if entries.is_empty() {
            remove_metadata(object, "managedFields");
        } else {
            set_metadata(object, "managedFields", entries);
        }
    }
}

/// Takes out what no manager owns (apimachinery `stripmeta.go`).
pub(super) fn strip(set: &mut FieldSet) {
    set.member = false;
    for path in [
        &["f:apiVersion"][..],
        &["f:kind"],
        &["f:metadata", "f:name"],
        &["f:metadata", "f:namespace"],
        &["f:metadata", "f:creationTimestamp"],
        &["f:metadata", "f:selfLink"],
        &["f:metadata", "f:uid"],
        &["f:metadata", "f:clusterName"],
        &["f:metadata", "f:generation"],
        &["f:metadata", "f:managedFields"],
        &["f:metadata", "f:resourceVersion"],
    ] {
        set.remove_path(path);
    }
    if let Some(metadata) = set.children.get_mut("f:metadata") {
        metadata.member = false;
        if metadata.is_empty() {
            set.children.remove("f:metadata");
        }
    }
}
