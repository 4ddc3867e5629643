//! The readiness checks of controller and pipeline, by which the kubelet and a rolling update wait for a replica.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::watch_health::{WatchHealth, WatchedResource};
use crate::bounded_text::bounded_list;

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
pub struct Readiness {
    checks: Mutex<BTreeMap<ReadinessCheck, Result<(), String>>>,
    watches: WatchHealth,
}

/// One line of `/readyz`.
pub(super) struct CheckState {
    /// The check.
    pub(super) name: &'static str,
    /// Why it fails, if it does.
    pub(super) result: Result<(), String>,
    /// What is wrong although it passes.
    pub(super) warning: Option<String>,
}

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
        let checks = self.checks.lock();
        matches!(checks.get(&check), Some(Ok(())))
    }

    /// The state of every watch.
    pub fn watches(&self) -> &WatchHealth {
        &self.watches
    }

    fn set(&self, check: ReadinessCheck, state: Result<(), String>) {
        self.checks.lock().insert(check, state);
    }

    /// The state of every check, in their order; one that nobody has reported yet fails.
    pub(super) fn states(&self) -> Vec<CheckState> {
        let checks = self.checks.lock();
        ReadinessCheck::ALL
            .iter()
            .map(|check| {
                let state = checks.get(check).cloned();
                CheckState {
                    name: check.name(),
                    result: state.unwrap_or_else(|| Err("not yet".to_owned())),
                    warning: self.warning(*check),
                }
            })
            .collect()
    }

    /// Once everything was listed, a watch that fails leaves the process ready: it serves what it knows.
    fn warning(&self, check: ReadinessCheck) -> Option<String> {
        let resource = WatchedResource::ALL
            .into_iter()
            .find(|resource| resource.check() == check)?;
        let problems = self.watches.problems(resource);
        (!problems.is_empty()).then(|| format!("not current: {}", bounded_list(&problems, "; ")))
    }
}
