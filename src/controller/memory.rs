//! What the controller remembers of a connector between two reconciles. Lost at a restart, and none the worse for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use kube::core::ObjectMeta;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use super::transcription::BuiltTranscriber;
use crate::api::connector::AssistantSpec;
use crate::api::{FINALIZER, TelegramConnectorStatus};
use crate::assistant::Assistant;
use crate::connection::backoff::Backoff;
use crate::identity::ConnectorUid;
use crate::telegram::Bot;

/// An assistant, and what it was built from.
#[derive(Debug, Clone)]
pub(super) struct BuiltAssistant {
    /// The spec.
    pub(super) spec: AssistantSpec,
    /// The key.
    pub(super) key: Option<SecretString>,
    /// The assistant, or why there is none.
    pub(super) built: Result<Arc<dyn Assistant>, String>,
}

impl BuiltAssistant {
    /// Whether it would be built the same again.
    pub(super) fn is_of(&self, spec: &AssistantSpec, key: Option<&SecretString>) -> bool {
        self.spec == *spec
            && self.key.as_ref().map(ExposeSecret::expose_secret)
                == key.map(ExposeSecret::expose_secret)
    }
}

/// How far the disconnection of a deleted connector has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Disconnection {
    /// Not begun.
    #[default]
    NotYet,
    /// Under way.
    Running,
    /// Done, or given up.
    Done,
}

/// What is remembered of one connector.
#[derive(Debug)]
pub(super) struct Memory {
    /// The status that was written last, with the `resourceVersion` it made: the watch may be behind.
    pub(super) written: Option<(String, TelegramConnectorStatus)>,
    /// The version in which the watch had caught up with it: what is older than that has another status than there is.
    pub(super) caught_up: Option<String>,
    /// Since when something is missing for a settled status.
    pub(super) unsettled_since: Option<Instant>,
    /// Another token came since the status was written last.
    pub(super) connection_changed: bool,
    /// Another assistant came since the status was written last.
    pub(super) assistant_changed: bool,
    /// The bot that is connected, or was before its token went.
    pub(super) bot: Option<Bot>,
    /// Its token is there.
    pub(super) has_token: bool,
    /// Who answers.
    pub(super) assistant: Option<BuiltAssistant>,
    /// Who writes voice messages down.
    pub(super) transcriber: Option<BuiltTranscriber>,
    /// Failed reconciles in a row.
    pub(super) failures: Backoff,
    /// Whether our finalizer was there after we wrote it last, with the `resourceVersion` that made: the watch may be behind.
    pub(super) finalizer: Option<(String, bool)>,
    /// Where a deletion stands.
    pub(super) disconnection: Disconnection,
    /// The `Ready` reason, for the metric.
    pub(super) ready_reason: Option<&'static str>,
    /// The reader's error that was told last.
    pub(super) unreadable: Option<String>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            written: None,
            caught_up: None,
            unsettled_since: None,
            connection_changed: false,
            assistant_changed: false,
            bot: None,
            has_token: false,
            assistant: None,
            transcriber: None,
            failures: Backoff::new(
                std::time::Duration::from_secs(1),
                std::time::Duration::from_mins(2),
            ),
            finalizer: None,
            disconnection: Disconnection::default(),
            ready_reason: None,
            unreadable: None,
        }
    }
}

impl Memory {
    /// The status as it is: the watch's, unless we know of a newer one.
    pub(super) fn status(
        &self,
        metadata: &ObjectMeta,
        watched: Option<&TelegramConnectorStatus>,
    ) -> Option<TelegramConnectorStatus> {
        match &self.written {
            Some((version, status)) if is_newer(version, metadata) => Some(status.clone()),
            _ => watched.cloned(),
        }
    }

    /// Whether the watch has shown a newer object than this one, and what we wrote was forgotten for it.
    pub(super) fn is_ahead_of(&self, metadata: &ObjectMeta) -> bool {
        self.caught_up
            .as_deref()
            .is_some_and(|version| is_newer(version, metadata))
    }

    /// Whether our finalizer is there: the watch's word, unless we know of a newer write of ours.
    pub(super) fn has_finalizer(&self, metadata: &ObjectMeta) -> bool {
        match &self.finalizer {
            Some((version, present)) if is_newer(version, metadata) => *present,
            _ => metadata.finalizers.iter().flatten().any(|f| f == FINALIZER),
        }
    }
}

/// Whether our write is newer than the object that the watch gave. Resource versions of one kind can be compared as numbers
/// (KEP-5504); where one is none, the watch is believed.
fn is_newer(written: &str, metadata: &ObjectMeta) -> bool {
    let watched = metadata.resource_version.as_deref().map(str::parse::<u64>);
    match (written.parse::<u64>(), watched) {
        (Ok(written), Some(Ok(watched))) => written > watched,
        _ => false,
    }
}

/// The memories of all connectors.
#[derive(Debug, Default)]
pub(super) struct Memories(Mutex<HashMap<ConnectorUid, Box<Memory>>>);

impl Memories {
    /// Reads or changes what is remembered of a connector. Quick work only: everybody waits.
    pub(super) fn with<T>(&self, uid: &ConnectorUid, work: impl FnOnce(&mut Memory) -> T) -> T {
        let mut memories = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match memories.get_mut(uid) {
            Some(memory) => work(memory),
            None => work(memories.entry(uid.clone()).or_default()),
        }
    }

    /// The watch gave this object: what we wrote before it need not be remembered.
    pub(super) fn caught_up(&self, object: &ObjectMeta) {
        let mut memories = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let uid = object.uid.as_deref().map(ConnectorUid::from);
        let Some(memory) = uid.and_then(|uid| memories.get_mut(&uid)) else {
            return;
        };
        if let Some((version, _)) = &memory.written
            && !is_newer(version, object)
        {
            memory.written = None;
            memory.caught_up.clone_from(&object.resource_version);
        }
    }

    /// A connector is gone.
    pub(super) fn forget(&self, uid: &ConnectorUid) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(uid);
    }

    /// How many connectors have which `Ready` reason.
    pub(super) fn reasons(&self) -> HashMap<&'static str, usize> {
        let mut count = HashMap::new();
        for memory in self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
        {
            if let Some(reason) = memory.ready_reason {
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
    fn what_was_written_is_forgotten_when_the_watch_shows_it_and_an_older_object_is_known_for_one()
    {
        let object = |version: &str| ObjectMeta {
            uid: Some("u".into()),
            resource_version: Some(version.into()),
            ..ObjectMeta::default()
        };
        let memories = Memories::default();
        let uid = ConnectorUid::from("u");
        let written = Some(("9".to_owned(), TelegramConnectorStatus::default()));
        memories.with(&uid, |m| m.written.clone_from(&written));
        memories.caught_up(&object("8"));
        memories.with(&uid, |m| {
            assert!(m.written.is_some() && !m.is_ahead_of(&object("8")));
        });
        memories.caught_up(&object("10"));
        memories.with(&uid, |m| {
            assert_eq!(m.written, None);
            assert!(m.is_ahead_of(&object("8")) && !m.is_ahead_of(&object("10")));
        });
    }

    #[test]
    fn our_own_write_of_the_finalizer_counts_until_the_watch_shows_a_newer_object() {
        let object = |version: &str, present: bool| ObjectMeta {
            resource_version: Some(version.into()),
            finalizers: present.then(|| vec![FINALIZER.to_owned()]),
            ..ObjectMeta::default()
        };
        let mut memory = Memory::default();
        assert!(!memory.has_finalizer(&object("7", false)));
        memory.finalizer = Some(("9".into(), true));
        assert!(
            memory.has_finalizer(&object("8", false)),
            "the watch is behind"
        );
        assert!(memory.has_finalizer(&object("9", true)));
        assert!(
            !memory.has_finalizer(&object("10", false)),
            "somebody took it away"
        );
        memory.finalizer = Some(("12".into(), false));
        assert!(!memory.has_finalizer(&object("11", true)));
    }
}
