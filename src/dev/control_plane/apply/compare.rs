//! What changed between two states of an object, field by field (structured-merge-diff, `typed/compare.go`).

use serde_json::Value;

use super::super::kinds::{Kind, Nature};
use super::super::schema::Schema;
use super::field_set::FieldSet;
use super::managed::{self, Manager};
use super::typed::{Form, edge_of, field_schema, form, item_schema};

/// The difference.
#[derive(Debug, Default)]
pub(super) struct Change {
    pub added: FieldSet,
    pub modified: FieldSet,
    pub removed: FieldSet,
}

impl Change {
    /// Leaves out what nobody owns, and what the endpoint does not write.
    pub(super) fn strip(&mut self, kind: &Kind, manager: &Manager) {
        for set in [&mut self.added, &mut self.modified, &mut self.removed] {
            managed::strip(set);
            if kind.status && kind.nature != Nature::Namespace {
                let only_status = manager.subresource == "status";
                set.keep_top(|field| (field == "f:status") == only_status);
            }
            if kind.nature == Nature::Namespace {
                set.cut(&["f:spec", "f:finalizers"]);
            }
        }
    }
}

/// Compares two states.
pub(super) fn compare(old: &Value, new: &Value, schema: Option<&Schema>) -> Change {
    let mut walk = Walk::default();
    walk.compare(Some(old), Some(new), schema);
    walk.change
}

#[derive(Default)]
struct Walk {
    path: Vec<String>,
    change: Change,
}

impl Walk {
    fn compare(&mut self, old: Option<&Value>, new: Option<&Value>, schema: Option<&Schema>) {
        if old == new {
            return;
        }
        let leaf = match (
            old.map(|old| form(old, schema)),
            new.map(|new| form(new, schema)),
        ) {
            (Some(Form::Map(old)), Some(Form::Map(new))) => self.maps(Some(old), Some(new), schema),
            (Some(Form::Map(old)), None) => self.maps(Some(old), None, schema),
            (None, Some(Form::Map(new))) => self.maps(None, Some(new), schema),
            (Some(Form::List(old, kind)), Some(Form::List(new, _))) => {
                self.lists(old, new, schema, |item| edge_of(item, kind, schema))
            }
            (Some(Form::List(old, kind)), None) => {
                self.lists(old, &[], schema, |item| edge_of(item, kind, schema))
            }
            (None, Some(Form::List(new, kind))) => {
                self.lists(&[], new, schema, |item| edge_of(item, kind, schema))
            }
            _ => true,
        };
        match (old, new) {
            (None, Some(_)) => self.change.added.insert(&self.path),
            (Some(_), None) => self.change.removed.insert(&self.path),
            _ if leaf => self.change.modified.insert(&self.path),
            _ => {}
        }
    }

    /// Returns whether the two count as one value: both are empty.
    fn maps(
        &mut self,
        old: Option<&serde_json::Map<String, Value>>,
        new: Option<&serde_json::Map<String, Value>>,
        schema: Option<&Schema>,
    ) -> bool {
        let names = |map: Option<&serde_json::Map<String, Value>>| -> Vec<String> {
            map.map(|map| map.keys().cloned().collect())
                .unwrap_or_default()
        };
        let mut all = names(old);
        all.extend(names(new));
        all.sort();
        all.dedup();
        for name in &all {
            self.path.push(format!("f:{name}"));
            let field = |map: Option<&'_ serde_json::Map<String, Value>>| {
                map.and_then(|map| map.get(name)).cloned()
            };
            self.compare(
                field(old).as_ref(),
                field(new).as_ref(),
                field_schema(schema, name),
            );
            self.path.pop();
        }
        all.is_empty()
    }

    fn lists(
        &mut self,
        old: &[Value],
        new: &[Value],
        schema: Option<&Schema>,
        edge: impl Fn(&Value) -> String,
    ) -> bool {
        let mut items: Vec<(String, Option<&Value>, Option<&Value>)> = old
            .iter()
            .map(|item| (edge(item), Some(item), None))
            .collect();
        for item in new {
            let name = edge(item);
            match items.iter_mut().find(|(known, _, _)| *known == name) {
                Some(pair) => pair.2 = Some(item),
                None => items.push((name, None, Some(item))),
            }
        }
        let empty = items.is_empty();
        for (name, old, new) in items {
            self.path.push(name);
            self.compare(old, new, item_schema(schema));
            self.path.pop();
        }
        empty
    }
}
