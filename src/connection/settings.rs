//! How every connector of this environment receives its updates: one choice of the administrator, made at the start.

use std::path::PathBuf;

use secrecy::SecretString;
use url::Url;

use crate::api::connector::ConnectionMode;

/// How updates reach the operator.
#[derive(Debug, Clone)]
pub enum ConnectionSettings {
    /// `--connection-mode polling`.
    Polling,
    /// `--connection-mode webhook`.
    Webhook(WebhookSettings),
}

impl ConnectionSettings {
    /// The mode as it stands in the status.
    pub fn mode(&self) -> ConnectionMode {
        match self {
            Self::Polling => ConnectionMode::Polling,
            Self::Webhook(_) => ConnectionMode::Webhook,
        }
    }
}

/// The settings of webhook mode.
#[derive(Debug, Clone)]
pub struct WebhookSettings {
    /// `--public-url`.
    pub public_url: Url,
    /// `--webhook-key`.
    pub key: SecretString,
    /// The key before the last rotation, still accepted in requests. Registrations always use `key`.
    pub previous_key: Option<SecretString>,
    /// `max_connections` of `setWebhook`, 1 to 100; Telegram's default is 40.
    pub max_connections: u8,
    /// PEM file of a self-signed certificate that Telegram shall trust. It is uploaded again when it changes.
    pub certificate: Option<PathBuf>,
}
