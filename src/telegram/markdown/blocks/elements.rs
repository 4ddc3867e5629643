//! Elements of HTML that stand on lines of their own: lists, quotes, tables, code blocks.

use super::html::Gap;
use super::{BlockWriter, OpenTable};
use crate::telegram::markdown::formatted_text::Style;
use crate::telegram::markdown::tags::{Block, Inline, Kind, Tag, Token};

/// The most elements within each other; the tags of deeper ones are dropped.
const MAX_OPEN_ELEMENTS: usize = 64;

impl BlockWriter<'_> {
    /// Closes all but the outermost elements.
    pub(super) fn close_elements_to(&mut self, depth: usize) {
        while self.html.elements.len() > depth {
            self.close_innermost();
        }
    }

    /// Closes a heading or summary, which contains no block.
    pub(super) fn close_titles(&mut self) {
        while let Some(Block::Heading | Block::Summary) = self.html.elements.last() {
            self.close_innermost();
        }
    }

    pub(super) fn open_element(&mut self, kind: Block, tag: &Tag<'_>, at: usize) {
        match kind {
            Block::Paragraph => return self.widen_gap(Gap::EmptyLine),
            Block::Section => return,
            _ if self.html.elements.len() >= MAX_OPEN_ELEMENTS => {
                return self.widen_gap(Gap::Line);
            }
            _ => {}
        }
        self.close_titles();
        match kind {
            Block::Heading => {
                self.begin(at, true);
                self.open(self.heading_style(heading_level(tag.source)));
            }
            Block::Summary => {
                self.widen_gap(Gap::Line);
                self.open(self.summary_style());
            }
            Block::Rule => {
                self.begin(at, false);
                self.rule();
                return self.widen_gap(Gap::Line);
            }
            Block::Quote => self.begin_quote(Style::Quote, at),
            Block::Details => self.begin_quote(Style::Details, at),
            Block::BulletList | Block::OrderedList => {
                let first = tag.attribute("start").and_then(|n| n.parse().ok());
                let is_ordered = kind == Block::OrderedList;
                self.begin_list(is_ordered.then(|| first.unwrap_or(1)));
            }
            Block::Item => {
                let gap = self.html.gap;
                if self.html.elements.last() == Some(&Block::Item) {
                    self.close_innermost();
                }
                let in_list =
                    [Block::BulletList, Block::OrderedList].map(|list| self.position_of(list));
                if in_list == [None, None] {
                    self.begin_list(None);
                    self.html.elements.push(Block::BulletList);
                }
                self.html.gap = Gap::None;
                self.item(at, None);
                if matches!(gap, Gap::Block(_)) {
                    self.source_position = self.source_position.max(at);
                }
            }
            Block::Table | Block::Row | Block::Cell => return self.open_table_part(kind, at),
            Block::Paragraph | Block::Section | Block::Pre => return,
        }
        self.html.elements.push(kind);
    }

    fn begin_quote(&mut self, style: Style, at: usize) {
        self.html.gap = Gap::None;
        self.open_quote(style, at);
        self.pending_marker.get_or_insert_default();
    }

    /// Closes the innermost element of a kind, and what is open in it.
    pub(super) fn close_element(&mut self, kind: Block) {
        if kind == Block::Paragraph {
            return self.widen_gap(Gap::EmptyLine);
        }
        if let Some(position) = self.position_of(kind) {
            self.close_elements_to(position);
        }
    }

    /// Where an element of a kind is that is open in the innermost element of Markdown.
    fn position_of(&self, kind: Block) -> Option<usize> {
        let barrier = self.html.barriers.last().copied().unwrap_or(0);
        let within = self.html.elements.get(barrier..)?;
        Some(barrier + within.iter().rposition(|open| *open == kind)?)
    }

    fn close_innermost(&mut self) {
        let Some(kind) = self.html.elements.pop() else {
            return;
        };
        self.html.gap = Gap::None;
        let mut gap = Gap::Line;
        match kind {
            Block::Heading => {
                self.out.close();
                gap = Gap::EmptyLine;
            }
            Block::Summary => self.out.close(),
            Block::Quote | Block::Details => self.end_quote(),
            Block::BulletList | Block::OrderedList => self.end_list(),
            Block::Item => self.end_item(),
            Block::Table => self.end_table(),
            Block::Cell => {
                self.end_cell();
                gap = Gap::None;
            }
            _ => gap = Gap::None,
        }
        self.widen_gap(gap);
    }

    /// A table within a table is text.
    fn open_table_part(&mut self, kind: Block, at: usize) {
        let table = self.position_of(Block::Table);
        match (kind, table) {
            (Block::Table, _) if self.tables.is_empty() => {
                self.html.gap = Gap::None;
                self.block(at, false);
                self.source_position = self.source_position.max(at);
                self.flush_marker();
                self.tables.push(OpenTable::default());
            }
            (Block::Row, Some(table)) => {
                self.close_elements_to(table + 1);
                self.begin_row();
            }
            (Block::Cell, Some(table)) => {
                let row = self.position_of(Block::Row).filter(|row| *row > table);
                self.close_elements_to(row.unwrap_or(table) + 1);
                if row.is_none() {
                    self.begin_row();
                    self.html.elements.push(Block::Row);
                }
                self.html.gap = Gap::None;
                self.begin_cell();
            }
            _ => return self.widen_gap(Gap::Space),
        }
        self.html.elements.push(kind);
    }

    /// `<pre>` or `</pre>`; returns whether what follows is its text.
    pub(super) fn preformatted(
        &mut self,
        tag: &Tag<'_>,
        language: Option<String>,
        raw: bool,
        at: usize,
    ) -> bool {
        if tag.closing {
            if raw {
                self.end_preformatted();
            }
        } else if !raw {
            self.close_titles();
            self.html.gap = Gap::None;
            self.block(at, false);
            self.source_position = self.source_position.max(at);
            self.flush_marker();
            self.out.open(Style::Pre(language));
        }
        !tag.closing
    }

    /// `<code>` in `<pre>` has nothing to say; other tags are code.
    pub(super) fn tag_in_preformatted(&mut self, tag: &Tag<'_>) {
        if matches!(tag.kind, Kind::Inline(_)) {
            self.next_is_paired();
        }
        if tag.kind != Kind::Inline(Inline::Code) {
            self.out.text.push_str(tag.source);
        }
    }

    pub(super) fn end_preformatted(&mut self) {
        self.drop_line_end();
        self.out.close();
        self.widen_gap(Gap::Line);
    }
}

/// The language of `<code class="language-…">`.
pub(super) fn language(token: &Token<'_>) -> Option<String> {
    let Token::Tag(tag) = token else {
        return None;
    };
    let class = tag.attribute("class")?;
    super::language_name(class.strip_prefix("language-")?)
}

/// The level of `<h1>` to `<h6>`.
fn heading_level(tag: &str) -> u8 {
    let level = tag.as_bytes().get("<h".len()).copied().unwrap_or(b'1');
    level.saturating_sub(b'0').clamp(1, 6)
}
