//! The webhook registration of one bot: set it, verify it, and set it again when it drifts.
//!
//! It is set at every start of the task, because `getWebhookInfo` does not show the secret token, which changes with the key. Some Bot API
//! servers do not apply all settings; so drift is what differs both from the wanted settings and from those read right after setting.

use std::collections::HashSet;
use std::time::Duration;

use secrecy::SecretString;
use tokio::time::Instant;
use url::Url;

use super::secret_token::derive_secret_token;
use super::webhook_url;
use crate::backoff::{Backoff, jittered};
use crate::connection::WebhookSettings;
use crate::connection::bot_connection::{BotConnection, whole_seconds};
use crate::connection::foreign_webhook::{self, ReplacementCounter};
use crate::observation::{ConnectionFact, IdentityFact};
use crate::telegram::TelegramError;
use crate::telegram::bot::{ALLOWED_UPDATES, BotProfile, SetWebhook, WebhookInfo};

/// A new registration is checked soon, later ever more rarely.
const FIRST_CHECK_DELAY: Duration = Duration::from_secs(5);
const MAX_CHECK_DELAY: Duration = Duration::from_mins(5);
/// How often a registration is checked while Telegram cannot deliver.
const FAILING_CHECK_DELAY: Duration = Duration::from_secs(20);
/// How often an uploaded certificate is compared with its file.
const CERTIFICATE_CHECK_INTERVAL: Duration = Duration::from_secs(10);

const ERROR_BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_mins(1));
const REJECTION_BACKOFF: Backoff = Backoff::new(Duration::from_secs(15), Duration::from_mins(10));

/// The state of our registration according to `getWebhookInfo`.
#[derive(Debug, PartialEq, Eq)]
enum RegistrationState {
    /// Settings as wanted, deliveries succeed.
    Verified,
    /// Settings as wanted, but deliveries fail with this message.
    Failing(String),
    /// Our URL with other settings than wanted.
    Drifted,
    /// Another owner removed it (`None`) or set a webhook on this host.
    Replaced(Option<String>),
}

/// `fresh` is the answer of `getWebhookInfo` right after the webhook was set: settings that the server did not apply are not drift, and
/// an error that is not newer is from before.
fn registration_state(
    info: &WebhookInfo,
    url: &Url,
    settings: &WebhookSettings,
    fresh: &WebhookInfo,
) -> RegistrationState {
    if info.url.is_empty() {
        return RegistrationState::Replaced(None);
    }
    if info.url != url.as_str() {
        return RegistrationState::Replaced(Some(foreign_webhook::host(&info.url)));
    }
    if !matches_settings(info, settings) && !has_same_settings(info, fresh) {
        return RegistrationState::Drifted;
    }
    let failed_since = info
        .last_error_date
        .filter(|date| fresh.last_error_date.is_none_or(|before| *date > before));
    match (failed_since, &info.last_error_message) {
        (Some(_), Some(message)) if info.pending_update_count > 0 => {
            RegistrationState::Failing(message.clone())
        }
        _ => RegistrationState::Verified,
    }
}

fn matches_settings(info: &WebhookInfo, settings: &WebhookSettings) -> bool {
    update_kinds(info) == ALLOWED_UPDATES.iter().copied().collect()
        && info
            .max_connections
            .is_none_or(|n| n == u32::from(settings.max_connections))
        && info.has_custom_certificate == settings.certificate.is_some()
}

fn has_same_settings(info: &WebhookInfo, other: &WebhookInfo) -> bool {
    update_kinds(info) == update_kinds(other)
        && info.max_connections == other.max_connections
        && info.has_custom_certificate == other.has_custom_certificate
}

fn update_kinds(info: &WebhookInfo) -> HashSet<&str> {
    let update_kinds = info.allowed_updates.iter().flatten();
    update_kinds.map(String::as_str).collect()
}

/// Why the wait for the next check ended.
#[derive(Debug, PartialEq, Eq)]
enum WaitOutcome {
    Elapsed,
    /// The certificate file has changed.
    NewCertificate,
}

/// The registration's task.
pub(in crate::connection) struct WebhookRegistration<'c> {
    connection: &'c BotConnection,
    settings: &'c WebhookSettings,
    profile: BotProfile,
    url: Url,
    secret: SecretString,
    faults: Backoff,
    rejections: Backoff,
    replacements: ReplacementCounter,
    connected: bool,
    /// PEM of the certificate that was uploaded last.
    uploaded: Option<String>,
}

impl<'c> WebhookRegistration<'c> {
    pub(in crate::connection) fn new(
        connection: &'c BotConnection,
        settings: &'c WebhookSettings,
        profile: BotProfile,
    ) -> Self {
        let uid = &connection.connector.uid;
        Self {
            connection,
            settings,
            profile,
            url: webhook_url(&settings.public_url, uid),
            secret: derive_secret_token(&settings.key, uid, connection.bot.id()),
            faults: ERROR_BACKOFF,
            rejections: REJECTION_BACKOFF,
            replacements: ReplacementCounter::default(),
            connected: false,
            uploaded: None,
        }
    }

    /// Keeps the webhook registered until the token is revoked or the future is dropped.
    pub(in crate::connection) async fn run(mut self) {
        loop {
            let Err(error) = self.register_and_watch().await;
            if let Some(wait) = self.on_error(&error) {
                tokio::time::sleep(wait).await;
                continue;
            }
            // A single 401 that getMe does not confirm must not end the connection.
            tokio::time::sleep(self.faults.next_delay()).await;
            match Box::pin(self.connection.identify()).await {
                Some(profile) => self.profile = profile,
                None => return,
            }
        }
    }

    async fn register_and_watch(&mut self) -> Result<std::convert::Infallible, TelegramError> {
        let bot = &self.connection.bot;
        let uid = &self.connection.connector.uid;
        let before = bot.get_webhook_info().await?;
        if !before.url.is_empty() && !foreign_webhook::is_ours(&before.url, uid) {
            self.connection
                .announce_foreign_webhook(foreign_webhook::host(&before.url))
                .await;
        }
        loop {
            self.set_webhook().await?;
            let fresh = bot.get_webhook_info().await?;
            let mut state = registration_state(&fresh, &self.url, self.settings, &fresh);
            if state == RegistrationState::Verified && !matches_settings(&fresh, self.settings) {
                tracing::warn!(namespace = %self.connection.connector.namespace, connector = %self.connection.connector.name,
                    bot_id = %bot.id(), "the Bot API server applied other webhook settings than requested");
            }
            let mut check_backoff = Backoff::new(FIRST_CHECK_DELAY, MAX_CHECK_DELAY);
            loop {
                let wait = match &state {
                    RegistrationState::Verified => {
                        self.connected = true;
                        self.faults.reset();
                        // Overrides a 401 that a send with a token under replacement may have reported meanwhile.
                        self.connection
                            .report_identity(IdentityFact::Accepted(self.profile.clone()));
                        self.connection
                            .report(ConnectionFact::WebhookVerified(bot.id()));
                        check_backoff.next_delay()
                    }
                    RegistrationState::Failing(detail) => {
                        self.connected = false;
                        self.connection.report(ConnectionFact::WebhookUnreachable {
                            detail: detail.clone(),
                        });
                        jittered(FAILING_CHECK_DELAY)
                    }
                    RegistrationState::Drifted | RegistrationState::Replaced(_) => break,
                };
                if self.wait_for_check(wait).await == WaitOutcome::NewCertificate {
                    break;
                }
                let info = bot.get_webhook_info().await?;
                state = registration_state(&info, &self.url, self.settings, &fresh);
            }
            self.connected = false;
            if let RegistrationState::Replaced(host) = state {
                let host = host.unwrap_or_else(|| "somebody who removes our webhook".to_owned());
                tracing::warn!(namespace = %self.connection.connector.namespace, connector = %self.connection.connector.name,
                    bot_id = %bot.id(), %host, "the webhook was replaced by another owner");
                if self.replacements.record(Instant::now()) {
                    self.connection
                        .report(ConnectionFact::WebhookContested { host });
                    tokio::time::sleep(jittered(self.connection.context.recheck_interval)).await;
                } else {
                    self.connection.announce_foreign_webhook(host).await;
                }
            }
        }
    }

    async fn set_webhook(&mut self) -> Result<(), TelegramError> {
        self.uploaded = self.certificate().await.or(self.uploaded.take());
        let wanted = SetWebhook {
            url: self.url.clone(),
            secret_token: self.secret.clone(),
            max_connections: self.settings.max_connections,
            certificate_pem: self.uploaded.clone(),
        };
        self.connection.bot.set_webhook(&wanted).await?;
        self.rejections.reset();
        Ok(())
    }

    /// Reads the certificate to upload, if one is configured and readable.
    async fn certificate(&self) -> Option<String> {
        let path = self.settings.certificate.as_ref()?;
        match tokio::fs::read_to_string(path).await {
            Ok(pem) => Some(pem),
            Err(error) => {
                tracing::warn!(certificate = %path.display(), %error, "failed to read the webhook certificate; the one uploaded before is kept");
                None
            }
        }
    }

    /// Waits for the next check, or until the certificate file changes, since Telegram trusts the uploaded one only.
    async fn wait_for_check(&self, wait: Duration) -> WaitOutcome {
        let until = Instant::now() + wait;
        if self.settings.certificate.is_none() {
            tokio::time::sleep_until(until).await;
        }
        while Instant::now() < until {
            tokio::time::sleep_until(until.min(Instant::now() + CERTIFICATE_CHECK_INTERVAL)).await;
            let now = self.certificate().await;
            if now.is_some() && now != self.uploaded {
                return WaitOutcome::NewCertificate;
            }
        }
        WaitOutcome::Elapsed
    }

    /// Reports the error as a fact if it is worth one. Returns how long to wait; `None` when the token is revoked.
    fn on_error(&mut self, error: &TelegramError) -> Option<Duration> {
        tracing::debug!(connector = %self.connection.connector, bot_id = %self.connection.bot.id(), %error,
            "failed to register or check the webhook; retrying");
        let (fact, wait) = match error {
            TelegramError::Unauthorized => return None,
            TelegramError::RateLimited(wait) => (
                Some(ConnectionFact::RateLimited {
                    retry_after: whole_seconds(*wait),
                }),
                *wait,
            ),
            TelegramError::Refused { description, .. } => (
                Some(ConnectionFact::WebhookRejected {
                    detail: description.clone(),
                }),
                self.rejections.next_delay(),
            ),
            other => {
                let wait = self.faults.next_delay();
                // A single failed check of a registered bot changes no condition: updates still arrive.
                let fact = (!self.connected || self.faults.failures() > 1).then(|| {
                    ConnectionFact::Unreachable {
                        detail: other.to_string(),
                    }
                });
                (fact, wait)
            }
        };
        if let Some(fact) = fact {
            self.connected = false;
            self.connection.report(fact);
        }
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> WebhookSettings {
        WebhookSettings {
            public_url: "https://bots.example".parse().unwrap(),
            key: "k".into(),
            previous_key: None,
            max_connections: 40,
            certificate: None,
        }
    }

    fn info() -> WebhookInfo {
        WebhookInfo {
            url: "https://bots.example/telegram/u".into(),
            max_connections: Some(40),
            allowed_updates: Some(ALLOWED_UPDATES.iter().map(|s| (*s).to_owned()).collect()),
            ..WebhookInfo::default()
        }
    }

    fn state_of(info: &WebhookInfo) -> RegistrationState {
        let url = webhook_url(&settings().public_url, &"u".into());
        let fresh = WebhookInfo {
            last_error_date: Some(100),
            ..self::info()
        };
        registration_state(info, &url, &settings(), &fresh)
    }

    #[test]
    fn a_registration_is_judged_by_all_that_telegram_shows_of_it() {
        assert_eq!(state_of(&info()), RegistrationState::Verified);
        let mut gone = info();
        gone.url.clear();
        assert_eq!(state_of(&gone), RegistrationState::Replaced(None));
        let mut other = info();
        other.url = "https://n8n.example/hook/secret".into();
        assert_eq!(
            state_of(&other),
            RegistrationState::Replaced(Some("n8n.example".into()))
        );
        for drift in [
            |i: &mut WebhookInfo| i.max_connections = Some(1),
            |i: &mut WebhookInfo| i.allowed_updates = Some(vec!["message".into()]),
            |i: &mut WebhookInfo| i.allowed_updates = None,
            |i: &mut WebhookInfo| i.has_custom_certificate = true,
        ] {
            let mut drifted = info();
            drift(&mut drifted);
            assert_eq!(state_of(&drifted), RegistrationState::Drifted);
        }
    }

    #[test]
    fn only_changes_after_the_registration_are_drift() {
        let url = webhook_url(&settings().public_url, &"u".into());
        let mut fresh = info();
        fresh.max_connections = Some(10);
        let state_of = |info: &WebhookInfo| registration_state(info, &url, &settings(), &fresh);
        assert_eq!(state_of(&fresh), RegistrationState::Verified);
        assert_eq!(state_of(&info()), RegistrationState::Verified);
        let mut later = fresh.clone();
        later.max_connections = Some(1);
        assert_eq!(state_of(&later), RegistrationState::Drifted);
    }

    #[test]
    fn only_new_errors_with_pending_updates_count() {
        let mut failing = info();
        failing.last_error_message = Some("Connection refused".into());
        failing.last_error_date = Some(101);
        failing.pending_update_count = 1;
        assert_eq!(
            state_of(&failing),
            RegistrationState::Failing("Connection refused".into())
        );
        let mut history = failing.clone();
        history.last_error_date = Some(100);
        assert_eq!(state_of(&history), RegistrationState::Verified);
        let mut healed = failing;
        healed.pending_update_count = 0;
        assert_eq!(state_of(&healed), RegistrationState::Verified);
    }

    #[test]
    fn a_path_in_the_public_url_is_kept() {
        let base: Url = "https://x.example/bots/".parse().unwrap();
        assert_eq!(
            webhook_url(&base, &"u".into()).as_str(),
            "https://x.example/bots/telegram/u"
        );
    }
}
