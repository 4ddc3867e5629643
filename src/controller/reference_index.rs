//! Who refers to what: from a Secret, a list or a uid to the connectors that care.

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::collections::{HashMap, HashSet};

use kube::ResourceExt;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::ObjectRef;

use super::access::referenced_lists;
use crate::api::TelegramConnector;
use crate::identity::ConnectorUid;

/// A connector as the watch gives it: one that cannot be read does not stop the others.
pub(super) type GuardedConnector = DeserializeGuard<TelegramConnector>;

/// A name within a namespace.
type Name = (String, String);

#[derive(Debug, Default)]
struct IndexTables {
    by_uid: HashMap<ConnectorUid, ObjectRef<GuardedConnector>>,
    references_of: HashMap<ConnectorUid, References>,
    by_secret: HashMap<Name, HashSet<ConnectorUid>>,
    by_list: HashMap<Name, HashSet<ConnectorUid>>,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct References {
    secrets: HashSet<Name>,
    lists: HashSet<Name>,
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
        let before = tables
            .references_of
            .insert(uid.clone(), references.clone())
            .unwrap_or_default();
        tables.unlink(&uid, &before);
        for secret in &references.secrets {
            tables
                .by_secret
                .entry(secret.clone())
                .or_default()
                .insert(uid.clone());
        }
        for list in &references.lists {
            tables
                .by_list
                .entry(list.clone())
                .or_default()
                .insert(uid.clone());
        }
        before
            .lists
            .symmetric_difference(&references.lists)
            .cloned()
            .collect()
    }

    /// A connector is gone. The lists that it referred to.
    pub(super) fn remove(&self, uid: &ConnectorUid) -> Vec<Name> {
        let mut tables = self.write();
        tables.by_uid.remove(uid);
        let before = tables.references_of.remove(uid).unwrap_or_default();
        tables.unlink(uid, &before);
        before.lists.into_iter().collect()
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
        tables.object_refs(
            tables
                .by_secret
                .get(&(namespace.to_owned(), name.to_owned())),
        )
    }

    /// The connectors that refer to a list.
    pub(super) fn connectors_using_list(
        &self,
        namespace: &str,
        name: &str,
    ) -> Vec<ObjectRef<GuardedConnector>> {
        let tables = self.read();
        tables.object_refs(tables.by_list.get(&(namespace.to_owned(), name.to_owned())))
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
    fn object_refs(
        &self,
        uids: Option<&HashSet<ConnectorUid>>,
    ) -> Vec<ObjectRef<GuardedConnector>> {
        uids.into_iter()
            .flatten()
            .filter_map(|uid| self.by_uid.get(uid).cloned())
            .collect()
    }

    fn unlink(&mut self, uid: &ConnectorUid, references: &References) {
        for (table, names) in [
            (&mut self.by_secret, &references.secrets),
            (&mut self.by_list, &references.lists),
        ] {
            for name in names {
                if let Some(uids) = table.get_mut(name) {
                    uids.remove(uid);
                    if uids.is_empty() {
                        table.remove(name);
                    }
                }
            }
        }
    }
}

fn references(connector: &TelegramConnector) -> References {
    let namespace = connector.namespace().unwrap_or_default();
    let name = |name: &str| (namespace.clone(), name.to_owned());
    let spec = &connector.spec;
    let mut secrets = HashSet::from([name(&spec.bot_token_secret_ref.name)]);
    let transcription = spec.transcription.as_ref();
    let headers = spec.assistant.headers.iter().flatten();
    let header_secrets = headers.filter_map(|h| h.value_from.as_ref());
    secrets.extend(header_secrets.map(|source| name(&source.secret_key_ref.name)));
    let keys = [
        spec.assistant.api_key_secret_ref.as_ref(),
        transcription.and_then(|t| t.api_key_secret_ref.as_ref()),
    ];
    secrets.extend(keys.into_iter().flatten().map(|r| name(&r.name)));
    References {
        secrets,
        lists: referenced_lists(&spec.access)
            .into_iter()
            .map(name)
            .collect(),
    }
}
