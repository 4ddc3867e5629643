//! The `JSONPath` of printer columns: fields, indexes, `[*]` and filters such as `[?(@.type=="Ready")]`.
//!
//! The dialect is client-go's, which escapes dots in names with a backslash and starts without `$`.

use serde_json::Value;

/// A parsed path.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct JsonPath(Vec<Step>);

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(String),
    Index(i64),
    All,
    Filter {
        path: JsonPath,
        equal: bool,
        value: Option<Value>,
    },
}

impl JsonPath {
    /// Reads a path; `None` for what the dialect does not have.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim().trim_start_matches('$').trim_start_matches('@');
        let mut steps = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            if let Some(inside) = rest.strip_prefix('[') {
                let end = closing(inside)?;
                steps.push(Self::bracket(inside[..end].trim())?);
                rest = &inside[end + 1..];
            } else {
                rest = rest.strip_prefix('.').unwrap_or(rest);
                let mut name = String::new();
                let mut characters = rest.char_indices();
                let mut end = rest.len();
                while let Some((at, character)) = characters.next() {
                    match character {
                        '\\' => name.extend(characters.next().map(|(_, escaped)| escaped)),
                        '.' | '[' => {
                            end = at;
                            break;
                        }
                        other => name.push(other),
                    }
                }
                if !name.is_empty() {
                    steps.push(if name == "*" {
                        Step::All
                    } else {
                        Step::Field(name)
                    });
                } else if end == 0 && !rest.starts_with(['.', '[']) {
                    return None;
                }
                rest = &rest[end..];
            }
        }
        Some(Self(steps))
    }

    fn bracket(inside: &str) -> Option<Step> {
        if inside == "*" {
            return Some(Step::All);
        }
        if let Some(name) = unquote(inside) {
            return Some(Step::Field(name));
        }
        if let Some(filter) = inside
            .strip_prefix("?(")
            .and_then(|filter| filter.strip_suffix(')'))
        {
            let (left, equal, right) = if let Some((left, right)) = filter.split_once("==") {
                (left, true, Some(right))
            } else if let Some((left, right)) = filter.split_once("!=") {
                (left, false, Some(right))
            } else {
                (filter, true, None)
            };
            let value = match right.map(str::trim) {
                None => None,
                Some(right) => Some(match unquote(right) {
                    Some(text) => Value::from(text),
                    None => serde_json::from_str(right).ok()?,
                }),
            };
            return Some(Step::Filter {
                path: Self::parse(left)?,
                equal,
                value,
            });
        }
        inside.parse().ok().map(Step::Index)
    }

    /// The first value that the path leads to.
    pub(super) fn first<'a>(&self, root: &'a Value) -> Option<&'a Value> {
        self.all(root).into_iter().next()
    }

    fn all<'a>(&self, root: &'a Value) -> Vec<&'a Value> {
        let mut found = vec![root];
        for step in &self.0 {
            found = found
                .into_iter()
                .flat_map(|value| step.follow(value))
                .collect();
        }
        found
    }
}

impl Step {
    fn follow<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        match self {
            Self::Field(name) => value.get(name).into_iter().collect(),
            Self::Index(index) => {
                let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
                let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
                let place = if *index < 0 { length + index } else { *index };
                usize::try_from(place)
                    .ok()
                    .and_then(|place| items.get(place))
                    .into_iter()
                    .collect()
            }
            Self::All => match value {
                Value::Array(items) => items.iter().collect(),
                Value::Object(fields) => fields.values().collect(),
                _ => Vec::new(),
            },
            Self::Filter {
                path,
                equal,
                value: wanted,
            } => {
                let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
                let keeps = |item: &&Value| match (path.first(item), wanted) {
                    (Some(_), None) => true,
                    (Some(found), Some(wanted)) => (found == wanted) == *equal,
                    (None, _) => false,
                };
                items.iter().filter(keeps).collect()
            }
        }
    }
}

/// Where the bracket that is open at the start of `text` closes.
fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut depth = 0;
    for (at, character) in text.char_indices() {
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(character),
            (None, '[') => depth += 1,
            (None, ']') if depth == 0 => return Some(at),
            (None, ']') => depth -= 1,
            _ => {}
        }
    }
    None
}

fn unquote(text: &str) -> Option<String> {
    let inner = |quote: char| {
        text.strip_prefix(quote)?
            .strip_suffix(quote)
            .map(str::to_owned)
    };
    inner('\'').or_else(|| inner('"'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_finds_what_kubectl_would() {
        let object = json!({
            "metadata": {"labels": {"app.kubernetes.io/name": "x"}},
            "status": {"conditions": [{"type": "A", "status": "no"}, {"type": "Ready", "status": "True", "n": 3}]},
        });
        let first =
            |path: &str| JsonPath::parse(path).and_then(|path| path.first(&object).cloned());
        assert_eq!(
            first(r#".status.conditions[?(@.type=="Ready")].status"#),
            Some(json!("True"))
        );
        assert_eq!(
            first(".status.conditions[?(@.type=='Ready')].n"),
            Some(json!(3))
        );
        assert_eq!(
            first(".status.conditions[?(@.n==3)].type"),
            Some(json!("Ready"))
        );
        assert_eq!(first(".status.conditions[-1].type"), Some(json!("Ready")));
        assert_eq!(first(".status.conditions[*].type"), Some(json!("A")));
        assert_eq!(
            first(r".metadata.labels.app\.kubernetes\.io/name"),
            Some(json!("x"))
        );
        assert_eq!(
            first(".metadata.labels['app.kubernetes.io/name']"),
            Some(json!("x"))
        );
        assert_eq!(first(".status.nothing"), None);
    }
}
