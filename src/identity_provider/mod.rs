//! Sign-in with the company account: one `OpenID` Connect provider as a connector names it (`spec.access.companyUsers.oidc`), by the device
//! authorization grant (RFC 8628), which needs no address of ours that a browser could reach.
//!
//! Nothing here knows Telegram or the store: who is signed in, and for how long, is the caller's affair.
//!
//! | file | what it owns |
//! |---|---|
//! | `http_client` | HTTP under the assistants' guard, bounded in time and size |
//! | `discovery` | a provider's metadata and keys |
//! | `metadata_cache` | the metadata and keys that were read, as long as they hold |
//! | `token_endpoint` | the device authorization and token endpoints, and their errors |
//! | `id_token` | verifies ID tokens |
//! | `device_answer` | the codes that people sign in with, bounded |
//! | `outcomes` | what comes of asking, and why it could not be asked |
//! | `claims` | the claims that make somebody a member |
//! | `provider` | one provider: asks for codes, polls, rechecks, and verifies who signed in |
//! | `standing` | looks in the background whether the provider can be used, for the connector's status |
//! | `sealer` | seals what of a sign-in is stored |
//! | `sign_in_provider` | the trait by which a sign-in uses a provider |

mod claims;
mod device_answer;
mod discovery;
mod http_client;
mod id_token;
mod metadata_cache;
mod outcomes;
mod provider;
mod sealer;
mod sign_in_provider;
mod standing;
mod token_endpoint;

pub use claims::RequiredClaim;
pub use http_client::{IdentityProviderHttpClient, ProviderLimits};
pub use outcomes::{
    DeviceAuthorization, Member, PollOutcome, ProviderError, RecheckOutcome, Standing,
};
pub use provider::{IdentityProvider, ProviderConfig};
pub use sealer::{KeyFileError, OpenError, Sealer};
pub use sign_in_provider::SignInProvider;

#[cfg(test)]
mod tests;
