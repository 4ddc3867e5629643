//! `metadata.managedFields`: reading, writing, and which fields nobody owns.

use serde_json::{Value, json};

use super::super::object::{at, drop_meta, now, set_meta, text};
use super::field_set::FieldSet;

/// Who writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Manager {
    pub name: String,
    /// `Apply` or `Update`.
    pub operation: &'static str,
    pub api_version: String,
    /// "" or `status`.
    pub subresource: String,
}

/// One owner and its fields.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    name: String,
    operation: String,
    api_version: String,
    subresource: String,
    time: Option<String>,
    pub set: FieldSet,
}

impl Entry {
    pub(super) fn new(manager: &Manager, set: FieldSet) -> Self {
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
    pub(super) fn is_of(&self, manager: &Manager) -> bool {
        self.name == manager.name
            && self.operation == manager.operation
            && self.subresource == manager.subresource
            && (manager.operation == "Apply" || self.api_version == manager.api_version)
    }

    /// As conflict messages name the owner.
    pub(super) fn described(&self) -> String {
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
pub(super) struct Managed {
    pub entries: Vec<Entry>,
}

/// What a written object says about its owners.
pub(super) enum Asked {
    /// Nothing: they stay.
    Nothing,
    /// `[{}]`: forget them all.
    Reset,
    /// These.
    These(Managed),
}

impl Managed {
    pub(super) fn read(object: &Value) -> Self {
        let entries = at(object, &["metadata", "managedFields"])
            .as_array()
            .map(|all| {
                all.iter()
                    .map(|entry| Entry {
                        name: text(entry, &["manager"]).into(),
                        operation: text(entry, &["operation"]).into(),
                        api_version: text(entry, &["apiVersion"]).into(),
                        subresource: text(entry, &["subresource"]).into(),
                        time: entry.get("time").and_then(Value::as_str).map(str::to_owned),
                        set: FieldSet {
                            member: false,
                            ..FieldSet::read(at(entry, &["fieldsV1"]))
                        },
                    })
                    .collect()
            });
        Self {
            entries: entries.unwrap_or_default(),
        }
    }

    pub(super) fn asked_for(object: &Value) -> Asked {
        match at(object, &["metadata", "managedFields"])
            .as_array()
            .map(Vec::as_slice)
        {
            None | Some([]) => Asked::Nothing,
            Some([only]) if only.as_object().is_some_and(serde_json::Map::is_empty) => Asked::Reset,
            Some(_) => Asked::These(Self::read(object)),
        }
    }

    /// Takes a manager's entry out.
    pub(super) fn take(&mut self, manager: &Manager) -> Option<Entry> {
        let place = self.entries.iter().position(|entry| entry.is_of(manager))?;
        Some(self.entries.remove(place))
    }

    /// Notes that a manager wrote just now.
    pub(super) fn touch(&mut self, manager: &Manager) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.is_of(manager)) {
            entry.time = Some(now());
        }
    }

    pub(super) fn write(&self, object: &mut Value) {
        let mut entries: Vec<&Entry> = self.entries.iter().collect();
        entries.sort_by(|left, right| {
            let order = |entry: &Entry| {
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
            drop_meta(object, "managedFields");
        } else {
            set_meta(object, "managedFields", entries);
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
        set.cut(path);
    }
    if let Some(metadata) = set.children.get_mut("f:metadata") {
        metadata.member = false;
        if metadata.is_empty() {
            set.children.remove("f:metadata");
        }
    }
}
