//! A set of field paths, in the shape in which `managedFields` writes it: a tree whose edges are `f:name`, `k:{keys}`
//! and `v:value`, and where `.` marks an inner node that is itself in the set.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// A set of paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FieldSet {
    /// Whether the path that leads here is in the set.
    pub member: bool,
    pub children: BTreeMap<String, FieldSet>,
}

impl FieldSet {
    /// Reads `fieldsV1`.
    pub(super) fn read(json: &Value) -> Self {
        let Some(fields) = json.as_object() else {
            return Self::default();
        };
        let children: BTreeMap<String, Self> = fields
            .iter()
            .filter(|(path_element, _)| *path_element != ".")
            .map(|(path_element, below)| (path_element.clone(), Self::read(below)))
            .collect();
        Self {
            member: fields.is_empty() || fields.contains_key("."),
            children,
        }
    }

    /// Writes `fieldsV1`.
    pub(super) fn write(&self) -> Value {
        let mut fields: Map<String, Value> = self
            .children
            .iter()
            .map(|(path_element, below)| (path_element.clone(), below.write()))
            .collect();
        if self.member && !fields.is_empty() {
            fields.insert(".".into(), Value::Object(Map::new()));
        }
        Value::Object(fields)
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.member && self.children.values().all(Self::is_empty)
    }

    /// Puts a path into the set.
    pub(super) fn insert(&mut self, path: &[String]) {
        match path {
            [] => self.member = true,
            [path_element, rest @ ..] => self
                .children
                .entry(path_element.clone())
                .or_default()
                .insert(rest),
        }
    }

    pub(super) fn union(&self, other: &Self) -> Self {
        let mut all = self.clone();
        all.member |= other.member;
        for (path_element, below) in &other.children {
            let merged = all
                .children
                .get(path_element)
                .map_or_else(|| below.clone(), |mine| mine.union(below));
            all.children.insert(path_element.clone(), merged);
        }
        all
    }

    pub(super) fn intersection(&self, other: &Self) -> Self {
        let common = self.children.iter().filter_map(|(path_element, below)| {
            let both = below.intersection(other.children.get(path_element)?);
            (!both.is_empty()).then(|| (path_element.clone(), both))
        });
        Self {
            member: self.member && other.member,
            children: common.collect(),
        }
    }

    pub(super) fn difference(&self, other: &Self) -> Self {
        let rest = self.children.iter().filter_map(|(path_element, below)| {
            let left = other
                .children
                .get(path_element)
                .map_or_else(|| below.clone(), |theirs| below.difference(theirs));
            (!left.is_empty()).then(|| (path_element.clone(), left))
        });
        Self {
            member: self.member && !other.member,
            children: rest.collect(),
        }
    }

    /// Takes a path and everything below it out.
    pub(super) fn remove_path(&mut self, path: &[&str]) {
        match path {
            [] => {}
            [last] => {
                self.children.remove(*last);
            }
            [path_element, rest @ ..] => {
                if let Some(below) = self.children.get_mut(*path_element) {
                    below.remove_path(rest);
                    if below.is_empty() {
                        self.children.remove(*path_element);
                    }
                }
            }
        }
    }

    /// Keeps only some top-level fields.
    pub(super) fn retain_top_level(&mut self, keep: impl Fn(&str) -> bool) {
        self.children.retain(|path_element, _| keep(path_element));
    }

    /// Every path in the set, as messages write it: `.spec.users[id=3]`.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut all = Vec::new();
        self.collect(String::new(), &mut all);
        all
    }

    fn collect(&self, path: String, all: &mut Vec<String>) {
        for (path_element, below) in &self.children {
            let here = format!("{path}{}", display_path_element(path_element));
            if below.member {
                all.push(here.clone());
            }
            below.collect(here, all);
        }
    }
}

/// One edge of a path as messages write it.
pub(super) fn display_path_element(path_element: &str) -> String {
    let (kind, rest) = path_element.split_at(path_element.len().min(2));
    match kind {
        "k:" => {
            let keys: BTreeMap<String, Value> = serde_json::from_str(rest).unwrap_or_default();
            let pairs: Vec<String> = keys
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            format!("[{}]", pairs.join(","))
        }
        "v:" => format!("[={rest}]"),
        "i:" => format!("[{rest}]"),
        _ => format!(".{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_set_reads_back_what_it_wrote() {
        let json = json!({"f:metadata": {"f:labels": {".": {}, "f:a": {}}, "f:finalizers": {"v:\"x\"": {}}},
            "f:status": {"f:conditions": {"k:{\"type\":\"Ready\"}": {".": {}, "f:status": {}}}}});
        let set = FieldSet::read(&json);
        assert_eq!(set.write(), json);
        assert_eq!(
            set.paths(),
            [
                ".metadata.finalizers[=\"x\"]",
                ".metadata.labels",
                ".metadata.labels.a",
                ".status.conditions[type=\"Ready\"]",
                ".status.conditions[type=\"Ready\"].status",
            ]
        );
        assert!(set.difference(&set).is_empty());
        assert_eq!(set.intersection(&set), set);
        assert_eq!(set.union(&FieldSet::default()), set);
    }
}
