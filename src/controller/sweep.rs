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
use crate::connection::backoff::jittered;
use crate::identity::{ConnectorRef, ConnectorUid};
use crate::store::StoreError;
use crate::telemetry::Readiness;
use crate::telemetry::admin::ReadinessCheck;

/// So many looks, an hour apart, it takes to believe that all connectors went at once.
const LOOKS_FOR_ALL: u32 = 24;
/// After how long a store that fails is asked again.
const ASK_AGAIN: Duration = Duration::from_mins(1);

/// Looks for ever, every [`look_again`](super::settings::Settings::look_again).
pub(super) async fn run(c: Arc<Context>, readiness: Arc<Readiness>) {
    let mut missing = HashSet::new();
    // Before those of another cluster are among them, because they were written to.
    let mut strangers = Strangers::Undecided(known(&c).await);
    loop {
        tokio::time::sleep(jittered(c.settings.look_again)).await;
        if !c.leads() || !readiness.is_passing(ReadinessCheck::ConnectorsSynced) {
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

/// The connectors that the store knows, as soon as it says so.
async fn known(c: &Context) -> HashSet<ConnectorUid> {
    loop {
        match c.inbox.connectors().await {
            Ok(known) => return known.into_iter().map(|c| c.uid).collect(),
            Err(error) => {
                tracing::warn!(%error, "the store does not say which connectors it knows; it is asked again");
                tokio::time::sleep(jittered(ASK_AGAIN)).await;
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
    strangers.note(&here);
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
    /// What the store knew when this process began; no look yet.
    Undecided(HashSet<ConnectorUid>),
    /// These are all that it knew, and none of them was found in so many looks.
    All(HashSet<ConnectorUid>, u32),
    /// The store is this cluster's.
    None,
}

impl Strangers {
    /// A look found these of the connectors that the store knows.
    fn note(&mut self, here: &[ConnectorRef]) {
        let (Self::Undecided(known) | Self::All(known, _)) = self else {
            return;
        };
        if known.is_empty() || here.iter().any(|c| known.contains(&c.uid)) {
            *self = Self::None;
            return;
        }
        match self {
            Self::Undecided(known) => {
                tracing::warn!(
                    connectors = known.len(),
                    "none of the connectors that the store knows is in this cluster: is it another one's? their sessions end in a day"
                );
                *self = Self::All(std::mem::take(known), 1);
            }
            Self::All(_, looks) if *looks < LOOKS_FOR_ALL => *looks += 1,
            Self::All(..) | Self::None => *self = Self::None,
        }
    }

    /// Whether this one's absence says nothing.
    fn are(&self, uid: &ConnectorUid) -> bool {
        matches!(self, Self::All(strangers, _) if strangers.contains(uid))
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

    fn knew(uids: &[&str]) -> Strangers {
        Strangers::Undecided(uids.iter().map(|uid| ConnectorUid::from(*uid)).collect())
    }

    #[test]
    fn where_none_that_the_store_knew_is_found_none_is_believed_to_be_gone_soon() {
        let mut strangers = knew(&["a", "b"]);
        // The other cluster's, which the store knows since it was written to, says nothing; when it goes, it went.
        strangers.note(&connectors(&["c"]));
        assert!(strangers.are(&"a".into()) && strangers.are(&"b".into()));
        strangers.note(&[]);
        assert!(strangers.are(&"a".into()) && !strangers.are(&"c".into()));
        // One of the old ones turned up: it is the right cluster after all.
        strangers.note(&connectors(&["a"]));
        assert!(!strangers.are(&"b".into()));
    }

    #[test]
    fn after_a_day_it_is_believed_that_all_went() {
        let mut strangers = knew(&["a"]);
        for _ in 0..LOOKS_FOR_ALL {
            strangers.note(&[]);
            assert!(strangers.are(&"a".into()));
        }
        strangers.note(&[]);
        assert!(!strangers.are(&"a".into()));
    }

    #[test]
    fn where_one_that_the_store_knew_is_found_the_others_went() {
        let mut strangers = knew(&["a", "b"]);
        strangers.note(&connectors(&["a"]));
        assert!(!strangers.are(&"b".into()));
        strangers.note(&[]);
        assert!(!strangers.are(&"a".into()), "seen here, it can be missed");
        let mut strangers = knew(&[]);
        strangers.note(&connectors(&["a"]));
        strangers.note(&[]);
        assert!(!strangers.are(&"a".into()), "a store that was new");
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
