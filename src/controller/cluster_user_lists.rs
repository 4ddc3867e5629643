//! What is known of `ClusterTelegramUserList`s, and of the namespaces that they select by label. Fails closed: who cannot be shown to be allowed is not.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use kube::core::DeserializeGuard;
use kube::runtime::reflector::{ObjectRef, Store};
use parking_lot::RwLock;
use tokio::sync::watch;

use super::access::UserListLookup;
use super::optional_watch::Availability;
use super::user_set::UserListCache;
use crate::api::ClusterTelegramUserList;

/// A cluster's user list as the watch gives it.
pub(super) type GuardedClusterUserList = DeserializeGuard<ClusterTelegramUserList>;

type Labels = BTreeMap<String, String>;

/// The lists and the namespaces, by their watches.
pub(super) struct ClusterUserLists {
    pub(super) store: Store<GuardedClusterUserList>,
    /// Whether they can be read.
    pub(super) lists: Arc<watch::Sender<Availability>>,
    /// Whether namespaces can be read.
    pub(super) namespaces: Arc<watch::Sender<Availability>>,
    /// The labels of namespaces, while a list selects by them.
    pub(super) labels: RwLock<HashMap<String, Labels>>,
}

impl ClusterUserLists {
    /// Before anything was listed.
    pub(super) fn new(store: Store<GuardedClusterUserList>) -> Self {
        let unknown = || Arc::new(watch::Sender::new(Availability::Unknown));
        Self {
            store,
            lists: unknown(),
            namespaces: unknown(),
            labels: RwLock::default(),
        }
    }

    /// A list, if there is one.
    fn get(&self, name: &str) -> Option<Arc<GuardedClusterUserList>> {
        self.store.get(&ObjectRef::new(name))
    }

    /// Whether any list chooses namespaces by their labels.
    pub(super) fn select_by_labels(&self) -> bool {
        let lists = self.store.state();
        lists.iter().any(|list| selects_by_labels(list))
    }

    /// Whether what a reference to this list means is known, or is known not to be had.
    pub(super) fn is_settled(&self, name: &str) -> bool {
        if *self.lists.borrow() == Availability::Unknown {
            return false;
        }
        let needs_labels = self.get(name).is_some_and(|list| selects_by_labels(&list));
        !needs_labels || *self.namespaces.borrow() != Availability::Unknown
    }

    /// The users of a list, for a connector of this namespace. Whoever is not allowed to use it learns nothing of what is in it.
    pub(super) fn look_up(
        &self,
        namespace: &str,
        name: &str,
        parsed: &UserListCache,
    ) -> UserListLookup {
        match *self.lists.borrow() {
            Availability::NotInstalled => {
                let why = "the cluster does not know clustertelegramuserlists.connectors.pupau.ai: apply crds/";
                return UserListLookup::Invalid(why.to_owned());
            }
            Availability::Forbidden => {
                let why = "the operator has no right to list and watch clustertelegramuserlists.connectors.pupau.ai in the cluster (chart: rbac.clusterUserLists)";
                return UserListLookup::Invalid(why.to_owned());
            }
            Availability::Unknown | Availability::Listed => {}
        }
        let Some(list) = self.get(name) else {
            return UserListLookup::NotFound;
        };
        let Ok(list) = &list.0 else {
            let why = "correct it and apply it again; the operator's log says what is wrong";
            return UserListLookup::Invalid(why.to_owned());
        };
        let allowed = &list.spec.allowed_namespaces;
        if allowed.selector.is_some() && *self.namespaces.borrow() == Availability::Forbidden {
            let why = "it selects namespaces by label, and the operator has no right to list and watch namespaces (chart: rbac.clusterUserLists)";
            return UserListLookup::Invalid(why.to_owned());
        }
        let labels = self.labels.read().get(namespace).cloned();
        if !allowed.allow(namespace, &labels.unwrap_or_default()) {
            return UserListLookup::NotAllowed;
        }
        let version = list.metadata.resource_version.as_deref();
        UserListLookup::Found(parsed.get_or_parse(
            "",
            name,
            version.unwrap_or_default(),
            &list.spec.users,
        ))
    }
}

fn selects_by_labels(list: &GuardedClusterUserList) -> bool {
    let list = list.0.as_ref();
    list.is_ok_and(|list| list.spec.allowed_namespaces.selector.is_some())
}
