//! Where the objects lie: every write gets a revision of its own, every collection keeps a bounded history.
//!
//! An object is stored as the JSON bytes that readers get, beside the few facts that selectors and the collector need;
//! a get, list or watch therefore copies bytes and parses nothing. All reads and commits take one short lock; patches and
//! validation run outside it and commit only if the object is still the one they read.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use serde_json::Value;
use tokio::sync::watch;

use super::object::{is_deleting, metadata_str, value_at};

/// One object as it is stored.
#[derive(Debug)]
pub(super) struct StoredObject {
    /// The object, in the version it is stored in.
    pub json: Bytes,
    pub revision: u64,
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub labels: Box<[(Box<str>, Box<str>)]>,
    pub owners: Box<[Box<str>]>,
    pub deleting: bool,
}

impl StoredObject {
    fn new(object: &Value, revision: u64) -> Self {
        let labels = value_at(object, &["metadata", "labels"])
            .as_object()
            .map(|labels| {
                labels
                    .iter()
                    .filter_map(|(key, value)| Some((key.as_str().into(), value.as_str()?.into())))
                    .collect()
            });
        let owners = value_at(object, &["metadata", "ownerReferences"])
            .as_array()
            .map(|owners| {
                owners
                    .iter()
                    .filter_map(|owner| Some(owner.get("uid")?.as_str()?.into()))
                    .collect()
            });
        Self {
            json: serde_json::to_vec(object)
                .expect("a JSON value serializes")
                .into(),
            revision,
            namespace: metadata_str(object, "namespace").into(),
            name: metadata_str(object, "name").into(),
            uid: metadata_str(object, "uid").into(),
            labels: labels.unwrap_or_default(),
            owners: owners.unwrap_or_default(),
            deleting: is_deleting(object),
        }
    }

    /// The object, parsed.
    pub(super) fn object(&self) -> Value {
        serde_json::from_slice(&self.json).expect("stored bytes are the JSON that the store wrote")
    }
}

/// An object's place in its collection: namespace ("" when cluster-wide) and name.
pub(super) type ObjectKey = (String, String);

/// Something that happened to one object.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub revision: u64,
    /// What it was; `None` when it was created.
    pub before: Option<Arc<StoredObject>>,
    /// What it is; after a deletion its last state, with the deletion's revision.
    pub after: Arc<StoredObject>,
    pub deleted: bool,
}

/// One collection.
#[derive(Debug)]
struct Collection {
    objects: BTreeMap<ObjectKey, Arc<StoredObject>>,
    history: VecDeque<Change>,
    /// The revision of the newest forgotten change: whoever knows less must list again.
    compacted_revision: u64,
    changed: watch::Sender<u64>,
    /// Counted up to end every open watch.
    closed: watch::Sender<u64>,
}

impl Collection {
    fn new() -> Self {
        Self {
            objects: BTreeMap::new(),
            history: VecDeque::new(),
            compacted_revision: 0,
            changed: watch::Sender::new(0),
            closed: watch::Sender::new(0),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    revision: u64,
    collections: HashMap<Arc<str>, Collection>,
    /// Dependents by the uid of their owner.
    dependents: HashMap<Box<str>, BTreeSet<(Arc<str>, ObjectKey)>>,
    /// Every living uid.
    by_uid: HashMap<String, (Arc<str>, ObjectKey)>,
}

/// All collections.
#[derive(Debug)]
pub(super) struct ObjectStore {
    state: Mutex<State>,
    history: usize,
}

/// A commit found another version than the one it was made from.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RevisionConflict;

/// What a follower of a collection reads next.
#[derive(Debug)]
pub(super) enum ChangesSince {
    /// What happened since, and the revision up to which this is everything.
    Changes(Vec<Change>, u64),
    /// The history does not reach back that far; the oldest revision that it does.
    Compacted(u64),
}

/// A snapshot of a collection.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub objects: Vec<Arc<StoredObject>>,
    pub revision: u64,
}

impl ObjectStore {
    /// `history`: how many changes each collection remembers.
    pub(super) fn new(history: usize) -> Self {
        let state = State {
            revision: 1,
            ..State::default()
        };
        Self {
            state: Mutex::new(state),
            history,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// The newest revision.
    pub(super) fn revision(&self) -> u64 {
        self.lock().revision
    }

    pub(super) fn get(
        &self,
        storage: &str,
        namespace: &str,
        name: &str,
    ) -> Option<Arc<StoredObject>> {
        self.lock()
            .collections
            .get(storage)?
            .objects
            .get(&(namespace.to_owned(), name.to_owned()))
            .cloned()
    }

    /// Whether an object with this uid lives, and where.
    pub(super) fn find_by_uid(&self, uid: &str) -> Option<(Arc<str>, ObjectKey)> {
        self.lock().by_uid.get(uid).cloned()
    }

    /// What names `uid` as its owner.
    pub(super) fn dependents(&self, uid: &str) -> Vec<(Arc<str>, ObjectKey)> {
        self.lock()
            .dependents
            .get(uid)
            .map(|all| all.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// Everything in a collection; of one namespace if that is not "".
    pub(super) fn list(&self, storage: &str, namespace: &str) -> Snapshot {
        let state = self.lock();
        Snapshot {
            objects: state.objects(storage, namespace),
            revision: state.revision,
        }
    }

    /// As [`ObjectStore::list`], as it was at `revision`; `Err` holds the oldest revision that history reaches.
    pub(super) fn list_at(
        &self,
        storage: &str,
        namespace: &str,
        revision: u64,
    ) -> Result<Snapshot, u64> {
        let state = self.lock();
        let Some(collection) = state.collections.get(storage) else {
            return Ok(Snapshot {
                objects: Vec::new(),
                revision,
            });
        };
        if revision < collection.compacted_revision {
            return Err(collection.compacted_revision);
        }
        let mut then = collection.objects.clone();
        for change in collection
            .history
            .iter()
            .rev()
            .take_while(|change| change.revision > revision)
        {
            let key = (change.after.namespace.clone(), change.after.name.clone());
            match &change.before {
                Some(before) => then.insert(key, Arc::clone(before)),
                None => then.remove(&key),
            };
        }
        let objects = then
            .into_values()
            .filter(|object| namespace.is_empty() || object.namespace == namespace);
        Ok(Snapshot {
            objects: objects.collect(),
            revision,
        })
    }

    /// Every object of a namespace, in every collection.
    pub(super) fn objects_in_namespace(&self, namespace: &str) -> Vec<(Arc<str>, ObjectKey)> {
        let state = self.lock();
        let mut all = Vec::new();
        for (storage, collection) in &state.collections {
            let from = (namespace.to_owned(), String::new());
            let inside = collection
                .objects
                .range(from..)
                .take_while(|((inside, _), _)| inside == namespace);
            all.extend(inside.map(|(key, _)| (Arc::clone(storage), key.clone())));
        }
        all
    }

    /// Writes `object` if what is there is still `expected` (by revision; `None`: nothing), and returns it with its new
    /// `resourceVersion`.
    pub(super) fn put(
        &self,
        storage: &Arc<str>,
        expected: Option<u64>,
        mut object: Value,
    ) -> Result<Arc<StoredObject>, RevisionConflict> {
        let mut guard = self.lock();
        let state = &mut *guard;
        let key = (
            metadata_str(&object, "namespace").to_owned(),
            metadata_str(&object, "name").to_owned(),
        );
        let collection = state
            .collections
            .entry(Arc::clone(storage))
            .or_insert_with(Collection::new);
        let before = collection.objects.get(&key).cloned();
        if before.as_ref().map(|stored| stored.revision) != expected {
            return Err(RevisionConflict);
        }
        state.revision += 1;
        let revision = state.revision;
        super::object::set_metadata(&mut object, "resourceVersion", revision.to_string());
        let after = Arc::new(StoredObject::new(&object, revision));
        collection.objects.insert(key.clone(), Arc::clone(&after));
        if let Some(before) = &before {
            remove_from_owner_index(&mut state.dependents, storage, &key, before);
        }
        for owner in &after.owners {
            state
                .dependents
                .entry(owner.clone())
                .or_default()
                .insert((Arc::clone(storage), key.clone()));
        }
        state
            .by_uid
            .insert(after.uid.clone(), (Arc::clone(storage), key));
        collection.record_change(
            Change {
                revision,
                before,
                after: Arc::clone(&after),
                deleted: false,
            },
            self.history,
        );
        Ok(after)
    }

    /// Removes an object if it is still `expected`, and returns its last state with the deletion's revision.
    pub(super) fn remove(
        &self,
        storage: &Arc<str>,
        expected: &StoredObject,
        mut last: Value,
    ) -> Result<Arc<StoredObject>, RevisionConflict> {
        let mut guard = self.lock();
        let state = &mut *guard;
        let key = (expected.namespace.clone(), expected.name.clone());
        let Some(collection) = state.collections.get_mut(storage) else {
            return Err(RevisionConflict);
        };
        if collection.objects.get(&key).map(|stored| stored.revision) != Some(expected.revision) {
            return Err(RevisionConflict);
        }
        state.revision += 1;
        let revision = state.revision;
        let before = collection.objects.remove(&key);
        super::object::set_metadata(&mut last, "resourceVersion", revision.to_string());
        let after = Arc::new(StoredObject::new(&last, revision));
        remove_from_owner_index(&mut state.dependents, storage, &key, expected);
        state.by_uid.remove(&expected.uid);
        collection.record_change(
            Change {
                revision,
                before,
                after: Arc::clone(&after),
                deleted: true,
            },
            self.history,
        );
        Ok(after)
    }

    /// What happened to a collection after `since`.
    pub(super) fn changes(&self, storage: &str, since: u64) -> ChangesSince {
        let state = self.lock();
        let Some(collection) = state.collections.get(storage) else {
            return ChangesSince::Changes(Vec::new(), state.revision.max(since));
        };
        if since < collection.compacted_revision {
            return ChangesSince::Compacted(collection.compacted_revision);
        }
        let start = collection
            .history
            .partition_point(|change| change.revision <= since);
        ChangesSince::Changes(
            collection.history.range(start..).cloned().collect(),
            state.revision.max(since),
        )
    }

    /// Signals of a collection: it changed; its watches must end.
    pub(super) fn subscribe(
        &self,
        storage: &Arc<str>,
    ) -> (watch::Receiver<u64>, watch::Receiver<u64>) {
        let mut state = self.lock();
        let collection = state
            .collections
            .entry(Arc::clone(storage))
            .or_insert_with(Collection::new);
        (
            collection.changed.subscribe(),
            collection.closed.subscribe(),
        )
    }

    /// Ends the open watches of a collection, or of all.
    pub(super) fn close_watches(&self, storage: Option<&str>) {
        for (name, collection) in &self.lock().collections {
            if storage.is_none_or(|wanted| wanted == &**name) {
                collection.closed.send_modify(|count| *count += 1);
            }
        }
    }

    /// Wakes the watches of a collection although nothing changed.
    pub(super) fn notify_watches(&self, storage: &str) {
        if let Some(collection) = self.lock().collections.get(storage) {
            collection.changed.send_modify(|_| {});
        }
    }

    /// Forgets the history of a collection (of all: `None`), so that every earlier `resourceVersion` is too old.
    pub(super) fn compact(&self, storage: Option<&str>) {
        let mut state = self.lock();
        state.revision += 1;
        let revision = state.revision;
        for (name, collection) in &mut state.collections {
            if storage.is_none_or(|wanted| wanted == &**name) {
                collection.history.clear();
                collection.compacted_revision = revision;
            }
        }
    }

    /// Whether a collection has no objects.
    pub(super) fn is_empty(&self, storage: &str) -> bool {
        self.lock()
            .collections
            .get(storage)
            .is_none_or(|collection| collection.objects.is_empty())
    }
}

impl State {
    fn objects(&self, storage: &str, namespace: &str) -> Vec<Arc<StoredObject>> {
        let Some(collection) = self.collections.get(storage) else {
            return Vec::new();
        };
        if namespace.is_empty() {
            return collection.objects.values().cloned().collect();
        }
        let from = (namespace.to_owned(), String::new());
        let inside = collection
            .objects
            .range(from..)
            .take_while(|((inside, _), _)| inside == namespace);
        inside.map(|(_, object)| Arc::clone(object)).collect()
    }
}

impl Collection {
    fn record_change(&mut self, change: Change, limit: usize) {
        let revision = change.revision;
        self.history.push_back(change);
        while self.history.len() > limit {
            if let Some(oldest) = self.history.pop_front() {
                self.compacted_revision = oldest.revision;
            }
        }
        self.changed.send_replace(revision);
    }
}

fn remove_from_owner_index(
    dependents: &mut HashMap<Box<str>, BTreeSet<(Arc<str>, ObjectKey)>>,
    storage: &Arc<str>,
    key: &ObjectKey,
    object: &StoredObject,
) {
    for owner in &object.owners {
        if let Some(all) = dependents.get_mut(owner) {
            all.remove(&(Arc::clone(storage), key.clone()));
            if all.is_empty() {
                dependents.remove(owner);
            }
        }
    }
}
