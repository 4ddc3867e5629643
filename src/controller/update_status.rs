//! Stage 5 of a reconcile: writes the status, if it says something new, and the events that go with it.

use std::time::Duration;

use kube::Resource;
use kube::core::ObjectMeta;
use tokio::time::Instant;

use super::connector_ref::connector_ref_of;
use super::context::Context;
use super::error::ReconcileError;
use super::plan::{StatusPlan, StatusReport};
use super::reference_index::GuardedConnector;
use super::{events, patches};
use crate::api::conditions::Reason;
use crate::api::{TelegramConnector, TelegramConnectorStatus};
use crate::identity::ConnectorRef;

/// Writes what the plan says of the status. After how long to try again, if the status may not be repaired now.
///
/// # Errors
/// [`ReconcileError::WriteStatus`].
pub(super) async fn update_status(
    plan: &StatusPlan,
    object: &GuardedConnector,
    ctx: &Context,
) -> Result<Option<Duration>, ReconcileError> {
    let connector_ref = connector_ref_of(object.meta());
    let report = match plan {
        StatusPlan::Skip => return Ok(None),
        StatusPlan::Wait => {
            ctx.caches
                .connectors
                .with_entry(&connector_ref.uid, |entry| {
                    entry.incomplete_since.get_or_insert_with(Instant::now);
                });
            return Ok(None);
        }
        StatusPlan::Report(report) => report,
    };
    record_ready_reason(report, &connector_ref, ctx);
    let metadata = object.meta();
    match (report.changed, report.altered) {
        (true, _) => {}
        (false, false) => return Ok(None),
        (false, true) => {
            let statuses = &ctx.caches.statuses;
            if let Err(wait) = statuses.begin_repair(metadata, Instant::now()) {
                return Ok(Some(wait));
            }
            tracing::warn!(namespace = %connector_ref.namespace, connector = %connector_ref.name,
                "the status was changed by somebody else; it is written again");
        }
    }
    let version = apply_status(metadata, report, ctx)
        .await
        .map_err(ReconcileError::WriteStatus)?;
    tracing::info!(namespace = %connector_ref.namespace, connector = %connector_ref.name,
        bot_id = ?report.status.bot.as_ref().map(|b| b.id), reason = ?report.ready_reason.map(Reason::as_str), "status written");
    let status = report.status.clone();
    ctx.caches.statuses.on_written(metadata, version, status);
    ctx.caches
        .connectors
        .with_entry(&connector_ref.uid, |entry| {
            entry.connection_changed = false;
            entry.assistant_changed = false;
        });
    for event in &report.events {
        ctx.outputs.events.publish(&connector_ref, event).await;
    }
    Ok(None)
}

/// Events for what connection and pipeline of this replica noticed. A notice is dropped after its event is written: a connection may wait for that.
pub(super) async fn publish_notices(connector_ref: &ConnectorRef, ctx: &Context) {
    let mode = ctx.settings.connection.mode();
    for pending in ctx.outputs.observations.take_notices(&connector_ref.uid) {
        let event = events::notice_event(&pending.notice, mode, connector_ref);
        ctx.outputs.events.publish(connector_ref, &event).await;
    }
}

fn record_ready_reason(report: &StatusReport, connector_ref: &ConnectorRef, ctx: &Context) {
    let changed = ctx
        .caches
        .connectors
        .with_entry(&connector_ref.uid, |entry| {
            if report.complete {
                entry.incomplete_since = None;
            }
            std::mem::replace(&mut entry.ready_reason, report.ready_reason) != report.ready_reason
        });
    if changed {
        ctx.update_reason_metrics();
    }
}

/// Applies the status. The object's `resourceVersion` after the write.
///
/// Server-side apply with a field set to nothing can be refused as 422 by the schema of a required child; then the objects that went are
/// removed first.
async fn apply_status(
    metadata: &ObjectMeta,
    report: &StatusReport,
    ctx: &Context,
) -> Result<Option<String>, kube::Error> {
    let status = &report.status;
    let refused = match patches::apply_status::<TelegramConnector>(
        &ctx.client,
        metadata,
        status,
        report.altered,
    )
    .await
    {
        Err(kube::Error::Api(refused)) if refused.code == 422 => refused,
        applied => return applied,
    };
    let removed = removed_objects(report.previous.as_ref(), status);
    if removed.is_empty() {
        return Err(kube::Error::Api(refused));
    }
    patches::remove_from_status::<TelegramConnector>(&ctx.client, metadata, &removed).await?;
    patches::apply_status::<TelegramConnector>(&ctx.client, metadata, status, report.altered).await
}

/// The objects in the previous status that the new one no longer has.
fn removed_objects(
    previous: Option<&TelegramConnectorStatus>,
    status: &TelegramConnectorStatus,
) -> Vec<&'static str> {
    let Some(previous) = previous else {
        return Vec::new();
    };
    let mut removed = Vec::new();
    if previous.bot.is_some() && status.bot.is_none() {
        removed.push("bot");
    }
    if previous.webhook.is_some() && status.webhook.is_none() {
        removed.push("webhook");
    }
    removed
}
