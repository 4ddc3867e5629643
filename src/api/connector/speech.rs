//! `spec.speech`: who reads answers out, and which.

use std::time::Duration;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::assistant::{is_http_url, no_user_info};
use super::{SecretKeyRef, seconds_or};

/// `spec.speech.timeoutSeconds` when absent.
pub const DEFAULT_SPEECH_SECONDS: u32 = 60;

/// Spoken: answers to voice messages. Always: all answers. Default Spoken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum SpeechOccasion {
    /// Answers to voice messages.
    #[default]
    Spoken,
    /// All answers.
    Always,
}

/// A text-to-speech server that speaks OpenAI's audio API, as OpenAI, speaches, LocalAI, Kokoro-FastAPI and LiteLLM offer it: POST
/// {url}/audio/speech. It must know Opus.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpeechSpec {
    /// The API's root with the version: http or https, without user info, such as http://speaches.acme.svc:8000/v1.
    #[schemars(length(max = 2048))]
    #[x_kube(
        validation = is_http_url("http://speaches.acme.svc:8000/v1"),
        validation = no_user_info()
    )]
    pub url: String,
    /// The model to ask for, 1 to 256 characters, such as tts-1.
    #[schemars(length(min = 1, max = 256))]
    pub model: String,
    /// The voice, 1 to 256 characters, such as alloy. Which there are the model says.
    #[schemars(length(min = 1, max = 256))]
    pub voice: String,
    /// Which answers are read out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<SpeechOccasion>,
    /// The Secret that holds the API key; its key is "api-key" unless named. Absent: requests carry no key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_secret_ref: Option<SecretKeyRef>,
    /// How long one answer may take to be read out in seconds, 1 to 600. After it the text goes out alone. Default 60.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 600))]
    pub timeout_seconds: Option<i32>,
}

impl SpeechSpec {
    /// Which answers are read out.
    pub fn occasion(&self) -> SpeechOccasion {
        self.when.unwrap_or_default()
    }

    /// How long one answer may take.
    pub fn timeout(&self) -> Duration {
        seconds_or(self.timeout_seconds, DEFAULT_SPEECH_SECONDS)
    }
}
