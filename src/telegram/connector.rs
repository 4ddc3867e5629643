//! Makes connections to the Bot API server: directly, or through the proxy that the environment names.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tower::ServiceExt as _;

/// Timeout of connecting, with name lookup and TLS. Hyper divides it among a host's addresses, so that broken IPv6 uses only a part.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// TCP keep-alive below a long poll, which detects a broken path.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

/// A connection, with or without TLS.
pub(super) trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Connection for S {}

type HttpOrHttpsConnector = HttpsConnector<HttpConnector>;

/// Opens connections to one server.
#[derive(Clone)]
pub(super) struct Connector {
    origin: Uri,
    proxy_mode: ProxyMode,
}

#[derive(Clone)]
enum ProxyMode {
    Direct(HttpOrHttpsConnector),
    /// To a forward proxy (plain http).
    Forward {
        connector: HttpOrHttpsConnector,
        proxy: Uri,
        proxy_authorization: Option<String>,
    },
    /// Through a `CONNECT` tunnel of a proxy, which sees only the host.
    Tunnel(HttpsConnector<Tunnel<HttpOrHttpsConnector>>),
}

impl Connector {
    /// A connector to `origin` (scheme and authority). With `proxies` it obeys `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`.
    ///
    /// # Errors
    /// The TLS library cannot be set up.
    pub(super) fn new(origin: Uri, proxies: bool) -> Result<Self, rustls::Error> {
        let tls_config = Arc::new(tls_config()?);
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        tcp.set_keepalive(Some(TCP_KEEPALIVE));
        let direct = HttpOrHttpsConnector::from((tcp, tls_config.clone()));
        let proxy = proxies
            .then(|| Matcher::from_env().intercept(&origin))
            .flatten();
        let proxy_mode = match proxy {
            None => ProxyMode::Direct(direct),
            Some(proxy) if origin.scheme_str() == Some("https") => {
                let mut tunnel = Tunnel::new(proxy.uri().clone(), direct);
                if let Some(proxy_authorization) = proxy.basic_auth() {
                    tunnel = tunnel.with_auth(proxy_authorization.clone());
                }
                ProxyMode::Tunnel(HttpsConnector::from((tunnel, tls_config)))
            }
            Some(proxy) => ProxyMode::Forward {
                connector: direct,
                proxy: proxy.uri().clone(),
                // Base64, and so always text.
                proxy_authorization: proxy
                    .basic_auth()
                    .and_then(|value| value.to_str().ok())
                    .map(str::to_owned),
            },
        };
        Ok(Self { origin, proxy_mode })
    }

    /// Whether requests go to a forward proxy, which needs the absolute URL in the request line.
    pub(super) fn is_forward_proxy(&self) -> bool {
        matches!(self.proxy_mode, ProxyMode::Forward { .. })
    }

    /// The `Proxy-Authorization` header for a forward proxy.
    pub(super) fn proxy_authorization(&self) -> Option<&str> {
        match &self.proxy_mode {
            ProxyMode::Forward {
                proxy_authorization,
                ..
            } => proxy_authorization.as_deref(),
            ProxyMode::Direct(_) | ProxyMode::Tunnel(_) => None,
        }
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// The error with its causes. No byte of a request was sent.
    pub(super) async fn connect(&self) -> Result<Box<dyn Connection>, String> {
        let connecting = async {
            let origin = self.origin.clone();
            match &self.proxy_mode {
                ProxyMode::Direct(connector) => {
                    let connected = connector.clone().oneshot(origin).await;
                    connected.map(unwrap_plain).map_err(error_chain)
                }
                ProxyMode::Forward {
                    connector, proxy, ..
                } => {
                    let connected = connector.clone().oneshot(proxy.clone()).await;
                    connected.map(unwrap_plain).map_err(error_chain)
                }
                ProxyMode::Tunnel(connector) => {
                    let connected = connector.clone().oneshot(origin).await;
                    let stream = connected.map_err(error_chain)?;
                    Ok(Box::new(TokioIo::new(stream)) as Box<dyn Connection>)
                }
            }
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err(format!(
                "no connection within {} s",
                CONNECT_TIMEOUT.as_secs()
            )),
        }
    }
}

/// Unwraps a plain connection, which saves the memory that the TLS variant reserves.
fn unwrap_plain(stream: MaybeHttpsStream<TokioIo<TcpStream>>) -> Box<dyn Connection> {
    match stream {
        MaybeHttpsStream::Http(tcp) => Box::new(tcp.into_inner()),
        MaybeHttpsStream::Https(tls) => Box::new(tls.into_inner()),
    }
}

fn tls_config() -> Result<ClientConfig, rustls::Error> {
    let roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// The text of an error with all its causes.
pub(super) fn error_chain(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> String {
    let error = error.into();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        append_cause(&mut text, inner);
        source = inner.source();
    }
    text
}

/// Appends a cause unless the text contains it already.
fn append_cause(text: &mut String, cause: &dyn Display) {
    let cause = cause.to_string();
    if !text.ends_with(&cause) {
        text.push_str(": ");
        text.push_str(&cause);
    }
}
