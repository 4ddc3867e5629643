//! A text with entities, Telegram's own model of formatting, of which any range can be written as HTML.

use std::ops::Range;

use super::table::Table;

/// The most entities of a message; Telegram silently drops the rest.
pub(super) const MAX_ENTITIES: usize = 100;

/// The kind of an entity (Bot API, "HTML style").
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Style {
    Bold,
    Italic,
    Underline,
    Strikethrough,
    Spoiler,
    /// Inline code: contains no other entity and is contained in none but a quote.
    Code,
    /// A code block with its language, if it has one; the same restrictions.
    Pre(Option<String>),
    /// A link to an http, https or tg URL.
    Link(String),
    /// In a rich message only.
    Subscript,
    /// In a rich message only.
    Superscript,
    /// LaTeX within a line; in a rich message only.
    Formula,
    /// A quote: never within another quote.
    Quote,
    /// A quote of which a few lines are shown until it is opened; the same restriction.
    Details,
    /// A block of a rich message.
    Block(RichBlock),
}

/// What rich messages have as blocks, and texts show by marks.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum RichBlock {
    /// Of a level, 1 to 6.
    Heading(u8),
    /// What a details block shows while it is closed.
    Summary,
    /// Contains items.
    List { is_ordered: bool },
    /// An item, with its number in an ordered list, and whether it is done if it is a task.
    Item {
        number: Option<u64>,
        done: Option<bool>,
    },
    /// A table; the text in its place says nothing.
    Table(Box<Table>),
    /// LaTeX on lines of its own.
    Formula,
    /// A thematic break.
    Rule,
}

impl Style {
    /// Whether it is a block rather than a mark within a line.
    pub(super) fn is_block(&self) -> bool {
        matches!(
            self,
            Self::Pre(_) | Self::Quote | Self::Details | Self::Block(_)
        )
    }
}

/// A formatted range of the text, in bytes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entity {
    pub(super) range: Range<usize>,
    pub(super) style: Style,
}

impl Entity {
    /// The same entity in a text with as many bytes more before it.
    pub(super) fn moved_by(&self, offset: usize) -> Self {
        Self {
            range: self.range.start + offset..self.range.end + offset,
            style: self.style.clone(),
        }
    }
}

/// A text and its entities, which form a tree: in the order of their beginnings, outer before inner, without partial overlaps.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct FormattedText {
    pub(super) text: String,
    pub(super) entities: Vec<Entity>,
}

impl FormattedText {
    /// Appends another text with its entities.
    pub(super) fn append(&mut self, other: &Self) {
        let offset = self.text.len();
        self.text.push_str(&other.text);
        self.entities
            .extend(other.entities.iter().map(|entity| entity.moved_by(offset)));
    }

    /// The ranges that should not be split.
    pub(super) fn unbreakable_ranges(&self) -> Vec<Range<usize>> {
        self.entities
            .iter()
            .filter(|s| matches!(s.style, Style::Code | Style::Pre(_) | Style::Link(_)))
            .map(|s| s.range.clone())
            .collect()
    }
}

impl From<&str> for FormattedText {
    /// A text without formatting.
    fn from(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            entities: Vec::new(),
        }
    }
}

/// Writes ranges of a text as HTML. It finds the entities of a range without looking at all of them.
pub(super) struct HtmlWriter<'a> {
    formatted: &'a FormattedText,
    /// The entity that contains each entity.
    parents: Vec<Option<usize>>,
}

impl<'a> HtmlWriter<'a> {
    pub(super) fn new(formatted: &'a FormattedText) -> Self {
        let entities = &formatted.entities;
        let mut parents = Vec::with_capacity(entities.len());
        let mut parent: Option<usize> = None;
        for (index, entity) in entities.iter().enumerate() {
            while let Some(outer) = parent
                && entities[outer].range.end <= entity.range.start
            {
                parent = parents[outer];
            }
            parents.push(parent);
            parent = Some(index);
        }
        Self { formatted, parents }
    }

    /// The entities that share text with a range, in their order.
    fn entities_of(&self, part: &Range<usize>) -> Vec<&'a Entity> {
        let entities = &self.formatted.entities;
        let first = entities.partition_point(|entity| entity.range.start < part.start);
        // What began before the range and reaches into it contains the last entity before the range, or is that.
        let mut found = Vec::new();
        let mut before = first.checked_sub(1);
        while let Some(index) = before {
            if entities[index].range.end > part.start {
                found.push(&entities[index]);
            }
            before = self.parents[index];
        }
        found.reverse();
        let within = entities[first..].iter();
        found.extend(within.take_while(|entity| entity.range.start < part.end));
        found
    }

    /// A range as HTML with balanced tags, and the number of its entities; only as many are written as Telegram keeps.
    pub(super) fn html(&self, part: Range<usize>) -> (String, usize) {
        let mut html = String::with_capacity(part.len() + part.len() / 8);
        let entities = self.entities_of(&part);
        let (count, _) = self.write(part, &entities, &mut html);
        (html, count)
    }

    /// Writes a range with its marks, but without the blocks around it. How deep the marks are within each other.
    pub(super) fn write_line(&self, part: Range<usize>, html: &mut String) -> usize {
        let mut marks = self.entities_of(&part);
        marks.retain(|entity| !entity.style.is_block());
        self.write(part, &marks, html).1
    }

    /// Writes a range with these entities. The number of entities, and how deep they are within each other.
    fn write(&self, part: Range<usize>, entities: &[&Entity], html: &mut String) -> (usize, usize) {
        let text = &self.formatted.text;
        let mut open: Vec<&Entity> = Vec::new();
        let mut at = part.start;
        let (mut entity_count, mut depth) = (0, 0);
        for entity in entities {
            let start = entity.range.start.max(part.start);
            let end = entity.range.end.min(part.end);
            if start >= end || text[start..end].trim().is_empty() {
                continue;
            }
            entity_count += 1;
            if entity_count > MAX_ENTITIES {
                continue;
            }
            while let Some(inner) = open.pop_if(|s| s.range.end <= start) {
                self.escape_until(&mut at, inner.range.end, html);
                close_tag(&inner.style, html);
            }
            self.escape_until(&mut at, start, html);
            open_tag(&entity.style, html);
            open.push(entity);
            depth = depth.max(open.len());
        }
        while let Some(inner) = open.pop() {
            self.escape_until(&mut at, inner.range.end.min(part.end), html);
            close_tag(&inner.style, html);
        }
        self.escape_until(&mut at, part.end, html);
        (entity_count, depth)
    }

    fn escape_until(&self, at: &mut usize, to: usize, html: &mut String) {
        escape(&self.formatted.text[*at..to], html);
        *at = to;
    }
}

/// Appends a text to HTML as itself.
pub(super) fn escape(text: &str, html: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.find(['&', '<', '>', '"']) {
        html.push_str(&rest[..at]);
        html.push_str(match rest.as_bytes()[at] {
            b'&' => "&amp;",
            b'<' => "&lt;",
            b'>' => "&gt;",
            _ => "&quot;",
        });
        rest = &rest[at + 1..];
    }
    html.push_str(rest);
}

fn open_tag(style: &Style, html: &mut String) {
    let tag = match style {
        Style::Bold => "<b>",
        Style::Italic => "<i>",
        Style::Underline => "<u>",
        Style::Strikethrough => "<s>",
        Style::Spoiler => "<tg-spoiler>",
        Style::Code => "<code>",
        Style::Pre(None) => "<pre>",
        Style::Pre(Some(language)) => {
            html.push_str("<pre><code class=\"language-");
            escape(language, html);
            "\">"
        }
        Style::Link(url) => {
            html.push_str("<a href=\"");
            escape(url, html);
            "\">"
        }
        Style::Quote => "<blockquote>",
        Style::Details => "<blockquote expandable>",
        Style::Subscript => "<sub>",
        Style::Superscript => "<sup>",
        Style::Formula => "<tg-math>",
        // They are written around lines, not within them.
        Style::Block(_) => "",
    };
    html.push_str(tag);
}

fn close_tag(style: &Style, html: &mut String) {
    html.push_str(match style {
        Style::Bold => "</b>",
        Style::Italic => "</i>",
        Style::Underline => "</u>",
        Style::Strikethrough => "</s>",
        Style::Spoiler => "</tg-spoiler>",
        Style::Code => "</code>",
        Style::Pre(None) => "</pre>",
        Style::Pre(Some(_)) => "</code></pre>",
        Style::Link(_) => "</a>",
        Style::Quote | Style::Details => "</blockquote>",
        Style::Subscript => "</sub>",
        Style::Superscript => "</sup>",
        Style::Formula => "</tg-math>",
        Style::Block(_) => "",
    });
}
