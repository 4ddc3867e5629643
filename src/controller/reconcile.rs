//! One reconcile of a connector, in five stages: dereference (reads), facts (one snapshot), decide (pure), apply (changes), update the status.
//! It never waits for Telegram or for a message: what Telegram says comes as an observation, which reconciles the connector again.

use std::sync::Arc;
use std::time::Duration;

use kube::Resource;
use kube::runtime::controller::Action;
use tokio::time::Instant;

use super::apply::apply;
use super::connector_ref::connector_ref_of;
use super::context::Context;
use super::decide::decide;
use super::dereference::dereference;
use super::error::ReconcileError;
use super::facts::Facts;
use super::reference_index::GuardedConnector;
use super::update_status::{publish_notices, update_status};
use super::watches::UNLISTED_RETRY;
use super::{access, cleanup};
use crate::api::connector::ListKind;
use crate::identity::ConnectorRef;
use crate::telemetry::WatchedResource;

/// Reconciles one connector, and counts and times it.
///
/// # Errors
/// [`ReconcileError`]; tried again with the object's back-off.
pub(super) async fn reconcile(
    object: Arc<GuardedConnector>,
    ctx: Arc<Context>,
) -> Result<Action, ReconcileError> {
    let started = Instant::now();
    let connector_ref = connector_ref_of(object.meta());
    let result = run_stages(&object, &connector_ref, &ctx).await;
    let label = match &result {
        Ok(_) => {
            ctx.caches.backoffs.reset(connector_ref.uid.as_str());
            "ok"
        }
        Err(error) => error.metric_label(),
    };
    ctx.metrics
        .record_reconcile("connector", label, started.elapsed());
    if ctx
        .inputs
        .references
        .object_ref(&connector_ref.uid)
        .is_none()
    {
        // The object went while this reconcile was under way; what it has made since must go too.
        cleanup::remove_state(&connector_ref, &ctx).await;
        return Ok(Action::await_change());
    }
    result
}

async fn run_stages(
    object: &GuardedConnector,
    connector_ref: &ConnectorRef,
    ctx: &Context,
) -> Result<Action, ReconcileError> {
    if ctx.caches.statuses.is_stale(object.meta()) {
        // The watch has gone on since this reconcile was scheduled; the newer object is in the store already.
        return Ok(Action::requeue(Duration::ZERO));
    }
    if waits_for_lists(object, connector_ref, ctx) {
        return Ok(Action::requeue(UNLISTED_RETRY));
    }
    log_unreadable(object, connector_ref, ctx);
    let role = ctx.role();
    let dereferenced = dereference(object, ctx).await?;
    let facts = Facts::take(object, &dereferenced, role, ctx);
    let plan = decide(object, &dereferenced, &facts, role);
    apply(&plan, object, ctx).await?;
    if plan.publish_notices {
        publish_notices(connector_ref, ctx).await;
    }
    let retry = update_status(&plan.status, object, ctx).await?;
    let requeue = plan.requeue.into_iter().chain(retry).min();
    Ok(requeue.map_or_else(Action::await_change, Action::requeue))
}

/// Whether the connector refers to user lists of a namespace, or of the cluster, whose lists were never listed: its users would be denied, and the status
/// would say that the lists do not exist.
fn waits_for_lists(object: &GuardedConnector, connector_ref: &ConnectorRef, ctx: &Context) -> bool {
    let watches = ctx.inputs.readiness.watches();
    object.meta().deletion_timestamp.is_none()
        && object.0.as_ref().is_ok_and(|connector| {
            let lists = access::referenced_lists(&connector.spec);
            lists.iter().any(|list| match list.kind() {
                ListKind::TelegramUserList => {
                    !watches.is_listed(WatchedResource::UserLists, &connector_ref.namespace)
                }
                ListKind::ClusterTelegramUserList => {
                    !ctx.inputs.cluster_lists.is_settled(&list.name)
                }
            })
        })
}

/// Logs an object that cannot be deserialized, once for each error.
fn log_unreadable(object: &GuardedConnector, connector_ref: &ConnectorRef, ctx: &Context) {
    let Err(unreadable) = &object.0 else { return };
    let error = &unreadable.error;
    let logged = ctx
        .caches
        .connectors
        .with_entry(&connector_ref.uid, |entry| {
            entry.logged_parse_error.replace(error.clone()).as_ref() == Some(error)
        });
    if !logged && object.meta().deletion_timestamp.is_none() {
        tracing::error!(namespace = %connector_ref.namespace, connector = %connector_ref.name, %error,
            "the connector cannot be read and stays disconnected; correct it and apply it again");
    }
}
