//! The task of one connector: identify the bot, wait for the goal, then receive updates.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::{ConnectionGoal, ConnectionSettings, bot_commands, webhook};
use crate::identity::{BotId, ConnectorRef};
use crate::observation::{ConnectionFact, IdentityFact, Notice, Observations};
use crate::store::Inbox;
use crate::telegram::Bot;
use crate::telegram::bot::BotProfile;
use crate::telemetry::Metrics;

/// How long the event about a foreign webhook may take to be written before the webhook is removed or replaced without it.
const EVENT_TIMEOUT: Duration = Duration::from_secs(5);

/// State and settings that the tasks of all connectors share.
pub(super) struct ConnectionContext {
    pub(super) inbox: Arc<dyn Inbox>,
    pub(super) observations: Arc<Observations>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) settings: ConnectionSettings,
    /// Pause of a contested bot before its webhook is checked again.
    pub(super) recheck_interval: Duration,
    /// Notified at each 409 of a poll; see [`BotConnections::conflict_seen`](super::BotConnections::conflict_seen).
    pub(super) conflict_seen: Notify,
    pub(super) bot_locks: BotLocks,
    pub(super) command_sync: bot_commands::CommandSyncLock,
}

/// One lock per bot: when a bot moves from one connector to another, their tasks never receive updates at the same time.
#[derive(Debug, Default)]
pub(super) struct BotLocks(Mutex<HashMap<BotId, Arc<tokio::sync::Mutex<()>>>>);

impl BotLocks {
    pub(super) async fn acquire(&self, bot: BotId) -> tokio::sync::OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.0.lock();
            // Drop unused locks now and then, so that the map does not grow with bots that have left.
            if locks.len() > 64 && locks.len().is_power_of_two() {
                locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            }
            locks.entry(bot).or_default().clone()
        };
        lock.lock_owned().await
    }
}

/// One connector's connection to Telegram.
pub(super) struct BotConnection {
    pub(super) context: Arc<ConnectionContext>,
    pub(super) connector: ConnectorRef,
    pub(super) bot: Bot,
}

impl BotConnection {
    /// Runs until the token is refused or the task is dropped. `known_profile` saves the call of `getMe`.
    pub(super) async fn run(
        self,
        known_profile: Option<BotProfile>,
        mut goal: watch::Receiver<ConnectionGoal>,
    ) {
        let profile = match known_profile {
            Some(profile) => {
                self.report_identity(IdentityFact::Accepted(profile.clone()));
                profile
            }
            None => match Box::pin(self.identify()).await {
                Some(profile) => profile,
                None => return,
            },
        };
        if goal
            .wait_for(|goal| *goal == ConnectionGoal::Connect)
            .await
            .is_err()
        {
            return;
        }
        let _bot_lock = self.context.bot_locks.acquire(self.bot.id()).await;
        tokio::select! {
            () = self.receive_updates(profile.clone()) => {}
            // Runs beside it and never ends the connection.
            () = async {
                Box::pin(bot_commands::sync_commands(&self.bot, &self.context.command_sync)).await;
                std::future::pending::<()>().await;
            } => {}
            () = Box::pin(self.watch_profile(profile.clone())) => {}
        }
    }

    async fn receive_updates(&self, profile: BotProfile) {
        match &self.context.settings {
            ConnectionSettings::Polling => {
                self.context.metrics.add_pollers(1);
                let _poller_count = PollerCountGuard(&self.context.metrics);
                self.poll(profile).await;
            }
            ConnectionSettings::Webhook(settings) => {
                Box::pin(webhook::WebhookRegistration::new(self, settings, profile).run()).await;
            }
        }
    }

    pub(super) fn report(&self, fact: ConnectionFact) {
        self.context
            .observations
            .record_connection(&self.connector.uid, fact);
    }

    /// Names the host of a foreign webhook in an event, before that webhook is removed or replaced. Waits at most [`EVENT_TIMEOUT`]:
    /// an event that cannot be written must not keep the bot disconnected.
    pub(super) async fn announce_foreign_webhook(&self, host: String) {
        let event_written = self
            .context
            .observations
            .queue_notice(&self.connector.uid, Notice::ForeignWebhook { host });
        let _ = tokio::time::timeout(EVENT_TIMEOUT, event_written).await;
    }
}

/// Decrements the poller gauge when dropped, also on cancellation.
struct PollerCountGuard<'m>(&'m Metrics);

impl Drop for PollerCountGuard<'_> {
    fn drop(&mut self) {
        self.0.add_pollers(-1);
    }
}

/// A wait as facts hold it: whole seconds, at least 1.
pub(super) fn whole_seconds(wait: Duration) -> u32 {
    u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).max(1)
}
