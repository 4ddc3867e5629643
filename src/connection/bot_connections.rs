//! The tasks of all connectors in this process, and the operations the controller has on them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::bot_connection::{BotConnection, BotLocks, ConnectionContext};
use super::scope::ConnectionScope;
use super::{ConnectionGoal, ConnectionSettings, bot_commands, foreign_webhook};
use crate::backoff::Backoff;
use crate::identity::{BotId, ConnectorRef, ConnectorUid};
use crate::observation::Observations;
use crate::store::Inbox;
use crate::store::shards::Shard;
use crate::telegram::bot::BotProfile;
use crate::telegram::{Bot, TelegramError};
use crate::telemetry::Metrics;

/// The running task of one connector.
struct ConnectionTask {
    bot: Bot,
    goal: watch::Sender<ConnectionGoal>,
    task: JoinHandle<()>,
}

impl ConnectionTask {
    /// Ends the task where it waits; it has ended when this returns.
    async fn stop(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// Ends tasks side by side; they have ended when this returns.
async fn stop_all(tasks: Vec<ConnectionTask>) {
    for running in &tasks {
        running.task.abort();
    }
    for running in tasks {
        running.stop().await;
    }
}

/// The connections of all connectors in this process. None can be made before [`open`](Self::open) or [`open_shards`](Self::open_shards).
pub struct BotConnections {
    context: Arc<ConnectionContext>,
    table: Mutex<ConnectionTable>,
}

#[derive(Default)]
struct ConnectionTable {
    /// Which bots may have a connection here.
    scope: ConnectionScope,
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
    /// Creates an empty, closed table. `recheck_interval`: how often a contested bot is checked again; a connected bot's
    /// profile is looked at six times as often.
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

    /// Allows connections of all bots. Called when this process becomes the leader.
    pub fn open(&self) {
        self.table.lock().scope = ConnectionScope::Everything;
    }

    /// Allows connections of the bots of these shards too.
    pub(crate) fn open_shards(&self, shards: &[Shard]) {
        self.table.lock().scope.add(shards);
    }

    /// Stops the tasks of these shards' bots and refuses new ones. All have ended when this returns.
    pub(crate) async fn close_shards(&self, shards: &[Shard]) {
        let closed: Vec<ConnectionTask> = {
            let mut table = self.table.lock();
            table.scope.remove(shards);
            let of_shards = |task: &ConnectionTask| shards.contains(&Shard::of(task.bot.id()));
            let closed = table.running.extract_if(|_, task| of_shards(task));
            closed.map(|(_, task)| task).collect()
        };
        stop_all(closed).await;
    }

    /// How many tasks each shard has.
    pub(crate) fn count_by_shard(&self) -> HashMap<Shard, usize> {
        let mut count = HashMap::new();
        for task in self.table.lock().running.values() {
            *count.entry(Shard::of(task.bot.id())).or_default() += 1;
        }
        count
    }

    /// Whether this bot may be connected here.
    pub(crate) fn may_connect(&self, bot: BotId) -> bool {
        self.table.lock().scope.includes(bot)
    }

    /// Resolves at the next 409 of a poll: a leader that is cut off from the API server learns by it that another process has taken
    /// over (invariant 7). A 409 that nobody waits for is kept for the next call.
    pub(crate) async fn conflict_seen(&self) {
        self.context.conflict_seen.notified().await;
    }

    /// Starts the connector's task or changes its goal; does nothing when bot and goal are unchanged. With another token, or when the
    /// goal goes back to [`ConnectionGoal::Identify`], the old task ends before the new one starts.
    pub async fn ensure(
        &self,
        connector: &ConnectorRef,
        bot: &Bot,
        known_profile: Option<&BotProfile>,
        goal: ConnectionGoal,
    ) {
        let unchanged = match self.table.lock().running.get(&connector.uid) {
            Some(running) if running.bot.is_same(bot) => {
                let current_goal = *running.goal.borrow();
                match (current_goal, goal) {
                    (ConnectionGoal::Connect, ConnectionGoal::Identify) => false,
                    (ConnectionGoal::Identify, ConnectionGoal::Connect) => {
                        running.goal.send_replace(goal);
                        true
                    }
                    _ => true,
                }
            }
            _ => false,
        };
        if unchanged {
            return;
        }
        let new_token = !self.stop_task(&connector.uid, Some(bot)).await;
        if new_token {
            self.context.observations.reset_connection(&connector.uid);
        }
        let mut table = self.table.lock();
        if !table.scope.includes(bot.id()) {
            return;
        }
        let (goal_sender, goal_receiver) = watch::channel(goal);
        let run = BotConnection {
            context: self.context.clone(),
            connector: connector.clone(),
            bot: bot.clone(),
        }
        .run(known_profile.filter(|_| !new_token).cloned(), goal_receiver);
        // Spawned as it is: a block around it would hold it twice, for every bot.
        let task = tokio::spawn(run);
        table.running.insert(
            connector.uid.clone(),
            ConnectionTask {
                bot: bot.clone(),
                goal: goal_sender,
                task,
            },
        );
    }

    /// Whether the connector has a task with this bot and token, so that its observations are about them.
    pub(crate) fn has_task_for(&self, uid: &ConnectorUid, bot: &Bot) -> bool {
        self.table
            .lock()
            .running
            .get(uid)
            .is_some_and(|running| running.bot.is_same(bot))
    }

    /// Stops a connector's task and resets its observations. The task has ended when this returns.
    pub async fn stop(&self, uid: &ConnectorUid) {
        self.stop_task(uid, None).await;
        self.context.observations.reset_connection(uid);
    }

    /// Stops all tasks and refuses new ones: at shutdown, and when the Lease is lost. All have ended when this returns.
    pub async fn close(&self) {
        let all: Vec<ConnectionTask> = {
            let mut table = self.table.lock();
            table.scope = ConnectionScope::Nothing;
            table.running.drain().map(|(_, running)| running).collect()
        };
        stop_all(all).await;
    }

    /// The number of tasks, whatever their goal.
    pub(crate) fn count(&self) -> usize {
        self.table.lock().running.len()
    }

    /// Stops a task and waits for its end. Returns whether it had the same bot and token as `bot`.
    async fn stop_task(&self, uid: &ConnectorUid, bot: Option<&Bot>) -> bool {
        let Some(running) = self.table.lock().running.remove(uid) else {
            return false;
        };
        let had_bot = bot.is_some_and(|bot| running.bot.is_same(bot));
        running.stop().await;
        had_bot
    }

    /// Deletes the bot's webhook at Telegram if it is this connector's. Retries until `timeout`, then gives up with a warning, so that a
    /// finalizer always ends: Telegram keeps updates it cannot deliver, so nothing is lost.
    pub(crate) async fn delete_own_webhook(
        &self,
        connector: &ConnectorRef,
        bot: &Bot,
        timeout: Duration,
    ) {
        let deletion = async {
            // Wait while another connector is taking the bot over.
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
                        tracing::debug!(%connector, bot_id = %bot.id(), %error, "failed to delete the webhook; retrying");
                        tokio::time::sleep(backoff.next_delay()).await;
                    }
                }
            }
        };
        if tokio::time::timeout(timeout, deletion).await.is_err() {
            tracing::warn!(namespace = %connector.namespace, connector = %connector.name, bot_id = %bot.id(),
                "gave up deleting the webhook after the timeout; it stays registered at Telegram");
        }
    }
}
