//! The status of user lists: how many users a list names, and how many connectors refer to it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use kube::ResourceExt;
use kube::runtime::controller::Action;
use tokio::time::Instant;

use super::context::{Context, GuardedList};
use super::reconcile::ReconcileError;
use super::{status, writes};
use crate::api::{TelegramUserList, TelegramUserListStatus};

/// The statuses written last, by uid: the watch may be behind.
#[derive(Debug, Default)]
pub(super) struct WrittenLists(Mutex<HashMap<String, TelegramUserListStatus>>);

impl WrittenLists {
    fn last(&self, uid: &str) -> Option<TelegramUserListStatus> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(uid)
            .cloned()
    }

    fn note(&self, uid: &str, status: TelegramUserListStatus) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(uid.to_owned(), status);
    }

    /// A list is gone.
    pub(super) fn forget(&self, uid: &str) {
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
    object: Arc<GuardedList>,
    c: Arc<Context>,
) -> Result<Action, ReconcileError> {
    let began = Instant::now();
    let result = one(&object, &c).await;
    let label = result.as_ref().err().map_or("ok", ReconcileError::label);
    c.metrics
        .record_reconcile("user_list", label, began.elapsed());
    result.map(|()| Action::await_change())
}

async fn one(object: &GuardedList, c: &Context) -> Result<(), ReconcileError> {
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
    if !c.leads() || list.metadata.deletion_timestamp.is_some() {
        return Ok(());
    }
    let uid = list.uid().unwrap_or_default();
    let users = c.read_lists.users(
        &namespace,
        &name,
        list.metadata
            .resource_version
            .as_deref()
            .unwrap_or_default(),
        &list.spec.users,
    );
    let previous = c.written_lists.last(&uid).or_else(|| list.status.clone());
    let status = status::user_list(
        list.metadata.generation.unwrap_or_default(),
        users.len(),
        c.index.users_of_list(&namespace, &name),
        users.invalid,
        previous.as_ref(),
        c.clock.now(),
    );
    if previous.as_ref() == Some(&status) {
        return Ok(());
    }
    writes::apply_status::<TelegramUserList>(&c.client, &list.metadata, &status)
        .await
        .map_err(|source| ReconcileError::Kubernetes {
            doing: "writing the list's status",
            source,
        })?;
    c.written_lists.note(&uid, status);
    Ok(())
}
