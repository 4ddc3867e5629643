//! The `secret_token` of a connector's webhook: derived, so that there is nothing to store, and different for each connector
//! and bot, so that one that leaks opens no other.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::identity::{BotId, ConnectorUid};

/// The header in which Telegram sends the secret back.
pub const SECRET_HEADER: &str = "x-telegram-bot-api-secret-token";

/// HMAC-SHA256 under the `--webhook-key` over connector and bot: 43 characters of `A-Za-z0-9_-`, as `setWebhook` allows.
pub fn derive_secret_token(
    key: &SecretString,
    connector: &ConnectorUid,
    bot: BotId,
) -> SecretString {
    // HMAC takes keys of any length.
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose_secret().as_bytes())
        .expect("HMAC takes a key of any length");
    mac.update(b"telegram-webhook\0");
    mac.update(connector.as_str().as_bytes());
    mac.update(b"\0");
    mac.update(bot.to_string().as_bytes());
    URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()).into()
}

/// Whether `given` is the secret under one of `keys`, in a time that does not depend on where they differ.
pub(crate) fn is_valid_secret_token<'k>(
    keys: impl IntoIterator<Item = &'k SecretString>,
    connector: &ConnectorUid,
    bot: BotId,
    given: &[u8],
) -> bool {
    let mut right = subtle::Choice::from(0);
    for key in keys {
        let expected = derive_secret_token(key, connector, bot);
        right |= expected.expose_secret().as_bytes().ct_eq(given);
    }
    right.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> SecretString {
        text.into()
    }

    #[test]
    fn a_secret_is_of_one_key_connector_and_bot() {
        let k = key("0123456789abcdef0123456789abcdef");
        let secret = derive_secret_token(&k, &"uid-1".into(), BotId(1));
        let secret = secret.expose_secret().as_bytes();
        assert!(
            secret
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || *b == b'-' || *b == b'_')
        );
        assert!((1..=256).contains(&secret.len()));
        assert!(is_valid_secret_token(
            [&k],
            &"uid-1".into(),
            BotId(1),
            secret
        ));
        assert!(!is_valid_secret_token(
            [&k],
            &"uid-2".into(),
            BotId(1),
            secret
        ));
        assert!(!is_valid_secret_token(
            [&k],
            &"uid-1".into(),
            BotId(2),
            secret
        ));
        assert!(!is_valid_secret_token(
            [&key("other")],
            &"uid-1".into(),
            BotId(1),
            secret
        ));
        assert!(!is_valid_secret_token([&k], &"uid-1".into(), BotId(1), b""));
        let rotated = key("new");
        assert!(is_valid_secret_token(
            [&rotated, &k],
            &"uid-1".into(),
            BotId(1),
            secret
        ));
    }
}
