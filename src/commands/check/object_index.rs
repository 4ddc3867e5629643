//! The objects of all files by what references ask for, so that checking them takes time in proportion to their number.

use std::collections::HashMap;

use super::objects::CheckedObject;
use crate::api::connector::DEFAULT_TOKEN_KEY;

/// The positions of objects by name and namespace, ascending.
#[derive(Default)]
struct ByName<'a>(HashMap<&'a str, HashMap<Option<&'a str>, Vec<usize>>>);

impl<'a> ByName<'a> {
    fn insert(&mut self, name: &'a str, namespace: Option<&'a str>, position: usize) {
        let namespaces = self.0.entry(name).or_default();
        namespaces.entry(namespace).or_default().push(position);
    }

    /// Those that can be in one namespace with an object of `namespace`, in the order of the files. An object without a namespace gets it later,
    /// from kubectl or kustomize.
    fn find(&self, name: &str, namespace: Option<&str>) -> Vec<usize> {
        let Some(namespaces) = self.0.get(name) else {
            return Vec::new();
        };
        let positions = |namespace| namespaces.get(&namespace).into_iter().flatten().copied();
        let mut found: Vec<usize> = match namespace {
            Some(_) => positions(namespace).chain(positions(None)).collect(),
            None => namespaces.values().flatten().copied().collect(),
        };
        found.sort_unstable();
        found
    }
}

/// The token that a connector names: namespace, Secret and key.
type TokenRef<'a> = (Option<&'a str>, &'a str, &'a str);

/// What references are looked up in.
pub(super) struct ObjectIndex<'a> {
    objects: &'a [CheckedObject],
    secrets: ByName<'a>,
    user_lists: ByName<'a>,
    cluster_lists: HashMap<&'a str, usize>,
    /// The first object of our group by kind, namespace and name.
    first: HashMap<(&'a str, Option<&'a str>, &'a str), usize>,
    /// The first connector that names a token, and the first of another name that does.
    token_users: HashMap<TokenRef<'a>, (usize, Option<usize>)>,
}

impl<'a> ObjectIndex<'a> {
    pub(super) fn new(objects: &'a [CheckedObject]) -> Self {
        let mut index = Self {
            objects,
            secrets: ByName::default(),
            user_lists: ByName::default(),
            cluster_lists: HashMap::new(),
            first: HashMap::new(),
            token_users: HashMap::new(),
        };
        for (position, object) in objects.iter().enumerate() {
            index.insert(position, object);
        }
        index
    }

    fn insert(&mut self, position: usize, object: &'a CheckedObject) {
        let namespace = object.namespace();
        for secret in provided_secrets(object) {
            self.secrets.insert(secret, namespace, position);
        }
        if object.kind == "ClusterTelegramUserList" {
            self.cluster_lists.insert(object.name(), position);
        }
        if object.kind == "TelegramUserList" {
            self.user_lists.insert(object.name(), namespace, position);
        }
        if !object.ours {
            return;
        }
        if let Some(identity) = identity(object) {
            self.first.entry(identity).or_insert(position);
        }
        if object.kind == "TelegramConnector"
            && let Some(token) = token_ref(object)
        {
            let objects = self.objects;
            self.token_users
                .entry(token)
                .and_modify(|(first, other)| {
                    if other.is_none() && !is_same_object(&objects[*first], object) {
                        *other = Some(position);
                    }
                })
                .or_insert((position, None));
        }
    }

    /// The object of the same kind, namespace and name that stands before the one at `position`.
    pub(super) fn earlier_definition(&self, position: usize) -> Option<&'a CheckedObject> {
        let object = &self.objects[position];
        let first = *self.first.get(&identity(object)?)?;
        (object.ours && first < position).then(|| &self.objects[first])
    }

    /// A connector of another name that stands before the one at `position` and names the same token.
    pub(super) fn earlier_token_user(&self, position: usize) -> Option<&'a CheckedObject> {
        let connector = &self.objects[position];
        let (first, other) = *self.token_users.get(&token_ref(connector)?)?;
        let found = if is_same_object(&self.objects[first], connector) {
            other?
        } else {
            first
        };
        (found < position).then(|| &self.objects[found])
    }

    /// The objects that are a Secret of this name or create one, and may be in the namespace of `connector`.
    pub(super) fn secret_providers(
        &self,
        connector: &CheckedObject,
        name: &str,
    ) -> Vec<&'a CheckedObject> {
        let positions = self.secrets.find(name, connector.namespace());
        positions.into_iter().map(|p| &self.objects[p]).collect()
    }

    /// The cluster's user list of this name.
    pub(super) fn cluster_list(&self, name: &str) -> Option<&'a CheckedObject> {
        self.cluster_lists.get(name).map(|p| &self.objects[*p])
    }

    /// Whether there is a user list of this name that may be in the namespace of `connector`.
    pub(super) fn has_user_list(&self, connector: &CheckedObject, name: &str) -> bool {
        let found = self.user_lists.find(name, connector.namespace());
        !found.is_empty()
    }
}

/// What makes two objects of our group one in the cluster; `None` without a name.
fn identity(object: &CheckedObject) -> Option<(&str, Option<&str>, &str)> {
    let name = object.name();
    (!name.is_empty()).then(|| (object.kind.as_str(), object.namespace(), name))
}

fn is_same_object(a: &CheckedObject, b: &CheckedObject) -> bool {
    identity(a).is_some() && identity(a) == identity(b)
}

fn token_ref(connector: &CheckedObject) -> Option<TokenRef<'_>> {
    Some((
        connector.namespace(),
        connector.text("/spec/botTokenSecretRef/name")?,
        connector
            .text("/spec/botTokenSecretRef/key")
            .unwrap_or(DEFAULT_TOKEN_KEY),
    ))
}

/// The names of the Secrets that an object is or creates: external-secrets, sealed-secrets and kustomize.
fn provided_secrets(object: &CheckedObject) -> Vec<&str> {
    match object.kind.as_str() {
        "Secret" => vec![object.name()],
        "ExternalSecret" => vec![object.text("/spec/target/name").unwrap_or(object.name())],
        "SealedSecret" => vec![
            object
                .text("/spec/template/metadata/name")
                .unwrap_or(object.name()),
        ],
        "Kustomization" => {
            let generators = object.object["secretGenerator"].as_array();
            let mut names: Vec<&str> = generators
                .into_iter()
                .flatten()
                .filter_map(|generator| generator["name"].as_str())
                .collect();
            names.sort_unstable();
            names.dedup();
            names
        }
        _ => Vec::new(),
    }
}
