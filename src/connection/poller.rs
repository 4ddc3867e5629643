//! One bot's poller: `getUpdates`, the inbox, and only then a higher offset.
//!
//! The offset is kept in memory and nowhere else. Asking from 0 gives what Telegram still holds, and the inbox knows what it has
//! seen; a stored mark would swallow updates, because after an idle week Telegram starts over at a random `update_id`. For the same
//! reason the offset goes back to 0 as soon as a poll has confirmed what it had to.

use std::time::Duration;

use tokio::time::Instant;

use super::backoff::{Backoff, jittered};
use super::foreign::{self, Contest};
use super::{Connection, EVENT_WITHIN, seconds};
use crate::observation::{ConnectionFact, IdentityFact, Notice};
use crate::store::StoreError;
use crate::telegram::bot::BotProfile;
use crate::telegram::{RawUpdate, TelegramError};
use crate::telemetry::metrics::UpdateOutcome;

/// The most that `getUpdates` gives at once.
const LIMIT: u8 = 100;
/// How long a poll waits for an update. The server's own bound is 50 s.
const LONG_POLL: Duration = Duration::from_secs(45);
/// A poll that is not back so long after its time is hung: it is dropped and replaced.
const HUNG: Duration = Duration::from_secs(15);
/// An empty answer to a long poll that comes sooner than this is no long poll (a proxy's doing): do not spin.
const TOO_SOON: Duration = Duration::from_secs(1);

const FAULTS: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
const CONFLICTS: Backoff = Backoff::new(Duration::from_secs(2), Duration::from_mins(1));
const STORE: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(15));

/// What to do after an error.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// The token is revoked: end.
    End,
    /// Look at the webhook that is in the way.
    Webhook,
    /// Try again after this long, having noted this.
    Retry(Duration, Option<ConnectionFact>),
}

/// The waits of one poller, by what went wrong.
struct Waits {
    faults: Backoff,
    conflicts: Backoff,
    store: Backoff,
    empty: Backoff,
    /// Webhooks that were removed since a poll completed.
    removed: u32,
}

impl Waits {
    fn new() -> Self {
        Self {
            faults: FAULTS,
            conflicts: CONFLICTS,
            store: STORE,
            empty: FAULTS,
            removed: 0,
        }
    }

    /// A poll came back complete.
    fn completed(&mut self) {
        self.faults.reset();
        self.conflicts.reset();
        self.removed = 0;
    }

    /// A webhook was removed: the next poll comes at once, unless the one before met a webhook all the same.
    fn after_removal(&mut self) -> Duration {
        self.removed += 1;
        match self.removed {
            1 => Duration::ZERO,
            _ => self.faults.next(),
        }
    }

    /// `connected`: a poll has completed since the last fault was noted. A single lost poll is not worth a condition: the fact is
    /// noted at the second one in a row.
    fn after(&mut self, error: &TelegramError, connected: bool) -> Next {
        match error {
            TelegramError::Unauthorized => Next::End,
            TelegramError::WebhookActive => Next::Webhook,
            TelegramError::Conflict(_) => {
                Next::Retry(self.conflicts.next(), Some(ConnectionFact::PollingConflict))
            }
            TelegramError::RateLimited(wait) => Next::Retry(
                *wait,
                Some(ConnectionFact::RateLimited {
                    retry_after: seconds(*wait),
                }),
            ),
            other => {
                let wait = self.faults.next();
                let fact = (!connected || self.faults.failures() > 1).then(|| {
                    ConnectionFact::Unreachable {
                        detail: other.to_string(),
                    }
                });
                Next::Retry(wait, fact)
            }
        }
    }
}

impl Connection {
    /// Polls until the token is revoked; otherwise until it is dropped.
    pub(super) async fn poll(&self, profile: BotProfile) {
        let mut offset = 0;
        let mut connected = false;
        let mut waits = Waits::new();
        let mut contest = Contest::default();
        loop {
            // The first poll comes back at once, so that Connected does not wait for a message or for 45 s.
            let timeout = if connected {
                jittered(LONG_POLL)
            } else {
                Duration::ZERO
            };
            let began = Instant::now();
            let polled =
                tokio::time::timeout(timeout + HUNG, self.bot.get_updates(offset, LIMIT, timeout))
                    .await;
            let error = match polled {
                Ok(Ok(updates)) => {
                    self.shared.metrics.polled("ok");
                    let was_connected = std::mem::replace(&mut connected, true);
                    waits.completed();
                    // Whoever noted a 401 since (a send, with a token that was about to be replaced) was wrong.
                    self.note_identity(IdentityFact::Accepted(profile.clone()));
                    self.note(ConnectionFact::PollCompleted(self.bot.id()));
                    if updates.is_empty() {
                        offset = 0;
                        if was_connected && began.elapsed() < TOO_SOON {
                            tokio::time::sleep(waits.empty.next()).await;
                        } else {
                            waits.empty.reset();
                        }
                    } else {
                        waits.empty.reset();
                        match Box::pin(self.take_in(updates, &mut waits.store)).await {
                            Ok(next) => offset = next,
                            Err(wait) => tokio::time::sleep(wait).await,
                        }
                    }
                    continue;
                }
                Ok(Err(error)) => error,
                Err(_) => TelegramError::Ambiguous(format!(
                    "getUpdates was not back {} s after its time",
                    HUNG.as_secs()
                )),
            };
            self.shared.metrics.polled(error.label());
            tracing::debug!(namespace = %self.connector.namespace, connector = %self.connector.name,
                bot_id = %self.bot.id(), %error, "poll failed");
            match waits.after(&error, connected) {
                Next::End => {
                    // Asked once more: a single 401 that getMe does not confirm must not end a bot for good.
                    tokio::time::sleep(waits.faults.next()).await;
                    if Box::pin(self.identify()).await.is_none() {
                        return;
                    }
                }
                Next::Webhook => {
                    connected = false;
                    let wait = Box::pin(self.clear_webhook(&mut contest, &mut waits)).await;
                    tokio::time::sleep(wait).await;
                }
                Next::Retry(wait, fact) => {
                    if let Some(fact) = fact {
                        connected = false;
                        if fact == ConnectionFact::PollingConflict {
                            self.shared.conflict_seen.notify_one();
                        }
                        self.note(fact);
                    }
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    /// Makes a batch durable. The offset that confirms it, or how long to wait before the same batch is asked for again.
    async fn take_in(&self, updates: Vec<RawUpdate>, waits: &mut Backoff) -> Result<i64, Duration> {
        let next = updates
            .iter()
            .map(|u| u.update_id)
            .max()
            .map_or(0, |id| id + 1);
        match self
            .shared
            .inbox
            .accept(&self.connector.uid, self.bot.id(), updates)
            .await
        {
            Ok(accepted) => {
                waits.reset();
                let metrics = &self.shared.metrics;
                metrics.updates(UpdateOutcome::Received, accepted.new);
                metrics.updates(UpdateOutcome::Duplicate, accepted.known);
                Ok(next)
            }
            Err(error) => {
                let wait = waits.next();
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
    async fn clear_webhook(&self, contest: &mut Contest, waits: &mut Waits) -> Duration {
        let cleared = async {
            let url = self.bot.get_webhook_info().await?.url;
            if !url.is_empty() && !foreign::is_ours(&url, &self.connector.uid) {
                let host = foreign::host(&url);
                if contest.replaced(Instant::now()) {
                    self.note(ConnectionFact::WebhookContested { host });
                    tokio::time::sleep(jittered(self.shared.look_again)).await;
                } else {
                    let told = self
                        .shared
                        .observations
                        .notice(&self.connector.uid, Notice::ForeignWebhook { host });
                    // An event that cannot be written must not keep the bot away.
                    let _ = tokio::time::timeout(EVENT_WITHIN, told).await;
                }
            }
            self.bot.delete_webhook().await?;
            Ok(())
        };
        let error = match cleared.await {
            Ok(()) => return waits.after_removal(),
            Err(error) => error,
        };
        match waits.after(&error, false) {
            Next::Retry(wait, fact) => {
                if let Some(fact) = fact {
                    self.note(fact);
                }
                wait
            }
            // The next poll meets the same answer and ends there.
            Next::End | Next::Webhook => waits.faults.next(),
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
            Waits::new().after(&TelegramError::RateLimited(wait), true),
            Next::Retry(wait, Some(ConnectionFact::RateLimited { retry_after: 17 }))
        );
    }

    #[test]
    fn one_lost_poll_of_a_connected_bot_is_not_yet_a_fact_and_two_are() {
        let mut waits = Waits::new();
        let error = TelegramError::Server(502);
        assert!(matches!(waits.after(&error, true), Next::Retry(_, None)));
        assert!(matches!(
            waits.after(&error, true),
            Next::Retry(_, Some(ConnectionFact::Unreachable { .. }))
        ));
        waits.completed();
        assert!(matches!(waits.after(&error, true), Next::Retry(_, None)));
        assert!(matches!(
            Waits::new().after(&error, false),
            Next::Retry(_, Some(_))
        ));
    }

    #[test]
    fn a_webhook_that_is_removed_and_in_the_way_again_is_no_reason_to_hurry() {
        let mut waits = Waits::new();
        assert_eq!(waits.after_removal(), Duration::ZERO);
        assert!(waits.after_removal() > Duration::ZERO);
        assert!(waits.after_removal() > Duration::ZERO);
        waits.completed();
        assert_eq!(waits.after_removal(), Duration::ZERO);
    }

    #[test]
    fn a_revoked_token_ends_the_poller_and_a_webhook_is_looked_at() {
        assert_eq!(
            Waits::new().after(&TelegramError::Unauthorized, true),
            Next::End
        );
        assert_eq!(
            Waits::new().after(&TelegramError::WebhookActive, true),
            Next::Webhook
        );
    }
}
