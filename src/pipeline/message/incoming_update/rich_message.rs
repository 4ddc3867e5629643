//! A rich message (Bot API 10.1: blocks instead of a text) as Markdown, with the mentions and commands in it.
//!
//! Blocks and marks that this version does not know give the words in them.

mod writer;

use crate::telegram::json::{JsonObject, JsonValue};

use super::entities::{self, Entity, EntityKind};
use writer::MarkdownWriter;

/// What is nested deeper than this is left out: each level is read anew, and Telegram's apps nest far less.
const MAX_DEPTH: usize = 32;
/// A table has at most so many columns (Bot API, rich messages).
const MAX_COLUMNS: usize = 20;

/// The words of a message's `rich_message`; `None` where there is none, or nothing is said in it.
pub(crate) fn read(message: &JsonObject<'_>) -> Option<(String, Vec<Entity>)> {
    let rich = message.object("rich_message")?;
    let mut writer = MarkdownWriter::default();
    blocks(&mut writer, &rich, 0);
    let (text, entities) = writer.finish();
    (!text.trim().is_empty()).then_some((text, entities))
}

/// The blocks in an object, with a blank line between them.
fn blocks(writer: &mut MarkdownWriter, parent: &JsonObject<'_>, depth: usize) {
    if depth >= MAX_DEPTH {
        return;
    }
    for (n, block) in parent.objects("blocks").iter().enumerate() {
        if n > 0 && writer.is_nested() && block.text("type").as_deref() == Some("list") {
            writer.line();
        } else if n > 0 {
            writer.blank_line();
        }
        write_block(writer, block, depth + 1);
    }
}

fn write_block(writer: &mut MarkdownWriter, block: &JsonObject<'_>, depth: usize) {
    match block.text("type").as_deref().unwrap_or_default() {
        "heading" => {
            let size = block.integer("size").unwrap_or(1).clamp(1, 6);
            writer.mark(&"######"[..usize::try_from(size).unwrap_or(1)]);
            writer.mark(" ");
            rich_text(writer, block.value("text"), depth);
        }
        "pre" => {
            let code = plain(block.value("text"), depth);
            let language = block.text("language");
            writer.text(&entities::code_block(&code, language.as_deref()));
        }
        "divider" => writer.text("---"),
        "mathematical_expression" => {
            let formula = block.text("expression").unwrap_or_default();
            writer.text(&format!("$${formula}$$"));
        }
        "list" => list(writer, block, depth),
        "table" => table(writer, block, depth),
        "blockquote" | "pullquote" => {
            writer.mark("> ");
            writer.indented("> ", |writer| {
                words(writer, block, depth);
                credit(writer, block, depth);
            });
        }
        "details" => {
            rich_text(writer, block.value("summary"), depth);
            writer.blank_line();
            words(writer, block, depth);
        }
        "map" => {
            let place = block.object("location");
            let degrees = |key| place.as_ref().and_then(|place| place.number(key));
            if let (Some(north), Some(east)) = (degrees("latitude"), degrees("longitude")) {
                writer.text(&format!("[location: {north}, {east}]"));
            }
            words(writer, block, depth);
        }
        media @ ("photo" | "video" | "animation" | "audio" | "voice_note") => {
            writer.text(match media {
                "photo" => "[photo]",
                "audio" => "[audio]",
                "voice_note" => "[voice message]",
                _ => "[video]",
            });
            words(writer, block, depth);
        }
        _ => words(writer, block, depth),
    }
}

/// What any block may hold: a text, blocks, and a caption.
fn words(writer: &mut MarkdownWriter, block: &JsonObject<'_>, depth: usize) {
    if block.has("text") {
        rich_text(writer, block.value("text"), depth);
        if block.has("blocks") {
            writer.line();
        }
    }
    blocks(writer, block, depth);
    caption(writer, block, depth);
}

/// A caption is an object with a text and a credit, or (of a table) a text.
fn caption(writer: &mut MarkdownWriter, block: &JsonObject<'_>, depth: usize) {
    let Some(caption) = block.value("caption") else {
        return;
    };
    writer.line();
    match caption {
        JsonValue::Object(caption) if !caption.has("type") => {
            rich_text(writer, caption.value("text"), depth);
            credit(writer, &caption, depth);
        }
        caption => rich_text(writer, Some(caption), depth),
    }
}

/// Whose words a block holds, in a line of its own.
fn credit(writer: &mut MarkdownWriter, block: &JsonObject<'_>, depth: usize) {
    if let Some(credit) = block.value("credit") {
        writer.line();
        writer.mark("— ");
        rich_text(writer, Some(credit), depth);
    }
}

fn list(writer: &mut MarkdownWriter, list: &JsonObject<'_>, depth: usize) {
    for (n, item) in list.objects("items").into_iter().enumerate() {
        let label = item.text("label").unwrap_or_default();
        let marker = match label.trim() {
            _ if item.flag("is_checked") => "- [x] ".to_owned(),
            _ if item.flag("has_checkbox") => "- [ ] ".to_owned(),
            label if label.ends_with(char::is_alphanumeric) => format!("{label}. "),
            label if label.contains(char::is_alphanumeric) => format!("{label} "),
            _ => "- ".to_owned(),
        };
        let indent = if marker.starts_with('-') { "  " } else { "   " };
        if n > 0 {
            writer.line();
        }
        writer.mark(&marker);
        writer.indented(indent, |writer| blocks(writer, &item, depth));
    }
}

/// A table with its first row as the header, as Markdown wants one.
fn table(writer: &mut MarkdownWriter, table: &JsonObject<'_>, depth: usize) {
    let rows = match table.value("cells") {
        Some(JsonValue::Array(rows)) => rows,
        _ => Vec::new(),
    };
    for (n, row) in rows.into_iter().enumerate() {
        let Some(JsonValue::Array(cells)) = JsonValue::parse(row) else {
            continue;
        };
        if n > 0 {
            writer.line();
        }
        writer.frame("|");
        let mut columns = 0;
        for cell in cells.into_iter().filter_map(JsonObject::parse) {
            writer.frame(" ");
            writer.cell(|writer| rich_text(writer, cell.value("text"), depth));
            let span = usize::try_from(cell.integer("colspan").unwrap_or(1)).unwrap_or(1);
            let span = span.clamp(1, MAX_COLUMNS);
            writer.frame(&" |".repeat(span));
            columns += span;
        }
        if n == 0 {
            writer.line();
            writer.frame("|");
            writer.frame(&" --- |".repeat(columns));
        }
    }
    if table.has("caption") {
        writer.blank_line();
        caption(writer, table, depth);
    }
}

/// A text, an array of texts, or a mark around one.
fn rich_text(writer: &mut MarkdownWriter, text: Option<JsonValue<'_>>, depth: usize) {
    if depth >= MAX_DEPTH {
        return;
    }
    match text {
        None => {}
        Some(JsonValue::Text(text)) => writer.text(&text),
        Some(JsonValue::Array(texts)) => {
            for text in texts {
                rich_text(writer, JsonValue::parse(text), depth + 1);
            }
        }
        Some(JsonValue::Object(marked)) => marked_text(writer, &marked, depth + 1),
    }
}

fn marked_text(writer: &mut MarkdownWriter, marked: &JsonObject<'_>, depth: usize) {
    let inner = || plain(marked.value("text"), depth);
    match marked.text("type").as_deref().unwrap_or_default() {
        "code" => writer.text(&entities::inline_code(&inner())),
        "url" => {
            let url = marked.text("url").unwrap_or_default();
            writer.text(&entities::link(&inner(), &url));
        }
        "mention" => {
            let name = marked.text("username").unwrap_or_else(inner);
            let mention = format!("@{}", name.trim_start_matches('@'));
            writer.entity(EntityKind::Mention, &mention);
        }
        "text_mention" => match marked.object("user").and_then(|user| user.integer("id")) {
            Some(id) => writer.entity(EntityKind::TextMention(id), &inner()),
            None => writer.text(&inner()),
        },
        "bot_command" => writer.entity(EntityKind::BotCommand, &inner()),
        "custom_emoji" => writer.text(&marked.text("alternative_text").unwrap_or_default()),
        "mathematical_expression" => {
            let formula = marked.text("expression").unwrap_or_default();
            writer.text(&format!("${formula}$"));
        }
        _ => rich_text(writer, marked.value("text"), depth),
    }
}

/// The words of a rich text without any mark.
fn plain(text: Option<JsonValue<'_>>, depth: usize) -> String {
    let mut words = String::new();
    add_plain(&mut words, text, depth);
    words
}

fn add_plain(words: &mut String, text: Option<JsonValue<'_>>, depth: usize) {
    if depth >= MAX_DEPTH {
        return;
    }
    match text {
        None => {}
        Some(JsonValue::Text(text)) => words.push_str(&text),
        Some(JsonValue::Array(texts)) => {
            for text in texts {
                add_plain(words, JsonValue::parse(text), depth + 1);
            }
        }
        Some(JsonValue::Object(marked)) => {
            let own = ["alternative_text", "expression"];
            match own.into_iter().find_map(|key| marked.text(key)) {
                Some(own) => words.push_str(&own),
                None => add_plain(words, marked.value("text"), depth + 1),
            }
        }
    }
}

#[cfg(test)]
mod tests;
