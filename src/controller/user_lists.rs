//! The status of user lists: how many users a list names, and how many connectors refer to it.

use std::sync::Arc;

use kube::ResourceExt;
use kube::runtime::controller::Action;
use tokio::time::Instant;

use super::context::{Context, GuardedUserList};
use super::error::ReconcileError;
use super::{patches, status};
use crate::api::TelegramUserList;
use crate::telemetry::ReadinessCheck;

/// Reconciles one list.
///
/// # Errors
/// [`ReconcileError`]; tried again with a back-off.
pub(super) async fn reconcile(
    object: Arc<GuardedUserList>,
    ctx: Arc<Context>,
) -> Result<Action, ReconcileError> {
    let started = Instant::now();
    let result = reconcile_list(&object, &ctx).await;
    let label = match &result {
        Ok(()) => {
            ctx.caches
                .backoffs
                .reset(object.uid().as_deref().unwrap_or_default());
            "ok"
        }
        Err(error) => error.metric_label(),
    };
    ctx.metrics
        .record_reconcile("user_list", label, started.elapsed());
    result.map(|()| Action::await_change())
}

async fn reconcile_list(object: &GuardedUserList, ctx: &Context) -> Result<(), ReconcileError> {
    let namespace = object.namespace().unwrap_or_default();
    let name = object.name_any();
    let list = match &object.0 {
        Ok(list) => list,
        Err(unreadable) => {
            // The connectors that refer to it say so in their status; its own would be refused with the rest of it.
            tracing::error!(%namespace, list = %name, error = %unreadable.error,
                "the user list cannot be read; correct it and apply it again");
            return Ok(());
        }
    };
    if !ctx.is_leader() || list.metadata.deletion_timestamp.is_some() {
        return Ok(());
    }
    if !ctx
        .inputs
        .readiness
        .is_passing(ReadinessCheck::ConnectorsSynced)
    {
        // Nobody is known yet who refers to it: `usedBy` would be wrong for a moment. The first list of connectors reconciles it again.
        return Ok(());
    }
    let users = ctx.inputs.parsed_lists.get_or_parse(
        &namespace,
        &name,
        list.metadata
            .resource_version
            .as_deref()
            .unwrap_or_default(),
        &list.spec.users,
    );
    let previous = ctx
        .caches
        .list_statuses
        .current(&list.metadata, list.status.as_ref());
    let status = status::user_list_status(
        list.metadata.generation.unwrap_or_default(),
        users.len(),
        ctx.inputs
            .references
            .count_connectors_using_list(&namespace, &name),
        users.invalid,
        previous.as_ref(),
        ctx.clock.now(),
    );
    if previous.as_ref() == Some(&status) {
        return Ok(());
    }
    let version = patches::apply_status::<TelegramUserList>(&ctx.client, &list.metadata, &status)
        .await
        .map_err(ReconcileError::WriteUserListStatus)?;
    ctx.caches
        .list_statuses
        .on_written(&list.metadata, version, status);
    Ok(())
}
