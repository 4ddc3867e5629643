//! One bot: the Bot API methods that the operator calls, each with its time limit.

mod messages;

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
use super::methods;
use super::multipart_form::MultipartForm;
use super::token::BotToken;
use super::update::RawUpdate;
use crate::identity::{BotId, ConnectorUid};

pub use messages::{MessageText, NewMessage, NewRichMessage};

/// Timeout of calls that Telegram answers from memory.
const READ_TIMEOUT: Duration = Duration::from_secs(15);
/// Timeout of calls that change something. It is long, because a timeout leaves unknown whether the change was made.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// The client's timeout of a long poll is the poll's own plus this.
const POLL_TIMEOUT_MARGIN: Duration = Duration::from_secs(10);
/// The Bot API server's maximum for `getUpdates`' `timeout`.
const MAX_POLL_TIMEOUT: Duration = Duration::from_secs(50);
/// Timeout of sending a file: 50 MB within it are 170 kB/s.
const UPLOAD_TIMEOUT: Duration = Duration::from_mins(5);
/// Timeout of a download.
const DOWNLOAD_TIMEOUT: Duration = Duration::from_mins(2);

/// `allowed_updates`: the kinds that the operator asks for, in every call (TELEGRAM.md, getUpdates).
pub(crate) const ALLOWED_UPDATES: &[&str] = &[
    "message",
    "edited_message",
    "channel_post",
    "my_chat_member",
    "callback_query",
];

/// A client of the Bot API with one token. Cheap to clone.
#[derive(Clone)]
pub struct Bot(Arc<BotInner>);

struct BotInner {
    token: BotToken,
    api: Arc<TelegramApi>,
}

/// The result of `getMe`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct BotProfile {
    /// `id`.
    pub id: BotId,
    /// `username`, without @.
    pub username: String,
    /// `first_name`.
    pub name: String,
    /// `can_read_all_group_messages`: privacy mode is off. `None` where Telegram did not say.
    #[serde(default)]
    pub reads_all_group_messages: Option<bool>,
}

/// The result of `getWebhookInfo`, as far as the operator uses it. Times are Unix seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default)]
pub struct WebhookInfo {
    /// `url`; empty when no webhook is set.
    pub url: String,
    /// `has_custom_certificate`: a certificate was uploaded.
    pub has_custom_certificate: bool,
    /// `pending_update_count`: updates that wait for delivery.
    pub pending_update_count: i64,
    /// `last_error_date`: when a delivery last failed.
    pub last_error_date: Option<i64>,
    /// `last_error_message`: why it failed.
    pub last_error_message: Option<String>,
    /// `max_connections`, 1 to 100.
    pub max_connections: Option<u32>,
    /// `allowed_updates`: the kinds that are delivered.
    pub allowed_updates: Option<Vec<String>>,
}

/// The parameters of `setWebhook`. `drop_pending_updates` is never set.
#[derive(Debug, Clone)]
pub struct SetWebhook {
    /// An https URL.
    pub url: url::Url,
    /// 1 to 256 characters of `A-Za-z0-9_-`.
    pub secret_token: secrecy::SecretString,
    /// 1 to 100.
    pub max_connections: u8,
    /// PEM of a self-signed certificate to upload.
    pub certificate_pem: Option<String>,
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

    /// The API root and its connections.
    pub fn api(&self) -> &TelegramApi {
        &self.0.api
    }

    /// A number by which replicas know that they mean the same token of a connector. It tells nothing of the token, whose secret half has 35
    /// random characters, and differs from connector to connector.
    pub fn token_fingerprint(&self, connector: &ConnectorUid) -> i64 {
        self.0.token.fingerprint(connector.as_str())
    }

    /// Whether both have the same API root and token.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.0.token == other.0.token && self.api().root() == other.api().root()
    }

    /// `getMe`.
    ///
    /// # Errors
    /// See [`TelegramError`].
    pub(crate) async fn get_me(&self) -> Result<BotProfile, TelegramError> {
        let user: methods::BotUser = self.call(&GetMe::new(), READ_TIMEOUT).await?;
        Ok(BotProfile {
            id: BotId(user.id),
            username: user.username,
            name: user.first_name,
            reads_all_group_messages: user.can_read_all_group_messages,
        })
    }

    /// `getUpdates` from `offset` (negative values count as 0), up to `limit` (1 to 100) updates, waiting up to `timeout` (at most 50 s)
    /// for the first. The client's timeout is longer than `timeout`, so that a hung poll ends by itself.
    ///
    /// Updates are returned unparsed, in Telegram's order. An element without a usable `update_id` cannot be told apart or confirmed:
    /// it is logged and skipped, and confirming a later update confirms it too.
    ///
    /// # Errors
    /// See [`TelegramError`]; `Malformed` also if there are elements and none of them is usable.
    pub async fn get_updates(
        &self,
        offset: i64,
        limit: u8,
        timeout: Duration,
    ) -> Result<Vec<RawUpdate>, TelegramError> {
        let timeout = timeout.min(MAX_POLL_TIMEOUT);
        let payload = methods::GetUpdates {
            // A negative offset would drop updates that were not received yet (TELEGRAM.md).
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
                Err(why) => {
                    tracing::error!(bot_id = %self.id(), %why, "skipped an update without a usable update_id");
                }
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
            .file(
                "certificate",
                "certificate.pem",
                "application/octet-stream",
                pem.as_bytes(),
            );
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
    pub(crate) async fn delete_webhook(&self) -> Result<(), TelegramError> {
        self.call(&DeleteWebhook::new(), WRITE_TIMEOUT)
            .await
            .map(discard_true)
    }

    /// `answerCallbackQuery`: ends the sign of waiting on the button that was tapped. `text` (up to 200 characters) is shown to who tapped
    /// it alone, for a moment.
    ///
    /// # Errors
    /// See [`TelegramError`]; `QueryExpired` some seconds after the tap, and of a query that was answered.
    pub(crate) async fn answer_callback_query(
        &self,
        query_id: &str,
        text: Option<&str>,
    ) -> Result<(), TelegramError> {
        let payload = methods::AnswerCallbackQuery {
            callback_query_id: query_id,
            text,
        };
        self.call(&payload, READ_TIMEOUT).await.map(discard_true)
    }

    /// `sendChatAction` with `typing`: shown for 5 s, or until the next message.
    ///
    /// # Errors
    /// See [`TelegramError`].
    pub(crate) async fn send_typing(
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

    /// `setMessageReaction`: the bot's one reaction on a message becomes this emoji.
    ///
    /// # Errors
    /// See [`TelegramError`].
    pub(crate) async fn set_message_reaction(
        &self,
        chat_id: i64,
        message_id: i64,
        emoji: &str,
    ) -> Result<(), TelegramError> {
        let payload = methods::SetMessageReaction {
            chat_id,
            message_id,
            reaction: [methods::EmojiReaction {
                r#type: "emoji",
                emoji,
            }],
        };
        self.call(&payload, READ_TIMEOUT).await.map(discard_true)
    }

    /// `setMyCommands`: pairs of command and description, for users of a language (ISO 639-1) or, with `None`, for all others.
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

    /// `getMyCommands`: pairs of command and description, for users of a language (ISO 639-1) or, with `None`, for all others.
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
    pub(crate) async fn leave_chat(&self, chat_id: i64) -> Result<(), TelegramError> {
        let payload = LeaveChat::new(Recipient::Id(ChatId(chat_id)));
        self.call(&payload, WRITE_TIMEOUT).await.map(discard_true)
    }

    /// `getFile` and the download, up to `max_bytes` (the public Bot API serves up to 20 MB; of a server in `--local` mode the file is read from its
    /// folder).
    ///
    /// # Errors
    /// See [`TelegramError`]; `FileTooBig` beyond Telegram's limit or `max_bytes`.
    pub(crate) async fn download(
        &self,
        file_id: &str,
        max_bytes: usize,
    ) -> Result<Bytes, TelegramError> {
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
            return match self.api().local_files() {
                Some(files) => files.read(&path, max_bytes).await,
                None => Err(TelegramError::Malformed(
                    "getFile gave a path on the Bot API server's own disk: name its folder by --telegram-files-dir (chart: telegram.filesDir), or run the server without --local"
                        .into(),
                )),
            };
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

/// Methods without a result return `true`.
fn discard_true(_: bool) {}

#[cfg(test)]
mod tests;
