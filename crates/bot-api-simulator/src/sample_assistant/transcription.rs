//! `POST /v1/audio/transcriptions`: the transcript of a file is its bytes as text, so that a test chooses the words; of real audio the
//! transcript is its size in bytes.

use bytes::Bytes;
use http::{HeaderMap, header};
use serde::Serialize;

/// A recorded transcription request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct RecordedTranscription {
    /// `model`.
    pub model: String,
    /// `language`, if given.
    pub language: Option<String>,
    /// The file's name.
    pub file_name: String,
    /// The file's media type.
    pub media_type: String,
    /// The file's bytes.
    #[serde(skip)]
    pub bytes: Bytes,
    /// The value of `Authorization`, if given; test keys are no secrets.
    pub authorization: Option<String>,
    /// The value of `Idempotency-Key`.
    pub idempotency_key: Option<String>,
}

impl RecordedTranscription {
    /// Reads `multipart/form-data` (RFC 7578) as clients write it; `None` for another media type or without a file.
    pub(super) fn read(headers: &HeaderMap, body: &Bytes) -> Option<Self> {
        let text = |name: &header::HeaderName| {
            let value = headers.get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        let boundary = text(&header::CONTENT_TYPE)?
            .strip_prefix("multipart/form-data")?
            .split_once("boundary=")?
            .1
            .trim_matches('"')
            .to_owned();
        let mut recording = Self {
            authorization: text(&header::AUTHORIZATION),
            idempotency_key: text(&header::HeaderName::from_static("idempotency-key")),
            ..Self::default()
        };
        let delimiter = format!("--{boundary}");
        let mut has_file = false;
        for part in split(body, delimiter.as_bytes()) {
            let Some(at) = find(&part, b"\r\n\r\n") else {
                continue;
            };
            let head = String::from_utf8_lossy(&part[..at]).into_owned();
            let content = part.slice(at + 4..part.len().saturating_sub(2).max(at + 4));
            let value = || String::from_utf8_lossy(&content).into_owned();
            let named = |name: &str| head.contains(&format!("name=\"{name}\""));
            if named("model") {
                recording.model = value();
            } else if named("language") {
                recording.language = Some(value());
            } else if named("file") {
                has_file = true;
                recording.file_name = between(&head, "filename=\"", "\"");
                recording.media_type = between(&(head.clone() + "\r\n"), "Content-Type: ", "\r\n");
                recording.bytes = content;
            }
        }
        has_file.then_some(recording)
    }

    /// What it says.
    pub(super) fn words(&self) -> String {
        match std::str::from_utf8(&self.bytes) {
            Ok(text) if !text.contains('\0') => text.to_owned(),
            _ => format!("A recording of {} bytes.", self.bytes.len()),
        }
    }
}

fn find(within: &[u8], what: &[u8]) -> Option<usize> {
    within.windows(what.len()).position(|w| w == what)
}

fn split(body: &Bytes, delimiter: &[u8]) -> Vec<Bytes> {
    let mut parts = Vec::new();
    let mut rest = body.clone();
    while let Some(at) = find(&rest, delimiter) {
        parts.push(rest.slice(..at));
        rest = rest.slice(at + delimiter.len()..);
    }
    parts
}

fn between(text: &str, before: &str, after: &str) -> String {
    // Header names are written in any case.
    let lower = text.to_ascii_lowercase();
    lower
        .find(&before.to_ascii_lowercase())
        .map(|at| &text[at + before.len()..])
        .and_then(|rest| rest.split(after).next())
        .unwrap_or_default()
        .to_owned()
}
