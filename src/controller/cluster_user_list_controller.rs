//! The controller of the cluster's user lists: their watch, their status, and, while one of them selects namespaces by label, the watch of namespaces.

use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::core::PartialObjectMeta;
use kube::runtime::controller::{self, Controller};
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{Predicate, PredicateConfig, WatchStreamExt, predicates};
use kube::{Resource, ResourceExt};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{UnboundedReceiverStream, WatchStream};

use super::cluster_user_lists::GuardedClusterUserList;
use super::context::Context;
use super::optional_watch::{Availability, OptionalWatch};
use super::user_list_controller::{on_list_error, status_hash};
use super::user_lists;
use super::watches::{merge, without_managed_fields};

/// How many lists are reconciled at the same time.
const CONCURRENCY: u16 = 4;

/// Runs until it is dropped.
pub(super) async fn run_cluster_user_list_controller(
    ctx: Arc<Context>,
    writer: reflector::store::Writer<GuardedClusterUserList>,
    requeued: mpsc::UnboundedReceiver<ObjectRef<GuardedClusterUserList>>,
) {
    let (selecting, is_selecting) = watch::channel(false);
    tokio::join!(
        control(ctx.clone(), writer, requeued, selecting),
        follow_availability(&ctx),
        watch_namespaces(&ctx, is_selecting),
    );
}

/// Reconciles the lists. `selecting` is told whether any of them selects namespaces by label.
async fn control(
    ctx: Arc<Context>,
    writer: reflector::store::Writer<GuardedClusterUserList>,
    requeued: mpsc::UnboundedReceiver<ObjectRef<GuardedClusterUserList>>,
    selecting: watch::Sender<bool>,
) {
    let lists = &ctx.inputs.cluster_lists;
    let reader = lists.store.clone();
    let references = ctx.inputs.references.clone();
    let source = OptionalWatch::<GuardedClusterUserList, _>::new(
        &ctx.client,
        lists.lists.clone(),
        move || references.has_cluster_lists(),
        !ctx.settings.watch_namespaces.is_empty(),
    );
    let events = merge(
        vec![source.into_stream().boxed()],
        without_managed_fields::<GuardedClusterUserList>,
    );
    let observed = {
        let ctx = ctx.clone();
        reflector::reflector(writer, events.map(Ok)).inspect(
            move |event: &Result<_, watcher::Error>| {
                let Ok(event) = event else { return };
                // Before a connector looks at the list: whether its labels have to be known.
                selecting.send_replace(ctx.inputs.cluster_lists.select_by_labels());
                on_list_event(event, &ctx);
            },
        )
    };
    let changed = observed.applied_objects().predicate_filter(
        predicates::generation::<GuardedClusterUserList>
            .combine(status_hash::<crate::api::ClusterTelegramUserList>),
        PredicateConfig::default(),
    );
    Controller::for_stream(changed, reader)
        .with_config(controller::Config::default().concurrency(CONCURRENCY))
        .reconcile_on(UnboundedReceiverStream::new(requeued))
        .reconcile_all_on(WatchStream::from_changes(ctx.leading.clone()).map(drop))
        .run(
            |list, ctx| Box::pin(user_lists::reconcile(list, ctx)),
            on_list_error,
            ctx,
        )
        .for_each(|_| std::future::ready(()))
        .await;
}

/// A list was seen or is gone: the connectors that refer to it, and no others, are reconciled.
fn on_list_event(event: &Event<GuardedClusterUserList>, ctx: &Context) {
    let list = match event {
        Event::Apply(list) | Event::InitApply(list) => {
            ctx.caches.list_statuses.on_watched(list.meta());
            list
        }
        Event::Delete(list) => {
            let uid = list.uid().unwrap_or_default();
            ctx.inputs.parsed_lists.remove("", &list.name_any());
            ctx.caches.list_statuses.remove(&uid);
            ctx.caches.backoffs.reset(&uid);
            list
        }
        Event::Init => return,
        Event::InitDone => {
            requeue_connectors(ctx, None);
            return;
        }
    };
    let references = &ctx.inputs.references;
    ctx.requeue_objects(&references.connectors_using_list("", &list.name_any()));
}

/// Reconciles the connectors of a namespace, or with `None` of all, that refer to lists of the cluster.
fn requeue_connectors(ctx: &Context, namespace: Option<&str>) {
    let references = &ctx.inputs.references;
    ctx.requeue_objects(&references.connectors_using_cluster_lists(namespace));
}

/// Whether lists and namespaces can be read is said by the connectors that refer to lists.
async fn follow_availability(ctx: &Context) {
    let mut lists = ctx.inputs.cluster_lists.lists.subscribe();
    let mut namespaces = ctx.inputs.cluster_lists.namespaces.subscribe();
    loop {
        let changed = tokio::select! {
            changed = lists.changed() => changed,
            changed = namespaces.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
        requeue_connectors(ctx, None);
    }
}

/// Watches namespaces while a list selects them by label, and only then.
async fn watch_namespaces(ctx: &Context, mut is_selecting: watch::Receiver<bool>) {
    let lists = &ctx.inputs.cluster_lists;
    while is_selecting.wait_for(|selecting| *selecting).await.is_ok() {
        tokio::select! {
            () = follow_namespaces(ctx) => {}
            _ = is_selecting.wait_for(|selecting| !*selecting) => {}
        }
        lists.namespaces.send_replace(Availability::Unknown);
        lists.labels.write().clear();
    }
}

async fn follow_namespaces(ctx: &Context) {
    let lists = &ctx.inputs.cluster_lists;
    let source = OptionalWatch::<PartialObjectMeta<Namespace>, _>::new(
        &ctx.client,
        lists.namespaces.clone(),
        || true,
        false,
    );
    let sources = vec![source.into_stream().boxed()];
    let mut events = std::pin::pin!(merge(sources, without_managed_fields));
    while let Some(event) = events.next().await {
        let (namespace, is_there) = match event {
            Event::Apply(namespace) | Event::InitApply(namespace) => (namespace, true),
            Event::Delete(namespace) => (namespace, false),
            Event::Init => continue,
            Event::InitDone => {
                requeue_connectors(ctx, None);
                continue;
            }
        };
        let name = namespace.name_any();
        let labels = namespace.metadata.labels.unwrap_or_default();
        let before = if is_there {
            lists.labels.write().insert(name.clone(), labels.clone())
        } else {
            lists.labels.write().remove(&name)
        };
        if !is_there || before.is_none_or(|before| before != labels) {
            requeue_connectors(ctx, Some(&name));
        }
    }
}
