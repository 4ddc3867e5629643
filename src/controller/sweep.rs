//! What was deleted while nobody watched: connectors that the store still knows and the cluster does not.
//!
//! A deletion that the watch shows ends a connector's sessions at once. One that came while the operator was down shows in nothing but
//! absence, so absence is believed only when it is seen twice in a row, an hour apart, in a list that is complete.

use std::collections::HashSet;
use std::sync::Arc;

use super::context::Context;
use crate::connection::backoff::jittered;
use crate::identity::{ConnectorRef, ConnectorUid};
use crate::store::StoreError;
use crate::telemetry::Readiness;
use crate::telemetry::admin::Check;

/// Looks for ever, every [`look_again`](super::settings::Settings::look_again).
pub(super) async fn run(c: Arc<Context>, readiness: Arc<Readiness>) {
    let mut missing = HashSet::new();
    loop {
        tokio::time::sleep(jittered(c.settings.look_again)).await;
        if !c.leads() || !readiness.holds_now(Check::ConnectorsSynced) {
            missing.clear();
            continue;
        }
        match look(&c, &missing).await {
            Ok(now) => missing = now,
            Err(error) => {
                tracing::warn!(%error, "the store was not compared with the cluster; it is at the next look");
            }
        }
    }
}

/// Forgets those that were `missing` and still are. Those that are missing now for the first time.
async fn look(
    c: &Context,
    missing: &HashSet<ConnectorUid>,
) -> Result<HashSet<ConnectorUid>, StoreError> {
    let mut now = HashSet::new();
    for connector in c.inbox.connectors().await? {
        if !is_watched(&connector, &c.settings.watch_namespaces)
            || c.index.object(&connector.uid).is_some()
        {
            continue;
        }
        if missing.contains(&connector.uid) {
            c.inbox.forget(&connector.uid).await?;
            tracing::info!(namespace = %connector.namespace, connector = %connector.name, uid = %connector.uid,
                "the connector was deleted while nobody watched: its sessions ended");
        } else {
            now.insert(connector.uid);
        }
    }
    Ok(now)
}

/// Whether its absence from the list means anything. `watched`: empty for all namespaces.
fn is_watched(connector: &ConnectorRef, watched: &[String]) -> bool {
    watched.is_empty() || watched.iter().any(|ns| **ns == *connector.namespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_connectors_of_watched_namespaces_can_be_missed() {
        let of = |namespace: &str| ConnectorRef {
            namespace: namespace.into(),
            name: "a".into(),
            uid: "u".into(),
        };
        assert!(is_watched(&of("acme"), &[]));
        let watched = ["acme".to_owned()];
        assert!(is_watched(&of("acme"), &watched));
        assert!(!is_watched(&of("other"), &watched));
        assert!(!is_watched(&of(""), &watched), "nobody knows whose it was");
    }
}
