//! The controller: watches, reconcile, status, events, leader election. The only module that calls the Kubernetes API.
//!
//! ```text
//! watches -> reference_index -> reconcile: dereference -> facts -> decide -> apply -> update_status
//!                                   ^                                 |
//!                                   +---------- observations <--------+
//! ```
//!
//! A reconcile waits for nobody: what Telegram says comes as an observation, later, and reconciles the connector again. What is done is decided
//! by a pure function ([`decide`]) of what was read and seen; what the status then says is another one ([`status`]).
//!
//! A Secret that changes ([`secret_watch`]) voids what was read of it and reconciles the connectors that refer to it; what another token, or none,
//! means for the connection and the webhook is decided like everything else.
//!
//! Several replicas on one store share the polling ([`shard_keeper`]); the leader, who writes the status, is told what the others see
//! ([`observation_sharing`]).

mod access;
mod apply;
mod assistant_factory;
mod bot_ownership;
mod build_cache;
mod cleanup;
mod cluster_user_list_controller;
mod cluster_user_lists;
mod connector_cache;
mod connector_controller;
mod connector_ref;
mod context;
mod crds;
mod decide;
mod dependencies;
mod dereference;
mod error;
mod events;
mod facts;
mod leader_election;
mod object_backoffs;
mod observation_sharing;
mod optional_watch;
mod orphan_gc;
mod patches;
mod plan;
mod policies;
mod provider_spec;
mod reconcile;
mod reference_index;
mod rights;
mod run;
mod secret_cache;
mod secret_key;
mod secret_watch;
mod settings;
mod shard_keeper;
mod sign_in;
mod status;
mod status_cache;
mod update_status;
mod user_list_controller;
mod user_lists;
mod user_set;
mod watch_source;
mod watches;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::identity::ConnectorUid;

pub use assistant_factory::{AssistantFactory, SharedAssistantFactory};
pub use dependencies::ControllerDependencies;
pub use rights::{DATA_API_SECRET, RIGHTS, Right, RightScope};
pub(crate) use secret_cache::SecretCache;
pub use settings::{ControllerSettings, DEFAULT_RECHECK_INTERVAL, LeaseSettings};
pub(crate) use status::SecretProblem;

/// The controller and all connections, running.
#[derive(Debug)]
pub struct Controller {
    stop: CancellationToken,
    task: JoinHandle<()>,
    leading: watch::Receiver<bool>,
}

impl Controller {
    /// Starts; `changed_connectors` is the other end of [`Observations::new`](crate::observation::Observations::new).
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
            tracing::error!(error = %e, "the controller task panicked");
        }
    }
}
