//! The status of user lists, of a namespace or of the cluster: how many users a list names, and how many connectors refer to it.

use std::sync::Arc;
use std::time::Duration;

use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};
use tokio::time::Instant;

use super::context::Context;
use super::decide::wait_until;
use super::error::ReconcileError;
use super::status::UserListCounts;
use super::status_cache::OwnStatus;
use super::watches::UNLISTED_RETRY;
use super::{patches, status};
use crate::api::user_list::UserEntry;
use crate::api::{ClusterTelegramUserList, TelegramUserList, TelegramUserListStatus};
use crate::telemetry::WatchedResource;

/// A list that connectors refer to.
pub(super) trait SharedUserList: Resource<DynamicType = ()> + Clone {
    /// Its entries.
    fn users(&self) -> &[UserEntry];
    fn status(&self) -> Option<&TelegramUserListStatus>;
    /// What is wrong with it beside its entries.
    fn problem(&self) -> Option<String>;
}

impl SharedUserList for TelegramUserList {
    fn users(&self) -> &[UserEntry] {
        &self.spec.users
    }

    fn status(&self) -> Option<&TelegramUserListStatus> {
        self.status.as_ref()
    }

    fn problem(&self) -> Option<String> {
        None
    }
}

impl SharedUserList for ClusterTelegramUserList {
    fn users(&self) -> &[UserEntry] {
        &self.spec.users
    }

    fn status(&self) -> Option<&TelegramUserListStatus> {
        self.status.as_ref()
    }

    fn problem(&self) -> Option<String> {
        self.spec.allowed_namespaces.selector().err()
    }
}

/// Reconciles one list.
///
/// # Errors
/// [`ReconcileError`]; tried again with a back-off.
pub(super) async fn reconcile<L: SharedUserList>(
    object: Arc<DeserializeGuard<L>>,
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
async fn reconcile_list<L: SharedUserList>(
    object: &DeserializeGuard<L>,
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
            .as_follower(list.meta(), list.status());
        return Ok(None);
    }
    // An operator for some namespaces counts some of the connectors; the one for all writes the status of a list of the cluster.
    let is_anothers = namespace.is_empty() && !ctx.settings.watch_namespaces.is_empty();
    if is_anothers || list.meta().deletion_timestamp.is_some() {
        return Ok(None);
    }
    if !is_counted(&namespace, ctx) {
        // Nobody is known yet who refers to it: `usedBy` would be wrong for a moment. The first list of connectors reconciles it again.
        return Ok(Some(UNLISTED_RETRY));
    }
    write_list_status(list, &namespace, &name, ctx).await
}

/// Whether all connectors that may refer to a list of this namespace (`""`: of the cluster) are known.
fn is_counted(namespace: &str, ctx: &Context) -> bool {
    let watches = ctx.inputs.readiness.watches();
    match namespace {
        "" => watches.are_listed(WatchedResource::Connectors),
        namespace => watches.is_listed(WatchedResource::Connectors, namespace),
    }
}

/// Writes the status if it differs. After how long to look again, because an entry ends or somebody else changes the status too often.
async fn write_list_status<L: SharedUserList>(
    list: &L,
    namespace: &str,
    name: &str,
    ctx: &Context,
) -> Result<Option<Duration>, ReconcileError> {
    let users = ctx.inputs.parsed_lists.get_or_parse(
        namespace,
        name,
        list.meta().resource_version.as_deref().unwrap_or_default(),
        list.users(),
    );
    let statuses = &ctx.caches.list_statuses;
    let (previous, is_altered) = statuses.as_leader(list.meta(), list.status());
    let now = ctx.clock.now();
    let ended = users.count_ended(now);
    let counts = UserListCounts {
        users: users.len() - ended,
        ended,
        invalid: users.invalid,
        used_by: ctx
            .inputs
            .references
            .count_connectors_using_list(namespace, name),
    };
    let generation = list.meta().generation.unwrap_or_default();
    let problem = list.problem();
    let status = status::user_list_status(generation, counts, problem, previous.as_ref(), now);
    let next_end = users.next_end(now).map(|end| wait_until(end, now));
    let is_changed = previous.is_none_or(|previous| !previous.shows(&status));
    if !is_changed && !is_altered {
        return Ok(next_end);
    }
    if !is_changed {
        if let Err(wait) = statuses.begin_repair(list.meta(), Instant::now()) {
            return Ok(Some(wait));
        }
        tracing::warn!(
            namespace,
            list = name,
            "the status was changed by somebody else; it is written again"
        );
    }
    let version = patches::apply_status::<L>(&ctx.client, list.meta(), &status, is_altered)
        .await
        .map_err(ReconcileError::WriteUserListStatus)?;
    statuses.on_written(list.meta(), version, status);
    Ok(next_end)
}
