//! `spec.transcription`: who writes voice messages down.

use std::time::Duration;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::assistant::{is_http_url, no_user_info};
use super::{SecretKeyRef, seconds_or};

/// `spec.transcription.timeoutSeconds` when absent.
pub const DEFAULT_TRANSCRIPTION_SECONDS: u32 = 60;

/// A speech-to-text server that speaks OpenAI's audio API, as OpenAI, speaches, LocalAI, vLLM and LiteLLM offer it: POST
/// {url}/audio/transcriptions.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TranscriptionSpec {
    /// The API's root with the version: http or https, without user info, such as http://speaches.acme.svc:8000/v1.
    #[schemars(length(max = 2048))]
    #[x_kube(
        validation = is_http_url("http://speaches.acme.svc:8000/v1"),
        validation = no_user_info()
    )]
    pub url: String,
    /// The model to ask for, 1 to 256 characters, such as whisper-1.
    #[schemars(length(min = 1, max = 256))]
    pub model: String,
    /// The language that is spoken, as two or three letters of ISO 639. Absent: the model hears which it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 3), regex(pattern = r"^[a-z]{2,3}$"))]
    pub language: Option<String>,
    /// The Secret that holds the API key; its key is "api-key" unless named. Absent: requests carry no key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_secret_ref: Option<SecretKeyRef>,
    /// How long one transcription may take in seconds, 1 to 600. Default 60.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 600))]
    pub timeout_seconds: Option<i32>,
}

impl TranscriptionSpec {
    /// How long one transcription may take.
    pub fn timeout(&self) -> Duration {
        seconds_or(self.timeout_seconds, DEFAULT_TRANSCRIPTION_SECONDS)
    }
}
