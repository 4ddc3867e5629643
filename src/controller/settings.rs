//! What the administrator set for all connectors, as the controller and the connections need it.

use std::time::Duration;

use crate::connection::ConnectionSettings;

/// The environment (API.md, "The environment").
#[derive(Debug, Clone)]
pub struct ControllerSettings {
    /// How every connector of this environment receives updates.
    pub connection: ConnectionSettings,
    /// `--watch-namespace`; empty: all namespaces.
    pub watch_namespaces: Vec<String>,
    /// Who this process is, uniquely in the cluster: the pod's name. Holder of the Lease and reporter of events.
    pub identity: String,
    /// `None`: no election, this process leads from the start.
    pub leader_election: Option<LeaseSettings>,
    /// `--require-secret-label`: a Secret is used only with [`crate::api::ALLOW_USE_LABEL`].
    pub require_secret_label: bool,
    /// How often what nobody tells of is looked at again: a bot with two owners, connectors that went while nobody watched.
    pub recheck_interval: Duration,
}

/// [`ControllerSettings::recheck_interval`], unless a test is in a hurry.
pub const DEFAULT_RECHECK_INTERVAL: Duration = Duration::from_hours(1);

/// A follower looks at the Lease at least this often (one small read), so that a leader that stops is followed within 3 s.
const MAX_RETRY_INTERVAL: Duration = Duration::from_millis(1500);

/// The Lease that elects the leader.
#[derive(Debug, Clone)]
pub struct LeaseSettings {
    /// Its namespace: the operator's own.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// A Lease that was not seen to be renewed for so long may be taken.
    pub duration: Duration,
    /// How often the leader renews; a third of `duration`.
    pub renew_every: Duration,
    /// How often a follower looks.
    pub retry_every: Duration,
}

impl LeaseSettings {
    /// A killed leader is replaced within `duration` and 1.5 s, one that stops within 1.5 s, however long `duration` is.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>, duration: Duration) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
            duration,
            renew_every: duration / 3,
            retry_every: (duration / 6).min(MAX_RETRY_INTERVAL),
        }
    }
}
