//! What all checks stand on.

use std::time::Duration;

use kube::Client;

use super::environment::OperatorEnvironment;
use super::flags::OperatorFlags;

/// The cluster, the operator in it, and how checks are made.
pub(super) struct Context {
    pub(super) client: Client,
    pub(super) environment: OperatorEnvironment,
    /// How long each probe may take.
    pub(super) timeout: Duration,
    /// Nothing but the cluster is asked.
    pub(super) offline: bool,
    /// `--namespace`, or that of a connector that is named.
    pub(super) only_namespace: Option<String>,
}

impl Context {
    /// The namespaces to look at; empty: all.
    pub(super) fn namespaces(&self) -> Vec<String> {
        match (&self.only_namespace, &self.environment.flags) {
            (Some(namespace), _) => vec![namespace.clone()],
            (None, Ok(flags)) => flags.run.watch_namespace.clone(),
            (None, Err(_)) => Vec::new(),
        }
    }

    /// The operator's flags, if they are known.
    pub(super) fn flags(&self) -> Option<&OperatorFlags> {
        self.environment.flags.as_ref().ok()
    }

    /// The end of "not checked: " where flags are needed that are not known.
    pub(super) fn flags_unknown(&self) -> String {
        let why = self.environment.flags.as_ref().err();
        let why = why.map_or("", String::as_str);
        format!("the operator's flags are not known ({why}); give them behind --")
    }
}
