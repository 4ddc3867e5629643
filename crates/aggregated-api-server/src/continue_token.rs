//! The token with which a client asks for the next page of a list.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::status::StatusError;

/// The form of tokens; another one is refused.
const FORM: u8 = 1;

/// Longer than any that was given.
const LONGEST: usize = 1024;

/// Where a list goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ContinueToken {
    #[serde(rename = "v")]
    form: u8,
    /// The revision of the first page, which is the one of the whole list.
    #[serde(rename = "rv")]
    pub revision: i64,
    /// The resource's own word for where the next page begins.
    #[serde(rename = "at")]
    pub position: String,
    /// The [`fingerprint`] of what is listed.
    #[serde(rename = "q")]
    query: u64,
}

impl ContinueToken {
    pub(crate) fn new(revision: i64, position: String, query: u64) -> Self {
        Self {
            form: FORM,
            revision,
            position,
            query,
        }
    }

    pub(crate) fn encode(&self) -> String {
        let json = serde_json::to_vec(self).expect("plain fields");
        URL_SAFE_NO_PAD.encode(json)
    }

    /// Reads a token that was given for the same query.
    pub(crate) fn decode(text: &str, query: u64) -> Result<Self, StatusError> {
        let invalid =
            |why: &str| StatusError::bad_request(format!("continue key is not valid: {why}"));
        if text.len() > LONGEST {
            return Err(invalid("it is too long"));
        }
        let json = URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|_| invalid("it is not one of this server's"))?;
        let token: Self =
            serde_json::from_slice(&json).map_err(|_| invalid("it is not one of this server's"))?;
        if token.form != FORM || token.revision < 0 {
            return Err(invalid("it is not one of this server's"));
        }
        if token.query != query {
            return Err(invalid(
                "it was given for another resource, namespace or selector",
            ));
        }
        Ok(token)
    }
}

/// A number for a list of texts, the same in every process (FNV-1a, 64 bits). Against mix-ups: nothing is protected by it.
pub(crate) fn fingerprint(parts: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        // A byte that no UTF-8 has, so that the parts cannot run together.
        for byte in part.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_its_own_query_only() {
        let mine = fingerprint(&["notes", "acme", "", ""]);
        let text = ContinueToken::new(7, "p".into(), mine).encode();
        let read = ContinueToken::decode(&text, mine).expect("its own");
        assert_eq!((read.revision, read.position.as_str()), (7, "p"));
        let other = fingerprint(&["notes", "acm", "e", ""]);
        for (text, query) in [
            (text.as_str(), other),
            ("", mine),
            ("e30", mine),
            ("%", mine),
        ] {
            assert_eq!(
                ContinueToken::decode(text, query).expect_err("none").code,
                400
            );
        }
    }
}
