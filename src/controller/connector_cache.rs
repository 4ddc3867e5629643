//! What the controller remembers of a connector between two reconciles. Lost at a restart, and none the worse for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use kube::core::ObjectMeta;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use super::transcription::CachedTranscriber;
use crate::api::conditions::Reason;
use crate::api::connector::AssistantSpec;
use crate::api::{FINALIZER, TelegramConnectorStatus};
use crate::assistant::Assistant;
use crate::backoff::Backoff;
use crate::identity::ConnectorUid;
use crate::telegram::Bot;

/// An assistant, and what it was built from.
#[derive(Debug, Clone)]
pub(super) struct CachedAssistant {
    /// The spec.
    pub(super) spec: AssistantSpec,
    /// The key.
    pub(super) key: Option<SecretString>,
    /// The assistant, or why there is none.
    pub(super) built: Result<Arc<dyn Assistant>, String>,
}

impl CachedAssistant {
    /// Whether it would be built the same again.
    pub(super) fn matches(&self, spec: &AssistantSpec, key: Option<&SecretString>) -> bool {
        self.spec == *spec
            && self.key.as_ref().map(ExposeSecret::expose_secret)
                == key.map(ExposeSecret::expose_secret)
    }
}

/// How far the disconnection of a deleted connector has come.
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

/// What is remembered of one connector.
#[derive(Debug)]
pub(super) struct ConnectorCacheEntry {
    /// The status that was written last, with the `resourceVersion` it made: the watch may be behind.
    pub(super) written_status: Option<(String, TelegramConnectorStatus)>,
    /// The version in which the watch had caught up with it: what is older than that has another status than there is.
    pub(super) watched_version: Option<String>,
    /// Since when something is missing for a settled status.
    pub(super) incomplete_since: Option<Instant>,
    /// Another token came since the status was written last.
    pub(super) connection_changed: bool,
    /// Another assistant came since the status was written last.
    pub(super) assistant_changed: bool,
    /// The bot that is connected, or was before its token went.
    pub(super) bot: Option<Bot>,
    /// Its token is there.
    pub(super) has_token: bool,
    /// Who answers.
    pub(super) assistant: Option<CachedAssistant>,
    /// Who writes voice messages down.
    pub(super) transcriber: Option<CachedTranscriber>,
    /// Failed reconciles in a row.
    pub(super) backoff: Backoff,
    /// Whether our finalizer was there after we wrote it last, with the `resourceVersion` that made: the watch may be behind.
    pub(super) written_finalizer: Option<(String, bool)>,
    /// Where a deletion stands.
    pub(super) webhook_deletion: WebhookDeletion,
    /// The `Ready` reason, for the metric.
    pub(super) ready_reason: Option<Reason>,
    /// The reader's error that was told last.
    pub(super) logged_parse_error: Option<String>,
}

impl Default for ConnectorCacheEntry {
    fn default() -> Self {
        Self {
            written_status: None,
            watched_version: None,
            incomplete_since: None,
            connection_changed: false,
            assistant_changed: false,
            bot: None,
            has_token: false,
            assistant: None,
            transcriber: None,
            backoff: Backoff::new(
                std::time::Duration::from_secs(1),
                std::time::Duration::from_mins(2),
            ),
            written_finalizer: None,
            webhook_deletion: WebhookDeletion::default(),
            ready_reason: None,
            logged_parse_error: None,
        }
    }
}

impl ConnectorCacheEntry {
    /// The status as it is: the watch's, unless we know of a newer one.
    pub(super) fn status(
        &self,
        metadata: &ObjectMeta,
        watched: Option<&TelegramConnectorStatus>,
    ) -> Option<TelegramConnectorStatus> {
        match &self.written_status {
            Some((version, status)) if is_newer(version, metadata) => Some(status.clone()),
            _ => watched.cloned(),
        }
    }

    /// Whether the watch has shown a newer object than this one, and what we wrote was forgotten for it.
    pub(super) fn has_seen_newer_than(&self, metadata: &ObjectMeta) -> bool {
        self.watched_version
            .as_deref()
            .is_some_and(|version| is_newer(version, metadata))
    }

    /// Whether our finalizer is there: the watch's word, unless we know of a newer write of ours.
    pub(super) fn has_finalizer(&self, metadata: &ObjectMeta) -> bool {
        match &self.written_finalizer {
            Some((version, present)) if is_newer(version, metadata) => *present,
            _ => metadata.finalizers.iter().flatten().any(|f| f == FINALIZER),
        }
    }
}

/// Whether our write is newer than the object that the watch gave. Resource versions of one kind can be compared as numbers
/// (KEP-5504); where one is none, the watch is believed.
fn is_newer(written_version: &str, metadata: &ObjectMeta) -> bool {
    let watched = metadata.resource_version.as_deref().map(str::parse::<u64>);
    match (written_version.parse::<u64>(), watched) {
        (Ok(written), Some(Ok(watched))) => written > watched,
        _ => false,
    }
}

/// The memories of all connectors.
#[derive(Debug, Default)]
pub(super) struct ConnectorCache(Mutex<HashMap<ConnectorUid, Box<ConnectorCacheEntry>>>);

impl ConnectorCache {
    /// Reads or changes what is remembered of a connector. Quick work only: everybody waits.
    pub(super) fn with_entry<T>(
        &self,
        uid: &ConnectorUid,
        change: impl FnOnce(&mut ConnectorCacheEntry) -> T,
    ) -> T {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match entries.get_mut(uid) {
            Some(entry) => change(entry),
            None => change(entries.entry(uid.clone()).or_default()),
        }
    }

    /// The watch gave this object: what we wrote before it need not be remembered.
    pub(super) fn on_watched(&self, object: &ObjectMeta) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let uid = object.uid.as_deref().map(ConnectorUid::from);
        let Some(entry) = uid.and_then(|uid| entries.get_mut(&uid)) else {
            return;
        };
        if let Some((version, _)) = &entry.written_status
            && !is_newer(version, object)
        {
            entry.written_status = None;
            entry.watched_version.clone_from(&object.resource_version);
        }
    }

    /// A connector is gone.
    pub(super) fn remove(&self, uid: &ConnectorUid) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(uid);
    }

    /// How many connectors have which `Ready` reason.
    pub(super) fn count_by_reason(&self) -> HashMap<Reason, usize> {
        let mut count = HashMap::new();
        for entry in self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
        {
            if let Some(reason) = entry.ready_reason {
                *count.entry(reason).or_default() += 1;
            }
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_status_is_dropped_when_watched_and_stale_objects_seen() {
        let object = |version: &str| ObjectMeta {
            uid: Some("u".into()),
            resource_version: Some(version.into()),
            ..ObjectMeta::default()
        };
        let cache = ConnectorCache::default();
        let uid = ConnectorUid::from("u");
        let written = Some(("9".to_owned(), TelegramConnectorStatus::default()));
        cache.with_entry(&uid, |m| m.written_status.clone_from(&written));
        cache.on_watched(&object("8"));
        cache.with_entry(&uid, |m| {
            assert!(m.written_status.is_some() && !m.has_seen_newer_than(&object("8")));
        });
        cache.on_watched(&object("10"));
        cache.with_entry(&uid, |m| {
            assert_eq!(m.written_status, None);
            assert!(m.has_seen_newer_than(&object("8")) && !m.has_seen_newer_than(&object("10")));
        });
    }

    #[test]
    fn own_finalizer_write_counts_until_watch_shows_newer_object() {
        let object = |version: &str, present: bool| ObjectMeta {
            resource_version: Some(version.into()),
            finalizers: present.then(|| vec![FINALIZER.to_owned()]),
            ..ObjectMeta::default()
        };
        let mut entry = ConnectorCacheEntry::default();
        assert!(!entry.has_finalizer(&object("7", false)));
        entry.written_finalizer = Some(("9".into(), true));
        assert!(
            entry.has_finalizer(&object("8", false)),
            "the watch is behind"
        );
        assert!(entry.has_finalizer(&object("9", true)));
        assert!(
            !entry.has_finalizer(&object("10", false)),
            "somebody took it away"
        );
        entry.written_finalizer = Some(("12".into(), false));
        assert!(!entry.has_finalizer(&object("11", true)));
    }
}
