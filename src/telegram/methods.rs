//! Payloads that are our own because teloxide's do not fit: its message ids are 32 bits wide, it copies every text, its
//! `getUpdates` and `Message` are strict, and it knows no `sendMessageDraft`. They implement its `Payload` all the same, so that
//! there is one way to call a method.

use serde::{Deserialize, Serialize};
use teloxide::requests::Payload;

/// Implements teloxide's [`Payload`] with the Bot API's name of the method.
macro_rules! payload {
    ($type:ty, $name:literal, $output:ty) => {
        impl Payload for $type {
            type Output = $output;
            const NAME: &'static str = $name;
        }
    };
}

/// `getMe`'s result, as far as we need it.
#[derive(Deserialize)]
pub(super) struct BotUser {
    pub(super) id: i64,
    #[serde(default)]
    pub(super) username: String,
    #[serde(default)]
    pub(super) first_name: String,
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

/// `parse_mode`; plain text has none.
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
    pub(super) parse_mode: Option<ParseMode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reply_parameters: Option<ReplyParameters>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) link_preview_options: Option<LinkPreviewOptions>,
}
payload!(SendMessage<'_>, "sendMessage", SentMessageId);

/// Of a sent `Message`: what we need of it.
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

/// `sendChatAction`; teloxide's thread id is 32 bits wide.
#[derive(Serialize)]
pub(super) struct SendChatAction {
    pub(super) chat_id: i64,
    pub(super) action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message_thread_id: Option<i64>,
}
payload!(SendChatAction, "sendChatAction", bool);

/// Of a `File`: where it can be downloaded.
#[derive(Deserialize)]
pub(super) struct FileInfo {
    pub(super) file_path: Option<String>,
    pub(super) file_size: Option<u64>,
}
