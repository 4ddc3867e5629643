//! The life of the controller: waits for the CRDs, starts the watches and both controllers, and ends them in the right order.

use std::sync::Arc;
use std::time::Duration;

use kube::runtime::reflector::{self, Store};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::bot_ownership::BotOwnership;
use super::cluster_user_list_controller::run_cluster_user_list_controller;
use super::cluster_user_lists::{ClusterUserLists, GuardedClusterUserList};
use super::connector_controller::{ListRequeues, run_connector_controller};
use super::context::{Caches, Context, GuardedUserList, Inputs, Outputs};
use super::crds::wait_for_crds;
use super::dependencies::ControllerDependencies;
use super::events::EventRecorder;
use super::leader_election::LeaderElector;
use super::observation_sharing::ObservationSharing;
use super::orphan_gc;
use super::reference_index::ReferenceIndex;
use super::secret_cache::SecretCache;
use super::secret_watch::watch_secrets;
use super::shard_keeper::ShardKeeper;
use super::user_list_controller::run_user_list_controller;
use super::user_set::UserListCache;
use crate::connection::{BotConnections, ConnectionSettings};
use crate::identity::ConnectorUid;
use crate::store::shards::ShardLeases;
use crate::telemetry::{Readiness, WatchedResource};

/// How long the first reconcile waits for the Secrets' watch; it needs none, but saves reading them twice.
const SECRETS_SYNC_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs until `stop`.
pub(super) async fn run(
    deps: ControllerDependencies,
    changed_connectors: mpsc::UnboundedReceiver<ConnectorUid>,
    leader_sender: watch::Sender<bool>,
    leading: watch::Receiver<bool>,
    stop: CancellationToken,
) {
    begin_watches(&deps);
    let ready = stop
        .run_until_cancelled(wait_for_crds(&deps.client, &deps.settings, &deps.readiness))
        .await;
    if ready.is_none() {
        return;
    }
    let readiness = deps.readiness.clone();
    let (user_lists, lists_writer) = reflector::store::<GuardedUserList>();
    let (cluster_lists, cluster_lists_writer) = reflector::store::<GuardedClusterUserList>();
    let (requeue, requeued) = mpsc::unbounded_channel();
    let (namespaced, requeued_lists) = mpsc::unbounded_channel();
    let (cluster, requeued_cluster_lists) = mpsc::unbounded_channel();
    let requeue_lists = ListRequeues {
        namespaced,
        cluster,
    };
    let context = new_context(deps, user_lists, cluster_lists, leading, requeue);
    // Ends after everything else, because the others are told by it whether they may.
    let roles = start_roles(&context, leader_sender, stop.clone());
    let (_secrets, secrets_are_synced) = start_secret_watch(&context, readiness.clone());
    // `Store::wait_until_ready` wakes only the one who asked last, and the lists' own controller asks it too.
    let (lists_synced, lists_are_synced) = watch::channel(false);
    let _lists = spawn(run_user_list_controller(
        context.clone(),
        readiness.clone(),
        lists_writer,
        requeued_lists,
        lists_synced,
    ));
    // Nothing waits for it: the cluster may not know the kind, and connectors that refer to one wait by themselves.
    let _cluster_lists = spawn(run_cluster_user_list_controller(
        context.clone(),
        cluster_lists_writer,
        requeued_cluster_lists,
    ));
    let _orphan_gc = spawn(orphan_gc::run(context.clone(), readiness.clone()));
    let connectors = async {
        if are_synced(lists_are_synced, secrets_are_synced).await {
            run_connector_controller(
                context.clone(),
                readiness,
                changed_connectors,
                requeued,
                requeue_lists,
            )
            .await;
        }
    };
    stop.run_until_cancelled(connectors).await;
    // Pollers end first, then the shards and the Lease go back.
    roles.await;
}

/// Watches the Secrets until the handle is dropped, and tells when all are known.
fn start_secret_watch(
    context: &Arc<Context>,
    readiness: Arc<Readiness>,
) -> (AbortOnDropHandle<()>, watch::Receiver<bool>) {
    let (synced, are_synced) = watch::channel(false);
    let task = watch_secrets(context.clone(), readiness, synced);
    (spawn(task), are_synced)
}

/// A task that ends with what comes back.
fn spawn(task: impl Future<Output = ()> + Send + 'static) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(task))
}

/// Waits for the lists, and for a while for the Secrets. Not if the lists' controller is gone.
async fn are_synced(mut lists: watch::Receiver<bool>, mut secrets: watch::Receiver<bool>) -> bool {
    // Without the lists everybody would be denied for a moment, and the status would say so.
    if lists.wait_for(|synced| *synced).await.is_err() {
        return false;
    }
    let _ = tokio::time::timeout(SECRETS_SYNC_TIMEOUT, secrets.wait_for(|s| *s)).await;
    true
}

/// The view of the cluster ages from here on, also while the CRDs are waited for.
fn begin_watches(deps: &ControllerDependencies) {
    let all = [String::new()];
    let namespaces = match &deps.settings.watch_namespaces[..] {
        [] => &all,
        some => some,
    };
    for resource in WatchedResource::ALL {
        for namespace in namespaces {
            deps.readiness.watches().begin(resource, namespace);
        }
    }
}

/// The context of all reconciles of this process.
fn new_context(
    deps: ControllerDependencies,
    user_lists: Store<GuardedUserList>,
    cluster_lists: Store<GuardedClusterUserList>,
    leading: watch::Receiver<bool>,
    requeue: mpsc::UnboundedSender<ConnectorUid>,
) -> Arc<Context> {
    let connections = Arc::new(BotConnections::new(
        deps.inbox.clone(),
        deps.observations.clone(),
        deps.metrics.clone(),
        deps.settings.connection.clone(),
        deps.settings.recheck_interval,
    ));
    let sharing = shard_leases(&deps).map(|leases| Arc::new(ObservationSharing::new(leases)));
    Arc::new(Context {
        inputs: Inputs {
            secrets: SecretCache::new(deps.client.clone(), deps.settings.require_secret_label),
            user_lists,
            cluster_lists: ClusterUserLists::new(cluster_lists),
            parsed_lists: UserListCache::default(),
            references: Arc::new(ReferenceIndex::default()),
            factory: deps.assistants,
            can_seal: deps.can_seal,
            telegram: deps.telegram,
            readiness: deps.readiness,
        },
        outputs: Outputs {
            registry: deps.registry,
            connections,
            observations: deps.observations,
            sharing,
            inbox: deps.inbox,
            events: EventRecorder::new(deps.client.clone(), &deps.settings.identity),
            ownership: BotOwnership::default(),
        },
        caches: Caches::default(),
        client: deps.client,
        settings: deps.settings,
        metrics: deps.metrics,
        clock: deps.clock,
        leading,
        requeue,
    })
}

/// The leases of shards, where the polling is shared: by several replicas, with a store that all of them reach. Webhooks need none.
fn shard_leases(deps: &ControllerDependencies) -> Option<Arc<dyn ShardLeases>> {
    let polls = matches!(deps.settings.connection, ConnectionSettings::Polling);
    let lease = deps.settings.leader_election.as_ref().filter(|_| polls)?;
    // Who may lead together also polls together.
    let fleet = format!("{}/{}", lease.namespace, lease.name);
    deps.inbox.shard_leases(&fleet)
}

/// Polls what the keeper says until `stop`, and nothing without it.
async fn keep_shards(
    keeper: ShardKeeper,
    connections: Arc<BotConnections>,
    stop: CancellationToken,
) {
    if let Err(error) = tokio::spawn(keeper.run(stop)).await {
        tracing::error!(%error, "the task that keeps the shards panicked: this process polls nothing until a restart");
        connections.close().await;
    }
}

/// Begins to share the polling, if it is shared. What comes back ends when `stop` did its work.
fn start_sharing(
    context: &Arc<Context>,
    stop: CancellationToken,
) -> impl Future<Output = ()> + use<> {
    let tasks = context.outputs.sharing.clone().map(|sharing| {
        let keeper = ShardKeeper::new(context.clone(), sharing.clone());
        let reader = sharing
            .clone()
            .run_reader(context.leading.clone(), context.requeue.clone());
        (
            tokio::spawn(keep_shards(
                keeper,
                context.outputs.connections.clone(),
                stop,
            )),
            AbortOnDropHandle::new(tokio::spawn(sharing.run_writer())),
            AbortOnDropHandle::new(tokio::spawn(reader)),
        )
    });
    async move {
        let Some((keeper, _writer, _reader)) = tasks else {
            return;
        };
        // What it has to report it has logged.
        let _ = keeper.await;
    }
}

/// Begins what says what this process does in the fleet: who leads, and who polls what. What comes back ends when `stop` did its work.
fn start_roles(
    context: &Arc<Context>,
    leader_sender: watch::Sender<bool>,
    stop: CancellationToken,
) -> impl Future<Output = ()> + use<> {
    let election = start_election(context, leader_sender, stop.clone());
    let shards = start_sharing(context, stop);
    async move {
        tokio::join!(election, shards);
    }
}

/// Begins the election, or leads from the start. What comes back ends when `stop` did its work.
fn start_election(
    context: &Arc<Context>,
    leader_sender: watch::Sender<bool>,
    stop: CancellationToken,
) -> impl Future<Output = ()> + use<> {
    let connections = context.outputs.connections.clone();
    let task = match context.settings.leader_election.clone() {
        Some(settings) => {
            let is_shared = context.outputs.sharing.is_some();
            let connections = Some(connections).filter(|_| !is_shared);
            let elector = LeaderElector::new(
                context.client.clone(),
                settings,
                &context.settings.identity,
                connections,
                context.metrics.clone(),
                leader_sender,
            );
            tokio::spawn(elector.run(stop))
        }
        None => {
            connections.open();
            context.metrics.set_leading(true);
            leader_sender.send_replace(true);
            tokio::spawn(async move {
                stop.cancelled().await;
                connections.close().await;
                leader_sender.send_replace(false);
            })
        }
    };
    async move {
        if let Err(error) = task.await {
            tracing::error!(%error, "the leader election task panicked");
        }
    }
}
