//! Converts the parser's events into a text with entities: line breaks, list marks, indentation.
//!
//! An empty line separates two blocks where the source has one, since models use empty lines on purpose.

mod elements;
mod html;
mod links;
mod lists;
mod numbers;
mod rich;
mod tables;

use std::ops::Range;

use pulldown_cmark::{BlockQuoteKind, CodeBlockKind, Event, LinkType, Options, Tag, TagEnd};

use super::delimiters::Prepared;
use super::formatted_text::{FormattedText, Style};
use super::math::is_mathematical;
use super::table::Table;
use super::tags;
use super::text_writer::TextWriter;
use html::{Gap, HtmlState};
use lists::OpenList;
use numbers::written_number;
use tables::OpenTable;

/// A thematic break.
const RULE: &str = "———";

/// What the parser knows beyond `CommonMark`.
pub(super) const OPTIONS: Options = Options::ENABLE_TABLES
    .union(Options::ENABLE_FOOTNOTES)
    .union(Options::ENABLE_STRIKETHROUGH)
    .union(Options::ENABLE_TASKLISTS)
    .union(Options::ENABLE_MATH)
    .union(Options::ENABLE_GFM);

/// What the text is to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// A message of text, which has no blocks but quotes and code: others are shown by marks, line breaks and indentation.
    Text,
    /// A rich message.
    Rich,
}

/// Parses Markdown into a text with entities.
pub(super) fn format(prepared: &Prepared<'_>, target: Target) -> FormattedText {
    let mut writer = BlockWriter::new(&prepared.source, target);
    writer.html.pairs = tags::pairs(prepared, OPTIONS);
    for (event, range) in prepared.events(OPTIONS) {
        writer.event(event, range);
    }
    writer.close_elements_to(0);
    writer.out.finish()
}

struct BlockWriter<'a> {
    source: &'a str,
    target: Target,
    /// Where the lines of the source end.
    line_ends: Vec<usize>,
    out: TextWriter,
    /// Where the content that was written last ends in the source.
    source_position: usize,
    /// How far the source was searched for content.
    searched: usize,
    lists: Vec<OpenList>,
    /// Of the open list items, whether each is an entity.
    items: Vec<bool>,
    /// Text to be written before the next text: the mark of a list item or of a footnote.
    pending_marker: Option<String>,
    quotes: usize,
    /// Whether a block has ended: in a tight list, the text after it begins without an event of its own.
    block_ended: bool,
    /// Whether the text belongs to a code block.
    in_code_block: bool,
    /// The open links and images: where their text begins, and their URL if Telegram does not take it as a link.
    links: Vec<(usize, Option<String>)>,
    /// The open tables: one of Markdown can be in one of HTML.
    tables: Vec<OpenTable>,
    html: HtmlState,
}

impl<'a> BlockWriter<'a> {
    fn new(source: &'a str, target: Target) -> Self {
        Self {
            source,
            target,
            line_ends: source.match_indices('\n').map(|(at, _)| at).collect(),
            out: TextWriter::default(),
            source_position: 0,
            searched: 0,
            lists: Vec::new(),
            items: Vec::new(),
            pending_marker: None,
            quotes: 0,
            block_ended: false,
            in_code_block: false,
            links: Vec::new(),
            tables: Vec::new(),
            html: HtmlState::default(),
        }
    }

    fn event(&mut self, event: Event<'_>, range: Range<usize>) {
        if self.block_ended && is_inline(&event) {
            self.text_block(range.start, false);
        }
        match event {
            Event::Start(tag) => {
                self.note_nesting(tag.to_end(), true);
                self.start_markdown();
                return self.start(tag, range.start);
            }
            Event::End(tag) => {
                self.note_nesting(tag, false);
                if tag == TagEnd::HtmlBlock {
                    self.html.barriers.pop();
                    self.html_block(range.start);
                } else {
                    self.end_markdown();
                    self.end(tag);
                }
            }
            Event::Html(html) => return self.html.block.push_str(&html),
            Event::InlineHtml(html) => self.inline_html(&html, range.start),
            Event::Text(text) => self.prose(&text),
            Event::Code(code) => self.inline_code(&code),
            Event::InlineMath(math) => self.math(&math, "$", &range),
            Event::DisplayMath(math) => self.math(&math, "$$", &range),
            Event::FootnoteReference(label) => self.text(&format!("[{label}]")),
            Event::SoftBreak | Event::HardBreak => self.text("\n"),
            Event::Rule => {
                self.text_block(range.start, false);
                self.rule();
            }
            Event::TaskListMarker(done) => self.task(done),
        }
        self.note_content(range.end);
    }

    /// Notes that the source up to `end` has been written. Looks at each byte of the source only once.
    fn note_content(&mut self, end: usize) {
        let Some(new) = self.source.get(self.searched..end) else {
            // Before what was searched already.
            return;
        };
        // An empty line of a quote is `>`.
        let content = new.trim_end_matches(|c: char| c.is_whitespace() || c == '>');
        if !content.is_empty() {
            let content_end = self.searched + content.len();
            self.source_position = self.source_position.max(content_end);
        }
        self.searched = end;
    }

    /// Counts the elements whose text is one line. Between other elements, no gap is due to HTML.
    fn note_nesting(&mut self, tag: TagEnd, start: bool) {
        match tag {
            TagEnd::Emphasis
            | TagEnd::Strong
            | TagEnd::Strikethrough
            | TagEnd::Link
            | TagEnd::Image => {}
            _ => {
                self.close_titles();
                self.html.gap = Gap::None;
            }
        }
        if is_one_line(tag) {
            let depth = self.html.inline_depth;
            self.html.inline_depth = if start { depth + 1 } else { depth - 1 };
        }
    }

    fn start(&mut self, tag: Tag<'_>, at: usize) {
        match tag {
            Tag::Heading { level, .. } => {
                self.text_block(at, true);
                self.open(self.heading_style(level as u8));
            }
            Tag::BlockQuote(kind) => self.quote(kind, at),
            Tag::CodeBlock(kind) => {
                self.block(at, false);
                self.flush_marker();
                self.in_code_block = true;
                self.open(self.code_style(&kind));
            }
            Tag::List(first) => {
                // The list item around a nested list may have no text of its own.
                self.flush_marker();
                self.begin_list(first);
            }
            Tag::Item => self.item(at, written_number(&self.source[at..])),
            Tag::FootnoteDefinition(label) => {
                self.text_block(at, false);
                self.pending_marker = Some(format!("[{label}] "));
            }
            Tag::Table(alignments) => {
                self.block(at, false);
                self.flush_marker();
                let rows = Vec::new();
                let table = Table { alignments, rows };
                let outside_cell = None;
                self.tables.push(OpenTable {
                    table,
                    outside_cell,
                });
            }
            Tag::TableHead | Tag::TableRow => self.begin_row(),
            Tag::TableCell => self.begin_cell(),
            Tag::Emphasis => self.open(Style::Italic),
            Tag::Strong => self.open(Style::Bold),
            Tag::Strikethrough => self.open(Style::Strikethrough),
            Tag::Link {
                link_type,
                dest_url,
                ..
            } => self.link(link_type, &dest_url),
            Tag::Image { dest_url, .. } => self.link(LinkType::Inline, &dest_url),
            Tag::Paragraph => self.text_block(at, false),
            // Written when it ends; the others are not enabled, and never come.
            Tag::HtmlBlock
            | Tag::DefinitionList
            | Tag::DefinitionListTitle
            | Tag::DefinitionListDefinition
            | Tag::Superscript
            | Tag::Subscript
            | Tag::MetadataBlock(_) => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        self.block_ended |= matches!(
            tag,
            TagEnd::CodeBlock
                | TagEnd::Table
                | TagEnd::BlockQuote(_)
                | TagEnd::List(_)
                | TagEnd::Heading(_)
        );
        match tag {
            TagEnd::Heading(_) | TagEnd::Emphasis | TagEnd::Strong | TagEnd::Strikethrough => {
                self.out.close();
            }
            TagEnd::BlockQuote(_) => self.end_quote(),
            TagEnd::CodeBlock => {
                self.in_code_block = false;
                self.drop_line_end();
                self.out.close();
            }
            TagEnd::List(_) => self.end_list(),
            TagEnd::Item => self.end_item(),
            TagEnd::FootnoteDefinition => self.flush_marker(),
            TagEnd::TableCell => self.end_cell(),
            TagEnd::Table => self.end_table(),
            TagEnd::Link | TagEnd::Image => self.end_link(),
            _ => {}
        }
    }

    /// Begins a block on a new line, after an empty line if the source has one there or if it is `apart`.
    fn block(&mut self, at: usize, apart: bool) {
        self.block_ended = false;
        self.html.gap = Gap::None;
        if self.pending_marker.is_some() || self.out.text.is_empty() {
            return;
        }
        let lines_up_to = |at| self.line_ends.partition_point(|end| *end < at);
        let lines = lines_up_to(at).saturating_sub(lines_up_to(self.source_position));
        let apart = apart || lines > 1;
        self.out.text.push_str(if apart { "\n\n" } else { "\n" });
    }

    /// Begins a text block, which is indented with its list; code and tables are not.
    fn text_block(&mut self, at: usize, apart: bool) {
        self.block_ended = false;
        self.html.gap = Gap::None;
        if self.pending_marker.is_none() && !self.out.text.is_empty() {
            self.block(at, apart);
            self.indent();
        }
    }

    fn flush_marker(&mut self) {
        self.flush_gap();
        if let Some(mark) = self.pending_marker.take() {
            self.out.text.push_str(&mark);
        }
    }

    /// Begins a quote. Telegram does not nest quotes, so an inner one is shown by its mark.
    fn open_quote(&mut self, style: Style, at: usize) {
        self.text_block(at, false);
        self.flush_marker();
        self.source_position = self.source_position.max(at);
        self.quotes += 1;
        if self.quotes == 1 {
            self.out.open_entity(style);
        } else {
            self.pending_marker = Some("> ".to_owned());
        }
    }

    fn end_quote(&mut self) {
        self.flush_marker();
        self.quotes -= 1;
        if self.quotes == 0 {
            self.out.close();
        }
    }

    fn quote(&mut self, kind: Option<BlockQuoteKind>, at: usize) {
        self.open_quote(Style::Quote, at);
        let title = match kind {
            Some(BlockQuoteKind::Note) => "Note",
            Some(BlockQuoteKind::Tip) => "Tip",
            Some(BlockQuoteKind::Important) => "Important",
            Some(BlockQuoteKind::Warning) => "Warning",
            Some(BlockQuoteKind::Caution) => "Caution",
            None => {
                // The first block in the quote begins where the quote does.
                self.pending_marker.get_or_insert_default();
                return;
            }
        };
        self.open(Style::Bold);
        self.text(title);
        self.out.close();
    }

    fn text(&mut self, text: &str) {
        let on_new_line = self.html.gap >= Gap::Line;
        let text = text.trim_start_matches(|c| on_new_line && c == ' ');
        self.flush_marker();
        if self.in_code_block || self.in_cell() || !text.contains('\n') {
            self.out.text.push_str(text);
            return;
        }
        for (number, line) in text.split('\n').enumerate() {
            if number > 0 {
                self.out.text.push('\n');
                self.indent();
            }
            self.out.text.push_str(line);
        }
    }

    /// Code is outside of bold and italic, where Telegram would end them anyway; within a link it is plain text.
    fn inline_code(&mut self, code: &str) {
        self.flush_marker();
        if !self.links.is_empty() {
            self.text(code);
            return;
        }
        self.out.push_code(code);
    }

    fn math(&mut self, math: &str, mark: &str, range: &Range<usize>) {
        let joined = self.source[range.end..].starts_with(char::is_alphanumeric);
        if is_mathematical(math) && !joined {
            self.formula(math, range.start);
        } else {
            self.text(&format!("{mark}{math}{mark}"));
        }
    }

    fn open(&mut self, style: Style) {
        self.flush_marker();
        self.out.open(style);
    }

    fn drop_line_end(&mut self) {
        // It may be the line before the code, which entities around it begin behind.
        if self.is_rich() && self.out.is_innermost_empty() {
            return;
        }
        let text = &mut self.out.text;
        if text.ends_with('\n') {
            text.pop();
        }
    }
}

fn is_inline(event: &Event<'_>) -> bool {
    matches!(
        event,
        Event::Text(_)
            | Event::Code(_)
            | Event::InlineMath(_)
            | Event::DisplayMath(_)
            | Event::InlineHtml(_)
            | Event::FootnoteReference(_)
            | Event::Start(
                Tag::Emphasis
                    | Tag::Strong
                    | Tag::Strikethrough
                    | Tag::Link { .. }
                    | Tag::Image { .. }
            )
    )
}

/// Whether the text of an element is one line.
fn is_one_line(tag: TagEnd) -> bool {
    matches!(
        tag,
        TagEnd::Emphasis
            | TagEnd::Strong
            | TagEnd::Strikethrough
            | TagEnd::Link
            | TagEnd::Image
            | TagEnd::Heading(_)
            | TagEnd::TableCell
    )
}

fn language(kind: &CodeBlockKind<'_>) -> Option<String> {
    let CodeBlockKind::Fenced(info) = kind else {
        return None;
    };
    language_name(info)
}

/// The language that an info string names, if it can be one.
fn language_name(info: &str) -> Option<String> {
    let word = info
        .split([' ', ',', '{', ':', '\t'])
        .next()
        .unwrap_or_default();
    let sound = (1..=32).contains(&word.len())
        && word
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_+-#.".contains(&b));
    sound.then(|| word.to_owned())
}
