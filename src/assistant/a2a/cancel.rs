//! Tells an agent that nobody waits for its task any more, so that it does not work on at its owner's cost.
//!
//! Best effort: the answer has been ended for its reader, whatever the agent makes of it. An agent may refuse (A2A, "Task not
//! cancelable").

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

use super::agent::{Agent, CallError};
use super::card::Endpoint;
use super::json_rpc;
use super::update::{RpcError, read_response};
use crate::assistant::lenient_json::Json;

/// How long an agent may take to hear of it.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

/// Cancels a task beside everything else.
pub(super) fn cancel(agent: Arc<Agent>, endpoint: Arc<Endpoint>, task: String) {
    // Without a runtime the process is ending.
    let Ok(runtime) = Handle::try_current() else {
        return;
    };
    runtime.spawn(async move {
        match send_cancel(&agent, &endpoint, &task).await {
            Ok(()) => {}
            Err(CallError::Rpc(RpcError { code, .. })) => {
                tracing::debug!(code, "an agent does not cancel its task");
            }
            Err(CallError::Http(_, error)) => {
                tracing::debug!(%error, "an agent's task could not be cancelled");
            }
        }
    });
}

async fn send_cancel(agent: &Agent, endpoint: &Endpoint, task: &str) -> Result<(), CallError> {
    let request = json_rpc::cancel_task(endpoint, task);
    // Without the question's idempotency key: a gateway could take it for the question once more.
    let deadline = Instant::now() + CANCEL_TIMEOUT;
    let mut body = agent.call(endpoint, &request, None, deadline).await?;
    let bytes = body.read_all().await?;
    match Json::split(&bytes).and_then(|(json, _)| read_response(json)) {
        Some(Err(error)) => Err(CallError::Rpc(error)),
        _ => Ok(()),
    }
}
