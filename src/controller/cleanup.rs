//! The end of a connector: the finalizer while there is a webhook to delete, and what is removed when the connector is gone.
//!
//! A poller and what is kept in the store are this process's own and need no finalizer: the watch says that the object is gone. What went
//! while no operator watched is found by [`orphan_gc`](super::orphan_gc).

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::Resource;

use super::connector_cache::WebhookDeletion;
use super::connector_ref::connector_ref_of;
use super::context::Context;
use super::error::ReconcileError;
use super::patches;
use super::plan::WebhookToDelete;
use super::reference_index::GuardedConnector;
use crate::api::TelegramConnector;
use crate::identity::ConnectorRef;

/// How long a webhook is tried to be deleted.
const DELETE_WEBHOOK_TIMEOUT: Duration = Duration::from_secs(15);
/// How long one try to delete stored data may take.
const DELETE_DATA_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a deletion insists on deleting stored data, in seconds from the deletion.
const DELETE_DATA_PATIENCE_SECONDS: i64 = 20;

/// Ends everything that runs for a connector in this process.
pub(super) async fn disconnect(connector_ref: &ConnectorRef, ctx: &Context) {
    let outputs = &ctx.outputs;
    outputs.registry.withdraw(&connector_ref.uid);
    outputs.connections.stop(&connector_ref.uid).await;
    ctx.requeue_all(outputs.ownership.release(&connector_ref.uid));
}

/// Deletes a webhook beside the reconcile, so that Telegram's silence holds nobody else up. A deletion that waits for it is reconciled
/// again afterwards.
pub(super) fn delete_webhook(
    connector_ref: &ConnectorRef,
    webhook: &WebhookToDelete,
    ctx: &Context,
) {
    let connections = ctx.outputs.connections.clone();
    let cache = ctx.caches.connectors.clone();
    let requeue = ctx.requeue.clone();
    let connector_ref = connector_ref.clone();
    let bot = webhook.bot.clone();
    let deletion_waits = webhook.deletion_waits;
    if deletion_waits {
        cache.with_entry(&connector_ref.uid, |entry| {
            entry.webhook_deletion = WebhookDeletion::Running;
        });
    }
    tokio::spawn(async move {
        connections
            .delete_own_webhook(&connector_ref, &bot, DELETE_WEBHOOK_TIMEOUT)
            .await;
        if deletion_waits {
            cache.with_entry(&connector_ref.uid, |entry| {
                entry.webhook_deletion = WebhookDeletion::Done;
            });
            // The receiver is gone only when the process ends.
            let _ = requeue.send(connector_ref.uid);
        }
    });
}

/// Deletes what the store holds of a deleted connector and removes the finalizer. Ends within 30 s of the deletion, whatever is broken.
///
/// # Errors
/// [`ReconcileError::DeleteData`], [`ReconcileError::DeleteDataTimeout`], [`ReconcileError::RemoveFinalizer`].
pub(super) async fn delete_data_and_release(
    object: &GuardedConnector,
    connector_ref: &ConnectorRef,
    ctx: &Context,
) -> Result<(), ReconcileError> {
    delete_data(object, connector_ref, ctx).await?;
    patches::set_finalizer::<TelegramConnector>(&ctx.client, object.meta(), false)
        .await
        .map_err(ReconcileError::RemoveFinalizer)?;
    tracing::info!(namespace = %connector_ref.namespace, connector = %connector_ref.name, "deleted connector is disconnected and released");
    Ok(())
}

/// Deletes stored data. A store that cannot be written is tried for a while only.
async fn delete_data(
    object: &GuardedConnector,
    connector_ref: &ConnectorRef,
    ctx: &Context,
) -> Result<(), ReconcileError> {
    let deletion = ctx.outputs.inbox.delete_connector_data(&connector_ref.uid);
    let error = match tokio::time::timeout(DELETE_DATA_TIMEOUT, deletion).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => ReconcileError::DeleteData(error),
        Err(_) => ReconcileError::DeleteDataTimeout,
    };
    // The real time and not the injected clock: the API server's clock stamped the deletion.
    let deleted_for = object
        .meta()
        .deletion_timestamp
        .as_ref()
        .map_or(0, |t| Timestamp::now().as_second() - t.0.as_second());
    if deleted_for < DELETE_DATA_PATIENCE_SECONDS {
        return Err(error);
    }
    tracing::error!(namespace = %connector_ref.namespace, connector = %connector_ref.name, %error,
        "failed to delete the data of a deleted connector; it is released all the same and its sessions stay until their retention ends");
    Ok(())
}

/// The watch says that a connector is gone, with or without our finalizer: nothing of it stays. Returns the user lists (namespace and name)
/// that it referred to.
pub(super) fn on_deleted(object: &GuardedConnector, ctx: &Arc<Context>) -> Vec<(String, String)> {
    let connector_ref = connector_ref_of(object.meta());
    let references = &ctx.inputs.references;
    let lists = references.remove(&connector_ref.uid);
    ctx.inputs.secrets.retain(|namespace, name| {
        !references
            .connectors_using_secret(namespace, name)
            .is_empty()
    });
    let ctx = ctx.clone();
    tokio::spawn(async move {
        remove_state(&connector_ref, &ctx).await;
        if ctx.is_leader()
            && let Err(error) = ctx
                .outputs
                .inbox
                .delete_connector_data(&connector_ref.uid)
                .await
        {
            tracing::warn!(namespace = %connector_ref.namespace, connector = %connector_ref.name, %error,
                "failed to delete the data of a deleted connector; the next orphan collection deletes it");
        }
    });
    lists
}

/// Ends and removes everything that this process has of a connector that is gone.
pub(super) async fn remove_state(connector_ref: &ConnectorRef, ctx: &Context) {
    disconnect(connector_ref, ctx).await;
    let uid = &connector_ref.uid;
    ctx.caches.connectors.remove(uid);
    ctx.caches.statuses.remove(uid.as_str());
    ctx.caches.assistants.remove(uid);
    ctx.caches.transcribers.remove(uid);
    ctx.caches.extractors.remove(uid);
    ctx.caches.speakers.remove(uid);
    ctx.caches.identity_providers.remove(uid);
    ctx.caches.backoffs.reset(uid.as_str());
    ctx.outputs.observations.remove(uid);
    if let Some(sharing) = &ctx.outputs.sharing {
        sharing.remove(uid);
    }
    ctx.update_reason_metrics();
}
