//! The A2A (Agent2Agent) protocol: reads the agent card, sends messages by JSON-RPC, and streams where the agent can. Versions 1.0 and 0.3,
//! as kagent and ADK agents speak them.
//!
//! One session is one `contextId`. When a stream breaks, the question is not sent again: its task is polled until it ends. When an answer
//! is dropped before its end, its task is cancelled.

mod answer_builder;
mod cancel;
mod card;
mod json_rpc;

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

use super::build::secret_header_value;
use super::configured_headers::KeyHeader;
use super::http_client::{AssistantServer, ResponseBody};
use super::sse::SseStream;
use super::{
    AnswerPart, AnswerReader, AnswerStream, Assistant, AssistantError, BuildError, Question,
    answer_stream, request_headers,
};
use crate::assistant::{AssistantFault, FailureKind};
use answer_builder::AnswerBuilder;
use card::{Card, Endpoint, ProtocolVersion};
use json_rpc::{AgentUpdate, ConversationState, Response, RpcError};

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
        let endpoint = self.agent.endpoint(deadline).await?;
        let stored: ConversationState = question
            .session_state
            .as_deref()
            .and_then(|state| serde_json::from_str(state).ok())
            .unwrap_or_default();
        // A restarted agent may have lost the task or the conversation; the question is then sent without them.
        let without_task = ConversationState {
            task_id: None,
            ..stored.clone()
        };
        let mut attempts = vec![stored.clone(), without_task, ConversationState::default()];
        attempts.dedup();
        let mut error = None;
        for context in attempts {
            let request = json_rpc::send(&endpoint, &question, &context);
            match self
                .agent
                .start(&endpoint, &request, &question, deadline)
                .await?
            {
                Ok((source, first)) => {
                    let mut answer = A2aAnswer {
                        agent: self.agent.clone(),
                        endpoint,
                        question,
                        source,
                        answer_builder: AnswerBuilder::new(stored),
                        text: String::new(),
                        deadline,
                        cancel_on_drop: false,
                    };
                    answer.text = answer.answer_builder.apply(first)?;
                    answer.cancel_on_drop = true;
                    return Ok(answer_stream(answer));
                }
                Err(e) if is_unknown_conversation(&e) => error = Some(e),
                Err(e) => return Err(self.agent.classify_error(&e)),
            }
        }
        Err(error.map_or_else(unexpected_response, |e| self.agent.classify_error(&e)))
    }

    fn needs_history(&self) -> bool {
        false
    }
}

/// Whether an error can mean that the task or the conversation is unknown: `TaskNotFound`, `InvalidParams`,
/// `InvalidRequest`, `UnsupportedOperation` (a task that has ended).
fn is_unknown_conversation(error: &RpcError) -> bool {
    matches!(error.code, -32001 | -32602 | -32600 | -32004)
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

    /// Sends a request and reads the first update. The inner `Err` is a JSON-RPC error of the agent.
    async fn start(
        &self,
        endpoint: &Endpoint,
        request: &Value,
        question: &Question,
        deadline: Instant,
    ) -> Result<Result<(Source, AgentUpdate), RpcError>, AssistantError> {
        let mut body = self
            .call(endpoint, request, Some(question), deadline)
            .await?;
        if !body.is_event_stream() {
            let response = body.json().await?;
            return Ok(
                read(response)?.map(|update| (Source::Polling(TaskPolling::default()), update))
            );
        }
        let mut events = SseStream::new(body);
        let Some(first) = events.next().await? else {
            return Err(AssistantError::server_fault(
                "the agent's answer ended before it began",
            ));
        };
        let response = serde_json::from_str(&first).map_err(|_| unexpected_response())?;
        Ok(read(response)?.map(|update| (Source::Stream(Box::new(events)), update)))
    }

    async fn call(
        &self,
        endpoint: &Endpoint,
        request: &Value,
        question: Option<&Question>,
        deadline: Instant,
    ) -> Result<ResponseBody, AssistantError> {
        let mut http = Request::new(Method::POST, endpoint.url.clone());
        let headers = http.headers_mut();
        self.add_agent_headers(headers, endpoint);
        if let Some(question) = question {
            request_headers::add_sender_headers(headers, question);
        }
        *http.body_mut() = Some(request.to_string().into());
        let sent = self.server.send(http, deadline).await;
        if matches!(&sent, Err(e) if e.fault() == AssistantFault::Failing) {
            self.endpoint.store(None);
        }
        sent
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

    /// Classifies a JSON-RPC error (JSON-RPC 2.0, 5.1; A2A, "Error Code Mappings").
    fn classify_error(&self, error: &RpcError) -> AssistantError {
        let code = error.code;
        match code {
            -32601 | -32009 => {
                // The agent was replaced by one of another version: read its card again.
                self.endpoint.store(None);
                AssistantError::server_fault(format!(
                    "the agent does not speak the version its card names (JSON-RPC error {code})"
                ))
            }
            -32005 => AssistantError::misconfigured("the agent does not take this kind of content"),
            -32603 | -32099..=-32010 | -32000 => AssistantError::server_fault(format!(
                "the agent has a fault (JSON-RPC error {code})"
            )),
            _ => AssistantError::misconfigured(format!(
                "the agent refuses the request (JSON-RPC error {code})"
            )),
        }
    }
}

/// What a response says: an update, or the agent's error. The outer error: neither.
fn read(response: Response) -> Result<Result<AgentUpdate, RpcError>, AssistantError> {
    match (response.error, response.result) {
        (Some(error), _) => Ok(Err(error)),
        (None, Some(result)) => AgentUpdate::read(&result)
            .map(Ok)
            .ok_or_else(unexpected_response),
        (None, None) => Err(unexpected_response()),
    }
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
    /// Text that was told and not yet handed on.
    text: String,
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
    async fn read_part(&mut self) -> Result<Option<AnswerPart>, AssistantError> {
        loop {
            if let Some(context) = self.answer_builder.changed_context() {
                let state = serde_json::to_string(&context).expect("two strings are JSON");
                return Ok(Some(AnswerPart::SessionState(state)));
            }
            if !self.text.is_empty() {
                return Ok(Some(AnswerPart::Text(std::mem::take(&mut self.text))));
            }
            if self.answer_builder.is_complete() {
                if let Source::Stream(events) = &mut self.source {
                    events.finish().await;
                }
                return Ok(None);
            }
            if let Some(update) = self.next_update().await? {
                self.text = self.answer_builder.apply(update)?;
            }
        }
    }

    /// The next update; `None`: look again.
    async fn next_update(&mut self) -> Result<Option<AgentUpdate>, AssistantError> {
        match &mut self.source {
            Source::Stream(events) => {
                let broke = match events.next().await {
                    Ok(Some(event)) => return self.read_event(&event),
                    Ok(None) => {
                        AssistantError::server_fault("the agent's answer ended before its task did")
                    }
                    Err(e) if Instant::now() >= self.deadline => return Err(e),
                    Err(e) => e,
                };
                if self.answer_builder.task().is_none() {
                    return Err(broke);
                }
                self.source = Source::Polling(TaskPolling::default());
                Ok(None)
            }
            Source::Polling(polling) => {
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
                    body.json().await
                };
                match polled.await {
                    Ok(response) => {
                        polling.failed = 0;
                        match read(response)? {
                            Ok(update) => Ok(Some(update)),
                            Err(e) => Err(self.agent.classify_error(&e)),
                        }
                    }
                    Err(e) => {
                        polling.failed += 1;
                        let lost = !e.is_retryable()
                            || polling.failed >= MAX_FAILED_POLLS
                            || Instant::now() >= self.deadline;
                        if lost { Err(e) } else { Ok(None) }
                    }
                }
            }
        }
    }

    fn read_event(&self, event: &str) -> Result<Option<AgentUpdate>, AssistantError> {
        // Events that are no JSON-RPC (a gateway's ping) are passed over.
        let Ok(response) = serde_json::from_str::<Response>(event) else {
            return Ok(None);
        };
        match (response.error, response.result) {
            (Some(error), _) => Err(self.agent.classify_error(&error)),
            (None, result) => Ok(result.as_ref().and_then(AgentUpdate::read)),
        }
    }
}
