//! Writes Markdown line by line: what stands before each line of a quotation or a list item, line breaks only where something follows,
//! and where mentions came to lie.

use super::super::entities::{Entity, EntityKind};

/// Markdown in the making.
#[derive(Default)]
pub(super) struct MarkdownWriter {
    text: String,
    /// Length of `text` in UTF-16 code units.
    units: usize,
    /// What stands before each line.
    prefix: String,
    /// Line breaks before the next words.
    breaks: usize,
    /// What stands in the empty lines among them.
    empty_line: String,
    /// What stands before the next words: the prefix and markers of their line.
    lead: String,
    /// Line breaks and bars would end the cell.
    in_cell: bool,
    entities: Vec<Entity>,
}

impl MarkdownWriter {
    /// What was written, and the entities in it.
    pub(super) fn finish(mut self) -> (String, Vec<Entity>) {
        self.text.truncate(self.text.trim_end().len());
        (self.text, self.entities)
    }

    /// Whether lines have a prefix: within a quotation or a list item.
    pub(super) fn is_nested(&self) -> bool {
        !self.prefix.is_empty()
    }

    /// The next words begin a line.
    pub(super) fn line(&mut self) {
        self.separate(self.breaks.max(1));
    }

    /// The next words stand below an empty line.
    pub(super) fn blank_line(&mut self) {
        self.separate(self.breaks.max(2));
    }

    /// Words as they are; a line break goes on behind the prefix.
    pub(super) fn text(&mut self, text: &str) {
        if self.in_cell {
            let line = text.replace('|', "\\|").replace(['\n', '\r'], " ");
            return self.words(&line);
        }
        for (n, line) in text.split('\n').enumerate() {
            if n > 0 {
                self.separate(self.breaks + 1);
            }
            self.words(line);
        }
    }

    /// Words that an entity marks.
    pub(super) fn entity(&mut self, kind: EntityKind, words: &str) {
        let words = words.trim().replace(['\n', '|'], " ");
        if words.is_empty() {
            return;
        }
        self.flush();
        let offset = self.units;
        self.push(&words);
        let length = self.units - offset;
        self.entities.push(Entity {
            kind,
            offset,
            length,
        });
    }

    /// What stands before the next words of the line; without words after it, it is dropped.
    pub(super) fn mark(&mut self, marker: &str) {
        self.lead.push_str(marker);
    }

    /// Part of the frame of a table: written whether words follow or not.
    pub(super) fn frame(&mut self, frame: &str) {
        self.words(frame);
    }

    /// Each further line within begins with `indent`.
    pub(super) fn indented(&mut self, indent: &str, write: impl FnOnce(&mut Self)) {
        let outer = self.prefix.len();
        self.prefix.push_str(indent);
        write(self);
        self.prefix.truncate(outer);
    }

    /// What is written within is one cell of a table.
    pub(super) fn cell(&mut self, write: impl FnOnce(&mut Self)) {
        let outer = std::mem::replace(&mut self.in_cell, true);
        write(self);
        self.in_cell = outer;
    }

    fn separate(&mut self, breaks: usize) {
        self.breaks = breaks;
        self.prefix.trim_end().clone_into(&mut self.empty_line);
        self.lead.clone_from(&self.prefix);
    }

    fn words(&mut self, words: &str) {
        if !words.is_empty() {
            self.flush();
            self.push(words);
        }
    }

    /// The line breaks, prefix and markers that stand before the next words.
    fn flush(&mut self) {
        let breaks = std::mem::take(&mut self.breaks);
        if !self.text.is_empty() && breaks > 0 {
            let empty_lines = format!("\n{}", self.empty_line).repeat(breaks - 1);
            self.push(&empty_lines);
            self.push("\n");
        }
        let lead = std::mem::take(&mut self.lead);
        self.push(&lead);
    }

    fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.units += text.encode_utf16().count();
    }
}
