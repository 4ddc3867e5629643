//! Seals what of a sign-in is kept in the store: device codes and refresh tokens. A copy of the store is worth nothing without the key, which is in a
//! file beside it.

use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use secrecy::SecretString;

/// Bytes of a key.
const KEY_BYTES: usize = 32;

/// The first byte of what is sealed, so that another way of sealing can be told apart.
const VERSION: u8 = 1;

/// Seals and opens with AES-256-GCM. The first key seals; all of them open, so that a key can be replaced.
pub struct Sealer {
    keys: Vec<LessSafeKey>,
}

/// Shows how many keys there are, and nothing of them.
impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer({} keys)", self.keys.len())
    }
}

/// Why the file of `--sign-in-key-file` cannot be used. Holds nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("--sign-in-key-file {}: {why}", path.display())]
pub struct KeyFileError {
    /// Path of the file, as given.
    pub path: PathBuf,
    /// What is wrong; a clause that continues the message.
    pub why: String,
}

/// Why something sealed cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "what is sealed cannot be opened: it was sealed with another key, for something else, or was altered"
)]
pub struct OpenError;

impl Sealer {
    /// Reads keys from a file: one a line, 32 random bytes each as Base64 or as hexadecimal digits.
    ///
    /// # Errors
    /// [`KeyFileError`] if the file cannot be read, holds no key, or holds something else.
    pub fn read(path: &Path) -> Result<Self, KeyFileError> {
        let error = |why| KeyFileError {
            path: path.to_owned(),
            why,
        };
        let text =
            std::fs::read_to_string(path).map_err(|e| error(format!("it cannot be read: {e}")))?;
        Self::parse(&text).map_err(error)
    }

    /// The same from the file's text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let keys = lines
            .enumerate()
            .map(|(n, line)| {
                let bytes = decode_key(line).ok_or_else(|| {
                    format!(
                        "key {} of it is not {KEY_BYTES} bytes as Base64; make one with: openssl rand -base64 {KEY_BYTES}",
                        n + 1
                    )
                })?;
                key(&bytes)
            })
            .collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() {
            return Err(format!(
                "it holds no key; make one with: openssl rand -base64 {KEY_BYTES}"
            ));
        }
        Ok(Self { keys })
    }

    /// A key that nobody else has and that ends with the process; for `dev`, `demo` and tests.
    ///
    /// # Panics
    /// Where the system has no random numbers.
    pub fn ephemeral() -> Self {
        let mut bytes = [0; KEY_BYTES];
        random(&mut bytes);
        let key = key(&bytes).unwrap_or_else(|e| unreachable!("a key of the right length: {e}"));
        Self { keys: vec![key] }
    }

    /// Seals `plain`. `context` says what it is and whose, such as table and row: it opens only with the same one, so that nobody who may write to
    /// the store can move it.
    ///
    /// # Panics
    /// Where the system has no random numbers.
    pub(crate) fn seal(&self, plain: &[u8], context: &str) -> Vec<u8> {
        let mut nonce = [0; NONCE_LEN];
        random(&mut nonce);
        let mut sealed = plain.to_vec();
        self.keys[0]
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(context.as_bytes()),
                &mut sealed,
            )
            // Only for more than 64 GiB.
            .unwrap_or_else(|_| unreachable!("what is sealed is short"));
        let mut out = Vec::with_capacity(1 + NONCE_LEN + sealed.len());
        out.push(VERSION);
        out.extend_from_slice(&nonce);
        out.append(&mut sealed);
        out
    }

    /// Opens what [`Self::seal`] made with this context.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(&self, sealed: &[u8], context: &str) -> Result<SecretString, OpenError> {
        let (version, rest) = sealed.split_first().ok_or(OpenError)?;
        let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>().ok_or(OpenError)?;
        if *version != VERSION {
            return Err(OpenError);
        }
        for key in &self.keys {
            let mut body = body.to_vec();
            let nonce = Nonce::assume_unique_for_key(*nonce);
            if let Ok(plain) = key.open_in_place(nonce, Aad::from(context.as_bytes()), &mut body) {
                let text = std::str::from_utf8(plain).map_err(|_| OpenError)?;
                return Ok(text.into());
            }
        }
        Err(OpenError)
    }
}

fn decode_key(line: &str) -> Option<Vec<u8>> {
    let bytes = if line.len() == 2 * KEY_BYTES && line.bytes().all(|b| b.is_ascii_hexdigit()) {
        (0..KEY_BYTES)
            .map(|n| u8::from_str_radix(&line[2 * n..2 * n + 2], 16).ok())
            .collect::<Option<Vec<_>>>()?
    } else {
        STANDARD.decode(line).ok()?
    };
    (bytes.len() == KEY_BYTES).then_some(bytes)
}

fn key(bytes: &[u8]) -> Result<LessSafeKey, String> {
    let key = UnboundKey::new(&AES_256_GCM, bytes).map_err(|_| "it holds no key".to_owned())?;
    Ok(LessSafeKey::new(key))
}

fn random(bytes: &mut [u8]) {
    SystemRandom::new()
        .fill(bytes)
        .unwrap_or_else(|_| panic!("the system has no random numbers"));
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    const OLD: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const NEW: &str = "1111111111111111111111111111111111111111111111111111111111111111";

    #[test]
    fn what_is_sealed_opens_with_its_key_and_context_only() {
        let sealer = Sealer::parse(OLD).expect("a key");
        let sealed = sealer.seal(b"refresh", "membership 7");
        assert!(!sealed.windows(7).any(|w| w == b"refresh"));
        assert_ne!(
            sealed,
            sealer.seal(b"refresh", "membership 7"),
            "a new nonce"
        );
        let open = |s: &Sealer, context| {
            s.open(&sealed, context)
                .map(|p| p.expose_secret().to_owned())
        };
        assert_eq!(open(&sealer, "membership 7").as_deref(), Ok("refresh"));
        assert_eq!(open(&sealer, "membership 8"), Err(OpenError));
        let replaced = Sealer::parse(&format!("{NEW}\n{OLD}\n")).expect("two keys");
        assert_eq!(open(&replaced, "membership 7").as_deref(), Ok("refresh"));
        assert_eq!(open(&Sealer::ephemeral(), "membership 7"), Err(OpenError));
        for length in 0..sealed.len() {
            assert!(sealer.open(&sealed[..length], "membership 7").is_err());
        }
    }

    #[test]
    fn wrong_key_files_say_how_to_make_one() {
        for wrong in ["", "\n\n", "c2hvcnQ=", "no key at all"] {
            let error = Sealer::parse(wrong).expect_err(wrong);
            assert!(error.contains("openssl rand -base64 32"), "{error}");
            assert!(wrong.trim().is_empty() || !error.contains(wrong), "{error}");
        }
    }
}
