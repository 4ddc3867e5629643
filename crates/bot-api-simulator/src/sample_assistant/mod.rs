//! A sample assistant with the Chat Completions API of `OpenAI`, streamed or not: deterministic for demos, and failing on demand for
//! tests.
//!
//! It repeats the question and says how many earlier messages the request held, so that a test sees which session was used.
//! `POST /v1/audio/transcriptions` returns the bytes of a recording as text, `PUT /tika` the words of a document, `POST /v1/audio/speech` a recording
//! of a text; `POST /webhook` answers in the protocol Webhook.
//!
//! Over HTTP, `PUT /control` sets the [`Behaviour`] (as JSON) and `GET /control` reads it; `GET /control/requests` lists the recorded
//! requests and `DELETE /control/requests` clears them.

mod extraction;
mod persona;
mod response;
mod server;
mod services;
mod speech;
mod transcription;
mod webhook;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use std::time::Duration;

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;

pub use extraction::RecordedExtraction;
pub use speech::RecordedSpeech;
pub use transcription::RecordedTranscription;

/// Behaviour of the assistant; by default it answers at once and without failures.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Behaviour {
    /// Milliseconds before the answer begins.
    pub latency_ms: u64,
    /// Milliseconds between two words of a streamed answer.
    pub word_delay_ms: u64,
    /// Fail instead of answering.
    pub fail: Option<InjectedFailure>,
    /// Close the connection after this many words; 0: before the first byte of the response.
    pub drop_after_words: Option<usize>,
    /// Accept requests and never respond.
    pub hang: bool,
    /// Answer with an empty text.
    pub empty: bool,
    /// Answer with this text instead of the deterministic one.
    pub answer: Option<String>,
    /// Further fields of the answer, as its protocol has them: of a message of Chat Completions (`images`, `audio`), or of a reply in Webhook
    /// (`approval`, `files`).
    pub fields: Map<String, Value>,
    /// Send the text in `refusal` instead of `content`, as `OpenAI`'s models do.
    pub refuse: bool,
    /// Requests with more messages than this are refused: they are too long for the model's context.
    pub context_messages: Option<usize>,
    /// Requests without `Authorization: Bearer <this>` are refused with 401.
    pub api_key: Option<String>,
    /// Fail instead of transcribing. Only this and `api_key` apply to transcriptions.
    pub fail_transcription: Option<InjectedFailure>,
    /// Fail instead of extracting. Only this and `api_key` apply to extractions.
    pub fail_extraction: Option<InjectedFailure>,
    /// Fail instead of speaking. Only this and `api_key` apply to speech.
    pub fail_speech: Option<InjectedFailure>,
    /// Other behaviours for matching messages: the first match applies; rules inside of a rule are ignored.
    pub rules: Vec<BehaviourRule>,
}

impl Behaviour {
    /// The behaviour for a message: that of the first rule that matches, or this.
    fn for_question(&self, question: impl FnOnce() -> String) -> &Self {
        if self.rules.is_empty() {
            return self;
        }
        let question = question();
        let rule = self.rules.iter().find(|rule| question.contains(&rule.when));
        rule.map_or(self, |rule| &rule.then)
    }
}

/// An error response on demand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InjectedFailure {
    /// HTTP status.
    pub status: u16,
    /// Number of failures; absent: until the behaviour changes.
    #[serde(default)]
    pub times: Option<u64>,
    /// Seconds in `Retry-After`.
    #[serde(default)]
    pub retry_after: Option<u64>,
}

/// A behaviour for messages that contain a text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BehaviourRule {
    /// The text that the last message must contain.
    pub when: String,
    /// The behaviour for such a message.
    pub then: Behaviour,
}

/// A recorded question: a request of Chat Completions or of Webhook.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RecordedRequest {
    /// Header names in lower case and values, `authorization` included: test keys are no secrets.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Value,
    /// When the request arrived.
    pub at: jiff::Timestamp,
}

impl RecordedRequest {
    /// The value of a header; `name` in lower case.
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
    extractions: Mutex<VecDeque<RecordedExtraction>>,
    speeches: Mutex<VecDeque<RecordedSpeech>>,
    request_arrived: Notify,
}

/// Handle of a running sample assistant. Cheap to clone; the server stops when the last handle is dropped.
#[derive(Debug, Clone)]
pub struct SampleAssistant {
    /// The listen address.
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
        extractions: Mutex::default(),
        speeches: Mutex::default(),
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

    /// The root URL of the API, ending in `/v1`.
    ///
    /// # Panics
    /// Never: an address always makes a URL.
    pub fn url(&self) -> Url {
        Url::parse(&format!("http://{}/v1", self.addr)).expect("an address makes a URL")
    }

    /// Replaces the behaviour and restarts its failure count.
    pub fn set_behaviour(&self, behaviour: Behaviour) {
        self.state.failed.store(0, Ordering::Release);
        self.state.behaviour.store(Arc::new(behaviour));
    }

    /// The behaviour in effect.
    pub fn behaviour(&self) -> Arc<Behaviour> {
        self.state.behaviour.load_full()
    }

    /// The recorded requests, oldest first.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.state.requests.lock().iter().cloned().collect()
    }

    /// The recorded transcription requests, oldest first.
    pub fn transcriptions(&self) -> Vec<RecordedTranscription> {
        self.state.transcriptions.lock().iter().cloned().collect()
    }

    /// The recorded extraction requests, oldest first.
    pub fn extractions(&self) -> Vec<RecordedExtraction> {
        self.state.extractions.lock().iter().cloned().collect()
    }

    /// Where it answers in the protocol Webhook.
    ///
    /// # Panics
    /// Never: an address always makes a URL.
    pub fn webhook_url(&self) -> Url {
        let url = format!("http://{}/webhook", self.addr);
        Url::parse(&url).expect("an address makes a URL")
    }

    /// The recorded requests for speech, oldest first.
    pub fn speeches(&self) -> Vec<RecordedSpeech> {
        self.state.speeches.lock().iter().cloned().collect()
    }

    /// Number of questions received, recorded or not: by Chat Completions and by Webhook, recorded or not.
    pub fn request_count(&self) -> u64 {
        self.state.count.load(Ordering::Acquire)
    }

    /// Waits until more than `already` requests were received; false after `within`.
    pub async fn wait_for_requests(&self, already: u64, within: Duration) -> bool {
        let deadline = tokio::time::Instant::now() + within;
        loop {
            let arrived = self.state.request_arrived.notified();
            if self.request_count() > already {
                return true;
            }
            if tokio::time::timeout_at(deadline, arrived).await.is_err() {
                return self.request_count() > already;
            }
        }
    }

    /// Stops listening and closes every connection.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits until somebody calls [`SampleAssistant::stop`].
    pub async fn wait(&self) {
        self.stop.cancelled().await;
    }
}
