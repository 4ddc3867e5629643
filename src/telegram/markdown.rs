//! Renders Markdown as language models write it into Telegram messages: a Markdown parser reads it into a text with entities, which is
//! split first and written as HTML last. So tags are balanced in every message, a code block that is split continues in
//! the next message, and no text is lost.

mod blocks;
mod formatted_text;
mod math;
mod table;

use std::ops::Range;

use super::split::{self, MESSAGE_LIMIT};
use formatted_text::FormattedText;

/// The longest source of a message that the Bot API server parses, in bytes (`Client::get_formatted_text`).
const MAX_SOURCE_BYTES: usize = 1 << 15;
/// The most entities of a message; Telegram silently drops the rest.
const MAX_ENTITIES: usize = 100;
/// Parts are not made shorter than this to satisfy the two limits above.
const MIN_SPLIT_UNITS: usize = 256;

/// One message of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedPart {
    /// For `parse_mode` HTML: balanced tags of Telegram's subset, and at most 4,096 UTF-16 units after entity parsing.
    pub html: String,
    /// The same text without formatting: sent if Telegram cannot parse `html`.
    pub plain: String,
}

/// Renders Markdown into messages; an empty text gives none. Never fails: what is not Markdown is shown as text.
pub fn render(markdown: &str) -> Vec<RenderedPart> {
    let source = math::fence_formulas(markdown);
    let formatted = blocks::format(&source);
    let keep = formatted.unbreakable_ranges();
    let mut parts = Vec::new();
    for range in split::split_ranges(&formatted.text, MESSAGE_LIMIT, &keep) {
        push_part(&formatted, range, MESSAGE_LIMIT, &mut parts);
    }
    parts
}

/// Appends a part; halves it first if its source is too long or has more entities than Telegram keeps.
fn push_part(
    formatted: &FormattedText,
    range: Range<usize>,
    limit: usize,
    parts: &mut Vec<RenderedPart>,
) {
    let (html, entities) = formatted.to_html(range.clone());
    if (html.len() <= MAX_SOURCE_BYTES && entities <= MAX_ENTITIES) || limit <= MIN_SPLIT_UNITS {
        parts.push(RenderedPart {
            html,
            plain: formatted.text[range].to_owned(),
        });
        return;
    }
    let text = &formatted.text[range.clone()];
    let half = (split::utf16_len(text) / 2 + 1).min(limit / 2);
    for cut in split::split_ranges(text, half, &[]) {
        let cut = range.start + cut.start..range.start + cut.end;
        push_part(formatted, cut, half, parts);
    }
}
