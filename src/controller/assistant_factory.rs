//! The seam by which assistants and the services beside them are built, so that the controller knows neither their HTTP client nor its limits.

use std::sync::Arc;

use secrecy::SecretString;

use crate::api::connector::{AssistantSpec, ExtractSpec, SpeechSpec, TranscriptionSpec};
use crate::assistant::{Assistant, Credentials, Extractor, Speaker, Transcriber};
use crate::clock::SharedClock;
use crate::identity_provider::{IdentityProvider, ProviderConfig};

/// Builds what connectors name by URL, from its spec and what Secrets hold for it; an error says what is wrong and what to do.
pub trait AssistantFactory: Send + Sync {
    /// The assistant that answers.
    ///
    /// # Errors
    /// What is wrong with the spec.
    fn build_assistant(
        &self,
        spec: &AssistantSpec,
        credentials: Credentials,
    ) -> Result<Arc<dyn Assistant>, String>;

    /// The service that transcribes voice messages.
    ///
    /// # Errors
    /// What is wrong with the spec.
    fn build_transcriber(
        &self,
        spec: &TranscriptionSpec,
        key: Option<SecretString>,
    ) -> Result<Arc<Transcriber>, String>;

    /// The service that extracts the words of documents.
    ///
    /// # Errors
    /// What is wrong with the spec.
    fn build_extractor(
        &self,
        spec: &ExtractSpec,
        key: Option<SecretString>,
    ) -> Result<Arc<Extractor>, String>;

    /// The service that reads answers out.
    ///
    /// # Errors
    /// What is wrong with the spec.
    fn build_speaker(
        &self,
        spec: &SpeechSpec,
        key: Option<SecretString>,
    ) -> Result<Arc<Speaker>, String>;

    /// The provider with which people sign in. What is wrong with its spec shows when it is used.
    fn build_identity_provider(
        &self,
        config: ProviderConfig,
        clock: SharedClock,
    ) -> IdentityProvider;
}

/// A shared [`AssistantFactory`].
pub type SharedAssistantFactory = Arc<dyn AssistantFactory>;
