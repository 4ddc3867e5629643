//! Webhook: our own protocol, for whoever writes an assistant by hand. One signed JSON request per message; the answer is JSON or
//! server-sent events. Specified in `docs/assistants.md` and `docs/assistant-webhook.schema.json`.
//!
//! Requests are signed as Standard Webhooks 1.0 says, so that there is a library to check them in every language.

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use jiff::Timestamp;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Request, StatusCode};
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::Sha256;
use std::fmt;
use url::Url;

use super::http_client::AssistantServer;
use super::sse::SseStream;
use super::{
    AnswerPart, AnswerReader, AnswerStream, Assistant, AssistantError, BuildError, Question,
    answer_stream, complete_answer, request_headers,
};

const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// An assistant that takes our own requests.
pub(super) struct Webhook {
    server: AssistantServer,
    url: Url,
    headers: HeaderMap,
    key: Option<SecretSlice<u8>>,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Webhook").field(&self.server).finish()
    }
}

impl Webhook {
    pub(super) fn new(
        server: AssistantServer,
        url: &Url,
        key: Option<&SecretString>,
    ) -> Result<Self, BuildError> {
        let key = match key.map(ExposeSecret::expose_secret) {
            None => None,
            // The form in which Standard Webhooks writes keys.
            Some(text) => Some(match text.strip_prefix("whsec_") {
                Some(coded) => STANDARD
                    .decode(coded)
                    .map_err(|_| BuildError::InvalidSigningKey)?
                    .into(),
                None => text.as_bytes().to_vec().into(),
            }),
        };
        Ok(Self {
            server,
            url: url.clone(),
            headers: HeaderMap::from_iter([
                (CONTENT_TYPE, HeaderValue::from_static("application/json")),
                (
                    ACCEPT,
                    HeaderValue::from_static("text/event-stream, application/json"),
                ),
            ]),
            key,
        })
    }

    fn request(&self, question: &Question, now: Timestamp) -> Request {
        let body =
            serde_json::to_vec(&RequestBody::new(question)).expect("text and numbers are JSON");
        let mut request = Request::new(Method::POST, self.url.clone());
        let headers = request.headers_mut();
        headers.clone_from(&self.headers);
        request_headers::add_idempotency_key(headers, question);
        let id = request_headers::header_value(&question.idempotency_key);
        headers.insert(TIMESTAMP, now.as_second().into());
        if let Some(key) = &self.key {
            let signature = sign(key.expose_secret(), id.as_bytes(), now.as_second(), &body);
            headers.insert(
                SIGNATURE,
                HeaderValue::try_from(signature).expect("Base64 is ASCII"),
            );
        }
        headers.insert(ID, id);
        *request.body_mut() = Some(body.into());
        request
    }
}

/// `v1,` and the Base64 of HMAC-SHA256 over `id.timestamp.body` (Standard Webhooks, "Signature scheme").
fn sign(key: &[u8], id: &[u8], seconds: i64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(id);
    mac.update(format!(".{seconds}.").as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[async_trait]
impl Assistant for Webhook {
    fn protocol(&self) -> &'static str {
        "Webhook"
    }

    async fn ask(&self, question: Question) -> Result<AnswerStream, AssistantError> {
        let request = self.request(&question, Timestamp::now());
        let mut body = self.server.send(request, self.server.deadline()).await?;
        if body.is_event_stream() {
            return Ok(answer_stream(WebhookAnswer {
                events: SseStream::new(body),
                text: None,
                ended: false,
            }));
        }
        if body.status() == StatusCode::NO_CONTENT {
            return Ok(complete_answer(Vec::new()));
        }
        let reply: Reply = body.json().await?;
        if let Some(error) = reply.error {
            return Err(AssistantError::from_error_object(&error));
        }
        if reply.text.is_none() && reply.state.is_none() {
            return Err(body.unexpected_content());
        }
        let state = reply.state.map(AnswerPart::SessionState);
        let text = reply.text.filter(|t| !t.is_empty()).map(AnswerPart::Text);
        Ok(complete_answer(state.into_iter().chain(text).collect()))
    }

    fn needs_history(&self) -> bool {
        false
    }
}

/// What is sent.
#[derive(Debug, Serialize)]
struct RequestBody<'a> {
    version: u8,
    id: &'a str,
    connector: &'a str,
    session: Session<'a>,
    user: User<'a>,
    text: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pictures: Vec<Picture<'a>>,
}

#[derive(Debug, Serialize)]
struct Session<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct User<'a> {
    id: i64,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<&'a str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Picture<'a> {
    media_type: &'a str,
    base64: String,
}

impl<'a> RequestBody<'a> {
    fn new(question: &'a Question) -> Self {
        let sender = &question.sender;
        Self {
            version: 1,
            id: &question.idempotency_key,
            connector: &question.connector,
            session: Session {
                id: &question.session_id,
                state: question.session_state.as_deref(),
            },
            user: User {
                id: sender.id,
                name: &sender.name,
                username: sender.username.as_deref(),
                language: sender.language_code.as_deref(),
            },
            text: &question.text,
            pictures: question
                .pictures
                .iter()
                .map(|picture| Picture {
                    media_type: &picture.media_type,
                    base64: STANDARD.encode(&picture.bytes),
                })
                .collect(),
        }
    }
}

/// What comes back, whole or as the data of an event.
#[derive(Debug, Deserialize)]
struct Reply {
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    state: Option<String>,
    #[serde(default)]
    error: Option<Value>,
}

struct WebhookAnswer {
    events: SseStream,
    /// The text of an event whose state was handed on first.
    text: Option<String>,
    ended: bool,
}

impl AnswerReader for WebhookAnswer {
    async fn next_part(&mut self) -> Result<Option<AnswerPart>, AssistantError> {
        loop {
            if let Some(text) = self.text.take().filter(|t| !t.is_empty()) {
                return Ok(Some(AnswerPart::Text(text)));
            }
            if self.ended {
                return Ok(None);
            }
            let Some(event) = self.events.next().await? else {
                return Err(AssistantError::server_fault(
                    "the assistant's answer ended without its last event, [DONE]",
                ));
            };
            if event.trim() == "[DONE]" {
                self.ended = true;
                self.events.finish().await;
                return Ok(None);
            }
            let reply: Reply = serde_json::from_str(&event).map_err(|_| {
                AssistantError::misconfigured("an event of the assistant's answer is no JSON object with text, state or error")
            })?;
            if let Some(error) = reply.error {
                return Err(AssistantError::from_error_object(&error));
            }
            self.text = reply.text;
            if let Some(state) = reply.state {
                return Ok(Some(AnswerPart::SessionState(state)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's reference libraries.
    #[test]
    fn signatures_are_those_of_standard_webhooks() {
        let key = STANDARD
            .decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
            .expect("Base64");
        let body = br#"{"test": 2432232314}"#;
        assert_eq!(
            sign(&key, b"msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }
}
