//! Writing down what was found: the status, if it says something new, and the events that go with it.

use std::time::Duration;

use kube::runtime::controller::Action;
use tokio::time::Instant;

use super::context::Context;
use super::reconcile::{ReconcileError, doing};
use super::settings::ConnectionSettings;
use super::status::{self, AccessState, AssistantState, Inputs, TokenState};
use super::{events, spec, writes};
use crate::api::{TelegramConnector, TelegramConnectorStatus};
use crate::connection::webhook::webhook_url;
use crate::identity::ConnectorRef;
use crate::telegram::Bot;

/// How long a status may be missing something before it is written all the same.
const PATIENCE: Duration = Duration::from_secs(2);

/// Writes the status, if it says something new, and the events that go with it.
#[allow(clippy::too_many_arguments)]
pub(super) async fn write_down(
    connector: &TelegramConnector,
    me: &ConnectorRef,
    previous: Option<TelegramConnectorStatus>,
    token: &TokenState,
    access: &AccessState,
    assistant: &AssistantState,
    bot: Option<&Bot>,
    c: &Context,
) -> Result<Action, ReconcileError> {
    let mode = c.settings.connection.mode();
    for pending in c.observations.take_notices(&me.uid) {
        let happening = events::of_notice(&pending.notice, mode, me);
        c.events.publish(me, &happening).await;
    }
    let facts = c.observations.facts(&me.uid);
    let suspended = connector.spec.is_suspended();
    let connection_changed = c.memories.with(&me.uid, |m| m.connection_changed);
    let webhook_url = match (&c.settings.connection, token) {
        (
            ConnectionSettings::Webhook(webhook),
            TokenState::Given {
                duplicate_of: None, ..
            },
        ) if bot.is_some() && !suspended => {
            Some(webhook_url(&webhook.public_url, &me.uid).to_string())
        }
        _ => None,
    };
    let inputs = Inputs {
        generation: connector.metadata.generation.unwrap_or_default(),
        suspended,
        mode,
        webhook_url,
        token,
        access,
        assistant,
        session: spec::session(&connector.spec).duration,
        facts: &facts,
        connection_changed,
        previous: previous.as_ref(),
        now: c.clock.now(),
    };
    if !inputs.settled() {
        let since = c.memories.with(&me.uid, |m| {
            *m.unsettled_since.get_or_insert_with(Instant::now)
        });
        let waited = since.elapsed();
        if waited < PATIENCE {
            return Ok(Action::requeue(PATIENCE.saturating_sub(waited)));
        }
    }
    let status = inputs.status();
    let reason = status::ready_reason(&status);
    let counted = c.memories.with(&me.uid, |m| {
        if inputs.settled() {
            m.unsettled_since = None;
        }
        std::mem::replace(&mut m.ready_reason, reason) != reason
    });
    if counted {
        c.count_reasons();
    }
    if previous.as_ref().is_some_and(|p| status::same(p, &status)) {
        return Ok(Action::await_change());
    }
    let version = write(connector, previous.as_ref(), &status, c)
        .await
        .map_err(doing("writing the status"))?;
    tracing::info!(namespace = %me.namespace, connector = %me.name, bot_id = ?bot.map(|b| b.id().0), ?reason, "status written");
    c.memories.with(&me.uid, |m| {
        m.written = version.map(|v| (v, status.clone()));
        m.connection_changed = false;
        m.assistant_changed = false;
    });
    for happening in events::of_transition(previous.as_ref(), &status) {
        c.events.publish(me, &happening).await;
    }
    Ok(Action::await_change())
}

/// Applies the status. The object's `resourceVersion` after the write.
async fn write(
    connector: &TelegramConnector,
    before: Option<&TelegramConnectorStatus>,
    status: &TelegramConnectorStatus,
    c: &Context,
) -> Result<Option<String>, kube::Error> {
    let metadata = &connector.metadata;
    let applied = writes::apply_status::<TelegramConnector>(&c.client, metadata, status).await;
    match applied {
        Err(kube::Error::Api(refused)) if refused.code == 422 => {
            let vanished: Vec<&str> = [
                (
                    "bot",
                    before.is_some_and(|p| p.bot.is_some()) && status.bot.is_none(),
                ),
                (
                    "webhook",
                    before.is_some_and(|p| p.webhook.is_some()) && status.webhook.is_none(),
                ),
            ]
            .into_iter()
            .filter_map(|(field, vanished)| vanished.then_some(field))
            .collect();
            if vanished.is_empty() {
                return Err(kube::Error::Api(refused));
            }
            writes::remove_from_status::<TelegramConnector>(&c.client, metadata, &vanished).await?;
            writes::apply_status::<TelegramConnector>(&c.client, metadata, status).await
        }
        applied => applied,
    }
}
