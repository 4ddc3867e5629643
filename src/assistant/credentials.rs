//! What Secrets hold for one assistant: its API key and the values of its headers.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};

/// The secret values of an assistant. Debug output shows none of them.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// The API key.
    pub api_key: Option<SecretString>,
    /// Values of `spec.assistant.headers` that come from Secrets, by the header's position in the list.
    pub header_values: BTreeMap<usize, SecretString>,
}

impl From<Option<SecretString>> for Credentials {
    fn from(api_key: Option<SecretString>) -> Self {
        Self {
            api_key,
            header_values: BTreeMap::new(),
        }
    }
}

impl PartialEq for Credentials {
    fn eq(&self, other: &Self) -> bool {
        let key = |credentials: &Self| {
            let key = credentials.api_key.as_ref();
            key.map(|key| key.expose_secret().to_owned())
        };
        let exposed = |(position, value): (&usize, &SecretString)| {
            (*position, value.expose_secret().to_owned())
        };
        key(self) == key(other)
            && self
                .header_values
                .iter()
                .map(exposed)
                .eq(other.header_values.iter().map(exposed))
    }
}

impl Eq for Credentials {}
