//! Reads answers out: `OpenAI`'s audio API (`POST {url}/audio/speech`), which speaches, `LocalAI`, Kokoro-FastAPI and `LiteLLM` speak as well. Under
//! the same guard and limits as assistants.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Request};
use secrecy::SecretString;
use serde::Serialize;
use url::Url;

use super::build::{join_path, parse_url, secret_header_value, trim_key};
use super::http_client::AssistantServer;
use super::{AssistantError, AssistantHttpClient, BuildError, request_headers};
use crate::api::connector::SpeechSpec;

/// The longest text that is read out, in characters: the API takes no more.
pub(crate) const MAX_SPOKEN_CHARS: usize = 4096;

/// A text-to-speech server.
pub struct Speaker {
    server: AssistantServer,
    url: Url,
    key: Option<HeaderValue>,
    model: String,
    voice: String,
}

impl fmt::Debug for Speaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Speaker").field(&self.server).finish()
    }
}

#[derive(Serialize)]
struct SpeechRequest<'a> {
    model: &'a str,
    voice: &'a str,
    input: &'a str,
    response_format: &'static str,
}

/// Builds the speaker of a connector. Sends nothing.
///
/// # Errors
/// A sentence that says what to change in the connector; no key in it.
pub fn build_speaker(
    spec: &SpeechSpec,
    api_key: Option<SecretString>,
    client: &AssistantHttpClient,
) -> Result<Arc<Speaker>, String> {
    let wrong = |e: BuildError| {
        match e {
        BuildError::InvalidUrl(why) => {
            format!("spec.speech.url is not an http(s) URL without user info: {why}")
        }
        BuildError::InvalidKey => "the API key holds characters that no HTTP header can carry; check the Secret of spec.speech.apiKeySecretRef".to_owned(),
        other => format!("spec.speech: {other}"),
    }
    };
    let root = parse_url(&spec.url).map_err(wrong)?;
    client
        .address_policy
        .check_url(&root)
        .map_err(|e| format!("spec.speech.url: {e}"))?;
    let is_complete = root.path().trim_end_matches('/').ends_with("/audio/speech");
    let key = api_key
        .map(|key| secret_header_value("Bearer ", &trim_key(key)))
        .transpose()
        .map_err(wrong)?;
    Ok(Arc::new(Speaker {
        server: AssistantServer::new(client, &root, spec.timeout()),
        url: if is_complete {
            root
        } else {
            join_path(&root, &["audio", "speech"])
        },
        key,
        model: spec.model.clone(),
        voice: spec.voice.clone(),
    }))
}

impl Speaker {
    /// A text as Opus in Ogg. Asked once: the user is waiting, and has the text without it. `idempotency_key` is the answer's identity.
    ///
    /// # Errors
    /// [`AssistantError`]; also where something else than Opus in Ogg comes.
    pub async fn speak(&self, text: &str, idempotency_key: &str) -> Result<Bytes, AssistantError> {
        let body = SpeechRequest {
            model: &self.model,
            voice: &self.voice,
            input: text,
            response_format: "opus",
        };
        let mut request = Request::new(Method::POST, self.url.clone());
        *request.body_mut() = Some(serde_json::to_vec(&body).expect("text is JSON").into());
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        request_headers::insert_idempotency_key(headers, idempotency_key);
        if let Some(key) = &self.key {
            headers.insert(AUTHORIZATION, key.clone());
        }
        let deadline = self.server.deadline();
        let mut body = self.server.send(request, deadline).await?;
        let speech = body.read_all().await?;
        if is_opus(&speech) {
            return Ok(speech);
        }
        Err(AssistantError::misconfigured(format!(
            "{} answered with {}, not with Opus in Ogg, which was asked for (response_format: opus); choose a model or a server that knows it",
            self.server.host,
            infer::get(&speech).map_or("something else", |found| found.mime_type()),
        )))
    }
}

/// Whether a file is Opus in Ogg (RFC 7845): its first page begins with that name.
pub(crate) fn is_opus(content: &[u8]) -> bool {
    let segments = content.get(26).copied().map_or(0, usize::from);
    let first = content.get(27 + segments..).unwrap_or_default();
    content.starts_with(b"OggS") && first.starts_with(b"OpusHead")
}
