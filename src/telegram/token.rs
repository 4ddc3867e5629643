//! The bot token: parsed once, exposed only where a request is built.

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest as _, Sha256};

use crate::identity::BotId;

/// A token of the form `<bot id>:<secret>`, as `BotFather` hands out. Its `Debug` shows the bot id only.
#[derive(Clone)]
pub struct BotToken {
    id: BotId,
    token: SecretString,
}

/// The value is not a bot token. Does not hold the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a bot token: expected <digits>:<35 or so of A-Z a-z 0-9 _ ->, as BotFather sends it")]
pub struct MalformedToken;

impl BotToken {
    /// Parses a token; surrounding white space (a trailing newline in a Secret) is ignored.
    ///
    /// # Errors
    /// [`MalformedToken`], without the value.
    pub fn parse(value: &str) -> Result<Self, MalformedToken> {
        let value = value.trim();
        let (id, secret) = value.split_once(':').ok_or(MalformedToken)?;
        let id: i64 = id.parse().map_err(|_| MalformedToken)?;
        let well_formed = secret.len() >= 20
            && secret
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if id <= 0 || !well_formed {
            return Err(MalformedToken);
        }
        Ok(Self {
            id: BotId(id),
            token: value.into(),
        })
    }

    /// The id of the token's bot.
    pub fn bot_id(&self) -> BotId {
        self.id
    }

    /// The first eight bytes of a hash over `salt` and the token.
    pub(super) fn fingerprint(&self, salt: &str) -> i64 {
        let hash = Sha256::new()
            .chain_update(salt)
            .chain_update([0])
            .chain_update(self.expose())
            .finalize();
        let first = hash.first_chunk().expect("SHA-256 has 32 bytes");
        i64::from_be_bytes(*first)
    }

    /// The token itself, for building requests only.
    pub(crate) fn expose(&self) -> &str {
        self.token.expose_secret()
    }
}

impl std::fmt::Debug for BotToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BotToken({}:***)", self.id)
    }
}

impl PartialEq for BotToken {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}
