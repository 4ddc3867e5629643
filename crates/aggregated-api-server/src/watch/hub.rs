//! One task that asks the storage for changes, for all that watch a resource. It runs only while there are any.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::ring::{ChangeRing, Found};
use crate::error::ApiError;
use crate::list::PAGE_SIZE;
use crate::resource::{ListQuery, Resource};

/// How long the storage may take to tell what has changed.
const TIMEOUT: Duration = Duration::from_secs(15);

/// How long the task waits after an error of the storage, at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How watches are served.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HubSettings {
    /// How often the storage is asked.
    pub interval: Duration,
    /// How many changes are kept.
    pub ring: usize,
    /// How many watches there may be.
    pub watches: usize,
}

/// The watches of one resource.
pub(crate) struct WatchHub {
    resource: Arc<dyn Resource>,
    settings: HubSettings,
    state: Mutex<State>,
    /// Sent whenever the ring has moved.
    moved: watch::Sender<()>,
}

struct State {
    ring: ChangeRing,
    watches: usize,
    is_polling: bool,
}

/// One watch; the last one to go ends the task.
pub(super) struct Subscription {
    hub: Arc<WatchHub>,
    moved: watch::Receiver<()>,
    epoch: u64,
}

impl WatchHub {
    pub(crate) fn new(resource: Arc<dyn Resource>, settings: HubSettings) -> Arc<Self> {
        Arc::new(Self {
            resource,
            settings,
            state: Mutex::new(State {
                ring: ChangeRing::new(settings.ring),
                watches: 0,
                is_polling: false,
            }),
            moved: watch::Sender::new(()),
        })
    }

    pub(crate) fn watches(&self) -> usize {
        self.state.lock().watches
    }

    /// Joins; the first one starts the task.
    pub(super) async fn subscribe(self: &Arc<Self>) -> Result<Subscription, ApiError> {
        // Counted first: the task does not end between this and the look at it.
        let subscription = {
            let mut state = self.state.lock();
            if state.watches >= self.settings.watches {
                return Err(ApiError::TooManyRequests {
                    message: format!("there are {} watches already", state.watches),
                    retry_after: Duration::from_secs(10),
                });
            }
            state.watches += 1;
            Subscription {
                hub: self.clone(),
                moved: self.moved.subscribe(),
                epoch: state.ring.epoch(),
            }
        };
        if self.state.lock().is_polling {
            return Ok(subscription);
        }
        let revision = self.newest().await?;
        let mut state = self.state.lock();
        if !state.is_polling {
            state.is_polling = true;
            state.ring.restart(revision);
            tokio::spawn(self.clone().poll());
        }
        drop(state);
        Ok(subscription)
    }

    /// The revision up to which everything can be read.
    async fn newest(&self) -> Result<i64, ApiError> {
        let query = ListQuery {
            limit: 1,
            ..ListQuery::default()
        };
        Ok(self.resource.list(&query).await?.revision)
    }

    async fn poll(self: Arc<Self>) {
        let mut pause = self.settings.interval;
        loop {
            tokio::time::sleep(pause).await;
            let position = {
                let mut state = self.state.lock();
                if state.watches == 0 {
                    state.is_polling = false;
                    state.ring.restart(0);
                    return;
                }
                state.ring.complete_to()
            };
            let read = self.resource.changes(None, position, PAGE_SIZE);
            let read = tokio::time::timeout(TIMEOUT, read).await;
            let late = || Err(ApiError::unavailable("the storage takes too long"));
            pause = match read.unwrap_or_else(|_| late()) {
                Ok(changes) => {
                    let is_full = changes.changes.len() >= PAGE_SIZE;
                    if self.state.lock().ring.push(changes) {
                        self.moved.send_replace(());
                    }
                    if is_full {
                        Duration::ZERO
                    } else {
                        self.settings.interval
                    }
                }
                Err(error) => {
                    let resource = &self.resource.description().plural;
                    tracing::warn!(%resource, %error, "changes cannot be read; watches wait");
                    (pause * 2).clamp(self.settings.interval, LONGEST_PAUSE)
                }
            };
        }
    }
}

impl Subscription {
    pub(super) fn after(&self, position: i64) -> Found {
        self.hub.state.lock().ring.after(position, self.epoch)
    }

    /// Waits until the ring moves.
    pub(super) async fn moved(&mut self) {
        // The sender lives as long as the hub, which this holds.
        let _ = self.moved.changed().await;
    }

    pub(super) fn interval(&self) -> Duration {
        self.hub.settings.interval
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.hub.state.lock().watches -= 1;
    }
}
