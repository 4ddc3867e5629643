//! Renders Markdown with tables or formulas into rich messages (Bot API 10.1), each with the text messages that say the same where a server
//! does not take it.
//!
//! No HTML passes through: a tag of the answer counts as far as a text has something for it, and what is sent is written from the parsed text
//! alone.

mod document;
mod size;
mod split;

use std::borrow::Cow;

use super::blocks::{self, Target};
use super::delimiters::Prepared;
use super::formatted_text::FormattedText;
use super::{Messages, PartLimit, RenderedPart, cost, math, with_unix_line_ends};
use document::Document;

/// One message of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnswerMessage {
    /// A text.
    Text(RenderedPart),
    /// A rich message.
    Rich(RichMessage),
}

/// A rich message, and what says the same in texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RichMessage {
    /// For `rich_message.html` (Bot API, "Rich HTML style"), within the limits of a rich message.
    pub html: String,
    /// At least one message.
    pub fallback: Vec<RenderedPart>,
}

/// Renders a text that has a table or a formula; `None` for any other, and for one that would be more than `limit.parts` messages without rich ones:
/// [`super::render_within`] cuts it.
///
/// Takes time and memory in proportion to the text.
pub fn render_rich_within(markdown: &str, limit: PartLimit<'_>) -> Option<Vec<AnswerMessage>> {
    if !may_need_rich_message(markdown) {
        return None;
    }
    let markdown = with_unix_line_ends(markdown);
    let source = math::fence_formulas(&markdown);
    if !cost::is_linear(&Prepared::new(Cow::Borrowed(&source)).source) {
        return None;
    }
    let document = Document::of(&format(&source, Target::Rich));
    let messages = if document.size.is_too_big() {
        split::messages(&source)
    } else if document.size.needs_rich_message() {
        vec![rich_message(document, &source)]
    } else {
        return None;
    };
    let is_rich = |message: &AnswerMessage| matches!(message, AnswerMessage::Rich(_));
    let texts = |message: &AnswerMessage| match message {
        AnswerMessage::Text(_) => 1,
        AnswerMessage::Rich(rich) => rich.fallback.len(),
    };
    let fits = messages.iter().map(texts).sum::<usize>() <= limit.parts;
    (fits && messages.iter().any(is_rich)).then_some(messages)
}

/// Whether a text can have a table or a formula: looks at the characters only.
fn may_need_rich_message(markdown: &str) -> bool {
    markdown.contains(['|', '$', '\\']) || markdown.contains("<t") || markdown.contains("math")
}

/// Formats a source with its formulas fenced, of which the cost is known.
fn format(source: &str, target: Target) -> FormattedText {
    blocks::format(&Prepared::new(Cow::Borrowed(source)), target)
}

fn text_messages(source: &str) -> Vec<RenderedPart> {
    let formatted = format(source, Target::Text);
    let parts = Messages::new(&formatted).render(usize::MAX);
    parts.into_iter().map(|(_, part)| part).collect()
}

fn rich_message(document: Document, source: &str) -> AnswerMessage {
    AnswerMessage::Rich(RichMessage {
        html: document.html,
        fallback: text_messages(source),
    })
}
