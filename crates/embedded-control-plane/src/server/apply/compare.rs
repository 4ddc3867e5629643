//! What changed between two states of an object, field by field (structured-merge-diff, `typed/compare.go`).

use serde_json::Value;

use super::super::kinds::{Kind, Strategy};
use super::field_set::FieldSet;
use super::managed::{self, FieldManager};
use super::typed::{MergeKind, field_schema, item_schema, merge_kind, path_element_of};
use crate::schema::StructuralSchema;

/// The difference.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub added: FieldSet,
    pub modified: FieldSet,
    pub removed: FieldSet,
}

impl Comparison {
    /// Leaves out what nobody owns, and what the endpoint does not write.
    pub(super) fn strip(&mut self, kind: &Kind, manager: &FieldManager) {
        for set in [&mut self.added, &mut self.modified, &mut self.removed] {
            managed::strip(set);
            if kind.status && kind.strategy != Strategy::Namespace {
                let only_status = manager.subresource == "status";
                set.retain_top_level(|field| (field == "f:status") == only_status);
            }
            if kind.strategy == Strategy::Namespace {
                set.remove_path(&["f:spec", "f:finalizers"]);
            }
        }
    }
}

/// Compares two states.
pub(super) fn compare(old: &Value, new: &Value, schema: Option<&StructuralSchema>) -> Comparison {
    let mut comparer = Comparer::default();
    comparer.compare(Some(old), Some(new), schema);
    comparer.comparison
}

#[derive(Default)]
struct Comparer {
    path: Vec<String>,
    comparison: Comparison,
}

impl Comparer {
    fn compare(
        &mut self,
        old: Option<&Value>,
        new: Option<&Value>,
        schema: Option<&StructuralSchema>,
    ) {
        if old == new {
            return;
        }
        let leaf = match (
            old.map(|old| merge_kind(old, schema)),
            new.map(|new| merge_kind(new, schema)),
        ) {
            (Some(MergeKind::Map(old)), Some(MergeKind::Map(new))) => {
                self.maps(Some(old), Some(new), schema)
            }
            (Some(MergeKind::Map(old)), None) => self.maps(Some(old), None, schema),
            (None, Some(MergeKind::Map(new))) => self.maps(None, Some(new), schema),
            (Some(MergeKind::List(old, kind)), Some(MergeKind::List(new, _))) => {
                self.lists(old, new, schema, |item| path_element_of(item, kind, schema))
            }
            (Some(MergeKind::List(old, kind)), None) => {
                self.lists(old, &[], schema, |item| path_element_of(item, kind, schema))
            }
            (None, Some(MergeKind::List(new, kind))) => {
                self.lists(&[], new, schema, |item| path_element_of(item, kind, schema))
            }
            _ => true,
        };
        match (old, new) {
            (None, Some(_)) => self.comparison.added.insert(&self.path),
            (Some(_), None) => self.comparison.removed.insert(&self.path),
            _ if leaf => self.comparison.modified.insert(&self.path),
            _ => {}
        }
    }

    /// Returns whether the two count as one value: both are empty.
    fn maps(
        &mut self,
        old: Option<&serde_json::Map<String, Value>>,
        new: Option<&serde_json::Map<String, Value>>,
        schema: Option<&StructuralSchema>,
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
        schema: Option<&StructuralSchema>,
        path_element: impl Fn(&Value) -> String,
    ) -> bool {
        let mut items: Vec<(String, Option<&Value>, Option<&Value>)> = old
            .iter()
            .map(|item| (path_element(item), Some(item), None))
            .collect();
        for item in new {
            let name = path_element(item);
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
