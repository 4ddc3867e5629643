//! Sends a request in the form that its server takes: what the server refuses by name is left out, the question is asked again at once, and
//! later requests are written that way from the beginning.

use std::collections::BTreeSet;

use parking_lot::Mutex;
use reqwest::{Body, Request, StatusCode};
use tokio::time::Instant;

use super::refusal::{Refusal, RefusedField};
use crate::assistant::AssistantError;
use crate::assistant::http_client::{AssistantServer, ResponseBody};

/// What one server refused so far. It lives as long as the assistant, which is built anew when its spec or its Secrets change.
pub(super) struct RequestNegotiation {
    left_out: Mutex<BTreeSet<RefusedField>>,
    /// The names in `parameters`: what the connector asks for is never left out silently.
    parameters: Vec<String>,
}

impl RequestNegotiation {
    /// Begins with what the connector leaves out. `parameters` are the names of its further fields.
    pub(super) fn new(
        omit: BTreeSet<RefusedField>,
        parameters: impl IntoIterator<Item = String>,
    ) -> Self {
        Self {
            left_out: Mutex::new(omit),
            parameters: parameters.into_iter().collect(),
        }
    }

    /// Sends what `build` makes without the parts that it is given, and waits for the head of a success.
    ///
    /// # Errors
    /// As [`AssistantServer::send`]; a refusal of one of `parameters` names the field to change.
    pub(super) async fn send(
        &self,
        server: &AssistantServer,
        deadline: Instant,
        build: impl Fn(&BTreeSet<RefusedField>) -> Request + Send + Sync,
    ) -> Result<ResponseBody, AssistantError> {
        let mut left_out = self.left_out.lock().clone();
        loop {
            let response = server.send_any_status(build(&left_out), deadline).await?;
            let status = response.status();
            if status.is_success() {
                return Ok(response);
            }
            if !can_refuse_a_part(status) {
                return Err(response.into_error().await);
            }
            let (error, body) = response.into_error_and_body().await;
            let refusal = Refusal::from_bytes(&body);
            let refused = build(&left_out);
            left_out.extend(&refusal.fields);
            // A part that was not sent, or cannot be left out: the same request would be refused again.
            if has_same_body(&refused, &build(&left_out)) {
                return Err(self.parameter_refused(status, &refusal).unwrap_or(error));
            }
            let parts: Vec<&str> = refusal.fields.iter().map(|f| f.as_str()).collect();
            tracing::info!(
                host = %server.host,
                parts = parts.join(", "),
                "the assistant refuses parts of a request; they are left out from now on"
            );
            self.left_out.lock().extend(&refusal.fields);
        }
    }

    /// The error for a refused field that the connector asks for.
    fn parameter_refused(&self, status: StatusCode, refusal: &Refusal) -> Option<AssistantError> {
        let is_refused = |name: &&String| refusal.names.contains(&name.to_ascii_lowercase());
        let name = self.parameters.iter().find(is_refused)?;
        let fix = match name.as_str() {
            "max_tokens" => "remove it, or write max_completion_tokens instead",
            "max_completion_tokens" => "remove it, or write max_tokens instead",
            _ => "remove it, or change its value",
        };
        Some(AssistantError::misconfigured(format!(
            "the assistant answered {}: it refuses {name} of spec.assistant.openAI.parameters; {fix}",
            status.as_u16()
        )))
    }
}

/// Whether an answer with this status may be about a part of the request. llama.cpp answers 500 where a model's template knows no system role.
fn can_refuse_a_part(status: StatusCode) -> bool {
    matches!(status.as_u16(), 400 | 415 | 422 | 500 | 501)
}

fn has_same_body(one: &Request, other: &Request) -> bool {
    one.body().and_then(Body::as_bytes) == other.body().and_then(Body::as_bytes)
}
