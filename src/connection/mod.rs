//! The connection to Telegram: one poller per bot, or the webhook and its server. An update is acknowledged only when the inbox has it.
//!
//! Each connector has one light task. It finds out whose token it holds (`getMe`), waits until the controller lets it connect (another
//! connector may own the bot, or another process may lead), and then polls, or keeps the webhook registered. What it sees
//! it notes in the [`Observations`]; what that means is the controller's to decide.

pub mod backoff;
pub mod foreign;
mod identify;
mod poller;
pub mod webhook;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::controller::settings::ConnectionSettings;
use crate::identity::{BotId, ConnectorRef, ConnectorUid};
use crate::observation::{ConnectionFact, IdentityFact, Observations};
use crate::store::Inbox;
use crate::telegram::bot::BotProfile;
use crate::telegram::{Bot, BotToken, TelegramError};
use crate::telemetry::Metrics;

/// How far a connection shall go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Find out whose token it is, and no more.
    Identify,
    /// Receive updates.
    Connect,
}

/// What all connections share.
pub struct Shared {
    /// Where updates go.
    pub inbox: Arc<dyn Inbox>,
    /// Where facts are noted.
    pub observations: Arc<Observations>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// How updates come.
    pub settings: ConnectionSettings,
    /// Wakes the leadership at each 409 of a poll: a leader that is cut off from the API server learns by it that another one
    /// has taken over (invariant 7).
    pub conflict_seen: Notify,
    bots: BotLocks,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// Who receives a bot's updates in this process: two connectors that pass a bot on never overlap.
#[derive(Debug, Default)]
struct BotLocks(Mutex<HashMap<BotId, Arc<tokio::sync::Mutex<()>>>>);

impl BotLocks {
    async fn hold(&self, bot: BotId) -> tokio::sync::OwnedMutexGuard<()> {
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
struct Running {
    token: BotToken,
    reach: watch::Sender<Reach>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// All connections of this process.
pub struct Connections {
    shared: Arc<Shared>,
    running: Mutex<HashMap<ConnectorUid, Running>>,
}

impl std::fmt::Debug for Connections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connections")
            .field("running", &self.lock().len())
            .finish_non_exhaustive()
    }
}

impl Connections {
    /// None yet.
    pub fn new(
        inbox: Arc<dyn Inbox>,
        observations: Arc<Observations>,
        metrics: Arc<Metrics>,
        settings: ConnectionSettings,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                inbox,
                observations,
                metrics,
                settings,
                conflict_seen: Notify::new(),
                bots: BotLocks::default(),
            }),
            running: Mutex::default(),
        }
    }

    /// What the connections share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Makes the connection be so. Does nothing when it is so already; with another token, or a shorter reach, the old task ends
    /// before the new one begins.
    pub async fn ensure(
        &self,
        connector: &ConnectorRef,
        bot: &Bot,
        token: &BotToken,
        known: Option<&BotProfile>,
        reach: Reach,
    ) {
        let same = match self.lock().get(&connector.uid) {
            Some(r) if r.token == *token => {
                let now = *r.reach.borrow();
                match (now, reach) {
                    (Reach::Connect, Reach::Identify) => false,
                    (Reach::Identify, Reach::Connect) => {
                        r.reach.send_replace(reach);
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
        let new_token = !self.end(&connector.uid, Some(token)).await;
        if new_token {
            self.shared.observations.reset_connection(&connector.uid);
        }
        let stop = CancellationToken::new();
        let (tell, hear) = watch::channel(reach);
        let life = Connection {
            shared: self.shared.clone(),
            connector: connector.clone(),
            bot: bot.clone(),
        }
        .live(known.filter(|_| !new_token).cloned(), hear);
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            tokio::select! {
                biased;
                () = stopped.cancelled() => {}
                () = life => {}
            }
        });
        self.lock().insert(
            connector.uid.clone(),
            Running {
                token: token.clone(),
                reach: tell,
                stop,
                task,
            },
        );
    }

    /// Ends a connector's task and forgets what it saw. When this returns, nothing of it runs any more.
    pub async fn stop(&self, uid: &ConnectorUid) {
        self.end(uid, None).await;
        self.shared.observations.reset_connection(uid);
    }

    /// Ends all tasks: at shutdown, and when the Lease is lost.
    pub async fn stop_all(&self) {
        let all: Vec<Running> = self.lock().drain().map(|(_, r)| r).collect();
        for running in &all {
            running.stop.cancel();
        }
        for running in all {
            let _ = running.task.await;
        }
    }

    /// The bots that are connected or about to be.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Ends a task; true if it held this token.
    async fn end(&self, uid: &ConnectorUid, token: Option<&BotToken>) -> bool {
        let Some(running) = self.lock().remove(uid) else {
            return false;
        };
        running.stop.cancel();
        let _ = running.task.await;
        token.is_some_and(|t| running.token == *t)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ConnectorUid, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connector's life with Telegram.
struct Connection {
    shared: Arc<Shared>,
    connector: ConnectorRef,
    bot: Bot,
}

impl Connection {
    async fn live(self, known: Option<BotProfile>, mut reach: watch::Receiver<Reach>) {
        if let Some(profile) = known {
            self.shared
                .observations
                .identity(&self.connector.uid, IdentityFact::Accepted(profile));
        } else if !Box::pin(self.identify()).await {
            return;
        }
        if reach.wait_for(|r| *r == Reach::Connect).await.is_err() {
            return;
        }
        let _alone = self.shared.bots.hold(self.bot.id()).await;
        match &self.shared.settings {
            ConnectionSettings::Polling => {
                self.shared.metrics.pollers(1);
                let _counted = Counted(&self.shared.metrics);
                self.poll().await;
            }
            ConnectionSettings::Webhook(_) => std::future::pending().await,
        }
    }

    fn note(&self, fact: ConnectionFact) {
        self.shared
            .observations
            .connection(&self.connector.uid, fact);
    }
}

/// Takes a poller out of the count, however it ends.
struct Counted<'m>(&'m Metrics);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.pollers(-1);
    }
}

/// Whole seconds to wait, as facts hold them; at least one.
fn seconds(wait: Duration) -> u32 {
    u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).max(1)
}

/// The class of an error, for metrics.
fn class(error: &TelegramError) -> &'static str {
    match error {
        TelegramError::Unauthorized => "unauthorized",
        TelegramError::NotFound => "not_found",
        TelegramError::WebhookActive => "webhook_active",
        TelegramError::Conflict(_) => "conflict",
        TelegramError::RateLimited(_) => "rate_limited",
        TelegramError::Server(_) => "server_error",
        TelegramError::Unreachable(_) => "unreachable",
        TelegramError::Ambiguous(_) => "lost",
        TelegramError::Malformed(_) => "malformed",
        _ => "refused",
    }
}
