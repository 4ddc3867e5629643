//! Writes voice messages down: `OpenAI`'s audio API (`POST {url}/audio/transcriptions`), which speaches, `LocalAI`, vLLM, `LiteLLM`
//! and whisper.cpp's server speak as well. Under the same guard and limits as assistants.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::multipart::{Form, Part};
use secrecy::SecretString;
use serde_json::Value;
use tokio::time::Instant;
use url::Url;

use super::build::{join_path, parse_url, secret_header_value, trim_key};
use super::http_client::AssistantServer;
use super::service_retry::retry_within;
use super::{AssistantError, AssistantHttpClient, BuildError, request_headers};
use crate::api::connector::TranscriptionSpec;

/// Something spoken.
#[derive(Debug, Clone)]
pub struct Recording {
    /// A file name whose ending tells servers the format, such as `voice.ogg`.
    pub name: &'static str,
    /// For instance `audio/ogg`.
    pub media_type: &'static str,
    /// The file.
    pub bytes: Bytes,
}

/// A speech-to-text server.
pub struct Transcriber {
    server: AssistantServer,
    url: Url,
    key: Option<HeaderValue>,
    model: String,
    language: Option<String>,
}

impl fmt::Debug for Transcriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Transcriber").field(&self.server).finish()
    }
}

/// Builds the transcriber of a connector. Sends nothing.
///
/// # Errors
/// A sentence that says what to change in the connector; no key in it.
pub fn build_transcriber(
    spec: &TranscriptionSpec,
    api_key: Option<SecretString>,
    client: &AssistantHttpClient,
) -> Result<Arc<Transcriber>, String> {
    let wrong = |e: BuildError| {
        match e {
        BuildError::InvalidUrl(why) => {
            format!("spec.transcription.url is not an http(s) URL without user info: {why}")
        }
        BuildError::InvalidKey => "the API key holds characters that no HTTP header can carry; check the Secret of spec.transcription.apiKeySecretRef".to_owned(),
        other => format!("spec.transcription: {other}"),
    }
    };
    let root = parse_url(&spec.url).map_err(wrong)?;
    client
        .address_policy
        .check_url(&root)
        .map_err(|e| format!("spec.transcription.url: {e}"))?;
    let complete = root
        .path()
        .trim_end_matches('/')
        .ends_with("/audio/transcriptions");
    let key = api_key
        .map(|key| secret_header_value("Bearer ", &trim_key(key)))
        .transpose()
        .map_err(wrong)?;
    Ok(Arc::new(Transcriber {
        server: AssistantServer::new(client, &root, spec.timeout()),
        url: if complete {
            root
        } else {
            join_path(&root, &["audio", "transcriptions"])
        },
        key,
        model: spec.model.clone(),
        language: spec.language.clone(),
    }))
}

impl Transcriber {
    /// The words of a recording; empty where nothing was said. `idempotency_key` is the message's identity.
    ///
    /// # Errors
    /// [`AssistantError`], after what may pass was tried again within the time limit.
    pub async fn transcribe(
        &self,
        recording: &Recording,
        idempotency_key: &str,
    ) -> Result<String, AssistantError> {
        let deadline = self.server.deadline();
        retry_within(deadline, || {
            self.attempt(recording, idempotency_key, deadline)
        })
        .await
    }

    async fn attempt(
        &self,
        recording: &Recording,
        idempotency_key: &str,
        deadline: Instant,
    ) -> Result<String, AssistantError> {
        let length = recording.bytes.len() as u64;
        let file = Part::stream_with_length(recording.bytes.clone(), length)
            .file_name(recording.name)
            .mime_str(recording.media_type)
            .expect("our own constants are media types");
        let mut form = Form::new()
            .text("model", self.model.clone())
            .text("response_format", "json");
        if let Some(language) = &self.language {
            form = form.text("language", language.clone());
        }
        let mut request = self
            .server
            .client
            .http
            .post(self.url.clone())
            .multipart(form.part("file", file))
            .build()
            .map_err(|e| {
                AssistantError::from_reqwest(&e, &self.server.host, self.server.timeout)
            })?;
        let headers = request.headers_mut();
        request_headers::insert_idempotency_key(headers, idempotency_key);
        if let Some(key) = &self.key {
            headers.insert(AUTHORIZATION, key.clone());
        }
        let mut body = self.server.send(request, deadline).await?;
        let whole = body.read_all().await?;
        match serde_json::from_slice::<Value>(&whole) {
            Ok(answer) => match (&answer["text"], &answer["error"]) {
                (Value::String(text), _) => Ok(text.trim().to_owned()),
                (_, Value::Null) => Err(body.unexpected_content()),
                (_, error) => Err(AssistantError::from_error_object(error)),
            },
            // whisper.cpp's server can be set to answer with the words alone.
            Err(_) if body.content_type().starts_with("text/plain") => {
                Ok(String::from_utf8_lossy(&whole).trim().to_owned())
            }
            Err(_) => Err(body.unexpected_content()),
        }
    }
}
