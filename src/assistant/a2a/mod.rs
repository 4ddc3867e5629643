//! The A2A (Agent2Agent) protocol: reads the agent card, sends messages by JSON-RPC, and streams where the agent can. Versions 1.0 and 0.3,
//! as kagent and ADK agents speak them.
//!
//! One session is one `contextId`. When a stream breaks, the question is not sent again: its task is polled until it ends. When an answer
//! is dropped before its end, its task is cancelled.

mod answer_builder;
mod cancel;
mod card;
mod confirmation;
mod json_rpc;
mod parts;
mod update;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Request, StatusCode};
use secrecy::SecretString;
use serde_json::Value;
use tokio::time::{Instant, sleep_until};
use url::Url;

use super::answer_body::AnswerBody;
use super::build::secret_header_value;
use super::configured_headers::KeyHeader;
use super::http_client::{AssistantServer, ResponseBody};
use super::lenient_json::Json;
use super::sse::{SseDecoder, SseStream};
use super::{
    AnswerPart, AnswerReader, AnswerStream, Assistant, AssistantError, BuildError, Question,
    answer_stream, request_headers,
};
use crate::assistant::{AssistantFault, FailureKind, QuestionProgress, TokenUsage};
use answer_builder::AnswerBuilder;
use card::{Card, Endpoint, ProtocolVersion};
use json_rpc::ConversationState;
use update::{AgentUpdate, RpcError, read_response};

const VERSION: HeaderName = HeaderName::from_static("a2a-version");

/// Delay before the first poll of a running task, and the longest delay between two polls.
const FIRST_POLL_DELAY: Duration = Duration::from_millis(250);
const MAX_POLL_DELAY: Duration = Duration::from_secs(5);

/// Failed polls in a row after which the answer counts as lost.
const MAX_FAILED_POLLS: u32 = 3;

/// The assistant of protocol `A2A`. The card is read at the first question, and again after an error that a new version explains.
#[derive(Debug)]
pub(super) struct A2a {
    agent: Arc<Agent>,
}

struct Agent {
    server: AssistantServer,
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

impl A2a {
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
            agent: Arc::new(Agent {
                server,
                url: url.clone(),
                key,
                endpoint: ArcSwapOption::empty(),
            }),
        })
    }
}

#[async_trait]
impl Assistant for A2a {
    fn protocol(&self) -> &'static str {
        "A2A"
    }

    async fn ask(&self, question: Question) -> Result<AnswerStream, AssistantError> {
        let deadline = self.agent.server.deadline();
        let mut endpoint = self.agent.endpoint(deadline).await?;
        let stored: ConversationState = question
            .session_state
            .as_deref()
            .and_then(|state| serde_json::from_str(state).ok())
            .unwrap_or_default();
        let mut contexts = contexts_to_try(&stored).into_iter();
        let mut context = contexts.next().unwrap_or_default();
        loop {
            let request = json_rpc::send(&endpoint, &question, &context);
            let error = match self
                .agent
                .start(&endpoint, &request, &question, deadline)
                .await
            {
                Ok(begun) => {
                    return A2aAnswer::begin(
                        &self.agent,
                        endpoint,
                        question,
                        stored,
                        deadline,
                        begun,
                    );
                }
                Err(error) => error,
            };
            if endpoint.streaming && error.refuses_streaming(&context) {
                endpoint = self.agent.without_streaming(&endpoint);
            } else if error.forgot_conversation()
                && let Some(next) = contexts.next()
            {
                context = next;
            } else {
                return Err(self.agent.classify(error, &question));
            }
        }
    }

    fn needs_history(&self) -> bool {
        false
    }
}

/// A restarted agent may have lost the task or the conversation; the question is then sent without them.
fn contexts_to_try(stored: &ConversationState) -> Vec<ConversationState> {
    let without_task = ConversationState {
        context_id: stored.context_id.clone(),
        ..ConversationState::default()
    };
    let mut contexts = vec![stored.clone(), without_task, ConversationState::default()];
    contexts.dedup();
    contexts
}

/// Why there is no first update.
#[derive(Debug)]
enum CallError {
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
    fn refuses_streaming(&self, context: &ConversationState) -> bool {
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
    fn forgot_conversation(&self) -> bool {
        matches!(self, Self::Rpc(error) if matches!(error.code, -32001 | -32602 | -32600 | -32004))
    }
}

fn unexpected_response() -> AssistantError {
    AssistantError::misconfigured("the agent's answer is none of A2A; check protocol and url")
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Agent").field(&self.server).finish()
    }
}

impl Agent {
    /// The endpoint from the agent card, which is read unless it is cached.
    async fn endpoint(&self, deadline: Instant) -> Result<Arc<Endpoint>, AssistantError> {
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
    fn without_streaming(&self, endpoint: &Endpoint) -> Arc<Endpoint> {
        tracing::info!(host = %self.server.host, "the agent's card says that it streams, and it does not");
        let endpoint = Arc::new(Endpoint {
            streaming: false,
            ..endpoint.clone()
        });
        self.endpoint.store(Some(endpoint.clone()));
        endpoint
    }

    /// Sends a request and reads the first update.
    async fn start(
        &self,
        endpoint: &Endpoint,
        request: &Value,
        question: &Question,
        deadline: Instant,
    ) -> Result<(Source, AgentUpdate), CallError> {
        let body = self
            .call(endpoint, request, Some(question), deadline)
            .await?;
        match AnswerBody::read(body, SseDecoder::default()).await? {
            AnswerBody::Json(bytes) => {
                let update = read_body(&bytes)?.map_err(CallError::Rpc)?;
                Ok((Source::Polling(TaskPolling::default()), update))
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
                    return Ok((Source::Stream(events), update));
                }
            },
        }
    }

    /// Sends a request and waits for the head of a success.
    async fn call(
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
        match (&self.key, &endpoint.key_header) {
            (Some(key), Some(name)) if key.card_chooses_header => {
                headers.insert(name.clone(), key.bare.clone())
            }
            (Some(key), _) => headers.insert(key.header.name.clone(), key.header.value.clone()),
            (None, _) => None,
        };
    }

    /// What an error of a call means for the question.
    fn classify(&self, error: CallError, question: &Question) -> AssistantError {
        match error {
            CallError::Http(_, error) => error,
            CallError::Rpc(RpcError { code: -32005, .. }) if !question.pictures.is_empty() => {
                AssistantError::new(
                    FailureKind::PicturesRefused,
                    "the agent takes no pictures (JSON-RPC error -32005)",
                )
            }
            CallError::Rpc(error) => self.classify_rpc(error),
        }
    }

    /// Classifies a JSON-RPC error (JSON-RPC 2.0, 5.1; A2A, "Error Code Mappings").
    fn classify_rpc(&self, error: RpcError) -> AssistantError {
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
fn read_body(body: &[u8]) -> Result<Result<AgentUpdate, RpcError>, AssistantError> {
    let (json, _) = Json::split(body).ok_or_else(unreadable_part)?;
    read_response(json).ok_or_else(unexpected_response)
}

/// What the data of an event says; `None` where it is no JSON-RPC (a gateway's ping).
///
/// # Errors
/// It looks like a part of the answer and cannot be read.
fn read_event(event: &str) -> Result<Option<Result<AgentUpdate, RpcError>>, AssistantError> {
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

/// Where the next update comes from.
enum Source {
    Stream(Box<SseStream>),
    Polling(TaskPolling),
}

/// Looking at a task again and again, ever more rarely.
struct TaskPolling {
    pause: Duration,
    failed: u32,
}

impl Default for TaskPolling {
    fn default() -> Self {
        Self {
            pause: FIRST_POLL_DELAY,
            failed: 0,
        }
    }
}

/// An answer in the making.
struct A2aAnswer {
    agent: Arc<Agent>,
    endpoint: Arc<Endpoint>,
    question: Question,
    source: Source,
    answer_builder: AnswerBuilder,
    /// What was told and is not yet handed on.
    told: Option<AnswerPart>,
    /// The count that was handed on last.
    usage: Option<TokenUsage>,
    /// Whether it was said that the answer is not whole.
    truncation_told: bool,
    deadline: Instant,
    /// More of it is to come, and somebody reads it: dropped now, its task is cancelled.
    cancel_on_drop: bool,
}

impl Drop for A2aAnswer {
    fn drop(&mut self) {
        if self.cancel_on_drop
            && !self.answer_builder.is_complete()
            && let Some(task) = self.answer_builder.task()
        {
            cancel::cancel(self.agent.clone(), self.endpoint.clone(), task.to_owned());
        }
    }
}

impl AnswerReader for A2aAnswer {
    async fn next_part(&mut self) -> Result<Option<AnswerPart>, AssistantError> {
        let part = self.read_part().await;
        self.cancel_on_drop = match &part {
            Ok(part) => part.is_some(),
            // It was, for as long as anybody waits.
            Err(error) => error.kind == FailureKind::TimedOut,
        };
        part
    }
}

impl A2aAnswer {
    /// An answer whose first update has come.
    fn begin(
        agent: &Arc<Agent>,
        endpoint: Arc<Endpoint>,
        question: Question,
        stored: ConversationState,
        deadline: Instant,
        (source, first): (Source, AgentUpdate),
    ) -> Result<AnswerStream, AssistantError> {
        let language = question.sender.language_code.clone();
        let mut answer = Self {
            agent: agent.clone(),
            endpoint,
            question,
            source,
            answer_builder: AnswerBuilder::new(stored, language),
            told: None,
            usage: None,
            truncation_told: false,
            deadline,
            cancel_on_drop: false,
        };
        answer.told = answer.answer_builder.apply(first)?;
        answer.cancel_on_drop = true;
        Ok(answer_stream(answer))
    }

    async fn read_part(&mut self) -> Result<Option<AnswerPart>, AssistantError> {
        loop {
            if let Some(context) = self.answer_builder.changed_context() {
                let state = serde_json::to_string(&context).expect("text and numbers are JSON");
                return Ok(Some(AnswerPart::SessionState(state)));
            }
            if let Some(part) = self.told.take() {
                return Ok(Some(part));
            }
            if self.answer_builder.usage() != self.usage {
                self.usage = self.answer_builder.usage();
                return Ok(self.usage.map(AnswerPart::Usage));
            }
            if self.answer_builder.is_complete() {
                let truncation = self.answer_builder.truncation();
                if let Some(truncation) = truncation.filter(|_| !self.truncation_told) {
                    self.truncation_told = true;
                    return Ok(Some(AnswerPart::Truncated(truncation)));
                }
                if let Source::Stream(events) = &mut self.source {
                    events.finish().await;
                }
                return Ok(None);
            }
            // An agent that has made a task works on it: the question is not asked again.
            let progress = match self.answer_builder.task() {
                Some(_) => QuestionProgress::Begun,
                None => QuestionProgress::Uncertain,
            };
            let update = self.next_update().await;
            if let Some(update) = update.map_err(|error| error.at_progress(progress))? {
                let told = self.answer_builder.apply(update);
                self.told = told.map_err(|error| error.at_progress(progress))?;
            }
        }
    }

    /// The next update; `None`: look again.
    async fn next_update(&mut self) -> Result<Option<AgentUpdate>, AssistantError> {
        let Source::Stream(events) = &mut self.source else {
            return self.poll_task().await;
        };
        let broke = match events.next().await {
            Ok(Some(event)) => match read_event(&event) {
                Ok(None) => return Ok(None),
                Ok(Some(Ok(update))) => return Ok(Some(update)),
                Ok(Some(Err(error))) => return Err(self.agent.classify_rpc(error)),
                Err(error) => error,
            },
            Ok(None) => {
                AssistantError::server_fault("the agent's answer ended before its task did")
            }
            Err(error) if Instant::now() >= self.deadline => return Err(error),
            Err(error) => error,
        };
        if self.answer_builder.task().is_none() {
            return Err(broke);
        }
        self.source = Source::Polling(TaskPolling::default());
        Ok(None)
    }

    /// Looks at the task after a pause.
    async fn poll_task(&mut self) -> Result<Option<AgentUpdate>, AssistantError> {
        let Source::Polling(polling) = &mut self.source else {
            return Ok(None);
        };
        let Some(task) = self.answer_builder.task() else {
            return Err(unexpected_response());
        };
        sleep_until(self.deadline.min(Instant::now() + polling.pause)).await;
        polling.pause = (polling.pause * 3 / 2).min(MAX_POLL_DELAY);
        let request = json_rpc::get_task(&self.endpoint, task);
        let polled = async {
            let mut body = self
                .agent
                .call(
                    &self.endpoint,
                    &request,
                    Some(&self.question),
                    self.deadline,
                )
                .await?;
            let bytes = body.read_all().await?;
            read_body(&bytes)?.map_err(CallError::Rpc)
        };
        match polled.await {
            Ok(update) => {
                polling.failed = 0;
                Ok(Some(update))
            }
            Err(CallError::Rpc(error)) => Err(self.agent.classify_rpc(error)),
            Err(CallError::Http(_, error)) => {
                polling.failed += 1;
                let lost = !error.kind.is_transient()
                    || polling.failed >= MAX_FAILED_POLLS
                    || Instant::now() >= self.deadline;
                if lost { Err(error) } else { Ok(None) }
            }
        }
    }
}
