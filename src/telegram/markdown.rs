//! Markdown as models write it, shown as well as Telegram can: a real parser reads it, the result is a text with marked spans, and
//! only when that is cut into messages does it become HTML. So tags are balanced in every message, a code block that is cut goes
//! on in the next one, and nothing of the text is lost.

mod blocks;
mod formatted_text;
mod math;
mod table;

use std::ops::Range;

use super::split::{self, MESSAGE_LIMIT};
use formatted_text::FormattedText;

/// The longest source of a message that the Bot API server parses, in bytes (`Client::get_formatted_text`).
const MAX_SOURCE_BYTES: usize = 1 << 15;
/// Telegram keeps so many entities of a message and silently drops the rest.
const MAX_ENTITIES: usize = 100;
/// Parts are not cut shorter than this for the sake of the two limits above.
const MIN_SPLIT_UNITS: usize = 256;

/// One message of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedPart {
    /// For `parse_mode` HTML: balanced tags of Telegram's subset, and at most 4,096 UTF-16 units after entity parsing.
    pub html: String,
    /// The same text without formatting: what goes out if Telegram cannot parse `html`.
    pub plain: String,
}

/// Renders Markdown into the messages that show it; none, if there is nothing to show. Never fails: what is no Markdown is text.
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

/// Adds a part; in halves, if its source is too long or has more entities than Telegram keeps.
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
