//! What the controller remembers of a connector between two reconciles besides its status. Lost at a restart, and rebuilt by the next
//! reconcile.

use std::collections::HashMap;

use kube::core::ObjectMeta;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::status_cache::WrittenValue;
use crate::api::FINALIZER;
use crate::api::conditions::Reason;
use crate::identity::ConnectorUid;
use crate::store::shards::Shard;
use crate::telegram::Bot;

/// How far the removal of a deleted connector's webhook has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum WebhookDeletion {
    /// Not begun.
    #[default]
    NotStarted,
    /// Under way.
    Running,
    /// Done, or given up.
    Done,
}

/// The bot that a connector had when it was reconciled last.
#[derive(Debug, Clone, Default)]
pub(super) struct RememberedBot {
    /// The bot that is connected, or was before its token went: a Secret that is replaced may be gone for a moment.
    pub(super) bot: Option<Bot>,
    /// Whether its token was there.
    pub(super) has_token: bool,
}

/// What is remembered of one connector.
#[derive(Debug, Default)]
pub(super) struct ConnectorCacheEntry {
    /// The bot of the last reconcile.
    pub(super) remembered: RememberedBot,
    /// Another token came since the status was written last.
    pub(super) connection_changed: bool,
    /// Another assistant came since the status was written last.
    pub(super) assistant_changed: bool,
    /// Since when something is missing for a complete status.
    pub(super) incomplete_since: Option<Instant>,
    /// Whether our finalizer was there after it was written last.
    pub(super) written_finalizer: Option<WrittenValue<bool>>,
    /// Where a deletion stands.
    pub(super) webhook_deletion: WebhookDeletion,
    /// The shard of its bot, where shards are shared.
    pub(super) shard: Option<Shard>,
    /// The `Ready` reason, for the metric.
    pub(super) ready_reason: Option<Reason>,
    /// The deserialization error that was logged last.
    pub(super) logged_parse_error: Option<String>,
}

impl ConnectorCacheEntry {
    /// Whether our finalizer is there: as the watch shows it, unless a newer write of ours says otherwise.
    pub(super) fn has_finalizer(&self, object: &ObjectMeta) -> bool {
        let written = self.written_finalizer.as_ref();
        written
            .and_then(|w| w.if_newer_than(object).copied())
            .unwrap_or_else(|| object.finalizers.iter().flatten().any(|f| f == FINALIZER))
    }
}

/// The entries of all connectors.
#[derive(Debug, Default)]
pub(super) struct ConnectorCache(Mutex<HashMap<ConnectorUid, Box<ConnectorCacheEntry>>>);

impl ConnectorCache {
    /// Reads or changes the entry of a connector. Every reconcile waits for the lock: quick work only.
    pub(super) fn with_entry<T>(
        &self,
        uid: &ConnectorUid,
        change: impl FnOnce(&mut ConnectorCacheEntry) -> T,
    ) -> T {
        let mut entries = self.0.lock();
        match entries.get_mut(uid) {
            Some(entry) => change(entry),
            None => change(entries.entry(uid.clone()).or_default()),
        }
    }

    /// The connector is gone.
    pub(super) fn remove(&self, uid: &ConnectorUid) {
        self.0.lock().remove(uid);
    }

    /// The connectors whose bots are of these shards.
    pub(super) fn of_shards(&self, shards: &[Shard]) -> Vec<ConnectorUid> {
        let entries = self.0.lock();
        let found = entries
            .iter()
            .filter(|(_, entry)| entry.shard.is_some_and(|shard| shards.contains(&shard)));
        found.map(|(uid, _)| uid.clone()).collect()
    }

    /// How many connectors have which `Ready` reason.
    pub(super) fn count_by_reason(&self) -> HashMap<Reason, usize> {
        let mut count = HashMap::new();
        for reason in self.0.lock().values().filter_map(|e| e.ready_reason) {
            *count.entry(reason).or_default() += 1;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_finalizer_write_counts_until_watch_shows_newer_object() {
        let object = |version: &str, present: bool| ObjectMeta {
            resource_version: Some(version.into()),
            finalizers: present.then(|| vec![FINALIZER.to_owned()]),
            ..ObjectMeta::default()
        };
        let mut entry = ConnectorCacheEntry::default();
        assert!(!entry.has_finalizer(&object("7", false)));
        entry.written_finalizer = Some(WrittenValue::new("9".into(), true));
        assert!(
            entry.has_finalizer(&object("8", false)),
            "the watch is behind"
        );
        assert!(entry.has_finalizer(&object("9", true)));
        assert!(
            !entry.has_finalizer(&object("10", false)),
            "somebody took it away"
        );
        entry.written_finalizer = Some(WrittenValue::new("12".into(), false));
        assert!(!entry.has_finalizer(&object("11", true)));
    }
}
