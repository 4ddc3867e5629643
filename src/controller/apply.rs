//! Stage 4 of a reconcile: carries out a plan, in the order that keeps its promises. The finalizer is set before a webhook can be registered;
//! a connector handles messages only while its connection may; a deleted one loses its data before it loses its finalizer.

use std::time::Duration;

use kube::Resource;

use super::cleanup;
use super::connector_ref::connector_ref_of;
use super::context::Context;
use super::error::ReconcileError;
use super::patches;
use super::plan::{ConnectionPlan, FinalizerChange, Plan, RegistryPlan, SharePlan};
use super::reference_index::GuardedConnector;
use super::status_cache::WrittenValue;
use crate::api::TelegramConnector;
use crate::identity::ConnectorRef;

/// How long a reconcile waits for the store to take a name.
const REGISTER_TIMEOUT: Duration = Duration::from_secs(2);

/// Carries out everything in the plan but the status.
///
/// # Errors
/// [`ReconcileError`]; what was done before it stays done, and the next reconcile goes on from there.
pub(super) async fn apply(
    plan: &Plan,
    object: &GuardedConnector,
    ctx: &Context,
) -> Result<(), ReconcileError> {
    let connector_ref = connector_ref_of(object.meta());
    change_finalizer(plan.finalizer, object, &connector_ref, ctx).await?;
    ctx.caches
        .connectors
        .with_entry(&connector_ref.uid, |entry| {
            entry.connection_changed |= plan.connection_changed;
            if let Some(remembered) = &plan.remembered {
                entry.remembered = remembered.clone();
            }
        });
    if matches!(plan.registry, RegistryPlan::Withdraw) {
        ctx.outputs.registry.withdraw(&connector_ref.uid);
    }
    match &plan.connection {
        ConnectionPlan::Keep => {}
        ConnectionPlan::Elsewhere => ctx.outputs.connections.stop(&connector_ref.uid).await,
        ConnectionPlan::Disconnect => cleanup::disconnect(&connector_ref, ctx).await,
        ConnectionPlan::Ensure { bot, profile, goal } => {
            ctx.outputs
                .connections
                .ensure(&connector_ref, bot, profile.as_ref(), *goal)
                .await;
        }
    }
    share_observations(&plan.shared, &connector_ref, ctx);
    if let RegistryPlan::Publish(resolved) = &plan.registry {
        register(&connector_ref, ctx).await;
        ctx.outputs.registry.publish(resolved.clone());
    }
    if let Some(webhook) = &plan.webhook_to_delete {
        cleanup::delete_webhook(&connector_ref, webhook, ctx);
    }
    if plan.delete_data {
        cleanup::delete_data_and_release(object, &connector_ref, ctx).await?;
    }
    Ok(())
}

fn share_observations(shared: &SharePlan, connector_ref: &ConnectorRef, ctx: &Context) {
    let Some(sharing) = &ctx.outputs.sharing else {
        return;
    };
    let uid = &connector_ref.uid;
    match shared {
        SharePlan::Nothing => {}
        SharePlan::Disconnected => sharing.share_disconnected(uid),
        SharePlan::Facts(bot, generation, observed) => {
            sharing.share(uid, bot, *generation, observed);
        }
    }
}

/// Makes the connector's name known to the store before its first message. A store that fails learns it with the first claim.
async fn register(connector_ref: &ConnectorRef, ctx: &Context) {
    if ctx.outputs.registry.get(&connector_ref.uid).is_some() {
        return;
    }
    let registering = ctx.outputs.inbox.register(connector_ref);
    match tokio::time::timeout(REGISTER_TIMEOUT, registering).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::debug!(namespace = %connector_ref.namespace, connector = %connector_ref.name, %error,
                "failed to store the connector's name; retrying with its first message");
        }
        Err(_) => {
            tracing::debug!(namespace = %connector_ref.namespace, connector = %connector_ref.name,
                "timed out storing the connector's name; retrying with its first message");
        }
    }
}

async fn change_finalizer(
    change: FinalizerChange,
    object: &GuardedConnector,
    connector_ref: &ConnectorRef,
    ctx: &Context,
) -> Result<(), ReconcileError> {
    let wanted = match change {
        FinalizerChange::Keep => return Ok(()),
        FinalizerChange::Add => true,
        FinalizerChange::Remove => false,
    };
    let version = patches::set_finalizer::<TelegramConnector>(&ctx.client, object.meta(), wanted)
        .await
        .map_err(ReconcileError::WriteFinalizer)?;
    ctx.caches
        .connectors
        .with_entry(&connector_ref.uid, |entry| {
            entry.written_finalizer = version.map(|v| WrittenValue::new(v, wanted));
        });
    Ok(())
}
