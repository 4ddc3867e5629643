//! The connection to Telegram: one poller per bot, or the webhook and its server. An update is acknowledged only when the inbox has it.
//!
//! Each connector has one light task. It finds out whose token it holds (`getMe`), waits until the controller lets it connect (another
//! connector may own the bot, or another process may lead), and then polls, or keeps the webhook registered. What it sees
//! it notes in the [`Observations`]; what that means is the controller's to decide.

mod bot_commands;
pub mod foreign_webhook;
mod identify;
mod poller;
mod settings;
pub mod webhook;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::identity::{BotId, ConnectorRef, ConnectorUid};
use crate::observation::{ConnectionFact, IdentityFact, Observations};
use crate::store::Inbox;
use crate::telegram::bot::BotProfile;
use crate::telegram::{Bot, TelegramError};
use crate::telemetry::Metrics;

pub use settings::{ConnectionSettings, WebhookSettings};

/// How long a foreign webhook waits for its event to be written before it is removed or replaced all the same.
const EVENT_TIMEOUT: Duration = Duration::from_secs(5);

/// How far a connection shall go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionGoal {
    /// Find out whose token it is, and no more.
    Identify,
    /// Receive updates.
    Connect,
}

/// What all connections share.
pub struct ConnectionContext {
    /// Where updates go.
    pub inbox: Arc<dyn Inbox>,
    /// Where facts are noted.
    pub observations: Arc<Observations>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// How updates come.
    pub settings: ConnectionSettings,
    /// How often a bot with two owners is looked at.
    pub recheck_interval: Duration,
    /// Wakes the leadership at each 409 of a poll: a leader that is cut off from the API server learns by it that another one
    /// has taken over (invariant 7).
    pub conflict_seen: Notify,
    bot_locks: BotLocks,
    command_sync: bot_commands::CommandSyncLock,
}

impl std::fmt::Debug for ConnectionContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectionContext").finish_non_exhaustive()
    }
}

/// Who receives a bot's updates in this process: two connectors that pass a bot on never overlap.
#[derive(Debug, Default)]
struct BotLocks(Mutex<HashMap<BotId, Arc<tokio::sync::Mutex<()>>>>);

impl BotLocks {
    async fn acquire(&self, bot: BotId) -> tokio::sync::OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Locks that nobody holds or waits for go, so that bots that left leave nothing behind.
            if locks.len() > 64 && locks.len().is_power_of_two() {
                locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            }
            locks.entry(bot).or_default().clone()
        };
        lock.lock_owned().await
    }
}

/// One connector's task.
struct ConnectionTask {
    bot: Bot,
    goal: watch::Sender<ConnectionGoal>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// All connections of this process.
pub struct BotConnections {
    context: Arc<ConnectionContext>,
    table: Mutex<ConnectionTable>,
}

#[derive(Default)]
struct ConnectionTable {
    /// Only a leader has connections.
    open: bool,
    running: HashMap<ConnectorUid, ConnectionTask>,
}

impl std::fmt::Debug for BotConnections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BotConnections")
            .field("running", &self.count())
            .finish_non_exhaustive()
    }
}

impl BotConnections {
    /// None yet.
    pub fn new(
        inbox: Arc<dyn Inbox>,
        observations: Arc<Observations>,
        metrics: Arc<Metrics>,
        settings: ConnectionSettings,
        recheck_interval: Duration,
    ) -> Self {
        Self {
            context: Arc::new(ConnectionContext {
                inbox,
                observations,
                metrics,
                settings,
                recheck_interval,
                conflict_seen: Notify::new(),
                bot_locks: BotLocks::default(),
                command_sync: bot_commands::CommandSyncLock::default(),
            }),
            table: Mutex::default(),
        }
    }

    /// From now on connections may be made: this process leads.
    pub fn open(&self) {
        self.lock().open = true;
    }

    /// What the connections share.
    pub fn context(&self) -> &Arc<ConnectionContext> {
        &self.context
    }

    /// Makes the connection be so. Does nothing when it is so already; with another token, or a shorter reach, the old task ends
    /// before the new one begins.
    pub async fn ensure(
        &self,
        connector: &ConnectorRef,
        bot: &Bot,
        known_profile: Option<&BotProfile>,
        goal: ConnectionGoal,
    ) {
        let same = match self.lock().running.get(&connector.uid) {
            Some(r) if r.bot.is_same(bot) => {
                let now = *r.goal.borrow();
                match (now, goal) {
                    (ConnectionGoal::Connect, ConnectionGoal::Identify) => false,
                    (ConnectionGoal::Identify, ConnectionGoal::Connect) => {
                        r.goal.send_replace(goal);
                        true
                    }
                    _ => true,
                }
            }
            _ => false,
        };
        if same {
            return;
        }
        let new_token = !self.stop_task(&connector.uid, Some(bot)).await;
        if new_token {
            self.context.observations.reset_connection(&connector.uid);
        }
        let mut table = self.lock();
        if !table.open {
            return;
        }
        let stop = CancellationToken::new();
        let (goal_sender, goal_receiver) = watch::channel(goal);
        let run = BotConnection {
            context: self.context.clone(),
            connector: connector.clone(),
            bot: bot.clone(),
        }
        .run(known_profile.filter(|_| !new_token).cloned(), goal_receiver);
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            tokio::select! {
                biased;
                () = stopped.cancelled() => {}
                () = run => {}
            }
        });
        table.running.insert(
            connector.uid.clone(),
            ConnectionTask {
                bot: bot.clone(),
                goal: goal_sender,
                stop,
                task,
            },
        );
    }

    /// Whether the connector's task, if any, is of this bot and token: what was noted is about it.
    pub fn has_task_for(&self, uid: &ConnectorUid, bot: &Bot) -> bool {
        self.lock()
            .running
            .get(uid)
            .is_some_and(|r| r.bot.is_same(bot))
    }

    /// Ends a connector's task and forgets what it saw. When this returns, nothing of it runs any more.
    pub async fn stop(&self, uid: &ConnectorUid) {
        self.stop_task(uid, None).await;
        self.context.observations.reset_connection(uid);
    }

    /// Ends all tasks and lets no new ones begin: at shutdown, and when the Lease is lost.
    pub async fn close(&self) {
        let all: Vec<ConnectionTask> = {
            let mut table = self.lock();
            table.open = false;
            table.running.drain().map(|(_, r)| r).collect()
        };
        for running in &all {
            running.stop.cancel();
        }
        for running in all {
            let _ = running.task.await;
        }
    }

    /// The bots that are connected or about to be.
    pub fn count(&self) -> usize {
        self.lock().running.len()
    }

    /// Ends a task; true if it held this token.
    async fn stop_task(&self, uid: &ConnectorUid, bot: Option<&Bot>) -> bool {
        let Some(running) = self.lock().running.remove(uid) else {
            return false;
        };
        running.stop.cancel();
        let _ = running.task.await;
        bot.is_some_and(|b| running.bot.is_same(b))
    }

    /// Withdraws a connector's webhook, if the bot has one and it is this connector's. Tries for so long, then gives up: Telegram
    /// keeps what it cannot deliver, and a webhook that leads nowhere harms nobody.
    pub async fn delete_own_webhook(&self, connector: &ConnectorRef, bot: &Bot, timeout: Duration) {
        let deletion = async {
            // Not while another connector is taking the bot over.
            let _bot_lock = self.context.bot_locks.acquire(bot.id()).await;
            let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5));
            loop {
                let attempt = async {
                    let url = bot.get_webhook_info().await?.url;
                    if foreign_webhook::is_ours(&url, &connector.uid) {
                        bot.delete_webhook().await?;
                    }
                    Ok(())
                };
                match attempt.await {
                    Ok(()) => return,
                    Err(TelegramError::Unauthorized | TelegramError::NotFound) => return,
                    Err(TelegramError::RateLimited(wait)) => tokio::time::sleep(wait).await,
                    Err(error) => {
                        tracing::debug!(%connector, bot_id = %bot.id(), %error, "the webhook could not be withdrawn yet");
                        tokio::time::sleep(backoff.next_delay()).await;
                    }
                }
            }
        };
        if tokio::time::timeout(timeout, deletion).await.is_err() {
            tracing::warn!(namespace = %connector.namespace, connector = %connector.name, bot_id = %bot.id(),
                "Telegram did not answer in time: the bot's webhook stays registered there and leads nowhere");
        }
    }

    fn lock(&self) -> MutexGuard<'_, ConnectionTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connector's life with Telegram.
struct BotConnection {
    context: Arc<ConnectionContext>,
    connector: ConnectorRef,
    bot: Bot,
}

impl BotConnection {
    async fn run(
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
            .wait_for(|r| *r == ConnectionGoal::Connect)
            .await
            .is_err()
        {
            return;
        }
        let _bot_lock = self.context.bot_locks.acquire(self.bot.id()).await;
        tokio::select! {
            () = self.receive_updates(profile) => {}
            // Beside it, and gone when it is done: only receiving ends the connection.
            () = async {
                Box::pin(bot_commands::sync_commands(&self.bot, &self.context.command_sync)).await;
                std::future::pending::<()>().await;
            } => {}
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
                Box::pin(webhook::WebhookRegistration::new(self, settings).run()).await;
            }
        }
    }

    fn report(&self, fact: ConnectionFact) {
        self.context
            .observations
            .connection(&self.connector.uid, fact);
    }
}

/// Takes a poller out of the count, however it ends.
struct PollerCountGuard<'m>(&'m Metrics);

impl Drop for PollerCountGuard<'_> {
    fn drop(&mut self) {
        self.0.add_pollers(-1);
    }
}

/// Whole seconds to wait, as facts hold them; at least one.
fn whole_seconds(wait: Duration) -> u32 {
    u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).max(1)
}
