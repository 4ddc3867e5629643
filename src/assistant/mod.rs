//! Assistants: one file per protocol behind one trait. The pipeline asks; an answer comes back as it is written.
//!
//! | file | what it owns |
//! |---|---|
//! | `build` | from `spec.assistant` and its key to something that answers |
//! | `openai` | Chat Completions of any compatible server |
//! | `a2a` | Agent2Agent 1.0 and 0.3: kagent, ADK |
//! | `pupau` | conversations at Pupau |
//! | `webhook` | our own signed JSON, for whoever writes an assistant by hand |
//! | `transcription` | who writes voice messages down, for assistants that read |
//! | `address_policy` | which addresses an assistant may have |
//! | `root_certificates` | whom its certificate may be vouched for by, beside the public authorities |
//! | `http_client` | one HTTP exchange: shared connections, limits in time and size |
//! | `sse` | server-sent events |
//! | `error` | what can go wrong, in the classes that differ in what to do |
//! | `request_headers` | the headers that say who asks |

mod a2a;
mod address_policy;
mod build;
mod error;
mod http_client;
mod openai;
mod pupau;
mod request_headers;
mod root_certificates;
mod sse;
mod transcription;
mod webhook;

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use futures::{Stream, stream};

use crate::history::ChatMessage;

pub use address_policy::{AddressPolicy, AddressRefused, AllowedAddress};
pub use build::{BuildError, build_assistant};
pub use error::{AssistantError, AssistantFault};
pub use http_client::{AssistantHttpClient, HttpLimits};
pub use root_certificates::{CaFileError, ExtraRootCertificates};
pub use transcription::{Recording, Transcriber, build_transcriber};

/// Something that answers.
#[async_trait]
pub trait Assistant: Debug + Send + Sync + 'static {
    /// Asks; resolves once the assistant has begun to answer.
    ///
    /// # Errors
    /// [`AssistantError`]; so can each element of the stream, which then ends.
    async fn ask(&self, question: Question) -> Result<AnswerStream, AssistantError>;

    /// Whether requests carry the history (Chat Completions), or the assistant keeps it itself.
    fn needs_history(&self) -> bool;

    /// The protocol's name in `spec.assistant.protocol`; a metric label.
    fn protocol(&self) -> &'static str;

    /// Whether pictures can go with a question. Where they cannot, a question is text only.
    fn supports_pictures(&self) -> bool {
        true
    }
}

/// An answer as it is written.
pub type AnswerStream = Pin<Box<dyn Stream<Item = Result<AnswerPart, AssistantError>> + Send>>;

/// One piece of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnswerPart {
    /// The next piece of text, Markdown as models write it.
    Text(String),
    /// What the assistant wants to be given back in this session's next question: A2A's `contextId`, Pupau's conversation.
    /// Stored with the session; replaces what was stored.
    SessionState(String),
}

/// A picture that goes with a question.
#[derive(Debug, Clone)]
pub struct Picture {
    /// For instance `image/jpeg`.
    pub media_type: String,
    /// The file.
    pub bytes: bytes::Bytes,
}

/// The person who asks, as Telegram knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// The numeric id.
    pub id: i64,
    /// First and last name.
    pub name: String,
    /// Username without @.
    pub username: Option<String>,
    /// IETF language tag.
    pub language_code: Option<String>,
}

/// One question, complete: an assistant needs nothing else.
#[derive(Debug, Clone)]
pub struct Question {
    /// Who asks.
    pub sender: Sender,
    /// `namespace/name` of the connector.
    pub connector: Arc<str>,
    /// The session's id: stable within a session, new with the next; unique to the message where there are no sessions.
    pub session_id: String,
    /// What the assistant last gave as [`AnswerPart::SessionState`] in this session.
    pub session_state: Option<String>,
    /// The session so far, oldest first. Empty unless [`Assistant::needs_history`].
    pub history: Vec<ChatMessage>,
    /// What is asked.
    pub text: String,
    /// Pictures that go with it.
    pub pictures: Vec<Picture>,
    /// The update's identity: the same for every attempt at this question.
    pub idempotency_key: String,
}

/// An answer in the making, from which one part after the other is read.
trait AnswerReader: Send + 'static {
    /// The next part; `None` when the answer is complete.
    fn next_part(
        &mut self,
    ) -> impl Future<Output = Result<Option<AnswerPart>, AssistantError>> + Send;
}

/// Reads an answer to its end or its first error.
fn answer_stream(parts: impl AnswerReader) -> AnswerStream {
    // Boxed: what reads is moved at every step.
    Box::pin(stream::unfold(Some(Box::new(parts)), |parts| async move {
        let mut parts = parts?;
        match parts.next_part().await {
            Ok(Some(part)) => Some((Ok(part), Some(parts))),
            Ok(None) => None,
            Err(e) => Some((Err(e), None)),
        }
    }))
}

/// An answer that is there at once.
fn complete_answer(parts: Vec<AnswerPart>) -> AnswerStream {
    Box::pin(stream::iter(parts.into_iter().map(Ok)))
}
