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
            .filter(|(edge, _)| *edge != ".")
            .map(|(edge, below)| (edge.clone(), Self::read(below)))
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
            .map(|(edge, below)| (edge.clone(), below.write()))
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
            [edge, rest @ ..] => self.children.entry(edge.clone()).or_default().insert(rest),
        }
    }

    pub(super) fn union(&self, other: &Self) -> Self {
        let mut all = self.clone();
        all.member |= other.member;
        for (edge, below) in &other.children {
            let merged = all
                .children
                .get(edge)
                .map_or_else(|| below.clone(), |mine| mine.union(below));
            all.children.insert(edge.clone(), merged);
        }
        all
    }

    pub(super) fn intersection(&self, other: &Self) -> Self {
        let common = self.children.iter().filter_map(|(edge, below)| {
            let both = below.intersection(other.children.get(edge)?);
            (!both.is_empty()).then(|| (edge.clone(), both))
        });
        Self {
            member: self.member && other.member,
            children: common.collect(),
        }
    }

    pub(super) fn difference(&self, other: &Self) -> Self {
        let rest = self.children.iter().filter_map(|(edge, below)| {
            let left = other
                .children
                .get(edge)
                .map_or_else(|| below.clone(), |theirs| below.difference(theirs));
            (!left.is_empty()).then(|| (edge.clone(), left))
        });
        Self {
            member: self.member && !other.member,
            children: rest.collect(),
        }
    }

    /// Takes a path and everything below it out.
    pub(super) fn cut(&mut self, path: &[&str]) {
        match path {
            [] => {}
            [last] => {
                self.children.remove(*last);
            }
            [edge, rest @ ..] => {
                if let Some(below) = self.children.get_mut(*edge) {
                    below.cut(rest);
                    if below.is_empty() {
                        self.children.remove(*edge);
                    }
                }
            }
        }
    }

    /// Keeps only some top-level fields.
    pub(super) fn keep_top(&mut self, keep: impl Fn(&str) -> bool) {
        self.children.retain(|edge, _| keep(edge));
    }

    /// Every path in the set, as messages write it: `.spec.users[id=3]`.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut all = Vec::new();
        self.collect(String::new(), &mut all);
        all
    }

    fn collect(&self, path: String, all: &mut Vec<String>) {
        for (edge, below) in &self.children {
            let here = format!("{path}{}", shown(edge));
            if below.member {
                all.push(here.clone());
            }
            below.collect(here, all);
        }
    }
}

/// One edge of a path as messages write it.
pub(super) fn shown(edge: &str) -> String {
    let (kind, rest) = edge.split_at(edge.len().min(2));
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
