//! Webhook: our own protocol, for whoever writes an assistant by hand. One signed JSON request per message; the answer is JSON or
//! server-sent events. Specified in `docs/assistants.md` and `docs/assistant-webhook.schema.json`.
//!
//! Requests are signed as Standard Webhooks 1.0 says, so that there is a library to check them in every language.

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, Mac};
use jiff::Timestamp;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Request, StatusCode};
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use serde::Serialize;
use sha2::Sha256;
use std::collections::VecDeque;
use std::fmt;
use url::Url;

use super::answer_body::AnswerBody;
use super::http_client::AssistantServer;
use super::lenient_json::{Json, JsonKind};
use super::sse::{SseDecoder, SseStream};
use super::{
    Action, AnswerPart, AnswerReader, AnswerStream, ApprovalRequest, Assistant, AssistantError,
    BuildError, Choice, FileLink, LinkError, OfferedFile, Question, QuestionContext,
    QuestionProgress, Sender, Truncation, answer_metadata, answer_stream, choice, complete_answer,
    request_headers,
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
        let body = self.server.send(request, self.server.deadline()).await?;
        if body.status() == StatusCode::NO_CONTENT {
            return Ok(complete_answer(Vec::new()));
        }
        let foreign = body.unexpected_content();
        match AnswerBody::read(body, SseDecoder::default()).await? {
            AnswerBody::Events(events) => Ok(answer_stream(WebhookAnswer {
                events,
                parts: VecDeque::new(),
                truncation: None,
                ended: false,
            })),
            AnswerBody::Json(bytes) => {
                let (json, _) = Json::split(&bytes).ok_or_else(|| foreign.clone())?;
                let reply = Reply::read(json)?;
                if !reply.is_answer {
                    return Err(foreign);
                }
                let end = reply.truncation.map(AnswerPart::Truncated);
                Ok(complete_answer(
                    reply.parts.into_iter().chain(end).collect(),
                ))
            }
        }
    }

    async fn fetch_file(&self, link: FileLink<'_>) -> Result<Bytes, LinkError> {
        self.server.fetch_file(link).await
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
    #[serde(flatten)]
    context: &'a QuestionContext,
    text: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pictures: Vec<Picture<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    files: Vec<File<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<ActionBody<'a>>,
}

/// What a person decided about a question that the assistant asked.
#[derive(Debug, Serialize)]
struct ActionBody<'a> {
    value: &'a str,
    of: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    approved: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expired: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<User<'a>>,
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

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct File<'a> {
    name: &'a str,
    media_type: &'a str,
    base64: String,
}

impl<'a> User<'a> {
    fn new(sender: &'a Sender) -> Self {
        Self {
            id: sender.id,
            name: &sender.name,
            username: sender.username.as_deref(),
            language: sender.language_code.as_deref(),
        }
    }
}

impl<'a> ActionBody<'a> {
    fn new(action: &'a Action) -> Self {
        let approval = action.approval.as_ref();
        Self {
            value: &action.value,
            of: &action.of,
            approved: approval.map(|outcome| outcome.is_approved),
            expired: approval.filter(|outcome| outcome.is_expired).map(|_| true),
            by: approval
                .and_then(|outcome| outcome.decided_by.as_ref())
                .map(User::new),
        }
    }
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
            user: User::new(sender),
            context: &question.context,
            text: &question.text,
            pictures: question
                .pictures
                .iter()
                .map(|picture| Picture {
                    media_type: &picture.media_type,
                    base64: STANDARD.encode(&picture.bytes),
                })
                .collect(),
            action: question.action.as_ref().map(ActionBody::new),
            files: question
                .files
                .iter()
                .map(|file| File {
                    name: &file.name,
                    media_type: &file.media_type,
                    base64: STANDARD.encode(&file.bytes),
                })
                .collect(),
        }
    }
}

/// What comes back, whole or as the data of an event.
#[derive(Debug, Default)]
struct Reply {
    /// State, text, files, buttons, what is to be approved, sources and usage, in this order.
    parts: VecDeque<AnswerPart>,
    truncation: Option<Truncation>,
    /// It has a text, a file or a state, if only an empty one, or asks for a decision.
    is_answer: bool,
}

impl Reply {
    /// Reads a reply. Fields that this protocol does not know cannot hurt it; its own must be what its schema says, where a loss would show.
    fn read(json: Json<'_>) -> Result<Self, AssistantError> {
        if !json.is_object() {
            return Err(not_the_schema("is no JSON object"));
        }
        let [text, state, error, end, usage, citations, files] = json.fields([
            "text",
            "state",
            "error",
            "end",
            "usage",
            "citations",
            "files",
        ]);
        let [buttons, buttons_id, buttons_for, approval] =
            json.fields(["buttons", "buttonsId", "buttonsFor", "approval"]);
        if !error.is_blank() {
            return Err(AssistantError::from_error_object(&error.to_value()));
        }
        let mut reply = Self::default();
        if let Some(state) = string(state, "state")? {
            reply.is_answer = true;
            reply.parts.push_back(AnswerPart::SessionState(state));
        }
        if let Some(text) = string(text, "text")? {
            reply.is_answer = true;
            if !text.is_empty() {
                reply.parts.push_back(AnswerPart::Text(text));
            }
        }
        if !files.is_null() && files.kind() != JsonKind::Array {
            return Err(not_the_schema("has files that are no array"));
        }
        for file in files.items() {
            let file = OfferedFile::read(file)
                .ok_or_else(|| not_the_schema("has a file with neither data nor an http(s) url"))?;
            reply.is_answer = true;
            reply.parts.push_back(AnswerPart::File(file));
        }
        if let Some(choice) = choice(buttons)? {
            reply.is_answer = true;
            let choice = choice.with_context(buttons_id, buttons_for);
            reply.parts.push_back(AnswerPart::Choice(choice));
        }
        if let Some(request) = approval_request(approval)? {
            reply.is_answer = true;
            reply.parts.push_back(AnswerPart::Approval(request));
        }
        let citations = answer_metadata::citations(citations).into_iter();
        reply.parts.extend(citations.map(AnswerPart::Citation));
        let usage = answer_metadata::token_usage(usage);
        reply.parts.extend(usage.map(AnswerPart::Usage));
        reply.truncation = match end.string().as_deref() {
            Some("length") => Some(Truncation::Length),
            Some("filter") => Some(Truncation::Filter),
            _ => None,
        };
        Ok(reply)
    }
}

/// Buttons must be a list where they are there: who is shown none cannot answer.
fn choice(buttons: Json<'_>) -> Result<Option<Choice>, AssistantError> {
    match buttons.kind() {
        JsonKind::Null => Ok(None),
        JsonKind::Array => Ok(Choice::read(buttons)),
        _ => Err(not_the_schema("has buttons that are no list of rows")),
    }
}

/// What is to be approved must say what it is.
fn approval_request(approval: Json<'_>) -> Result<Option<ApprovalRequest>, AssistantError> {
    if approval.is_null() {
        return Ok(None);
    }
    let [id, title, details] = approval.fields(["id", "title", "details"]);
    let Some(title) = title.non_empty_string().filter(|t| !t.trim().is_empty()) else {
        return Err(not_the_schema("has an approval without a title"));
    };
    Ok(Some(ApprovalRequest {
        id: choice::read_id(id),
        title,
        details: string(details, "approval.details")?.unwrap_or_default(),
        token: None,
    }))
}

/// A field that must be text where it is there.
fn string(field: Json<'_>, name: &str) -> Result<Option<String>, AssistantError> {
    match field.kind() {
        JsonKind::Null => Ok(None),
        JsonKind::Text => Ok(field.string()),
        _ => Err(not_the_schema(&format!("has a {name} that is no string"))),
    }
}

fn not_the_schema(what: &str) -> AssistantError {
    let detail = format!(
        "the assistant's answer {what}; see docs/assistant-webhook.schema.json, or check protocol and url"
    );
    AssistantError::misconfigured(detail).at_progress(QuestionProgress::Uncertain)
}

struct WebhookAnswer {
    events: Box<SseStream>,
    /// What was read and not yet handed on.
    parts: VecDeque<AnswerPart>,
    truncation: Option<Truncation>,
    ended: bool,
}

impl AnswerReader for WebhookAnswer {
    async fn next_part(&mut self) -> Result<Option<AnswerPart>, AssistantError> {
        loop {
            if let Some(part) = self.parts.pop_front() {
                return Ok(Some(part));
            }
            if self.ended {
                return Ok(self.truncation.take().map(AnswerPart::Truncated));
            }
            let Some(event) = self.events.next().await? else {
                let error = AssistantError::server_fault(
                    "the assistant's answer ended without its last event, [DONE]",
                );
                return Err(error.at_progress(QuestionProgress::Uncertain));
            };
            if event.trim() == "[DONE]" {
                self.ended = true;
                self.events.finish().await;
                continue;
            }
            let (json, _) =
                Json::split(event.as_bytes()).ok_or_else(|| not_the_schema("is no JSON"))?;
            let reply = Reply::read(json)?;
            self.parts = reply.parts;
            self.truncation = reply.truncation.or(self.truncation);
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
