//! `POST /webhook`: the connector's own protocol Webhook, with whatever the [`Behaviour`](super::Behaviour) adds to a reply, so that a test asks for
//! approvals and sends files.

use bytes::Bytes;
use http::Response;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Behaviour;
use super::response::{Body, full_response};

/// The field of a request that decides the reply.
#[derive(Debug, Deserialize)]
pub(super) struct WebhookRequest {
    text: String,
}

impl WebhookRequest {
    pub(super) fn read(body: &Bytes) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(body)
    }

    pub(super) fn question(&self) -> &str {
        &self.text
    }

    /// The text, and the fields beside it.
    pub(super) fn reply(&self, behaviour: &Behaviour) -> Response<Body> {
        let mut reply: Map<String, Value> = behaviour.fields.clone();
        let text = match &behaviour.answer {
            _ if behaviour.empty => String::new(),
            Some(answer) => answer.clone(),
            None => format!("You said: {}", self.text),
        };
        reply.insert("text".into(), text.into());
        full_response(200, "application/json", Value::Object(reply).to_string())
    }
}
