//! The status of user lists: how many users a list names, and how many connectors refer to it.

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use kube::runtime::controller::Action;
use tokio::time::Instant;

use super::context::{Context, GuardedUserList};
use super::decide::wait_until;
use super::error::ReconcileError;
use super::status::UserListCounts;
use super::status_cache::OwnStatus;
use super::watches::UNLISTED_RETRY;
use super::{patches, status};
use crate::api::TelegramUserList;
use crate::telemetry::WatchedResource;

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
        Ok(_) => {
            ctx.caches
                .backoffs
                .reset(object.uid().as_deref().unwrap_or_default());
            "ok"
        }
        Err(error) => error.metric_label(),
    };
    ctx.metrics
        .record_reconcile("user_list", label, started.elapsed());
    result.map(|retry| retry.map_or_else(Action::await_change, Action::requeue))
}

/// After how long to reconcile it again, if nothing changes.
async fn reconcile_list(
    object: &GuardedUserList,
    ctx: &Context,
) -> Result<Option<Duration>, ReconcileError> {
    let namespace = object.namespace().unwrap_or_default();
    let name = object.name_any();
    let list = match &object.0 {
        Ok(list) => list,
        Err(unreadable) => {
            // The connectors that refer to it say so in their status; its own would be refused with the rest of it.
            tracing::error!(%namespace, list = %name, error = %unreadable.error,
                "the user list cannot be read; correct it and apply it again");
            return Ok(None);
        }
    };
    if !ctx.is_leader() {
        ctx.caches
            .list_statuses
            .as_follower(&list.metadata, list.status.as_ref());
        return Ok(None);
    }
    if list.metadata.deletion_timestamp.is_some() {
        return Ok(None);
    }
    let watches = ctx.inputs.readiness.watches();
    if !watches.is_listed(WatchedResource::Connectors, &namespace) {
        // Nobody is known yet who refers to it: `usedBy` would be wrong for a moment. The first list of connectors reconciles it again.
        return Ok(Some(UNLISTED_RETRY));
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
    let statuses = &ctx.caches.list_statuses;
    let (previous, is_altered) = statuses.as_leader(&list.metadata, list.status.as_ref());
    let now = ctx.clock.now();
    let ended = users.count_ended(now);
    let counts = UserListCounts {
        users: users.len() - ended,
        ended,
        invalid: users.invalid,
        used_by: ctx
            .inputs
            .references
            .count_connectors_using_list(&namespace, &name),
    };
    let generation = list.metadata.generation.unwrap_or_default();
    let status = status::user_list_status(generation, counts, previous.as_ref(), now);
    let next_end = users.next_end(now).map(|end| wait_until(end, now));
    let is_changed = previous.is_none_or(|previous| !previous.shows(&status));
    if !is_changed && !is_altered {
        return Ok(next_end);
    }
    if !is_changed {
        if let Err(wait) = statuses.begin_repair(&list.metadata, Instant::now()) {
            return Ok(Some(wait));
        }
        tracing::warn!(%namespace, list = %name, "the status was changed by somebody else; it is written again");
    }
    let version =
        patches::apply_status::<TelegramUserList>(&ctx.client, &list.metadata, &status, is_altered)
            .await
            .map_err(ReconcileError::WriteUserListStatus)?;
    statuses.on_written(&list.metadata, version, status);
    Ok(next_end)
}
