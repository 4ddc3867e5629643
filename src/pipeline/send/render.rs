//! From what is to be said to the messages that say it.

use std::sync::LazyLock;

use crate::pipeline::send::render_pool::RenderPool;
use crate::store::{FallbackText, PartContent, ReplyPart, RichPart};
use crate::telegram::markdown::{self, AnswerMessage, PartLimit, RenderedPart};
use crate::telegram::split::{MESSAGE_LIMIT, split};
use crate::texts::Texts;

/// The most messages that one answer becomes. A model that goes on without end would otherwise fill a chat with hundreds of them, which Telegram
/// takes at one a second; 40 full messages are more than what is kept of an answer (`ask::MAX_ANSWER_BYTES`).
pub(crate) const MAX_ANSWER_PARTS: usize = 40;

static POOL: LazyLock<RenderPool> = LazyLock::new(RenderPool::default);

/// The bot's own words: plain text.
pub(crate) fn plain_parts(text: &str, reply_to: Option<i64>) -> Vec<ReplyPart> {
    split(text, MESSAGE_LIMIT)
        .into_iter()
        .map(|text| ReplyPart::text(None, text.to_string(), reply_to))
        .collect()
}

/// The assistant's words: Markdown as models write it. At most [`MAX_ANSWER_PARTS`]; the last says so if there would be more. What takes too
/// long to render is sent as plain text. With `as_rich`, tables and formulas are rich messages.
pub(crate) async fn markdown_parts(
    text: &str,
    texts: &'static Texts,
    reply_to: Option<i64>,
    as_rich: bool,
) -> Vec<ReplyPart> {
    let limit = part_limit(texts);
    let rendered = POOL.run(text, move |text| render_within(text, limit, as_rich));
    let Some(parts) = rendered.await else {
        let bytes = text.len();
        tracing::warn!(
            bytes,
            "an answer was not rendered in time; it is sent as plain text"
        );
        return plain_answer_parts(text, texts, reply_to);
    };
    let part = |message: AnswerMessage| match message {
        AnswerMessage::Text(part) => {
            let FallbackText { html, plain } = text_of(part);
            ReplyPart::text(html, plain, reply_to)
        }
        AnswerMessage::Rich(rich) => {
            let fallback = rich.fallback.into_iter().map(text_of).collect();
            let html = rich.html;
            ReplyPart {
                content: PartContent::Rich(RichPart { html, fallback }),
                reply_to,
                silent: false,
            }
        }
    };
    parts.into_iter().map(part).collect()
}

fn render_within(text: &str, limit: PartLimit<'_>, as_rich: bool) -> Vec<AnswerMessage> {
    let rich = as_rich.then(|| markdown::render_rich_within(text, limit));
    rich.flatten().unwrap_or_else(|| {
        let parts = markdown::render_within(text, limit);
        parts.into_iter().map(AnswerMessage::Text).collect()
    })
}

/// A text with its HTML if it has formatting: without it there is nothing that Telegram could fail to parse.
fn text_of(part: RenderedPart) -> FallbackText {
    FallbackText {
        html: (part.html != part.plain).then_some(part.html),
        plain: part.plain,
    }
}

/// The assistant's words as plain text, within the same bound.
pub(crate) fn plain_answer_parts(
    text: &str,
    texts: &'static Texts,
    reply_to: Option<i64>,
) -> Vec<ReplyPart> {
    let part = |part: RenderedPart| ReplyPart::text(None, part.plain, reply_to);
    let parts = markdown::plain_within(text, part_limit(texts));
    parts.into_iter().map(part).collect()
}

fn part_limit(texts: &'static Texts) -> PartLimit<'static> {
    PartLimit {
        parts: MAX_ANSWER_PARTS,
        mark: &texts.answer_cut,
    }
}

/// The last message of what there is of an answer, for its preview; `None` if it shows nothing or cannot be rendered now: answers go first.
pub(crate) async fn last_part(text: &str) -> Option<RenderedPart> {
    let rendered = POOL.run_if_free(text, markdown::render_end);
    rendered.await.flatten()
}
