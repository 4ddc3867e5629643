//! The users of a list, ready to be asked, and the sets of the lists that were read.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use jiff::Timestamp;

use crate::api::user_list::{UserEntry, normalize_username};
use crate::registry::AccessEnds;

/// The users of one list, ready to be asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserSet {
    /// By id.
    pub ids: Arc<HashSet<i64>>,
    /// By username, lower case, without @.
    pub usernames: Arc<HashSet<String>>,
    /// When they end, those that do.
    pub ends: Arc<AccessEnds>,
    /// Entries that name nobody, or two things at once.
    pub invalid: usize,
}

impl UserSet {
    /// Reads entries. What is not exactly one of id and username names nobody.
    pub(crate) fn from_entries(entries: &[UserEntry]) -> Self {
        let mut building = UserSetBuilder::default();
        for entry in entries {
            match (entry.id, &entry.username, entry.end()) {
                (Some(id), None, Ok(end)) => building.add_id(id, end),
                (None, Some(name), Ok(end)) if !normalize_username(name).is_empty() => {
                    building.add_username(normalize_username(name), end);
                }
                _ => building.invalid += 1,
            }
        }
        building.build()
    }

    /// All users of several lists.
    pub(super) fn union(lists: &[Arc<Self>]) -> Self {
        let mut building = UserSetBuilder::default();
        for list in lists {
            building.invalid += list.invalid;
            for id in list.ids.iter() {
                building.add_id(*id, list.ends.ids.get(id).copied());
            }
            for name in list.usernames.iter() {
                let end = list.ends.usernames.get(name).copied();
                building.add_username(name.clone(), end);
            }
        }
        building.build()
    }

    /// How many they are, those that have ended among them.
    pub fn len(&self) -> usize {
        self.ids.len() + self.usernames.len()
    }

    /// How many of them are named by username, and are named still.
    pub(super) fn count_usernames(&self, now: Timestamp) -> usize {
        let ended = self.ends.usernames.values().filter(|end| **end <= now);
        self.usernames.len() - ended.count()
    }

    /// How many of them have ended.
    pub(crate) fn count_ended(&self, now: Timestamp) -> usize {
        self.all_ends().filter(|end| *end <= now).count()
    }

    /// When the next of them ends.
    pub(crate) fn next_end(&self, now: Timestamp) -> Option<Timestamp> {
        self.all_ends().filter(|end| *end > now).min()
    }

    fn all_ends(&self) -> impl Iterator<Item = Timestamp> {
        let (ids, usernames) = (&self.ends.ids, &self.ends.usernames);
        ids.values().chain(usernames.values()).copied()
    }
}

/// A [`UserSet`] in the making.
#[derive(Default)]
struct UserSetBuilder {
    ids: HashSet<i64>,
    usernames: HashSet<String>,
    ends: AccessEnds,
    invalid: usize,
}

impl UserSetBuilder {
    fn add_id(&mut self, id: i64, end: Option<Timestamp>) {
        add(id, end, &mut self.ids, &mut self.ends.ids);
    }

    fn add_username(&mut self, name: String, end: Option<Timestamp>) {
        add(name, end, &mut self.usernames, &mut self.ends.usernames);
    }

    fn build(self) -> UserSet {
        UserSet {
            ids: Arc::new(self.ids),
            usernames: Arc::new(self.usernames),
            ends: Arc::new(self.ends),
            invalid: self.invalid,
        }
    }
}

/// Adds a user. Of one who is named twice the later end holds, and none is the latest.
fn add<K: Clone + Eq + Hash>(
    user: K,
    end: Option<Timestamp>,
    users: &mut HashSet<K>,
    ends: &mut HashMap<K, Timestamp>,
) {
    let known = users.contains(&user);
    match (end, ends.get_mut(&user)) {
        (None, _) => {
            ends.remove(&user);
        }
        (Some(end), Some(before)) => *before = end.max(*before),
        (Some(end), None) if !known => {
            ends.insert(user.clone(), end);
        }
        (Some(_), None) => {}
    }
    users.insert(user);
}

/// Lists read once per version; their sets are shared by all connectors that refer to nothing else.
#[derive(Debug, Default)]
pub struct UserListCache(parking_lot::Mutex<HashMap<(String, String), CachedUserList>>);

/// The `resourceVersion` a list was read at, and what it says.
type CachedUserList = (String, Arc<UserSet>);

impl UserListCache {
    /// The users of a list, read anew only when its `resourceVersion` differs.
    pub(crate) fn get_or_parse(
        &self,
        namespace: &str,
        name: &str,
        version: &str,
        entries: &[UserEntry],
    ) -> Arc<UserSet> {
        let mut lists = self.0.lock();
        let key = (namespace.to_owned(), name.to_owned());
        match lists.get(&key) {
            Some((known, users)) if known == version => users.clone(),
            _ => {
                let users = Arc::new(UserSet::from_entries(entries));
                lists.insert(key, (version.to_owned(), users.clone()));
                users
            }
        }
    }

    /// A list is gone.
    pub fn remove(&self, namespace: &str, name: &str) {
        self.0
            .lock()
            .remove(&(namespace.to_owned(), name.to_owned()));
    }
}
