//! The A2A (Agent2Agent) protocol: reads the agent card, sends messages by JSON-RPC, and streams where the agent can. Versions 1.0 and 0.3,
//! as kagent and ADK agents speak them.
//!
//! One session is one `contextId`. When a stream breaks, the question is not sent again: its task is polled until it ends. When an answer
//! is dropped before its end, its task is cancelled.

mod agent;
mod answer;
mod answer_builder;
mod cancel;
mod card;
mod confirmation;
mod hitl_extension;
mod json_rpc;
mod parts;
mod streamed_file;
mod update;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use secrecy::SecretString;
use url::Url;

use super::configured_headers::KeyHeader;
use super::http_client::AssistantServer;
use super::{AnswerStream, Assistant, AssistantError, BuildError, FileLink, LinkError, Question};
use agent::Agent;
use answer::A2aAnswer;
pub(crate) use confirmation::decision_word;
use json_rpc::ConversationState;

/// The assistant of protocol `A2A`. The card is read at the first question, and again after an error that a new version explains.
#[derive(Debug)]
pub(super) struct A2a {
    agent: Arc<Agent>,
}

impl A2a {
    pub(super) fn new(
        server: AssistantServer,
        url: &Url,
        key: Option<(&SecretString, KeyHeader)>,
        card_chooses_header: bool,
    ) -> Result<Self, BuildError> {
        let agent = Agent::new(server, url, key, card_chooses_header)?;
        Ok(Self {
            agent: Arc::new(agent),
        })
    }
}

impl A2a {
    /// Reads the agent card, and nothing else.
    ///
    /// # Errors
    /// There is none that can be used.
    pub(super) async fn read_card(&self) -> Result<(), AssistantError> {
        let deadline = self.agent.server.deadline();
        self.agent.endpoint(deadline).await.map(|_| ())
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
        let decided = question.action.as_ref().and_then(|a| a.approval.as_ref());
        let state = match decided.and_then(|outcome| outcome.token.as_deref()) {
            Some(token) => Some(token),
            None => question.session_state.as_deref(),
        };
        let stored: ConversationState = state
            .and_then(|state| serde_json::from_str(state).ok())
            .unwrap_or_default();
        let mut contexts = contexts_to_try(&stored);
        if decided.is_some() {
            // Elsewhere nobody waits for the decision.
            contexts.truncate(1);
        }
        let mut contexts = contexts.into_iter();
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

    async fn fetch_file(&self, link: FileLink<'_>) -> Result<Bytes, LinkError> {
        self.agent.server.fetch_file(link).await
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
