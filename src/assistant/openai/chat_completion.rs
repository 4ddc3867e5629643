//! Chat Completions: the chunks of the API reference, and what vLLM, Ollama, llama.cpp, `LiteLLM`, Mistral and small home-made servers make of
//! them. Pure: one object in, parts out.

use super::answer_parts::AnswerParts;
use super::body_reader::{
    Dialect, began_with_nothing, ended_without_an_end, error_of, is_error, is_error_object,
    unreadable,
};
use super::content;
use super::end_reason::EndReason;
use super::sources;
use crate::assistant::lenient_json::{Json, JsonKind};
use crate::assistant::sse::{EventOrigin, SseEvent};
use crate::assistant::{AssistantError, FailureKind, Truncation};

/// An answer as far as it was read.
#[derive(Debug, Default)]
pub(super) struct ChatCompletion {
    /// Why the model ended it; forgotten if text comes behind that.
    end: Option<EndReason>,
    /// It came as one object, whole by being one.
    is_whole: bool,
    /// The index of the choice whose text it is.
    choice: Option<u64>,
    has_answer: bool,
}

impl Dialect for ChatCompletion {
    fn read(
        &mut self,
        object: Json<'_>,
        event: &SseEvent,
        parts: &mut AnswerParts,
    ) -> Result<(), AssistantError> {
        let [choices, delta, error, usage, groq, citations, results] = object.fields([
            "choices",
            "delta",
            "error",
            "usage",
            "x_groq",
            "citations",
            "search_results",
        ]);
        sources::read_usage(usage, parts);
        sources::read_usage(groq.field("usage"), parts);
        sources::read_citations(citations, results, parts);
        let choice = match choices.kind() {
            JsonKind::Array => first_choice(choices),
            JsonKind::Object => Some(choices),
            // A chunk without its list.
            JsonKind::Null if delta.is_object() => Some(object),
            JsonKind::Null | JsonKind::Scalar | JsonKind::Text => None,
        };
        if is_error(error) {
            if let Some(choice) = choice {
                let _ = self.read_choice(choice, object, event, parts);
            }
            return Err(error_of(object, error));
        }
        self.has_answer |= choice.is_some() || !choices.is_null();
        match choice {
            Some(choice) => self.read_choice(choice, object, event, parts),
            None if choices.is_null() && is_error_object(object, event) => {
                Err(AssistantError::from_error_object(&object.to_value()))
            }
            // A list of nothing comes with usage.
            None if matches!(choices.kind(), JsonKind::Null | JsonKind::Array) => Ok(()),
            None => Err(unreadable(event.data.len())),
        }
    }

    fn has_answer(&self) -> bool {
        self.has_answer
    }

    fn is_over(&self) -> bool {
        false
    }

    fn has_ended(&self) -> bool {
        self.end.is_some_and(EndReason::is_final)
    }

    fn end(
        &self,
        is_done: bool,
        parts: &AnswerParts,
    ) -> Result<Option<Truncation>, AssistantError> {
        if parts.has_text() {
            return self.end_of_text(is_done);
        }
        match self.end {
            Some(EndReason::Broken) => Err(broken_off()),
            Some(EndReason::Truncated(truncation)) => Err(end_without_text(truncation)),
            Some(EndReason::Tools) => Err(called_tool()),
            _ if parts.has_called_tool() => Err(called_tool()),
            Some(EndReason::Stop | EndReason::Other) => Ok(None),
            None if is_done || self.is_whole => Ok(None),
            None => Err(began_with_nothing()),
        }
    }
}

impl ChatCompletion {
    fn read_choice(
        &mut self,
        choice: Json<'_>,
        object: Json<'_>,
        event: &SseEvent,
        parts: &mut AnswerParts,
    ) -> Result<(), AssistantError> {
        let [
            index,
            delta,
            message,
            text,
            reason,
            error,
            usage,
            annotations,
        ] = choice.fields([
            "index",
            "delta",
            "message",
            "text",
            "finish_reason",
            "error",
            "usage",
            "annotations",
        ]);
        let index = index.integer().unwrap_or_default();
        if !self.counts(index, parts) {
            return Ok(());
        }
        sources::read_usage(usage, parts);
        sources::read_annotations(annotations, parts);
        let is_delta = message.is_null() || !delta.is_blank();
        let message_value = if is_delta { delta } else { message };
        let has_content = if message_value.is_null() {
            content::read_message(text, parts)
        } else {
            content::read_message(message_value, parts)
        };
        if has_content {
            self.choice = Some(index);
            self.end = None;
        }
        if let Some(end) = end_reason(reason) {
            self.end = Some(end);
        }
        self.is_whole |= delta.is_null()
            && !choice.is_null()
            && has_content | !message.is_null()
            && (event.origin == EventOrigin::BareJson || is_completion(object));
        if is_error(error) {
            return Err(error_of(choice, error));
        }
        Ok(())
    }

    /// Whether the choice of this index is the answer: the first of those that say something.
    fn counts(&mut self, index: u64, parts: &mut AnswerParts) -> bool {
        match self.choice {
            Some(choice) if index > choice => false,
            Some(choice) if index < choice => {
                parts.restart();
                self.choice = None;
                self.end = None;
                true
            }
            _ => true,
        }
    }

    fn end_of_text(&self, is_done: bool) -> Result<Option<Truncation>, AssistantError> {
        match self.end {
            Some(EndReason::Broken) => Err(broken_off()),
            Some(EndReason::Truncated(truncation)) => Ok(Some(truncation)),
            Some(EndReason::Stop | EndReason::Tools | EndReason::Other) => Ok(None),
            None if is_done || self.is_whole => Ok(None),
            None => Err(ended_without_an_end()),
        }
    }
}

/// The choice of the smallest index.
fn first_choice(choices: Json<'_>) -> Option<Json<'_>> {
    let mut choices = choices.items().filter(|choice| choice.is_object());
    let first = choices.next()?;
    let Some(second) = choices.next() else {
        return Some(first);
    };
    [first, second]
        .into_iter()
        .chain(choices)
        .min_by_key(|choice| choice.field("index").integer().unwrap_or_default())
}

/// Whether it is called a whole answer, not a piece of one.
fn is_completion(object: Json<'_>) -> bool {
    let name = object.field("object").string();
    matches!(name.as_deref(), Some("chat.completion" | "text_completion"))
}

/// What `finish_reason` says, of any type: what is there and is no word is an end of an unknown kind.
fn end_reason(reason: Json<'_>) -> Option<EndReason> {
    match reason.kind() {
        JsonKind::Null => None,
        JsonKind::Text => EndReason::from_word(&reason.string()?),
        JsonKind::Scalar => {
            (!matches!(reason.string().as_deref(), Some("false"))).then_some(EndReason::Other)
        }
        JsonKind::Array => (!reason.is_blank()).then_some(EndReason::Other),
        JsonKind::Object => {
            let [kind, word] = reason.fields(["type", "reason"]);
            let word = kind.non_empty_string().or_else(|| word.non_empty_string());
            match word {
                Some(word) => EndReason::from_word(&word),
                None => (!reason.is_blank()).then_some(EndReason::Other),
            }
        }
    }
}

/// An answer of which the assistant says itself that it is not whole.
pub(super) fn broken_off() -> AssistantError {
    AssistantError::server_fault("the assistant says that its answer broke off")
}

/// An answer that was cut off before its first word.
pub(super) fn end_without_text(truncation: Truncation) -> AssistantError {
    match truncation {
        Truncation::Filter => AssistantError::new(
            FailureKind::Filtered,
            "the assistant's content filter withheld the answer",
        ),
        Truncation::Length => AssistantError::misconfigured(
            "the model reached its length limit before it began to answer",
        ),
    }
}

/// A tool is wanted of us, and we have none.
pub(super) fn called_tool() -> AssistantError {
    AssistantError::misconfigured(
        "the model called a tool instead of answering; tools belong behind the assistant's API",
    )
}

#[cfg(test)]
mod tests;
