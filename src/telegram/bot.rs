//! One bot: the Bot API methods that the operator calls, each with its time limit.

use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;

use super::error::TelegramError;
use super::token::BotToken;
use crate::identity::BotId;

/// The Bot API's root and the HTTP connections to it, shared by all bots.
#[derive(Debug, Clone)]
pub struct TelegramApi {
    /// `--telegram-api-url`.
    pub root: url::Url,
    /// One connection pool for all bots.
    pub http: reqwest::Client,
}

/// The Bot API with one token. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Bot {
    token: BotToken,
    api: Arc<TelegramApi>,
}

/// One update as Telegram sent it: the JSON is kept whole, whatever kind it is.
#[derive(Debug, Clone)]
pub struct RawUpdate {
    /// `update_id`.
    pub update_id: i64,
    /// The whole update object.
    pub json: Box<RawValue>,
}

/// An `update_id` by which an update can be identified and confirmed: not negative (a negative offset would forget updates) and
/// below `i64::MAX` (the next offset must exist).
pub(crate) fn usable_update_id(id: Option<i64>) -> Option<i64> {
    id.filter(|id| (0..i64::MAX).contains(id))
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

/// The kinds of updates that the operator asks for, always explicitly (TELEGRAM.md, getUpdates).
pub const ALLOWED_UPDATES: &[&str] = &[
    "message",
    "edited_message",
    "channel_post",
    "my_chat_member",
];

impl Bot {
    /// A bot at an API root.
    pub fn new(api: Arc<TelegramApi>, token: BotToken) -> Self {
        Self { token, api }
    }

    /// The bot's id, from its token.
    pub fn id(&self) -> BotId {
        self.token.bot_id()
    }

    /// The API it speaks to.
    pub fn api(&self) -> &TelegramApi {
        &self.api
    }

    /// `getMe`.
    ///
    /// # Errors
    /// See [`TelegramError`].
    pub async fn get_me(&self) -> Result<BotProfile, TelegramError> {
        unimplemented!()
    }

    /// `getUpdates` from `offset` (at least; 0 at the first call), up to `limit` (1..=100) updates, waiting up to `timeout`
    /// (at most 50 s) for the first. The client's own limit lies beyond `timeout`, so that a hung poll ends by itself.
    ///
    /// # Errors
    /// See [`TelegramError`].
    pub async fn get_updates(
        &self,
        offset: i64,
        limit: u8,
        timeout: Duration,
    ) -> Result<Vec<RawUpdate>, TelegramError> {
        let _ = (offset, limit, timeout, self.token.expose());
        unimplemented!()
    }

    /// `setWebhook`.
    ///
    /// # Errors
    /// See [`TelegramError`].
    pub async fn set_webhook(&self, webhook: &SetWebhook) -> Result<(), TelegramError> {
        let _ = webhook;
        unimplemented!()
    }

    /// `getWebhookInfo`.
    ///
    /// # Errors
    /// See [`TelegramError`].
    pub async fn get_webhook_info(&self) -> Result<WebhookInfo, TelegramError> {
        unimplemented!()
    }

    /// `deleteWebhook`, keeping the pending updates.
    ///
    /// # Errors
    /// See [`TelegramError`].
    pub async fn delete_webhook(&self) -> Result<(), TelegramError> {
        unimplemented!()
    }
}
