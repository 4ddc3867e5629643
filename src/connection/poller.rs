//! One bot's poller: `getUpdates`, the inbox, and only then a higher offset.
//!
//! The offset is kept in memory and nowhere else. Asking from 0 gives what Telegram still holds, and the inbox knows what it has
//! seen; a stored mark would swallow updates, because after an idle week Telegram starts over at a random `update_id`. For the same
//! reason the offset goes back to 0 as soon as a poll has confirmed what it had to.

use std::time::Duration;

use tokio::time::Instant;

use super::foreign_webhook::{self, ReplacementCounter};
use super::{BotConnection, EVENT_TIMEOUT, whole_seconds};
use crate::backoff::{Backoff, jittered};
use crate::observation::{ConnectionFact, IdentityFact, Notice};
use crate::store::StoreError;
use crate::telegram::bot::BotProfile;
use crate::telegram::{RawUpdate, TelegramError};
use crate::telemetry::metrics::UpdateOutcome;

/// The most that `getUpdates` gives at once.
const UPDATES_PER_POLL: u8 = 100;
/// How long a poll waits for an update. The server's own bound is 50 s.
const LONG_POLL: Duration = Duration::from_secs(45);
/// A poll that is not back so long after its time is hung: it is dropped and replaced.
const HANG_TIMEOUT: Duration = Duration::from_secs(15);
/// An empty answer to a long poll that comes sooner than this is no long poll (a proxy's doing): do not spin.
const MIN_LONG_POLL: Duration = Duration::from_secs(1);

const ERROR_BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
const CONFLICT_BACKOFF: Backoff = Backoff::new(Duration::from_secs(2), Duration::from_mins(1));
const STORE_BACKOFF: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(15));

/// What to do after an error.
#[derive(Debug, PartialEq, Eq)]
enum ErrorAction {
    /// The token is revoked: end.
    Stop,
    /// Look at the webhook that is in the way.
    ClearWebhook,
    /// Try again after this long, having noted this.
    Retry(Duration, Option<ConnectionFact>),
}

/// The waits of one poller, by what went wrong.
struct PollBackoffs {
    faults: Backoff,
    conflicts: Backoff,
    store: Backoff,
    empty: Backoff,
    /// Webhooks that were removed since a poll completed.
    removed: u32,
}

impl PollBackoffs {
    fn new() -> Self {
        Self {
            faults: ERROR_BACKOFF,
            conflicts: CONFLICT_BACKOFF,
            store: STORE_BACKOFF,
            empty: ERROR_BACKOFF,
            removed: 0,
        }
    }

    /// A poll came back complete.
    fn on_poll_completed(&mut self) {
        self.faults.reset();
        self.conflicts.reset();
        self.removed = 0;
    }

    /// A webhook was removed: the next poll comes at once, unless the one before met a webhook all the same.
    fn on_webhook_removed(&mut self) -> Duration {
        self.removed += 1;
        match self.removed {
            1 => Duration::ZERO,
            _ => self.faults.next_delay(),
        }
    }

    /// `connected`: a poll has completed since the last fault was noted. A single lost poll is not worth a condition: the fact is
    /// noted at the second one in a row.
    fn on_error(&mut self, error: &TelegramError, connected: bool) -> ErrorAction {
        match error {
            TelegramError::Unauthorized => ErrorAction::Stop,
            TelegramError::WebhookActive => ErrorAction::ClearWebhook,
            TelegramError::Conflict(_) => ErrorAction::Retry(
                self.conflicts.next_delay(),
                Some(ConnectionFact::PollingConflict),
            ),
            TelegramError::RateLimited(wait) => ErrorAction::Retry(
                *wait,
                Some(ConnectionFact::RateLimited {
                    retry_after: whole_seconds(*wait),
                }),
            ),
            other => {
                let wait = self.faults.next_delay();
                let fact = (!connected || self.faults.failures() > 1).then(|| {
                    ConnectionFact::Unreachable {
                        detail: other.to_string(),
                    }
                });
                ErrorAction::Retry(wait, fact)
            }
        }
    }
}

impl BotConnection {
    /// Polls until the token is revoked; otherwise until it is dropped.
    pub(super) async fn poll(&self, profile: BotProfile) {
        let mut offset = 0;
        let mut connected = false;
        let mut backoffs = PollBackoffs::new();
        let mut replacements = ReplacementCounter::default();
        loop {
            // The first poll comes back at once, so that Connected does not wait for a message or for 45 s.
            let timeout = if connected {
                jittered(LONG_POLL)
            } else {
                Duration::ZERO
            };
            let began = Instant::now();
            let polled = tokio::time::timeout(
                timeout + HANG_TIMEOUT,
                self.bot.get_updates(offset, UPDATES_PER_POLL, timeout),
            )
            .await;
            let error = match polled {
                Ok(Ok(updates)) => {
                    self.context.metrics.count_poll("ok");
                    let was_connected = std::mem::replace(&mut connected, true);
                    backoffs.on_poll_completed();
                    // Whoever noted a 401 since (a send, with a token that was about to be replaced) was wrong.
                    self.report_identity(IdentityFact::Accepted(profile.clone()));
                    self.report(ConnectionFact::PollCompleted(self.bot.id()));
                    if updates.is_empty() {
                        offset = 0;
                        if was_connected && began.elapsed() < MIN_LONG_POLL {
                            tokio::time::sleep(backoffs.empty.next_delay()).await;
                        } else {
                            backoffs.empty.reset();
                        }
                    } else {
                        backoffs.empty.reset();
                        match Box::pin(self.store_updates(updates, &mut backoffs.store)).await {
                            Ok(next) => offset = next,
                            Err(wait) => tokio::time::sleep(wait).await,
                        }
                    }
                    continue;
                }
                Ok(Err(error)) => error,
                Err(_) => TelegramError::Ambiguous(format!(
                    "getUpdates was not back {} s after its time",
                    HANG_TIMEOUT.as_secs()
                )),
            };
            self.context.metrics.count_poll(error.label());
            tracing::debug!(namespace = %self.connector.namespace, connector = %self.connector.name,
                bot_id = %self.bot.id(), %error, "poll failed");
            match backoffs.on_error(&error, connected) {
                ErrorAction::Stop => {
                    // Asked once more: a single 401 that getMe does not confirm must not end a bot for good.
                    tokio::time::sleep(backoffs.faults.next_delay()).await;
                    if Box::pin(self.identify()).await.is_none() {
                        return;
                    }
                }
                ErrorAction::ClearWebhook => {
                    connected = false;
                    let wait = Box::pin(self.clear_webhook(&mut replacements, &mut backoffs)).await;
                    tokio::time::sleep(wait).await;
                }
                ErrorAction::Retry(wait, fact) => {
                    if let Some(fact) = fact {
                        connected = false;
                        if fact == ConnectionFact::PollingConflict {
                            self.context.conflict_seen.notify_one();
                        }
                        self.report(fact);
                    }
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    /// Makes a batch durable. The offset that confirms it, or how long to wait before the same batch is asked for again.
    async fn store_updates(
        &self,
        updates: Vec<RawUpdate>,
        backoff: &mut Backoff,
    ) -> Result<i64, Duration> {
        let next = updates
            .iter()
            .map(|u| u.update_id)
            .max()
            .map_or(0, |id| id + 1);
        match self
            .context
            .inbox
            .accept(&self.connector.uid, self.bot.id(), updates)
            .await
        {
            Ok(accepted) => {
                backoff.reset();
                let metrics = &self.context.metrics;
                metrics.count_updates(UpdateOutcome::Received, accepted.new);
                metrics.count_updates(UpdateOutcome::Duplicate, accepted.known);
                Ok(next)
            }
            Err(error) => {
                let wait = backoff.next_delay();
                if matches!(error, StoreError::BacklogFull(_)) {
                    tracing::debug!(connector = %self.connector, bot_id = %self.bot.id(), %error, "polling later");
                } else {
                    tracing::warn!(namespace = %self.connector.namespace, connector = %self.connector.name,
                        bot_id = %self.bot.id(), %error, "nothing is acknowledged to Telegram; polling again later");
                }
                Err(wait)
            }
        }
    }

    /// Removes the webhook that keeps the bot from being polled, after its owner was named in an event. How long to wait then.
    async fn clear_webhook(
        &self,
        replacements: &mut ReplacementCounter,
        backoffs: &mut PollBackoffs,
    ) -> Duration {
        let cleared = async {
            let url = self.bot.get_webhook_info().await?.url;
            if !url.is_empty() && !foreign_webhook::is_ours(&url, &self.connector.uid) {
                let host = foreign_webhook::host(&url);
                if replacements.record(Instant::now()) {
                    self.report(ConnectionFact::WebhookContested { host });
                    tokio::time::sleep(jittered(self.context.recheck_interval)).await;
                } else {
                    let event_written = self
                        .context
                        .observations
                        .notice(&self.connector.uid, Notice::ForeignWebhook { host });
                    // An event that cannot be written must not keep the bot away.
                    let _ = tokio::time::timeout(EVENT_TIMEOUT, event_written).await;
                }
            }
            self.bot.delete_webhook().await?;
            Ok(())
        };
        let error = match cleared.await {
            Ok(()) => return backoffs.on_webhook_removed(),
            Err(error) => error,
        };
        match backoffs.on_error(&error, false) {
            ErrorAction::Retry(wait, fact) => {
                if let Some(fact) = fact {
                    self.report(fact);
                }
                wait
            }
            // The next poll meets the same answer and ends there.
            ErrorAction::Stop | ErrorAction::ClearWebhook => backoffs.faults.next_delay(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn telegrams_wait_is_obeyed_to_the_second() {
        let wait = Duration::from_secs(17);
        assert_eq!(
            PollBackoffs::new().on_error(&TelegramError::RateLimited(wait), true),
            ErrorAction::Retry(wait, Some(ConnectionFact::RateLimited { retry_after: 17 }))
        );
    }

    #[test]
    fn second_lost_poll_of_a_connected_bot_is_reported() {
        let mut backoffs = PollBackoffs::new();
        let error = TelegramError::Server(502);
        assert!(matches!(
            backoffs.on_error(&error, true),
            ErrorAction::Retry(_, None)
        ));
        assert!(matches!(
            backoffs.on_error(&error, true),
            ErrorAction::Retry(_, Some(ConnectionFact::Unreachable { .. }))
        ));
        backoffs.on_poll_completed();
        assert!(matches!(
            backoffs.on_error(&error, true),
            ErrorAction::Retry(_, None)
        ));
        assert!(matches!(
            PollBackoffs::new().on_error(&error, false),
            ErrorAction::Retry(_, Some(_))
        ));
    }

    #[test]
    fn webhook_that_comes_back_is_removed_with_backoff() {
        let mut backoffs = PollBackoffs::new();
        assert_eq!(backoffs.on_webhook_removed(), Duration::ZERO);
        assert!(backoffs.on_webhook_removed() > Duration::ZERO);
        assert!(backoffs.on_webhook_removed() > Duration::ZERO);
        backoffs.on_poll_completed();
        assert_eq!(backoffs.on_webhook_removed(), Duration::ZERO);
    }

    #[test]
    fn a_revoked_token_ends_the_poller_and_a_webhook_is_looked_at() {
        assert_eq!(
            PollBackoffs::new().on_error(&TelegramError::Unauthorized, true),
            ErrorAction::Stop
        );
        assert_eq!(
            PollBackoffs::new().on_error(&TelegramError::WebhookActive, true),
            ErrorAction::ClearWebhook
        );
    }
}
