//! Payloads that replace those of teloxide, whose message ids are 32 bits wide, which copies every text, whose `getUpdates` and
//! `Message` are strict, and which lacks `sendMessageDraft`. They implement teloxide's `Payload`, so that all methods are called in
//! one way.

use serde::{Deserialize, Serialize};
use teloxide::requests::Payload;

use super::keyboard::Keyboard;

/// Implements teloxide's [`Payload`] with the Bot API's name of the method.
macro_rules! payload {
    ($type:ty, $name:literal, $output:ty) => {
        impl Payload for $type {
            type Output = $output;
            const NAME: &'static str = $name;
        }
    };
}

/// The part of `getMe`'s result that the operator uses.
#[derive(Deserialize)]
pub(super) struct BotUser {
    pub(super) id: i64,
    #[serde(default)]
    pub(super) username: String,
    #[serde(default)]
    pub(super) first_name: String,
    pub(super) can_read_all_group_messages: Option<bool>,
}

/// `getUpdates`.
#[derive(Serialize)]
pub(super) struct GetUpdates {
    pub(super) offset: i64,
    pub(super) limit: u8,
    pub(super) timeout: u64,
    pub(super) allowed_updates: &'static [&'static str],
}
payload!(
    GetUpdates,
    "getUpdates",
    Vec<Box<serde_json::value::RawValue>>
);

/// `setWebhook` without a certificate; with one it is a form.
#[derive(Serialize)]
pub(super) struct SetWebhook<'a> {
    pub(super) url: &'a str,
    pub(super) secret_token: &'a str,
    pub(super) max_connections: u8,
    pub(super) allowed_updates: &'static [&'static str],
}
payload!(SetWebhook<'_>, "setWebhook", bool);

/// `parse_mode`; absent for plain text.
#[derive(Serialize, Clone, Copy)]
pub(super) enum ParseMode {
    #[serde(rename = "HTML")]
    Html,
}

#[derive(Serialize)]
pub(super) struct ReplyParameters {
    pub(super) message_id: i64,
    pub(super) allow_sending_without_reply: bool,
}

impl ReplyParameters {
    /// To a message; if that one is deleted, to none.
    pub(super) fn to(message_id: i64) -> Self {
        Self {
            message_id,
            allow_sending_without_reply: true,
        }
    }
}

#[derive(Serialize)]
pub(super) struct LinkPreviewOptions {
    pub(super) is_disabled: bool,
}

/// `sendMessage`.
#[derive(Serialize)]
pub(super) struct SendMessage<'a> {
    pub(super) chat_id: i64,
    pub(super) text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message_thread_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) direct_messages_topic_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) parse_mode: Option<ParseMode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reply_parameters: Option<ReplyParameters>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) disable_notification: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) link_preview_options: Option<LinkPreviewOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reply_markup: Option<&'a Keyboard>,
}
payload!(SendMessage<'_>, "sendMessage", SentMessageId);

/// `sendRichMessage` (Bot API 10.1).
#[derive(Serialize)]
pub(super) struct SendRichMessage<'a> {
    pub(super) chat_id: i64,
    pub(super) rich_message: InputRichMessage<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message_thread_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) direct_messages_topic_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reply_parameters: Option<ReplyParameters>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) disable_notification: bool,
}
payload!(SendRichMessage<'_>, "sendRichMessage", SentMessageId);

#[derive(Serialize)]
pub(super) struct InputRichMessage<'a> {
    pub(super) html: &'a str,
}

/// The part of a sent `Message` that the operator uses.
#[derive(Deserialize)]
pub(super) struct SentMessageId {
    pub(super) message_id: i64,
}

/// `editMessageText`.
#[derive(Serialize)]
pub(super) struct EditMessageText<'a> {
    pub(super) chat_id: i64,
    pub(super) message_id: i64,
    pub(super) text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) parse_mode: Option<ParseMode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) link_preview_options: Option<LinkPreviewOptions>,
}
payload!(EditMessageText<'_>, "editMessageText", SentMessageId);

/// `editMessageReplyMarkup`; without `reply_markup` the buttons go.
#[derive(Serialize)]
pub(super) struct EditMessageReplyMarkup<'a> {
    pub(super) chat_id: i64,
    pub(super) message_id: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reply_markup: Option<&'a Keyboard>,
}
payload!(
    EditMessageReplyMarkup<'_>,
    "editMessageReplyMarkup",
    SentMessageId
);

/// `answerCallbackQuery`.
#[derive(Serialize)]
pub(super) struct AnswerCallbackQuery<'a> {
    pub(super) callback_query_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<&'a str>,
}
payload!(AnswerCallbackQuery<'_>, "answerCallbackQuery", bool);

/// `deleteMessage`.
#[derive(Serialize)]
pub(super) struct DeleteMessage {
    pub(super) chat_id: i64,
    pub(super) message_id: i64,
}
payload!(DeleteMessage, "deleteMessage", bool);

/// `sendMessageDraft` (Bot API 9.3): private chats only.
#[derive(Serialize)]
pub(super) struct SendMessageDraft<'a> {
    pub(super) chat_id: i64,
    pub(super) draft_id: i64,
    pub(super) text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message_thread_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) parse_mode: Option<ParseMode>,
}
payload!(SendMessageDraft<'_>, "sendMessageDraft", bool);

/// `setMessageReaction` with one emoji.
#[derive(Serialize)]
pub(super) struct SetMessageReaction<'a> {
    pub(super) chat_id: i64,
    pub(super) message_id: i64,
    pub(super) reaction: [EmojiReaction<'a>; 1],
}
payload!(SetMessageReaction<'_>, "setMessageReaction", bool);

/// `ReactionTypeEmoji`.
#[derive(Serialize)]
pub(super) struct EmojiReaction<'a> {
    pub(super) r#type: &'static str,
    pub(super) emoji: &'a str,
}

/// `sendChatAction`; teloxide's thread id is 32 bits wide.
#[derive(Serialize)]
pub(super) struct SendChatAction {
    pub(super) chat_id: i64,
    pub(super) action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message_thread_id: Option<i64>,
}
payload!(SendChatAction, "sendChatAction", bool);

/// The part of a `File` that the operator uses: the path to download it from.
#[derive(Deserialize)]
pub(super) struct FileInfo {
    pub(super) file_path: Option<String>,
    pub(super) file_size: Option<u64>,
}
