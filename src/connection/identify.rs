//! Identifies the bot of a token: `getMe`, repeated until Telegram accepts or refuses the token.

use std::time::Duration;

use super::bot_connection::{BotConnection, whole_seconds};
use crate::backoff::{Backoff, jittered};
use crate::observation::IdentityFact;
use crate::telegram::TelegramError;
use crate::telegram::bot::BotProfile;

/// Backoff while Telegram cannot be reached.
const UNREACHABLE: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
/// Pause after a 404, which may also be a wrong `--telegram-api-url` or a proxy that is repaired later.
const NOT_FOUND: Duration = Duration::from_mins(5);

/// How often a connected bot's profile is looked at within the interval in which a contested one is checked: every ten minutes of an hour.
const PROFILE_LOOKS: u32 = 6;

impl BotConnection {
    /// Returns the bot's profile once the token is accepted; `None` when Telegram refuses it (401), so that only another token helps.
    pub(super) async fn identify(&self) -> Option<BotProfile> {
        let mut backoff = UNREACHABLE;
        loop {
            let (fact, wait) = match self.bot.get_me().await {
                Ok(profile) => {
                    self.report_identity(IdentityFact::Accepted(profile.clone()));
                    return Some(profile);
                }
                Err(e @ TelegramError::Unauthorized) => {
                    self.report_identity(IdentityFact::Refused {
                        detail: e.to_string(),
                    });
                    return None;
                }
                Err(e @ TelegramError::NotFound) => (
                    IdentityFact::Refused {
                        detail: e.to_string(),
                    },
                    NOT_FOUND,
                ),
                Err(TelegramError::RateLimited(wait)) => (
                    IdentityFact::RateLimited {
                        retry_after: whole_seconds(wait),
                    },
                    wait,
                ),
                Err(e) => (
                    IdentityFact::Unreachable {
                        detail: e.to_string(),
                    },
                    backoff.next_delay(),
                ),
            };
            tracing::debug!(connector = %self.connector, bot_id = %self.bot.id(), ?fact, ?wait, "getMe failed; retrying");
            self.report_identity(fact);
            tokio::time::sleep(wait).await;
        }
    }

    /// Looks at the bot's profile again and again while it is connected, and reports it when it has changed: Telegram tells no bot that its privacy
    /// mode or its name is another. Never ends; what `getMe` refuses, the connection itself runs into.
    pub(super) async fn watch_profile(&self, mut known: BotProfile) {
        let interval = self.context.recheck_interval / PROFILE_LOOKS;
        loop {
            tokio::time::sleep(jittered(interval)).await;
            match self.bot.get_me().await {
                Ok(profile) if profile != known => {
                    self.report_identity(IdentityFact::Accepted(profile.clone()));
                    known = profile;
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(connector = %self.connector, bot_id = %self.bot.id(), %error, "failed to look at the bot's profile again");
                }
            }
        }
    }

    pub(super) fn report_identity(&self, fact: IdentityFact) {
        self.context
            .observations
            .record_identity(&self.connector.uid, fact);
    }
}
