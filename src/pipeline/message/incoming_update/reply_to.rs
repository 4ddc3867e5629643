//! The message that a message answers, as far as Telegram hands it along.

use crate::telegram::UpdateKind;
use crate::telegram::json::JsonObject;

use super::content::Content;
use super::entities;
use super::sender::{self, Sender};
use super::words::Words;

/// The message that this one answers.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplyTo {
    /// Its `message_id`; `None` if it is in another chat.
    pub message_id: Option<i64>,
    /// Who wrote it, bots included.
    pub sender: Option<Sender>,
    /// A name for people of who wrote it: of a user, a bot or a chat.
    pub author: Option<String>,
    /// Its text or caption, as Markdown.
    pub text: Option<String>,
    /// What was sent in it.
    pub content: Content,
    /// The part of it that the user quoted, as Markdown.
    pub quote: Option<String>,
}

/// What a message answers; `None` if it stands by itself.
pub(crate) fn read(message: &JsonObject<'_>) -> Option<ReplyTo> {
    let quote = message.object("quote").and_then(|quote| {
        let text = quote.text("text")?;
        Some(entities::markdown(
            &text,
            &entities::read(&quote, "entities"),
        ))
    });
    if let Some(replied) = message.object("reply_to_message") {
        // In a forum every message replies to the service message that opened its topic; nobody meant that as a reply.
        if replied.has("forum_topic_created") {
            return None;
        }
        let sender = sender::sender_of(&replied);
        let author = match &sender {
            Some(sender) => Some(sender.name.clone()),
            None => sender::title(&replied, "sender_chat"),
        };
        let words = Words::of(&replied);
        return Some(ReplyTo {
            message_id: replied.integer("message_id"),
            sender,
            author: author.filter(|name| !name.trim().is_empty()),
            text: words.markdown(),
            content: Content::of(UpdateKind::Message, &replied, words.rich),
            quote,
        });
    }
    message.object("external_reply").map(|replied| ReplyTo {
        message_id: None,
        sender: None,
        author: replied
            .object("origin")
            .map(|origin| sender::origin_name(&origin))
            .filter(|name| !name.trim().is_empty()),
        text: None,
        content: Content::of(UpdateKind::Message, &replied, false),
        quote,
    })
}
