//! What an identity provider is built from beside its client's secret: of another spec, or with another fault, it is another one.

use crate::api::connector::OidcSpec;
use crate::identity_provider::ProviderError;

/// A provider's spec, with what keeps it from being used.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ProviderSpec {
    /// The connector's.
    pub(super) oidc: OidcSpec,
    /// Why it cannot be asked, where something that it needs is missing.
    pub(super) unavailable: Option<ProviderError>,
}
