//! Walks over objects that know from the schema what a field is: one value, a map, a set, or a list with keys.
//!
//! Source: structured-merge-diff v6, `typed/{tofieldset,merge,remove}.go` and `fieldpath/set.go`.

use serde_json::{Map, Value};

use super::field_set::FieldSet;
use crate::schema::{ListType, StructuralSchema};

/// How a value merges.
pub(super) enum MergeKind<'a> {
    /// As one.
    Atomic,
    /// Field by field.
    Map(&'a Map<String, Value>),
    /// Item by item.
    List(&'a [Value], &'a ListType),
}

static ATOMIC: ListType = ListType::Atomic;

/// The form of a value. What the schema does not know merges as JSON does: maps by field, lists as one.
pub(super) fn merge_kind<'a>(
    value: &'a Value,
    schema: Option<&'a StructuralSchema>,
) -> MergeKind<'a> {
    match value {
        Value::Object(fields) if schema.is_none_or(|schema| !schema.atomic_map) => {
            MergeKind::Map(fields)
        }
        Value::Array(items) => match schema.map_or(&ATOMIC, |schema| &schema.list_type) {
            ListType::Atomic => MergeKind::Atomic,
            kind => MergeKind::List(items, kind),
        },
        _ => MergeKind::Atomic,
    }
}

/// The schema of a named field or of a map's values.
pub(super) fn field_schema<'a>(
    schema: Option<&'a StructuralSchema>,
    name: &str,
) -> Option<&'a StructuralSchema> {
    schema.and_then(|schema| schema.field(name))
}

/// The schema of a list's items.
pub(super) fn item_schema(schema: Option<&StructuralSchema>) -> Option<&StructuralSchema> {
    schema.and_then(|schema| schema.items.as_deref())
}

/// How an item of a set or keyed list is named in a path.
pub(super) fn path_element_of(
    item: &Value,
    kind: &ListType,
    schema: Option<&StructuralSchema>,
) -> String {
    match kind {
        ListType::Map(keys) => {
            let element = item_schema(schema);
            let named: Map<String, Value> = keys
                .iter()
                .filter_map(|key| {
                    let default =
                        || field_schema(element, key).and_then(|schema| schema.default.clone());
                    Some((key.clone(), item.get(key).cloned().or_else(default)?))
                })
                .collect();
            format!("k:{}", Value::Object(named))
        }
        _ => format!("v:{item}"),
    }
}

/// A field with a name of its own in the schema, as opposed to a key of a map.
fn is_named(schema: Option<&StructuralSchema>, name: &str) -> bool {
    schema.is_some_and(|schema| schema.properties.contains_key(name))
}

/// Items of a set or keyed list that stand twice, which no intention may hold: (path, identity).
pub(super) fn find_duplicate_item(
    value: &Value,
    schema: Option<&StructuralSchema>,
    path: &str,
) -> Option<(String, String)> {
    match merge_kind(value, schema) {
        MergeKind::Atomic => None,
        MergeKind::Map(all) => all.iter().find_map(|(name, child)| {
            find_duplicate_item(child, field_schema(schema, name), &format!("{path}.{name}"))
        }),
        MergeKind::List(items, kind) => {
            let mut seen = std::collections::BTreeSet::new();
            items.iter().find_map(|item| {
                let path_element = path_element_of(item, kind, schema);
                let shown = super::field_set::display_path_element(&path_element);
                if seen.insert(path_element) {
                    return find_duplicate_item(
                        item,
                        item_schema(schema),
                        &format!("{path}{shown}"),
                    );
                }
                Some((path.to_owned(), shown))
            })
        }
    }
}

/// Every field that a value sets.
pub(super) fn fields(value: &Value, schema: Option<&StructuralSchema>) -> FieldSet {
    let mut set = FieldSet::default();
    match merge_kind(value, schema) {
        MergeKind::Atomic => set.member = true,
        MergeKind::Map(all) => {
            for (name, child) in all {
                let mut below = fields(child, field_schema(schema, name));
                let empty = child.is_null() || child.as_object().is_some_and(Map::is_empty);
                below.member |= empty || !is_named(schema, name);
                if !below.is_empty() {
                    set.children.insert(format!("f:{name}"), below);
                }
            }
        }
        MergeKind::List(items, kind) => {
            for item in items {
                let mut below = fields(item, item_schema(schema));
                below.member = true;
                set.children
                    .insert(path_element_of(item, kind, schema), below);
            }
        }
    }
    set
}

/// `live` with everything that `config` says.
pub(super) fn merge(live: &Value, config: &Value, schema: Option<&StructuralSchema>) -> Value {
    match (merge_kind(live, schema), merge_kind(config, schema)) {
        (MergeKind::Map(live), MergeKind::Map(config)) => {
            let mut merged = live.clone();
            for (name, wanted) in config {
                let value = match live.get(name) {
                    Some(known) => merge(known, wanted, field_schema(schema, name)),
                    None => wanted.clone(),
                };
                merged.insert(name.clone(), value);
            }
            Value::Object(merged)
        }
        (MergeKind::List(live, kind), MergeKind::List(config, _)) => {
            merge_items(live, config, kind, schema).into()
        }
        _ => config.clone(),
    }
}

/// Items of both lists: in the order of `config`, and what only `live` has stays where it was.
fn merge_items(
    live: &[Value],
    config: &[Value],
    kind: &ListType,
    schema: Option<&StructuralSchema>,
) -> Vec<Value> {
    let path_element = |item: &Value| path_element_of(item, kind, schema);
    let wanted: Vec<(String, &Value)> = config
        .iter()
        .map(|item| (path_element(item), item))
        .collect();
    let known: Vec<(String, &Value)> = live.iter().map(|item| (path_element(item), item)).collect();
    let take = |(name, item): &(String, &Value)| match known.iter().find(|(known, _)| known == name)
    {
        Some((_, known)) => merge(known, item, item_schema(schema)),
        None => (*item).clone(),
    };
    let is_wanted = |name: &String| wanted.iter().any(|(wanted, _)| wanted == name);
    let is_known = |name: &String| known.iter().any(|(known, _)| known == name);
    let mut merged = Vec::new();
    let (mut left, mut right) = (0, 0);
    while left < known.len() {
        let (name, item) = &known[left];
        let shared = wanted[right..]
            .iter()
            .map(|(name, _)| name)
            .find(|name| is_known(name));
        if !is_wanted(name) {
            merged.push((*item).clone());
            left += 1;
        } else if shared != Some(name) {
            // Its place is where `config` names it: behind us, or further on.
            left += 1;
        } else {
            left += usize::from(wanted[right].0 == *name);
            merged.push(take(&wanted[right]));
            right += 1;
        }
    }
    merged.extend(wanted[right..].iter().map(take));
    merged
}

/// Takes every field of the set out of a value.
pub(super) fn remove(value: &mut Value, set: &FieldSet, schema: Option<&StructuralSchema>) {
    match value {
        Value::Object(all) if schema.is_none_or(|schema| !schema.atomic_map) => {
            all.retain(|name, _| {
                !set.children
                    .get(&format!("f:{name}"))
                    .is_some_and(|below| below.member)
            });
            for (name, child) in all.iter_mut() {
                if let Some(below) = set.children.get(&format!("f:{name}")) {
                    remove(child, below, field_schema(schema, name));
                }
            }
        }
        Value::Array(items) => {
            let kind = schema.map_or(&ATOMIC, |schema| &schema.list_type);
            if *kind == ListType::Atomic {
                return;
            }
            items.retain(|item| {
                !set.children
                    .get(&path_element_of(item, kind, schema))
                    .is_some_and(|below| below.member)
            });
            for item in items.iter_mut() {
                if let Some(below) = set.children.get(&path_element_of(item, kind, schema)) {
                    remove(item, below, item_schema(schema));
                }
            }
        }
        _ => {}
    }
}

/// The set with every named field in it that has something below it in the set.
pub(super) fn with_named_fields(set: &FieldSet, schema: Option<&StructuralSchema>) -> FieldSet {
    let mut all = FieldSet {
        member: set.member,
        children: std::collections::BTreeMap::new(),
    };
    for (path_element, below) in &set.children {
        let (known, named) = match path_element.strip_prefix("f:") {
            Some(name) => (field_schema(schema, name), is_named(schema, name)),
            None => (item_schema(schema), false),
        };
        let mut below = with_named_fields(below, known);
        below.member |= named;
        all.children.insert(path_element.clone(), below);
    }
    all
}
