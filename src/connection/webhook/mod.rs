//! Webhook mode: one server for all connectors, and the registrations that lead Telegram to it.

pub mod secret;
pub mod server;

pub use server::{TlsFiles, WebhookServer, serve};

use url::Url;

use crate::identity::ConnectorUid;

/// Where Telegram delivers a connector's updates: `{public url}/telegram/{uid}`.
pub fn webhook_url(public_url: &Url, connector: &ConnectorUid) -> Url {
    let mut url = public_url.clone();
    let base = url.path().trim_end_matches('/').to_owned();
    url.set_path(&format!("{base}/telegram/{connector}"));
    url
}
