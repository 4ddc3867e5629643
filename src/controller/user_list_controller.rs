//! The controller of user lists: a change of a list reconciles the connectors that refer to it, and its own status.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use futures::StreamExt;
use kube::core::DeserializeGuard;
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{Predicate, PredicateConfig, WatchStreamExt, predicates};
use kube::{Resource, ResourceExt};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{UnboundedReceiverStream, WatchStream};

use super::context::{Context, GuardedUserList};
use super::error::ReconcileError;
use super::user_lists::{self, SharedUserList};
use super::watches::{watch, without_managed_fields};
use crate::api::TelegramUserList;
use crate::telemetry::{Readiness, ReadinessCheck, WatchedResource};

/// How many lists are reconciled at the same time.
const CONCURRENCY: u16 = 4;

/// Runs until it is dropped; `synced` is told when all lists were listed.
pub(super) async fn run_user_list_controller(
    ctx: Arc<Context>,
    readiness: Arc<Readiness>,
    writer: reflector::store::Writer<GuardedUserList>,
    requeued: mpsc::UnboundedReceiver<ObjectRef<GuardedUserList>>,
    synced: watch::Sender<bool>,
) {
    let reader: Store<GuardedUserList> = ctx.inputs.user_lists.clone();
    let events = watch::<GuardedUserList>(
        &ctx.client,
        &ctx.settings.watch_namespaces,
        WatchedResource::UserLists,
        without_managed_fields,
        &readiness,
    );
    let observed = {
        let ctx = ctx.clone();
        reflector::reflector(writer, events.map(Ok)).inspect(
            move |event: &Result<_, watcher::Error>| {
                let Ok(event) = event else { return };
                if matches!(event, Event::InitDone) {
                    readiness.pass(ReadinessCheck::UserListsSynced);
                    synced.send_replace(true);
                }
                on_list_event(event, &ctx);
            },
        )
    };
    let changed = observed.applied_objects().predicate_filter(
        predicates::generation::<GuardedUserList>.combine(status_hash::<TelegramUserList>),
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

/// Retries a failed reconcile with the list's own back-off.
pub(super) fn on_list_error<L: SharedUserList>(
    list: Arc<DeserializeGuard<L>>,
    error: &ReconcileError,
    ctx: Arc<Context>,
) -> Action {
    let uid = list.uid().unwrap_or_default();
    let wait = ctx.caches.backoffs.next_delay(&uid);
    tracing::warn!(namespace = list.namespace(), list = %list.name_any(), %error, retry_in = ?wait, "failed to reconcile user list");
    Action::requeue(wait)
}

/// A status that somebody else wrote is reconciled. Our own is too, which costs no call.
pub(super) fn status_hash<L: SharedUserList>(list: &DeserializeGuard<L>) -> Option<u64> {
    let status = serde_json::to_string(&list.0.as_ref().ok()?.status()).ok()?;
    let mut hasher = DefaultHasher::new();
    status.hash(&mut hasher);
    Some(hasher.finish())
}

/// A list was seen or is gone: the connectors that refer to it, and no others, are reconciled.
fn on_list_event(event: &Event<GuardedUserList>, ctx: &Context) {
    let list = match event {
        Event::Apply(list) | Event::InitApply(list) => {
            ctx.caches.list_statuses.on_watched(list.meta());
            list
        }
        Event::Delete(list) => {
            let uid = list.uid().unwrap_or_default();
            let namespace = list.namespace().unwrap_or_default();
            ctx.inputs.parsed_lists.remove(&namespace, &list.name_any());
            ctx.caches.list_statuses.remove(&uid);
            ctx.caches.backoffs.reset(&uid);
            list
        }
        Event::Init | Event::InitDone => return,
    };
    let namespace = list.namespace().unwrap_or_default();
    let references = &ctx.inputs.references;
    ctx.requeue_objects(&references.connectors_using_list(&namespace, &list.name_any()));
}
