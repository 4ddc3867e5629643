//! Pupau: one conversation per session, begun at the session's first question; answers come as server-sent events whose frames are
//! bare `data:` lines of JSON.

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Request};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::fmt;
use tokio::time::Instant;
use url::Url;

use super::answer_body::AnswerBody;
use super::build::{join_path, secret_header_value};
use super::configured_headers::KeyHeader;
use super::http_client::AssistantServer;
use super::lenient_json::Json;
use super::sse::SseDecoder;
use super::{
    AnswerPart, AnswerReader, AnswerStream, Assistant, AssistantError, FailureKind, Question,
    QuestionContext, QuestionProgress, answer_metadata, answer_stream, request_headers,
};

/// The API's root where the connector has none.
pub(super) const DEFAULT_ROOT: &str = "https://api.pupau.ai";

const CONVERSATION_TOKEN: HeaderName = HeaderName::from_static("conversation-token");

/// An assistant at Pupau.
pub(super) struct Pupau {
    server: AssistantServer,
    /// `{root}/chat-bots/{assistantId}/conversations`.
    conversations: Url,
    headers: HeaderMap,
}

/// A conversation at Pupau: what the session stores. The token opens this one conversation only.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Conversation {
    #[serde(deserialize_with = "text_or_number")]
    id: String,
    token: SecretToken,
}

/// A conversation's token; not shown by debug output.
#[derive(Clone)]
struct SecretToken(SecretString);

impl fmt::Debug for Pupau {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pupau").field(&self.server).finish()
    }
}

impl Pupau {
    pub(super) fn new(
        server: AssistantServer,
        root: &Url,
        key: Option<KeyHeader>,
        assistant_id: &str,
    ) -> Self {
        let mut headers = HeaderMap::from_iter([
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (
                ACCEPT,
                HeaderValue::from_static("text/event-stream, application/json"),
            ),
        ]);
        if let Some(key) = key {
            headers.insert(key.name, key.value);
        }
        Self {
            server,
            conversations: join_path(root, &["chat-bots", assistant_id, "conversations"]),
            headers,
        }
    }

    /// Begins the conversation of a session. Who asks goes into its title and data.
    async fn create_conversation(
        &self,
        question: &Question,
        deadline: Instant,
    ) -> Result<Conversation, AssistantError> {
        let sender = &question.sender;
        // The conversation outlives the question: what only this one replies to is in its headers, what goes before it in its words.
        let mut data = json!(QuestionContext {
            reply_to: None,
            read_along: Vec::new(),
            ..question.context.clone()
        });
        data["connector"] = (*question.connector).into();
        data["session"] = question.session_id.as_str().into();
        data["user"] = json!({"id": sender.id, "name": sender.name, "username": sender.username, "language": sender.language_code});
        let body = json!({
            "title": format!("{} (Telegram {})", sender.name, sender.id),
            "data": data,
            "source": "INTEGRATION",
        });
        let request = self.request(self.conversations.clone(), &body, question);
        self.server.send(request, deadline).await?.json().await
    }

    async fn query(
        &self,
        conversation: &Conversation,
        question: &Question,
        deadline: Instant,
    ) -> Result<AnswerBody, AssistantError> {
        let mut url = join_path(&self.conversations, &[&conversation.id, "queries"]);
        url.query_pairs_mut().append_pair("sse", "true");
        let body = json!({"request": question.full_text(), "attachments": []});
        let mut request = self.request(url, &body, question);
        let token = secret_header_value("", &conversation.token.0)
            .map_err(|e| AssistantError::misconfigured(e.to_string()))?;
        request.headers_mut().insert(CONVERSATION_TOKEN, token);
        let body = self.server.send(request, deadline).await?;
        AnswerBody::read(body, SseDecoder::line_per_event()).await
    }

    fn request(&self, url: Url, body: &Value, question: &Question) -> Request {
        let mut request = Request::new(Method::POST, url);
        let headers = request.headers_mut();
        headers.clone_from(&self.headers);
        request_headers::add_sender_headers(headers, question);
        *request.body_mut() = Some(body.to_string().into());
        request
    }
}

#[async_trait]
impl Assistant for Pupau {
    fn protocol(&self) -> &'static str {
        "Pupau"
    }

    async fn ask(&self, question: Question) -> Result<AnswerStream, AssistantError> {
        let deadline = self.server.deadline();
        let stored = question
            .session_state
            .as_deref()
            .and_then(|state| serde_json::from_str(state).ok());
        if let Some(conversation) = stored {
            match self.query(&conversation, &question, deadline).await {
                Ok(events) => return Ok(answer_stream(PupauAnswer::new(events, None))),
                // An expired conversation: a new one tells it from a key that is no longer accepted.
                Err(e) if is_refusal(&e) => {}
                Err(e) => return Err(e),
            }
        }
        let conversation = self.create_conversation(&question, deadline).await?;
        let events = self.query(&conversation, &question, deadline).await?;
        let state = serde_json::to_string(&conversation).expect("two strings are JSON");
        Ok(answer_stream(PupauAnswer::new(events, Some(state))))
    }

    fn needs_history(&self) -> bool {
        false
    }

    fn supports_pictures(&self) -> bool {
        false
    }
}

/// Whether the API refused this very request, rather than being unreachable, busy or faulty.
fn is_refusal(error: &AssistantError) -> bool {
    !error.kind.is_transient()
}

struct PupauAnswer {
    body: AnswerBody,
    /// What was read and not yet handed on.
    parts: VecDeque<AnswerPart>,
    has_frames: bool,
}

impl PupauAnswer {
    /// `state` is the conversation, where it was begun with this question.
    fn new(body: AnswerBody, state: Option<String>) -> Self {
        Self {
            body,
            parts: state.map(AnswerPart::SessionState).into_iter().collect(),
            has_frames: false,
        }
    }

    /// The next frame; an answer that came as one JSON body is one.
    async fn next_frame(&mut self) -> Result<Option<Bytes>, AssistantError> {
        match &mut self.body {
            AnswerBody::Events(events) => Ok(events.next().await?.map(Bytes::from)),
            AnswerBody::Json(bytes) => {
                Ok(Some(std::mem::take(bytes)).filter(|bytes| !bytes.is_empty()))
            }
        }
    }
}

impl AnswerReader for PupauAnswer {
    async fn next_part(&mut self) -> Result<Option<AnswerPart>, AssistantError> {
        loop {
            if let Some(part) = self.parts.pop_front() {
                return Ok(Some(part));
            }
            let Some(frame) = self.next_frame().await? else {
                break;
            };
            // Words of a gateway are no frame.
            if !frame.trim_ascii_start().starts_with(b"{") {
                continue;
            }
            let Some((frame, _)) = Json::split(&frame) else {
                let error = AssistantError::server_fault("a frame of the answer is no JSON");
                return Err(error.at_progress(QuestionProgress::Uncertain));
            };
            self.has_frames = true;
            self.parts = read_frame(frame)?;
        }
        if self.has_frames {
            Ok(None)
        } else {
            let error =
                AssistantError::server_fault("the assistant's answer ended before it began");
            Err(error.at_progress(QuestionProgress::Uncertain))
        }
    }
}

/// The parts of the answer in a frame: text if it is one of text, the sources of a search in the knowledge base, and what it cost.
fn read_frame(frame: Json<'_>) -> Result<VecDeque<AnswerPart>, AssistantError> {
    let [kind, error, message_type, message, references, usage] = frame.fields([
        "type",
        "error",
        "messageType",
        "message",
        "kbReferences",
        "usage",
    ]);
    let kind = kind.string().unwrap_or_default().to_ascii_lowercase();
    if kind == "forbidden" {
        return Err(AssistantError::new(
            FailureKind::Filtered,
            "the assistant forbids this question",
        ));
    }
    if kind == "error" || (kind.is_empty() && !error.is_blank()) {
        let object = if error.is_object() { error } else { frame };
        return Err(AssistantError::from_error_object(&object.to_value()));
    }
    let mut parts = VecDeque::new();
    // What tools, web searches and events say has a type, or a message type other than LLM.
    let from_model = message_type
        .non_empty_string()
        .is_none_or(|t| t.eq_ignore_ascii_case("llm"));
    if kind.is_empty() && from_model {
        parts.extend(message.non_empty_string().map(AnswerPart::Text));
    }
    let citations = answer_metadata::citations(references).into_iter();
    parts.extend(citations.map(AnswerPart::Citation));
    parts.extend(answer_metadata::token_usage(usage).map(AnswerPart::Usage));
    Ok(parts)
}

fn text_or_number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        _ => Err(serde::de::Error::custom("an id is text or a number")),
    }
}

impl std::fmt::Debug for SecretToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretToken")
    }
}

impl Serialize for SecretToken {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose_secret())
    }
}

impl<'de> Deserialize<'de> for SecretToken {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|token| Self(token.into()))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::assistant::Citation;

    fn read(frame: &Value) -> Result<VecDeque<AnswerPart>, AssistantError> {
        let text = frame.to_string();
        read_frame(Json::split(text.as_bytes()).expect("JSON").0)
    }

    #[rstest]
    #[case(json!({"id": "1", "message": "Hi", "chatBotId": "b"}), Some("Hi"))]
    #[case(json!({"id": "1", "message": "Hi", "chatBotId": "b", "messageType": "LLM", "type": null}), Some("Hi"))]
    #[case(json!({"type": "kb", "message": "x", "kbReferences": []}), None)]
    #[case(json!({"type": "context_info", "contextInfo": {}}), None)]
    #[case(json!({"messageType": "TOOL_USE", "message": "x"}), None)]
    #[case(json!({"id": "1", "message": "", "chatBotId": "b"}), None)]
    fn only_the_models_messages_are_text(#[case] frame: Value, #[case] text: Option<&str>) {
        let parts = read(&frame).expect("no error");
        let expected: Vec<_> = text
            .map(|t| AnswerPart::Text(t.into()))
            .into_iter()
            .collect();
        assert_eq!(parts, expected);
    }

    #[rstest]
    #[case(json!({"type": "error", "error": "secret words"}))]
    #[case(json!({"error": {"message": "secret words", "code": 500}}))]
    #[case(json!({"type": "FORBIDDEN", "forbidden": "secret words"}))]
    fn error_frames_are_errors(#[case] frame: Value) {
        let error = read(&frame).expect_err("an error");
        assert!(!error.detail.contains("secret"), "{error}");
    }

    #[test]
    fn sources_of_the_knowledge_base_are_citations() {
        let frame = json!({"type": "kb", "message": "x", "kbReferences": [{"title": "Returns", "url": "https://a.example/returns"}, {"id": 7}]});
        let citation = Citation {
            url: "https://a.example/returns".into(),
            title: Some("Returns".into()),
        };
        assert_eq!(
            read(&frame).expect("no error"),
            [AnswerPart::Citation(citation)]
        );
    }

    #[test]
    fn a_conversation_is_stored_and_read_back_and_not_shown() {
        let read: Conversation =
            serde_json::from_value(json!({"id": 7, "token": "tok", "more": 1})).expect("valid");
        assert_eq!(
            serde_json::to_value(&read).expect("JSON"),
            json!({"id": "7", "token": "tok"})
        );
        assert!(!format!("{read:?}").contains("tok\""));
    }
}
