//! What every reconcile stands on.

use std::sync::Arc;

use kube::Client;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::{ObjectRef, Store};
use tokio::sync::{mpsc, watch};

use super::SharedAssistantFactory;
use super::access::UserListCache;
use super::bot_ownership::BotOwnership;
use super::connector_cache::ConnectorCache;
use super::events::EventRecorder;
use super::reference_index::ReferenceIndex;
use super::secret_cache::SecretCache;
use super::settings::ControllerSettings;
use super::user_lists::UserListStatusCache;
use crate::api::TelegramUserList;
use crate::api::conditions::Reason;
use crate::clock::SharedClock;
use crate::connection::BotConnections;
use crate::identity::ConnectorUid;
use crate::observation::Observations;
use crate::registry::Registry;
use crate::store::Inbox;
use crate::telegram::TelegramApi;
use crate::telemetry::Metrics;

/// A list as the watch gives it.
pub(super) type GuardedUserList = DeserializeGuard<TelegramUserList>;

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
    pub(super) assistants: SharedAssistantFactory,
    /// What the administrator set.
    pub(super) settings: ControllerSettings,
    /// What is counted.
    pub(super) metrics: Arc<Metrics>,
    /// The time.
    pub(super) clock: SharedClock,
    /// The pollers and registrations.
    pub(super) connections: Arc<BotConnections>,
    /// Secrets, as far as somebody refers to them.
    pub(super) secret_cache: SecretCache,
    /// Who refers to what.
    pub(super) index: Arc<ReferenceIndex>,
    /// Who owns which bot.
    pub(super) bot_ownership: BotOwnership,
    /// Between two reconciles.
    pub(super) connector_cache: Arc<ConnectorCache>,
    /// Events.
    pub(super) event_recorder: EventRecorder,
    /// The lists.
    pub(super) user_lists: Store<GuardedUserList>,
    /// The lists, read.
    pub(super) user_list_cache: UserListCache,
    /// The lists' statuses.
    pub(super) list_status_cache: UserListStatusCache,
    /// Whether this process leads.
    pub(super) leading: watch::Receiver<bool>,
    /// Asks for a reconcile.
    pub(super) requeue: mpsc::UnboundedSender<ConnectorUid>,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").finish_non_exhaustive()
    }
}

impl Context {
    /// Whether this process leads now.
    pub(super) fn is_leader(&self) -> bool {
        *self.leading.borrow()
    }

    /// Asks for reconciles.
    pub(super) fn requeue_all(&self, connectors: Vec<ConnectorUid>) {
        for uid in connectors {
            // The controller is gone only when the process ends.
            let _ = self.requeue.send(uid);
        }
    }

    /// A list, if there is one.
    pub(super) fn user_list(&self, namespace: &str, name: &str) -> Option<Arc<GuardedUserList>> {
        self.user_lists.get(&ObjectRef::new(name).within(namespace))
    }

    /// Tells the metrics how many connectors have which reason.
    pub(super) fn update_reason_metrics(&self) {
        let counts = self.connector_cache.count_by_reason();
        for reason in Reason::ALL.iter().filter(|r| r.is_ready_reason()) {
            self.metrics.set_connectors_with_reason(
                reason.as_str(),
                counts.get(reason).copied().unwrap_or_default(),
            );
        }
    }
}
