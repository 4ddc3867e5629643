//! A text with entities as a rich message: its HTML, written by us from the first tag to the last, and its size.

use std::fmt::Write as _;
use std::ops::Range;

use pulldown_cmark::Alignment;

use super::size::Size;
use crate::telegram::markdown::formatted_text::{
    Entity, FormattedText, HtmlWriter, RichBlock, Style, escape,
};
use crate::telegram::markdown::table::Table;

/// What a details block shows that has no summary.
const NO_SUMMARY: &str = "…";

/// A rich message.
#[derive(Debug, Default)]
pub(super) struct Document {
    /// For `rich_message.html` (Bot API, "Rich HTML style"). Not whole where the size is beyond the limits.
    pub(super) html: String,
    pub(super) size: Size,
}

impl Document {
    /// Writes a text. Takes time in proportion to it, and stops beyond the limits of a rich message.
    pub(super) fn of(formatted: &FormattedText) -> Self {
        let mut document = Self::default();
        let formulas = formatted.entities.iter();
        let formulas = formulas.filter(|entity| entity.style == Style::Formula);
        document.size.formulas = formulas.count();
        let mut writer = DocumentWriter {
            formatted,
            lines: HtmlWriter::new(formatted),
            depth: 0,
            document,
        };
        writer.blocks(0..formatted.text.len(), 0, Paragraphs::Tagged);
        writer.document
    }
}

struct DocumentWriter<'a> {
    formatted: &'a FormattedText,
    lines: HtmlWriter<'a>,
    /// How many blocks are open.
    depth: usize,
    document: Document,
}

/// How the text beside other blocks is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Paragraphs {
    /// As paragraphs.
    Tagged,
    /// As the bare text of a list item, if that is one paragraph.
    Bare,
    /// As items of the list that it stands in.
    Items,
}

impl DocumentWriter<'_> {
    /// Writes the blocks of a range, whose entities begin with this one.
    fn blocks(&mut self, range: Range<usize>, first: usize, paragraphs: Paragraphs) {
        let entities = &self.formatted.entities;
        let mut at = range.start;
        let mut index = first;
        while let Some(entity) = entities.get(index).filter(|e| e.range.start < range.end) {
            if !entity.style.is_block() {
                index += 1;
                continue;
            }
            self.paragraphs(at..entity.range.start, paragraphs);
            at = entity.range.end.max(at);
            if self.document.size.is_too_big() {
                return;
            }
            index += 1;
            if self.is_shown(entity, index) {
                let is_item = matches!(entity.style, Style::Block(RichBlock::Item { .. }));
                let is_stray = paragraphs == Paragraphs::Items && !is_item;
                self.document.html += if is_stray { "<li>" } else { "" };
                self.depth += 1;
                self.block(entity, index);
                self.depth -= 1;
                self.document.html += if is_stray { "</li>" } else { "" };
            }
            while entities.get(index).is_some_and(|e| e.range.start < at) {
                index += 1;
            }
        }
        self.paragraphs(at..range.end, paragraphs);
    }

    /// Whether there is something to show of a block, whose first inner entity this is. Items count even when they are empty.
    fn is_shown(&self, entity: &Entity, inner: usize) -> bool {
        let is_item =
            |entity: &Entity| matches!(entity.style, Style::Block(RichBlock::Item { .. }));
        let first = self.formatted.entities.get(inner);
        let has_item = first.is_some_and(|e| is_item(e) && e.range.start < entity.range.end);
        let text = self.formatted.text.get(entity.range.clone());
        is_item(entity) || has_item || text.is_some_and(|text| !text.trim().is_empty())
    }

    fn block(&mut self, entity: &Entity, inner: usize) {
        let range = entity.range.clone();
        self.document.size.add_block(self.depth);
        match &entity.style {
            Style::Quote => self.wrapped("blockquote", range, inner, Paragraphs::Tagged),
            Style::Details => self.details(range, inner),
            Style::Pre(language) => self.code(language.as_deref(), range),
            Style::Block(RichBlock::Heading(level)) => {
                let _ = write!(self.document.html, "<h{level}>");
                self.line(range);
                let _ = write!(self.document.html, "</h{level}>");
            }
            // Of a details block it is written there.
            Style::Block(RichBlock::Summary) => self.paragraphs(range, Paragraphs::Tagged),
            Style::Block(RichBlock::List { is_ordered }) => {
                let tag = if *is_ordered { "ol" } else { "ul" };
                self.wrapped(tag, range, inner, Paragraphs::Items);
            }
            Style::Block(RichBlock::Item { number, done }) => {
                self.item((*number, *done), range, inner);
            }
            Style::Block(RichBlock::Table(table)) => self.table(table),
            Style::Block(RichBlock::Formula) => {
                self.document.size.formulas += 1;
                self.text_in("<tg-math-block>", range, "</tg-math-block>");
            }
            Style::Block(RichBlock::Rule) => self.document.html += "<hr/>",
            // A mark is no block.
            _ => {}
        }
    }

    fn wrapped(&mut self, tag: &str, range: Range<usize>, inner: usize, paragraphs: Paragraphs) {
        let _ = write!(self.document.html, "<{tag}>");
        self.blocks(range, inner, paragraphs);
        let _ = write!(self.document.html, "</{tag}>");
    }

    fn item(
        &mut self,
        (number, done): (Option<u64>, Option<bool>),
        range: Range<usize>,
        inner: usize,
    ) {
        let html = &mut self.document.html;
        match number {
            Some(number) => {
                let _ = write!(html, "<li value=\"{number}\">");
            }
            None => *html += "<li>",
        }
        *html += match done {
            Some(true) => "<input type=\"checkbox\" checked>",
            Some(false) => "<input type=\"checkbox\">",
            None => "",
        };
        let is_one = !self.formatted.text[range.clone()].trim().contains("\n\n");
        let paragraphs = if is_one {
            Paragraphs::Bare
        } else {
            Paragraphs::Tagged
        };
        self.blocks(range, inner, paragraphs);
        self.document.html += "</li>";
    }

    fn details(&mut self, mut range: Range<usize>, mut inner: usize) {
        self.document.html += "<details><summary>";
        let summary = self.formatted.entities.get(inner).filter(|entity| {
            let before = self.formatted.text.get(range.start..entity.range.start);
            let is_first = before.is_some_and(|text| text.trim().is_empty());
            is_first && entity.style == Style::Block(RichBlock::Summary)
        });
        if let Some(summary) = summary {
            self.line(summary.range.clone());
            range.start = summary.range.end;
            inner += 1;
        } else {
            self.document.html += NO_SUMMARY;
        }
        self.document.html += "</summary>";
        self.blocks(range, inner, Paragraphs::Tagged);
        self.document.html += "</details>";
    }

    fn code(&mut self, language: Option<&str>, range: Range<usize>) {
        match language {
            // A language has no character that HTML would need escaped.
            Some(language) => {
                let open = format!("<pre><code class=\"language-{language}\">");
                self.text_in(&open, range, "</code></pre>");
            }
            None => self.text_in("<pre>", range, "</pre>"),
        }
    }

    /// A range as plain text between two tags.
    fn text_in(&mut self, open: &str, range: Range<usize>, close: &str) {
        let text = &self.formatted.text[range];
        self.document.size.add_text(text);
        self.document.html += open;
        escape(text, &mut self.document.html);
        self.document.html += close;
    }

    fn table(&mut self, table: &Table) {
        self.document.size.tables += 1;
        self.document.html += "<table bordered>";
        for (number, row) in table.rows.iter().enumerate() {
            self.document.size.add_block(self.depth + 1);
            if self.document.size.is_too_big() {
                return;
            }
            self.document.html += "<tr>";
            for (column, cell) in row.iter().enumerate() {
                let tag = if number == 0 { "th" } else { "td" };
                let align = match table.alignments.get(column) {
                    Some(Alignment::Right) => " align=\"right\"",
                    Some(Alignment::Center) => " align=\"center\"",
                    _ => "",
                };
                let _ = write!(self.document.html, "<{tag}{align}>");
                self.cell(cell);
                let _ = write!(self.document.html, "</{tag}>");
            }
            self.document.html += "</tr>";
        }
        self.document.html += "</table>";
    }

    fn cell(&mut self, cell: &FormattedText) {
        let mut writer = DocumentWriter {
            formatted: cell,
            lines: HtmlWriter::new(cell),
            depth: self.depth + 1,
            document: std::mem::take(&mut self.document),
        };
        writer.line(0..cell.text.len());
        self.document = writer.document;
    }

    /// Writes text beside other blocks, a paragraph for each stretch between empty lines.
    fn paragraphs(&mut self, range: Range<usize>, paragraphs: Paragraphs) {
        let (open, close) = match paragraphs {
            Paragraphs::Tagged => ("<p>", "</p>"),
            Paragraphs::Bare => ("", ""),
            Paragraphs::Items => ("<li>", "</li>"),
        };
        let mut start = range.start;
        for text in self.formatted.text[range].split("\n\n") {
            let end = start + text.len();
            if !text.trim().is_empty() {
                self.document.size.add_block(self.depth + 1);
                if self.document.size.is_too_big() {
                    return;
                }
                self.document.html += open;
                self.line(start..end);
                self.document.html += close;
            }
            start = end + "\n\n".len();
        }
    }

    /// Writes text with its marks, and with breaks where its lines end.
    fn line(&mut self, range: Range<usize>) {
        let mut start = range.start;
        let mut is_first = true;
        for text in self.formatted.text[range].split('\n') {
            let end = start + text.len();
            let trimmed =
                start + text.len() - text.trim_start().len()..start + text.trim_end().len();
            start = end + 1;
            if trimmed.is_empty() {
                continue;
            }
            if !is_first {
                self.document.html += "<br>";
                self.document.size.add_text("\n");
            }
            is_first = false;
            self.document
                .size
                .add_text(&self.formatted.text[trimmed.clone()]);
            let marks = self.lines.write_line(trimmed, &mut self.document.html);
            self.document.size.add_depth(self.depth + 1 + marks);
        }
    }
}
