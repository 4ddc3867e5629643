//! What the controller is started with.

use std::sync::Arc;

use kube::Client;

use super::assistant_factory::SharedAssistantFactory;
use super::settings::ControllerSettings;
use crate::clock::SharedClock;
use crate::observation::Observations;
use crate::registry::Registry;
use crate::store::Inbox;
use crate::telegram::TelegramApi;
use crate::telemetry::{Metrics, Readiness};

/// Everything that the controller needs of the process.
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
    /// Builds assistants and transcribers.
    pub assistants: SharedAssistantFactory,
    /// Whether there is a key for what a sign-in leaves in the store.
    pub can_seal: bool,
    /// What the administrator set.
    pub settings: ControllerSettings,
    /// The process's metrics.
    pub metrics: Arc<Metrics>,
    /// The state behind `/readyz`.
    pub readiness: Arc<Readiness>,
    /// The time.
    pub clock: SharedClock,
}
