//! One bot: the Bot API methods that the operator calls, each with its time limit.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use secrecy::ExposeSecret;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use teloxide::payloads::{
    DeleteWebhook, GetFile, GetMe, GetMyCommands, GetMyCommandsSetters as _, GetWebhookInfo,
    LeaveChat, SetMyCommands, SetMyCommandsSetters as _,
};
use teloxide::requests::Payload;
use teloxide::types::{BotCommand, ChatId, FileId, Recipient};

use super::api::TelegramApi;
use super::error::TelegramError;
use super::methods::{self, ParseMode};
use super::multipart_form::MultipartForm;
use super::token::BotToken;
use super::update::RawUpdate;
use crate::identity::BotId;

/// How long a call may take that Telegram answers from memory.
const READ_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a call may take that changes something: giving up early would leave it unknown whether it was done.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How far the client's limit lies beyond a long poll's own.
const POLL_TIMEOUT_MARGIN: Duration = Duration::from_secs(10);
/// Bot API server's cap on `getUpdates`' timeout.
const MAX_POLL_TIMEOUT: Duration = Duration::from_secs(50);
/// How long a download may take.
const DOWNLOAD_TIMEOUT: Duration = Duration::from_mins(2);

/// The kinds of updates that the operator asks for, always explicitly (TELEGRAM.md, getUpdates).
pub const ALLOWED_UPDATES: &[&str] = &[
    "message",
    "edited_message",
    "channel_post",
    "my_chat_member",
];

/// The Bot API with one token. Cheap to clone.
#[derive(Clone)]
pub struct Bot(Arc<BotInner>);

struct BotInner {
    token: BotToken,
    api: Arc<TelegramApi>,
}

/// What `getMe` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BotProfile {
    /// `id`.
    pub id: BotId,
    /// `username`, without @.
    pub username: String,
    /// `first_name`.
    pub name: String,
}

/// What `getWebhookInfo` answers, as far as we judge it. Times are Unix seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default)]
pub struct WebhookInfo {
    /// Empty: no webhook is set.
    pub url: String,
    /// A certificate was uploaded.
    pub has_custom_certificate: bool,
    /// Updates that wait for delivery.
    pub pending_update_count: i64,
    /// When a delivery last failed.
    pub last_error_date: Option<i64>,
    /// Why.
    pub last_error_message: Option<String>,
    /// 1..=100.
    pub max_connections: Option<u32>,
    /// The kinds that are delivered.
    pub allowed_updates: Option<Vec<String>>,
}

/// The parameters of `setWebhook`. `drop_pending_updates` is never set.
#[derive(Debug, Clone)]
pub struct SetWebhook {
    /// https.
    pub url: url::Url,
    /// 1..=256 of `A-Za-z0-9_-`.
    pub secret_token: secrecy::SecretString,
    /// 1..=100.
    pub max_connections: u8,
    /// PEM of a self-signed certificate to upload.
    pub certificate_pem: Option<String>,
}

/// A message text with or without formatting: at most 4,096 UTF-16 units after entity parsing (see [`super::markdown`]).
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum MessageText<'a> {
    /// Shown as it is.
    Plain(&'a str),
    /// Telegram's HTML (Bot API, "HTML style").
    Html(&'a str),
}

impl<'a> MessageText<'a> {
    fn parts(self) -> (&'a str, Option<ParseMode>) {
        match self {
            Self::Plain(text) => (text, None),
            Self::Html(text) => (text, Some(ParseMode::Html)),
        }
    }
}

/// Shows the length only: message text has no place in a log.
impl fmt::Debug for MessageText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, mode) = self.parts();
        let mode = mode.map_or("Plain", |_| "Html");
        write!(f, "{mode}({} bytes)", text.len())
    }
}

/// One message to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewMessage<'a> {
    /// The chat.
    pub chat_id: i64,
    /// The topic; `None` for the General one.
    pub thread_id: Option<i64>,
    /// The text.
    pub text: MessageText<'a>,
    /// The message it answers; if that one is gone, it is sent without.
    pub reply_to: Option<i64>,
    /// Whether the first link gets a preview.
    pub link_preview: bool,
}

impl Bot {
    /// A bot at an API root.
    pub fn new(api: Arc<TelegramApi>, token: BotToken) -> Self {
        Self(Arc::new(BotInner { token, api }))
    }

    /// The bot's id, from its token.
    pub fn id(&self) -> BotId {
        self.0.token.bot_id()
    }

    /// The API it speaks to.
    pub fn api(&self) -> &TelegramApi {
        &self.0.api
    }

    /// Whether both speak to the same root with the same token.
    pub fn is_same(&self, other: &Self) -> bool {
        self.0.token == other.0.token && self.api().root() == other.api().root()
    }

    /// `getMe`.
    ///
    /// # Errors
    /// See [`TelegramError`].
    pub async fn get_me(&self) -> Result<BotProfile, TelegramError> {
        let user: methods::BotUser = self.call(&GetMe::new(), READ_TIMEOUT).await?;
        Ok(BotProfile {
            id: BotId(user.id),
            username: user.username,
            name: user.first_name,
        })
    }

    /// `getUpdates` from `offset` (at least; 0 at the first call), up to `limit` (1..=100) updates, waiting up to `timeout`
    /// (at most 50 s) for the first. The client's own limit lies beyond `timeout`, so that a hung poll ends by itself.
    ///
    /// Every update comes back whole and unread, in Telegram's order. An element without a usable `update_id` can be neither
    /// told apart nor confirmed: it is logged and left out, and the confirmation of its neighbours takes it away.
    ///
    /// # Errors
    /// See [`TelegramError`]; `Malformed` also if there are elements and not one of them is usable.
    pub async fn get_updates(
        &self,
        offset: i64,
        limit: u8,
        timeout: Duration,
    ) -> Result<Vec<RawUpdate>, TelegramError> {
        let timeout = timeout.min(MAX_POLL_TIMEOUT);
        let payload = methods::GetUpdates {
            // A negative offset would forget what has not been received (TELEGRAM.md).
            offset: offset.max(0),
            limit: limit.clamp(1, 100),
            timeout: timeout.as_secs(),
            allowed_updates: ALLOWED_UPDATES,
        };
        let response = self
            .0
            .api
            .call_raw(&self.0.token, &payload, timeout + POLL_TIMEOUT_MARGIN)
            .await?;
        let elements: Vec<&RawValue> = response.parse(&self.0.token)?;
        let mut updates = Vec::with_capacity(elements.len());
        for element in &elements {
            match RawUpdate::from_json(element) {
                Ok(update) => updates.push(update),
                Err(why) => tracing::error!(bot_id = %self.id(), %why, "an update is left out"),
            }
        }
        if updates.is_empty() && !elements.is_empty() {
            return Err(TelegramError::Malformed(format!(
                "none of {} updates has a usable update_id",
                elements.len()
            )));
        }
        Ok(updates)
    }

    /// `setWebhook`, as a form if a certificate is uploaded.
    ///
    /// # Errors
    /// See [`TelegramError`].
    pub async fn set_webhook(&self, webhook: &SetWebhook) -> Result<(), TelegramError> {
        let secret_token = webhook.secret_token.expose_secret();
        let Some(pem) = &webhook.certificate_pem else {
            let payload = methods::SetWebhook {
                url: webhook.url.as_str(),
                secret_token,
                max_connections: webhook.max_connections,
                allowed_updates: ALLOWED_UPDATES,
            };
            return self.call(&payload, WRITE_TIMEOUT).await.map(discard_true);
        };
        let allowed = serde_json::json!(ALLOWED_UPDATES).to_string();
        let form = MultipartForm::default()
            .text("url", webhook.url.as_str())
            .text("secret_token", secret_token)
            .text("max_connections", &webhook.max_connections.to_string())
            .text("allowed_updates", &allowed)
            .file("certificate", "certificate.pem", pem);
        self.0
            .api
            .upload(&self.0.token, "setWebhook", form, WRITE_TIMEOUT)
            .await
            .map(discard_true)
    }

    /// `getWebhookInfo`.
    ///
    /// # Errors
    /// See [`TelegramError`].
    pub async fn get_webhook_info(&self) -> Result<WebhookInfo, TelegramError> {
        self.call(&GetWebhookInfo::new(), READ_TIMEOUT).await
    }

    /// `deleteWebhook`, keeping the pending updates.
    ///
    /// # Errors
    /// See [`TelegramError`].
    pub async fn delete_webhook(&self) -> Result<(), TelegramError> {
        self.call(&DeleteWebhook::new(), WRITE_TIMEOUT)
            .await
            .map(discard_true)
    }

    /// `sendMessage`. Returns the `message_id`.
    ///
    /// # Errors
    /// See [`TelegramError`]; [`TelegramError::is_safe_to_resend`] says whether it may have been sent all the same.
    pub async fn send_message(&self, message: &NewMessage<'_>) -> Result<i64, TelegramError> {
        let (text, parse_mode) = message.text.parts();
        let payload = methods::SendMessage {
            chat_id: message.chat_id,
            text,
            message_thread_id: message.thread_id,
            parse_mode,
            reply_parameters: message.reply_to.map(|message_id| methods::ReplyParameters {
                message_id,
                allow_sending_without_reply: true,
            }),
            link_preview_options: link_preview_options(message.link_preview),
        };
        let sent: methods::SentMessageId = self.call(&payload, WRITE_TIMEOUT).await?;
        Ok(sent.message_id)
    }

    /// `editMessageText`, without a link preview. Text that does not change is [`TelegramError::NotModified`].
    ///
    /// # Errors
    /// See [`TelegramError`].
    pub async fn edit_message_text(
        &self,
        chat_id: i64,
        message_id: i64,
        text: MessageText<'_>,
    ) -> Result<(), TelegramError> {
        let (text, parse_mode) = text.parts();
        let payload = methods::EditMessageText {
            chat_id,
            message_id,
            text,
            parse_mode,
            link_preview_options: link_preview_options(false),
        };
        let _: methods::SentMessageId = self.call(&payload, WRITE_TIMEOUT).await?;
        Ok(())
    }

    /// `deleteMessage`: a message of the bot's own, at most 48 hours old.
    ///
    /// # Errors
    /// See [`TelegramError`].
    pub async fn delete_message(&self, chat_id: i64, message_id: i64) -> Result<(), TelegramError> {
        let payload = methods::DeleteMessage {
            chat_id,
            message_id,
        };
        self.call(&payload, WRITE_TIMEOUT).await.map(discard_true)
    }

    /// `sendMessageDraft`: shows, in a private chat, what is being written; the same `draft_id` (not 0) replaces what it showed
    /// before. It vanishes after 30 s or with the next message.
    ///
    /// # Errors
    /// See [`TelegramError`]; `Refused` with code 404 by a server that is older than the method.
    pub async fn send_message_draft(
        &self,
        chat_id: i64,
        thread_id: Option<i64>,
        draft_id: i64,
        text: MessageText<'_>,
    ) -> Result<(), TelegramError> {
        let (text, parse_mode) = text.parts();
        let payload = methods::SendMessageDraft {
            chat_id,
            draft_id,
            text,
            message_thread_id: thread_id,
            parse_mode,
        };
        self.call(&payload, READ_TIMEOUT).await.map(discard_true)
    }

    /// `sendChatAction` `typing`: shows for 5 s, or until the next message.
    ///
    /// # Errors
    /// See [`TelegramError`].
    pub async fn send_typing(
        &self,
        chat_id: i64,
        thread_id: Option<i64>,
    ) -> Result<(), TelegramError> {
        let payload = methods::SendChatAction {
            chat_id,
            action: "typing",
            message_thread_id: thread_id,
        };
        self.call(&payload, READ_TIMEOUT).await.map(discard_true)
    }

    /// `setMyCommands`: command and description, for users of a language (ISO 639-1) or, with `None`, for all others.
    ///
    /// # Errors
    /// See [`TelegramError`].
    pub async fn set_my_commands(
        &self,
        language_code: Option<&str>,
        commands: &[(&str, &str)],
    ) -> Result<(), TelegramError> {
        let commands = commands.iter().map(|(c, d)| BotCommand::new(*c, *d));
        let mut payload = SetMyCommands::new(commands);
        if let Some(code) = language_code {
            payload = payload.language_code(code);
        }
        self.call(&payload, WRITE_TIMEOUT).await.map(discard_true)
    }

    /// `getMyCommands`: command and description, as users of a language (ISO 639-1) or, with `None`, all others see them.
    ///
    /// # Errors
    /// See [`TelegramError`].
    pub async fn get_my_commands(
        &self,
        language_code: Option<&str>,
    ) -> Result<Vec<(String, String)>, TelegramError> {
        let mut payload = GetMyCommands::new();
        if let Some(code) = language_code {
            payload = payload.language_code(code);
        }
        let commands: Vec<BotCommand> = self.call(&payload, READ_TIMEOUT).await?;
        let commands = commands.into_iter();
        Ok(commands
            .map(|command| (command.command, command.description))
            .collect())
    }

    /// `leaveChat`.
    ///
    /// # Errors
    /// See [`TelegramError`].
    pub async fn leave_chat(&self, chat_id: i64) -> Result<(), TelegramError> {
        let payload = LeaveChat::new(Recipient::Id(ChatId(chat_id)));
        self.call(&payload, WRITE_TIMEOUT).await.map(discard_true)
    }

    /// `getFile` and the download, up to `max_bytes` (Telegram itself serves up to 20 MB).
    ///
    /// # Errors
    /// See [`TelegramError`]; `FileTooBig` by Telegram's limit or ours.
    pub async fn download(&self, file_id: &str, max_bytes: usize) -> Result<Bytes, TelegramError> {
        let payload = GetFile::new(FileId(file_id.to_owned()));
        let file: methods::FileInfo = self.call(&payload, WRITE_TIMEOUT).await?;
        let size = usize::try_from(file.file_size.unwrap_or(0)).unwrap_or(usize::MAX);
        if size > max_bytes {
            return Err(TelegramError::FileTooBig);
        }
        let path = file
            .file_path
            .ok_or_else(|| TelegramError::Malformed("getFile without a file_path".into()))?;
        if path.starts_with('/') {
            return Err(TelegramError::Malformed(
                "getFile gave a path on the Bot API server's own disk: run it without --local"
                    .into(),
            ));
        }
        self.0
            .api
            .download(&self.0.token, &path, max_bytes, DOWNLOAD_TIMEOUT)
            .await
    }

    async fn call<P, R>(&self, payload: &P, limit: Duration) -> Result<R, TelegramError>
    where
        P: Payload + Serialize,
        R: DeserializeOwned,
    {
        self.0.api.call(&self.0.token, payload, limit).await
    }
}

/// Shows the bot's id only.
impl fmt::Debug for Bot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bot({})", self.id())
    }
}

/// Methods that only succeed answer `true`.
fn discard_true(_: bool) {}

fn link_preview_options(link_preview: bool) -> Option<methods::LinkPreviewOptions> {
    (!link_preview).then_some(methods::LinkPreviewOptions { is_disabled: true })
}

#[cfg(test)]
mod tests;
