//! The webhook server: `POST /telegram/{connector uid}` for all connectors. 200 only after the inbox has the update.
//!
//! Forged requests are refused before any work: path, method, connector and secret are checked from the request's head, and the body is
//! read only after they are valid.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use secrecy::SecretString;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::refusal_limiter::RefusalLimiter;
use super::secret_token::SECRET_HEADER;
use super::verified_secret::VerifiedSecret;
use crate::http_server::tls::{CertificateFiles, TlsFiles};
use crate::http_server::{self, ConnectionLimits, HeadLimits, TrackedConnection};
use crate::identity::ConnectorUid;
use crate::registry::{Registry, ResolvedConnector};
use crate::store::{Inbox, StoreError};
use crate::telegram::{InvalidUpdate, RawUpdate};
use crate::telemetry::Metrics;
use crate::telemetry::outcomes::{UpdateOutcome, WebhookRefusal};

/// Limit of a body; an update is a few kB, so this leaves room for growth.
const MAX_BODY_BYTES: usize = 1024 * 1024;
/// Time limit for the head and for the body; Telegram sends both at once.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// The connections at once. Telegram opens up to 40 for a bot, of which few are used, and an Ingress reuses its own. With TLS a connection without a
/// request takes about 40 kB at most.
pub const CONNECTION_LIMITS: ConnectionLimits = ConnectionLimits {
    untrusted: 1024,
    untrusted_per_peer: 512,
    crowd: 128,
    trusted: 8192,
};
/// `Retry-After` when the backlog is full, in seconds.
const RETRY_AFTER_BACKLOG_FULL: HeaderValue = HeaderValue::from_static("10");
/// `Retry-After` when the store cannot be written, in seconds.
const RETRY_AFTER_STORE_ERROR: HeaderValue = HeaderValue::from_static("2");

/// Everything a webhook request is answered from; cheap to clone.
#[derive(Clone)]
pub struct WebhookServer {
    /// The connectors that requests may name.
    pub registry: Arc<Registry>,
    /// Stores each update before it is acknowledged.
    pub inbox: Arc<dyn Inbox>,
    /// Counts updates and refusals.
    pub metrics: Arc<Metrics>,
    /// The `--webhook-key`, followed by earlier keys that are still accepted.
    pub keys: Vec<SecretString>,
    /// `None`: plain http, behind an ingress.
    pub tls: Option<TlsFiles>,
    /// [`CONNECTION_LIMITS`], but for tests.
    pub connection_limits: ConnectionLimits,
}

impl std::fmt::Debug for WebhookServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhookServer")
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

/// Serves until `stop` is cancelled, then lets requests in flight end.
///
/// # Errors
/// When the TLS files cannot be used at the start.
pub async fn serve(
    listener: TcpListener,
    server: WebhookServer,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let tls = match server.tls.clone() {
        Some(files) => {
            let files = CertificateFiles::load("webhook server", files)?;
            let config = files.served().server_config(None)?;
            tokio::spawn(files.reload_on_change(stop.clone()));
            Some(TlsAcceptor::from(config))
        }
        None => None,
    };
    let limiter = Arc::new(RefusalLimiter::new());
    let limits = server.connection_limits;
    let stopped = stop.clone();
    let serve = move |stream: TcpStream, connection: TrackedConnection| {
        let (server, limiter) = (server.clone(), limiter.clone());
        let (tls, stop) = (tls.clone(), stop.clone());
        async move {
            match tls {
                None => {
                    server
                        .serve_connection(stream, connection, &limiter, stop)
                        .await;
                }
                Some(tls) => {
                    let shaken = tokio::time::timeout(REQUEST_TIMEOUT, tls.accept(stream)).await;
                    match shaken {
                        Ok(Ok(stream)) => {
                            server
                                .serve_connection(stream, connection, &limiter, stop)
                                .await;
                        }
                        Ok(Err(error)) => {
                            tracing::debug!(%error, "TLS handshake with a webhook client failed");
                        }
                        Err(_) => tracing::debug!("TLS handshake with a webhook client timed out"),
                    }
                }
            }
        }
    };
    http_server::accept_connections("webhook", listener, limits, stopped, serve).await;
    Ok(())
}

/// Status and metric label of a refused request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Refusal(StatusCode, WebhookRefusal);

impl WebhookServer {
    async fn serve_connection<S>(
        self,
        stream: S,
        connection: TrackedConnection,
        limiter: &RefusalLimiter,
        stop: CancellationToken,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let verified = VerifiedSecret::default();
        let (server, connection, verified) = (&self, &connection, &verified);
        let service = hyper::service::service_fn(move |request| async move {
            let trust = || connection.trust();
            let response = server.answer(request, verified, trust).await;
            // Only client errors are limited: Telegram's own requests get 200 or 503.
            if response.status().is_client_error() {
                limiter.wait().await;
            }
            Ok::<_, Infallible>(response)
        });
        let head = HeadLimits::within(REQUEST_TIMEOUT);
        http_server::serve_http1(stream, service, head, stop).await;
    }

    /// Answers one request: 200 only when the update is durable.
    pub async fn handle_request<B>(&self, request: Request<B>) -> Response<Empty<Bytes>>
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.answer(request, &VerifiedSecret::default(), || {})
            .await
    }

    /// The same; `on_authentic` is called when the head has proved to be Telegram's, before the body is read.
    async fn answer<B>(
        &self,
        request: Request<B>,
        verified: &VerifiedSecret,
        on_authentic: impl FnOnce(),
    ) -> Response<Empty<Bytes>>
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        let connector = match self.check_head(&head, verified) {
            Ok(connector) => connector,
            Err(refused) => return self.refuse(refused),
        };
        on_authentic();
        let body = match read_body(body).await {
            Ok(body) => body,
            Err(refused) => return self.refuse(refused),
        };
        match RawUpdate::from_body(&body) {
            Ok(update) => self.store_update(&connector, update).await,
            Err(why) => self.acknowledge_unusable(&connector, why, body.len()),
        }
    }

    /// Checks path, method, connector, secret, content type and length; returns the connector that the request is for.
    fn check_head(
        &self,
        head: &Parts,
        verified: &VerifiedSecret,
    ) -> Result<Arc<ResolvedConnector>, Refusal> {
        let headers = &head.headers;
        let unknown = Refusal(StatusCode::NOT_FOUND, WebhookRefusal::UnknownConnector);
        let uid = uid_from_path(head.uri.path()).ok_or(unknown)?;
        if head.method != Method::POST {
            return Err(Refusal(
                StatusCode::METHOD_NOT_ALLOWED,
                WebhookRefusal::Method,
            ));
        }
        let uid = ConnectorUid::from(uid);
        let connector = self.registry.get(&uid).ok_or(unknown)?;
        let given = headers
            .get(SECRET_HEADER)
            .map(HeaderValue::as_bytes)
            .unwrap_or_default();
        if !verified.check(&self.keys, &uid, connector.bot.id(), given) {
            return Err(Refusal(StatusCode::UNAUTHORIZED, WebhookRefusal::BadSecret));
        }
        let json = headers
            .get(header::CONTENT_TYPE)
            .and_then(|v| v.to_str().ok())
            .and_then(|v| v.split(';').next())
            .is_some_and(|v| v.trim().eq_ignore_ascii_case("application/json"));
        if !json {
            return Err(Refusal(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                WebhookRefusal::NotAnUpdate,
            ));
        }
        let length = headers
            .get(header::CONTENT_LENGTH)
            .and_then(|v| v.to_str().ok())
            .and_then(|v| v.parse::<usize>().ok());
        if length.is_some_and(|n| n > MAX_BODY_BYTES) {
            return Err(Refusal(
                StatusCode::PAYLOAD_TOO_LARGE,
                WebhookRefusal::TooLarge,
            ));
        }
        Ok(connector)
    }

    /// Stores the update: 200 when it is durable, 503 with `Retry-After` otherwise.
    async fn store_update(
        &self,
        connector: &ResolvedConnector,
        update: RawUpdate,
    ) -> Response<Empty<Bytes>> {
        let update_id = update.update_id;
        let bot = connector.bot.id();
        match self
            .inbox
            .accept(&connector.connector_ref.uid, bot, vec![update])
            .await
        {
            Ok(accepted) => {
                self.metrics
                    .count_updates(UpdateOutcome::Received, accepted.new);
                self.metrics
                    .count_updates(UpdateOutcome::Duplicate, accepted.known);
                respond(StatusCode::OK)
            }
            Err(error) => {
                let retry = match error {
                    StoreError::BacklogFull(_) => RETRY_AFTER_BACKLOG_FULL,
                    _ => {
                        tracing::warn!(namespace = %connector.connector_ref.namespace, connector = %connector.connector_ref.name,
                            bot_id = %bot, update_id, %error, "failed to store an update; it is not acknowledged and Telegram delivers it again");
                        RETRY_AFTER_STORE_ERROR
                    }
                };
                let mut response = self.refuse(Refusal(
                    StatusCode::SERVICE_UNAVAILABLE,
                    WebhookRefusal::Backlog,
                ));
                response.headers_mut().insert(header::RETRY_AFTER, retry);
                response
            }
        }
    }

    /// Acknowledges a complete, authenticated body that is no usable update: if refused, Telegram would repeat it for a day and hold back
    /// the updates behind it.
    fn acknowledge_unusable(
        &self,
        connector: &ResolvedConnector,
        why: InvalidUpdate,
        bytes: usize,
    ) -> Response<Empty<Bytes>> {
        let who = &connector.connector_ref;
        tracing::error!(namespace = %who.namespace, connector = %who.name, bot_id = %connector.bot.id(), %why, bytes,
            "received an unusable update; it is acknowledged and dropped");
        self.metrics.count_webhook_refusal(WebhookRefusal::Unusable);
        respond(StatusCode::OK)
    }

    fn refuse(&self, Refusal(status, why): Refusal) -> Response<Empty<Bytes>> {
        self.metrics.count_webhook_refusal(why);
        let mut response = respond(status);
        if status == StatusCode::METHOD_NOT_ALLOWED {
            response
                .headers_mut()
                .insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        if status != StatusCode::SERVICE_UNAVAILABLE {
            // An unread body would be parsed as the next request.
            response
                .headers_mut()
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

fn respond(status: StatusCode) -> Response<Empty<Bytes>> {
    let mut response = Response::new(Empty::new());
    *response.status_mut() = status;
    response
}

/// The uid in `…/telegram/{uid}`. The path of `--public-url` may precede it, unless an ingress has removed it.
fn uid_from_path(path: &str) -> Option<&str> {
    let (before, uid) = path.rsplit_once('/')?;
    let ours = before.ends_with("/telegram") && (1..=64).contains(&uid.len());
    ours.then_some(uid)
}

/// Reads the whole body within [`MAX_BODY_BYTES`] and [`REQUEST_TIMEOUT`].
async fn read_body<B>(body: B) -> Result<Bytes, Refusal>
where
    B: Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut whole = pin!(Limited::new(body, MAX_BODY_BYTES).collect());
    // What came with the head needs no timer.
    let whole = match (&mut whole).now_or_never() {
        Some(whole) => Ok(whole),
        None => tokio::time::timeout(REQUEST_TIMEOUT, whole).await,
    };
    let (status, why) = match whole {
        Ok(Ok(whole)) => return Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            (StatusCode::PAYLOAD_TOO_LARGE, WebhookRefusal::TooLarge)
        }
        // The connection broke: the complete body may be an update, so Telegram shall send it again.
        Ok(Err(_)) => (StatusCode::BAD_REQUEST, WebhookRefusal::NotAnUpdate),
        Err(_) => (StatusCode::REQUEST_TIMEOUT, WebhookRefusal::NotAnUpdate),
    };
    Err(Refusal(status, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uid_is_the_last_segment_under_any_base_path() {
        assert_eq!(uid_from_path("/telegram/0b1c"), Some("0b1c"));
        assert_eq!(uid_from_path("/bots/telegram/0b1c"), Some("0b1c"));
        assert_eq!(uid_from_path("/telegram/"), None);
        assert_eq!(uid_from_path("/telegram"), None);
        assert_eq!(uid_from_path("/telegram/a/b"), None);
        assert_eq!(
            uid_from_path(&format!("/telegram/{}", "x".repeat(65))),
            None
        );
        assert_eq!(uid_from_path("/xtelegram/0b1c"), None);
        assert_eq!(uid_from_path(""), None);
    }
}
