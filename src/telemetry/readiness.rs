//! The readiness checks of controller and pipeline, by which the kubelet and a rolling update wait for a replica.

use std::collections::BTreeMap;

use parking_lot::Mutex;

/// A condition for the process to be ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReadinessCheck {
    /// The API server serves both kinds.
    Crds,
    /// Connectors have been listed once.
    ConnectorsSynced,
    /// User lists have been listed once.
    UserListsSynced,
    /// Secrets (metadata) have been listed once.
    SecretsSynced,
    /// The pipeline can claim waiting messages.
    WorkClaims,
}

impl ReadinessCheck {
    const ALL: [Self; 5] = [
        Self::Crds,
        Self::ConnectorsSynced,
        Self::UserListsSynced,
        Self::SecretsSynced,
        Self::WorkClaims,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Crds => "crds",
            Self::ConnectorsSynced => "connectors-synced",
            Self::UserListsSynced => "user-lists-synced",
            Self::SecretsSynced => "secrets-synced",
            Self::WorkClaims => "work-claims",
        }
    }
}

/// The state of every check: written by controller and pipeline, read by `/readyz`.
#[derive(Debug, Default)]
pub struct Readiness(Mutex<BTreeMap<ReadinessCheck, Result<(), String>>>);

impl Readiness {
    /// Marks a check as passing.
    pub fn pass(&self, check: ReadinessCheck) {
        self.set(check, Ok(()));
    }

    /// Marks a check as failing; `why` is shown by `/readyz` and says what to do.
    pub fn fail(&self, check: ReadinessCheck, why: impl Into<String>) {
        self.set(check, Err(why.into()));
    }

    /// Whether a check was last marked as passing.
    pub fn is_passing(&self, check: ReadinessCheck) -> bool {
        let checks = self.0.lock();
        matches!(checks.get(&check), Some(Ok(())))
    }

    fn set(&self, check: ReadinessCheck, state: Result<(), String>) {
        self.0.lock().insert(check, state);
    }

    /// The name and state of every check, in their order; one that nobody has reported yet fails.
    pub(super) fn states(&self) -> Vec<(&'static str, Result<(), String>)> {
        let checks = self.0.lock();
        ReadinessCheck::ALL
            .iter()
            .map(|c| {
                let state = checks.get(c).cloned();
                (c.name(), state.unwrap_or_else(|| Err("not yet".to_owned())))
            })
            .collect()
    }
}
