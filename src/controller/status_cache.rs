//! What this process wrote last into an object, until its watch shows it: reconciles run ahead of the watch, and must not take their own
//! write for missing. And what should be in it: a status that somebody else wiped or forged is no ground to stand on.

use std::collections::HashMap;
use std::time::Duration;

use kube::core::ObjectMeta;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

/// How often the status of one object is repaired within [`REPAIR_WINDOW`]: somebody who keeps changing it is not fought.
const MAX_REPAIRS: usize = 4;
const REPAIR_WINDOW: Duration = Duration::from_mins(1);

/// A status that the operator writes.
pub(super) trait OwnStatus: Clone + Serialize + DeserializeOwned {
    /// Whether this one says what `wanted` says, apart from what the operator never writes.
    fn shows(&self, wanted: &Self) -> bool;
}

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
    /// Boxed: the watch soon catches up, and then nothing is left of it.
    written: Option<Box<WrittenValue<S>>>,
    /// The version in which the watch had caught up with our write: an older object shows a status that is no more.
    caught_up_at: Option<String>,
    /// What this process, as the leader, wrote or found first. JSON takes a fourth of the room, and there are thousands.
    own: Option<Box<str>>,
    /// When the status was repaired lately, the oldest first.
    repairs: Vec<Instant>,
}

impl<S> Default for Entry<S> {
    fn default() -> Self {
        Self {
            written: None,
            caught_up_at: None,
            own: None,
            repairs: Vec::new(),
        }
    }
}

impl<S: OwnStatus> Entry<S> {
    fn own_status(&self) -> Option<S> {
        serde_json::from_str(self.own.as_deref()?).ok()
    }
}

fn to_json(status: &impl Serialize) -> Option<Box<str>> {
    serde_json::to_string(status)
        .ok()
        .map(String::into_boxed_str)
}

/// The statuses written last, by the object's uid.
#[derive(Debug)]
pub(super) struct StatusCache<S>(Mutex<HashMap<Box<str>, Entry<S>>>);

impl<S> Default for StatusCache<S> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<S: OwnStatus> StatusCache<S> {
    /// The status to a follower: what the watch shows, unless a newer one was written. What this process knew as a leader is forgotten.
    pub(super) fn as_follower(&self, object: &ObjectMeta, watched: Option<&S>) -> Option<S> {
        let mut entries = self.0.lock();
        let entry = entries.get_mut(uid_of(object));
        entry
            .and_then(|entry| {
                entry.own = None;
                entry.written.as_ref()?.if_newer_than(object)
            })
            .or(watched)
            .cloned()
    }

    /// The status to the leader: what it wrote last, or found first, and whether the watch shows another one.
    pub(super) fn as_leader(&self, object: &ObjectMeta, watched: Option<&S>) -> (Option<S>, bool) {
        let mut entries = self.0.lock();
        let entry = entries.entry(uid_of(object).into()).or_default();
        let written = entry.written.as_ref();
        if let Some(written) = written.and_then(|w| w.if_newer_than(object)) {
            return (Some(written.clone()), false);
        }
        let Some(own) = entry.own_status() else {
            entry.own = watched.and_then(to_json);
            return (watched.cloned(), false);
        };
        let is_altered = !watched.is_some_and(|watched| watched.shows(&own));
        (Some(own), is_altered)
    }

    /// Whether the watch shows a status that this process, as the leader, neither wrote nor found.
    pub(super) fn is_altered(&self, object: &ObjectMeta, watched: Option<&S>) -> bool {
        let entries = self.0.lock();
        entries.get(uid_of(object)).is_some_and(|entry| {
            let written = entry.written.as_ref();
            let is_behind = written.is_some_and(|w| w.if_newer_than(object).is_some());
            !is_behind
                && entry
                    .own_status()
                    .is_some_and(|own| !watched.is_some_and(|watched| watched.shows(&own)))
        })
    }

    /// Counts a repair of the status.
    ///
    /// # Errors
    /// How long to wait, because it was repaired [`MAX_REPAIRS`] times within [`REPAIR_WINDOW`].
    pub(super) fn begin_repair(&self, object: &ObjectMeta, now: Instant) -> Result<(), Duration> {
        let mut entries = self.0.lock();
        let repairs = &mut entries.entry(uid_of(object).into()).or_default().repairs;
        repairs.retain(|at| now - *at < REPAIR_WINDOW);
        match repairs.first() {
            Some(oldest) if repairs.len() >= MAX_REPAIRS => {
                Err(REPAIR_WINDOW.saturating_sub(now - *oldest))
            }
            _ => {
                repairs.push(now);
                Ok(())
            }
        }
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
        let entry = entries.entry(uid_of(object).into()).or_default();
        entry.own = to_json(&status);
        entry.written = version.map(|v| Box::new(WrittenValue::new(v, status)));
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

    impl OwnStatus for String {
        fn shows(&self, wanted: &Self) -> bool {
            self == wanted
        }
    }

    #[test]
    fn written_status_is_dropped_when_watched_and_stale_objects_seen() {
        let cache = StatusCache::default();
        let watched = "watched".to_owned();
        cache.on_written(&object("7"), Some("9".into()), "written".to_owned());
        cache.on_watched(&object("8"));
        assert_eq!(
            cache.as_follower(&object("8"), Some(&watched)).as_deref(),
            Some("written")
        );
        assert!(!cache.is_stale(&object("8")));
        cache.on_watched(&object("10"));
        assert_eq!(
            cache.as_follower(&object("10"), Some(&watched)).as_deref(),
            Some("watched")
        );
        assert!(cache.is_stale(&object("8")) && !cache.is_stale(&object("10")));
    }

    #[test]
    fn status_that_somebody_else_wrote_is_known_as_altered() {
        let cache = StatusCache::default();
        let found = "found".to_owned();
        let own = "own".to_owned();
        assert!(
            !cache.is_altered(&object("5"), Some(&own)),
            "nothing is known"
        );
        assert_eq!(
            cache.as_leader(&object("7"), Some(&found)),
            (Some(found.clone()), false)
        );
        assert!(cache.is_altered(&object("8"), None), "wiped");
        cache.on_written(&object("7"), Some("9".into()), own.clone());
        assert!(
            !cache.is_altered(&object("8"), Some(&found)),
            "the watch is behind"
        );
        assert!(!cache.is_altered(&object("9"), Some(&own)));
        assert!(cache.is_altered(&object("10"), Some(&found)));
        assert_eq!(
            cache.as_leader(&object("10"), Some(&found)),
            (Some(own.clone()), true)
        );
        // Another process leads and writes, until this one does again.
        cache.as_follower(&object("11"), Some(&found));
        assert!(!cache.is_altered(&object("12"), Some(&own)));
        assert_eq!(
            cache.as_leader(&object("12"), Some(&found)),
            (Some(found), false)
        );
    }

    #[test]
    fn repairs_of_one_object_are_bounded_per_minute() {
        let cache = StatusCache::<String>::default();
        let begin = Instant::now();
        let repair = |second| cache.begin_repair(&object("1"), begin + Duration::from_secs(second));
        for second in [0, 1, 2, 3] {
            assert_eq!(repair(second), Ok(()));
        }
        assert_eq!(repair(4), Err(Duration::from_secs(56)));
        assert_eq!(repair(60), Ok(()));
        assert_eq!(repair(60), Err(Duration::from_secs(1)));
    }

    #[test]
    fn own_write_counts_until_the_watch_shows_a_newer_object() {
        let written = WrittenValue::new("9".into(), true);
        assert_eq!(written.if_newer_than(&object("8")), Some(&true));
        assert_eq!(written.if_newer_than(&object("9")), None);
        assert_eq!(written.if_newer_than(&object("10")), None);
    }
}
