//! Assistants: one file per protocol behind one trait. The pipeline asks; an answer comes back as it is written.

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use futures::Stream;

use crate::observation::AssistantFault;

/// Something that answers.
#[async_trait]
pub trait Assistant: Debug + Send + Sync + 'static {
    /// Asks; resolves once the assistant has begun to answer.
    ///
    /// # Errors
    /// [`AssistantError`]; so can each element of the stream, which then ends.
    async fn ask(&self, question: Question) -> Result<AnswerStream, AssistantError>;

    /// Whether requests carry the history (OpenAI), or the assistant keeps it itself.
    fn wants_history(&self) -> bool;
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

/// Who said something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The Telegram user.
    User,
    /// The assistant.
    Assistant,
}

/// One message of the history.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Turn {
    /// Who.
    pub role: Role,
    /// What.
    pub text: String,
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
pub struct Asker {
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
    pub asker: Asker,
    /// `namespace/name` of the connector.
    pub connector: Arc<str>,
    /// The session's id: stable within a session, new with the next; unique to the message where there are no sessions.
    pub session_id: String,
    /// What the assistant last gave as [`AnswerPart::SessionState`] in this session.
    pub session_state: Option<String>,
    /// The session so far, oldest first. Empty unless [`Assistant::wants_history`].
    pub history: Vec<Turn>,
    /// What is asked.
    pub text: String,
    /// Pictures that go with it.
    pub pictures: Vec<Picture>,
    /// The update's identity: the same for every attempt at this question.
    pub idempotency_key: String,
}

/// Why there is no answer. Holds neither key nor chat text.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{detail}")]
pub struct AssistantError {
    /// What kind of failure it is for `AssistantReady`.
    pub fault: AssistantFault,
    /// Whether asking again may help.
    pub retryable: bool,
    /// How long to wait first, if the assistant said so.
    pub retry_after: Option<std::time::Duration>,
    /// For people.
    pub detail: String,
}
