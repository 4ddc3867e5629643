//! Who writes voice messages down: resolved beside the assistant, and never in the way of text. What is wrong with it is no condition:
//! a voice message that meets it gets a sentence, and an event says why.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use super::context::Context;
use super::reconcile::{ReconcileError, kubernetes_error};
use crate::api::TelegramConnector;
use crate::api::connector::{DEFAULT_API_KEY, TranscriptionSpec};
use crate::assistant::Transcriber;
use crate::identity::ConnectorRef;
use crate::registry::Transcription;

/// What was built, and from what: the same spec and key give the same connections.
#[derive(Debug, Clone)]
pub(super) struct CachedTranscriber {
    spec: TranscriptionSpec,
    key: Option<SecretString>,
    built: Result<Arc<Transcriber>, Arc<str>>,
}

impl CachedTranscriber {
    fn matches(&self, spec: &TranscriptionSpec, key: Option<&SecretString>) -> bool {
        self.spec == *spec
            && self.key.as_ref().map(ExposeSecret::expose_secret)
                == key.map(ExposeSecret::expose_secret)
    }
}

/// The connector's transcription.
///
/// # Errors
/// The API server could not be asked for the key.
pub(super) async fn resolve_transcription(
    connector: &TelegramConnector,
    connector_ref: &ConnectorRef,
    ctx: &Context,
) -> Result<Transcription, ReconcileError> {
    let Some(spec) = &connector.spec.transcription else {
        ctx.connector_cache
            .with_entry(&connector_ref.uid, |m| m.transcriber = None);
        return Ok(Transcription::None);
    };
    let key = match &spec.api_key_secret_ref {
        None => None,
        Some(reference) => {
            match ctx
                .secret_cache
                .get(&connector_ref.namespace, reference, DEFAULT_API_KEY)
                .await
                .map_err(kubernetes_error("reading the transcription key's Secret"))?
            {
                Ok(key) => Some(key),
                Err(problem) => {
                    let why = format!("spec.transcription.apiKeySecretRef: {}", problem.message());
                    return Ok(Transcription::Unavailable(why.into()));
                }
            }
        }
    };
    let built = ctx.connector_cache.with_entry(&connector_ref.uid, |m| {
        if let Some(known) = &m.transcriber
            && known.matches(spec, key.as_ref())
        {
            return known.built.clone();
        }
        let built = ctx
            .assistants
            .build_transcriber(spec, key.clone())
            .map_err(Into::into);
        m.transcriber = Some(CachedTranscriber {
            spec: spec.clone(),
            key,
            built: built.clone(),
        });
        built
    });
    Ok(match built {
        Ok(transcriber) => Transcription::Ready(transcriber),
        Err(why) => Transcription::Unavailable(why),
    })
}
