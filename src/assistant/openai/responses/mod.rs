//! The Responses API: the events of its reference, and whole responses as its servers send them where nothing is streamed. Pure: one object in, parts
//! out.
//!
//! Source: the `OpenAI` API reference, "Responses" and "Streaming events".

pub(super) mod request;

use super::answer_parts::AnswerParts;
use super::body_reader::{
    Dialect, began_with_nothing, ended_without_an_end, error_of, is_error, is_error_object,
    unreadable,
};
use super::chat_completion::{broken_off, called_tool, end_without_text};
use super::content;
use super::end_reason::EndReason;
use super::sources;
use crate::assistant::lenient_json::Json;
use crate::assistant::sse::SseEvent;
use crate::assistant::{AssistantError, Truncation};

/// How deep the content of a message is looked into.
const CONTENT_DEPTH: u32 = 4;

/// A response as far as it was read.
#[derive(Debug, Default)]
pub(super) struct Response {
    end: Option<EndReason>,
    has_answer: bool,
    /// The text of all messages as it was streamed.
    streamed: Vec<u8>,
    /// Which message the last piece of text belonged to: its index, or its id.
    message: Option<Vec<u8>>,
    /// What was streamed last is a note on the way to the answer.
    is_commentary: bool,
}

impl Dialect for Response {
    fn read(
        &mut self,
        object: Json<'_>,
        event: &SseEvent,
        parts: &mut AnswerParts,
    ) -> Result<(), AssistantError> {
        let [kind, response, error, object_kind] =
            object.fields(["type", "response", "error", "object"]);
        let kind = kind
            .non_empty_string()
            .unwrap_or_else(|| event.name.clone());
        if object_kind.string().as_deref() == Some("response") {
            return self.read_response(object, parts);
        }
        if kind == "error" {
            let error = if is_error(error) { error } else { object };
            return Err(error_of(object, error));
        }
        let Some(kind) = kind.strip_prefix("response.") else {
            return if is_error(error) {
                Err(error_of(object, error))
            } else if is_error_object(object, event) {
                Err(AssistantError::from_error_object(&object.to_value()))
            } else {
                Ok(())
            };
        };
        self.has_answer = true;
        match kind {
            "completed" | "incomplete" | "failed" | "cancelled" | "canceled" | "done" => {
                self.end = self.end.or(end_of_status(kind));
                self.read_response(response, parts)
            }
            "output_text.delta"
            | "refusal.delta"
            | "audio.transcript.delta"
            | "output_audio_transcript.delta" => self.read_delta(object, event, parts),
            "output_text.annotation.added" => {
                sources::read_annotation(object.field("annotation"), parts);
                Ok(())
            }
            "output_item.added" => {
                self.begin_item(object.field("item"), parts);
                Ok(())
            }
            "output_item.done" => {
                read_call_or_file(object.field("item"), parts);
                Ok(())
            }
            "reasoning_summary_part.added" => {
                parts.push_reasoning(b"\n\n");
                Ok(())
            }
            "reasoning_summary_text.delta" | "reasoning_text.delta" => {
                parts.push_reasoning(&object.field("delta").text().unwrap_or_default());
                Ok(())
            }
            _ => {
                if kind.starts_with("reasoning") {
                    parts.note_reasoning();
                }
                Ok(())
            }
        }
    }

    fn has_answer(&self) -> bool {
        self.has_answer
    }

    fn is_over(&self) -> bool {
        self.end.is_some()
    }

    fn has_ended(&self) -> bool {
        self.end.is_some_and(EndReason::is_final)
    }

    fn end(
        &self,
        is_done: bool,
        parts: &AnswerParts,
    ) -> Result<Option<Truncation>, AssistantError> {
        let has_text = parts.has_text();
        match self.end {
            Some(EndReason::Broken) => Err(broken_off()),
            Some(EndReason::Truncated(truncation)) if has_text => Ok(Some(truncation)),
            Some(EndReason::Truncated(truncation)) => Err(end_without_text(truncation)),
            _ if !has_text && parts.has_called_tool() => Err(called_tool()),
            None if is_done => Ok(None),
            None if has_text => Err(ended_without_an_end()),
            None => Err(began_with_nothing()),
            Some(EndReason::Stop | EndReason::Tools | EndReason::Other) => Ok(None),
        }
    }
}

impl Response {
    /// A piece of text; that of another message begins a paragraph.
    fn read_delta(
        &mut self,
        object: Json<'_>,
        event: &SseEvent,
        parts: &mut AnswerParts,
    ) -> Result<(), AssistantError> {
        let [delta, index, id] = object.fields(["delta", "output_index", "item_id"]);
        let inner = if delta.is_object() {
            delta.field("text")
        } else {
            delta
        };
        let Some(piece) = inner.text() else {
            return if delta.is_null() {
                Ok(())
            } else {
                Err(unreadable(event.data.len()))
            };
        };
        let message = index
            .text()
            .or_else(|| id.text())
            .unwrap_or_default()
            .into_owned();
        if self
            .message
            .replace(message.clone())
            .is_some_and(|last| last != message)
        {
            parts.begin_message();
            self.streamed.push(b'\n');
        }
        self.streamed.extend_from_slice(&piece);
        parts.push_text(&piece);
        Ok(())
    }

    /// An item begins. The final answer replaces what was said on the way to it.
    fn begin_item(&mut self, item: Json<'_>, parts: &mut AnswerParts) {
        let is_final = is_phase(item, "final_answer");
        if std::mem::replace(&mut self.is_commentary, is_phase(item, "commentary")) && is_final {
            parts.restart();
            self.streamed.clear();
            self.message = None;
        }
        note_call(item, parts);
    }

    /// A whole response: its end, its cost, and its text, if that is another than what was streamed.
    fn read_response(
        &mut self,
        response: Json<'_>,
        parts: &mut AnswerParts,
    ) -> Result<(), AssistantError> {
        self.has_answer = true;
        let [status, details, error, usage, output] =
            response.fields(["status", "incomplete_details", "error", "usage", "output"]);
        sources::read_usage(usage, parts);
        self.read_output(output, parts);
        if let Some(reason) = details.field("reason").non_empty_string() {
            // Whatever it is called: the answer is not whole.
            self.end = match EndReason::from_word(&reason) {
                Some(end @ EndReason::Truncated(_)) => Some(end),
                _ => Some(EndReason::Broken),
            };
        } else if let Some(status) = status.non_empty_string() {
            self.end = self.end.or(end_of_status(&status));
        }
        if is_error(error) {
            return Err(error_of(response, error));
        }
        Ok(())
    }

    fn read_output(&mut self, output: Json<'_>, parts: &mut AnswerParts) {
        for item in output.items() {
            read_call_or_file(item, parts);
        }
        let has_final = output.items().any(|item| is_phase(item, "final_answer"));
        let messages = || {
            output
                .items()
                .filter(|item| kind_of(*item) == "message")
                .filter(move |item| !has_final || !is_phase(*item, "commentary"))
        };
        let mut whole = Vec::new();
        for (at, message) in messages().enumerate() {
            if at > 0 {
                whole.push(b'\n');
            }
            collect_text(message.field("content"), &mut whole);
        }
        if self.streamed.starts_with(&whole) {
            for part in messages().flat_map(|message| message.field("content").items()) {
                sources::read_annotations(part.field("annotations"), parts);
            }
            return;
        }
        // Something of it was not streamed.
        parts.restart();
        for message in messages() {
            parts.begin_message();
            content::read_content(message.field("content"), parts, CONTENT_DEPTH);
        }
        self.streamed = whole;
    }
}

fn kind_of(item: Json<'_>) -> String {
    item.field("type").string().unwrap_or_default()
}

fn is_phase(item: Json<'_>, phase: &str) -> bool {
    item.field("phase").string().as_deref() == Some(phase)
}

/// The text of a message's parts, as its deltas would have brought it.
fn collect_text(content: Json<'_>, whole: &mut Vec<u8>) {
    if let Some(text) = content.text() {
        whole.extend_from_slice(&text);
    }
    for part in content.items() {
        let [text, refusal] = part.fields(["text", "refusal"]);
        for piece in [text.text(), refusal.text()].into_iter().flatten() {
            whole.extend_from_slice(&piece);
        }
    }
}

/// Notes that something other than an answer has begun.
fn note_call(item: Json<'_>, parts: &mut AnswerParts) {
    let kind = kind_of(item);
    if kind == "reasoning" {
        parts.note_reasoning();
    } else if kind.ends_with("_call") {
        parts.note_tool_call();
    }
}

fn read_call_or_file(item: Json<'_>, parts: &mut AnswerParts) {
    note_call(item, parts);
    if kind_of(item) == "image_generation_call" {
        content::read_files(item, "picture", parts);
    }
}

/// What the status of a response, or the name of its last event, says.
fn end_of_status(status: &str) -> Option<EndReason> {
    match status {
        "completed" | "done" => Some(EndReason::Stop),
        "failed" | "cancelled" | "canceled" | "incomplete" => Some(EndReason::Broken),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
