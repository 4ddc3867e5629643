//! The controller of connectors: their watch keeps the index of references, and each change that matters is reconciled.

use std::sync::Arc;

use futures::StreamExt;
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{Predicate, PredicateConfig, WatchStreamExt, predicates};
use kube::{Resource, ResourceExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::{UnboundedReceiverStream, WatchStream};

use super::cluster_user_lists::GuardedClusterUserList;
use super::connector_ref::connector_ref_of;
use super::context::{Context, GuardedUserList};
use super::error::ReconcileError;
use super::reference_index::GuardedConnector;
use super::watches::{watch, without_managed_fields};
use super::{cleanup, reconcile, status};
use crate::api::{SKIP_DISCONNECT_ANNOTATION, TelegramConnector};
use crate::identity::ConnectorUid;
use crate::telemetry::{Readiness, ReadinessCheck, WatchedResource};

/// How many connectors are reconciled at the same time. A reconcile waits for the API server only, never for Telegram.
const CONCURRENCY: u16 = 32;

/// Asks for reconciles of user lists.
pub(super) struct ListRequeues {
    /// Those of namespaces.
    pub(super) namespaced: mpsc::UnboundedSender<ObjectRef<GuardedUserList>>,
    /// Those of the cluster.
    pub(super) cluster: mpsc::UnboundedSender<ObjectRef<GuardedClusterUserList>>,
}

impl ListRequeues {
    /// `namespace` is "" for a list of the cluster.
    fn send(&self, namespace: &str, name: &str) {
        // The receivers are gone only when the process ends.
        match namespace {
            "" => drop(self.cluster.send(ObjectRef::new(name))),
            _ => drop(self.namespaced.send(ObjectRef::new(name).within(namespace))),
        }
    }
}

/// What of a connector makes a reconcile necessary. The status is not among it: see [`on_connector_event`].
fn reconcile_trigger<K: Resource>(object: &K) -> Option<u64> {
    let skip = |object: &K| {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        let meta = object.meta();
        meta.deletion_timestamp.is_some().hash(&mut hasher);
        object
            .annotations()
            .get(SKIP_DISCONNECT_ANNOTATION)
            .hash(&mut hasher);
        Some(hasher.finish())
    };
    predicates::generation::<K>
        .combine(predicates::finalizers::<K>)
        .combine(skip)
        .hash_property(object)
}

/// Runs until it is dropped.
pub(super) async fn run_connector_controller(
    ctx: Arc<Context>,
    readiness: Arc<Readiness>,
    changed_connectors: mpsc::UnboundedReceiver<ConnectorUid>,
    requeued: mpsc::UnboundedReceiver<ConnectorUid>,
    requeue_lists: ListRequeues,
) {
    let (reader, writer) = reflector::store::<GuardedConnector>();
    let events = watch::<GuardedConnector>(
        &ctx.client,
        &ctx.settings.watch_namespaces,
        WatchedResource::Connectors,
        without_managed_fields,
        &readiness,
    );
    let indexed = {
        let ctx = ctx.clone();
        reflector::reflector(writer, events.map(Ok)).inspect(
            move |event: &Result<_, watcher::Error>| {
                let Ok(event) = event else { return };
                if matches!(event, Event::InitDone) {
                    readiness.pass(ReadinessCheck::ConnectorsSynced);
                }
                for (namespace, name) in on_connector_event(event, &ctx) {
                    requeue_lists.send(&namespace, &name);
                }
            },
        )
    };
    let changed = indexed.applied_objects().predicate_filter(
        reconcile_trigger::<GuardedConnector>,
        PredicateConfig::default(),
    );
    let requeues = {
        let index = ctx.inputs.references.clone();
        futures::stream::select(
            UnboundedReceiverStream::new(changed_connectors),
            UnboundedReceiverStream::new(requeued),
        )
        .filter_map(move |uid| std::future::ready(index.object_ref(&uid)))
    };
    Controller::for_stream(changed, reader)
        .with_config(controller::Config::default().concurrency(CONCURRENCY))
        .reconcile_on(requeues)
        .reconcile_all_on(WatchStream::from_changes(ctx.leading.clone()).map(drop))
        .run(
            |object, ctx| Box::pin(reconcile::reconcile(object, ctx)),
            on_reconcile_error,
            ctx,
        )
        .for_each(|_| std::future::ready(()))
        .await;
}

/// Keeps caches and index, and reconciles a connector whose status somebody else wrote: a follower's registry follows the leader's. Returns the user lists (namespace and name) whose number of references may have changed.
fn on_connector_event(
    event: &Event<GuardedConnector>,
    ctx: &Arc<Context>,
) -> Vec<(String, String)> {
    match event {
        Event::Apply(object) | Event::InitApply(object) => {
            ctx.caches.statuses.on_watched(object.meta());
            let lists = ctx.inputs.references.set(object);
            if let Ok(connector) = &object.0
                && (ctx
                    .caches
                    .statuses
                    .is_altered(object.meta(), connector.status.as_ref())
                    || is_news_to_follower(connector, ctx))
            {
                ctx.requeue_objects(&[ObjectRef::from_obj(object)]);
            }
            lists
        }
        Event::Delete(object) => cleanup::on_deleted(object, ctx),
        Event::Init => Vec::new(),
        Event::InitDone => {
            let lists = ctx.inputs.user_lists.state();
            let names = lists
                .iter()
                .map(|l| (l.namespace().unwrap_or_default(), l.name_any()));
            let cluster_lists = ctx.inputs.cluster_lists.store.state();
            let cluster_names = cluster_lists.iter().map(|l| (String::new(), l.name_any()));
            names.chain(cluster_names).collect()
        }
    }
}

/// Whether the leader's status vouches for a connector that this follower does not publish, or no longer for one that it does.
fn is_news_to_follower(connector: &TelegramConnector, ctx: &Context) -> bool {
    let uid = connector_ref_of(connector.meta()).uid;
    let is_published = ctx.outputs.registry.get(&uid).is_some();
    let status = connector.status.as_ref();
    !ctx.is_leader()
        && !connector.spec.is_suspended()
        && is_published != status.is_some_and(status::vouches_for_token)
}

/// Retries a failed reconcile with the connector's own back-off.
fn on_reconcile_error(
    object: Arc<GuardedConnector>,
    error: &ReconcileError,
    ctx: Arc<Context>,
) -> Action {
    let connector_ref = connector_ref_of(object.meta());
    let wait = ctx.caches.backoffs.next_delay(connector_ref.uid.as_str());
    tracing::warn!(namespace = %connector_ref.namespace, connector = %connector_ref.name, %error, retry_in = ?wait, "failed to reconcile connector");
    Action::requeue(wait)
}
