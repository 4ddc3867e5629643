//! What is shown of a message that a bot has sent.

use serde::Serialize;
use serde_json::Value;

use super::entity::Entity;
use super::rich_messages;
use super::telegram_state::StoredMessage;

/// A file that a bot has sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SentMedia {
    /// The field of the message that holds it: `photo`, `document`, `audio`, `voice`, `video` or `animation`.
    pub kind: String,
    /// The `file_id`, of a photo that of its largest size.
    pub file_id: String,
    /// The name in the upload; empty without one.
    pub file_name: String,
    /// The media type by the first bytes, whatever the bot called it.
    pub sniffed_type: String,
    /// In bytes.
    pub size: usize,
    /// SHA-256 of the content, in hexadecimal digits.
    pub sha256: String,
    /// The album that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_group_id: Option<String>,
}

/// A message of a bot in its current state.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SentMessage {
    /// Its id in the chat.
    pub message_id: i64,
    /// The chat's id.
    pub chat_id: i64,
    /// The topic's `message_thread_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<i64>,
    /// The `message_id` that it replies to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<i64>,
    /// The text as users see it, without markup; of a rich message its words.
    pub text: String,
    /// The `RichMessage` of `sendRichMessage`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rich_message: Option<Value>,
    /// The caption of `media` as users see it, without markup; empty without one.
    pub caption: String,
    /// The formatting of the text or caption.
    pub entities: Vec<Entity>,
    /// The text or caption as the bot sent it, with its markup.
    pub source: String,
    /// `html`, `markdownv2`, `markdown`, or empty; of a rich message `html` or `markdown`.
    pub parse_mode: String,
    /// The text or caption after each edit; the last is the present one.
    pub edits: Vec<String>,
    /// The keyboard as it is now: an `InlineKeyboardMarkup`, or what was sent instead of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_markup: Option<Value>,
    /// The file in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media: Option<SentMedia>,
    /// Whether the bot has deleted it.
    pub deleted: bool,
    /// Whether [`DropAfter`](crate::FaultKind::DropAfter) or [`HangAfter`](crate::FaultKind::HangAfter) suppressed the response, so that the
    /// bot may send the message again.
    pub unanswered: bool,
    /// When it was sent.
    pub at: jiff::Timestamp,
}

impl From<&StoredMessage> for SentMessage {
    fn from(stored: &StoredMessage) -> Self {
        let message = &stored.message;
        let rich_message = message.content.get("rich_message").cloned();
        let rich_text = rich_message.as_ref().map(rich_messages::plain_text);
        Self {
            message_id: message.message_id,
            chat_id: message.chat.id,
            thread_id: message.message_thread_id,
            reply_to: message.reply_to_message.as_ref().map(|m| m.message_id),
            text: message.text.clone().or(rich_text).unwrap_or_default(),
            rich_message,
            caption: message.caption.clone().unwrap_or_default(),
            entities: if message.text.is_some() {
                message.entities.clone()
            } else {
                message.caption_entities.clone()
            },
            source: stored.source.clone(),
            parse_mode: stored.parse_mode.clone(),
            edits: stored.edits.clone(),
            reply_markup: stored.markup.clone(),
            media: stored.media.clone(),
            deleted: stored.deleted,
            unanswered: stored.unanswered,
            at: stored.at,
        }
    }
}
