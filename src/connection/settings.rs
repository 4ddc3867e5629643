//! How every connector of this environment receives its updates: one choice of the administrator, made at the start.

use std::path::PathBuf;

use secrecy::SecretString;
use url::Url;

use crate::api::connector::ConnectionMode;

/// How updates come.
#[derive(Debug, Clone)]
pub enum ConnectionSettings {
    /// `--connection-mode polling`.
    Polling,
    /// `--connection-mode webhook`.
    Webhook(WebhookSettings),
}

impl ConnectionSettings {
    /// As the status says it.
    pub fn mode(&self) -> ConnectionMode {
        match self {
            Self::Polling => ConnectionMode::Polling,
            Self::Webhook(_) => ConnectionMode::Webhook,
        }
    }
}

/// What webhook mode needs.
#[derive(Debug, Clone)]
pub struct WebhookSettings {
    /// `--public-url`.
    pub public_url: Url,
    /// `--webhook-key`.
    pub key: SecretString,
    /// The key before the last rotation: requests made with it are still taken. Registrations always use `key`.
    pub previous_key: Option<SecretString>,
    /// 1..=100; Telegram's own default is 40.
    pub max_connections: u8,
    /// PEM file of a self-signed certificate that Telegram shall trust. When it changes, Telegram is given it anew.
    pub certificate: Option<PathBuf>,
}
