//! A webhook server that answers as a test wants.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode};
use axum::routing::post;
use serde_json::Value;

/// What it got.
#[derive(Clone)]
pub(crate) struct ReceivedUpdate {
    pub(crate) update: Value,
    pub(crate) secret: Option<String>,
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
}

/// How it answers one request.
#[derive(Clone)]
pub(crate) struct WebhookResponse {
    pub(crate) status: u16,
    pub(crate) header: Option<(&'static str, &'static str)>,
    pub(crate) body: &'static str,
    pub(crate) delay: Duration,
}

impl WebhookResponse {
    pub(crate) fn status(status: u16) -> Self {
        Self {
            status,
            header: None,
            body: "",
            delay: Duration::ZERO,
        }
    }
}

#[derive(Clone)]
pub(crate) struct WebhookReceiver {
    pub(crate) addr: SocketAddr,
    got: Arc<Mutex<Vec<ReceivedUpdate>>>,
    replies: Arc<Mutex<(VecDeque<WebhookResponse>, WebhookResponse)>>,
}

impl WebhookReceiver {
    /// Answers with these, one after the other, and then with 200.
    pub(crate) async fn start(first: Vec<WebhookResponse>) -> Self {
        Self::start_with(first, WebhookResponse::status(200)).await
    }

    pub(crate) async fn start_with(first: Vec<WebhookResponse>, then: WebhookResponse) -> Self {
        let (receiver, router, listener) = Self::prepare(first, then).await;
        tokio::spawn(async move { axum::serve(listener, router).await });
        receiver
    }

    async fn prepare(
        first: Vec<WebhookResponse>,
        then: WebhookResponse,
    ) -> (Self, Router, tokio::net::TcpListener) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let receiver = Self {
            addr: listener.local_addr().expect("an address"),
            got: Arc::default(),
            replies: Arc::new(Mutex::new((first.into(), then))),
        };
        let router = Router::new()
            .fallback(post(answer))
            .with_state(receiver.clone());
        (receiver, router, listener)
    }

    /// The same over TLS with this certificate and key.
    pub(crate) async fn start_tls(certificate: &rcgen::CertifiedKey<rcgen::KeyPair>) -> Self {
        let (receiver, router, listener) =
            Self::prepare(Vec::new(), WebhookResponse::status(200)).await;
        let key =
            rustls::pki_types::PrivateKeyDer::try_from(certificate.signing_key.serialize_der())
                .expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.cert.der().clone()], key)
            .expect("a certificate");
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                let service = hyper_util::service::TowerToHyperService::new(router.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        let stream = hyper_util::rt::TokioIo::new(stream);
                        let _ = hyper::server::conn::http1::Builder::new()
                            .serve_connection(stream, service)
                            .await;
                    }
                });
            }
        });
        receiver
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/telegram/uid", self.addr)
    }

    pub(crate) fn got(&self) -> Vec<ReceivedUpdate> {
        self.got.lock().expect("a lock").clone()
    }

    /// Waits until it has got so many requests.
    pub(crate) async fn wait_for(&self, count: usize) -> Vec<ReceivedUpdate> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let got = self.got();
            if got.len() >= count {
                return got;
            }
            assert!(
                Instant::now() < deadline,
                "{} of {count} deliveries",
                got.len()
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

async fn answer(
    State(receiver): State<WebhookReceiver>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<String> {
    let began = Instant::now();
    let reply = {
        let mut replies = receiver.replies.lock().expect("a lock");
        let next = replies.0.pop_front();
        next.unwrap_or_else(|| replies.1.clone())
    };
    tokio::time::sleep(reply.delay).await;
    receiver.got.lock().expect("a lock").push(ReceivedUpdate {
        update: serde_json::from_slice(&body).expect("JSON"),
        secret: headers
            .get("x-telegram-bot-api-secret-token")
            .map(|value| value.to_str().expect("text").to_owned()),
        began,
        ended: Instant::now(),
    });
    let mut response = Response::new(reply.body.to_owned());
    *response.status_mut() = StatusCode::from_u16(reply.status).expect("a status");
    response
        .headers_mut()
        .insert("content-type", "application/json".parse().expect("a value"));
    if let Some((name, value)) = reply.header {
        response
            .headers_mut()
            .insert(name, value.parse().expect("a value"));
    }
    response
}
