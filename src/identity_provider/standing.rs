//! Whether a provider can be used, for the connector's status. Found out in the background, so that somebody who signs in is not the first to see it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;

use super::outcomes::{ProviderError, Standing};
use super::provider::IdentityProvider;
use super::token_endpoint::{DEVICE_GRANT, Failure};
use crate::backoff::{Backoff, jittered};

/// A provider that can be used is looked at again after this.
const INTERVAL: Duration = Duration::from_hours(1);

/// One that cannot, after this, doubled each time.
const FIRST_RETRY: Duration = Duration::from_secs(5);
const LONGEST_RETRY: Duration = Duration::from_mins(5);

impl IdentityProvider {
    /// Looks after a provider until nobody else holds it, and calls `on_change` whenever its standing changes.
    pub fn watch(provider: &Arc<Self>, on_change: impl Fn() + Send + 'static) {
        let standing = provider.subscribe_standing();
        tokio::spawn(watch(Arc::downgrade(provider), standing, on_change));
    }

    /// Looks whether the provider answers, has the device flow, and knows the client.
    pub async fn check(&self) -> Standing {
        let standing = match self.try_check().await {
            Ok(()) => Standing::Ready,
            Err(error) => Standing::Failing(error),
        };
        self.set_standing(standing.clone());
        standing
    }

    async fn try_check(&self) -> Result<(), ProviderError> {
        let read = self.metadata.refresh().await?;
        if read.discovered.device_endpoint.is_none() {
            return Err(ProviderError::NoDeviceEndpoint);
        }
        // A code that nobody was given: a provider that knows the client says that it does not know the code.
        let form = [("grant_type", DEVICE_GRANT), ("device_code", "none")];
        match self.request_tokens(&form).await {
            Err(Failure::Error(code)) => match code.as_str() {
                "invalid_client" | "unauthorized_client" | "unsupported_grant_type" => {
                    Err(Failure::Error(code).into_provider_error())
                }
                // To Authlib the code is unknown, to oidc-provider the client may not use the device flow.
                "invalid_request" => self.try_start().await.map(drop),
                _ => Ok(()),
            },
            Err(Failure::Other(error)) => Err(error),
            Ok(_) => Ok(()),
        }
    }
}

async fn watch(
    provider: Weak<IdentityProvider>,
    mut standing: watch::Receiver<Standing>,
    on_change: impl Fn() + Send,
) {
    let mut backoff = Backoff::new(FIRST_RETRY, LONGEST_RETRY);
    let mut wait = Duration::ZERO;
    loop {
        tokio::select! {
            changed = standing.changed() => match changed {
                Ok(()) => {
                    // What an exchange has shown is looked at again soon.
                    if matches!(*standing.borrow_and_update(), Standing::Failing(_)) {
                        wait = wait.min(LONGEST_RETRY);
                    }
                    on_change();
                }
                Err(_) => return,
            },
            () = tokio::time::sleep(wait) => {
                let Some(provider) = provider.upgrade() else { return };
                wait = match provider.check().await {
                    Standing::Ready => {
                        backoff.reset();
                        jittered(INTERVAL)
                    }
                    _ => backoff.next_delay(),
                };
            }
        }
    }
}
