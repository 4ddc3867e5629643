//! What a sign-in needs of a provider, so that tests can put another in its place.

use async_trait::async_trait;
use secrecy::SecretString;

use super::outcomes::{DeviceAuthorization, PollOutcome, ProviderError, RecheckOutcome};
use super::provider::IdentityProvider;

/// What a sign-in needs of a provider; [`IdentityProvider`] says what each of it means.
#[async_trait]
pub trait SignInProvider: std::fmt::Debug + Send + Sync + 'static {
    /// The issuer.
    fn issuer(&self) -> &str;

    /// As [`IdentityProvider::start_device_authorization`].
    ///
    /// # Errors
    /// [`ProviderError`].
    async fn start_device_authorization(&self) -> Result<DeviceAuthorization, ProviderError>;

    /// As [`IdentityProvider::poll`].
    ///
    /// # Errors
    /// [`ProviderError`].
    async fn poll(&self, device_code: &SecretString) -> Result<PollOutcome, ProviderError>;

    /// As [`IdentityProvider::recheck`].
    ///
    /// # Errors
    /// [`ProviderError`].
    async fn recheck(
        &self,
        refresh_token: &SecretString,
        subject: &str,
    ) -> Result<RecheckOutcome, ProviderError>;
}

#[async_trait]
impl SignInProvider for IdentityProvider {
    fn issuer(&self) -> &str {
        Self::issuer(self)
    }

    async fn start_device_authorization(&self) -> Result<DeviceAuthorization, ProviderError> {
        Self::start_device_authorization(self).await
    }

    async fn poll(&self, device_code: &SecretString) -> Result<PollOutcome, ProviderError> {
        Self::poll(self, device_code).await
    }

    async fn recheck(
        &self,
        refresh_token: &SecretString,
        subject: &str,
    ) -> Result<RecheckOutcome, ProviderError> {
        Self::recheck(self, refresh_token, subject).await
    }
}
