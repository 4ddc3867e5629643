//! What can go wrong in a reconcile: one variant per stage, each with its metric label and its back-off.
//!
//! Causes that lie in the spec, a Secret or a user list are no errors: they are in the status.

use std::time::Duration;

use crate::store::StoreError;

/// A reconcile that could not be done.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReconcileError {
    /// Dereference: a Secret could not be read.
    #[error("reading {purpose}: {source}")]
    ReadSecret {
        /// Which Secret, by what it is for.
        purpose: &'static str,
        /// The API server's answer.
        source: kube::Error,
    },
    /// Apply: the finalizer could not be set or removed before the connection changes.
    #[error("writing the finalizer: {0}")]
    WriteFinalizer(#[source] kube::Error),
    /// Apply, deletion: the store refused to delete the connector's data.
    #[error("ending a deleted connector's sessions: {0}")]
    DeleteData(#[source] StoreError),
    /// Apply, deletion: the store did not answer in time.
    #[error("ending a deleted connector's sessions: the store does not answer")]
    DeleteDataTimeout,
    /// Apply, deletion: the finalizer could not be removed, so the object cannot go.
    #[error("removing the finalizer: {0}")]
    RemoveFinalizer(#[source] kube::Error),
    /// Status: the connector's status could not be written.
    #[error("writing the status: {0}")]
    WriteStatus(#[source] kube::Error),
    /// Status: a user list's status could not be written.
    #[error("writing the list's status: {0}")]
    WriteUserListStatus(#[source] kube::Error),
}

/// The first and the longest wait between two tries; it doubles from one to the other (see [`crate::backoff::Backoff`]).
pub(super) const RETRY_BACKOFF: (Duration, Duration) =
    (Duration::from_secs(1), Duration::from_mins(2));

impl ReconcileError {
    /// The `result` label of the reconcile metric: seven values, whatever the server says.
    pub(super) fn metric_label(&self) -> &'static str {
        match self {
            Self::ReadSecret { source, .. }
            | Self::WriteFinalizer(source)
            | Self::RemoveFinalizer(source)
            | Self::WriteStatus(source)
            | Self::WriteUserListStatus(source) => kubernetes_label(source),
            Self::DeleteData(_) | Self::DeleteDataTimeout => "store",
        }
    }
}

fn kubernetes_label(error: &kube::Error) -> &'static str {
    match error {
        kube::Error::Api(status) => match status.code {
            409 => "conflict",
            403 => "forbidden",
            404 => "not_found",
            400..=499 => "refused",
            _ => "server_error",
        },
        _ => "api_server_unreachable",
    }
}
