//! What reaches the assistant of what people send: the words, and in words what they refer to, which the assistant cannot see.

mod content_text;
mod message_relation;
mod quote;

use crate::history::ChatMessage;
use crate::pipeline::decide::groups::{self, BotIdentity};
use crate::pipeline::message::incoming_update::{
    Content, IncomingUpdate, Sticker, TelegramFile, UpdateKind,
};
pub(crate) use content_text::is_picture_type;
use content_text::{content_text, is_picture};
pub use message_relation::MessageRelation;
pub(crate) use message_relation::{join_texts, may_be_truncated, message_relation};

/// Before the words of a message that was answered and then changed.
const EDITED_PREFIX: &str = "[edited an earlier message, which now reads]\n";
/// Stands for what was sent beside the words and is of a kind that this version does not know.
const UNKNOWN_ATTACHMENT: &str = "[attachment]";

/// What the assistant is given of a message, or why it is given nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum AssistantInput {
    /// These words, and a picture if there is one. The words may be empty only beside a picture.
    Text {
        /// What was said, with what it refers to.
        text: String,
        /// A picture that goes with it.
        picture: Option<TelegramFile>,
    },
    /// A voice message, a piece of music or a round video, to be written down by somebody who can.
    Transcribe(TelegramFile),
    /// A file, to be read if it is text.
    ReadFile(TelegramFile),
    /// Nothing was said, as with a mention alone: a greeting is the answer.
    Empty,
    /// Polls, dice and the like: one friendly sentence is the answer.
    Unsupported,
}

/// What the message is read with besides itself.
#[derive(Clone, Copy)]
pub struct InputContext<'a> {
    /// The bot that it was sent to.
    pub bot: BotIdentity<'a>,
    /// What the assistant is given of the session before it; empty where that is not known yet, or nothing.
    pub history: &'a [ChatMessage],
    /// Somebody hears what is said in a round video.
    pub hears: bool,
}

/// What the assistant is given of a message. The kind of input does not depend on the history.
pub(crate) fn assistant_input(
    incoming: &IncomingUpdate,
    context: InputContext<'_>,
) -> AssistantInput {
    let text = groups::strip_bot_mention(incoming, context.bot);
    let asked = |text: String, picture: Option<TelegramFile>| AssistantInput::Text {
        text: with_sender_name(incoming, with_context(incoming, context, &text)),
        picture,
    };
    let ask = |text: String| asked(text, None);
    match &incoming.content {
        // "@bot" as the reply to a message is a question about that message.
        Content::Text if text.is_empty() && with_context(incoming, context, "").is_empty() => {
            AssistantInput::Empty
        }
        Content::Text => asked(text, replied_picture(incoming)),
        Content::Photo(file) => asked(text, Some(file.clone())),
        Content::Document(file) if is_picture(file) => asked(text, Some(file.clone())),
        Content::Document(file) => AssistantInput::ReadFile(file.clone()),
        Content::Voice(file, _) | Content::Audio(file) => AssistantInput::Transcribe(file.clone()),
        Content::VideoNote(note) if context.hears => AssistantInput::Transcribe(note.file.clone()),
        // Under a question of the bot's it is an answer.
        Content::Sticker(Sticker {
            emoji: Some(emoji), ..
        }) if groups::replies_to_bot(incoming, context.bot) => ask(below(emoji, "\n", &text)),
        Content::Video(_) | Content::VideoNote(_) | Content::Animation(_) | Content::Sticker(_) => {
            let sent = content_text(&incoming.content).unwrap_or_default();
            asked(
                below(&sent, "\n", &text),
                still_of(&incoming.content).cloned(),
            )
        }
        Content::Location { .. } | Content::Contact { .. } | Content::Checklist { .. } => {
            let sent = content_text(&incoming.content).unwrap_or_default();
            ask(below(&sent, "\n", &text))
        }
        // The words under anything else are a question that can be answered without it.
        content if !text.is_empty() => {
            let sent = content_text(content);
            let sent = sent.as_deref().unwrap_or(UNKNOWN_ATTACHMENT);
            ask(below(sent, "\n", &text))
        }
        _ => AssistantInput::Unsupported,
    }
}

/// What was sent, and the words below it.
fn below(sent: &str, gap: &str, words: &str) -> String {
    let gap = if sent.is_empty() || words.is_empty() {
        ""
    } else {
        gap
    };
    format!("{sent}{gap}{words}")
}

/// The picture that a text answers: whoever asks "what is this?" under one means it.
fn replied_picture(incoming: &IncomingUpdate) -> Option<TelegramFile> {
    match &incoming.reply_to.as_ref()?.content {
        Content::Photo(file) => Some(file.clone()),
        Content::Document(file) if is_picture(file) => Some(file.clone()),
        content => still_of(content).cloned(),
    }
}

/// What can be seen of a video or a sticker.
pub(crate) fn still_of(content: &Content) -> Option<&TelegramFile> {
    match content {
        Content::Video(video) | Content::VideoNote(video) | Content::Animation(video) => {
            video.thumbnail.as_ref()
        }
        Content::Sticker(sticker) => sticker.picture.as_ref(),
        _ => None,
    }
}

/// What the assistant is given of a message whose file says `words`: below the caption.
pub(crate) fn with_file_text(
    incoming: &IncomingUpdate,
    context: InputContext<'_>,
    words: &str,
) -> String {
    let caption = groups::strip_bot_mention(incoming, context.bot);
    let words = below(&caption, "\n\n", words);
    with_sender_name(incoming, with_context(incoming, context, &words))
}

/// What the assistant is given of a picture that it cannot see: that there is one, and the caption.
pub(crate) fn with_unsupported_picture(
    incoming: &IncomingUpdate,
    context: InputContext<'_>,
) -> String {
    let caption = groups::strip_bot_mention(incoming, context.bot);
    let words = below("[photo]", "\n", &caption);
    with_sender_name(incoming, with_context(incoming, context, &words))
}

/// What was said in a group to others, in words; `None` where there are none.
pub(crate) fn words_in_group(incoming: &IncomingUpdate, bot: BotIdentity<'_>) -> Option<String> {
    let words = groups::strip_bot_mention(incoming, bot);
    let sent = content_text(&incoming.content).unwrap_or_default();
    Some(below(&sent, "\n", &words)).filter(|words| !words.is_empty())
}

/// In a group, who says it: the assistant hears many, and so does whoever reads the history.
fn with_sender_name(incoming: &IncomingUpdate, text: String) -> String {
    let name = incoming.sender.as_ref().map_or("", |s| s.name.trim());
    if incoming.is_private() || name.is_empty() {
        return text;
    }
    // A quotation or a mark keeps the beginning of its line.
    let gap = if text.starts_with(['>', '[']) {
        '\n'
    } else {
        ' '
    };
    format!("{name}:{gap}{text}").trim_end().to_owned()
}

/// The words with what they answer or who said them first, which the assistant has not seen otherwise.
fn with_context(incoming: &IncomingUpdate, context: InputContext<'_>, words: &str) -> String {
    let mut text = String::new();
    if let Some(quotation) = quote::quotation(incoming, context.bot, context.history, words) {
        text.push_str(&quotation);
        text.push_str("\n\n");
    }
    if incoming.kind == UpdateKind::EditedMessage {
        text.push_str(EDITED_PREFIX);
    }
    match incoming.forwarded_from.as_deref() {
        None => {}
        Some("") => text.push_str("[forwarded]\n"),
        Some(from) => text.extend(["[forwarded from ", from, "]\n"]),
    }
    text.push_str(words);
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests;
