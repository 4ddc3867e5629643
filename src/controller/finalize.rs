//! The end of a connector: the finalizer while there is a webhook to withdraw, and what is cleared away when the connector is gone.
//!
//! A poller and what is kept in the store are this process's own and need no finalizer: the watch says that the object is gone. What went
//! while nobody watched is found by the [`sweep`](super::sweep).

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};

use super::context::Context;
use super::index::Guarded;
use super::memory::Disconnection;
use super::reconcile::{ReconcileError, doing, identify, rest};
use super::settings::ConnectionSettings;
use super::{resolve, writes};
use crate::api::{FINALIZER, SKIP_DISCONNECT_ANNOTATION, TelegramConnector};
use crate::identity::ConnectorRef;
use crate::observation::ConnectionFact;
use crate::telegram::Bot;

/// How long a deletion tries to withdraw a webhook.
const WITHDRAW_WITHIN: Duration = Duration::from_secs(15);
/// How long a deletion insists on ending the sessions, counted from the deletion.
const FORGET_WITHIN: i64 = 20;

/// Sets the finalizer before a webhook is registered. In polling mode it is none of ours, and one that is left from webhook mode goes with
/// the first poll that completes: Telegram answers none while a webhook is registered.
///
/// # Errors
/// The API server's.
pub(super) async fn keep_finalizer(
    connector: &TelegramConnector,
    me: &ConnectorRef,
    c: &Context,
) -> Result<(), ReconcileError> {
    let present = c
        .memories
        .with(&me.uid, |m| m.has_finalizer(&connector.metadata));
    let wanted = match c.settings.connection {
        ConnectionSettings::Webhook(_) => present || !connector.spec.is_suspended(),
        ConnectionSettings::Polling => {
            let polled = matches!(
                c.observations.facts(&me.uid).connection,
                Some(ConnectionFact::PollCompleted(_))
            );
            present && !polled
        }
    };
    if wanted == present {
        return Ok(());
    }
    let version =
        writes::set_finalizer::<TelegramConnector>(&c.client, &connector.metadata, wanted)
            .await
            .map_err(doing("writing the finalizer"))?;
    c.memories
        .with(&me.uid, |m| m.finalizer = version.map(|v| (v, wanted)));
    Ok(())
}

/// Lets a deleted connector go: disconnect, end its sessions, take the finalizer off. Ends within 30 s whatever is broken.
pub(super) async fn delete(
    object: &Guarded,
    me: &ConnectorRef,
    c: &Context,
) -> Result<Action, ReconcileError> {
    let bot = c.memories.with(&me.uid, |m| m.bot.clone());
    rest(me, c).await;
    if !c.leads() || !object.finalizers().iter().any(|f| f == FINALIZER) {
        return Ok(Action::await_change());
    }
    let skip = object
        .annotations()
        .get(SKIP_DISCONNECT_ANNOTATION)
        .is_some_and(|v| v == "true");
    if !skip {
        match c.memories.with(&me.uid, |m| m.disconnection) {
            Disconnection::Done => {}
            Disconnection::Running => return Ok(Action::await_change()),
            Disconnection::NotYet => {
                let bot = match (bot, &object.0) {
                    (Some(bot), _) => Some(bot),
                    // Started after the deletion: the Secret may still be there.
                    (None, Ok(connector)) => resolve::token(connector, me, c)
                        .await
                        .ok()
                        .and_then(|(_, bot)| bot),
                    (None, Err(_)) => None,
                };
                if let Some(bot) = bot {
                    disconnect(me, bot, c);
                    return Ok(Action::await_change());
                }
            }
        }
    }
    end_sessions(object, me, c).await?;
    writes::set_finalizer::<TelegramConnector>(&c.client, object.meta(), false)
        .await
        .map_err(doing("removing the finalizer"))?;
    tracing::info!(namespace = %me.namespace, connector = %me.name, "disconnected and let go");
    Ok(Action::await_change())
}

/// Withdraws the webhook of a bot that the connector gives up, beside everything else.
pub(super) fn withdraw_in_background(me: &ConnectorRef, bot: &Bot, c: &Context) {
    let (connections, me, bot) = (c.connections.clone(), me.clone(), bot.clone());
    tokio::spawn(async move {
        connections
            .delete_own_webhook(&me, &bot, WITHDRAW_WITHIN)
            .await;
    });
}

/// Withdraws the webhook beside the reconcile, so that Telegram's silence holds nobody else up, and comes back.
fn disconnect(me: &ConnectorRef, bot: Bot, c: &Context) {
    c.memories
        .with(&me.uid, |m| m.disconnection = Disconnection::Running);
    let (connections, memories, wake, me) = (
        c.connections.clone(),
        c.memories.clone(),
        c.wake.clone(),
        me.clone(),
    );
    tokio::spawn(async move {
        connections
            .delete_own_webhook(&me, &bot, WITHDRAW_WITHIN)
            .await;
        memories.with(&me.uid, |m| m.disconnection = Disconnection::Done);
        // The controller is gone only when the process ends.
        let _ = wake.send(me.uid);
    });
}

/// Ends the sessions. A store that does not let itself be written is insisted on for a while only.
async fn end_sessions(
    object: &Guarded,
    me: &ConnectorRef,
    c: &Context,
) -> Result<(), ReconcileError> {
    let forgotten = tokio::time::timeout(Duration::from_secs(3), c.inbox.forget(&me.uid)).await;
    let error = match forgotten {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => ReconcileError::Store(error),
        Err(_) => ReconcileError::StoreSilent,
    };
    // The real time: the API server's clock stamped the deletion.
    let deleted_for = object
        .meta()
        .deletion_timestamp
        .as_ref()
        .map_or(0, |t| Timestamp::now().as_second() - t.0.as_second());
    if deleted_for < FORGET_WITHIN {
        return Err(error);
    }
    tracing::error!(namespace = %me.namespace, connector = %me.name, %error,
        "the connector goes; its sessions stay in the store until their retention ends");
    Ok(())
}

/// A connector is gone, with or without our finalizer: nothing of it stays. The lists that it referred to.
pub(super) fn gone(object: &Guarded, c: &Arc<Context>) -> Vec<(String, String)> {
    let me = identify(object.meta());
    let lists = c.index.remove(&me.uid);
    c.secrets
        .retain(|namespace, name| !c.index.of_secret(namespace, name).is_empty());
    let c = c.clone();
    tokio::spawn(async move {
        clear(&me, &c).await;
        if c.leads()
            && let Err(error) = c.inbox.forget(&me.uid).await
        {
            tracing::warn!(namespace = %me.namespace, connector = %me.name, %error,
                "sessions of a deleted connector stay until the next sweep");
        }
    });
    lists
}

/// Ends and forgets everything that this process has of a connector that is gone.
pub(super) async fn clear(me: &ConnectorRef, c: &Context) {
    rest(me, c).await;
    c.memories.forget(&me.uid);
    c.observations.forget(&me.uid);
    c.count_reasons();
}
