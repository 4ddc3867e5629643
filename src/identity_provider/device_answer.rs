//! What a provider's device authorization endpoint answers, read and bounded: it is shown to people.

use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use super::outcomes::{DeviceAuthorization, ProviderError};

/// Bounds of what a provider says of its device codes.
const LONGEST_CODE_LIFE: Duration = Duration::from_hours(1);
const LONGEST_INTERVAL: Duration = Duration::from_mins(1);
const MAX_USER_CODE_CHARS: usize = 64;
const MAX_URI_BYTES: usize = 2048;

/// An answer of the device authorization endpoint (RFC 8628, section 3.2).
#[derive(Deserialize)]
pub(super) struct DeviceAnswer {
    device_code: SecretString,
    user_code: String,
    // As Google writes it.
    #[serde(alias = "verification_url")]
    verification_uri: String,
    verification_uri_complete: Option<String>,
    expires_in: u64,
    interval: Option<u64>,
}

impl DeviceAnswer {
    /// The codes, unless they cannot be shown to anybody.
    pub(super) fn checked(self) -> Result<DeviceAuthorization, ProviderError> {
        let is_address = |text: &str| {
            text.len() <= MAX_URI_BYTES
                && Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
        };
        let chars = self.user_code.chars();
        let is_code = (1..=MAX_USER_CODE_CHARS).contains(&chars.clone().count())
            && !chars.clone().any(char::is_control);
        if !is_address(&self.verification_uri) || !is_code {
            return Err(ProviderError::Unreachable(
                "its device authorization endpoint gives no address and code that can be shown"
                    .to_owned(),
            ));
        }
        Ok(DeviceAuthorization {
            device_code: self.device_code,
            user_code: self.user_code,
            verification_uri: self.verification_uri,
            verification_uri_complete: self.verification_uri_complete.filter(|u| is_address(u)),
            expires_in: Duration::from_secs(self.expires_in).min(LONGEST_CODE_LIFE),
            interval: Duration::from_secs(self.interval.unwrap_or(5))
                .clamp(Duration::from_secs(1), LONGEST_INTERVAL),
        })
    }
}
