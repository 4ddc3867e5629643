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
use crate::connection::BotConnections;
use crate::identity::ConnectorUid;
use crate::observation::Observations;
use crate::registry::Registry;
use crate::store::Inbox;
use crate::telegram::TelegramApi;
use crate::telemetry::Metrics;

/// A list as the watch gives it.
pub(super) type GuardedList = DeserializeGuard<TelegramUserList>;

/// Shared by all reconciles.
pub(super) struct Context {
    /// The Kubernetes API.
    pub(super) client: Client,
    /// Where resolved connectors go.
    pub(super) registry: Arc<Registry>,
    /// What connections and pipeline see.
    pub(super) observations: Arc<Observations>,
    /// Where sessions end.
    pub(super) inbox: Arc<dyn Inbox>,
    /// The Bot API.
    pub(super) telegram: Arc<TelegramApi>,
    /// Who answers.
    pub(super) assistants: AssistantFactory,
    /// What the administrator set.
    pub(super) settings: Settings,
    /// What is counted.
    pub(super) metrics: Arc<Metrics>,
    /// The time.
    pub(super) clock: SharedClock,
    /// The pollers and registrations.
    pub(super) connections: Arc<BotConnections>,
    /// Secrets, as far as somebody refers to them.
    pub(super) secrets: Secrets,
    /// Who refers to what.
    pub(super) index: Arc<Index>,
    /// Who owns which bot.
    pub(super) claims: Claims,
    /// Between two reconciles.
    pub(super) memories: Arc<Memories>,
    /// Events.
    pub(super) events: Events,
    /// The lists.
    pub(super) lists: Store<GuardedList>,
    /// The lists, read.
    pub(super) read_lists: ReadLists,
    /// The lists' statuses.
    pub(super) written_lists: WrittenLists,
    /// Whether this process leads.
    pub(super) leading: watch::Receiver<bool>,
    /// Asks for a reconcile.
    pub(super) wake: mpsc::UnboundedSender<ConnectorUid>,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").finish_non_exhaustive()
    }
}

impl Context {
    /// Whether this process leads now.
    pub(super) fn leads(&self) -> bool {
        *self.leading.borrow()
    }

    /// Asks for reconciles.
    pub(super) fn wake_all(&self, connectors: Vec<ConnectorUid>) {
        for uid in connectors {
            // The controller is gone only when the process ends.
            let _ = self.wake.send(uid);
        }
    }

    /// A list, if there is one.
    pub(super) fn list(&self, namespace: &str, name: &str) -> Option<Arc<GuardedList>> {
        self.lists.get(&ObjectRef::new(name).within(namespace))
    }

    /// Tells the metrics how many connectors have which reason.
    pub(super) fn count_reasons(&self) {
        let counts = self.memories.reasons();
        for reason in status::READY_REASONS {
            self.metrics.set_connectors_with_reason(
                reason,
                counts.get(reason).copied().unwrap_or_default(),
            );
        }
    }
}
