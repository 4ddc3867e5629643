//! Secrets: read one by one, and only those that a connector refers to. The watch carries metadata only.
//!
//! What was read is kept until the watch says that the Secret changed, so that a reconcile for another reason costs no call. A Secret that
//! may not be used is kept without keys and values.

use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use secrecy::SecretString;

use super::status::SecretProblem;
use crate::api::ALLOW_USE_LABEL;

/// What is known of one Secret.
#[derive(Debug, Clone)]
enum CachedSecret {
    /// There is none.
    Missing,
    /// It lacks the label that the administrator requires.
    NotAllowed,
    /// It may be used.
    Readable {
        keys: Vec<String>,
        /// Of the keys that somebody asked for.
        values: HashMap<String, Option<SecretString>>,
    },
}

#[derive(Debug, Default)]
struct Entry {
    /// Counts changes, so that an answer that was on its way when one came is not kept.
    change_count: u64,
    cached: Option<CachedSecret>,
}

type Name = (String, String);

/// Reads Secrets and remembers them.
pub(crate) struct SecretCache {
    client: Client,
    require_label: bool,
    entries: Mutex<HashMap<Name, Entry>>,
}

impl std::fmt::Debug for SecretCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretCache").finish_non_exhaustive()
    }
}

impl SecretCache {
    /// Nothing read yet. `require_label`: only Secrets with [`ALLOW_USE_LABEL`] are used.
    pub(crate) fn new(client: Client, require_label: bool) -> Self {
        Self {
            client,
            require_label,
            entries: Mutex::default(),
        }
    }

    /// The value of a key as text (a value that is not UTF-8 comes as an empty text: it is no token and no key).
    ///
    /// # Errors
    /// The outer one when the API server cannot be asked; the inner one when Secret or key is missing, or may not be used.
    pub(crate) async fn get(
        &self,
        namespace: &str,
        secret_name: &str,
        key: &str,
    ) -> Result<Result<SecretString, SecretProblem>, kube::Error> {
        let name = (namespace.to_owned(), secret_name.to_owned());
        let change_count = {
            let mut entries = self.lock();
            let entry = entries.entry(name.clone()).or_default();
            if let Some(found) = entry
                .cached
                .as_ref()
                .and_then(|k| k.key_value(secret_name, key))
            {
                return Ok(found);
            }
            entry.change_count
        };
        let secret = Api::<Secret>::namespaced(self.client.clone(), namespace)
            .get_opt(secret_name)
            .await?;
        let mut entries = self.lock();
        let entry = entries.entry(name).or_default();
        let mut cached = CachedSecret::new(secret.as_ref(), key, self.require_label);
        if entry.change_count == change_count {
            cached.keep_values_of(entry.cached.take());
            entry.cached = Some(cached.clone());
        }
        Ok(cached
            .key_value(secret_name, key)
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
    fn new(secret: Option<&Secret>, key: &str, require_label: bool) -> Self {
        let Some(secret) = secret else {
            return Self::Missing;
        };
        if require_label && !has_allow_use_label(secret) {
            return Self::NotAllowed;
        }
        let data = secret.data.as_ref();
        let value = data.and_then(|d| d.get(key)).map(|bytes| {
            std::str::from_utf8(&bytes.0)
                .unwrap_or_default()
                .trim()
                .to_owned()
                .into()
        });
        Self::Readable {
            keys: data
                .map(|d| d.keys().cloned().collect())
                .unwrap_or_default(),
            values: HashMap::from([(key.to_owned(), value)]),
        }
    }

    /// Takes over the values of other keys that were read since the last change.
    fn keep_values_of(&mut self, before: Option<Self>) {
        if let (Self::Readable { values, .. }, Some(Self::Readable { values: before, .. })) =
            (self, before)
        {
            for (key, value) in before {
                values.entry(key).or_insert(value);
            }
        }
    }

    fn key_value(&self, secret: &str, key: &str) -> Option<Result<SecretString, SecretProblem>> {
        let secret = secret.to_owned();
        match self {
            Self::Missing => Some(Err(SecretProblem::NotFound {
                secret,
                key: key.to_owned(),
            })),
            Self::NotAllowed => Some(Err(SecretProblem::NotAllowed { secret })),
            Self::Readable { keys, values } => match values.get(key)? {
                Some(value) => Some(Ok(value.clone())),
                None => Some(Err(SecretProblem::KeyMissing {
                    secret,
                    key: key.to_owned(),
                    present: keys.clone(),
                })),
            },
        }
    }
}

fn has_allow_use_label(secret: &Secret) -> bool {
    let labels = secret.metadata.labels.as_ref();
    labels
        .and_then(|labels| labels.get(ALLOW_USE_LABEL))
        .is_some_and(|value| value == "true")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    #[rstest]
    #[case(json!({}), false, "value")]
    #[case(json!({}), true, "not allowed")]
    #[case(json!({ALLOW_USE_LABEL: "true"}), true, "value")]
    #[case(json!({ALLOW_USE_LABEL: "false"}), true, "not allowed")]
    #[case(json!({ALLOW_USE_LABEL: ""}), true, "not allowed")]
    #[case(json!({ALLOW_USE_LABEL: "false"}), false, "value")]
    fn only_a_labelled_secret_is_used_where_the_label_is_required(
        #[case] labels: serde_json::Value,
        #[case] require_label: bool,
        #[case] expected: &str,
    ) {
        let secret = json!({"metadata": {"labels": labels}, "data": {"token": "dmFsdWU="}});
        let secret: Secret = serde_json::from_value(secret).expect("a Secret");
        let cached = CachedSecret::new(Some(&secret), "token", require_label);
        let found = match cached.key_value("s", "token").expect("it was asked for") {
            Ok(value) => secrecy::ExposeSecret::expose_secret(&value).to_owned(),
            Err(SecretProblem::NotAllowed { secret }) => {
                assert_eq!(secret, "s");
                "not allowed".to_owned()
            }
            Err(other) => other.message(),
        };
        assert_eq!(found, expected);
    }
}
