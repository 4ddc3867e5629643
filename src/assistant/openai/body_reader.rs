//! From the bytes of a body to the parts of an answer: a pure state machine, whatever the body is called. Server-sent events, one JSON object, a line
//! of JSON for each chunk: what a body is decides how it is read.
//!
//! Lenient per field, strict about loss: what looks like a part of the answer and cannot be read is an error, behind the text that came before it.

use std::fmt::Debug;

use serde_json::{Value, json};

use super::answer_parts::AnswerParts;
use crate::assistant::lenient_json::{Json, JsonKind};
use crate::assistant::sse::{EventOrigin, SseDecoder, SseEvent};
use crate::assistant::{AnswerPart, AssistantError, QuestionProgress, Truncation};

/// The last event of a stream.
const DONE: &[u8] = b"[DONE]";

/// What one of `OpenAI`'s APIs makes of the objects of an answer.
pub(super) trait Dialect: Debug + Send {
    /// Reads one object: the data of an event, or a whole body. What the API does not know is passed over.
    fn read(
        &mut self,
        object: Json<'_>,
        event: &SseEvent,
        parts: &mut AnswerParts,
    ) -> Result<(), AssistantError>;

    /// Whether anything was read that the API knows.
    fn has_answer(&self) -> bool;

    /// Whether nothing can follow.
    fn is_over(&self) -> bool;

    /// Whether the assistant has said that it has ended the answer, so that a connection that breaks takes nothing away.
    fn has_ended(&self) -> bool;

    /// How the answer ended, now that nothing follows; `is_done`: behind `[DONE]`. An error: it did not, or is none.
    fn end(&self, is_done: bool, parts: &AnswerParts)
    -> Result<Option<Truncation>, AssistantError>;
}

#[derive(Debug)]
pub(super) struct BodyReader {
    decoder: SseDecoder,
    dialect: Box<dyn Dialect>,
    parts: AnswerParts,
    is_done: bool,
    /// Nothing more is read.
    is_closed: bool,
    error: Option<AssistantError>,
    /// The first byte that is no white space.
    first_byte: Option<u8>,
    /// What to say about a body that holds nothing of the API, and about one that holds nothing at all.
    foreign_body: AssistantError,
    empty_body: AssistantError,
}

impl BodyReader {
    pub(super) fn new(
        dialect: Box<dyn Dialect>,
        foreign_body: AssistantError,
        empty_body: AssistantError,
    ) -> Self {
        Self {
            decoder: SseDecoder::default(),
            dialect,
            parts: AnswerParts::default(),
            is_done: false,
            is_closed: false,
            error: None,
            first_byte: None,
            foreign_body,
            empty_body,
        }
    }

    /// Hands on the reasoning before the answer, too.
    pub(super) fn with_progress(mut self, wants_progress: bool) -> Self {
        self.parts.wants_progress = wants_progress;
        self
    }

    /// The next piece of the body.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.first_byte.is_none() {
            self.first_byte = bytes.trim_ascii_start().first().copied();
        }
        // A page holds scripts with JSON of their own, and is no answer.
        let is_page = self.first_byte == Some(b'<');
        if !self.is_closed && !is_page {
            self.decoder.push(bytes);
            self.read_events();
        }
    }

    /// The body has ended.
    pub(super) fn finish(&mut self) {
        if !self.is_closed {
            self.decoder.finish();
            self.read_events();
        }
        if !self.is_closed {
            self.conclude();
        }
    }

    /// The body broke.
    pub(super) fn fail(&mut self, error: AssistantError) {
        if self.dialect.has_ended() {
            self.conclude();
        } else {
            self.close_with(error);
        }
    }

    /// The next part, and at last the error if there is one.
    pub(super) fn next_part(&mut self) -> Option<Result<AnswerPart, AssistantError>> {
        match self.parts.pop() {
            Some(part) => Some(Ok(part)),
            None => self.error.take().map(Err),
        }
    }

    /// Whether nothing more is read: the answer is over, or has failed.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Whether the assistant has said that it has ended the answer.
    pub(super) fn has_ended(&self) -> bool {
        self.dialect.has_ended()
    }

    fn read_events(&mut self) {
        while !self.is_closed
            && let Some(event) = self.decoder.next_event()
        {
            if let Err(error) = self.read_event(&event) {
                self.close_with(error);
            } else if self.is_done || self.dialect.is_over() {
                self.conclude();
            }
        }
    }

    fn read_event(&mut self, event: &SseEvent) -> Result<(), AssistantError> {
        if !event.name.is_empty() && is_error_name(&event.name) {
            return Err(error_of_event(&event.data));
        }
        let mut rest = event.data.trim_ascii();
        // Gateways that wrap a stream twice.
        while let Some(inner) = rest.strip_prefix(b"data:") {
            rest = inner.trim_ascii();
        }
        // What stands behind the last object, with words on the way to what cannot be read.
        let mut unread = rest;
        while !rest.is_empty() {
            if rest.starts_with(DONE) {
                self.is_done = true;
                return Ok(());
            }
            let Some((value, behind)) = Json::split(rest) else {
                return self.read_unreadable(unread);
            };
            self.read_value(value, event)?;
            rest = behind.trim_ascii();
            if matches!(value.kind(), JsonKind::Object | JsonKind::Array) {
                unread = rest;
            }
        }
        Ok(())
    }

    fn read_value(&mut self, value: Json<'_>, event: &SseEvent) -> Result<(), AssistantError> {
        match value.kind() {
            JsonKind::Object => self.dialect.read(value, event, &mut self.parts),
            JsonKind::Array => value
                .items()
                .filter(|item| item.is_object())
                .try_for_each(|item| self.dialect.read(item, event, &mut self.parts)),
            // An object that was written as JSON twice.
            JsonKind::Text => match value.text().as_deref().and_then(Json::split) {
                Some((inner, _)) if inner.is_object() => {
                    self.dialect.read(inner, event, &mut self.parts)
                }
                _ => Ok(()),
            },
            JsonKind::Null | JsonKind::Scalar => Ok(()),
        }
    }

    /// Data that is no JSON: the words of a gateway, or a part of the answer that is lost.
    fn read_unreadable(&self, data: &[u8]) -> Result<(), AssistantError> {
        if !looks_like_answer(data) || self.dialect.has_ended() {
            return Ok(());
        }
        Err(unreadable(data.len()))
    }

    fn conclude(&mut self) {
        let is_foreign = !self.is_done && !self.dialect.has_answer();
        if is_foreign {
            let error = if self.decoder.has_fields() {
                began_with_nothing()
            } else if self.first_byte.is_none() {
                self.empty_body.clone()
            } else {
                self.foreign_body.clone()
            };
            return self.close_with(error);
        }
        let is_complete = matches!(self.dialect.end(self.is_done, &self.parts), Ok(None));
        self.parts.finish(is_complete);
        match self.dialect.end(self.is_done, &self.parts) {
            Ok(truncation) => {
                if let Some(truncation) = truncation {
                    self.parts.truncate(truncation);
                }
                self.is_closed = true;
            }
            Err(error) => self.close_with(error),
        }
    }

    fn close_with(&mut self, error: AssistantError) {
        self.parts.finish(false);
        self.error = Some(error.at_progress(self.parts.progress()));
        self.is_closed = true;
    }
}

/// A part of the answer of so many bytes that is lost.
pub(super) fn unreadable(bytes: usize) -> AssistantError {
    tracing::warn!(
        bytes,
        "a part of an assistant's answer cannot be read; the answer counts as broken off there"
    );
    AssistantError::server_fault("a part of the assistant's answer cannot be read")
        .at_progress(QuestionProgress::Uncertain)
}

/// An answer that ended and had not begun.
pub(super) fn began_with_nothing() -> AssistantError {
    AssistantError::server_fault("the assistant's answer ended before it began")
        .at_progress(QuestionProgress::Uncertain)
}

/// An answer that just ended.
pub(super) fn ended_without_an_end() -> AssistantError {
    AssistantError::server_fault(
        "the assistant's answer ended without saying that it is whole: no finish_reason, no [DONE], no response.completed",
    )
    .at_progress(QuestionProgress::Uncertain)
}

/// Whether this is the name of events that are errors.
fn is_error_name(name: &str) -> bool {
    let name = name.trim().to_ascii_lowercase();
    ["error", "exception"].iter().any(|word| {
        let before = name.strip_suffix(word);
        before
            .is_some_and(|before| before.is_empty() || before.ends_with(['.', '_', '-', ':', '/']))
    })
}

/// The error that an event of that name carries: JSON or words.
fn error_of_event(data: &[u8]) -> AssistantError {
    match Json::split(data) {
        Some((object, _)) if object.is_object() => {
            let error = object.field("error");
            error_of(object, if error.is_blank() { object } else { error })
        }
        Some((value, _)) if value.kind() == JsonKind::Array => {
            AssistantError::from_error_object(&value.to_value())
        }
        _ => {
            let words = String::from_utf8_lossy(&data[..data.len().min(4096)]).into_owned();
            AssistantError::from_error_object(&Value::String(words))
        }
    }
}

/// Whether the field `error` says that there is one.
pub(super) fn is_error(error: Json<'_>) -> bool {
    if error.is_blank() {
        return false;
    }
    match error.kind() {
        JsonKind::Text => {
            let words = error
                .string()
                .unwrap_or_default()
                .trim()
                .to_ascii_lowercase();
            !matches!(words.as_str(), "null" | "none" | "false" | "ok" | "success")
        }
        JsonKind::Object => {
            let code = error.field("code").integer();
            !code.is_some_and(|code| code == 0 || (200..300).contains(&code))
        }
        JsonKind::Null | JsonKind::Scalar | JsonKind::Array => true,
    }
}

/// The error that stands in `object` as `error`; its status can stand beside it.
pub(super) fn error_of(object: Json<'_>, error: Json<'_>) -> AssistantError {
    let mut value = match error.to_value() {
        Value::Object(fields) => Value::Object(fields),
        Value::Bool(_) | Value::Number(_) => object.to_value(),
        words => json!({"message": words}),
    };
    for name in ["code", "status", "status_code"] {
        let beside = object.field(name);
        if value[name].is_null() && !beside.is_null() {
            value[name] = beside.to_value();
        }
    }
    AssistantError::from_error_object(&value)
}

/// Whether data that is no JSON is what is left of a part of an answer, rather than words such as `[PING]`.
fn looks_like_answer(data: &[u8]) -> bool {
    let begins_json = match data {
        [b'{', ..] => true,
        [b'[', rest @ ..] => matches!(rest.trim_ascii_start().first(), Some(b'{' | b'"' | b'[')),
        _ => false,
    };
    let has = |word: &[u8]| data.windows(word.len()).any(|window| window == word);
    begins_json
        || [&b"\"choices\""[..], b"\"delta\"", b"\"content\""]
            .iter()
            .any(|word| has(word))
}

/// Whether the object itself is an error.
pub(super) fn is_error_object(object: Json<'_>, event: &SseEvent) -> bool {
    let [kind, code, status, message] = object.fields(["object", "code", "status", "message"]);
    let is_status = |value: Json<'_>| {
        value
            .integer()
            .is_some_and(|code| (400..600).contains(&code))
    };
    kind.string().as_deref() == Some("error")
        || event.origin == EventOrigin::ErrorField
        || (!message.is_null() && (is_status(code) || is_status(status)))
}
