//! Secrets: read one by one, and only those that a connector refers to. The watch carries metadata only.
//!
//! What was read is kept until the watch says that the Secret changed, so that a reconcile for another reason costs no call.

use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use secrecy::SecretString;

use super::status::SecretProblem;
use crate::api::connector::SecretKeyRef;

/// What is known of one Secret: its keys, and the values that somebody asked for.
#[derive(Debug, Clone)]
struct CachedSecret {
    exists: bool,
    keys: Vec<String>,
    values: HashMap<String, Option<SecretString>>,
}

#[derive(Debug, Default)]
struct Entry {
    /// Counts changes, so that an answer that was on its way when one came is not kept.
    change_count: u64,
    cached: Option<CachedSecret>,
}

type Name = (String, String);

/// Reads Secrets and remembers them.
pub(super) struct SecretCache {
    client: Client,
    entries: Mutex<HashMap<Name, Entry>>,
}

impl std::fmt::Debug for SecretCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretCache").finish_non_exhaustive()
    }
}

impl SecretCache {
    /// Nothing read yet.
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            entries: Mutex::default(),
        }
    }

    /// The value of a key as text (a value that is not UTF-8 comes as an empty text: it is no token and no key).
    ///
    /// # Errors
    /// The outer one when the API server cannot be asked; the inner one when Secret or key is missing.
    pub(super) async fn get(
        &self,
        namespace: &str,
        reference: &SecretKeyRef,
        default_key: &str,
    ) -> Result<Result<SecretString, SecretProblem>, kube::Error> {
        let key = reference.key.as_deref().unwrap_or(default_key);
        let name = (namespace.to_owned(), reference.name.clone());
        let change_count = {
            let mut entries = self.lock();
            let entry = entries.entry(name.clone()).or_default();
            if let Some(found) = entry
                .cached
                .as_ref()
                .and_then(|k| k.key_value(&reference.name, key))
            {
                return Ok(found);
            }
            entry.change_count
        };
        let secret = Api::<Secret>::namespaced(self.client.clone(), namespace)
            .get_opt(&reference.name)
            .await?;
        let mut entries = self.lock();
        let entry = entries.entry(name).or_default();
        let mut cached = CachedSecret::from_secret(secret.as_ref(), key);
        if entry.change_count == change_count {
            if let Some(before) = entry.cached.take() {
                for (k, v) in before.values {
                    cached.values.entry(k).or_insert(v);
                }
            }
            entry.cached = Some(cached.clone());
        }
        Ok(cached
            .key_value(&reference.name, key)
            .expect("the key was asked for just now"))
    }

    /// The Secret changed, appeared or went: what was read is void.
    pub(super) fn invalidate(&self, namespace: &str, name: &str) {
        if let Some(entry) = self
            .lock()
            .get_mut(&(namespace.to_owned(), name.to_owned()))
        {
            entry.change_count += 1;
            entry.cached = None;
        }
    }

    /// Keeps only Secrets that somebody refers to.
    pub(super) fn retain(&self, referenced: impl Fn(&str, &str) -> bool) {
        self.lock().retain(|(ns, name), _| referenced(ns, name));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Entry>> {
        self.entries.lock()
    }
}

impl CachedSecret {
    fn from_secret(secret: Option<&Secret>, key: &str) -> Self {
        let data = secret.and_then(|s| s.data.as_ref());
        let value = data.and_then(|d| d.get(key)).map(|bytes| {
            std::str::from_utf8(&bytes.0)
                .unwrap_or_default()
                .trim()
                .to_owned()
                .into()
        });
        Self {
            exists: secret.is_some(),
            keys: data
                .map(|d| d.keys().cloned().collect())
                .unwrap_or_default(),
            values: HashMap::from([(key.to_owned(), value)]),
        }
    }

    fn key_value(&self, secret: &str, key: &str) -> Option<Result<SecretString, SecretProblem>> {
        if !self.exists {
            return Some(Err(SecretProblem::NotFound {
                secret: secret.to_owned(),
                key: key.to_owned(),
            }));
        }
        match self.values.get(key)? {
            Some(value) => Some(Ok(value.clone())),
            None => Some(Err(SecretProblem::KeyMissing {
                secret: secret.to_owned(),
                key: key.to_owned(),
                present: self.keys.clone(),
            })),
        }
    }
}
