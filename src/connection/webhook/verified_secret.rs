//! What a connection has shown already: Telegram and an Ingress send many requests over one, each with the same secret, which is derived once.

use parking_lot::Mutex;
use secrecy::SecretString;
use subtle::ConstantTimeEq;

use super::secret_token::is_valid_secret_token;
use crate::identity::{BotId, ConnectorUid};

/// The secret that was last right on a connection.
#[derive(Default)]
pub(super) struct VerifiedSecret(Mutex<Option<Verified>>);

struct Verified {
    connector: ConnectorUid,
    bot: BotId,
    secret: Box<[u8]>,
}

impl VerifiedSecret {
    /// Whether `given` is the secret of this connector and bot; as [`is_valid_secret_token`] says, or has said on this connection.
    pub(super) fn check(
        &self,
        keys: &[SecretString],
        connector: &ConnectorUid,
        bot: BotId,
        given: &[u8],
    ) -> bool {
        let mut verified = self.0.lock();
        let is_known = verified.as_ref().is_some_and(|known| {
            known.bot == bot && known.connector == *connector && known.secret.ct_eq(given).into()
        });
        if is_known {
            return true;
        }
        let is_valid = is_valid_secret_token(keys, connector, bot, given);
        if is_valid {
            *verified = Some(Verified {
                connector: connector.clone(),
                bot,
                secret: given.into(),
            });
        }
        is_valid
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::super::secret_token::derive_secret_token;
    use super::*;

    const BOT: BotId = BotId(1);

    fn keys() -> [SecretString; 1] {
        ["0123456789abcdef0123456789abcdef".into()]
    }

    #[test]
    fn a_verified_secret_opens_its_own_connector_and_bot_only() {
        let (keys, uid) = (keys(), ConnectorUid::from("uid-1"));
        let secret = derive_secret_token(&keys[0], &uid, BOT);
        let secret = secret.expose_secret().as_bytes();
        let verified = VerifiedSecret::default();
        assert!(!verified.check(&keys, &uid, BOT, b""));
        for _ in 0..2 {
            assert!(verified.check(&keys, &uid, BOT, secret));
            assert!(!verified.check(&keys, &uid, BOT, &secret[1..]));
            assert!(!verified.check(&keys, &uid, BOT, b""));
            assert!(!verified.check(&keys, &uid, BotId(2), secret));
            assert!(!verified.check(&keys, &"uid-2".into(), BOT, secret));
        }
    }

    #[test]
    fn a_known_secret_is_not_derived_again() {
        let (keys, uid) = (keys(), ConnectorUid::from("uid-1"));
        let secret = derive_secret_token(&keys[0], &uid, BOT);
        let secret = secret.expose_secret().as_bytes();
        let verified = VerifiedSecret::default();
        assert!(verified.check(&keys, &uid, BOT, secret));
        assert!(verified.check(&[], &uid, BOT, secret), "without any key");
    }
}
