//! What every reconcile stands on.

use std::sync::Arc;

use kube::Client;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::{ObjectRef, Store};
use tokio::sync::{mpsc, watch};

use super::access::ReadLists;
use super::claims::Claims;
use super::events::Events;
use super::index::Index;
use super::memory::Memories;
use super::secrets::Secrets;
use super::settings::Settings;
use super::user_lists::WrittenLists;
use super::{AssistantFactory, status};
use crate::api::TelegramUserList;
use crate::clock::SharedClock;
use crate::connection::Connections;
use crate::identity::ConnectorUid;
use crate::observation::Observations;
use crate::registry::Registry;
use crate::store::Inbox;
use crate::telegram::TelegramApi;
use crate::telemetry::Metrics;

/// A list as the watch gives it.
pub type GuardedList = DeserializeGuard<TelegramUserList>;

/// Shared by all reconciles.
pub struct Context {
    /// The Kubernetes API.
    pub client: Client,
    /// Where resolved connectors go.
    pub registry: Arc<Registry>,
    /// What connections and pipeline see.
    pub observations: Arc<Observations>,
    /// Where sessions end.
    pub inbox: Arc<dyn Inbox>,
    /// The Bot API.
    pub telegram: Arc<TelegramApi>,
    /// Who answers.
    pub assistants: AssistantFactory,
    /// What the administrator set.
    pub settings: Settings,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The time.
    pub clock: SharedClock,
    /// The pollers and registrations.
    pub connections: Arc<Connections>,
    /// Secrets, as far as somebody refers to them.
    pub secrets: Secrets,
    /// Who refers to what.
    pub index: Arc<Index>,
    /// Who owns which bot.
    pub claims: Claims,
    /// Between two reconciles.
    pub memories: Arc<Memories>,
    /// Events.
    pub events: Events,
    /// The lists.
    pub lists: Store<GuardedList>,
    /// The lists, read.
    pub read_lists: ReadLists,
    /// The lists' statuses.
    pub written_lists: WrittenLists,
    /// Whether this process leads.
    pub leading: watch::Receiver<bool>,
    /// Asks for a reconcile.
    pub wake: mpsc::UnboundedSender<ConnectorUid>,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").finish_non_exhaustive()
    }
}

impl Context {
    /// Whether this process leads now.
    pub fn leads(&self) -> bool {
        *self.leading.borrow()
    }

    /// Asks for reconciles.
    pub fn wake_all(&self, connectors: Vec<ConnectorUid>) {
        for uid in connectors {
            // The controller is gone only when the process ends.
            let _ = self.wake.send(uid);
        }
    }

    /// A list, if there is one.
    pub fn list(&self, namespace: &str, name: &str) -> Option<Arc<GuardedList>> {
        self.lists.get(&ObjectRef::new(name).within(namespace))
    }

    /// Tells the metrics how many connectors have which reason.
    pub fn count_reasons(&self) {
        let counts = self.memories.reasons();
        for reason in status::READY_REASONS {
            self.metrics
                .connectors_with_reason(reason, counts.get(reason).copied().unwrap_or_default());
        }
    }
}
