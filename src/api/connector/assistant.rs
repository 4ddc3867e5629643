//! `spec.assistant`: the assistant behind an HTTP API.

use std::time::Duration;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::assistant_headers::{headers_leave_the_key_alone, names_differ};
use super::{ApiKeyHeader, AssistantHeader, DEFAULT_API_KEY, OpenAiSpec, SecretKeyRef, seconds_or};

/// `spec.assistant.timeoutSeconds` when absent.
pub const DEFAULT_TIMEOUT_SECONDS: u32 = 120;

/// What the assistant's HTTP API speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum AssistantProtocol {
    /// OpenAI Chat Completions with streaming.
    OpenAI,
    /// Agent2Agent v1.
    A2A,
    /// One signed JSON POST per message.
    Webhook,
    /// Pupau conversations.
    Pupau,
}

/// The assistant behind an HTTP API.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.protocol != 'OpenAI' || has(self.model)")
        .message("model is required for protocol OpenAI: name the model to ask for")
        .reason(Reason::FieldValueRequired)
        .field_path(".model"),
    validation = Rule::new("self.protocol == 'OpenAI' || !has(self.model)")
        .message("model belongs to protocol OpenAI only: remove it, or set protocol to OpenAI")
        .reason(Reason::FieldValueForbidden)
        .field_path(".model"),
    validation = Rule::new("self.protocol == 'OpenAI' || !has(self.systemPrompt)")
        .message("systemPrompt belongs to protocol OpenAI only: remove it, or set protocol to OpenAI")
        .reason(Reason::FieldValueForbidden)
        .field_path(".systemPrompt"),
    validation = Rule::new("self.protocol != 'Pupau' || has(self.assistantId)")
        .message("assistantId is required for protocol Pupau: name the assistant's id")
        .reason(Reason::FieldValueRequired)
        .field_path(".assistantId"),
    validation = Rule::new("self.protocol == 'Pupau' || !has(self.assistantId)")
        .message("assistantId belongs to protocol Pupau only: remove it, or set protocol to Pupau")
        .reason(Reason::FieldValueForbidden)
        .field_path(".assistantId"),
    validation = Rule::new("self.protocol == 'OpenAI' || !has(self.openAI)")
        .message("openAI belongs to protocol OpenAI only: remove it, or set protocol to OpenAI")
        .reason(Reason::FieldValueForbidden)
        .field_path(".openAI"),
    validation = Rule::new("self.protocol != 'Webhook' || !has(self.apiKeyHeader)")
        .message("apiKeyHeader belongs to the protocols whose key is sent, and Webhook's key signs requests: remove it")
        .reason(Reason::FieldValueForbidden)
        .field_path(".apiKeyHeader"),
    validation = headers_leave_the_key_alone()
)]
pub struct AssistantSpec {
    /// What the API speaks. OpenAI: Chat Completions with streaming, as OpenAI, Ollama, vLLM and LiteLLM offer it. A2A:
    /// Agent2Agent v1. Webhook: one signed JSON POST per message. Pupau: Pupau conversations.
    pub protocol: AssistantProtocol,
    /// The API's root: http or https, without user info. For OpenAI with the version, such as http://ollama.llm.svc:11434/v1.
    #[schemars(length(max = 2048))]
    #[x_kube(
        validation = is_http_url("http://assistant.acme.svc:8080/v1"),
        validation = no_user_info()
    )]
    pub url: String,
    /// The model to ask for, 1 to 256 characters. OpenAI only, and required there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub model: Option<String>,
    /// What the model is told before every conversation, at most 32768 characters. OpenAI only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32_768))]
    pub system_prompt: Option<String>,
    /// The assistant's id, 1 to 256 characters. Pupau only, and required there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub assistant_id: Option<String>,
    /// The Secret that holds the API key; its key is "api-key" unless named. Absent: requests carry no key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_secret_ref: Option<SecretKeyRef>,
    /// The header that carries the API key. Absent: Authorization with the prefix "Bearer "; api-key for Pupau and for Azure's hosts; for A2A what the
    /// agent card says. Not for Webhook, whose key signs requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_header: Option<ApiKeyHeader>,
    /// Headers that every request carries, at most 32, such as those that a gateway wants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = names_differ())]
    pub headers: Option<Vec<AssistantHeader>>,
    /// What requests hold beyond the conversation. OpenAI only.
    #[serde(rename = "openAI", default, skip_serializing_if = "Option::is_none")]
    pub open_ai: Option<OpenAiSpec>,
    /// How long one answer may take in seconds, 1 to 600. Default 120.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 600))]
    pub timeout_seconds: Option<i32>,
}

/// An http(s) URL with a host.
pub(super) fn is_http_url(example: &str) -> kube::core::Rule {
    let message = format!("url must be an http:// or https:// URL with a host, such as {example}");
    kube::core::Rule::new("self.matches('^(?i:https?)://[^ /?#]') && isURL(self)")
        .message(message.as_str())
}

/// A key in a URL would be in the manifest, in statuses and in logs.
pub(super) fn no_user_info() -> kube::core::Rule {
    kube::core::Rule::new("!self.matches('^[^/?#]*//[^/?#]*@')")
        .message("url must not hold user info (the part before @): put the key into a Secret and name it in apiKeySecretRef")
        .reason(kube::core::Reason::FieldValueForbidden)
}

impl AssistantSpec {
    /// How long one answer may take.
    pub fn timeout(&self) -> Duration {
        seconds_or(self.timeout_seconds, DEFAULT_TIMEOUT_SECONDS)
    }

    /// The Secret of the API key and the key in it, if the assistant has one.
    pub fn api_key(&self) -> Option<(&str, &str)> {
        self.api_key_secret_ref
            .as_ref()
            .map(|secret| (secret.name.as_str(), secret.key_or(DEFAULT_API_KEY)))
    }
}
