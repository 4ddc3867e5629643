//! A small HTTP peer that answers as a test says and remembers what it was asked.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt;
use futures::Stream;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// One request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct ReceivedRequest {
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl ReceivedRequest {
    pub(crate) fn path(&self) -> &str {
        self.uri.path()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the request's body is JSON")
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |v| v.to_str().expect("ASCII"))
    }
}

type Answer = dyn Fn(&ReceivedRequest) -> Response + Send + Sync;

#[derive(Clone)]
struct Shared {
    received: Arc<Mutex<Vec<ReceivedRequest>>>,
    answer: Arc<Answer>,
}

/// A peer on a free port of loopback; it ends with its value.
pub(crate) struct MockServer {
    pub(crate) url: String,
    received: Arc<Mutex<Vec<ReceivedRequest>>>,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for MockServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl MockServer {
    pub(crate) async fn start<R: IntoResponse>(
        answer: impl Fn(&ReceivedRequest) -> R + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        let listener = listener.tap_io(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
        });
        let shared = Shared {
            received: Arc::default(),
            answer: Arc::new(move |received| answer(received).into_response()),
        };
        let received = shared.received.clone();
        let app = axum::Router::new().fallback(handle).with_state(shared);
        let task = tokio::spawn(async move {
            axum::serve(listener, app)
                .await
                .expect("serves until it is dropped");
        });
        Self {
            url,
            received,
            connections,
            task,
        }
    }

    /// What was asked so far.
    pub(crate) fn received(&self) -> Vec<ReceivedRequest> {
        self.received.lock().expect("no panic while locked").clone()
    }

    /// How many connections were opened so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn handle(State(shared): State<Shared>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX)
        .await
        .expect("a body");
    let received = ReceivedRequest {
        uri: head.uri,
        headers: head.headers,
        body,
    };
    shared
        .received
        .lock()
        .expect("no panic while locked")
        .push(received.clone());
    (shared.answer)(&received)
}

/// Server-sent events, one after the other at once.
pub(crate) fn events(data: &[&str]) -> Response {
    let text = data.iter().fold(String::new(), |text, data| {
        text + "data: "
            + data
            + "

"
    });
    ([("content-type", "text/event-stream")], text).into_response()
}

/// Server-sent events as a stream of raw pieces; an error breaks the connection.
pub(crate) fn raw_events(
    pieces: impl Stream<Item = Result<String, std::io::Error>> + Send + 'static,
) -> Response {
    (
        [("content-type", "text/event-stream")],
        Body::from_stream(pieces),
    )
        .into_response()
}

pub(crate) fn json(value: &Value) -> Response {
    axum::Json(value).into_response()
}

pub(crate) fn status(
    code: u16,
    headers: &[(&'static str, &str)],
    body: impl Into<Body>,
) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(code).expect("a status");
    for (name, value) in headers {
        response
            .headers_mut()
            .insert(*name, value.parse().expect("a value"));
    }
    response
}
