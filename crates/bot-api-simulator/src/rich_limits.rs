//! What a rich message may hold at most (Bot API, "Rich Message Limits"). The server's words for what is beyond are not known.

use serde_json::Value;

use super::html::ParseError;
use super::rich_text::plain;

/// Characters of text, formulas and all.
const MAX_CHARACTERS: usize = 32_768;
/// Blocks, those within others, list items and table rows included.
const MAX_BLOCKS: usize = 500;
/// Levels of blocks and formatting.
const MAX_DEPTH: usize = 16;
/// Columns of a table.
const MAX_COLUMNS: usize = 20;

/// The size of blocks.
#[derive(Default)]
struct Size {
    characters: usize,
    blocks: usize,
    depth: usize,
    columns: usize,
}

/// Refuses blocks that are too many, too deep or too long.
pub(super) fn check(blocks: &[Value]) -> Result<(), ParseError> {
    let mut size = Size::default();
    size.add_blocks(blocks, 1);
    let refuse = |why: &str| Err(ParseError(why.to_owned()));
    match size {
        Size { characters, .. } if characters > MAX_CHARACTERS => {
            refuse("rich message is too long")
        }
        Size { blocks, .. } if blocks > MAX_BLOCKS => refuse("rich message has too many blocks"),
        Size { depth, .. } if depth > MAX_DEPTH => refuse("rich message is nested too deeply"),
        Size { columns, .. } if columns > MAX_COLUMNS => refuse("table has too many columns"),
        _ => Ok(()),
    }
}

impl Size {
    fn add_blocks(&mut self, blocks: &[Value], depth: usize) {
        let list =
            |block: &Value, field: &str| block[field].as_array().cloned().unwrap_or_default();
        for block in blocks {
            self.blocks += 1;
            self.depth = self.depth.max(depth);
            for field in ["text", "summary", "caption"] {
                self.add_text(&block[field], depth);
            }
            if let Some(formula) = block["expression"].as_str() {
                self.characters += formula.chars().count();
            }
            for row in list(block, "cells") {
                self.blocks += 1;
                let cells = row.as_array().cloned().unwrap_or_default();
                self.columns = self.columns.max(cells.len());
                cells
                    .iter()
                    .for_each(|cell| self.add_text(&cell["text"], depth + 1));
            }
            for item in list(block, "items") {
                self.blocks += 1;
                self.add_blocks(&list(&item, "blocks"), depth + 2);
            }
            self.add_blocks(&list(block, "blocks"), depth + 1);
        }
    }

    fn add_text(&mut self, text: &Value, depth: usize) {
        self.characters += plain(text).chars().count();
        self.depth = self.depth.max(depth + text_depth(text));
    }
}

/// How deep formatting is in a `RichText`.
fn text_depth(text: &Value) -> usize {
    match text {
        Value::Array(parts) => parts.iter().map(text_depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.get("text").map_or(0, text_depth),
        _ => 0,
    }
}
