//! Writes the HTML within Markdown: what formats text as the marks of Markdown, and elements of lines as its blocks.

use std::mem::take;

use pulldown_cmark::LinkType;

use super::BlockWriter;
use super::elements::language;
use crate::telegram::markdown::formatted_text::{FormattedText, Style};
use crate::telegram::markdown::tags::{Block, Inline, Kind, Tag, Token, decode, tokens};
use crate::telegram::markdown::text_writer::TextWriter;

const SUPERSCRIPTS: (&str, &str) = (
    "0123456789+-=()abcdefghijklmnoprstuvwxyz",
    "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻ",
);
const SUBSCRIPTS: (&str, &str) = (
    "0123456789+-=()aeoxhklmnpstijruv",
    "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₒₓₕₖₗₘₙₚₛₜᵢⱼᵣᵤᵥ",
);

/// What HTML the writer is in.
#[derive(Default)]
pub(super) struct HtmlState {
    /// Of each formatting tag, in order, whether it has its other half (`tags::pairs`).
    pub(super) pairs: Vec<bool>,
    /// How many formatting tags were seen.
    seen: usize,
    /// The HTML of the block that is being read.
    pub(super) block: String,
    /// The open formatting tags, outermost first, and how often each is open.
    marks: Vec<(Inline, usize)>,
    /// The texts around code, subscripts and superscripts.
    outside_marks: Vec<TextWriter>,
    /// Of the open `<a>`, whether it has a target.
    links: Vec<bool>,
    /// The open elements, outermost first.
    pub(super) elements: Vec<Block>,
    /// How many elements were open when each open Markdown element began.
    pub(super) barriers: Vec<usize>,
    /// How many elements of Markdown are open whose text is one line, such as emphasis and table cells.
    pub(super) inline_depth: usize,
    /// What is to be written before the next text.
    pub(super) gap: Gap,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Gap {
    #[default]
    None,
    Space,
    Line,
    EmptyLine,
    /// The beginning of a block at a position of the source.
    Block(usize),
}

impl BlockWriter<'_> {
    pub(super) fn start_markdown(&mut self) {
        self.html.barriers.push(self.html.elements.len());
    }

    /// Closes the HTML elements that were opened in a Markdown element that ends.
    pub(super) fn end_markdown(&mut self) {
        let barrier = self.html.barriers.pop().unwrap_or(0);
        self.close_elements_to(barrier);
    }

    pub(super) fn widen_gap(&mut self, gap: Gap) {
        self.html.gap = self.html.gap.max(gap);
    }

    /// Writes the gap, unless the text begins here or behind the mark of a list item.
    pub(super) fn flush_gap(&mut self) {
        let gap = take(&mut self.html.gap);
        if let Gap::Block(at) = gap {
            return self.begin(at, false);
        }
        if gap == Gap::None || self.pending_marker.is_some() || self.out.text.is_empty() {
            return;
        }
        if gap == Gap::Space || self.in_cell() {
            if !self.out.text.ends_with([' ', '\n']) {
                self.out.text.push(' ');
            }
            return;
        }
        self.out
            .text
            .push_str(if gap == Gap::Line { "\n" } else { "\n\n" });
        self.indent();
    }

    /// Begins a text block of the HTML block or tag at a position.
    pub(super) fn begin(&mut self, at: usize, apart: bool) {
        self.html.gap = Gap::None;
        self.text_block(at, apart);
        self.source_position = self.source_position.max(at);
    }

    /// HTML within a paragraph: a tag or a comment.
    pub(super) fn inline_html(&mut self, html: &str, at: usize) {
        for token in tokens(html, true) {
            match token {
                Token::Text(text) => self.text(text),
                Token::Tag(tag) if tag.kind == Kind::LineBreak => self.text("\n"),
                Token::Tag(tag) => self.tag(&tag, at),
                Token::Comment(_) => {}
            }
        }
    }

    /// A block of HTML, which has ended.
    pub(super) fn html_block(&mut self, at: usize) {
        let html = take(&mut self.html.block);
        let mut tokens = tokens(&html, false).peekable();
        let outside = self.html.elements.len();
        self.html.gap = Gap::Block(at);
        let mut raw = false;
        let mut raw_start = 0;
        while let Some(token) = tokens.next() {
            match token {
                // Nothing is known here, so white space is kept.
                Token::Text(text) if text.len() == html.len() && outside == 0 => {
                    self.text(text.trim_end_matches('\n'));
                }
                Token::Text(text) if raw => {
                    // The first line of code can begin below the tag.
                    let first = self.out.text.len() == raw_start;
                    let text = text.strip_prefix('\n').filter(|_| first).unwrap_or(text);
                    self.out.text.push_str(&decode(text));
                }
                Token::Text(text) => self.html_text(text),
                Token::Tag(tag) if tag.kind == Kind::Block(Block::Pre) => {
                    let language = tokens.peek().and_then(language);
                    raw = self.preformatted(&tag, language, raw, at);
                    raw_start = self.out.text.len();
                }
                Token::Tag(tag) if raw => self.tag_in_preformatted(&tag),
                Token::Comment(comment) if raw => self.out.text.push_str(comment),
                Token::Tag(tag) => self.tag(&tag, at),
                Token::Comment(_) => {}
            }
        }
        if raw {
            self.end_preformatted();
        }
        self.close_titles();
        self.html.gap = Gap::None;
        self.block_ended = true;
    }

    /// Text of an HTML block: its lines are kept, its indentation is not.
    fn html_text(&mut self, text: &str) {
        for (number, line) in text.split('\n').enumerate() {
            if number > 0 {
                self.widen_gap(Gap::Line);
            }
            let content = line.trim_ascii();
            if line.starts_with([' ', '\t']) {
                self.widen_gap(Gap::Space);
            }
            if !content.is_empty() {
                self.prose(&decode(content));
                if line.ends_with([' ', '\t']) {
                    self.widen_gap(Gap::Space);
                }
            }
        }
    }

    fn tag(&mut self, tag: &Tag<'_>, at: usize) {
        match tag.kind {
            Kind::LineBreak => self.widen_gap(Gap::Line),
            Kind::Inline(kind) => {
                if !self.next_is_paired() {
                    self.text(tag.source);
                } else if kind == Inline::Link {
                    self.anchor(tag);
                } else if tag.closing {
                    self.close_mark(kind);
                } else {
                    self.open_mark(kind);
                }
            }
            Kind::Block(kind) if self.is_inline() => {
                self.widen_gap(Gap::Space);
                if kind == Block::Item && !tag.closing {
                    self.text("• ");
                }
            }
            Kind::Block(kind) if tag.closing => self.close_element(kind),
            Kind::Block(kind) => self.open_element(kind, tag, at),
        }
    }

    /// Whether the text is within emphasis, a link or a cell of Markdown, where no block can be.
    fn is_inline(&self) -> bool {
        self.html.inline_depth > 0 || !self.html.marks.is_empty() || !self.links.is_empty()
    }

    pub(super) fn next_is_paired(&mut self) -> bool {
        let paired = self.html.pairs.get(self.html.seen).copied();
        self.html.seen += 1;
        paired.unwrap_or(false)
    }

    fn anchor(&mut self, tag: &Tag<'_>) {
        if !tag.closing {
            let url = tag.attribute("href");
            self.html.links.push(url.is_some());
            if let Some(url) = url {
                self.link(LinkType::Inline, &url);
            }
        } else if self.html.links.pop() == Some(true) {
            self.end_link();
        }
    }

    fn open_mark(&mut self, kind: Inline) {
        if let Some((_, times)) = self.html.marks.iter_mut().find(|(open, _)| *open == kind) {
            *times += 1;
            return;
        }
        self.html.marks.push((kind, 1));
        self.begin_mark(kind);
    }

    /// Closes a mark. What was opened within it goes on behind it, so tags may cross.
    fn close_mark(&mut self, kind: Inline) {
        let marks = &mut self.html.marks;
        let Some(position) = marks.iter().position(|(open, _)| *open == kind) else {
            return;
        };
        marks[position].1 -= 1;
        if marks[position].1 > 0 {
            return;
        }
        marks.remove(position);
        let within: Vec<Inline> = marks[position..].iter().map(|(kind, _)| *kind).collect();
        within.iter().rev().for_each(|kind| self.end_mark(*kind));
        self.end_mark(kind);
        within.iter().for_each(|kind| self.begin_mark(*kind));
    }

    fn begin_mark(&mut self, kind: Inline) {
        match self.mark_style(kind) {
            Some(style) => self.open(style),
            None => {
                self.flush_marker();
                let outside = take(&mut self.out);
                self.html.outside_marks.push(outside);
            }
        }
    }

    fn end_mark(&mut self, kind: Inline) {
        if self.mark_style(kind).is_some() {
            return self.out.close();
        }
        let outside = self.html.outside_marks.pop().unwrap_or_default();
        let inner = std::mem::replace(&mut self.out, outside).finish();
        match kind {
            Inline::Code => self.inline_code(&inner.text),
            Inline::Subscript => self.script(&inner, SUBSCRIPTS, "_"),
            _ => self.script(&inner, SUPERSCRIPTS, "^"),
        }
    }

    /// A subscript or superscript in the characters that Unicode has for it, else behind a mark.
    fn script(&mut self, inner: &FormattedText, (from, to): (&str, &str), mark: &str) {
        let small = |c| Some(to.chars().zip(from.chars()).find(|(_, f)| *f == c)?.0);
        if let Some(text) = inner.text.chars().map(small).collect::<Option<String>>() {
            return self.text(&text);
        }
        // The number of a source is no exponent.
        let bare = inner.text.starts_with(['[', '(']) || inner.text.trim().is_empty();
        let several = !bare && inner.text.chars().nth(1).is_some();
        self.text(match (bare, several) {
            (true, _) => "",
            (_, true) if mark == "_" => "_(",
            (_, true) => "^(",
            _ => mark,
        });
        self.out.append(inner);
        if several {
            self.text(")");
        }
    }

    /// The style of a mark; `None`: it has to be rewritten.
    fn mark_style(&self, kind: Inline) -> Option<Style> {
        match kind {
            Inline::Bold => Some(Style::Bold),
            Inline::Italic => Some(Style::Italic),
            Inline::Underline => Some(Style::Underline),
            Inline::Strikethrough => Some(Style::Strikethrough),
            Inline::Spoiler => Some(Style::Spoiler),
            Inline::Subscript => self.is_rich().then_some(Style::Subscript),
            Inline::Superscript => self.is_rich().then_some(Style::Superscript),
            Inline::Code | Inline::Link => None,
        }
    }
}
