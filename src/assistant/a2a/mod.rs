//! A2A (Agent to Agent): an agent found by its card, asked by JSON-RPC, streaming where it can. Versions 1.0 and 0.3, which is what kagent
//! and ADK agents speak.
//!
//! One session is one `contextId`. An answer whose stream breaks is not asked for again: its task is looked at until it ends. An answer
//! that nobody reads to its end has its task cancelled.

mod cancel;
mod card;
mod transcript;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Request, StatusCode};
use secrecy::SecretString;
use serde_json::Value;
use tokio::time::{Instant, sleep_until};
use url::Url;

use super::build::secret_value;
use super::events::Events;
use super::exchange::{Body, Peer};
use super::{
    AnswerPart, AnswerStream, Assistant, AssistantError, BuildError, Parts, Question, asker,
    stream_of,
};
use crate::observation::AssistantFault;
use card::{Card, Dialect, Endpoint};
use transcript::Transcript;
use wire::{Context, Response, RpcError, Update};

const VERSION: HeaderName = HeaderName::from_static("a2a-version");

/// Between the first two looks at a running task, and at most between any two.
const FIRST_LOOK: Duration = Duration::from_millis(250);
const LAST_LOOK: Duration = Duration::from_secs(5);

/// Looks in a row that may fail before the answer counts as lost.
const FAILED_LOOKS: u32 = 3;

/// An agent. Its card is read at the first question, and again when the agent no longer understands us.
#[derive(Debug)]
pub(super) struct A2a {
    agent: Arc<Agent>,
}

struct Agent {
    peer: Peer,
    url: Url,
    key: Option<Key>,
    endpoint: ArcSwapOption<Endpoint>,
}

/// The API key as the two kinds of headers have it.
#[derive(Debug)]
struct Key {
    bearer: HeaderValue,
    bare: HeaderValue,
}

impl A2a {
    pub(super) fn new(
        peer: Peer,
        url: &Url,
        key: Option<&SecretString>,
    ) -> Result<Self, BuildError> {
        let key = match key {
            Some(key) => Some(Key {
                bearer: secret_value("Bearer ", key)?,
                bare: secret_value("", key)?,
            }),
            None => None,
        };
        Ok(Self {
            agent: Arc::new(Agent {
                peer,
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
        let deadline = self.agent.peer.deadline();
        let endpoint = self.agent.endpoint(deadline).await?;
        let stored: Context = question
            .session_state
            .as_deref()
            .and_then(|state| serde_json::from_str(state).ok())
            .unwrap_or_default();
        // An agent that was restarted knows neither the task nor the conversation any more: then go on without.
        let without_task = Context {
            task_id: None,
            ..stored.clone()
        };
        let mut attempts = vec![stored.clone(), without_task, Context::default()];
        attempts.dedup();
        let mut error = None;
        for context in attempts {
            let request = wire::send(&endpoint, &question, &context);
            match self
                .agent
                .begin(&endpoint, &request, &question, deadline)
                .await?
            {
                Ok((source, first)) => {
                    let mut writing = Writing {
                        agent: self.agent.clone(),
                        endpoint,
                        question,
                        source,
                        transcript: Transcript::new(stored),
                        text: String::new(),
                        deadline,
                        waited_for: false,
                    };
                    writing.text = writing.transcript.take(first)?;
                    writing.waited_for = true;
                    return Ok(stream_of(writing));
                }
                Err(e) if forgets(&e) => error = Some(e),
                Err(e) => return Err(self.agent.judge(&e)),
            }
        }
        Err(error.map_or_else(no_sense, |e| self.agent.judge(&e)))
    }

    fn wants_history(&self) -> bool {
        false
    }
}

/// Whether an error can mean that the task or the conversation is unknown: `TaskNotFound`, `InvalidParams`,
/// `InvalidRequest`, `UnsupportedOperation` (a task that has ended).
fn forgets(error: &RpcError) -> bool {
    matches!(error.code, -32001 | -32602 | -32600 | -32004)
}

fn no_sense() -> AssistantError {
    AssistantError::lasting("the agent's answer is none of A2A; check protocol and url")
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Agent").field(&self.peer).finish()
    }
}

impl Agent {
    /// Where and how to ask; reads the card if need be.
    async fn endpoint(&self, deadline: Instant) -> Result<Arc<Endpoint>, AssistantError> {
        if let Some(known) = self.endpoint.load_full() {
            return Ok(known);
        }
        for place in card::places(&self.url) {
            let mut request = Request::new(Method::GET, place);
            let headers = request.headers_mut();
            headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
            if let Some(key) = &self.key {
                headers.insert(AUTHORIZATION, key.bearer.clone());
            }
            let mut body = self.peer.send_any(request, deadline).await?;
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
        Err(AssistantError::lasting(format!(
            "{} has no agent card at .well-known/agent-card.json; set url to the agent's root",
            self.peer.host
        )))
    }

    /// Sends a request and reads the first thing that the agent says.
    async fn begin(
        &self,
        endpoint: &Endpoint,
        request: &Value,
        question: &Question,
        deadline: Instant,
    ) -> Result<Result<(Source, Update), RpcError>, AssistantError> {
        let mut body = self
            .call(endpoint, request, Some(question), deadline)
            .await?;
        if !body.is_events() {
            let response = body.json().await?;
            return Ok(read(response)?.map(|update| (Source::Looks(Looks::default()), update)));
        }
        let mut events = Events::new(body);
        let Some(first) = events.next().await? else {
            return Err(AssistantError::passing(
                "the agent's answer ended before it began",
            ));
        };
        let response = serde_json::from_str(&first).map_err(|_| no_sense())?;
        Ok(read(response)?.map(|update| (Source::Stream(Box::new(events)), update)))
    }

    async fn call(
        &self,
        endpoint: &Endpoint,
        request: &Value,
        question: Option<&Question>,
        deadline: Instant,
    ) -> Result<Body, AssistantError> {
        let mut http = Request::new(Method::POST, endpoint.url.clone());
        let headers = http.headers_mut();
        self.add_headers(headers, endpoint);
        if let Some(question) = question {
            asker::add_headers(headers, question);
        }
        *http.body_mut() = Some(request.to_string().into());
        let sent = self.peer.send(http, deadline).await;
        if matches!(&sent, Err(e) if e.fault == AssistantFault::Failing) {
            self.endpoint.store(None);
        }
        sent
    }

    fn add_headers(&self, headers: &mut HeaderMap, endpoint: &Endpoint) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(
            ACCEPT,
            HeaderValue::from_static("text/event-stream, application/json"),
        );
        if endpoint.dialect == Dialect::V1 {
            headers.insert(VERSION, HeaderValue::from_static("1.0"));
        }
        match (&self.key, &endpoint.key_header) {
            (Some(key), Some(name)) => headers.insert(name.clone(), key.bare.clone()),
            (Some(key), None) => headers.insert(AUTHORIZATION, key.bearer.clone()),
            (None, _) => None,
        };
    }

    /// What a JSON-RPC error means for us (JSON-RPC 2.0, 5.1; A2A, "Error Code Mappings").
    fn judge(&self, error: &RpcError) -> AssistantError {
        let code = error.code;
        match code {
            -32601 | -32009 => {
                // The agent was replaced by one of another version: read its card again.
                self.endpoint.store(None);
                AssistantError::passing(format!(
                    "the agent does not speak the version its card names (JSON-RPC error {code})"
                ))
            }
            -32005 => AssistantError::lasting("the agent does not take this kind of content"),
            -32603 | -32099..=-32010 | -32000 => {
                AssistantError::passing(format!("the agent has a fault (JSON-RPC error {code})"))
            }
            _ => AssistantError::lasting(format!(
                "the agent refuses the request (JSON-RPC error {code})"
            )),
        }
    }
}

/// What a response says: an update, or the agent's error. The outer error: neither.
fn read(response: Response) -> Result<Result<Update, RpcError>, AssistantError> {
    match (response.error, response.result) {
        (Some(error), _) => Ok(Err(error)),
        (None, Some(result)) => Update::read(&result).map(Ok).ok_or_else(no_sense),
        (None, None) => Err(no_sense()),
    }
}

/// Where the next update comes from.
enum Source {
    Stream(Box<Events>),
    Looks(Looks),
}

/// Looking at a task again and again, ever more rarely.
struct Looks {
    pause: Duration,
    failed: u32,
}

impl Default for Looks {
    fn default() -> Self {
        Self {
            pause: FIRST_LOOK,
            failed: 0,
        }
    }
}

/// An answer in the making.
struct Writing {
    agent: Arc<Agent>,
    endpoint: Arc<Endpoint>,
    question: Question,
    source: Source,
    transcript: Transcript,
    /// Text that was told and not yet handed on.
    text: String,
    deadline: Instant,
    /// More of it is to come, and somebody reads it: dropped now, its task is cancelled.
    waited_for: bool,
}

impl Drop for Writing {
    fn drop(&mut self) {
        if self.waited_for
            && !self.transcript.is_over()
            && let Some(task) = self.transcript.task()
        {
            cancel::cancel(self.agent.clone(), self.endpoint.clone(), task.to_owned());
        }
    }
}

impl Parts for Writing {
    async fn next_part(&mut self) -> Result<Option<AnswerPart>, AssistantError> {
        let part = self.part().await;
        self.waited_for = match &part {
            Ok(part) => part.is_some(),
            // It was, for as long as anybody waits.
            Err(error) => error.too_slow,
        };
        part
    }
}

impl Writing {
    async fn part(&mut self) -> Result<Option<AnswerPart>, AssistantError> {
        loop {
            if let Some(context) = self.transcript.changed_context() {
                let state = serde_json::to_string(&context).expect("two strings are JSON");
                return Ok(Some(AnswerPart::SessionState(state)));
            }
            if !self.text.is_empty() {
                return Ok(Some(AnswerPart::Text(std::mem::take(&mut self.text))));
            }
            if self.transcript.is_over() {
                if let Source::Stream(events) = &mut self.source {
                    events.finish().await;
                }
                return Ok(None);
            }
            if let Some(update) = self.next_update().await? {
                self.text = self.transcript.take(update)?;
            }
        }
    }

    /// The next update; `None`: look again.
    async fn next_update(&mut self) -> Result<Option<Update>, AssistantError> {
        match &mut self.source {
            Source::Stream(events) => {
                let broke = match events.next().await {
                    Ok(Some(event)) => return self.read_event(&event),
                    Ok(None) => {
                        AssistantError::passing("the agent's answer ended before its task did")
                    }
                    Err(e) if Instant::now() >= self.deadline => return Err(e),
                    Err(e) => e,
                };
                if self.transcript.task().is_none() {
                    return Err(broke);
                }
                self.source = Source::Looks(Looks::default());
                Ok(None)
            }
            Source::Looks(looks) => {
                let Some(task) = self.transcript.task() else {
                    return Err(no_sense());
                };
                sleep_until(self.deadline.min(Instant::now() + looks.pause)).await;
                looks.pause = (looks.pause * 3 / 2).min(LAST_LOOK);
                let request = wire::get_task(&self.endpoint, task);
                let looked = async {
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
                match looked.await {
                    Ok(response) => {
                        looks.failed = 0;
                        match read(response)? {
                            Ok(update) => Ok(Some(update)),
                            Err(e) => Err(self.agent.judge(&e)),
                        }
                    }
                    Err(e) => {
                        looks.failed += 1;
                        let lost = !e.retryable
                            || looks.failed >= FAILED_LOOKS
                            || Instant::now() >= self.deadline;
                        if lost { Err(e) } else { Ok(None) }
                    }
                }
            }
        }
    }

    fn read_event(&self, event: &str) -> Result<Option<Update>, AssistantError> {
        // Events that are no JSON-RPC (a gateway's ping) are passed over.
        let Ok(response) = serde_json::from_str::<Response>(event) else {
            return Ok(None);
        };
        match (response.error, response.result) {
            (Some(error), _) => Err(self.agent.judge(&error)),
            (None, result) => Ok(result.as_ref().and_then(Update::read)),
        }
    }
}
