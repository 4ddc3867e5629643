//! The status of user lists: how many users a list names, and how many connectors refer to it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use kube::ResourceExt;
use kube::runtime::controller::Action;
use tokio::time::Instant;

use super::context::{Context, GuardedUserList};
use super::reconcile::ReconcileError;
use super::{patches, status};
use crate::api::{TelegramUserList, TelegramUserListStatus};

/// The statuses written last, by uid: the watch may be behind.
#[derive(Debug, Default)]
pub(super) struct UserListStatusCache(Mutex<HashMap<String, TelegramUserListStatus>>);

impl UserListStatusCache {
    fn get(&self, uid: &str) -> Option<TelegramUserListStatus> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(uid)
            .cloned()
    }

    fn insert(&self, uid: &str, status: TelegramUserListStatus) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(uid.to_owned(), status);
    }

    /// A list is gone.
    pub(super) fn remove(&self, uid: &str) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(uid);
    }
}

/// Reconciles one list.
///
/// # Errors
/// [`ReconcileError`]; tried again with a back-off.
pub(super) async fn reconcile(
    object: Arc<GuardedUserList>,
    ctx: Arc<Context>,
) -> Result<Action, ReconcileError> {
    let began = Instant::now();
    let result = reconcile_list(&object, &ctx).await;
    let label = result
        .as_ref()
        .err()
        .map_or("ok", ReconcileError::metric_label);
    ctx.metrics
        .record_reconcile("user_list", label, began.elapsed());
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
    let uid = list.uid().unwrap_or_default();
    let users = ctx.user_list_cache.get_or_parse(
        &namespace,
        &name,
        list.metadata
            .resource_version
            .as_deref()
            .unwrap_or_default(),
        &list.spec.users,
    );
    let previous = ctx
        .list_status_cache
        .get(&uid)
        .or_else(|| list.status.clone());
    let status = status::user_list_status(
        list.metadata.generation.unwrap_or_default(),
        users.len(),
        ctx.index.count_connectors_using_list(&namespace, &name),
        users.invalid,
        previous.as_ref(),
        ctx.clock.now(),
    );
    if previous.as_ref() == Some(&status) {
        return Ok(());
    }
    patches::apply_status::<TelegramUserList>(&ctx.client, &list.metadata, &status)
        .await
        .map_err(|source| ReconcileError::Kubernetes {
            operation: "writing the list's status",
            source,
        })?;
    ctx.list_status_cache.insert(&uid, status);
    Ok(())
}
