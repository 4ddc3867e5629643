//! The sample assistant as a connector has it: in each protocol, and its voice and ears.

use std::sync::Arc;

use telegram_connector_operator::api::connector::{
    AssistantProtocol, AssistantSpec, OpenAiSpec, SpeechOccasion, SpeechSpec, TranscriptionSpec,
};
use telegram_connector_operator::assistant::{
    self, AddressPolicy, Assistant, AssistantHttpClient, HttpLimits,
};
use telegram_connector_operator::registry::{OptionalService, Speech, Transcription};

use super::TestEnv;

impl TestEnv {
    pub(crate) fn openai(&self) -> Arc<dyn Assistant> {
        self.openai_within(60)
    }

    /// The same with `timeoutSeconds`.
    pub(crate) fn openai_within(&self, seconds: i32) -> Arc<dyn Assistant> {
        self.build_openai(seconds, None)
    }

    /// The same with an API key.
    pub(crate) fn openai_with_key(&self, key: &str) -> Arc<dyn Assistant> {
        self.build_openai(60, Some(key))
    }

    fn build_openai(&self, seconds: i32, key: Option<&str>) -> Arc<dyn Assistant> {
        let url = self.assistant.url();
        self.assistant_at(AssistantProtocol::OpenAI, url.as_str(), seconds, key)
    }

    /// An assistant of any protocol.
    #[allow(clippy::unused_self, reason = "stands beside those that need it")]
    pub(crate) fn assistant_at(
        &self,
        protocol: AssistantProtocol,
        url: &str,
        seconds: i32,
        key: Option<&str>,
    ) -> Arc<dyn Assistant> {
        let context = loopback_client();
        let spec = assistant_spec(protocol, url, seconds);
        assistant::build_assistant(&spec, key.map(Into::into), &context).unwrap()
    }

    /// A model that is told where it speaks.
    #[allow(dead_code, reason = "used by the conversations")]
    pub(crate) fn openai_with_chat_context(&self) -> Arc<dyn Assistant> {
        let url = self.assistant.url();
        let spec = AssistantSpec {
            open_ai: Some(OpenAiSpec {
                chat_context: Some(true),
                ..OpenAiSpec::default()
            }),
            ..assistant_spec(AssistantProtocol::OpenAI, url.as_str(), 60)
        };
        let context = loopback_client();
        assistant::build_assistant(&spec, None, &context).unwrap()
    }

    /// The sample assistant in the protocol Webhook.
    #[allow(dead_code, reason = "used by the conversations")]
    pub(crate) fn webhook(&self) -> Arc<dyn Assistant> {
        let url = self.assistant.webhook_url();
        self.assistant_at(AssistantProtocol::Webhook, url.as_str(), 60, None)
    }

    /// The sample assistant's voice.
    pub(crate) fn speech(&self, occasion: SpeechOccasion) -> Speech {
        let spec = SpeechSpec {
            url: self.assistant.url().to_string(),
            model: "tts-1".into(),
            voice: "alloy".into(),
            when: Some(occasion),
            api_key_secret_ref: None,
            timeout_seconds: Some(10),
        };
        let context = loopback_client();
        let key = Some("made-up-key".into());
        Speech {
            service: OptionalService::Ready(
                assistant::build_speaker(&spec, key, &context).unwrap(),
            ),
            occasion,
        }
    }

    /// The sample assistant's ears, which hear Italian.
    pub(crate) fn transcription(&self) -> Transcription {
        let spec = TranscriptionSpec {
            url: self.assistant.url().to_string(),
            model: "whisper-1".into(),
            language: Some("it".into()),
            api_key_secret_ref: None,
            timeout_seconds: Some(10),
        };
        let context = loopback_client();
        let key = Some("made-up-key".into());
        Transcription::Ready(assistant::build_transcriber(&spec, key, &context).unwrap())
    }
}

fn loopback_client() -> AssistantHttpClient {
    AssistantHttpClient::new(HttpLimits::default(), AddressPolicy::allowing_loopback()).unwrap()
}

fn assistant_spec(protocol: AssistantProtocol, url: &str, seconds: i32) -> AssistantSpec {
    AssistantSpec {
        protocol,
        url: url.into(),
        model: (protocol == AssistantProtocol::OpenAI).then(|| "sample".into()),
        system_prompt: None,
        assistant_id: (protocol == AssistantProtocol::Pupau).then(|| "bot-1".into()),
        api_key_secret_ref: None,
        api_key_header: None,
        headers: None,
        open_ai: None,
        timeout_seconds: Some(seconds),
    }
}
