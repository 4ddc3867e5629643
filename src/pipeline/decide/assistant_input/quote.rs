//! The message that a message answers, as a quotation above its words.

use super::content_text::content_text;
use crate::history::{ChatMessage, Role};
use crate::pipeline::decide::groups::{self, BotIdentity};
use crate::pipeline::message::cut::cut;
use crate::pipeline::message::incoming_update::{Content, IncomingUpdate, ReplyTo};

/// The longest quotation of a message that is answered, in characters.
const MAX_QUOTE_CHARS: usize = 2_000;
/// A stretch of so many letters is one of the parts of a longer answer, not a word that happens to be in it.
const MIN_PART_LETTERS: usize = 1_000;

/// The quotation, each line behind `> `: the part that was marked, else the whole of it, else what it is. In a group it says whose words
/// they are. Of the bot's own messages those in `history` are not quoted again, but where a part was marked or nothing else is said.
pub(super) fn quotation(
    incoming: &IncomingUpdate,
    bot: BotIdentity<'_>,
    history: &[ChatMessage],
    words: &str,
) -> Option<String> {
    let reply = incoming.reply_to.as_ref()?;
    let ours = groups::replies_to_bot(incoming, bot);
    let quoted = match (&reply.quote, &reply.text) {
        (Some(quote), _) => quote.clone(),
        (None, Some(text)) if ours && !words.is_empty() && is_in_history(text, history) => {
            return None;
        }
        (None, Some(text)) => text.clone(),
        (None, None) => content_text(&reply.content)?,
    };
    if quoted.trim().is_empty() {
        return None;
    }
    let author = if incoming.is_private() || !has_words(reply) {
        None
    } else {
        let name = reply.author.as_deref();
        name.or_else(|| ours.then_some(bot.username))
    };
    Some(quote_lines(author, &cut(&quoted, MAX_QUOTE_CHARS)))
}

/// Whether somebody's words are quoted, and not only what was sent.
fn has_words(reply: &ReplyTo) -> bool {
    reply.quote.is_some()
        || reply.text.is_some()
        || matches!(
            reply.content,
            Content::Poll { .. } | Content::Checklist { .. }
        )
}

fn quote_lines(author: Option<&str>, quoted: &str) -> String {
    let mut text = String::with_capacity(quoted.len() + 16);
    if let Some(author) = author {
        text.extend(["> ", author.trim(), ":"]);
        // A block of code, a list or a mark keeps the beginning of its line.
        text.push_str(
            if quoted.starts_with(['>', '[', '`', '#', '-', '|', '\n']) {
                "\n> "
            } else {
                " "
            },
        );
    } else {
        text.push_str("> ");
    }
    for (n, line) in quoted.lines().enumerate() {
        text.push_str(if n == 0 { "" } else { "\n> " });
        text.push_str(line);
    }
    text
}

/// Whether the assistant is given these words of the bot's anyway: they are an answer in the history, or one of the parts of a long one.
/// Telegram shows the Markdown of an answer as marks of its own, so that only letters and digits are compared.
fn is_in_history(text: &str, history: &[ChatMessage]) -> bool {
    let letters = |text: &str| -> String { text.chars().filter(|c| c.is_alphanumeric()).collect() };
    let part = letters(text);
    history
        .iter()
        .filter(|message| message.role == Role::Assistant)
        .any(|answer| {
            if part.is_empty() {
                return answer.text.trim() == text.trim();
            }
            let whole = letters(&answer.text);
            whole == part
                || (whole.len() > MIN_PART_LETTERS && whole.ends_with(&part))
                || (part.len() > MIN_PART_LETTERS && whole.contains(&part))
        })
}
