//! Strategic merge: a merge patch that knows which lists are maps or sets, and takes orders (`$patch`, …).
//!
//! Source: apimachinery `pkg/util/strategicpatch`.

use serde_json::{Map, Value};

use crate::schema::{ListType, StructuralSchema};

/// Merges `patch` into `target`.
pub(super) fn merge(
    target: &mut Value,
    patch: &Value,
    schema: &StructuralSchema,
) -> Result<(), String> {
    let Value::Object(patch) = patch else {
        return Err("error decoding patch: a strategic merge patch is an object".into());
    };
    merge_object(target, patch, Some(schema))
}

fn merge_object(
    target: &mut Value,
    patch: &Map<String, Value>,
    schema: Option<&StructuralSchema>,
) -> Result<(), String> {
    match patch.get("$patch").and_then(Value::as_str) {
        Some("replace") => {
            let kept = patch.iter().filter(|(key, _)| *key != "$patch");
            *target = Value::Object(
                kept.map(|(key, value)| (key.clone(), value.clone()))
                    .collect(),
            );
            return Ok(());
        }
        Some("delete") => {
            *target = Value::Object(Map::new());
            return Ok(());
        }
        None | Some("merge") => {}
        Some(other) => return Err(format!("unrecognized $patch directive: {other}")),
    }
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let fields = target.as_object_mut().expect("made an object above");
    if let Some(kept) = patch.get("$retainKeys").and_then(Value::as_array) {
        fields.retain(|key, _| kept.iter().any(|name| name == key));
    }
    for (key, change) in patch {
        if let Some(list) = key.strip_prefix("$deleteFromPrimitiveList/") {
            let gone = change.as_array().map(Vec::as_slice).unwrap_or_default();
            if let Some(items) = fields.get_mut(list).and_then(Value::as_array_mut) {
                items.retain(|item| !gone.contains(item));
            }
            continue;
        }
        if key.starts_with('$') {
            continue;
        }
        let known = schema.and_then(|schema| schema.field(key));
        match change {
            Value::Null => {
                fields.remove(key);
            }
            Value::Object(change) => {
                merge_object(
                    fields.entry(key.clone()).or_insert(Value::Null),
                    change,
                    known,
                )?;
            }
            Value::Array(change) => {
                let merged = merge_list(fields.get(key), change, known)?;
                fields.insert(key.clone(), merged);
            }
            scalar => {
                fields.insert(key.clone(), scalar.clone());
            }
        }
    }
    for (key, order) in patch {
        if let Some(list) = key.strip_prefix("$setElementOrder/")
            && let (Some(items), Some(order)) = (
                fields.get_mut(list).and_then(Value::as_array_mut),
                order.as_array(),
            )
        {
            let known = schema.and_then(|schema| schema.field(list));
            sort_by(items, order, known);
        }
    }
    Ok(())
}

fn merge_list(
    current: Option<&Value>,
    change: &[Value],
    schema: Option<&StructuralSchema>,
) -> Result<Value, String> {
    let current = current
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let replace = change
        .iter()
        .any(|item| item.get("$patch").and_then(Value::as_str) == Some("replace"));
    let plain = || {
        change
            .iter()
            .filter(|item| item.get("$patch").is_none())
            .cloned()
            .collect::<Vec<_>>()
    };
    if replace {
        return Ok(Value::Array(plain()));
    }
    match schema.map(|schema| &schema.list_type) {
        Some(ListType::Set) => {
            // What the patch names comes first, as on the server.
            let mut items: Vec<Value> = Vec::new();
            for item in change.iter().chain(current) {
                if !items.contains(item) {
                    items.push(item.clone());
                }
            }
            Ok(Value::Array(items))
        }
        Some(ListType::Map(keys)) => {
            let element = schema.and_then(|schema| schema.items.as_deref());
            let mut items = current.to_vec();
            for item in change {
                let same = |known: &Value| keys.iter().all(|key| known.get(key) == item.get(key));
                if keys.iter().any(|key| item.get(key).is_none()) {
                    return Err(format!(
                        "map: {item} does not contain declared merge key: {}",
                        keys.join(", ")
                    ));
                }
                if item.get("$patch").and_then(Value::as_str) == Some("delete") {
                    items.retain(|known| !same(known));
                    continue;
                }
                let change = item.as_object().cloned().unwrap_or_default();
                if let Some(known) = items.iter_mut().find(|known| same(known)) {
                    merge_object(known, &change, element)?;
                } else {
                    let mut fresh = Value::Null;
                    merge_object(&mut fresh, &change, element)?;
                    items.push(fresh);
                }
            }
            Ok(Value::Array(items))
        }
        _ => Ok(Value::Array(plain())),
    }
}

/// Items that the order names come in that order; the others keep their places behind their neighbours.
fn sort_by(items: &mut [Value], order: &[Value], schema: Option<&StructuralSchema>) {
    let keys: &[String] = match schema.map(|schema| &schema.list_type) {
        Some(ListType::Map(keys)) => keys,
        _ => &[],
    };
    let place = |item: &Value| {
        order.iter().position(|wanted| {
            if keys.is_empty() {
                wanted == item
            } else {
                keys.iter().all(|key| wanted.get(key) == item.get(key))
            }
        })
    };
    items.sort_by_key(|item| place(item).unwrap_or(usize::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema() -> StructuralSchema {
        StructuralSchema::parse(&json!({"type": "object", "properties": {
            "owners": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["uid"],
                "items": {"type": "object", "properties": {"uid": {"type": "string"}, "n": {"type": "integer"}}}},
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "list": {"type": "array", "items": {"type": "string"}},
            "data": {"type": "object", "additionalProperties": {"type": "string"}},
        }}))
    }

    #[test]
    fn lists_merge_by_their_type_and_take_orders() {
        let cases = [
            (
                json!({"owners": [{"uid": "a", "n": 1}]}),
                json!({"owners": [{"uid": "b", "n": 2}, {"uid": "a", "n": 3}]}),
                json!({"owners": [{"uid": "a", "n": 3}, {"uid": "b", "n": 2}]}),
            ),
            (
                json!({"owners": [{"uid": "a"}, {"uid": "b"}]}),
                json!({"owners": [{"$patch": "delete", "uid": "a"}]}),
                json!({"owners": [{"uid": "b"}]}),
            ),
            (
                json!({"owners": [{"uid": "a"}]}),
                json!({"owners": [{"$patch": "replace"}, {"uid": "c"}]}),
                json!({"owners": [{"uid": "c"}]}),
            ),
            (
                json!({"set": ["x", "y"]}),
                json!({"set": ["z"], "$deleteFromPrimitiveList/set": ["x"]}),
                json!({"set": ["z", "y"]}),
            ),
            (
                json!({"set": ["x", "y"]}),
                json!({"$setElementOrder/set": ["y", "x"]}),
                json!({"set": ["y", "x"]}),
            ),
            (
                json!({"list": ["x"]}),
                json!({"list": ["y"]}),
                json!({"list": ["y"]}),
            ),
            (
                json!({"data": {"a": "1", "b": "2"}}),
                json!({"data": {"a": null, "c": "3"}}),
                json!({"data": {"b": "2", "c": "3"}}),
            ),
            (
                json!({"data": {"a": "1"}}),
                json!({"data": {"$patch": "replace", "b": "2"}}),
                json!({"data": {"b": "2"}}),
            ),
        ];
        for (mut target, patch, wanted) in cases {
            merge(&mut target, &patch, &schema()).expect("a good patch");
            assert_eq!(target, wanted, "{patch}");
        }
    }
}
