//! Webhook mode: one server for all connectors, and the registrations that lead Telegram to it.

mod refusal_limiter;
mod registration;
pub mod secret_token;
pub mod server;
mod tls;

use url::Url;

pub(in crate::connection) use self::registration::WebhookRegistration;
pub use self::server::{WebhookServer, serve};
pub use self::tls::TlsFiles;
use crate::identity::ConnectorUid;

/// Where Telegram delivers a connector's updates: `{public url}/telegram/{uid}`.
pub fn webhook_url(public_url: &Url, connector: &ConnectorUid) -> Url {
    let mut url = public_url.clone();
    let base = url.path().trim_end_matches('/').to_owned();
    url.set_path(&format!("{base}/telegram/{connector}"));
    url
}
