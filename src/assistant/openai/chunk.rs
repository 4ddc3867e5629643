//! What servers answer: the chunks of the API reference, and what vLLM, Ollama, llama.cpp, `LiteLLM`, Mistral and small home-made
//! servers make of them. Pure: one event in, one step out.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::Value;

use super::reasoning::ReasoningFilter;
use crate::assistant::{AssistantError, FailureKind};

/// What an event means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ChunkOutput {
    /// More of the answer.
    Text(String),
    /// Nothing that people see: a role, usage, reasoning, tool calls.
    Nothing,
    /// `[DONE]`.
    Done,
}

/// An answer as far as it was read.
#[derive(Debug, Default)]
pub(super) struct ChunkReader {
    reasoning: ReasoningFilter,
    has_text: bool,
    finish_reason: Option<FinishReason>,
    done: bool,
    chunks: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FinishReason {
    Stop,
    Length,
    Tools,
    Filtered,
}

impl ChunkReader {
    /// Reads the data of one event, or a whole answer that came as one object.
    pub(super) fn read_event(&mut self, data: &str) -> Result<ChunkOutput, AssistantError> {
        if data.trim() == "[DONE]" {
            self.done = true;
            return Ok(ChunkOutput::Done);
        }
        // What is no chunk (a ping of a gateway) is passed over; an answer of nothing else is judged at its end.
        let Ok(chunk) = serde_json::from_str::<Chunk>(data) else {
            return Ok(ChunkOutput::Nothing);
        };
        let Some(choices) = chunk.choices else {
            return match (chunk.error, chunk.object.as_deref()) {
                (Some(error), _) if !error.is_null() => {
                    Err(AssistantError::from_error_object(&error))
                }
                (_, Some("error")) => {
                    let whole = serde_json::from_str::<Value>(data).unwrap_or_default();
                    Err(AssistantError::from_error_object(&whole))
                }
                _ => Ok(ChunkOutput::Nothing),
            };
        };
        self.chunks += 1;
        if let Some(error) = chunk.error.filter(|e| !e.is_null()) {
            return Err(AssistantError::from_error_object(&error));
        }
        let Some(choice) = choices.into_iter().next() else {
            return Ok(ChunkOutput::Nothing);
        };
        if let Some(reason) = choice.finish_reason {
            self.finish_reason = Some(match reason.as_str() {
                "length" => FinishReason::Length,
                "tool_calls" | "function_call" => FinishReason::Tools,
                "content_filter" => FinishReason::Filtered,
                _ => FinishReason::Stop,
            });
        }
        let Some(message) = choice.delta.or(choice.message) else {
            return Ok(ChunkOutput::Nothing);
        };
        let mut text = message.content.unwrap_or_default().0;
        if let Some(refusal) = message.refusal {
            text.push_str(&refusal);
        }
        Ok(self.emit(text))
    }

    fn emit(&mut self, text: String) -> ChunkOutput {
        match self.reasoning.visible(text) {
            Some(text) if !text.is_empty() => {
                self.has_text = true;
                ChunkOutput::Text(text)
            }
            _ => ChunkOutput::Nothing,
        }
    }

    /// Whether anything was read that this protocol knows.
    pub(super) fn has_chunks(&self) -> bool {
        self.done || self.chunks > 0
    }

    /// The answer is over: what was held back of it, or why it is none. An answer may be empty.
    pub(super) fn finish(&mut self) -> Result<Option<String>, AssistantError> {
        let rest = self.reasoning.flush().filter(|t| !t.is_empty());
        if self.has_text || rest.is_some() {
            return Ok(rest);
        }
        match self.finish_reason {
            Some(FinishReason::Tools) => Err(AssistantError::misconfigured(
                "the model called a tool instead of answering; tools belong behind the assistant's API",
            )),
            Some(FinishReason::Filtered) => Err(AssistantError::new(
                FailureKind::Filtered,
                "the assistant's content filter withheld the answer",
            )),
            Some(FinishReason::Length) => Err(AssistantError::misconfigured(
                "the model reached its length limit before it began to answer",
            )),
            Some(FinishReason::Stop) => Ok(None),
            None if self.done => Ok(None),
            None => Err(AssistantError::server_fault(
                "the assistant's answer ended before it began",
            )),
        }
    }
}

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Option<Vec<Choice>>,
    #[serde(default)]
    error: Option<Value>,
    #[serde(default)]
    object: Option<String>,
}

#[derive(Deserialize)]
struct Choice {
    /// Streaming.
    #[serde(default)]
    delta: Option<Said>,
    /// Not streaming.
    #[serde(default)]
    message: Option<Said>,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    content: Option<Content>,
    #[serde(default)]
    refusal: Option<String>,
}

/// A string, or content parts (Mistral's reasoning models stream these), of which the texts count.
#[derive(Default)]
struct Content(String);

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ContentVisitor;

        impl<'de> Visitor<'de> for ContentVisitor {
            type Value = Content;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text or content parts")
            }

            fn visit_str<E>(self, text: &str) -> Result<Content, E> {
                Ok(Content(text.to_owned()))
            }

            fn visit_string<E>(self, text: String) -> Result<Content, E> {
                Ok(Content(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Content, A::Error> {
                let mut text = String::new();
                while let Some(part) = parts.next_element::<ContentPart>()? {
                    text.push_str(&part.text.unwrap_or_default());
                }
                Ok(Content(text))
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Content, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Content::default())
            }
        }

        deserializer.deserialize_any(ContentVisitor)
    }
}

#[derive(Deserialize)]
struct ContentPart {
    #[serde(default)]
    text: Option<String>,
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn read(events: &[&str]) -> Result<String, AssistantError> {
        let mut reader = ChunkReader::default();
        let mut text = String::new();
        for event in events {
            match reader.read_event(event)? {
                ChunkOutput::Text(t) => text.push_str(&t),
                ChunkOutput::Nothing => {}
                ChunkOutput::Done => break,
            }
        }
        text.extend(reader.finish()?);
        Ok(text)
    }

    #[rstest]
    #[case::openai(&[
        r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"finish_reason":null}],"usage":null}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"Hi "},"finish_reason":null}]}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"Ann"},"finish_reason":null}]}"#,
        r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
        r#"{"choices":[],"usage":{"total_tokens":7}}"#,
        "[DONE]",
    ])]
    #[case::no_done(&[r#"{"choices":[{"delta":{"content":"Hi Ann"},"finish_reason":"stop"}]}"#])]
    #[case::no_finish_and_no_done(&[r#"{"choices":[{"delta":{"content":"Hi Ann"}}]}"#])]
    #[case::reasoning(&[
        r#"{"choices":[{"delta":{"reasoning_content":"hmm","content":null}}]}"#,
        r#"{"choices":[{"delta":{"reasoning":"hmm","content":""}}]}"#,
        r#"{"choices":[{"delta":{"content":"Hi Ann"}}]}"#,
    ])]
    #[case::reasoning_tags(&[
        r#"{"choices":[{"delta":{"content":"<th"}}]}"#,
        r#"{"choices":[{"delta":{"content":"ink>hm"}}]}"#,
        r#"{"choices":[{"delta":{"content":"m</think>\n\nHi"}}]}"#,
        r#"{"choices":[{"delta":{"content":" Ann"}}]}"#,
    ])]
    #[case::parts(&[
        r#"{"choices":[{"delta":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hmm"}]}]}}]}"#,
        r#"{"choices":[{"delta":{"content":[{"type":"text","text":"Hi Ann"}]}}]}"#,
    ])]
    #[case::tool_calls_on_the_server_side(&[
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"name":"f","arguments":"{}"}}]}}]}"#,
        r#"{"choices":[{"delta":{"content":"Hi Ann"},"finish_reason":"stop"}]}"#,
    ])]
    #[case::foreign_events(&[r#"{"type":"ping"}"#, "hello", r#"{"choices":[{"delta":{"content":"Hi Ann"}}]}"#])]
    #[case::refusal(&[r#"{"choices":[{"delta":{"refusal":"Hi Ann"}}]}"#, "[DONE]"])]
    #[case::whole(&[r#"{"object":"chat.completion","choices":[{"message":{"role":"assistant","content":"Hi Ann"},"finish_reason":"stop"}]}"#])]
    fn servers_in_use_are_understood(#[case] events: &[&str]) {
        assert_eq!(read(events).expect("an answer"), "Hi Ann");
    }

    #[rstest]
    #[case(&["[DONE]"])]
    #[case(&[r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#])]
    #[case(&[r#"{"choices":[{"delta":{"content":"<think>hmm</think>"},"finish_reason":"stop"}]}"#])]
    fn an_answer_may_be_empty(#[case] events: &[&str]) {
        assert_eq!(read(events).expect("an answer"), "");
    }

    #[rstest]
    #[case::nothing(&[], true)]
    #[case::foreign_only(&[r#"{"type":"ping"}"#], true)]
    #[case::tools(&[r#"{"choices":[{"delta":{},"finish_reason":"tool_calls"}]}"#], false)]
    #[case::filtered(&[r#"{"choices":[{"delta":{},"finish_reason":"content_filter"}]}"#], false)]
    #[case::error(&[r#"{"error":{"message":"secret words","code":503}}"#], true)]
    #[case::error_text(&[r#"{"error":"secret words"}"#], true)]
    #[case::vllm(&[r#"{"object":"error","message":"secret words","code":400}"#], false)]
    #[case::in_the_middle(&[r#"{"choices":[{"delta":{"content":"Hi"}}]}"#, r#"{"error":{"message":"secret words"}}"#], true)]
    fn errors_within_the_answer_are_errors(#[case] events: &[&str], #[case] retryable: bool) {
        let error = read(events).expect_err("an error");
        assert_eq!(error.is_retryable(), retryable, "{error}");
        assert!(!error.detail.contains("secret words"), "{error}");
    }
}
