//! The connection to Telegram: one poller per bot, or the webhook and its server. An update is acknowledged only when the inbox has it.
//!
//! Each connector has one light task. It finds out whose token it holds (`getMe`), waits until the controller lets it connect (another
//! connector may own the bot, or another process may lead), and then polls, or keeps the webhook registered. What it sees
//! it notes in the [`Observations`]; what that means is the controller's to decide.

pub mod backoff;
pub mod foreign;
mod identify;
mod menu;
mod poller;
pub mod webhook;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::backoff::Backoff;
use crate::controller::settings::ConnectionSettings;
use crate::identity::{BotId, ConnectorRef, ConnectorUid};
use crate::observation::{ConnectionFact, IdentityFact, Observations};
use crate::store::Inbox;
use crate::telegram::bot::BotProfile;
use crate::telegram::{Bot, TelegramError};
use crate::telemetry::Metrics;

/// How long a foreign webhook waits for its event to be written before it is removed or replaced all the same.
const EVENT_WITHIN: Duration = Duration::from_secs(5);

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
    /// How often a bot with two owners is looked at.
    pub look_again: Duration,
    /// Wakes the leadership at each 409 of a poll: a leader that is cut off from the API server learns by it that another one
    /// has taken over (invariant 7).
    pub conflict_seen: Notify,
    bots: BotLocks,
    menus: menu::Turn,
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
    bot: Bot,
    reach: watch::Sender<Reach>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// All connections of this process.
pub struct Connections {
    shared: Arc<Shared>,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    /// Only a leader has connections.
    open: bool,
    running: HashMap<ConnectorUid, Running>,
}

impl std::fmt::Debug for Connections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connections")
            .field("running", &self.count())
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
        look_again: Duration,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                inbox,
                observations,
                metrics,
                settings,
                look_again,
                conflict_seen: Notify::new(),
                bots: BotLocks::default(),
                menus: menu::Turn::default(),
            }),
            book: Mutex::default(),
        }
    }

    /// From now on connections may be made: this process leads.
    pub fn open(&self) {
        self.lock().open = true;
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
        known: Option<&BotProfile>,
        reach: Reach,
    ) {
        let same = match self.lock().running.get(&connector.uid) {
            Some(r) if r.bot.is_same(bot) => {
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
        let new_token = !self.end(&connector.uid, Some(bot)).await;
        if new_token {
            self.shared.observations.reset_connection(&connector.uid);
        }
        let mut book = self.lock();
        if !book.open {
            return;
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
        book.running.insert(
            connector.uid.clone(),
            Running {
                bot: bot.clone(),
                reach: tell,
                stop,
                task,
            },
        );
    }

    /// Whether the connector's task, if any, is of this bot and token: what was noted is about it.
    pub fn holds(&self, uid: &ConnectorUid, bot: &Bot) -> bool {
        self.lock()
            .running
            .get(uid)
            .is_some_and(|r| r.bot.is_same(bot))
    }

    /// Ends a connector's task and forgets what it saw. When this returns, nothing of it runs any more.
    pub async fn stop(&self, uid: &ConnectorUid) {
        self.end(uid, None).await;
        self.shared.observations.reset_connection(uid);
    }

    /// Ends all tasks and lets no new ones begin: at shutdown, and when the Lease is lost.
    pub async fn close(&self) {
        let all: Vec<Running> = {
            let mut book = self.lock();
            book.open = false;
            book.running.drain().map(|(_, r)| r).collect()
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
    async fn end(&self, uid: &ConnectorUid, bot: Option<&Bot>) -> bool {
        let Some(running) = self.lock().running.remove(uid) else {
            return false;
        };
        running.stop.cancel();
        let _ = running.task.await;
        bot.is_some_and(|b| running.bot.is_same(b))
    }

    /// Withdraws a connector's webhook, if the bot has one and it is this connector's. Tries for so long, then gives up: Telegram
    /// keeps what it cannot deliver, and a webhook that leads nowhere harms nobody.
    pub async fn withdraw_webhook(&self, connector: &ConnectorRef, bot: &Bot, within: Duration) {
        let withdrawn = async {
            // Not while another connector is taking the bot over.
            let _alone = self.shared.bots.hold(bot.id()).await;
            let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5));
            loop {
                let tried = async {
                    let url = bot.get_webhook_info().await?.url;
                    if foreign::is_ours(&url, &connector.uid) {
                        bot.delete_webhook().await?;
                    }
                    Ok(())
                };
                match tried.await {
                    Ok(()) => return,
                    Err(TelegramError::Unauthorized | TelegramError::NotFound) => return,
                    Err(TelegramError::RateLimited(wait)) => tokio::time::sleep(wait).await,
                    Err(error) => {
                        tracing::debug!(%connector, bot_id = %bot.id(), %error, "the webhook could not be withdrawn yet");
                        tokio::time::sleep(backoff.next()).await;
                    }
                }
            }
        };
        if tokio::time::timeout(within, withdrawn).await.is_err() {
            tracing::warn!(namespace = %connector.namespace, connector = %connector.name, bot_id = %bot.id(),
                "Telegram did not answer in time: the bot's webhook stays registered there and leads nowhere");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
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
        let profile = match known {
            Some(profile) => {
                self.note_identity(IdentityFact::Accepted(profile.clone()));
                profile
            }
            None => match Box::pin(self.identify()).await {
                Some(profile) => profile,
                None => return,
            },
        };
        if reach.wait_for(|r| *r == Reach::Connect).await.is_err() {
            return;
        }
        let _alone = self.shared.bots.hold(self.bot.id()).await;
        tokio::select! {
            () = self.receive(profile) => {}
            // Beside it, and gone when it is done: only receiving ends the connection.
            () = async {
                Box::pin(menu::offer(&self.bot, &self.shared.menus)).await;
                std::future::pending::<()>().await;
            } => {}
        }
    }

    async fn receive(&self, profile: BotProfile) {
        match &self.shared.settings {
            ConnectionSettings::Polling => {
                self.shared.metrics.pollers(1);
                let _counted = Counted(&self.shared.metrics);
                self.poll(profile).await;
            }
            ConnectionSettings::Webhook(settings) => {
                Box::pin(webhook::Registration::new(self, settings).keep()).await;
            }
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
