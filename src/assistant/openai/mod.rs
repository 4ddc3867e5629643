//! `OpenAI` Chat Completions with streaming: what `OpenAI`, vLLM, Ollama, `LiteLLM`, llama.cpp and most gateways speak.
//!
//! Source: the `OpenAI` API reference, "Chat"; where servers differ from it, the tolerant reading is in `chunk`.

mod chunk;
mod request;
mod thinking;

use async_trait::async_trait;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Request};
use secrecy::SecretString;
use std::fmt;
use url::Url;

use super::build::{below, secret_value};
use super::events::{EventDecoder, Events};
use super::exchange::Peer;
use super::{
    AnswerPart, AnswerStream, Assistant, AssistantError, BuildError, Parts, Question, asker,
    stream_at_once, stream_of,
};
use chunk::{Reading, Step};
use request::Preamble;

/// A model behind Chat Completions. What every request has in common is made once.
pub(super) struct OpenAi {
    peer: Peer,
    url: Url,
    headers: HeaderMap,
    preamble: Preamble,
}

impl fmt::Debug for OpenAi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OpenAi").field(&self.peer).finish()
    }
}

impl OpenAi {
    pub(super) fn new(
        peer: Peer,
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
            headers.insert(AUTHORIZATION, secret_value("Bearer ", key)?);
        }
        let complete = url
            .path()
            .trim_end_matches('/')
            .ends_with("/chat/completions");
        Ok(Self {
            peer,
            url: if complete {
                url.clone()
            } else {
                below(url, &["chat", "completions"])
            },
            headers,
            preamble: Preamble::new(model, system_prompt),
        })
    }

    fn request(&self, question: &Question) -> Request {
        let mut request = Request::new(Method::POST, self.url.clone());
        let headers = request.headers_mut();
        headers.clone_from(&self.headers);
        asker::add_headers(headers, question);
        *request.body_mut() = Some(self.preamble.body(question).into());
        request
    }
}

#[async_trait]
impl Assistant for OpenAi {
    fn protocol(&self) -> &'static str {
        "OpenAI"
    }

    async fn ask(&self, question: Question) -> Result<AnswerStream, AssistantError> {
        let deadline = self.peer.deadline();
        let mut body = self.peer.send(self.request(&question), deadline).await?;
        if body.is_events() {
            return Ok(stream_of(Writing {
                events: Events::new(body),
                reading: Reading::default(),
                ended: false,
            }));
        }
        let whole = body.whole().await?;
        let text = read_whole(&whole)?.ok_or_else(|| body.not_understood())?;
        Ok(stream_at_once(vec![AnswerPart::Text(text)]))
    }

    fn wants_history(&self) -> bool {
        true
    }
}

/// An answer that did not call itself server-sent events: one JSON object, or events all the same. `None`: neither.
fn read_whole(body: &[u8]) -> Result<Option<String>, AssistantError> {
    let mut reading = Reading::default();
    let mut text = String::new();
    if body.trim_ascii_start().starts_with(b"{") {
        let Ok(object) = std::str::from_utf8(body) else {
            return Ok(None);
        };
        match reading.event(object)? {
            Step::Text(t) => text = t,
            Step::Nothing | Step::Done => {}
        }
    } else {
        let mut decoder = EventDecoder::default();
        decoder.push(body);
        while let Some(event) = decoder.next_event().or_else(|| decoder.last_event()) {
            match reading.event(&event)? {
                Step::Text(t) => text.push_str(&t),
                Step::Nothing => {}
                Step::Done => break,
            }
        }
    }
    if !reading.understood() {
        return Ok(None);
    }
    text.extend(reading.end()?);
    Ok(Some(text))
}

/// An answer that comes as server-sent events.
struct Writing {
    events: Events,
    reading: Reading,
    ended: bool,
}

impl Parts for Writing {
    async fn next_part(&mut self) -> Result<Option<AnswerPart>, AssistantError> {
        while !self.ended {
            let step = match self.events.next().await? {
                Some(event) => self.reading.event(&event)?,
                None => Step::Done,
            };
            match step {
                Step::Text(text) => return Ok(Some(AnswerPart::Text(text))),
                Step::Nothing => {}
                Step::Done => {
                    self.ended = true;
                    self.events.finish().await;
                    return Ok(self.reading.end()?.map(AnswerPart::Text));
                }
            }
        }
        Ok(None)
    }
}
