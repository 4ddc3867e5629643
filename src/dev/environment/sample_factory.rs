//! Leads assistants that run in a cluster to the sample assistant: on one machine there is no cluster network, and the quickstart's
//! own assistant is not started.

use std::sync::Arc;

use secrecy::SecretString;
use url::Url;

use crate::api::connector::{AssistantSpec, ExtractSpec, SpeechSpec, TranscriptionSpec};
use crate::assistant::{Assistant, Credentials, Extractor, Speaker, Transcriber};
use crate::clock::SharedClock;
use crate::controller::{AssistantFactory, SharedAssistantFactory};
use crate::dev::quickstart;
use crate::identity_provider::{IdentityProvider, ProviderConfig};

/// Builds assistants as the operator does, with the URLs of [`redirect_to_sample`].
pub(super) struct SampleAssistantFactory {
    pub(super) factory: SharedAssistantFactory,
    /// The root URL of the sample assistant.
    pub(super) sample: Url,
}

impl AssistantFactory for SampleAssistantFactory {
    fn build_assistant(
        &self,
        spec: &AssistantSpec,
        credentials: Credentials,
    ) -> Result<Arc<dyn Assistant>, String> {
        let url = redirect_to_sample(&spec.url, &self.sample);
        let spec = AssistantSpec {
            url,
            ..spec.clone()
        };
        self.factory.build_assistant(&spec, credentials)
    }

    fn build_transcriber(
        &self,
        spec: &TranscriptionSpec,
        key: Option<SecretString>,
    ) -> Result<Arc<Transcriber>, String> {
        let url = redirect_to_sample(&spec.url, &self.sample);
        let spec = TranscriptionSpec {
            url,
            ..spec.clone()
        };
        self.factory.build_transcriber(&spec, key)
    }

    fn build_extractor(
        &self,
        spec: &ExtractSpec,
        key: Option<SecretString>,
    ) -> Result<Arc<Extractor>, String> {
        let url = redirect_to_sample(&spec.url, &self.sample);
        let spec = ExtractSpec {
            url,
            ..spec.clone()
        };
        self.factory.build_extractor(&spec, key)
    }

    fn build_speaker(
        &self,
        spec: &SpeechSpec,
        key: Option<SecretString>,
    ) -> Result<Arc<Speaker>, String> {
        let url = redirect_to_sample(&spec.url, &self.sample);
        let spec = SpeechSpec {
            url,
            ..spec.clone()
        };
        self.factory.build_speaker(&spec, key)
    }

    fn build_identity_provider(
        &self,
        config: ProviderConfig,
        clock: SharedClock,
    ) -> IdentityProvider {
        self.factory.build_identity_provider(config, clock)
    }
}

/// The sample assistant's host and port for the quickstart's assistant and for every host below `.svc`; any other URL unchanged.
pub(crate) fn redirect_to_sample(configured: &str, sample: &Url) -> String {
    let Ok(mut url) = configured.parse::<Url>() else {
        return configured.to_owned();
    };
    let host = url.host_str().unwrap_or_default().to_owned();
    let quickstart = format!("{host}:{}", url.port_or_known_default().unwrap_or(0))
        == quickstart::ASSISTANT_ADDRESS;
    let in_cluster = host.trim_end_matches(".cluster.local").rsplit('.').next() == Some("svc");
    // Setting the host and port of an http URL cannot fail.
    if (quickstart || in_cluster)
        && url.set_scheme(sample.scheme()).is_ok()
        && url.set_host(sample.host_str()).is_ok()
        && url.set_port(sample.port()).is_ok()
    {
        return url.into();
    }
    configured.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url_used_for(url: &str) -> String {
        redirect_to_sample(url, &"http://127.0.0.1:4321/v1".parse().unwrap())
    }

    #[test]
    fn only_cluster_and_quickstart_urls_are_redirected_to_the_sample() {
        assert_eq!(
            url_used_for("http://127.0.0.1:8081/v1"),
            "http://127.0.0.1:4321/v1"
        );
        assert_eq!(
            url_used_for("http://agent.acme.svc:8080/v1"),
            "http://127.0.0.1:4321/v1"
        );
        assert_eq!(
            url_used_for("https://agent.acme.svc.cluster.local/v1"),
            "http://127.0.0.1:4321/v1"
        );
        assert_eq!(
            url_used_for("https://api.openai.com/v1"),
            "https://api.openai.com/v1"
        );
    }
}
