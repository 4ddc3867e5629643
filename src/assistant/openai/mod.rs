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
mod responses;
mod sources;
mod spoken_answer;
#[cfg(test)]
mod test_values;
mod text_joiner;

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Request};
use std::collections::BTreeSet;
use std::fmt;
use url::Url;

use super::build::join_path;
use super::http_client::AssistantServer;
use super::{
    AnswerStream, Assistant, AssistantError, FileLink, LinkError, Question, answer_stream,
    request_headers,
};
use crate::api::connector::OpenAiApi;
use answer::OpenAiAnswer;
use body_reader::Dialect;
use chat_completion::ChatCompletion;
use negotiation::RequestNegotiation;
pub(super) use options::OpenAiOptions;
use refusal::RefusedField;
use request::RequestTemplate;
use responses::Response;

/// How many headers a request has of its question's own, and of the client's.
const OWN_HEADERS: usize = 23;

/// A model behind one of the two APIs. What every request has in common is made once.
pub(super) struct OpenAi {
    server: AssistantServer,
    url: Url,
    headers: HeaderMap,
    api: OpenAiApi,
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
        let api = if path_ends_with(url, "/responses") {
            OpenAiApi::Responses
        } else {
            options.api
        };
        let template = RequestTemplate::new(api, &options);
        if let Some(key) = options.key_header {
            headers.insert(key.name, key.value);
        }
        let parameters = options.parameters.into_iter().map(|(name, _)| name);
        let negotiation = RequestNegotiation::new(options.omit, parameters);
        Self {
            server,
            url: endpoint(api, url),
            headers,
            api,
            template,
            negotiation,
        }
    }

    fn dialect(&self) -> Box<dyn Dialect> {
        match self.api {
            OpenAiApi::ChatCompletions => Box::new(ChatCompletion::default()),
            OpenAiApi::Responses => Box::new(Response::default()),
        }
    }

    fn request(&self, question: &Question, left_out: &BTreeSet<RefusedField>) -> Request {
        let mut request = Request::new(Method::POST, self.url.clone());
        let headers = request.headers_mut();
        headers.reserve(self.headers.len() + OWN_HEADERS);
        let shared = self.headers.iter();
        headers.extend(shared.map(|(name, value)| (name.clone(), value.clone())));
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

/// Where requests go, `url` being the API's root or already this place.
fn endpoint(api: OpenAiApi, url: &Url) -> Url {
    let (path, segments): (_, &[&str]) = match api {
        OpenAiApi::ChatCompletions => ("/chat/completions", &["chat", "completions"]),
        OpenAiApi::Responses => ("/responses", &["responses"]),
    };
    if path_ends_with(url, path) {
        url.clone()
    } else {
        join_path(url, segments)
    }
}

fn path_ends_with(url: &Url, end: &str) -> bool {
    url.path().trim_end_matches('/').ends_with(end)
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
        Ok(answer_stream(OpenAiAnswer::new(
            body,
            self.dialect(),
            question.wants_progress,
        )))
    }

    async fn fetch_file(&self, link: FileLink<'_>) -> Result<Bytes, LinkError> {
        self.server.fetch_file(link).await
    }

    fn needs_history(&self) -> bool {
        true
    }
}
