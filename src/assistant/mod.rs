//! Assistants: one file per protocol behind the trait [`Assistant`]. The pipeline asks a [`Question`] and gets an [`AnswerStream`].
//!
//! | file | what it owns |
//! |---|---|
//! | `credentials` | what Secrets hold for an assistant |
//! | `configured_headers` | `spec.assistant.headers`, and the header of the API key |
//! | `build` | builds the assistant of `spec.assistant` and its API key |
//! | `openai` | Chat Completions and Responses at any compatible server |
//! | `a2a` | Agent2Agent 1.0 and 0.3: kagent, ADK |
//! | `pupau` | the conversations API of Pupau |
//! | `webhook` | our own signed JSON protocol, for assistants written by hand |
//! | `probe` | whether an assistant can be reached, without asking it anything |
//! | `transcription` | speech to text for voice messages |
//! | `extraction` | the words of documents |
//! | `service_retry` | further attempts at what both do |
//! | `speech` | text to speech for answers |
//! | `visible_text` | text that a person decides by |
//! | `address_policy` | the addresses that an assistant may have |
//! | `root_certificates` | certificate authorities trusted beside the public ones |
//! | `plain_http` | the short way to servers over plain http |
//! | `http_client` | one HTTP exchange: shared connections, limits in time and size |
//! | `sse` | server-sent events |
//! | `choice` | buttons that an assistant offers, and what comes back of them |
//! | `approval` | what an assistant asks people to approve |
//! | `answer_body` | whether a body is JSON or server-sent events, whatever it is called |
//! | `answer_metadata` | sources and token counts as servers spell them |
//! | `answer_file` | the files of an answer: Base64, a data URI, or an address |
//! | `linked_file` | fetches a file that an answer names by its URL |
//! | `lenient_json` | JSON as servers write it, read where it stands |
//! | `error` | errors, classified by what the pipeline does about them |
//! | `question_context` | where a question was asked, and of which bot |
//! | `request_headers` | headers that several protocols send |

mod a2a;
mod address_policy;
mod answer_body;
mod answer_file;
mod answer_metadata;
mod approval;
mod build;
mod choice;
mod configured_headers;
mod credentials;
mod error;
mod extraction;
mod http_client;
mod lenient_json;
mod linked_file;
mod openai;
mod plain_http;
mod probe;
mod pupau;
mod question_context;
mod request_headers;
mod root_certificates;
mod service_retry;
mod speech;
mod sse;
mod transcription;
mod visible_text;
mod webhook;

use std::borrow::Cow;
use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{Stream, stream};

use crate::history::ChatMessage;

pub(crate) use a2a::decision_word;
pub(crate) use address_policy::own_addresses;
pub use address_policy::{AddressPolicy, AddressRange, AddressRefused, AllowedHost, RefusalReason};
pub use answer_file::{FileContent, OfferedFile};
pub(crate) use answer_file::{decode_base64, last_segment};
pub use approval::ApprovalRequest;
pub(crate) use build::find_invalid_field;
pub use build::{BuildError, build_assistant};
pub use choice::{Action, ApprovalOutcome, Choice, ChoiceButton};
pub use credentials::Credentials;
pub use error::{AssistantError, AssistantFault, FailureKind, QuestionProgress};
pub use extraction::{ExtractedText, Extractor, build_extractor};
pub(crate) use http_client::guarded_client;
pub use http_client::{AssistantHttpClient, HttpLimits};
pub use linked_file::{FileLink, LinkError};
pub(crate) use probe::probe_assistant;
pub use probe::{ProbeError, ProbeOutcome};
pub(crate) use question_context::text_with_read_along;
pub use question_context::{
    BotNames, ChatContext, EarlierMessage, QuestionContext, RepliedMessage, TopicContext,
};
pub use root_certificates::{CaFileError, ExtraRootCertificates};
pub(crate) use speech::MAX_SPOKEN_CHARS;
pub(crate) use speech::is_opus;
pub use speech::{Speaker, build_speaker};
pub use transcription::{Recording, Transcriber, build_transcriber};
pub(crate) use visible_text::visible;

/// An assistant of any protocol. One instance serves all chats of a connector.
#[async_trait]
pub trait Assistant: Debug + Send + Sync + 'static {
    /// Sends the question; resolves when the assistant has begun to answer.
    ///
    /// # Errors
    /// [`AssistantError`]; so can each element of the stream, which then ends.
    async fn ask(&self, question: Question) -> Result<AnswerStream, AssistantError>;

    /// Whether [`Question::history`] must be filled (Chat Completions); otherwise the assistant keeps the history itself.
    fn needs_history(&self) -> bool;

    /// The protocol's name in `spec.assistant.protocol`; a metric label.
    fn protocol(&self) -> &'static str;

    /// Fetches a file that an answer names by its URL.
    ///
    /// # Errors
    /// [`LinkError`], with which it stays a link.
    async fn fetch_file(&self, _link: FileLink<'_>) -> Result<Bytes, LinkError> {
        Err(LinkError::Unsupported)
    }

    /// Whether pictures can go with a question. Where they cannot, a question is text only.
    fn supports_pictures(&self) -> bool {
        true
    }
}

/// The parts of an answer in the order in which the assistant writes them. A stream that ends without an error is an answer that its assistant
/// has ended: whole, unless it says [`AnswerPart::Truncated`]. One that ends with an error broke off.
pub type AnswerStream = Pin<Box<dyn Stream<Item = Result<AnswerPart, AssistantError>> + Send>>;

/// One piece of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnswerPart {
    /// The next piece of text, Markdown as models write it.
    Text(String),
    /// All text and all files so far are replaced by this: an agent has written it anew.
    Rewrite(String),
    /// A file, in its place among the text: a paragraph of its own.
    File(OfferedFile),
    /// State to be passed back as [`Question::session_state`] in this session's next question: A2A's `contextId`, Pupau's conversation.
    /// Stored with the session; replaces the state stored before.
    SessionState(String),
    /// A source that the assistant names for its answer. In the order in which it names them; the same one may come again.
    Citation(Citation),
    /// What the answer cost. Cumulative within one answer: the last one counts.
    Usage(TokenUsage),
    /// What the assistant says of its work before its answer begins; for people who wait, and no part of the answer. Only where
    /// [`Question::wants_progress`].
    Progress(Progress),
    /// The assistant ended the answer before it was whole.
    Truncated(Truncation),
    /// Buttons under the answer. The last ones count.
    Choice(Choice),
    /// The assistant goes on only with a decision about this. The last one counts.
    Approval(ApprovalRequest),
}

/// What an assistant says of its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// What it does now, in the place of all before.
    Step(String),
    /// The next piece of what it thinks.
    Thought(String),
}

/// A source of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Citation {
    /// Where it is: an http(s) URL.
    pub url: String,
    /// What it is called.
    pub title: Option<String>,
}

/// Tokens that an exchange took, as the assistant counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TokenUsage {
    /// Of the question with its history and prompt.
    pub input: u64,
    /// Of the answer, reasoning included.
    pub output: u64,
}

/// Why an assistant ended an answer before it was whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Truncation {
    /// A limit of length was reached.
    Length,
    /// A content filter cut it off.
    Filter,
}

/// A picture that goes with a question.
#[derive(Debug, Clone)]
pub struct Picture {
    /// Media type, for instance `image/jpeg`.
    pub media_type: String,
    /// Contents of the file.
    pub bytes: Bytes,
}

/// A file that goes with a question as it is.
#[derive(Debug, Clone)]
pub struct QuestionFile {
    /// Its name.
    pub name: String,
    /// Media type, for instance `application/pdf`.
    pub media_type: String,
    /// Its contents.
    pub bytes: bytes::Bytes,
}

/// The Telegram user who asks (Bot API, `User`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// Telegram's numeric user id.
    pub id: i64,
    /// First and last name, joined by a space.
    pub name: String,
    /// Username without @.
    pub username: Option<String>,
    /// IETF language tag of the user's client, for instance `pt-br`.
    pub language_code: Option<String>,
}

/// One question with everything that an assistant needs to answer it.
#[derive(Debug, Clone)]
pub struct Question {
    /// The user who asks.
    pub sender: Sender,
    /// `namespace/name` of the connector.
    pub connector: Arc<str>,
    /// The session's id: stable within a session, new with the next; unique to the message where there are no sessions.
    pub session_id: String,
    /// The last [`AnswerPart::SessionState`] of this session.
    pub session_state: Option<String>,
    /// The session so far, oldest first. Empty unless [`Assistant::needs_history`].
    pub history: Vec<ChatMessage>,
    /// The text of the question.
    pub text: String,
    /// Pictures that go with it.
    pub pictures: Vec<Picture>,
    /// Other files that go with it.
    pub files: Vec<QuestionFile>,
    /// Whether [`AnswerPart::Progress`] is shown to anybody.
    pub wants_progress: bool,
    /// Where it was asked, and of which bot.
    pub context: QuestionContext,
    /// What a person decided, where this is about a question that the assistant asked; `text` then says it in words.
    pub action: Option<Action>,
    /// Whether a `buttons` block at the end of the answer becomes buttons: a model is told so.
    pub offers_buttons: bool,
    /// Derived from the update; the same for every attempt at this question.
    pub idempotency_key: String,
}

impl Question {
    /// The words for an assistant that is given nothing but text: with what was said before them.
    fn full_text(&self) -> Cow<'_, str> {
        text_with_read_along(&self.context.read_along, &self.text)
    }
}

/// Reads the parts of an answer one after the other.
trait AnswerReader: Send + 'static {
    /// The next part; `None` when the answer is complete.
    fn next_part(
        &mut self,
    ) -> impl Future<Output = Result<Option<AnswerPart>, AssistantError>> + Send;
}

/// The stream of an answer's parts, up to its end or its first error.
fn answer_stream(parts: impl AnswerReader) -> AnswerStream {
    // Boxed, because `unfold` moves the reader at every step.
    Box::pin(stream::unfold(Some(Box::new(parts)), |parts| async move {
        let mut parts = parts?;
        match parts.next_part().await {
            Ok(Some(part)) => Some((Ok(part), Some(parts))),
            Ok(None) => None,
            Err(e) => Some((Err(e), None)),
        }
    }))
}

/// The stream of an answer that has already been read completely.
fn complete_answer(parts: Vec<AnswerPart>) -> AnswerStream {
    Box::pin(stream::iter(parts.into_iter().map(Ok)))
}
