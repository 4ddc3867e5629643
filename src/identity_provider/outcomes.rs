//! What comes of asking a provider, and why it could not be asked.

use std::time::Duration;

use secrecy::SecretString;

/// Why a provider could not be used. Displayed as a sentence that says what to do; no token, code or secret in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// It does not answer, or not with what the protocols say. Trying again may help.
    #[error("the identity provider cannot be used: {0}")]
    Unreachable(String),
    /// It refuses the client: id, secret, grant or scopes. Somebody must change something.
    #[error("the identity provider refuses the client: {0}")]
    Refused(String),
    /// It has no device authorization endpoint.
    #[error(
        "the identity provider has no device authorization endpoint (RFC 8628), which the sign-in needs; switch the device flow on there, or use another provider"
    )]
    NoDeviceEndpoint,
    /// A token of it cannot be accepted: signature, audience, clock.
    #[error("a token of the identity provider is refused: {0}")]
    Invalid(String),
}

/// Whether a provider can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Nobody has looked yet.
    Unknown,
    /// It answers, has the device flow and knows the client.
    Ready,
    /// It cannot be used, and why. Never [`ProviderError::Invalid`].
    Failing(ProviderError),
}

/// What a person needs to sign in.
#[derive(Debug)]
pub struct DeviceAuthorization {
    /// For [`super::IdentityProvider::poll`]. Secret.
    pub device_code: SecretString,
    /// What the person types at `verification_uri`; at most 64 characters.
    pub user_code: String,
    /// Where; an http(s) address of at most 2048 bytes.
    pub verification_uri: String,
    /// The same with the code in it, where the provider offers that.
    pub verification_uri_complete: Option<String>,
    /// How long both codes hold, at most an hour.
    pub expires_in: Duration,
    /// The least time between two polls, 1 s to 1 min. [`PollOutcome::SlowDown`] adds 5 s to it (RFC 8628, section 3.5).
    pub interval: Duration,
}

/// What a poll says.
#[derive(Debug)]
pub enum PollOutcome {
    /// The person has not signed in yet.
    Pending,
    /// The same, and polls must come less often.
    SlowDown,
    /// The person, or the provider, said no.
    Denied,
    /// The code is over, unknown, or was used already: a sign-in that was not written down in time begins anew.
    Expired,
    /// Signed in, but a claim does not hold.
    ClaimsMissing {
        /// Its name.
        claim: String,
    },
    /// A member.
    SignedIn(Member),
}

/// What a recheck says.
#[derive(Debug)]
pub enum RecheckOutcome {
    /// Still a member; with the refresh token that is to be used from now on.
    Member(Member),
    /// The provider no longer honours the refresh token, or it belongs to somebody else.
    Revoked,
    /// A claim holds no longer, or cannot be seen.
    ClaimsMissing {
        /// Its name.
        claim: String,
    },
}

/// Somebody who belongs to the company: the ID token was verified and the claims hold.
#[derive(Debug)]
pub struct Member {
    /// The issuer.
    pub issuer: String,
    /// Who it is there: never another person; at most 255 bytes.
    pub subject: String,
    /// For [`super::IdentityProvider::recheck`]; `None`: the provider gives none, or none is wanted. Secret.
    pub refresh_token: Option<SecretString>,
}
