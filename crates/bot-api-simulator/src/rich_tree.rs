//! The HTML of a rich message as a tree of tags and texts.

use super::html::ParseError;

/// A tag with its content, or a text.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Text(String),
    Tag(Tag),
}

/// A tag in lower case.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Tag {
    pub name: String,
    pub attributes: Vec<(String, String)>,
    pub children: Vec<Node>,
}

impl Tag {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }

    #[must_use]
    pub(super) fn with(mut self, attribute: &str, value: &str) -> Self {
        self.attributes
            .push((attribute.to_owned(), value.to_owned()));
        self
    }

    /// The value of an attribute.
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        let mut found = self.attributes.iter().filter(|(known, _)| known == name);
        found.next().map(|(_, value)| value.as_str())
    }

    /// The tags of a name directly in it.
    pub(super) fn children_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Tag> {
        self.children.iter().filter_map(move |child| match child {
            Node::Tag(tag) if tag.name == name => Some(tag),
            _ => None,
        })
    }

    /// Everything written in it, without tags.
    pub(super) fn words(&self) -> String {
        let mut words = String::new();
        for child in &self.children {
            match child {
                Node::Text(text) => words.push_str(text),
                Node::Tag(tag) => words.push_str(&tag.words()),
            }
        }
        words
    }
}

const VOID: &str = "br hr input img tg-map";
const KNOWN: &str = "a aside audio b blockquote br caption cite code del details em figcaption footer h1 h2 h3 h4 h5 h6 hr i img input ins li mark ol p \
pre s span strike strong sub summary sup table tbody td tfoot tg-collage tg-emoji tg-map tg-math tg-math-block tg-slideshow tg-spoiler tg-thinking tg-time th \
thead tr u ul video";

/// Parses HTML strictly: known tags only, each closed in its turn.
///
/// # Errors
/// Words as those of `parse_mode=HTML`.
pub(super) fn parse(html: &str) -> Result<Vec<Node>, ParseError> {
    // The last is the innermost open tag; the first stands for the whole text.
    let mut open = vec![Tag::default()];
    let mut at = 0;
    while at < html.len() {
        let rest = &html[at..];
        let Some(inside) = rest.strip_prefix('<') else {
            let end = rest.find('<').unwrap_or(rest.len());
            add(&mut open, Node::Text(unescaped(&rest[..end])));
            at += end;
            continue;
        };
        let end = tag_end(inside)
            .ok_or_else(|| ParseError(format!("Unclosed start tag at byte offset {at}")))?;
        let source = &inside[..end];
        if let Some(name) = source.strip_prefix('/') {
            close(&mut open, name.trim(), at)?;
        } else {
            start(&mut open, source, at)?;
        }
        at += end + 2;
    }
    let root = open.remove(0);
    match open.first() {
        Some(tag) => Err(ParseError(format!(
            "Can't find end tag corresponding to start tag \"{}\"",
            tag.name
        ))),
        None => Ok(root.children),
    }
}

fn add(open: &mut [Tag], node: Node) {
    if let Some(innermost) = open.last_mut() {
        innermost.children.push(node);
    }
}

/// Where a tag's `>` is, quoted values aside.
fn tag_end(inside: &str) -> Option<usize> {
    let mut quote = None;
    inside
        .char_indices()
        .find(|(_, c)| match (quote, c) {
            (None, '>') => true,
            (None, '"' | '\'') => {
                quote = Some(*c);
                false
            }
            (Some(open), c) if open == *c => {
                quote = None;
                false
            }
            _ => false,
        })
        .map(|(at, _)| at)
}

fn start(open: &mut Vec<Tag>, source: &str, at: usize) -> Result<(), ParseError> {
    let closes_itself = source.ends_with('/');
    let source = source.trim_end_matches('/').trim();
    let end = source.find(char::is_whitespace).unwrap_or(source.len());
    let name = source[..end].to_ascii_lowercase();
    if !is_in(KNOWN, &name) {
        return Err(ParseError(format!(
            "Unsupported start tag \"{name}\" at byte offset {at}"
        )));
    }
    let tag = Tag {
        attributes: attributes(&source[end..]),
        ..Tag::new(&name)
    };
    if closes_itself || is_in(VOID, &name) {
        add(open, Node::Tag(tag));
    } else {
        open.push(tag);
    }
    Ok(())
}

fn close(open: &mut Vec<Tag>, name: &str, at: usize) -> Result<(), ParseError> {
    if open.len() < 2 {
        return Err(ParseError(format!(
            "Unexpected end tag at byte offset {at}"
        )));
    }
    let Some(tag) = open.pop() else { return Ok(()) };
    if !tag.name.eq_ignore_ascii_case(name) {
        return Err(ParseError(format!(
            "Unmatched end tag at byte offset {at}, expected \"</{}>\", found \"</{name}>\"",
            tag.name
        )));
    }
    add(open, Node::Tag(tag));
    Ok(())
}

fn attributes(mut source: &str) -> Vec<(String, String)> {
    let mut read = Vec::new();
    loop {
        source = source.trim_start();
        let end = source
            .find(|c: char| c == '=' || c.is_whitespace())
            .unwrap_or(source.len());
        let name = source[..end].to_ascii_lowercase();
        if name.is_empty() {
            return read;
        }
        let rest = &source[end..];
        let Some(rest) = rest.strip_prefix('=') else {
            read.push((name, String::new()));
            source = rest;
            continue;
        };
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''));
        let (value, after) = match quote {
            Some(quote) => rest[1..].split_once(quote).unwrap_or((&rest[1..], "")),
            None => {
                let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                rest.split_at(end)
            }
        };
        read.push((name, unescaped(value)));
        source = after;
    }
}

fn unescaped(text: &str) -> String {
    let mut plain = text.to_owned();
    for (reference, c) in [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&amp;", "&"),
    ] {
        plain = plain.replace(reference, c);
    }
    plain
}

fn is_in(list: &str, name: &str) -> bool {
    list.split(' ').any(|known| known == name)
}
