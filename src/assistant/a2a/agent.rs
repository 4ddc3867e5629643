//! The agent behind an endpoint: its card, calls by JSON-RPC, and what their errors mean.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Request, StatusCode};
use secrecy::SecretString;
use serde_json::Value;
use tokio::time::Instant;
use url::Url;

use super::card::{self, Card, Endpoint, ProtocolVersion};
use super::hitl_extension;
use super::json_rpc::ConversationState;
use super::update::{AgentUpdate, RpcError, read_response};
use crate::assistant::answer_body::AnswerBody;
use crate::assistant::build::secret_header_value;
use crate::assistant::configured_headers::KeyHeader;
use crate::assistant::http_client::{AssistantServer, ResponseBody};
use crate::assistant::lenient_json::Json;
use crate::assistant::sse::{SseDecoder, SseStream};
use crate::assistant::{
    AssistantError, AssistantFault, BuildError, FailureKind, Question, QuestionProgress,
    request_headers,
};

const VERSION: HeaderName = HeaderName::from_static("a2a-version");
/// The extensions that a request uses: in 1.0, and before.
const EXTENSIONS: [HeaderName; 2] = [
    HeaderName::from_static("a2a-extensions"),
    HeaderName::from_static("x-a2a-extensions"),
];

/// An agent as the connector names it, and the endpoint that its card names.
pub(super) struct Agent {
    pub(super) server: AssistantServer,
    url: Url,
    key: Option<ApiKeyHeaders>,
    endpoint: ArcSwapOption<Endpoint>,
}

/// The API key in its header, and as the bare value of the header that the card names.
#[derive(Debug)]
struct ApiKeyHeaders {
    header: KeyHeader,
    bare: HeaderValue,
    /// The connector names no header, so that the card may.
    card_chooses_header: bool,
}

/// Why there is no first update.
#[derive(Debug)]
pub(super) enum CallError {
    /// The agent answered with a JSON-RPC error, whatever the status.
    Rpc(RpcError),
    /// There was no answer of the protocol; the status, if it was an error status.
    Http(Option<StatusCode>, AssistantError),
}

impl From<AssistantError> for CallError {
    fn from(error: AssistantError) -> Self {
        Self::Http(None, error)
    }
}

impl CallError {
    /// Whether the agent does not stream, although its card says so. With a task in the request `UnsupportedOperation` says that it has ended.
    pub(super) fn refuses_streaming(&self, context: &ConversationState) -> bool {
        match self {
            Self::Rpc(error) => {
                error.names_streaming
                    || error.code == -32601
                    || (error.code == -32004 && context.task_id.is_none())
            }
            Self::Http(status, _) => matches!(
                status.map(|status| status.as_u16()),
                Some(404 | 405 | 406 | 501)
            ),
        }
    }

    /// Whether an error can mean that the task or the conversation is unknown: `TaskNotFound`, `InvalidParams`,
    /// `InvalidRequest`, `UnsupportedOperation` (a task that has ended).
    pub(super) fn forgot_conversation(&self) -> bool {
        matches!(self, Self::Rpc(error) if matches!(error.code, -32001 | -32602 | -32600 | -32004))
    }
}

pub(super) fn unexpected_response() -> AssistantError {
    AssistantError::misconfigured("the agent's answer is none of A2A; check protocol and url")
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Agent").field(&self.server).finish()
    }
}

impl Agent {
    /// `card_chooses_header`: the connector names no header for the key, so that the card may.
    ///
    /// # Errors
    /// No header can carry the key.
    pub(super) fn new(
        server: AssistantServer,
        url: &Url,
        key: Option<(&SecretString, KeyHeader)>,
        card_chooses_header: bool,
    ) -> Result<Self, BuildError> {
        let key = match key {
            Some((key, header)) => Some(ApiKeyHeaders {
                header,
                bare: secret_header_value("", key)?,
                card_chooses_header,
            }),
            None => None,
        };
        Ok(Self {
            server,
            url: url.clone(),
            key,
            endpoint: ArcSwapOption::empty(),
        })
    }

    /// The endpoint from the agent card, which is read unless it is cached.
    pub(super) async fn endpoint(
        &self,
        deadline: Instant,
    ) -> Result<Arc<Endpoint>, AssistantError> {
        if let Some(known) = self.endpoint.load_full() {
            return Ok(known);
        }
        for card_url in card::card_urls(&self.url) {
            let mut request = Request::new(Method::GET, card_url);
            let headers = request.headers_mut();
            headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
            if let Some(key) = &self.key {
                headers.insert(key.header.name.clone(), key.header.value.clone());
            }
            let mut body = self.server.send_any_status(request, deadline).await?;
            if body.status().is_success() {
                if let Ok(card) = body.json::<Card>().await {
                    let endpoint = Arc::new(card.endpoint(&self.url)?);
                    self.endpoint.store(Some(endpoint.clone()));
                    return Ok(endpoint);
                }
            } else if !matches!(
                body.status(),
                StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED
            ) {
                return Err(body.into_error().await);
            }
        }
        Err(AssistantError::misconfigured(format!(
            "{} has no agent card at .well-known/agent-card.json; set url to the agent's root",
            self.server.host
        )))
    }

    /// The endpoint of an agent that does not stream although its card says so; remembered until the card is read again.
    pub(super) fn without_streaming(&self, endpoint: &Endpoint) -> Arc<Endpoint> {
        tracing::info!(host = %self.server.host, "the agent's card says that it streams, and it does not");
        let endpoint = Arc::new(Endpoint {
            streaming: false,
            ..endpoint.clone()
        });
        self.endpoint.store(Some(endpoint.clone()));
        endpoint
    }

    /// Sends a request and reads the first update; the stream it came from, if the agent streams.
    pub(super) async fn start(
        &self,
        endpoint: &Endpoint,
        request: &Value,
        question: &Question,
        deadline: Instant,
    ) -> Result<(Option<Box<SseStream>>, AgentUpdate), CallError> {
        let body = self
            .call(endpoint, request, Some(question), deadline)
            .await?;
        match AnswerBody::read(body, SseDecoder::default()).await? {
            AnswerBody::Json(bytes) => {
                let update = read_body(&bytes)?.map_err(CallError::Rpc)?;
                Ok((None, update))
            }
            AnswerBody::Events(mut events) => loop {
                let Some(event) = events.next().await? else {
                    return Err(AssistantError::server_fault(
                        "the agent's answer ended before it began",
                    )
                    .at_progress(QuestionProgress::Uncertain)
                    .into());
                };
                if let Some(update) = read_event(&event)? {
                    let update = update.map_err(CallError::Rpc)?;
                    return Ok((Some(events), update));
                }
            },
        }
    }

    /// Sends a request and waits for the head of a success.
    pub(super) async fn call(
        &self,
        endpoint: &Endpoint,
        request: &Value,
        question: Option<&Question>,
        deadline: Instant,
    ) -> Result<ResponseBody, CallError> {
        let mut http = Request::new(Method::POST, endpoint.url.clone());
        let headers = http.headers_mut();
        self.add_agent_headers(headers, endpoint);
        if let Some(question) = question {
            request_headers::add_sender_headers(headers, question);
        }
        *http.body_mut() = Some(request.to_string().into());
        let body = self.server.send_any_status(http, deadline).await?;
        if body.status().is_success() {
            return Ok(body);
        }
        let status = body.status();
        let (error, bytes) = body.into_error_and_body().await;
        // Some agents say it by the status, too.
        if let Some((json, _)) = Json::split(&bytes)
            && !json.field("jsonrpc").is_null()
            && let Some(Err(error)) = read_response(json)
        {
            return Err(CallError::Rpc(error));
        }
        if error.fault() == AssistantFault::Failing {
            self.endpoint.store(None);
        }
        Err(CallError::Http(Some(status), error))
    }

    fn add_agent_headers(&self, headers: &mut HeaderMap, endpoint: &Endpoint) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(
            ACCEPT,
            HeaderValue::from_static("text/event-stream, application/json"),
        );
        if endpoint.protocol_version == ProtocolVersion::V1 {
            headers.insert(VERSION, HeaderValue::from_static("1.0"));
        }
        if endpoint.hitl_extension {
            for name in EXTENSIONS {
                headers.insert(name, HeaderValue::from_static(hitl_extension::URI));
            }
        }
        match (&self.key, &endpoint.key_header) {
            (Some(key), Some(name)) if key.card_chooses_header => {
                headers.insert(name.clone(), key.bare.clone())
            }
            (Some(key), _) => headers.insert(key.header.name.clone(), key.header.value.clone()),
            (None, _) => None,
        };
    }

    /// What an error of a call means for the question.
    pub(super) fn classify(&self, error: CallError, question: &Question) -> AssistantError {
        match error {
            CallError::Http(_, error) => error,
            CallError::Rpc(RpcError { code: -32005, .. }) if !question.pictures.is_empty() => {
                AssistantError::new(
                    FailureKind::PicturesRefused,
                    "the agent takes no pictures (JSON-RPC error -32005)",
                )
            }
            CallError::Rpc(RpcError { code: -32005, .. }) if !question.files.is_empty() => {
                AssistantError::new(
                    FailureKind::FilesRefused,
                    "the agent takes no files of this type (JSON-RPC error -32005)",
                )
            }
            CallError::Rpc(error) => self.classify_rpc(error),
        }
    }

    /// Classifies a JSON-RPC error (JSON-RPC 2.0, 5.1; A2A, "Error Code Mappings").
    pub(super) fn classify_rpc(&self, error: RpcError) -> AssistantError {
        let code = error.code;
        match code {
            -32601 | -32009 => {
                // The agent was replaced by one of another version: read its card again.
                self.endpoint.store(None);
                AssistantError::server_fault(format!(
                    "the agent does not speak the version its card names (JSON-RPC error {code})"
                ))
            }
            -32005 => AssistantError::misconfigured(
                "the agent does not take this kind of content (JSON-RPC error -32005)",
            ),
            -32603 | -32099..=-32010 | -32000 => AssistantError::server_fault(format!(
                "the agent has a fault (JSON-RPC error {code})"
            )),
            _ => AssistantError::misconfigured(format!(
                "the agent refuses the request (JSON-RPC error {code})"
            )),
        }
    }
}

/// What a whole body says.
pub(super) fn read_body(body: &[u8]) -> Result<Result<AgentUpdate, RpcError>, AssistantError> {
    let (json, _) = Json::split(body).ok_or_else(unreadable_part)?;
    read_response(json).ok_or_else(unexpected_response)
}

/// What the data of an event says; `None` where it is no JSON-RPC (a gateway's ping).
///
/// # Errors
/// It looks like a part of the answer and cannot be read.
pub(super) fn read_event(
    event: &str,
) -> Result<Option<Result<AgentUpdate, RpcError>>, AssistantError> {
    if !event.trim_start().starts_with(['{', '[']) {
        return Ok(None);
    }
    let (json, _) = Json::split(event.as_bytes()).ok_or_else(unreadable_part)?;
    Ok(read_response(json))
}

fn unreadable_part() -> AssistantError {
    AssistantError::server_fault("a part of the agent's answer is no JSON")
        .at_progress(QuestionProgress::Uncertain)
}
