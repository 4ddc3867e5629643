//! The controller: watches, resolve, reconcile, finalize, status, events, leadership. The only room that calls the Kubernetes API.
//!
//! ```text
//! watches -> index -> reconcile -> registry, connections -> status -> events
//!                        ^                    |
//!                        +--- observations <--+
//! ```
//!
//! A reconcile waits for nobody: what Telegram says comes as an observation, later, and wakes the connector again. What the status then
//! says is a pure function ([`status`]) of the inputs, of what was seen, and of what was written before.

pub mod access;
mod bot_ownership;
mod connector_cache;
mod context;
mod events;
mod finalize;
mod leader_election;
mod orphan_gc;
mod patches;
mod policies;
mod reconcile;
mod reference_index;
mod resolve;
mod run;
mod secret_cache;
pub mod settings;
pub mod status;
mod transcription;
mod update_status;
mod user_lists;
mod watches;

use std::sync::Arc;

use kube::Client;
use secrecy::SecretString;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::api::connector::{AssistantSpec, TranscriptionSpec};
use crate::assistant::{Assistant, Transcriber};
use crate::clock::SharedClock;
use crate::identity::ConnectorUid;
use crate::observation::Observations;
use crate::registry::Registry;
use crate::store::Inbox;
use crate::telegram::TelegramApi;
use crate::telemetry::{Metrics, Readiness};

pub use settings::{ControllerSettings, DEFAULT_RECHECK_INTERVAL, LeaseSettings};

/// Builds what connectors name by URL, from its spec and its key; an error says what is wrong and what to do.
pub trait AssistantFactory: Send + Sync {
    /// Who answers.
    ///
    /// # Errors
    /// What is wrong with the spec.
    fn build_assistant(
        &self,
        spec: &AssistantSpec,
        key: Option<SecretString>,
    ) -> Result<Arc<dyn Assistant>, String>;

    /// Who writes voice messages down.
    ///
    /// # Errors
    /// What is wrong with the spec.
    fn build_transcriber(
        &self,
        spec: &TranscriptionSpec,
        key: Option<SecretString>,
    ) -> Result<Arc<Transcriber>, String>;
}

/// A shared [`AssistantFactory`].
pub type SharedAssistantFactory = Arc<dyn AssistantFactory>;

/// Everything the controller stands on.
#[derive(Clone)]
pub struct ControllerDependencies {
    /// The Kubernetes API: a cluster, or the embedded control plane.
    pub client: Client,
    /// Where resolved connectors go.
    pub registry: Arc<Registry>,
    /// What connections and pipeline see.
    pub observations: Arc<Observations>,
    /// Where updates go.
    pub inbox: Arc<dyn Inbox>,
    /// The Bot API.
    pub telegram: Arc<TelegramApi>,
    /// Who answers.
    pub assistants: SharedAssistantFactory,
    /// What the administrator set.
    pub settings: ControllerSettings,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What `/readyz` tells.
    pub readiness: Arc<Readiness>,
    /// The time.
    pub clock: SharedClock,
}

/// The controller and all connections, running.
#[derive(Debug)]
pub struct Controller {
    stop: CancellationToken,
    task: JoinHandle<()>,
    leading: watch::Receiver<bool>,
}

impl Controller {
    /// Starts; `changed_connectors` is the other end of [`Observations::new`].
    pub fn start(
        deps: ControllerDependencies,
        changed_connectors: mpsc::UnboundedReceiver<ConnectorUid>,
    ) -> Self {
        let stop = CancellationToken::new();
        let (leader_sender, leading) = watch::channel(false);
        let task = tokio::spawn(run::run(
            deps,
            changed_connectors,
            leader_sender,
            leading.clone(),
            stop.clone(),
        ));
        Self {
            stop,
            task,
            leading,
        }
    }

    /// Whether this process leads, now and as it changes.
    pub fn leading(&self) -> watch::Receiver<bool> {
        self.leading.clone()
    }

    /// Ends the pollers first, then gives the Lease back, then ends the watches. Webhooks stay registered.
    pub async fn shutdown(self) {
        self.stop.cancel();
        if let Err(e) = self.task.await {
            tracing::error!(error = %e, "the controller ended badly");
        }
    }
}
