//! Server-side apply: who owns which field, what an intention changes, and where two owners disagree.
//!
//! The semantics are those of structured-merge-diff v6 (`merge/update.go`) and of apimachinery's field manager.

mod compare;
mod field_set;
mod managed;
mod typed;

use serde_json::Value;

use self::field_set::FieldSet;
pub(super) use self::managed::FieldManager;
use self::managed::{ManagedFields, ManagedFieldsEntry};
use super::kinds::Kind;
use super::object::{remove_metadata, value_at};
use crate::schema::StructuralSchema;

/// What a manager wants: an object with only the fields it has an opinion on.
#[derive(Debug, Clone)]
pub(super) struct ApplyConfiguration {
    /// The intention, decoded.
    pub object: Value,
}

impl ApplyConfiguration {
    pub(super) fn new(object: Value) -> Self {
        Self { object }
    }

    fn fields(&self, kind: &Kind, manager: &FieldManager) -> FieldSet {
        let mut set = typed::fields(&self.object, Some(&kind.schema));
        managed::strip(&mut set);
        if kind.status {
            // The endpoint of an object does not write its status, and the other way round.
            let only_status = manager.subresource == "status";
            set.retain_top_level(|field| (field == "f:status") == only_status);
        }
        set
    }
}

/// Who owns what after an apply; written into the object once the server has prepared it.
#[derive(Debug)]
pub(super) struct MergedManagedFields(ManagedFields);

impl MergedManagedFields {
    /// Writes `metadata.managedFields`; the time of an entry moves only when the object changes.
    pub(super) fn write(mut self, before: &Value, object: &mut Value, manager: &FieldManager) {
        self.0.write(object);
        if !equals_ignoring_times(object, before) {
            self.0.touch(manager);
            self.0.write(object);
        } else if let Some(known) = value_at(before, &["metadata", "managedFields"]).as_array() {
            super::object::set_metadata(object, "managedFields", known.clone());
        }
    }
}

/// What makes an intention unreadable: an item that stands twice where each may stand once.
pub(super) fn duplicate_item_error(kind: &Kind, config: &Value) -> Option<String> {
    let (path, identity) = typed::find_duplicate_item(config, Some(&kind.schema), "")?;
    Some(format!(
        "failed to create typed patch object ({}/{}; {}, Kind={}): {path}: duplicate entries for key {identity}",
        super::object::metadata_str(config, "namespace"),
        super::object::metadata_str(config, "name"),
        kind.api_version(),
        kind.kind
    ))
}

/// Fields that others own and that the intention would change: (manager, as messages name it; field).
pub(super) type Conflicts = Vec<(String, String)>;

/// Merges an intention into a living object.
pub(super) fn merge(
    kind: &Kind,
    live: &Value,
    config: &ApplyConfiguration,
    manager: &FieldManager,
    force: bool,
) -> Result<(Value, MergedManagedFields), Conflicts> {
    let schema = Some(&kind.schema);
    let mut managed = ManagedFields::read(live);
    let mut live = live.clone();
    remove_metadata(&mut live, "managedFields");
    if managed.entries.is_empty() {
        managed
            .entries
            .push(before_first_apply(&live, schema, kind));
    }
    let wanted = config.fields(kind, manager);
    let last = managed.take(manager).map(|entry| entry.set);
    managed
        .entries
        .push(ManagedFieldsEntry::new(manager, wanted));

    let merged = typed::merge(&live, &config.object, schema);
    let pruned = prune(merged, &managed, last.as_ref(), schema);

    let mut comparison = compare::compare(&live, &pruned, schema);
    comparison.strip(kind, manager);
    let touched = comparison.added.union(&comparison.modified);
    let mut conflicts: Vec<(usize, FieldSet)> = Vec::new();
    for (index, entry) in managed.entries.iter().enumerate() {
        if !entry.is_of(manager) {
            let common = entry.set.intersection(&touched);
            if !common.is_empty() {
                conflicts.push((index, common));
            }
        }
    }
    if !force && !conflicts.is_empty() {
        let named = conflicts.iter().flat_map(|(index, set)| {
            let who = managed.entries[*index].display_name();
            set.paths().into_iter().map(move |path| (who.clone(), path))
        });
        return Err(named.collect());
    }
    for (index, common) in conflicts {
        let entry = &mut managed.entries[index];
        entry.set = entry.set.difference(&common);
    }
    for entry in &mut managed.entries {
        if !entry.is_of(manager) {
            entry.set = entry.set.difference(&comparison.removed);
        }
    }
    managed.entries.retain(|entry| !entry.set.is_empty());
    Ok((pruned, MergedManagedFields(managed)))
}

/// An object whose owners nobody wrote down: everything in it belongs to one unnamed writer.
fn before_first_apply(
    live: &Value,
    schema: Option<&StructuralSchema>,
    kind: &Kind,
) -> ManagedFieldsEntry {
    let mut set = compare::compare(&super::object::empty_object(), live, schema).added;
    managed::strip(&mut set);
    let manager = FieldManager {
        name: "before-first-apply".into(),
        operation: "Update",
        api_version: kind.api_version(),
        subresource: String::new(),
    };
    ManagedFieldsEntry::new(&manager, set)
}

/// Removes what the manager owned before and wants no more, unless somebody else owns it.
fn prune(
    merged: Value,
    managed: &ManagedFields,
    last: Option<&FieldSet>,
    schema: Option<&StructuralSchema>,
) -> Value {
    let Some(last) = last.filter(|set| !set.is_empty()) else {
        return merged;
    };
    let named = |set: &FieldSet| typed::with_named_fields(set, schema);
    let all = named(&typed::fields(&merged, schema));
    let mut pruned = merged.clone();
    typed::remove(&mut pruned, &named(last), schema);

    let owned = managed
        .entries
        .iter()
        .fold(FieldSet::default(), |all, entry| all.union(&entry.set));
    let kept = named(&typed::fields(&pruned, schema)).union(&named(&owned));
    let mut pruned = merged.clone();
    typed::remove(&mut pruned, &all.difference(&kept), schema);

    let kept = named(&typed::fields(&pruned, schema));
    let mut pruned = merged;
    typed::remove(
        &mut pruned,
        &all.difference(&kept).intersection(&named(last)),
        schema,
    );
    pruned
}

/// Notes that a manager wrote `object` over `old` (nothing: it is new) by other means than apply.
pub(super) fn record_update(
    kind: &Kind,
    old: Option<&Value>,
    object: &mut Value,
    manager: &FieldManager,
) {
    let mut managed = match ManagedFields::requested_in(object) {
        managed::RequestedManagedFields::Reset => {
            remove_metadata(object, "managedFields");
            return;
        }
        managed::RequestedManagedFields::Replace(managed) => managed,
        managed::RequestedManagedFields::Keep => old.map(ManagedFields::read).unwrap_or_default(),
    };
    let mut live = old.cloned().unwrap_or_else(super::object::empty_object);
    remove_metadata(&mut live, "managedFields");
    remove_metadata(object, "managedFields");
    let mut comparison = compare::compare(&live, object, Some(&kind.schema));
    comparison.strip(kind, manager);
    let mine = comparison.added.union(&comparison.modified);
    for entry in &mut managed.entries {
        entry.set = entry.set.difference(&mine).difference(&comparison.removed);
    }
    if !mine.is_empty() {
        match managed
            .entries
            .iter_mut()
            .find(|entry| entry.is_of(manager))
        {
            Some(entry) => entry.set = entry.set.union(&mine),
            None => managed.entries.push(ManagedFieldsEntry::new(manager, mine)),
        }
        managed.touch(manager);
    }
    managed.entries.retain(|entry| !entry.set.is_empty());
    managed.write(object);
}

/// Notes the owner of an object that an apply created.
pub(super) fn record_apply_create(
    kind: &Kind,
    config: &ApplyConfiguration,
    object: &mut Value,
    manager: &FieldManager,
) {
    let mut managed = ManagedFields::default();
    managed.entries.push(ManagedFieldsEntry::new(
        manager,
        config.fields(kind, manager),
    ));
    managed.entries.retain(|entry| !entry.set.is_empty());
    managed.touch(manager);
    managed.write(object);
}

/// Whether two objects differ in nothing but their version and the times of their owners' entries.
pub(super) fn equals_ignoring_times(left: &Value, right: &Value) -> bool {
    let plain = |object: &Value| {
        let mut object = object.clone();
        remove_metadata(&mut object, "resourceVersion");
        if let Some(entries) = object
            .pointer_mut("/metadata/managedFields")
            .and_then(Value::as_array_mut)
        {
            for entry in entries.iter_mut().filter_map(Value::as_object_mut) {
                entry.remove("time");
            }
            entries.sort_by_key(ToString::to_string);
        }
        object
    };
    plain(left) == plain(right)
}
