//! Splits a text that is too long for a rich message: between blocks, so that no table is torn that fits one. Of a longer table, each part has the
//! head.

use std::borrow::Cow;
use std::ops::Range;

use pulldown_cmark::{Event, Parser, Tag};

use super::document::Document;
use super::size::{MAX_BLOCKS, MAX_CHARACTERS};
use super::{AnswerMessage, Target, format, rich_message, text_messages};
use crate::telegram::markdown::blocks::OPTIONS;

/// The longest head of a table that is repeated, in bytes.
const MAX_HEAD_BYTES: usize = 2 << 10;

/// The messages of a source, in order.
pub(super) fn messages(source: &str) -> Vec<AnswerMessage> {
    let mut messages = Vec::new();
    // What stands together without a table or formula is split as texts are.
    let mut text = String::new();
    for group in groups(source) {
        let document = Document::of(&format(&group, Target::Rich));
        if document.size.needs_rich_message() && !document.size.is_too_big() {
            add_texts(&mut messages, &mut text);
            messages.push(rich_message(document, &group));
        } else {
            text.push_str(&group);
        }
    }
    add_texts(&mut messages, &mut text);
    messages
}

fn add_texts(messages: &mut Vec<AnswerMessage>, source: &mut String) {
    let texts = text_messages(&std::mem::take(source));
    messages.extend(texts.into_iter().map(AnswerMessage::Text));
}

/// An outermost block of a source, and how big it is at most.
#[derive(Default)]
struct Block {
    range: Range<usize>,
    is_table: bool,
    blocks: usize,
    characters: usize,
}

/// Stretches of a source, one behind the other without a gap, that fit a rich message each as far as their blocks do.
fn groups(source: &str) -> Vec<Cow<'_, str>> {
    let blocks = blocks(source);
    let mut groups = Vec::new();
    let mut start = 0;
    let (mut count, mut characters) = (0, 0);
    for (number, block) in blocks.iter().enumerate() {
        let begin = if number == 0 { 0 } else { block.range.start };
        let fits = |count, characters| count <= MAX_BLOCKS && characters <= MAX_CHARACTERS;
        if begin > start && !fits(count + block.blocks, characters + block.characters) {
            groups.push(Cow::Borrowed(&source[start..begin]));
            (start, count, characters) = (begin, 0, 0);
        }
        (count, characters) = (count + block.blocks, characters + block.characters);
        if block.is_table && !fits(block.blocks, block.characters) {
            let table = block.range.clone();
            groups
                .extend((table.start > start).then(|| Cow::Borrowed(&source[start..table.start])));
            let parts = table_parts(&source[table]);
            groups.extend(parts.into_iter().map(Cow::Owned));
            (start, count, characters) = (block.range.end, 0, 0);
        }
    }
    groups.push(Cow::Borrowed(&source[start..]));
    groups
}

/// The outermost blocks. What they hold is counted from above: a mark and a tag may be a character, and a tag a block.
fn blocks(source: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut depth: usize = 0;
    for (event, range) in Parser::new_ext(source, OPTIONS).into_offset_iter() {
        if depth == 0 && !matches!(event, Event::End(_)) {
            blocks.push(Block {
                is_table: matches!(event, Event::Start(Tag::Table(_))),
                characters: source[range.clone()].chars().count(),
                range,
                blocks: 0,
            });
        }
        if let Some(block) = blocks.last_mut() {
            block.blocks += match &event {
                // Its text may be a paragraph of its own.
                Event::Start(Tag::Item | Tag::HtmlBlock) => 2,
                Event::Start(tag) if is_inline(tag) => 0,
                Event::Start(_) | Event::Rule => 1,
                Event::Html(html) => html.matches('<').count(),
                _ => 0,
            };
        }
        match event {
            Event::Start(_) => depth += 1,
            Event::End(_) => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    blocks
}

fn is_inline(tag: &Tag<'_>) -> bool {
    matches!(
        tag,
        Tag::Emphasis
            | Tag::Strong
            | Tag::Strikethrough
            | Tag::Link { .. }
            | Tag::Image { .. }
            | Tag::TableCell
    )
}

/// A table as several, each with the head.
fn table_parts(table: &str) -> Vec<String> {
    let mut lines = table.split_inclusive('\n');
    let head: String = lines.by_ref().take(2).collect();
    if head.len() > MAX_HEAD_BYTES {
        return vec![table.to_owned()];
    }
    let mut parts = vec![head.clone()];
    // The table and its head are blocks, too.
    let (mut rows, mut characters) = (2, head.len());
    for line in lines {
        if rows == MAX_BLOCKS || characters + line.len() > MAX_CHARACTERS {
            // An empty line ends the table before.
            parts.push(format!("\n{head}"));
            (rows, characters) = (2, head.len());
        }
        if let Some(part) = parts.last_mut() {
            part.push_str(line);
        }
        (rows, characters) = (rows + 1, characters + line.len());
    }
    parts
}
