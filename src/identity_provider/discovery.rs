//! What a provider says of itself (`OpenID` Connect Discovery 1.0), and the keys it signs with.

use openidconnect::core::{
    CoreAuthDisplay, CoreClaimName, CoreClaimType, CoreClientAuthMethod, CoreGrantType,
    CoreJsonWebKey, CoreJsonWebKeySet, CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm, CoreResponseMode, CoreResponseType, CoreSubjectIdentifierType,
};
use openidconnect::{
    AdditionalProviderMetadata, DiscoveryError, IssuerUrl, JsonWebKeySetUrl, ProviderMetadata,
};
use serde::{Deserialize, Serialize};
use url::Url;

use super::http_client::{IdentityProviderHttpClient, NoAnswer};
use super::outcomes::ProviderError;

/// The scope with which a provider is asked for a refresh token.
pub(super) const OFFLINE_ACCESS: &str = "offline_access";

/// What RFC 8628 (section 4) adds to a provider's metadata.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct DeviceMetadata {
    #[serde(default)]
    device_authorization_endpoint: Option<Url>,
}

impl AdditionalProviderMetadata for DeviceMetadata {}

type Metadata = ProviderMetadata<
    DeviceMetadata,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

/// How a client with a secret proves it to the token endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SecretMethod {
    /// In the header `Authorization`.
    Basic,
    /// In the body.
    Post,
}

/// What is used of a provider's metadata.
#[derive(Debug)]
pub(super) struct Discovered {
    pub(super) token_endpoint: Url,
    pub(super) device_endpoint: Option<Url>,
    pub(super) userinfo_endpoint: Option<Url>,
    pub(super) jwks_uri: JsonWebKeySetUrl,
    pub(super) secret_method: SecretMethod,
    pub(super) offers_offline_access: bool,
    pub(super) keys: CoreJsonWebKeySet,
}

/// Reads metadata and keys.
pub(super) async fn discover(
    issuer: &IssuerUrl,
    http: &IdentityProviderHttpClient,
) -> Result<Discovered, ProviderError> {
    let metadata = Metadata::discover_async(issuer.clone(), http)
        .await
        .map_err(|e| unreachable_by(e, "its metadata (.well-known/openid-configuration)"))?;
    let token_endpoint = metadata.token_endpoint().map(|url| url.url().clone());
    let methods = metadata.token_endpoint_auth_methods_supported();
    let scopes = metadata.scopes_supported();
    let discovered = Discovered {
        token_endpoint: token_endpoint.ok_or_else(|| {
            ProviderError::Unreachable("the provider's metadata names no token_endpoint".into())
        })?,
        device_endpoint: metadata
            .additional_metadata()
            .device_authorization_endpoint
            .clone(),
        userinfo_endpoint: metadata.userinfo_endpoint().map(|url| url.url().clone()),
        jwks_uri: metadata.jwks_uri().clone(),
        secret_method: match methods {
            Some(methods)
                if !methods.contains(&CoreClientAuthMethod::ClientSecretBasic)
                    && methods.contains(&CoreClientAuthMethod::ClientSecretPost) =>
            {
                SecretMethod::Post
            }
            // Also what a provider that says nothing means (OpenID Connect Discovery, section 3).
            _ => SecretMethod::Basic,
        },
        offers_offline_access: scopes
            .is_some_and(|scopes| scopes.iter().any(|s| s.as_str() == OFFLINE_ACCESS)),
        keys: metadata.jwks().clone(),
    };
    discovered.check_urls(http)?;
    Ok(discovered)
}

/// Reads the keys alone.
pub(super) async fn fetch_keys(
    url: &JsonWebKeySetUrl,
    http: &IdentityProviderHttpClient,
) -> Result<CoreJsonWebKeySet, ProviderError> {
    CoreJsonWebKeySet::fetch_async(url, http)
        .await
        .map_err(|e| unreachable_by(e, "its keys (jwks_uri)"))
}

impl Discovered {
    /// Checks what the provider names, so that a wrong address is seen before somebody signs in.
    fn check_urls(&self, http: &IdentityProviderHttpClient) -> Result<(), ProviderError> {
        let named = [
            ("token_endpoint", Some(&self.token_endpoint)),
            (
                "device_authorization_endpoint",
                self.device_endpoint.as_ref(),
            ),
            ("userinfo_endpoint", self.userinfo_endpoint.as_ref()),
        ];
        for (name, url) in named {
            if let Some(url) = url {
                http.check_url(url).map_err(|why| {
                    ProviderError::Unreachable(format!("the provider's {name}: {why}"))
                })?;
            }
        }
        Ok(())
    }
}

/// No word of a body gets past this.
fn unreachable_by(error: DiscoveryError<NoAnswer>, what: &str) -> ProviderError {
    ProviderError::Unreachable(match error {
        DiscoveryError::Request(NoAnswer(why)) => why,
        DiscoveryError::Response(status, ..) if status.is_success() => {
            format!(
                "the provider answers with something else than JSON where {what} should be; check the issuer"
            )
        }
        DiscoveryError::Response(status, ..) => {
            format!(
                "the provider answers {} where {what} should be; check the issuer",
                status.as_u16()
            )
        }
        DiscoveryError::Validation(_) => format!(
            "the provider calls itself by another issuer in {what}; write spec.access.companyUsers.oidc.issuer exactly as it does, to the last slash"
        ),
        DiscoveryError::Parse(why) => {
            format!("the provider's {what} cannot be read at {}", why.path())
        }
        _ => format!("{what} cannot be read; check the issuer"),
    })
}
