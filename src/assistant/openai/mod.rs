//! `OpenAI` Chat Completions with streaming: what `OpenAI`, vLLM, Ollama, `LiteLLM`, llama.cpp and most gateways speak.
//!
//! Source: the `OpenAI` API reference, "Chat"; where servers differ from it, the tolerant reading is in `body_reader` and `chat_completion`.

mod answer;
mod answer_parts;
mod body_reader;
mod chat_completion;
mod content;
mod end_reason;
mod negotiation;
mod options;
mod reasoning;
mod refusal;
mod request;
mod sources;
mod text_joiner;

use async_trait::async_trait;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Request};
use std::collections::BTreeSet;
use std::fmt;
use url::Url;

use super::build::join_path;
use super::http_client::AssistantServer;
use super::{
    AnswerStream, Assistant, AssistantError, Question, answer_stream, request_headers,
};
use answer::OpenAiAnswer;
use chat_completion::ChatCompletion;
use negotiation::RequestNegotiation;
pub(super) use options::OpenAiOptions;
use refusal::RefusedField;
use request::RequestTemplate;

/// A model behind Chat Completions. What every request has in common is made once.
pub(super) struct OpenAi {
    server: AssistantServer,
    url: Url,
    headers: HeaderMap,
    template: RequestTemplate,
    negotiation: RequestNegotiation,
}

impl fmt::Debug for OpenAi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OpenAi").field(&self.server).finish()
    }
}

impl OpenAi {
    pub(super) fn new(server: AssistantServer, url: &Url, options: OpenAiOptions) -> Self {
        let mut headers =
            HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        let template = RequestTemplate::new(&options);
        if let Some(key) = options.key_header {
            headers.insert(key.name, key.value);
        }
        let parameters = options.parameters.into_iter().map(|(name, _)| name);
        let negotiation = RequestNegotiation::new(options.omit, parameters);
        let complete = url
            .path()
            .trim_end_matches('/')
            .ends_with("/chat/completions");
        Self {
            server,
            url: if complete {
                url.clone()
            } else {
                join_path(url, &["chat", "completions"])
            },
            headers,
            template,
            negotiation,
        }
    }

    fn request(&self, question: &Question, left_out: &BTreeSet<RefusedField>) -> Request {
        let mut request = Request::new(Method::POST, self.url.clone());
        let headers = request.headers_mut();
        headers.clone_from(&self.headers);
        let accepted = if self.template.streams(left_out) {
            "text/event-stream, application/json"
        } else {
            "application/json"
        };
        headers.insert(ACCEPT, HeaderValue::from_static(accepted));
        request_headers::add_sender_headers(headers, question);
        *request.body_mut() = Some(self.template.body(question, left_out).into());
        request
    }
}

#[async_trait]
impl Assistant for OpenAi {
    fn protocol(&self) -> &'static str {
        "OpenAI"
    }

    async fn ask(&self, question: Question) -> Result<AnswerStream, AssistantError> {
        let deadline = self.server.deadline();
        let body = self
            .negotiation
            .send(&self.server, deadline, |left_out| {
                self.request(&question, left_out)
            })
            .await?;
        let dialect = Box::new(ChatCompletion::default());
        Ok(answer_stream(OpenAiAnswer::new(body, dialect)))
    }

    fn needs_history(&self) -> bool {
        true
    }
}
