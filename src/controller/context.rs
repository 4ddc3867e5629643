//! Shared context of all reconciles, in three groups: what a reconcile reads, what it changes, and what it remembers.

use std::sync::Arc;

use kube::Client;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::{ObjectRef, Store};
use tokio::sync::{mpsc, watch};

use super::assistant_factory::SharedAssistantFactory;
use super::bot_ownership::BotOwnership;
use super::build_cache::BuildCache;
use super::cluster_user_lists::ClusterUserLists;
use super::connector_cache::ConnectorCache;
use super::events::EventRecorder;
use super::object_backoffs::ObjectBackoffs;
use super::observation_sharing::ObservationSharing;
use super::plan::Role;
use super::provider_spec::ProviderSpec;
use super::reference_index::{GuardedConnector, ReferenceIndex};
use super::secret_cache::SecretCache;
use super::settings::ControllerSettings;
use super::status_cache::StatusCache;
use super::user_set::UserListCache;
use crate::api::conditions::Reason;
use crate::api::connector::{
    AssistantSpec, ExtractSpec, SpeechSpec, TelegramConnectorStatus, TranscriptionSpec,
};
use crate::api::{TelegramUserList, TelegramUserListStatus};
use crate::assistant::{Assistant, Extractor, Speaker, Transcriber};
use crate::clock::SharedClock;
use crate::connection::BotConnections;
use crate::identity::{BotId, ConnectorUid};
use crate::identity_provider::IdentityProvider;
use crate::observation::Observations;
use crate::registry::Registry;
use crate::store::Inbox;
use crate::telegram::TelegramApi;
use crate::telemetry::{Metrics, Readiness};

/// A user list as the watch gives it.
pub(super) type GuardedUserList = DeserializeGuard<TelegramUserList>;

/// Shared by all reconciles.
pub(super) struct Context {
    /// The Kubernetes API.
    pub(super) client: Client,
    /// What the administrator set.
    pub(super) settings: ControllerSettings,
    /// The process's metrics.
    pub(super) metrics: Arc<Metrics>,
    /// The time of conditions that flip.
    pub(super) clock: SharedClock,
    /// Whether this process leads.
    pub(super) leading: watch::Receiver<bool>,
    /// Asks for a reconcile of a connector.
    pub(super) requeue: mpsc::UnboundedSender<ConnectorUid>,
    /// What a reconcile reads.
    pub(super) inputs: Inputs,
    /// What a reconcile changes.
    pub(super) outputs: Outputs,
    /// What is remembered between reconciles.
    pub(super) caches: Caches,
}

/// What a reconcile reads.
pub(super) struct Inputs {
    /// Secrets, as far as a connector refers to them.
    pub(super) secrets: SecretCache,
    /// The user lists by their watch.
    pub(super) user_lists: Store<GuardedUserList>,
    pub(super) cluster_lists: ClusterUserLists,
    pub(super) parsed_lists: UserListCache,
    /// Which connector refers to which Secret and list.
    pub(super) references: Arc<ReferenceIndex>,
    /// Builds assistants and transcribers.
    pub(super) factory: SharedAssistantFactory,
    /// Whether there is a key for what a sign-in leaves in the store.
    pub(super) can_seal: bool,
    /// The Bot API.
    pub(super) telegram: Arc<TelegramApi>,
    /// Which watches have shown everything once.
    pub(super) readiness: Arc<Readiness>,
}

/// What a reconcile changes.
pub(super) struct Outputs {
    /// The resolved connectors.
    pub(super) registry: Arc<Registry>,
    /// The pollers and webhook registrations.
    pub(super) connections: Arc<BotConnections>,
    /// What connections and pipeline see.
    pub(super) observations: Arc<Observations>,
    /// What other replicas see, where the polling is shared by shards; `None`: the leader connects all bots.
    pub(super) sharing: Option<Arc<ObservationSharing>>,
    /// The store, for what a deleted connector leaves.
    pub(super) inbox: Arc<dyn Inbox>,
    /// Kubernetes events.
    pub(super) events: EventRecorder,
    /// Which connector owns which bot.
    pub(super) ownership: BotOwnership,
}

/// What is remembered between reconciles. Lost at a restart.
#[derive(Default)]
pub(super) struct Caches {
    /// The connectors' statuses, until the watch shows them.
    pub(super) statuses: StatusCache<TelegramConnectorStatus>,
    /// The user lists' statuses, likewise.
    pub(super) list_statuses: StatusCache<TelegramUserListStatus>,
    /// One assistant per connector.
    pub(super) assistants: BuildCache<AssistantSpec, dyn Assistant>,
    /// One transcriber per connector.
    pub(super) transcribers: BuildCache<TranscriptionSpec, Transcriber>,
    /// One extractor per connector.
    pub(super) extractors: BuildCache<ExtractSpec, Extractor>,
    /// One speaker per connector.
    pub(super) speakers: BuildCache<SpeechSpec, Speaker>,
    /// One identity provider per connector.
    pub(super) identity_providers: BuildCache<ProviderSpec, IdentityProvider>,
    /// Failures in a row, for connectors and lists.
    pub(super) backoffs: ObjectBackoffs,
    /// The rest of what is remembered of a connector.
    pub(super) connectors: Arc<ConnectorCache>,
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

    /// This process's part in a reconcile that begins now.
    pub(super) fn role(&self) -> Role {
        if self.is_leader() {
            Role::Leader
        } else {
            Role::Follower
        }
    }

    /// Whether this process connects the bot: where shards are shared the one that holds the bot's, else the leader.
    pub(super) fn connects(&self, bot: BotId, role: Role) -> bool {
        match &self.outputs.sharing {
            Some(_) => self.outputs.connections.may_connect(bot),
            None => role == Role::Leader,
        }
    }

    /// Asks for reconciles.
    pub(super) fn requeue_all(&self, connectors: Vec<ConnectorUid>) {
        for uid in connectors {
            // The receiver is gone only when the process ends.
            let _ = self.requeue.send(uid);
        }
    }

    /// Asks for reconciles of these objects.
    pub(super) fn requeue_objects(&self, connectors: &[ObjectRef<GuardedConnector>]) {
        let uids = connectors.iter().filter_map(|c| c.extra.uid.as_deref());
        self.requeue_all(uids.map(ConnectorUid::from).collect());
    }

    /// Sets the metric that counts connectors by the reason of `Ready`.
    pub(super) fn update_reason_metrics(&self) {
        let counts = self.caches.connectors.count_by_reason();
        for reason in Reason::ALL.iter().filter(|r| r.is_ready_reason()) {
            self.metrics.set_connectors_with_reason(
                reason.as_str(),
                counts.get(reason).copied().unwrap_or_default(),
            );
        }
    }
}

impl Inputs {
    /// A user list, if there is one.
    pub(super) fn user_list(&self, namespace: &str, name: &str) -> Option<Arc<GuardedUserList>> {
        self.user_lists.get(&ObjectRef::new(name).within(namespace))
    }
}
