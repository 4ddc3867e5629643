//! Who refers to what: from a Secret, a list or a uid to the connectors that care.

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::collections::{BTreeSet, HashMap, HashSet};

use kube::ResourceExt;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::ObjectRef;

use super::access::referenced_lists;
use crate::api::TelegramConnector;
use crate::api::connector::{ListKind, ListRef};
use crate::identity::ConnectorUid;

/// A connector as the watch gives it: one that cannot be read does not stop the others.
pub(super) type GuardedConnector = DeserializeGuard<TelegramConnector>;

/// A name within a namespace; that of a `ClusterTelegramUserList` in none, "".
type Name = (String, String);

#[derive(Debug, Default)]
struct IndexTables {
    by_uid: HashMap<ConnectorUid, ObjectRef<GuardedConnector>>,
    references_of: HashMap<ConnectorUid, References>,
    /// A vector: a Secret is nearly always one connector's, and for one a set keeps room for many.
    by_secret: HashMap<Name, Vec<ConnectorUid>>,
    by_list: HashMap<Name, HashSet<ConnectorUid>>,
}

/// What one connector refers to; each name once.
#[derive(Debug, Default)]
struct References {
    secrets: Box<[Name]>,
    lists: Box<[Name]>,
}

/// The index. Kept by the watch of connectors, read by everybody.
#[derive(Debug, Default)]
pub(super) struct ReferenceIndex(RwLock<IndexTables>);

impl ReferenceIndex {
    /// A connector appeared or changed. The lists whose users changed by it.
    pub(super) fn set(&self, object: &GuardedConnector) -> Vec<Name> {
        let Some(uid) = object.uid().map(|u| ConnectorUid::from(u.as_str())) else {
            return Vec::new();
        };
        let references = object.0.as_ref().map(references).unwrap_or_default();
        let mut tables = self.write();
        tables
            .by_uid
            .insert(uid.clone(), ObjectRef::from_obj(object));
        let before = tables.references_of.remove(&uid).unwrap_or_default();
        tables.unlink(&uid, &before);
        for secret in &references.secrets {
            let uids = tables.by_secret.entry(secret.clone()).or_default();
            uids.reserve_exact(1);
            uids.push(uid.clone());
        }
        for list in &references.lists {
            let uids = tables.by_list.entry(list.clone()).or_default();
            uids.insert(uid.clone());
        }
        let changed_lists = symmetric_difference(&before.lists, &references.lists);
        tables.references_of.insert(uid, references);
        changed_lists
    }

    /// A connector is gone. The lists that it referred to.
    pub(super) fn remove(&self, uid: &ConnectorUid) -> Vec<Name> {
        let mut tables = self.write();
        tables.by_uid.remove(uid);
        let before = tables.references_of.remove(uid).unwrap_or_default();
        tables.unlink(uid, &before);
        before.lists.into_vec()
    }

    /// Where a connector is.
    pub(super) fn object_ref(&self, uid: &ConnectorUid) -> Option<ObjectRef<GuardedConnector>> {
        self.read().by_uid.get(uid).cloned()
    }

    /// The connectors that refer to a Secret.
    pub(super) fn connectors_using_secret(
        &self,
        namespace: &str,
        name: &str,
    ) -> Vec<ObjectRef<GuardedConnector>> {
        let tables = self.read();
        let secret = (namespace.to_owned(), name.to_owned());
        tables.object_refs(tables.by_secret.get(&secret).into_iter().flatten())
    }

    /// The connectors that refer to a list.
    pub(super) fn connectors_using_list(
        &self,
        namespace: &str,
        name: &str,
    ) -> Vec<ObjectRef<GuardedConnector>> {
        let tables = self.read();
        let list = (namespace.to_owned(), name.to_owned());
        tables.object_refs(tables.by_list.get(&list).into_iter().flatten())
    }

    /// The connectors that refer to any `ClusterTelegramUserList`, in one namespace or, with `None`, in all.
    pub(super) fn connectors_using_cluster_lists(
        &self,
        namespace: Option<&str>,
    ) -> Vec<ObjectRef<GuardedConnector>> {
        let tables = self.read();
        let lists = tables.by_list.iter();
        let uids: HashSet<&ConnectorUid> = lists
            .filter(|((of, _), _)| of.is_empty())
            .flat_map(|(_, uids)| uids)
            .collect();
        let mut connectors = tables.object_refs(uids.into_iter());
        connectors.retain(|c| namespace.is_none_or(|ns| c.namespace.as_deref() == Some(ns)));
        connectors
    }

    /// Whether any connector refers to a `ClusterTelegramUserList`.
    pub(super) fn has_cluster_lists(&self) -> bool {
        self.read().by_list.keys().any(|(of, _)| of.is_empty())
    }

    /// How many connectors refer to a list.
    pub(super) fn count_connectors_using_list(&self, namespace: &str, name: &str) -> usize {
        self.read()
            .by_list
            .get(&(namespace.to_owned(), name.to_owned()))
            .map_or(0, HashSet::len)
    }

    fn read(&self) -> RwLockReadGuard<'_, IndexTables> {
        self.0.read()
    }

    fn write(&self) -> RwLockWriteGuard<'_, IndexTables> {
        self.0.write()
    }
}

impl IndexTables {
    fn object_refs<'a>(
        &self,
        uids: impl Iterator<Item = &'a ConnectorUid>,
    ) -> Vec<ObjectRef<GuardedConnector>> {
        uids.filter_map(|uid| self.by_uid.get(uid).cloned())
            .collect()
    }

    fn unlink(&mut self, uid: &ConnectorUid, references: &References) {
        for name in &references.secrets {
            if let Some(uids) = self.by_secret.get_mut(name) {
                uids.retain(|user| user != uid);
                if uids.is_empty() {
                    self.by_secret.remove(name);
                }
            }
        }
        for name in &references.lists {
            if let Some(uids) = self.by_list.get_mut(name) {
                uids.remove(uid);
                if uids.is_empty() {
                    self.by_list.remove(name);
                }
            }
        }
    }
}

/// The names that are in one of both.
fn symmetric_difference(before: &[Name], now: &[Name]) -> Vec<Name> {
    let gone = before.iter().filter(|name| !now.contains(name));
    let new = now.iter().filter(|name| !before.contains(name));
    gone.chain(new).cloned().collect()
}

fn references(connector: &TelegramConnector) -> References {
    let namespace = connector.namespace().unwrap_or_default();
    let name = |name: &str| (namespace.clone(), name.to_owned());
    let spec = &connector.spec;
    let mut secrets = BTreeSet::from([name(&spec.bot_token_secret_ref.name)]);
    let transcription = spec.transcription.as_ref();
    let extract = spec.files.as_ref().and_then(|f| f.extract.as_ref());
    let speech = spec.speech.as_ref();
    let company = spec.access.company_users.as_ref();
    let oidc = company.and_then(|company| company.oidc.as_ref());
    let headers = spec.assistant.headers.iter().flatten();
    let header_secrets = headers.filter_map(|h| h.value_from.as_ref());
    secrets.extend(header_secrets.map(|source| name(&source.secret_key_ref.name)));
    let keys = [
        spec.assistant.api_key_secret_ref.as_ref(),
        transcription.and_then(|t| t.api_key_secret_ref.as_ref()),
        extract.and_then(|e| e.api_key_secret_ref.as_ref()),
        speech.and_then(|s| s.api_key_secret_ref.as_ref()),
        oidc.and_then(|o| o.client_secret_ref.as_ref()),
    ];
    secrets.extend(keys.into_iter().flatten().map(|r| name(&r.name)));
    let list_name = |list: &ListRef| match list.kind() {
        ListKind::TelegramUserList => name(&list.name),
        ListKind::ClusterTelegramUserList => (String::new(), list.name.clone()),
    };
    let lists: BTreeSet<Name> = referenced_lists(spec).into_iter().map(list_name).collect();
    References {
        secrets: secrets.into_iter().collect(),
        lists: lists.into_iter().collect(),
    }
}
