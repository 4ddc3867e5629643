//! A sample assistant that speaks the Chat Completions protocol, streamed or whole: a friendly and predictable one for demos, and
//! one that fails on demand for tests.
//!
//! It repeats what it was told and says how many earlier messages came along, so that sessions can be seen from outside.
//! It also hears: `POST /v1/audio/transcriptions` gives back what a recording's bytes say as text.
//!
//! Over HTTP it is told to misbehave by `PUT /control` (a [`Behaviour`] as JSON); `GET /control` shows it,
//! `GET /control/requests` what was asked, `DELETE /control/requests` forgets that.

mod persona;
mod server;
mod transcription;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;

pub use transcription::RecordedTranscription;

/// How the assistant behaves; the default is quick and faultless.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Behaviour {
    /// Milliseconds before the answer begins.
    pub latency_ms: u64,
    /// Milliseconds between two words of a streamed answer.
    pub word_delay_ms: u64,
    /// Fail instead of answering.
    pub fail: Option<InjectedFailure>,
    /// Close the connection after so many words (0: before the first byte of the answer).
    pub drop_after_words: Option<usize>,
    /// Never answer.
    pub hang: bool,
    /// Answer with nothing.
    pub empty: bool,
    /// Answer with this instead of the persona's words.
    pub answer: Option<String>,
    /// Say it as a refusal: the words come in `refusal` instead of `content`, as `OpenAI`'s models do.
    pub refuse: bool,
    /// Requests without `Authorization: Bearer <this>` are refused with 401.
    pub api_key: Option<String>,
    /// Fail instead of writing a recording down. Only this and `api_key` concern recordings.
    pub fail_transcription: Option<InjectedFailure>,
    /// Another behaviour for messages that contain a text; the first rule that matches counts, and its own rules do not.
    pub rules: Vec<BehaviourRule>,
}

/// A failure on demand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InjectedFailure {
    /// HTTP status.
    pub status: u16,
    /// How many times; absent: until told otherwise.
    #[serde(default)]
    pub times: Option<u64>,
    /// Seconds in `Retry-After`.
    #[serde(default)]
    pub retry_after: Option<u64>,
}

/// A behaviour for some messages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BehaviourRule {
    /// What the last message must contain.
    pub when: String,
    /// What happens then.
    pub then: Behaviour,
}

/// One request as it came.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RecordedRequest {
    /// Header names in lower case and values. `authorization` is included: these are made-up keys.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Value,
    /// When it came.
    pub at: jiff::Timestamp,
}

impl RecordedRequest {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

#[derive(Debug)]
struct State {
    behaviour: ArcSwap<Behaviour>,
    failed: AtomicU64,
    count: AtomicU64,
    keep: usize,
    requests: Mutex<VecDeque<RecordedRequest>>,
    transcriptions: Mutex<VecDeque<RecordedTranscription>>,
    request_arrived: Notify,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running sample assistant. Cheap to clone; it ends when the last handle is dropped.
#[derive(Debug, Clone)]
pub struct SampleAssistant {
    /// Where it listens.
    pub addr: SocketAddr,
    state: Arc<State>,
    stop: CancellationToken,
    _stop_on_drop: Arc<DropGuard>,
}

/// Starts an assistant on an address (port 0: any free one). It keeps the last `keep` requests; 0 for benchmarks.
///
/// # Errors
/// The address cannot be listened on.
pub async fn serve(listen: SocketAddr, keep: usize) -> io::Result<SampleAssistant> {
    let listener = TcpListener::bind(listen).await?;
    let addr = listener.local_addr()?;
    let state = Arc::new(State {
        behaviour: ArcSwap::default(),
        failed: AtomicU64::new(0),
        count: AtomicU64::new(0),
        keep,
        requests: Mutex::default(),
        transcriptions: Mutex::default(),
        request_arrived: Notify::new(),
    });
    let stop = CancellationToken::new();
    tokio::spawn(server::accept(listener, state.clone(), stop.clone()));
    Ok(SampleAssistant {
        addr,
        state,
        _stop_on_drop: Arc::new(stop.clone().drop_guard()),
        stop,
    })
}

impl SampleAssistant {
    /// Starts an assistant on a free port of loopback, keeping the last 1,000 requests.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start() -> io::Result<Self> {
        serve(SocketAddr::from(([127, 0, 0, 1], 0)), 1_000).await
    }

    /// For `spec.assistant.url`.
    ///
    /// # Panics
    /// Never: an address always makes a URL.
    pub fn url(&self) -> Url {
        Url::parse(&format!("http://{}/v1", self.addr)).expect("an address makes a URL")
    }

    /// Behaves differently from now on.
    pub fn set_behaviour(&self, behaviour: Behaviour) {
        self.state.failed.store(0, Ordering::Release);
        self.state.behaviour.store(Arc::new(behaviour));
    }

    /// The requests kept so far, oldest first.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        lock(&self.state.requests).iter().cloned().collect()
    }

    /// The recordings kept so far, oldest first.
    pub fn transcriptions(&self) -> Vec<RecordedTranscription> {
        lock(&self.state.transcriptions).iter().cloned().collect()
    }

    /// How many questions have come, kept or not.
    pub fn request_count(&self) -> u64 {
        self.state.count.load(Ordering::Acquire)
    }

    /// Waits until more than `already` questions have come; false when they have not by the end of `within`.
    pub async fn wait_for_requests(&self, already: u64, within: Duration) -> bool {
        let deadline = tokio::time::Instant::now() + within;
        loop {
            let came = self.state.request_arrived.notified();
            if self.request_count() > already {
                return true;
            }
            if tokio::time::timeout_at(deadline, came).await.is_err() {
                return self.request_count() > already;
            }
        }
    }

    /// Stops listening and closes every connection: the assistant is down.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits until somebody calls [`SampleAssistant::stop`].
    pub async fn wait(&self) {
        self.stop.cancelled().await;
    }
}
