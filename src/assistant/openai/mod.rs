//! `OpenAI` Chat Completions with streaming: what `OpenAI`, vLLM, Ollama, `LiteLLM`, llama.cpp and most gateways speak.
//!
//! Source: the `OpenAI` API reference, "Chat"; where servers differ from it, the tolerant reading is in `chunk`.

mod chunk;
mod reasoning;
mod request;

use async_trait::async_trait;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Request};
use secrecy::SecretString;
use std::fmt;
use url::Url;

use super::build::{join_path, secret_header_value};
use super::http_client::AssistantServer;
use super::sse::{SseDecoder, SseStream};
use super::{
    AnswerPart, AnswerReader, AnswerStream, Assistant, AssistantError, BuildError, Question,
    answer_stream, complete_answer, request_headers,
};
use chunk::{ChunkOutput, ChunkReader};
use request::RequestPrefix;

/// A model behind Chat Completions. What every request has in common is made once.
pub(super) struct OpenAi {
    server: AssistantServer,
    url: Url,
    headers: HeaderMap,
    prefix: RequestPrefix,
}

impl fmt::Debug for OpenAi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OpenAi").field(&self.server).finish()
    }
}

impl OpenAi {
    pub(super) fn new(
        server: AssistantServer,
        url: &Url,
        key: Option<&SecretString>,
        model: &str,
        system_prompt: Option<&str>,
    ) -> Result<Self, BuildError> {
        let mut headers = HeaderMap::from_iter([
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (
                ACCEPT,
                HeaderValue::from_static("text/event-stream, application/json"),
            ),
        ]);
        if let Some(key) = key {
            headers.insert(AUTHORIZATION, secret_header_value("Bearer ", key)?);
        }
        let complete = url
            .path()
            .trim_end_matches('/')
            .ends_with("/chat/completions");
        Ok(Self {
            server,
            url: if complete {
                url.clone()
            } else {
                join_path(url, &["chat", "completions"])
            },
            headers,
            prefix: RequestPrefix::new(model, system_prompt),
        })
    }

    fn request(&self, question: &Question) -> Request {
        let mut request = Request::new(Method::POST, self.url.clone());
        let headers = request.headers_mut();
        headers.clone_from(&self.headers);
        request_headers::add_sender_headers(headers, question);
        *request.body_mut() = Some(self.prefix.body(question).into());
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
        let mut body = self.server.send(self.request(&question), deadline).await?;
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
