//! `RichText`: formatted words inside of a block.

use serde_json::{Value, json};

use super::html::ParseError;
use super::rich_tree::{Node, Tag};

/// Tags that only change their words, with the type of their `RichText`.
const STYLES: &[(&str, &str)] = &[
    ("b", "bold"),
    ("strong", "bold"),
    ("i", "italic"),
    ("em", "italic"),
    ("u", "underline"),
    ("ins", "underline"),
    ("s", "strikethrough"),
    ("strike", "strikethrough"),
    ("del", "strikethrough"),
    ("tg-spoiler", "spoiler"),
    ("sub", "subscript"),
    ("sup", "superscript"),
    ("mark", "marked"),
    ("code", "code"),
];

/// Whether a tag stands inside of a line.
pub(super) fn is_inline(name: &str) -> bool {
    let others = ["a", "span", "tg-emoji", "tg-time", "tg-math", "br"];
    others.contains(&name) || STYLES.iter().any(|(tag, _)| *tag == name)
}

/// The nodes as one `RichText`: a string, an object, or an array of both. White space is one space, as in a browser.
pub(super) fn rich_text(nodes: &[Node]) -> Result<Value, ParseError> {
    let mut parts: Vec<Value> = Vec::new();
    for node in nodes {
        match node {
            Node::Text(text) => add_text(&mut parts, &collapsed(text)),
            Node::Tag(tag) if tag.name == "br" => add_text(&mut parts, "\n"),
            Node::Tag(tag) => parts.push(styled(tag)?),
        }
    }
    Ok(match parts.len() {
        0 => json!(""),
        1 => parts.swap_remove(0),
        _ => Value::Array(parts),
    })
}

fn add_text(parts: &mut Vec<Value>, text: &str) {
    if let Some(Value::String(last)) = parts.last_mut() {
        last.push_str(text);
    } else if !text.is_empty() {
        parts.push(json!(text));
    }
}

fn collapsed(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if !c.is_whitespace() {
            line.push(c);
        } else if !line.ends_with(' ') {
            line.push(' ');
        }
    }
    line
}

fn styled(tag: &Tag) -> Result<Value, ParseError> {
    let text = || rich_text(&tag.children);
    if let Some((_, kind)) = STYLES.iter().find(|(name, _)| *name == tag.name) {
        return Ok(json!({"type": kind, "text": text()?}));
    }
    match (
        tag.name.as_str(),
        tag.attribute("href"),
        tag.attribute("name"),
    ) {
        ("a", None, Some(name)) => Ok(json!({"type": "anchor", "name": name})),
        ("a", Some(link), _) => match link.strip_prefix('#') {
            Some(anchor) => {
                Ok(json!({"type": "anchor_link", "text": text()?, "anchor_name": anchor}))
            }
            None => Ok(json!({"type": "url", "text": text()?, "url": link})),
        },
        ("tg-math", ..) => {
            Ok(json!({"type": "mathematical_expression", "expression": tag.words()}))
        }
        ("tg-emoji", ..) => Ok(json!({
            "type": "custom_emoji",
            "custom_emoji_id": required(tag, "emoji-id")?,
            "alternative_text": tag.words(),
        })),
        ("tg-time", ..) => {
            let unix = required(tag, "unix")?;
            let unix: i64 = unix
                .parse()
                .map_err(|_| ParseError(format!("Invalid date {unix:?}")))?;
            let format = tag.attribute("format").unwrap_or_default();
            Ok(
                json!({"type": "date_time", "text": text()?, "unix_time": unix, "date_time_format": format}),
            )
        }
        ("span", ..) if tag.attribute("class") == Some("tg-spoiler") => {
            Ok(json!({"type": "spoiler", "text": text()?}))
        }
        (name, ..) => Err(ParseError(format!(
            "Tag \"{name}\" can't be used inside of a text"
        ))),
    }
}

fn required<'a>(tag: &'a Tag, name: &str) -> Result<&'a str, ParseError> {
    tag.attribute(name).ok_or_else(|| {
        ParseError(format!(
            "Tag \"{}\" must have the attribute \"{name}\"",
            tag.name
        ))
    })
}

/// The words of a `RichText`, of a `RichBlock` or of several.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().map(plain).collect(),
        Value::Object(fields) => {
            let own = ["expression", "alternative_text"]
                .into_iter()
                .filter_map(|field| fields.get(field)?.as_str());
            own.map(ToOwned::to_owned)
                .chain(fields.get("text").map(plain))
                .collect()
        }
        _ => String::new(),
    }
}
