//! `POST /v1/audio/speech`: Opus in Ogg that holds the words as text, so that a test reads what was said.

use bytes::Bytes;
use http::{HeaderMap, Response, header};
use serde::{Deserialize, Serialize};

use super::response::{Body, full_response};

/// A recorded request for speech.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct RecordedSpeech {
    /// `model`.
    pub model: String,
    /// `voice`.
    pub voice: String,
    /// `input`: what is to be said.
    pub input: String,
    /// `response_format`.
    pub response_format: String,
    /// The value of `Authorization`, if given; test keys are no secrets.
    #[serde(skip_deserializing)]
    pub authorization: Option<String>,
}

/// The first page of a file of Opus in Ogg.
const OPUS_PAGE: &[u8] = b"OggS\0\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x13OpusHead\x01\x01\x38\x01\x80\xbb\0\0\0\0\0";

impl RecordedSpeech {
    /// `None`: it is not what the API takes.
    pub(super) fn read(headers: &HeaderMap, body: &Bytes) -> Option<Self> {
        let request: Self = serde_json::from_slice(body).ok()?;
        let required = [&request.model, &request.voice, &request.input];
        if required.iter().any(|field| field.is_empty()) {
            return None;
        }
        let authorization = headers.get(header::AUTHORIZATION);
        let authorization = authorization.and_then(|value| value.to_str().ok());
        Some(Self {
            authorization: authorization.map(ToOwned::to_owned),
            ..request
        })
    }

    /// It is said in the only format that the double knows.
    pub(super) fn say(&self) -> Response<Body> {
        full_response(
            200,
            "audio/ogg",
            [OPUS_PAGE, self.input.as_bytes()].concat(),
        )
    }
}
