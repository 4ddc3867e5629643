//! Webhook mode: one HTTP server for all connectors, and one registration at Telegram per bot.

mod refusal_limiter;
mod registration;
pub mod secret_token;
mod server;
mod verified_secret;

use url::Url;

pub(in crate::connection) use self::registration::WebhookRegistration;
pub use self::server::{CONNECTION_LIMITS, WebhookServer, serve};
use crate::identity::ConnectorUid;

/// Where Telegram delivers a connector's updates: `{public url}/telegram/{uid}`.
pub(crate) fn webhook_url(public_url: &Url, connector: &ConnectorUid) -> Url {
    let mut url = public_url.clone();
    let base = url.path().trim_end_matches('/').to_owned();
    url.set_path(&format!("{base}/telegram/{connector}"));
    url
}
