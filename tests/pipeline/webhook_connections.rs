//! Connections to the webhook server that send no right request: they cost little, and keep nobody out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use telegram_connector_operator::connection::webhook::secret_token::{
    SECRET_HEADER, derive_secret_token,
};
use telegram_connector_operator::connection::webhook::{self, WebhookServer};
use telegram_connector_operator::http_server::{ConnectionLimits, MAX_HEAD_BYTES};
use telegram_connector_operator::telemetry::Metrics;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::test_env::{Connector, TIMEOUT, TestEnv};

const KEY: &str = "0123456789abcdef0123456789abcdef";
const LIMITS: ConnectionLimits = ConnectionLimits {
    untrusted: 4,
    untrusted_per_peer: 4,
    crowd: 4,
    trusted: 4,
};
const UNFINISHED_HEAD: &str = "POST /telegram/x HTTP/1.1\r\nHost: x\r\nX-Filler: abc";

struct Server {
    address: SocketAddr,
    connector: Connector,
    _stop: DropGuard,
}

impl Server {
    async fn start(env: &mut TestEnv) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connector = env.connector("support");
        let server = WebhookServer {
            registry: env.registry.clone(),
            inbox: env.store.clone(),
            metrics: Arc::new(Metrics::new()),
            keys: vec![KEY.into()],
            tls: None,
            connection_limits: LIMITS,
        };
        let stop = CancellationToken::new();
        tokio::spawn(webhook::serve(listener, server, stop.clone()));
        Self {
            address,
            connector,
            _stop: stop.drop_guard(),
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// A request as Telegram sends it, with these additional headers.
    fn request(&self, update: i64, headers: &str) -> String {
        let Connector { uid, id, .. } = &self.connector;
        let secret = derive_secret_token(&SecretString::from(KEY), uid, *id);
        let body = format!(
            r#"{{"update_id":{update},"message":{{"message_id":{update},"date":100,"chat":{{"id":7,"type":"private"}},"from":{{"id":7,"is_bot":false,"first_name":"Eve"}},"text":"x"}}}}"#
        );
        format!(
            "POST /telegram/{uid} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{SECRET_HEADER}: {}\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            secret.expose_secret(),
            body.len()
        )
    }
}

/// Sends a request and returns the status line of its answer.
async fn exchange(stream: &mut TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 512];
    let read = tokio::time::timeout(TIMEOUT, stream.read(&mut answer)).await;
    let length = read.expect("an answer in time").unwrap();
    let text = String::from_utf8_lossy(&answer[..length]);
    text.lines().next().unwrap_or_default().to_owned()
}

/// Waits until the server has closed the connection.
async fn wait_until_closed(stream: &mut TcpStream) {
    let read = tokio::time::timeout(TIMEOUT, stream.read(&mut [0; 64])).await;
    // A reset is an end as well.
    assert_eq!(read.expect("closed in time").unwrap_or(0), 0);
}

#[tokio::test]
async fn unfinished_heads_keep_right_requests_neither_out_nor_waiting() {
    let mut env = TestEnv::new().await;
    let server = Server::start(&mut env).await;
    let mut telegram = server.connect().await;
    let answer = exchange(&mut telegram, &server.request(1, "")).await;
    assert_eq!(answer, "HTTP/1.1 200 OK");
    let mut streams = Vec::new();
    for _ in 0..20 {
        let mut stream = server.connect().await;
        stream.write_all(UNFINISHED_HEAD.as_bytes()).await.unwrap();
        streams.push(stream);
    }
    // All but the newest are closed, oldest first.
    for stream in &mut streams[..20 - LIMITS.untrusted] {
        wait_until_closed(stream).await;
    }
    let kept = exchange(&mut telegram, &server.request(2, "")).await;
    assert_eq!(kept, "HTTP/1.1 200 OK", "the trusted connection is kept");
    let mut new = server.connect().await;
    let answer = exchange(&mut new, &server.request(3, "")).await;
    assert_eq!(answer, "HTTP/1.1 200 OK", "a new connection is answered");
    let newest = streams.last_mut().expect("a flood");
    let quiet = tokio::time::timeout(Duration::ZERO, newest.read(&mut [0; 1])).await;
    assert!(quiet.is_err(), "what is within the limits stays open");
}

#[tokio::test]
async fn head_beyond_its_buffer_is_refused_without_being_read() {
    let mut env = TestEnv::new().await;
    let server = Server::start(&mut env).await;
    let filler = |bytes| format!("X-Filler: {}\r\n", "x".repeat(bytes));
    let mut stream = server.connect().await;
    let long = server.request(1, &filler(MAX_HEAD_BYTES));
    let answer = exchange(&mut stream, &long).await;
    assert_eq!(answer, "HTTP/1.1 431 Request Header Fields Too Large");
    let mut stream = server.connect().await;
    let with_ingress_headers = server.request(1, &filler(MAX_HEAD_BYTES / 2));
    let answer = exchange(&mut stream, &with_ingress_headers).await;
    assert_eq!(answer, "HTTP/1.1 200 OK");
}
