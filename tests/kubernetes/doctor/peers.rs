//! The peers that are examined: an assistant, a webhook server over TLS, and a Bot API whose clock is wrong.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use parking_lot::Mutex;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// The key that the assistant takes.
pub const API_KEY: &str = "sk-planted-key-of-the-assistant";
/// The model that it has.
pub const MODEL: &str = "support-agent";

/// A server on loopback that ends with its value.
pub struct Peer {
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a free port")
}

async fn serve(router: Router) -> Peer {
    let listener = listener().await;
    let address = listener.local_addr().expect("its address");
    let task = tokio::spawn(async move {
        axum::serve(listener, router).await.expect("it serves");
    });
    Peer { address, task }
}

/// An `OpenAI` server with one model, which takes one key.
pub async fn assistant() -> Peer {
    serve(Router::new().fallback(|request: Request| async move {
        let expected = format!("Bearer {API_KEY}");
        let key = request.headers().get(header::AUTHORIZATION);
        if key.is_none_or(|key| key.as_bytes() != expected.as_bytes()) {
            return StatusCode::UNAUTHORIZED.into_response();
        }
        match request.uri().path() {
            "/v1/models" => {
                Json(json!({"object": "list", "data": [{"id": MODEL}]})).into_response()
            }
            path => panic!("the assistant is asked for {path}"),
        }
    }))
    .await
}

/// The admin endpoint of an operator that is ready.
pub async fn ready_operator() -> Peer {
    serve(Router::new().fallback(async || "[+] crds ok\n")).await
}

/// The Bot API at `root`, two minutes late.
pub async fn late_telegram(root: url::Url) -> Peer {
    let client = reqwest::Client::new();
    serve(Router::new().fallback(move |request: Request| {
        let (client, root) = (client.clone(), root.clone());
        async move {
            let url = root.join(request.uri().path()).expect("a path");
            let answer = client
                .post(url)
                .send()
                .await
                .expect("the simulator answers");
            let status = answer.status();
            let mut response: Response =
                (status, answer.bytes().await.expect("a body")).into_response();
            let late = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(120);
            let date = jiff::fmt::rfc2822::DateTimePrinter::new()
                .timestamp_to_rfc9110_string(&late)
                .expect("a date");
            let date = HeaderValue::from_str(&date).expect("a header");
            response.headers_mut().insert(header::DATE, date);
            response
        }
    }))
    .await
}

/// When the certificate of a webhook server ends.
#[derive(Debug, Clone, Copy)]
pub enum Validity {
    Long,
    Expired,
}

/// How the webhook server behaves at the moment.
#[derive(Clone)]
pub struct WebhookBehaviour {
    /// The connector that it knows: 401 for requests without its secret, 404 for any other.
    pub uid: String,
    pub validity: Validity,
    /// Another server: 200 for everything.
    pub foreign: bool,
}

/// Answers over TLS as the operator's webhook server does to requests without a secret.
pub async fn webhook_server(behaviour: Arc<Mutex<WebhookBehaviour>>) -> Peer {
    let listener = listener().await;
    let address = listener.local_addr().expect("its address");
    let task = tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                return;
            };
            let behaviour = behaviour.lock().clone();
            tokio::spawn(answer_one(stream, behaviour));
        }
    });
    Peer { address, task }
}

async fn answer_one(stream: TcpStream, behaviour: WebhookBehaviour) {
    let Ok(mut stream) = acceptor(behaviour.validity).accept(stream).await else {
        return;
    };
    let mut head = vec![0; 4096];
    let read = stream.read(&mut head).await.unwrap_or(0);
    let head = String::from_utf8_lossy(&head[..read]).into_owned();
    let known = head.starts_with(&format!("POST /telegram/{} ", behaviour.uid));
    let status = match (behaviour.foreign, known) {
        (true, _) => "200 OK",
        (false, true) => "401 Unauthorized",
        (false, false) => "404 Not Found",
    };
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    // A client that is gone is no news.
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

fn acceptor(validity: Validity) -> TlsAcceptor {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
    if matches!(validity, Validity::Expired) {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    }
    let certificate = params.self_signed(&key).expect("a certificate");
    let certificate = CertificateDer::from_pem_slice(certificate.pem().as_bytes()).expect("PEM");
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).expect("PEM");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a certificate with its key");
    TlsAcceptor::from(Arc::new(config))
}

/// A store whose tables a version made that does not exist yet.
pub async fn make_store_newer(path: &Path) {
    let path = path.to_owned();
    let made = tokio::task::spawn_blocking(move || {
        let db = rusqlite::Connection::open(path)?;
        db.execute_batch(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'later', 1, x'00', 0)",
        )
    });
    made.await.expect("no panic").expect("a row more");
}
