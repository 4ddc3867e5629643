//! `spec.files`: how documents that people send reach the assistant.

use std::time::Duration;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::assistant::{is_http_url, no_user_info};
use super::{SecretKeyRef, seconds_or};

/// `spec.files.extract.timeoutSeconds` when absent.
pub const DEFAULT_EXTRACTION_SECONDS: u32 = 60;
/// `spec.files.maxMegabytes` when absent.
const DEFAULT_MAX_MEGABYTES: i32 = 20;

/// How documents that people send reach the assistant: as their words, which somebody extracts, or as files. Absent: a document that is no text gets a
/// friendly sentence.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.extract) || !has(self.toAssistant) || !self.toAssistant")
        .message("a document reaches the assistant as words or as a file: remove extract, or toAssistant")
        .reason(Reason::FieldValueInvalid)
        .field_path(".toAssistant"),
    validation = Rule::new("!has(self.maxMegabytes) || has(self.extract) || (has(self.toAssistant) && self.toAssistant)")
        .message("maxMegabytes bounds the documents that are read: set extract or toAssistant, or remove maxMegabytes")
        .reason(Reason::FieldValueInvalid)
        .field_path(".maxMegabytes")
)]
pub struct FilesSpec {
    /// Who extracts the words of PDF and Office documents, so that any assistant can answer them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extract: Option<ExtractSpec>,
    /// True sends files that are neither text nor pictures to the assistant as they are: as file parts (OpenAI, A2A), or in the body (Webhook). Not for
    /// Pupau. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_assistant: Option<bool>,
    /// The biggest document that is read, in megabytes, 1 to 100. Telegram gives bots files of 20 MB at most, unless the Bot API server is your own.
    /// Default 20.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub max_megabytes: Option<i32>,
}

impl FilesSpec {
    /// The biggest document that is read, in bytes.
    pub fn max_bytes(&self) -> u64 {
        let megabytes = self.max_megabytes.unwrap_or(DEFAULT_MAX_MEGABYTES);
        // Telegram's 20 MB are binary ones.
        u64::try_from(megabytes).unwrap_or(0) << 20
    }
}

/// A server with the HTTP interface of Apache Tika: PUT {url}/tika.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExtractSpec {
    /// The server's root: http or https, without user info, such as http://tika.acme.svc:9998.
    #[schemars(length(max = 2048))]
    #[x_kube(
        validation = is_http_url("http://tika.acme.svc:9998"),
        validation = no_user_info()
    )]
    pub url: String,
    /// The Secret that holds the API key of a gateway before it, sent as Authorization: Bearer; its key is "api-key" unless named. Absent: requests
    /// carry no key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_secret_ref: Option<SecretKeyRef>,
    /// How long the extraction of one document may take in seconds, 1 to 600. Default 60.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 600))]
    pub timeout_seconds: Option<i32>,
}

impl ExtractSpec {
    /// How long the extraction of one document may take.
    pub fn timeout(&self) -> Duration {
        seconds_or(self.timeout_seconds, DEFAULT_EXTRACTION_SECONDS)
    }
}
