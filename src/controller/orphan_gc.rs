//! What was deleted while nobody watched: connectors that the store still knows and the cluster does not.
//!
//! A deletion that the watch shows ends a connector's sessions at once. One that came while the operator was down shows in nothing but
//! absence, so absence is believed only when it is seen twice in a row, an hour apart, in a list that is complete.
//!
//! A store that is opened against another cluster by mistake must not lose its sessions for it at once: when this process finds none at all of
//! the connectors that the store knew when it began, it believes these absences after a day only.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::context::Context;
use crate::backoff::jittered;
use crate::identity::{ConnectorRef, ConnectorUid};
use crate::store::StoreError;
use crate::telemetry::{Readiness, ReadinessCheck, WatchedResource};

/// So many looks, an hour apart, it takes to believe that all connectors went at once.
const CHECKS_BEFORE_COLLECTING_ALL: u32 = 24;
/// After how long a store that fails is asked again.
const STORE_RETRY_INTERVAL: Duration = Duration::from_mins(1);

/// Looks for ever, every [`recheck_interval`](super::settings::ControllerSettings::recheck_interval).
pub(super) async fn run(ctx: Arc<Context>, readiness: Arc<Readiness>) {
    let mut missing = HashSet::new();
    // Before those of another cluster are among them, because they were written to.
    let mut guard = ForeignStoreGuard::Undecided(stored_connectors(&ctx).await);
    loop {
        tokio::time::sleep(jittered(ctx.settings.recheck_interval)).await;
        if !ctx.is_leader() || !readiness.is_passing(ReadinessCheck::ConnectorsSynced) {
            missing.clear();
            continue;
        }
        match collect_orphans(&ctx, &missing, &mut guard).await {
            Ok(now) => missing = now,
            Err(error) => {
                tracing::warn!(%error, "the store was not compared with the cluster; it is at the next look");
            }
        }
    }
}

/// The connectors that the store knows, as soon as it says so.
async fn stored_connectors(ctx: &Context) -> HashSet<ConnectorUid> {
    loop {
        match ctx.outputs.inbox.connectors().await {
            Ok(known) => return known.into_iter().map(|connector| connector.uid).collect(),
            Err(error) => {
                tracing::warn!(%error, "the store does not say which connectors it knows; it is asked again");
                tokio::time::sleep(jittered(STORE_RETRY_INTERVAL)).await;
            }
        }
    }
}

/// Forgets those that were `missing` and still are. Those that are missing now for the first time.
async fn collect_orphans(
    ctx: &Context,
    missing: &HashSet<ConnectorUid>,
    guard: &mut ForeignStoreGuard,
) -> Result<HashSet<ConnectorUid>, StoreError> {
    let mut known = ctx.outputs.inbox.connectors().await?;
    let watches = ctx.inputs.readiness.watches();
    // Of a namespace that cannot be listed, absence says nothing.
    known.retain(|connector| {
        is_watched(connector, &ctx.settings.watch_namespaces)
            && watches.is_listed(WatchedResource::Connectors, &connector.namespace)
    });
    let (here, absent): (Vec<_>, Vec<_>) = known
        .into_iter()
        .partition(|connector| ctx.inputs.references.object_ref(&connector.uid).is_some());
    guard.record_check(&here);
    let mut now = HashSet::new();
    for connector in absent {
        if guard.protects(&connector.uid) {
            continue;
        }
        if missing.contains(&connector.uid) {
            ctx.outputs
                .inbox
                .delete_connector_data(&connector.uid)
                .await?;
            tracing::info!(namespace = %connector.namespace, connector = %connector.name, uid = %connector.uid,
                "the connector was deleted while nobody watched: its sessions ended");
        } else {
            now.insert(connector.uid);
        }
    }
    Ok(now)
}

/// Connectors of the store that may be another cluster's.
#[derive(Debug, PartialEq, Eq)]
enum ForeignStoreGuard {
    /// What the store knew when this process began; no look yet.
    Undecided(HashSet<ConnectorUid>),
    /// These are all that it knew, and none of them was found in so many looks.
    Suspected(HashSet<ConnectorUid>, u32),
    /// The store is this cluster's.
    Trusted,
}

impl ForeignStoreGuard {
    /// A look found these of the connectors that the store knows.
    fn record_check(&mut self, here: &[ConnectorRef]) {
        let (Self::Undecided(known) | Self::Suspected(known, _)) = self else {
            return;
        };
        if known.is_empty() || here.iter().any(|connector| known.contains(&connector.uid)) {
            *self = Self::Trusted;
            return;
        }
        match self {
            Self::Undecided(known) => {
                tracing::warn!(
                    connectors = known.len(),
                    "none of the connectors that the store knows is in this cluster: is it another one's? their sessions end in a day"
                );
                *self = Self::Suspected(std::mem::take(known), 1);
            }
            Self::Suspected(_, checks) if *checks < CHECKS_BEFORE_COLLECTING_ALL => *checks += 1,
            Self::Suspected(..) | Self::Trusted => *self = Self::Trusted,
        }
    }

    /// Whether this one's absence says nothing.
    fn protects(&self, uid: &ConnectorUid) -> bool {
        matches!(self, Self::Suspected(foreign, _) if foreign.contains(uid))
    }
}

/// Whether its absence from the list means anything. `watched_namespaces`: empty for all namespaces.
fn is_watched(connector: &ConnectorRef, watched_namespaces: &[String]) -> bool {
    watched_namespaces.is_empty()
        || watched_namespaces
            .iter()
            .any(|ns| **ns == *connector.namespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connector(namespace: &str, uid: &str) -> ConnectorRef {
        ConnectorRef {
            namespace: namespace.into(),
            name: "a".into(),
            uid: uid.into(),
        }
    }

    fn connectors(uids: &[&str]) -> Vec<ConnectorRef> {
        uids.iter().map(|uid| connector("acme", uid)).collect()
    }

    fn undecided(uids: &[&str]) -> ForeignStoreGuard {
        ForeignStoreGuard::Undecided(uids.iter().map(|uid| ConnectorUid::from(*uid)).collect())
    }

    #[test]
    fn foreign_store_is_suspected_when_no_known_connector_exists() {
        let mut guard = undecided(&["a", "b"]);
        // The other cluster's, which the store knows since it was written to, says nothing; when it goes, it went.
        guard.record_check(&connectors(&["c"]));
        assert!(guard.protects(&"a".into()) && guard.protects(&"b".into()));
        guard.record_check(&[]);
        assert!(guard.protects(&"a".into()) && !guard.protects(&"c".into()));
        // One of the old ones turned up: it is the right cluster after all.
        guard.record_check(&connectors(&["a"]));
        assert!(!guard.protects(&"b".into()));
    }

    #[test]
    fn after_a_day_all_missing_connectors_are_collected() {
        let mut guard = undecided(&["a"]);
        for _ in 0..CHECKS_BEFORE_COLLECTING_ALL {
            guard.record_check(&[]);
            assert!(guard.protects(&"a".into()));
        }
        guard.record_check(&[]);
        assert!(!guard.protects(&"a".into()));
    }

    #[test]
    fn one_known_connector_makes_the_store_trusted() {
        let mut guard = undecided(&["a", "b"]);
        guard.record_check(&connectors(&["a"]));
        assert!(!guard.protects(&"b".into()));
        guard.record_check(&[]);
        assert!(!guard.protects(&"a".into()), "seen here, it can be missed");
        let mut guard = undecided(&[]);
        guard.record_check(&connectors(&["a"]));
        guard.record_check(&[]);
        assert!(!guard.protects(&"a".into()), "a store that was new");
    }

    #[test]
    fn only_watched_namespaces_can_miss_connectors() {
        let of = |namespace: &str| connector(namespace, "u");
        assert!(is_watched(&of("acme"), &[]));
        let watched = ["acme".to_owned()];
        assert!(is_watched(&of("acme"), &watched));
        assert!(!is_watched(&of("other"), &watched));
        assert!(!is_watched(&of(""), &watched), "nobody knows whose it was");
    }
}
