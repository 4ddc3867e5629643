//! What this process wrote last into an object, until its watch shows it: reconciles run ahead of the watch, and must not take their own
//! write for missing.

use std::collections::HashMap;

use kube::core::ObjectMeta;
use parking_lot::Mutex;

/// A value that was written, with the `resourceVersion` that the write made.
#[derive(Debug, Clone)]
pub(super) struct WrittenValue<T> {
    version: String,
    value: T,
}

impl<T> WrittenValue<T> {
    /// `version` is the object's `resourceVersion` after the write.
    pub(super) fn new(version: String, value: T) -> Self {
        Self { version, value }
    }

    /// The value, unless the watch has caught up with the write.
    pub(super) fn if_newer_than(&self, watched: &ObjectMeta) -> Option<&T> {
        is_newer(&self.version, watched).then_some(&self.value)
    }
}

/// Whether our write is newer than the object that the watch gave. Resource versions of one kind can be compared as numbers
/// (KEP-5504); where one is none, the watch is believed.
fn is_newer(written_version: &str, watched: &ObjectMeta) -> bool {
    let watched = watched.resource_version.as_deref().map(str::parse::<u64>);
    match (written_version.parse::<u64>(), watched) {
        (Ok(written), Some(Ok(watched))) => written > watched,
        _ => false,
    }
}

#[derive(Debug)]
struct Entry<S> {
    written: Option<WrittenValue<S>>,
    /// The version in which the watch had caught up with our write: an older object shows a status that is no more.
    caught_up_at: Option<String>,
}

/// The statuses written last, by the object's uid.
#[derive(Debug)]
pub(super) struct StatusCache<S>(Mutex<HashMap<String, Entry<S>>>);

impl<S> Default for StatusCache<S> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<S: Clone> StatusCache<S> {
    /// The status as it is: what the watch shows, unless a newer one was written.
    pub(super) fn current(&self, object: &ObjectMeta, watched: Option<&S>) -> Option<S> {
        let entries = self.0.lock();
        entries
            .get(uid_of(object))
            .and_then(|e| e.written.as_ref()?.if_newer_than(object))
            .or(watched)
            .cloned()
    }

    /// Whether the watch has shown a newer object than this one, and our write was dropped for it.
    pub(super) fn is_stale(&self, object: &ObjectMeta) -> bool {
        let entries = self.0.lock();
        entries
            .get(uid_of(object))
            .and_then(|e| e.caught_up_at.as_deref())
            .is_some_and(|version| is_newer(version, object))
    }

    /// A status was written; `version` is `None` if the object is gone.
    pub(super) fn on_written(&self, object: &ObjectMeta, version: Option<String>, status: S) {
        let mut entries = self.0.lock();
        let caught_up_at = entries.remove(uid_of(object)).and_then(|e| e.caught_up_at);
        let entry = Entry {
            written: version.map(|v| WrittenValue::new(v, status)),
            caught_up_at,
        };
        entries.insert(uid_of(object).to_owned(), entry);
    }

    /// The watch gave this object: an older write of ours is in it, or undone by it.
    pub(super) fn on_watched(&self, object: &ObjectMeta) {
        let mut entries = self.0.lock();
        if let Some(entry) = entries.get_mut(uid_of(object))
            && let Some(written) = &entry.written
            && !is_newer(&written.version, object)
        {
            entry.written = None;
            entry.caught_up_at.clone_from(&object.resource_version);
        }
    }

    /// The object is gone.
    pub(super) fn remove(&self, uid: &str) {
        self.0.lock().remove(uid);
    }
}

fn uid_of(object: &ObjectMeta) -> &str {
    object.uid.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(version: &str) -> ObjectMeta {
        ObjectMeta {
            uid: Some("u".into()),
            resource_version: Some(version.into()),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn written_status_is_dropped_when_watched_and_stale_objects_seen() {
        let cache = StatusCache::default();
        cache.on_written(&object("7"), Some("9".into()), "written");
        cache.on_watched(&object("8"));
        assert_eq!(
            cache.current(&object("8"), Some(&"watched")),
            Some("written")
        );
        assert!(!cache.is_stale(&object("8")));
        cache.on_watched(&object("10"));
        assert_eq!(
            cache.current(&object("10"), Some(&"watched")),
            Some("watched")
        );
        assert!(cache.is_stale(&object("8")) && !cache.is_stale(&object("10")));
    }

    #[test]
    fn own_write_counts_until_the_watch_shows_a_newer_object() {
        let written = WrittenValue::new("9".into(), true);
        assert_eq!(written.if_newer_than(&object("8")), Some(&true));
        assert_eq!(written.if_newer_than(&object("9")), None);
        assert_eq!(written.if_newer_than(&object("10")), None);
    }
}
