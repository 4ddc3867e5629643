//! What was deleted while nobody watched: connectors that the store still knows and the cluster does not.
//!
//! A deletion that the watch shows ends a connector's sessions at once. One that came while the operator was down shows in nothing but
//! absence, so absence is believed only when it is seen twice in a row, an hour apart, in a list that is complete.
//!
//! A store that is opened against another cluster by mistake must not lose its sessions for it: when this process finds none at all of the
//! connectors that the store knows, it believes none of these absences. The sessions of those that did go end by their retention then.

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
    let mut strangers = Strangers::NotSeen;
    loop {
        tokio::time::sleep(jittered(c.settings.look_again)).await;
        if !c.leads() || !readiness.holds_now(Check::ConnectorsSynced) {
            missing.clear();
            continue;
        }
        match look(&c, &missing, &mut strangers).await {
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
    strangers: &mut Strangers,
) -> Result<HashSet<ConnectorUid>, StoreError> {
    let mut known = c.inbox.connectors().await?;
    known.retain(|connector| is_watched(connector, &c.settings.watch_namespaces));
    let (here, absent): (Vec<_>, Vec<_>) = known
        .into_iter()
        .partition(|connector| c.index.object(&connector.uid).is_some());
    strangers.note(&here, &absent);
    let mut now = HashSet::new();
    for connector in absent {
        if strangers.are(&connector.uid) {
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

/// Connectors of the store that may be another cluster's.
#[derive(Debug, PartialEq, Eq)]
enum Strangers {
    /// No look yet.
    NotSeen,
    /// These were all that the store knew at the first look, and none of them was there.
    All(HashSet<ConnectorUid>),
    /// The store is this cluster's.
    None,
}

impl Strangers {
    /// What a look found of the connectors that the store knows: `here` and `absent`.
    fn note(&mut self, here: &[ConnectorRef], absent: &[ConnectorRef]) {
        match self {
            Self::NotSeen if here.is_empty() && !absent.is_empty() => {
                tracing::warn!(
                    connectors = absent.len(),
                    "none of the connectors that the store knows is in this cluster: is it another one's? their sessions stay until their retention ends"
                );
                *self = Self::All(absent.iter().map(|c| c.uid.clone()).collect());
            }
            Self::NotSeen => *self = Self::None,
            Self::All(strangers) if here.iter().any(|c| strangers.contains(&c.uid)) => {
                *self = Self::None;
            }
            Self::All(_) | Self::None => {}
        }
    }

    /// Whether this one's absence says nothing.
    fn are(&self, uid: &ConnectorUid) -> bool {
        matches!(self, Self::All(strangers) if strangers.contains(uid))
    }
}

/// Whether its absence from the list means anything. `watched`: empty for all namespaces.
fn is_watched(connector: &ConnectorRef, watched: &[String]) -> bool {
    watched.is_empty() || watched.iter().any(|ns| **ns == *connector.namespace)
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

    #[test]
    fn where_none_that_the_store_knows_is_found_none_is_believed_to_be_gone() {
        let mut strangers = Strangers::NotSeen;
        strangers.note(&[], &connectors(&["a", "b"]));
        assert!(strangers.are(&"a".into()) && strangers.are(&"b".into()));
        // A connector of the other cluster, which the store knows since, changes nothing; when it goes, it went.
        strangers.note(&connectors(&["c"]), &connectors(&["a", "b"]));
        assert!(strangers.are(&"a".into()) && strangers.are(&"b".into()));
        strangers.note(&[], &connectors(&["a", "b", "c"]));
        assert!(strangers.are(&"a".into()) && !strangers.are(&"c".into()));
        // One of the old ones turned up: it is the right cluster after all.
        strangers.note(&connectors(&["a"]), &connectors(&["b"]));
        assert!(!strangers.are(&"b".into()));
    }

    #[test]
    fn where_one_that_the_store_knows_is_found_the_others_went() {
        let mut strangers = Strangers::NotSeen;
        strangers.note(&connectors(&["a"]), &connectors(&["b"]));
        assert!(!strangers.are(&"b".into()));
        strangers.note(&[], &connectors(&["a", "b"]));
        assert!(!strangers.are(&"a".into()), "seen here, it can be missed");
    }

    #[test]
    fn only_connectors_of_watched_namespaces_can_be_missed() {
        let of = |namespace: &str| connector(namespace, "u");
        assert!(is_watched(&of("acme"), &[]));
        let watched = ["acme".to_owned()];
        assert!(is_watched(&of("acme"), &watched));
        assert!(!is_watched(&of("other"), &watched));
        assert!(!is_watched(&of(""), &watched), "nobody knows whose it was");
    }
}
