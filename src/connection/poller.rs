//! One bot's poller: `getUpdates`, the inbox, and only then a higher offset.
//!
//! The offset is kept in memory only. `offset=0` returns every update that Telegram still holds, and the inbox drops duplicates. A stored
//! offset would lose updates, because after an idle week Telegram continues at a random `update_id`. For the same reason the offset is
//! set back to 0 after an empty poll, which has confirmed the last batch.

use std::time::Duration;

use tokio::time::Instant;

use super::bot_connection::{BotConnection, whole_seconds};
use super::foreign_webhook::{self, ReplacementCounter};
use crate::backoff::{Backoff, jittered};
use crate::observation::{ConnectionFact, IdentityFact};
use crate::store::StoreError;
use crate::telegram::bot::BotProfile;
use crate::telegram::{RawUpdate, TelegramError};
use crate::telemetry::outcomes::UpdateOutcome;

/// The most that `getUpdates` gives at once.
const UPDATES_PER_POLL: u8 = 100;
/// How long a poll waits for an update. The server's own bound is 50 s.
const LONG_POLL: Duration = Duration::from_secs(45);
/// How long after its own timeout a poll counts as hung; it is then dropped and repeated.
const HANG_TIMEOUT: Duration = Duration::from_secs(15);
/// An empty answer that comes sooner was no long poll (a proxy cut it short): back off instead of spinning.
const MIN_LONG_POLL: Duration = Duration::from_secs(1);

/// Two 409s within this time are somebody else who polls. One alone is a leader that is being replaced.
const CONFLICT_WINDOW: Duration = Duration::from_mins(3);

const ERROR_BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
const CONFLICT_BACKOFF: Backoff = Backoff::new(Duration::from_secs(2), Duration::from_mins(1));
const STORE_BACKOFF: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(15));

/// What to do after an error.
#[derive(Debug, PartialEq, Eq)]
enum ErrorAction {
    /// The token may be revoked: confirm with `getMe`, then end.
    Stop,
    /// Remove the webhook that prevents polling.
    ClearWebhook,
    /// Poll again after this long, and report this fact first.
    Retry(Duration, Option<ConnectionFact>),
}

/// When the last 409 was.
#[derive(Debug, Default)]
struct ConflictCounter(Option<Instant>);

impl ConflictCounter {
    /// Notes a 409; whether the one before was within [`CONFLICT_WINDOW`].
    fn record(&mut self, now: Instant) -> bool {
        let before = self.0.replace(now);
        before.is_some_and(|at| now - at < CONFLICT_WINDOW)
    }
}

/// The backoffs of one poller, by kind of failure.
struct PollBackoffs {
    faults: Backoff,
    conflicts: Backoff,
    conflict_counter: ConflictCounter,
    store: Backoff,
    empty: Backoff,
    /// Webhooks removed since the last completed poll.
    removed: u32,
}

impl PollBackoffs {
    fn new() -> Self {
        Self {
            faults: ERROR_BACKOFF,
            conflicts: CONFLICT_BACKOFF,
            conflict_counter: ConflictCounter::default(),
            store: STORE_BACKOFF,
            empty: ERROR_BACKOFF,
            removed: 0,
        }
    }

    /// Resets what a completed poll disproves.
    fn on_poll_completed(&mut self) {
        self.faults.reset();
        self.conflicts.reset();
        self.removed = 0;
    }

    /// The wait after a webhook was removed: none the first time, with backoff when webhooks keep coming back.
    fn on_webhook_removed(&mut self) -> Duration {
        self.removed += 1;
        match self.removed {
            1 => Duration::ZERO,
            _ => self.faults.next_delay(),
        }
    }

    /// `connected`: a poll has completed since the last reported fault. A single failed poll does not change a condition: the fact is
    /// reported at the second failure in a row.
    fn on_error(&mut self, error: &TelegramError, connected: bool) -> ErrorAction {
        match error {
            TelegramError::Unauthorized => ErrorAction::Stop,
            TelegramError::WebhookActive => ErrorAction::ClearWebhook,
            // Somebody has set a webhook; the next poll says so.
            TelegramError::Conflict(text) if text.contains("setWebhook") => {
                ErrorAction::Retry(self.conflicts.next_delay(), None)
            }
            TelegramError::Conflict(_) => {
                let recurs = self.conflict_counter.record(Instant::now());
                let fact = recurs.then_some(ConnectionFact::PollingConflict);
                ErrorAction::Retry(self.conflicts.next_delay(), fact)
            }
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
                    // Overrides a 401 that a send with a token under replacement may have reported meanwhile.
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
                    // A single 401 that getMe does not confirm must not end the connection.
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
                    if matches!(error, TelegramError::Conflict(_)) {
                        self.context.conflict_seen.notify_one();
                    }
                    if let Some(fact) = fact {
                        connected = false;
                        self.report(fact);
                    }
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    /// Stores a batch in the inbox. Returns the offset that confirms it, or how long to wait before the same batch is polled again.
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
                    tracing::debug!(connector = %self.connector, bot_id = %self.bot.id(), %error, "inbox backlog is full; the same updates are polled again later");
                } else {
                    tracing::warn!(namespace = %self.connector.namespace, connector = %self.connector.name,
                        bot_id = %self.bot.id(), %error, "failed to store updates; they are not acknowledged and are polled again later");
                }
                Err(wait)
            }
        }
    }

    /// Removes the webhook that prevents polling, after an event has named its host. Returns how long to wait before the next poll.
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
                    self.announce_foreign_webhook(host).await;
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
            // The next poll gets the same error and handles it.
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
    fn second_conflict_within_minutes_is_reported() {
        let begin = Instant::now();
        let mut conflicts = ConflictCounter::default();
        let mut is_reported = |seconds| conflicts.record(begin + Duration::from_secs(seconds));
        assert!(!is_reported(0), "a leader that is being replaced");
        assert!(!is_reported(180));
        assert!(is_reported(300) && is_reported(301));
    }

    #[test]
    fn poll_ended_by_a_new_webhook_is_no_foreign_poller() {
        let mut backoffs = PollBackoffs::new();
        let ended = TelegramError::Conflict("Conflict: terminated by setWebhook request".into());
        let conflict = TelegramError::Conflict("terminated by other getUpdates request".into());
        for (error, is_reported) in [
            (&ended, false),
            (&ended, false),
            (&conflict, false),
            (&conflict, true),
        ] {
            let action = backoffs.on_error(error, true);
            let fact = is_reported.then_some(ConnectionFact::PollingConflict);
            assert!(
                matches!(&action, ErrorAction::Retry(_, f) if *f == fact),
                "{action:?}"
            );
        }
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
    fn revoked_token_ends_poller_and_webhook_is_cleared() {
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
