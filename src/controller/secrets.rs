//! Secrets: read one by one, and only those that a connector refers to. The watch carries metadata only.
//!
//! What was read is kept until the watch says that the Secret changed, so that a reconcile for another reason costs no call.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use secrecy::SecretString;

use super::status::SecretProblem;
use crate::api::connector::SecretKeyRef;

/// What is known of one Secret: its keys, and the values that somebody asked for.
#[derive(Debug, Clone)]
struct Known {
    exists: bool,
    keys: Vec<String>,
    values: HashMap<String, Option<SecretString>>,
}

#[derive(Debug, Default)]
struct Entry {
    /// Counts changes, so that an answer that was on its way when one came is not kept.
    changes: u64,
    known: Option<Known>,
}

type Name = (String, String);

/// Reads Secrets and remembers them.
pub(super) struct Secrets {
    client: Client,
    book: Mutex<HashMap<Name, Entry>>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

impl Secrets {
    /// Nothing read yet.
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            book: Mutex::default(),
        }
    }

    /// The value of a key as text (a value that is not UTF-8 comes as an empty text: it is no token and no key).
    ///
    /// # Errors
    /// The outer one when the API server cannot be asked; the inner one when Secret or key is missing.
    pub(super) async fn value(
        &self,
        namespace: &str,
        reference: &SecretKeyRef,
        default_key: &str,
    ) -> Result<Result<SecretString, SecretProblem>, kube::Error> {
        let key = reference.key.as_deref().unwrap_or(default_key);
        let name = (namespace.to_owned(), reference.name.clone());
        let changes = {
            let mut book = self.lock();
            let entry = book.entry(name.clone()).or_default();
            if let Some(found) = entry
                .known
                .as_ref()
                .and_then(|k| k.answer(&reference.name, key))
            {
                return Ok(found);
            }
            entry.changes
        };
        let secret = Api::<Secret>::namespaced(self.client.clone(), namespace)
            .get_opt(&reference.name)
            .await?;
        let mut book = self.lock();
        let entry = book.entry(name).or_default();
        let mut known = Known::read(secret.as_ref(), key);
        if entry.changes == changes {
            if let Some(before) = entry.known.take() {
                for (k, v) in before.values {
                    known.values.entry(k).or_insert(v);
                }
            }
            entry.known = Some(known.clone());
        }
        Ok(known
            .answer(&reference.name, key)
            .expect("the key was asked for just now"))
    }

    /// The Secret changed, appeared or went: what was read is void.
    pub(super) fn changed(&self, namespace: &str, name: &str) {
        if let Some(entry) = self
            .lock()
            .get_mut(&(namespace.to_owned(), name.to_owned()))
        {
            entry.changes += 1;
            entry.known = None;
        }
    }

    /// Keeps only Secrets that somebody refers to.
    pub(super) fn retain(&self, referenced: impl Fn(&str, &str) -> bool) {
        self.lock().retain(|(ns, name), _| referenced(ns, name));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Entry>> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn read(secret: Option<&Secret>, key: &str) -> Self {
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

    fn answer(&self, secret: &str, key: &str) -> Option<Result<SecretString, SecretProblem>> {
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
