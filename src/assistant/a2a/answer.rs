//! An answer in the making: updates of a stream, or of a task that is looked at, become its parts.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::agent::{Agent, CallError, read_body, read_event, unexpected_response};
use super::answer_builder::AnswerBuilder;
use super::cancel;
use super::card::Endpoint;
use super::json_rpc::{self, ConversationState};
use super::update::AgentUpdate;
use crate::assistant::sse::SseStream;
use crate::assistant::{
    AnswerPart, AnswerReader, AnswerStream, AssistantError, FailureKind, Question,
    QuestionProgress, TokenUsage, answer_stream,
};

/// Delay before the first poll of a running task, and the longest delay between two polls.
const FIRST_POLL_DELAY: Duration = Duration::from_millis(250);
const MAX_POLL_DELAY: Duration = Duration::from_secs(5);

/// Failed polls in a row after which the answer counts as lost.
const MAX_FAILED_POLLS: u32 = 3;

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
pub(super) struct A2aAnswer {
    agent: Arc<Agent>,
    endpoint: Arc<Endpoint>,
    question: Question,
    source: Source,
    answer_builder: AnswerBuilder,
    /// What was told and is not yet handed on.
    ready_parts: VecDeque<AnswerPart>,
    /// Why the answer broke off, to be said behind that.
    failure: Option<AssistantError>,
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
    pub(super) fn begin(
        agent: &Arc<Agent>,
        endpoint: Arc<Endpoint>,
        question: Question,
        stored: ConversationState,
        deadline: Instant,
        (events, first): (Option<Box<SseStream>>, AgentUpdate),
    ) -> Result<AnswerStream, AssistantError> {
        let wants_progress = question.wants_progress;
        let mut answer = Self {
            agent: agent.clone(),
            endpoint,
            question,
            source: match events {
                Some(events) => Source::Stream(events),
                None => Source::Polling(TaskPolling::default()),
            },
            answer_builder: AnswerBuilder::new(stored).with_progress(wants_progress),
            ready_parts: VecDeque::new(),
            failure: None,
            usage: None,
            truncation_told: false,
            deadline,
            cancel_on_drop: false,
        };
        answer.ready_parts = answer.answer_builder.apply(first)?.into();
        answer.cancel_on_drop = true;
        Ok(answer_stream(answer))
    }

    async fn read_part(&mut self) -> Result<Option<AnswerPart>, AssistantError> {
        loop {
            if let Some(context) = self.answer_builder.changed_context() {
                let state = serde_json::to_string(&context).expect("text and numbers are JSON");
                return Ok(Some(AnswerPart::SessionState(state)));
            }
            if let Some(part) = self.ready_parts.pop_front() {
                return Ok(Some(part));
            }
            if let Some(error) = self.failure.take() {
                return Err(error);
            }
            if self.answer_builder.usage() != self.usage {
                self.usage = self.answer_builder.usage();
                return Ok(self.usage.map(AnswerPart::Usage));
            }
            if self.answer_builder.is_complete() {
                if let Some(choice) = self.answer_builder.take_choice() {
                    return Ok(Some(AnswerPart::Choice(choice)));
                }
                if let Some(request) = self.answer_builder.take_approval() {
                    return Ok(Some(AnswerPart::Approval(request)));
                }
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
            let parts = match self.next_update().await {
                Ok(None) => continue,
                Ok(Some(update)) => self.answer_builder.apply(update),
                Err(error) => Err(error),
            };
            match parts {
                Ok(parts) => self.ready_parts.extend(parts),
                Err(error) => {
                    // The files that came are part of an answer that broke off.
                    self.ready_parts.extend(self.answer_builder.tell_files());
                    self.failure = Some(error.at_progress(progress));
                }
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
