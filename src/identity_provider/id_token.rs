//! Verifies ID tokens (`OpenID` Connect Core 1.0, section 3.1.3.7) with the provider's keys.

use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use openidconnect::core::{
    CoreIdToken, CoreIdTokenVerifier, CoreJsonWebKeySet, CoreJwsSigningAlgorithm as Algorithm,
};
use openidconnect::{
    ClaimsVerificationError, ClientId, IssuerUrl, Nonce, SignatureVerificationError,
};

use super::claims::Claims;

/// How far the provider's clock and ours may be apart, seconds.
const CLOCK_SKEW_SECONDS: i64 = 5 * 60;

/// Bytes of an ID token, at most.
const MAX_TOKEN_BYTES: usize = 64 << 10;

/// Signatures by a key pair. None that is made with a secret that both know: the key of such a one could be the public key of another (RFC 8725,
/// section 2.1). And not "none".
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RsaSsaPkcs1V15Sha256,
    Algorithm::RsaSsaPkcs1V15Sha384,
    Algorithm::RsaSsaPkcs1V15Sha512,
    Algorithm::RsaSsaPssSha256,
    Algorithm::RsaSsaPssSha384,
    Algorithm::RsaSsaPssSha512,
    Algorithm::EcdsaP256Sha256,
    Algorithm::EcdsaP384Sha384,
    Algorithm::EdDsa,
];

/// Why a token is refused. Holds nothing of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No key fits, of those that were read: there may be newer ones.
    UnknownKey,
    /// It is malformed, expired, or made for somebody else, and what of it.
    Invalid(String),
}

/// The claims of an ID token for `client_id`, signed by one of these keys.
pub(super) fn verify(
    raw: &str,
    issuer: &IssuerUrl,
    client_id: &str,
    keys: &CoreJsonWebKeySet,
    now: Timestamp,
) -> Result<Claims, Refusal> {
    let invalid = |why: &str| Refusal::Invalid(format!("the ID token {why}"));
    if raw.len() > MAX_TOKEN_BYTES {
        return Err(invalid("is too large"));
    }
    let token = CoreIdToken::from_str(raw).map_err(|_| invalid("cannot be read"))?;
    let seconds = now.as_second();
    let latest = seconds.saturating_add(CLOCK_SKEW_SECONDS);
    let earliest = system_time(seconds.saturating_sub(CLOCK_SKEW_SECONDS));
    let verifier = CoreIdTokenVerifier::new_public_client(
        ClientId::new(client_id.to_owned()),
        issuer.clone(),
        keys.clone(),
    )
    .set_allowed_algs(ALGORITHMS)
    .set_time_fn(move || earliest.into())
    .set_issue_time_verifier_fn(move |issued_at| {
        if issued_at.timestamp() > latest {
            Err("in the future".to_owned())
        } else {
            Ok(())
        }
    });
    // The device flow has no nonce: nothing of ours goes through the browser.
    let verified = token.claims(&verifier, |_: Option<&Nonce>| Ok(()));
    verified.map_err(|e| refusal(&e))?;
    let claims = payload(raw).ok_or_else(|| invalid("cannot be read"))?;
    let not_before = claims.get("nbf").and_then(serde_json::Value::as_f64);
    #[allow(
        clippy::cast_precision_loss,
        reason = "seconds, compared with minutes to spare"
    )]
    if not_before.is_some_and(|nbf| nbf > latest as f64) {
        return Err(invalid(
            "is not valid yet; check the clocks of provider and node",
        ));
    }
    Ok(claims)
}

fn refusal(error: &ClaimsVerificationError) -> Refusal {
    use SignatureVerificationError as Signature;
    let why = match error {
        ClaimsVerificationError::SignatureVerification(
            Signature::NoMatchingKey | Signature::CryptoError(_),
        ) => return Refusal::UnknownKey,
        ClaimsVerificationError::SignatureVerification(Signature::AmbiguousKeyId(_)) => {
            "names none of the provider's several keys"
        }
        ClaimsVerificationError::SignatureVerification(
            Signature::DisallowedAlg(_) | Signature::UnsupportedAlg(_) | Signature::NoSignature,
        ) => {
            "is signed in a way that is not accepted; have the provider sign with RS256, PS256, ES256 or EdDSA"
        }
        ClaimsVerificationError::SignatureVerification(_) => "has no valid signature",
        ClaimsVerificationError::Expired(_) => {
            "has expired, or was issued in the future; check the clocks of provider and node"
        }
        ClaimsVerificationError::InvalidAudience(_) => "is for another client than clientId",
        ClaimsVerificationError::InvalidIssuer(_) => "is of another issuer",
        _ => "cannot be accepted",
    };
    Refusal::Invalid(format!("the ID token {why}"))
}

/// The claims as they are written; of a token that was verified.
fn payload(raw: &str) -> Option<Claims> {
    let segment = raw.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(segment).ok()?).ok()
}

fn system_time(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}
