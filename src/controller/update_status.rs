//! Writing down what was found: the status, if it says something new, and the events that go with it.

use std::time::Duration;

use kube::runtime::controller::Action;
use tokio::time::Instant;

use super::context::Context;
use super::reconcile::{ReconcileError, kubernetes_error};
use super::status::{self, AccessState, AssistantState, StatusInputs, TokenState};
use super::{events, patches, policies};
use crate::api::conditions::Reason;
use crate::api::{TelegramConnector, TelegramConnectorStatus};
use crate::connection::ConnectionSettings;
use crate::connection::webhook::webhook_url;
use crate::identity::ConnectorRef;
use crate::telegram::Bot;

/// How long a status may be missing something before it is written all the same.
const INCOMPLETE_STATUS_DELAY: Duration = Duration::from_secs(2);

/// Writes the status, if it says something new, and the events that go with it.
#[allow(clippy::too_many_arguments)]
pub(super) async fn update_status(
    connector: &TelegramConnector,
    connector_ref: &ConnectorRef,
    previous: Option<TelegramConnectorStatus>,
    token: &TokenState,
    access: &AccessState,
    assistant: &AssistantState,
    bot: Option<&Bot>,
    ctx: &Context,
) -> Result<Action, ReconcileError> {
    let mode = ctx.settings.connection.mode();
    for pending in ctx.observations.take_notices(&connector_ref.uid) {
        let event = events::notice_event(&pending.notice, mode, connector_ref);
        ctx.event_recorder.publish(connector_ref, &event).await;
    }
    let facts = ctx.observations.facts(&connector_ref.uid);
    let suspended = connector.spec.is_suspended();
    let connection_changed = ctx
        .connector_cache
        .with_entry(&connector_ref.uid, |m| m.connection_changed);
    let webhook_url = match (&ctx.settings.connection, token) {
        (
            ConnectionSettings::Webhook(webhook),
            TokenState::Given {
                duplicate_of: None, ..
            },
        ) if bot.is_some() && !suspended => {
            Some(webhook_url(&webhook.public_url, &connector_ref.uid).to_string())
        }
        _ => None,
    };
    let inputs = StatusInputs {
        generation: connector.metadata.generation.unwrap_or_default(),
        suspended,
        mode,
        webhook_url,
        token,
        access,
        assistant,
        session: policies::session_policy(&connector.spec).duration,
        facts: &facts,
        connection_changed,
        previous: previous.as_ref(),
        now: ctx.clock.now(),
    };
    if !inputs.is_complete() {
        let since = ctx.connector_cache.with_entry(&connector_ref.uid, |m| {
            *m.incomplete_since.get_or_insert_with(Instant::now)
        });
        let waited = since.elapsed();
        if waited < INCOMPLETE_STATUS_DELAY {
            return Ok(Action::requeue(
                INCOMPLETE_STATUS_DELAY.saturating_sub(waited),
            ));
        }
    }
    let status = inputs.status();
    let reason = status::ready_reason(&status);
    let reason_changed = ctx.connector_cache.with_entry(&connector_ref.uid, |m| {
        if inputs.is_complete() {
            m.incomplete_since = None;
        }
        std::mem::replace(&mut m.ready_reason, reason) != reason
    });
    if reason_changed {
        ctx.update_reason_metrics();
    }
    if previous
        .as_ref()
        .is_some_and(|p| status::is_same_status(p, &status))
    {
        return Ok(Action::await_change());
    }
    let version = apply_status_with_fallback(connector, previous.as_ref(), &status, ctx)
        .await
        .map_err(kubernetes_error("writing the status"))?;
    tracing::info!(namespace = %connector_ref.namespace, connector = %connector_ref.name, bot_id = ?bot.map(|b| b.id().0), reason = ?reason.map(Reason::as_str), "status written");
    ctx.connector_cache.with_entry(&connector_ref.uid, |m| {
        m.written_status = version.map(|v| (v, status.clone()));
        m.connection_changed = false;
        m.assistant_changed = false;
    });
    for event in events::transition_events(previous.as_ref(), &status) {
        ctx.event_recorder.publish(connector_ref, &event).await;
    }
    Ok(Action::await_change())
}

/// Applies the status. The object's `resourceVersion` after the write.
async fn apply_status_with_fallback(
    connector: &TelegramConnector,
    previous: Option<&TelegramConnectorStatus>,
    status: &TelegramConnectorStatus,
    ctx: &Context,
) -> Result<Option<String>, kube::Error> {
    let metadata = &connector.metadata;
    let applied = patches::apply_status::<TelegramConnector>(&ctx.client, metadata, status).await;
    match applied {
        Err(kube::Error::Api(refused)) if refused.code == 422 => {
            let vanished: Vec<&str> = [
                (
                    "bot",
                    previous.is_some_and(|p| p.bot.is_some()) && status.bot.is_none(),
                ),
                (
                    "webhook",
                    previous.is_some_and(|p| p.webhook.is_some()) && status.webhook.is_none(),
                ),
            ]
            .into_iter()
            .filter_map(|(field, vanished)| vanished.then_some(field))
            .collect();
            if vanished.is_empty() {
                return Err(kube::Error::Api(refused));
            }
            patches::remove_from_status::<TelegramConnector>(&ctx.client, metadata, &vanished)
                .await?;
            patches::apply_status::<TelegramConnector>(&ctx.client, metadata, status).await
        }
        applied => applied,
    }
}
