//! Renders Markdown as language models write it into Telegram messages: a Markdown parser reads it into a text with entities, which is
//! split first and written as HTML last. So tags are balanced in every message, a code block that is split continues in
//! the next message, and no text is lost. What has tables or formulas can become rich messages (`rich`).

mod blocks;
mod cost;
mod delimiters;
mod file_names;
mod formatted_text;
mod math;
mod rich;
mod table;
mod tags;
mod text_writer;

use std::borrow::Cow;
use std::ops::Range;

use super::split::{self, MESSAGE_LIMIT};
use blocks::Target;
use delimiters::Prepared;
use formatted_text::{FormattedText, HtmlWriter, MAX_ENTITIES, escape};

pub use rich::{AnswerMessage, RichMessage, render_rich_within};

/// The longest source of a message that the Bot API server parses, in bytes (`Client::get_formatted_text`).
const MAX_SOURCE_BYTES: usize = 1 << 15;
/// Parts are not made shorter than this to satisfy the two limits above.
const MIN_SPLIT_UNITS: usize = 256;

/// Between the text and the mark of a text that was cut.
const MARK_GAP: &str = "\n\n";

/// One message of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedPart {
    /// For `parse_mode` HTML: balanced tags of Telegram's subset, and at most 4,096 UTF-16 units after entity parsing.
    pub html: String,
    /// The same text without formatting: sent if Telegram cannot parse `html`.
    pub plain: String,
}

/// How many messages a text may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartLimit<'a> {
    /// The most parts; at least one.
    pub parts: usize,
    /// Stands at the end of the last part if the text was cut.
    pub mark: &'a str,
}

/// Renders Markdown into messages; an empty text gives none. Never fails: what is not Markdown is shown as text.
///
/// Takes time and memory in proportion to the text. Of a text for which the parser would take more, nothing is formatted (see `cost.rs`).
pub fn render(markdown: &str) -> Vec<RenderedPart> {
    let formatted = format(markdown);
    let parts = Messages::new(&formatted).render(usize::MAX);
    parts.into_iter().map(|(_, part)| part).collect()
}

/// [`render`] with a limit: a text that is longer is cut.
pub fn render_within(markdown: &str, limit: PartLimit<'_>) -> Vec<RenderedPart> {
    Messages::new(&format(markdown)).within(limit)
}

/// [`render_within`] without any formatting.
pub fn plain_within(text: &str, limit: PartLimit<'_>) -> Vec<RenderedPart> {
    Messages::new(&FormattedText::from(text)).within(limit)
}

/// The last message of [`render`].
pub fn render_end(markdown: &str) -> Option<RenderedPart> {
    Messages::new(&format(markdown)).last()
}

/// A text that is no Markdown, as HTML that shows it as it is.
pub(crate) fn escape_text(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    escape(text, &mut html);
    html
}

fn format(markdown: &str) -> FormattedText {
    let markdown = with_unix_line_ends(markdown);
    let prepared = Prepared::new(math::fence_formulas(&markdown));
    if cost::is_linear(&prepared.source) {
        blocks::format(&prepared, Target::Text)
    } else {
        FormattedText::from(&*markdown)
    }
}

fn with_unix_line_ends(text: &str) -> Cow<'_, str> {
    if text.contains('\r') {
        text.replace("\r\n", "\n").replace('\r', "\n").into()
    } else {
        text.into()
    }
}

/// A formatted text that is cut into messages.
struct Messages<'a> {
    formatted: &'a FormattedText,
    html: HtmlWriter<'a>,
}

impl<'a> Messages<'a> {
    fn new(formatted: &'a FormattedText) -> Self {
        Self {
            formatted,
            html: HtmlWriter::new(formatted),
        }
    }

    /// All messages with their ranges; none is rendered once there are more than `enough`.
    fn render(&self, enough: usize) -> Vec<(Range<usize>, RenderedPart)> {
        let mut parts = Vec::new();
        for range in self.ranges() {
            if parts.len() > enough {
                break;
            }
            self.push_part(range, MESSAGE_LIMIT, &mut parts);
        }
        parts
    }

    fn within(&self, limit: PartLimit<'_>) -> Vec<RenderedPart> {
        let most = limit.parts.max(1);
        let mut parts = self.render(most);
        let cut = (parts.len() > most).then(|| self.cut(parts[most - 1].0.clone(), limit.mark));
        parts.truncate(most - usize::from(cut.is_some()));
        parts.into_iter().map(|(_, part)| part).chain(cut).collect()
    }

    fn last(&self) -> Option<RenderedPart> {
        let mut parts = Vec::new();
        self.push_part(self.ranges().pop()?, MESSAGE_LIMIT, &mut parts);
        Some(parts.pop()?.1)
    }

    fn ranges(&self) -> Vec<Range<usize>> {
        let keep = self.formatted.unbreakable_ranges();
        split::split_ranges(&self.formatted.text, MESSAGE_LIMIT, &keep)
    }

    /// Appends a part; halves it first if its source is too long or has more entities than Telegram keeps.
    fn push_part(
        &self,
        range: Range<usize>,
        limit: usize,
        parts: &mut Vec<(Range<usize>, RenderedPart)>,
    ) {
        let (html, entities) = self.html.html(range.clone());
        let text = &self.formatted.text[range.clone()];
        if (html.len() <= MAX_SOURCE_BYTES && entities <= MAX_ENTITIES) || limit <= MIN_SPLIT_UNITS
        {
            let plain = text.to_owned();
            parts.push((range, RenderedPart { html, plain }));
            return;
        }
        let half = (split::utf16_len(text) / 2 + 1).min(limit / 2);
        for cut in split::split_ranges(text, half, &[]) {
            let cut = range.start + cut.start..range.start + cut.end;
            self.push_part(cut, half, parts);
        }
    }

    /// As much of a part as leaves room for the mark, and the mark.
    fn cut(&self, range: Range<usize>, mark: &str) -> RenderedPart {
        let text = &self.formatted.text[range.clone()];
        let mut units = MESSAGE_LIMIT.saturating_sub(split::utf16_len(mark) + MARK_GAP.len());
        loop {
            let first = split::split_ranges(text, units, &[]).into_iter().next();
            let end = range.start + first.map_or(0, |first| first.end);
            let (mut html, _) = self.html.html(range.start..end);
            html.push_str(MARK_GAP);
            escape(mark, &mut html);
            if html.len() <= MAX_SOURCE_BYTES || units <= MIN_SPLIT_UNITS {
                let plain = format!("{}{MARK_GAP}{mark}", &self.formatted.text[range.start..end]);
                return RenderedPart { html, plain };
            }
            units /= 2;
        }
    }
}
