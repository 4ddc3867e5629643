//! `OpenAI` Chat Completions with streaming: what `OpenAI`, vLLM, Ollama, `LiteLLM`, llama.cpp and most gateways speak.
//!
//! Source: the `OpenAI` API reference, "Chat"; where servers differ from it, the tolerant reading is in `chunk`.

mod chunk;
mod negotiation;
mod options;
mod reasoning;
mod refusal;
mod request;

use async_trait::async_trait;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Request};
use std::collections::BTreeSet;
use std::fmt;
use url::Url;

use super::build::join_path;
use super::http_client::AssistantServer;
use super::sse::{SseDecoder, SseStream};
use super::{
    AnswerPart, AnswerReader, AnswerStream, Assistant, AssistantError, Question, answer_stream,
    complete_answer, request_headers,
};
use chunk::{ChunkOutput, ChunkReader};
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
        let mut body = self
            .negotiation
            .send(&self.server, deadline, |left_out| {
                self.request(&question, left_out)
            })
            .await?;
        if body.is_event_stream() {
            return Ok(answer_stream(ChatCompletionAnswer {
                events: SseStream::new(body),
                reader: ChunkReader::default(),
                ended: false,
            }));
        }
        let whole = body.read_all().await?;
        let text = read_complete(&whole)?.ok_or_else(|| body.unexpected_content())?;
        Ok(complete_answer(vec![AnswerPart::Text(text)]))
    }

    fn needs_history(&self) -> bool {
        true
    }
}

/// An answer that did not call itself server-sent events: one JSON object, or events all the same. `None`: neither.
fn read_complete(body: &[u8]) -> Result<Option<String>, AssistantError> {
    let mut reader = ChunkReader::default();
    let mut text = String::new();
    if body.trim_ascii_start().starts_with(b"{") {
        let Ok(object) = std::str::from_utf8(body) else {
            return Ok(None);
        };
        match reader.read_event(object)? {
            ChunkOutput::Text(t) => text = t,
            ChunkOutput::Nothing | ChunkOutput::Done => {}
        }
    } else {
        let mut decoder = SseDecoder::default();
        decoder.push(body);
        while let Some(event) = decoder.next_event().or_else(|| decoder.last_event()) {
            match reader.read_event(&event)? {
                ChunkOutput::Text(t) => text.push_str(&t),
                ChunkOutput::Nothing => {}
                ChunkOutput::Done => break,
            }
        }
    }
    if !reader.has_chunks() {
        return Ok(None);
    }
    text.extend(reader.finish()?);
    Ok(Some(text))
}

/// An answer that comes as server-sent events.
struct ChatCompletionAnswer {
    events: SseStream,
    reader: ChunkReader,
    ended: bool,
}

impl AnswerReader for ChatCompletionAnswer {
    async fn next_part(&mut self) -> Result<Option<AnswerPart>, AssistantError> {
        while !self.ended {
            let output = match self.events.next().await? {
                Some(event) => self.reader.read_event(&event)?,
                None => ChunkOutput::Done,
            };
            match output {
                ChunkOutput::Text(text) => return Ok(Some(AnswerPart::Text(text))),
                ChunkOutput::Nothing => {}
                ChunkOutput::Done => {
                    self.ended = true;
                    self.events.finish().await;
                    return Ok(self.reader.finish()?.map(AnswerPart::Text));
                }
            }
        }
        Ok(None)
    }
}
