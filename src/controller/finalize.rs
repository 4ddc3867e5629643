//! The end of a connector: the finalizer while there is a webhook to withdraw, and what is cleared away when the connector is gone.
//!
//! A poller and what is kept in the store are this process's own and need no finalizer: the watch says that the object is gone. What went
//! while nobody watched is found by the [`orphan_gc`](super::orphan_gc).

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};

use super::connector_cache::WebhookDeletion;
use super::context::Context;
use super::reconcile::{ReconcileError, connector_ref_of, disconnect, kubernetes_error};
use super::reference_index::GuardedConnector;
use super::{patches, resolve};
use crate::api::{FINALIZER, SKIP_DISCONNECT_ANNOTATION, TelegramConnector};
use crate::connection::ConnectionSettings;
use crate::identity::ConnectorRef;
use crate::observation::ConnectionFact;
use crate::telegram::Bot;

/// How long a deletion tries to withdraw a webhook.
const DELETE_WEBHOOK_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a deletion insists on ending the sessions, counted from the deletion.
const DELETE_DATA_TIMEOUT_SECONDS: i64 = 20;

/// Sets the finalizer before a webhook is registered. In polling mode it is none of ours, and one that is left from webhook mode goes with
/// the first poll that completes: Telegram answers none while a webhook is registered.
///
/// # Errors
/// The API server's.
pub(super) async fn ensure_finalizer(
    connector: &TelegramConnector,
    connector_ref: &ConnectorRef,
    ctx: &Context,
) -> Result<(), ReconcileError> {
    let present = ctx
        .connector_cache
        .with_entry(&connector_ref.uid, |m| m.has_finalizer(&connector.metadata));
    let wanted = match ctx.settings.connection {
        ConnectionSettings::Webhook(_) => present || !connector.spec.is_suspended(),
        ConnectionSettings::Polling => {
            let polled = matches!(
                ctx.observations.facts(&connector_ref.uid).connection,
                Some(ConnectionFact::PollCompleted(_))
            );
            present && !polled
        }
    };
    if wanted == present {
        return Ok(());
    }
    let version =
        patches::set_finalizer::<TelegramConnector>(&ctx.client, &connector.metadata, wanted)
            .await
            .map_err(kubernetes_error("writing the finalizer"))?;
    ctx.connector_cache.with_entry(&connector_ref.uid, |m| {
        m.written_finalizer = version.map(|v| (v, wanted));
    });
    Ok(())
}

/// Lets a deleted connector go: disconnect, end its sessions, take the finalizer off. Ends within 30 s whatever is broken.
pub(super) async fn cleanup(
    object: &GuardedConnector,
    connector_ref: &ConnectorRef,
    ctx: &Context,
) -> Result<Action, ReconcileError> {
    let bot = ctx
        .connector_cache
        .with_entry(&connector_ref.uid, |m| m.bot.clone());
    disconnect(connector_ref, ctx).await;
    if !ctx.is_leader() || !object.finalizers().iter().any(|f| f == FINALIZER) {
        return Ok(Action::await_change());
    }
    let skip_disconnect = object
        .annotations()
        .get(SKIP_DISCONNECT_ANNOTATION)
        .is_some_and(|v| v == "true");
    if !skip_disconnect {
        match ctx
            .connector_cache
            .with_entry(&connector_ref.uid, |m| m.webhook_deletion)
        {
            WebhookDeletion::Done => {}
            WebhookDeletion::Running => return Ok(Action::await_change()),
            WebhookDeletion::NotStarted => {
                let bot = match (bot, &object.0) {
                    (Some(bot), _) => Some(bot),
                    // Started after the deletion: the Secret may still be there.
                    (None, Ok(connector)) => resolve::resolve_token(connector, connector_ref, ctx)
                        .await
                        .ok()
                        .and_then(|(_, bot)| bot),
                    (None, Err(_)) => None,
                };
                if let Some(bot) = bot {
                    delete_webhook_and_requeue(connector_ref, bot, ctx);
                    return Ok(Action::await_change());
                }
            }
        }
    }
    delete_stored_data(object, connector_ref, ctx).await?;
    patches::set_finalizer::<TelegramConnector>(&ctx.client, object.meta(), false)
        .await
        .map_err(kubernetes_error("removing the finalizer"))?;
    tracing::info!(namespace = %connector_ref.namespace, connector = %connector_ref.name, "disconnected and let go");
    Ok(Action::await_change())
}

/// Withdraws the webhook of a bot that the connector gives up, beside everything else.
pub(super) fn delete_webhook_in_background(connector_ref: &ConnectorRef, bot: &Bot, ctx: &Context) {
    let (connections, connector_ref, bot) =
        (ctx.connections.clone(), connector_ref.clone(), bot.clone());
    tokio::spawn(async move {
        connections
            .delete_own_webhook(&connector_ref, &bot, DELETE_WEBHOOK_TIMEOUT)
            .await;
    });
}

/// Withdraws the webhook beside the reconcile, so that Telegram's silence holds nobody else up, and comes back.
fn delete_webhook_and_requeue(connector_ref: &ConnectorRef, bot: Bot, ctx: &Context) {
    ctx.connector_cache.with_entry(&connector_ref.uid, |m| {
        m.webhook_deletion = WebhookDeletion::Running;
    });
    let (connections, connector_cache, requeue, connector_ref) = (
        ctx.connections.clone(),
        ctx.connector_cache.clone(),
        ctx.requeue.clone(),
        connector_ref.clone(),
    );
    tokio::spawn(async move {
        connections
            .delete_own_webhook(&connector_ref, &bot, DELETE_WEBHOOK_TIMEOUT)
            .await;
        connector_cache.with_entry(&connector_ref.uid, |m| {
            m.webhook_deletion = WebhookDeletion::Done;
        });
        // The controller is gone only when the process ends.
        let _ = requeue.send(connector_ref.uid);
    });
}

/// Ends the sessions. A store that does not let itself be written is insisted on for a while only.
async fn delete_stored_data(
    object: &GuardedConnector,
    connector_ref: &ConnectorRef,
    ctx: &Context,
) -> Result<(), ReconcileError> {
    let deletion =
        tokio::time::timeout(Duration::from_secs(3), ctx.inbox.forget(&connector_ref.uid)).await;
    let error = match deletion {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => ReconcileError::Store(error),
        Err(_) => ReconcileError::StoreTimeout,
    };
    // The real time: the API server's clock stamped the deletion.
    let deleted_for = object
        .meta()
        .deletion_timestamp
        .as_ref()
        .map_or(0, |t| Timestamp::now().as_second() - t.0.as_second());
    if deleted_for < DELETE_DATA_TIMEOUT_SECONDS {
        return Err(error);
    }
    tracing::error!(namespace = %connector_ref.namespace, connector = %connector_ref.name, %error,
        "the connector goes; its sessions stay in the store until their retention ends");
    Ok(())
}

/// A connector is gone, with or without our finalizer: nothing of it stays. The lists that it referred to.
pub(super) fn on_deleted(object: &GuardedConnector, ctx: &Arc<Context>) -> Vec<(String, String)> {
    let connector_ref = connector_ref_of(object.meta());
    let lists = ctx.index.remove(&connector_ref.uid);
    ctx.secret_cache.retain(|namespace, name| {
        !ctx.index
            .connectors_using_secret(namespace, name)
            .is_empty()
    });
    let ctx = ctx.clone();
    tokio::spawn(async move {
        remove_state(&connector_ref, &ctx).await;
        if ctx.is_leader()
            && let Err(error) = ctx.inbox.forget(&connector_ref.uid).await
        {
            tracing::warn!(namespace = %connector_ref.namespace, connector = %connector_ref.name, %error,
                "sessions of a deleted connector stay until the next sweep");
        }
    });
    lists
}

/// Ends and forgets everything that this process has of a connector that is gone.
pub(super) async fn remove_state(connector_ref: &ConnectorRef, ctx: &Context) {
    disconnect(connector_ref, ctx).await;
    ctx.connector_cache.remove(&connector_ref.uid);
    ctx.observations.forget(&connector_ref.uid);
    ctx.update_reason_metrics();
}
