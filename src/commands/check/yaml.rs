//! Parses YAML (and so JSON) into a tree with line numbers, which findings need.
//!
//! The parser is `granit-parser`, which `kube` uses for kubeconfig files; it reports events with positions, from which the tree is
//! built here. Anchors, aliases and merge keys are resolved; a node from an alias has the line of its anchor.

use std::collections::HashMap;
use std::rc::Rc;

use granit_parser::{Event, Options, Parser, ScalarStyle, Tag};
use serde_json::{Map, Value};

use super::scalar;

/// The most nodes of a document with its aliases expanded, against exponential growth.
const MAX_NODES: usize = 1_000_000;

/// A value and the line (from 1) on which it begins.
#[derive(Debug)]
pub(super) struct Node {
    line: usize,
    kind: NodeKind,
    /// The number of nodes below this one and itself, with aliases expanded.
    size: usize,
}

#[derive(Debug)]
enum NodeKind {
    Scalar(Value),
    Map(Vec<Field>),
    List(Vec<Rc<Node>>),
}

#[derive(Debug, Clone)]
struct Field {
    key: String,
    line: usize,
    value: Rc<Node>,
}

/// One document of a file.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) root: Rc<Node>,
    /// Keys that occur twice in one mapping.
    pub(super) duplicate_keys: Vec<DuplicateKey>,
}

/// A key that occurs twice in one mapping.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DuplicateKey {
    pub(super) key: String,
    pub(super) line: usize,
    pub(super) first: usize,
}

/// Where and why a file is not YAML.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SyntaxError {
    pub(super) line: usize,
    pub(super) what: String,
}

/// Parses the documents of a file in order. An invalid document is an error in its position; the following ones are still parsed.
pub(super) fn documents(text: &str) -> Vec<Result<Document, SyntaxError>> {
    let mut options = Options::default();
    options.set_emit_comments(false);
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut documents = Vec::new();
    let mut builder = Builder::default();
    loop {
        match parser.next_event() {
            None => return documents,
            Some(Ok((event, span))) => match builder.handle_event(event, span.start.line()) {
                Ok(Some(document)) => documents.push(Ok(document)),
                Ok(None) => {}
                Err(error) => {
                    documents.push(Err(error));
                    builder = Builder::default();
                    if !matches!(parser.proceed_next_document(), Ok(true)) {
                        return documents;
                    }
                }
            },
            Some(Err(error)) => {
                documents.push(Err(SyntaxError {
                    line: error.marker().line(),
                    what: error.info(),
                }));
                builder = Builder::default();
                if !matches!(parser.proceed_next_document(), Ok(true)) {
                    return documents;
                }
            }
        }
    }
}

impl Node {
    fn new(line: usize, kind: NodeKind) -> Self {
        let size = 1 + match &kind {
            NodeKind::Scalar(_) => 0,
            NodeKind::Map(fields) => fields.iter().map(|field| field.value.size).sum(),
            NodeKind::List(items) => items.iter().map(|item| item.size).sum(),
        };
        Self { line, kind, size }
    }

    /// The value without line numbers.
    pub(super) fn to_json(&self) -> Value {
        match &self.kind {
            NodeKind::Scalar(value) => value.clone(),
            NodeKind::Map(fields) => Value::Object(
                fields
                    .iter()
                    .map(|field| (field.key.clone(), field.value.to_json()))
                    .collect::<Map<_, _>>(),
            ),
            NodeKind::List(items) => {
                Value::Array(items.iter().map(|item| item.to_json()).collect())
            }
        }
    }

    /// Whether this is an empty document.
    pub(super) fn is_null(&self) -> bool {
        matches!(self.kind, NodeKind::Scalar(Value::Null))
    }

    /// The items of a list under a key.
    pub(super) fn items(&self, key: &str) -> &[Rc<Node>] {
        match self.field(key).map(|field| &field.value.kind) {
            Some(NodeKind::List(items)) => items,
            _ => &[],
        }
    }

    /// The line of a path such as `spec.users[3].id`; of its longest existing prefix if something is missing.
    pub(super) fn line_of(&self, path: &str) -> usize {
        let mut node = self;
        let mut line = self.line;
        let mut rest = path;
        while let Some((next_line, next, left)) = node.step(rest) {
            line = next_line;
            node = next;
            rest = left;
        }
        line
    }

    /// Resolves the first segment of a path: its line, its node, and the rest of the path. Keys may contain dots, as those of labels do.
    fn step<'a, 'p>(&'a self, path: &'p str) -> Option<(usize, &'a Node, &'p str)> {
        match &self.kind {
            NodeKind::Map(fields) => {
                let path = path.strip_prefix('.').unwrap_or(path);
                let left = |field: &Field| {
                    let left = path.strip_prefix(field.key.as_str())?;
                    (left.is_empty() || left.starts_with(['.', '['])).then_some(left)
                };
                let field = fields
                    .iter()
                    .filter(|field| left(field).is_some())
                    .max_by_key(|field| field.key.len())?;
                Some((field.line, &field.value, left(field)?))
            }
            NodeKind::List(items) => {
                let (index, left) = path.strip_prefix('[')?.split_once(']')?;
                let item = items.get(index.parse::<usize>().ok()?)?;
                Some((item.line, item, left))
            }
            NodeKind::Scalar(_) => None,
        }
    }

    fn field(&self, key: &str) -> Option<&Field> {
        match &self.kind {
            NodeKind::Map(fields) => fields.iter().find(|field| field.key == key),
            _ => None,
        }
    }
}

/// A collection that is not complete yet.
enum OpenCollection {
    Map {
        line: usize,
        anchor: usize,
        fields: Vec<Field>,
        merged: Vec<Rc<Node>>,
        key: Option<(String, usize)>,
    },
    List {
        line: usize,
        anchor: usize,
        items: Vec<Rc<Node>>,
    },
}

#[derive(Default)]
struct Builder {
    open: Vec<OpenCollection>,
    anchors: HashMap<usize, Rc<Node>>,
    duplicate_keys: Vec<DuplicateKey>,
    root: Option<Rc<Node>>,
}

impl Builder {
    fn handle_event(
        &mut self,
        event: Event<'_>,
        line: usize,
    ) -> Result<Option<Document>, SyntaxError> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar_value(&text, style, tag.as_deref());
                self.insert_node(
                    Rc::new(Node::new(line, NodeKind::Scalar(value))),
                    anchor,
                    line,
                )?;
            }
            Event::MappingStart(_, anchor, _) => self.open.push(OpenCollection::Map {
                line,
                anchor,
                fields: Vec::new(),
                merged: Vec::new(),
                key: None,
            }),
            Event::SequenceStart(_, anchor, _) => self.open.push(OpenCollection::List {
                line,
                anchor,
                items: Vec::new(),
            }),
            Event::MappingEnd | Event::SequenceEnd => self.close(line)?,
            Event::Alias(id) => {
                let node = self.anchors.get(&id).cloned().ok_or_else(|| SyntaxError {
                    line,
                    what: "an alias inside its own anchor".into(),
                })?;
                self.insert_node(node, 0, line)?;
            }
            Event::DocumentEnd => {
                let finished = std::mem::take(self);
                return Ok(finished.root.map(|root| Document {
                    root,
                    duplicate_keys: finished.duplicate_keys,
                }));
            }
            _ => {}
        }
        Ok(None)
    }

    fn close(&mut self, line: usize) -> Result<(), SyntaxError> {
        match self.open.pop() {
            Some(OpenCollection::List {
                line,
                anchor,
                items,
            }) => self.insert_node(
                Rc::new(Node::new(line, NodeKind::List(items))),
                anchor,
                line,
            ),
            Some(OpenCollection::Map {
                line,
                anchor,
                mut fields,
                merged,
                ..
            }) => {
                merge(&mut fields, &merged);
                self.insert_node(
                    Rc::new(Node::new(line, NodeKind::Map(fields))),
                    anchor,
                    line,
                )
            }
            None => Err(SyntaxError {
                line,
                what: "the end of a collection that did not begin".into(),
            }),
        }
    }

    /// Adds a finished node to the open collection, as a key or a value, or makes it the document.
    fn insert_node(
        &mut self,
        node: Rc<Node>,
        anchor: usize,
        line: usize,
    ) -> Result<(), SyntaxError> {
        if node.size > MAX_NODES {
            return Err(SyntaxError {
                line,
                what: format!("aliases make this document longer than {MAX_NODES} values"),
            });
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(OpenCollection::List { items, .. }) => items.push(node),
            Some(OpenCollection::Map {
                fields,
                merged,
                key,
                ..
            }) => match key.take() {
                None => *key = Some((key_text(&node, line)?, line)),
                Some((name, _)) if name == "<<" && !matches!(node.kind, NodeKind::Scalar(_)) => {
                    merged.push(node);
                }
                Some((name, line)) => match fields.iter().find(|field| field.key == name) {
                    Some(first) => self.duplicate_keys.push(DuplicateKey {
                        key: name,
                        line,
                        first: first.line,
                    }),
                    None => fields.push(Field {
                        key: name,
                        line,
                        value: node,
                    }),
                },
            },
        }
        Ok(())
    }
}

/// Merges the mappings of `<<`: keys of the mapping itself take precedence, then those of the first mapping.
fn merge(fields: &mut Vec<Field>, merged: &[Rc<Node>]) {
    for source in merged {
        match &source.kind {
            NodeKind::Map(more) => {
                for field in more {
                    if !fields.iter().any(|known| known.key == field.key) {
                        fields.push(field.clone());
                    }
                }
            }
            NodeKind::List(sources) => merge(fields, sources),
            NodeKind::Scalar(_) => {}
        }
    }
}

fn key_text(node: &Node, line: usize) -> Result<String, SyntaxError> {
    match &node.kind {
        NodeKind::Scalar(Value::String(text)) => Ok(text.clone()),
        NodeKind::Scalar(other) => Ok(other.to_string()),
        _ => Err(SyntaxError {
            line,
            what: "a list or mapping as a key: Kubernetes objects have text keys only".into(),
        }),
    }
}

fn scalar_value(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Value {
    match tag.and_then(Tag::core_suffix) {
        Some("str" | "binary") => Value::String(text.to_owned()),
        Some(_) => scalar::parse_plain(text),
        None if style == ScalarStyle::Plain => scalar::parse_plain(text),
        None => Value::String(text.to_owned()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn one(text: &str) -> Document {
        documents(text).into_iter().next().unwrap().unwrap()
    }

    #[test]
    fn lines_are_those_of_keys_and_items() {
        let text = "a:\n  b: 1\n  c:\n    - x: 1\n    - {x: 2,\n       w: 3}\n---\nz: 1\n";
        let documents: Vec<_> = documents(text).into_iter().map(Result::unwrap).collect();
        assert_eq!(documents.len(), 2);
        let root = &documents[0].root;
        assert_eq!(
            root.to_json(),
            json!({"a": {"b": 1, "c": [{"x": 1}, {"x": 2, "w": 3}]}})
        );
        let lines =
            ["a", "a.b", "a.c", "a.c[0].x", "a.c[1]", "a.c[1].w"].map(|path| root.line_of(path));
        assert_eq!(lines, [1, 2, 3, 4, 5, 6]);
        assert_eq!(
            root.line_of("a.missing.field"),
            1,
            "the line of what it is missing from"
        );
        assert_eq!(documents[1].root.line_of("z"), 8);
    }

    #[test]
    fn anchors_aliases_and_merge_keys_are_resolved_with_their_lines() {
        let document =
            one("base: &base\n  x: 1\n  w: 2\nuse:\n  <<: *base\n  w: 3\nlist: [*base]\n");
        assert_eq!(
            document.root.to_json(),
            json!({"base": {"x": 1, "w": 2}, "use": {"w": 3, "x": 1}, "list": [{"x": 1, "w": 2}]})
        );
        assert_eq!(document.root.line_of("use.x"), 2);
        assert_eq!(document.root.line_of("use.w"), 6);
    }

    #[test]
    fn duplicate_keys_are_reported_with_both_lines() {
        let document = one("a: 1\nb: 2\na: 3\n");
        let wanted = DuplicateKey {
            key: "a".into(),
            line: 3,
            first: 1,
        };
        assert_eq!(document.duplicate_keys, [wanted]);
    }

    #[test]
    fn invalid_document_is_reported_and_the_next_is_read() {
        let found = documents("a: [1, 2\n---\nb: 1\n");
        assert_eq!(found.len(), 2);
        assert!(found[0].as_ref().unwrap_err().line <= 2);
        assert_eq!(found[1].as_ref().unwrap().root.to_json(), json!({"b": 1}));
    }

    #[test]
    fn alias_expansion_is_bounded() {
        let mut lines = vec!["a0: &a0 [x, x, x, x, x, x, x, x, x, x]".to_owned()];
        for level in 1..9 {
            let before = vec![format!("*a{}", level - 1); 10].join(", ");
            lines.push(format!("a{level}: &a{level} [{before}]"));
        }
        assert!(documents(&lines.join("\n")).iter().any(Result::is_err));
    }

    #[test]
    fn json_is_read_with_lines() {
        let document = one("{\n  \"a\": {\n    \"b\": \"\\u00e9\"\n  }\n}\n");
        assert_eq!(document.root.to_json(), json!({"a": {"b": "é"}}));
        assert_eq!(document.root.line_of("a.b"), 3);
    }
}
