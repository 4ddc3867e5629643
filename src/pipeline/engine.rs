//! The engine: knows who has work, claims lanes for them within fair shares, and starts what works through them.
//!
//! It sleeps until something is accepted, given back, due or published; an idle operator costs nothing here but a look
//! around every few seconds.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::history;
use super::lane::{self, Ended};
use super::work::Work;
use crate::identity::ConnectorUid;
use crate::store::{Claimed, StoreError, Want};

/// How often leases are kept, dead processes' lanes taken over, and what others put there is found.
const LOOK_AROUND: Duration = Duration::from_secs(5);
/// How long the store is left alone after it failed to answer a claim.
const AFTER_STORE_FAILURE: Duration = Duration::from_millis(500);
/// Lanes that every connector may have in work even when all others together have used up the whole: so nobody waits
/// for somebody else's assistant.
const OWN_LANES: usize = 4;

/// What the engine knows of a connector.
#[derive(Debug, Default)]
struct Share {
    /// Lanes in work.
    running: usize,
    /// Something may be ready.
    ready: bool,
    /// Something becomes ready then.
    due: Option<Instant>,
    /// Lanes wait for the connector itself to change.
    parked: bool,
}

pub(super) struct Engine {
    work: Arc<Work>,
    shares: HashMap<ConnectorUid, Share>,
    running: usize,
    ended: (mpsc::UnboundedSender<Ended>, mpsc::UnboundedReceiver<Ended>),
    #[allow(clippy::type_complexity, reason = "both ends of one channel")]
    claims: (
        mpsc::UnboundedSender<Result<Claimed, StoreError>>,
        mpsc::UnboundedReceiver<Result<Claimed, StoreError>>,
    ),
    claiming: Vec<ConnectorUid>,
    rest_until: Option<Instant>,
    lanes: TaskTracker,
    abort: CancellationToken,
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the pipeline was dropped without an end: it goes on.
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

impl Engine {
    pub(super) fn new(work: Arc<Work>, lanes: TaskTracker, abort: CancellationToken) -> Self {
        Self {
            work,
            shares: HashMap::new(),
            running: 0,
            ended: mpsc::unbounded_channel(),
            claims: mpsc::unbounded_channel(),
            claiming: Vec::new(),
            rest_until: None,
            lanes,
            abort,
        }
    }

    /// Runs until it is told to stop; lanes in work go on by themselves.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let wake = self.work.store.wake();
        let mut registry = self.work.registry.subscribe();
        let mut look_around = tokio::time::interval(LOOK_AROUND);
        look_around.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.claim();
            let due = self.next_due();
            tokio::select! {
                () = stopped(&mut stop) => return,
                woken = wake.woken() => {
                    for uid in woken {
                        self.share(uid).ready = true;
                    }
                }
                Some(ended) = self.ended.1.recv() => {
                    self.lane_ended(ended);
                    while let Ok(ended) = self.ended.1.try_recv() {
                        self.lane_ended(ended);
                    }
                }
                Some(claimed) = self.claims.1.recv() => self.claimed(claimed),
                Ok(()) = registry.changed() => self.registry_changed(),
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => self.something_is_due(),
                _ = look_around.tick() => self.look_around().await,
            }
        }
    }

    fn share(&mut self, uid: ConnectorUid) -> &mut Share {
        self.shares.entry(uid).or_default()
    }

    /// Asks the store for lanes, one request at a time: what comes up meanwhile goes with the next.
    fn claim(&mut self) {
        if !self.claiming.is_empty() || self.rest_until.is_some() {
            return;
        }
        let limits = self.work.limits;
        let asking = self.shares.values().filter(|s| s.ready).count().max(1);
        let fair = limits.lanes.saturating_sub(self.running).div_ceil(asking);
        let mut wants = Vec::new();
        for (uid, share) in &mut self.shares {
            if !share.ready {
                continue;
            }
            let own = OWN_LANES.saturating_sub(share.running);
            let room = limits.lanes_per_connector.saturating_sub(share.running);
            let lanes = room.min(fair.max(own));
            if lanes == 0 {
                continue;
            }
            // Not in the registry: suspended or not resolved. Its messages wait until it is published.
            let Some(connector) = self.work.registry.get(uid) else {
                share.ready = false;
                share.parked = true;
                continue;
            };
            let remembers = connector
                .assistant
                .as_ref()
                .is_some_and(|a| a.needs_history());
            wants.push(Want {
                connector: connector.connector.clone(),
                bot: connector.bot.id(),
                lanes,
                history: if remembers {
                    history::exchanges(connector.session.max_messages)
                } else {
                    0
                },
            });
            share.ready = false;
            self.claiming.push(uid.clone());
        }
        if wants.is_empty() {
            return;
        }
        let (work, claims) = (self.work.clone(), self.claims.0.clone());
        tokio::spawn(async move {
            // The engine is gone only when the process ends; then so are the claims.
            let _ = claims.send(work.store.claim(wants).await);
        });
    }

    fn claimed(&mut self, claimed: Result<Claimed, StoreError>) {
        let asked = std::mem::take(&mut self.claiming);
        let claimed = match claimed {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::warn!(%error, "no work can be claimed");
                for uid in asked {
                    self.share(uid).ready = true;
                }
                self.rest_until = Some(Instant::now() + AFTER_STORE_FAILURE);
                return;
            }
        };
        // Whoever got what it wanted may have more; whoever did not is told when.
        let mut got: HashMap<&ConnectorUid, usize> = HashMap::new();
        for lane in &claimed.lanes {
            *got.entry(&lane.connector).or_default() += 1;
        }
        let more: Vec<_> = asked
            .into_iter()
            .filter(|uid| got.contains_key(uid))
            .collect();
        let now = self.work.clock.now();
        let due: Vec<_> = claimed
            .next_ready
            .iter()
            .map(|(uid, at)| {
                let wait = Duration::try_from(at.duration_since(now)).unwrap_or_default();
                (uid.clone(), Instant::now() + wait)
            })
            .collect();
        for uid in more {
            if !claimed.drained.contains(&uid) {
                self.share(uid).ready = true;
            }
        }
        for (uid, at) in due {
            let share = self.share(uid);
            share.due = Some(share.due.map_or(at, |due| due.min(at)));
        }
        for lane in claimed.lanes {
            self.running += 1;
            self.share(lane.connector.clone()).running += 1;
            let (work, ended) = (self.work.clone(), self.ended.0.clone());
            let abort = self.abort.clone();
            self.lanes.spawn(async move {
                tokio::select! {
                    () = abort.cancelled() => {}
                    // As above.
                    left = lane::work_through(work, lane) => drop(ended.send(left)),
                }
            });
        }
    }

    fn lane_ended(&mut self, ended: Ended) {
        self.running -= 1;
        let now = Instant::now();
        let changed = *self.work.registry.subscribe().borrow() != ended.registry_version;
        let share = self.share(ended.connector);
        share.running -= 1;
        share.parked |= ended.parked;
        match ended.again {
            Some(wait) if wait.is_zero() => share.ready = true,
            Some(wait) => {
                let at = now + wait;
                share.due = Some(share.due.map_or(at, |due| due.min(at)));
            }
            None => {}
        }
        if ended.parked && changed {
            // What it waits for happened while it was given back.
            self.registry_changed();
        }
    }

    fn next_due(&self) -> Option<Instant> {
        let due = self.shares.values().filter_map(|s| s.due).min();
        match (due, self.rest_until) {
            (Some(due), Some(rest)) => Some(due.min(rest)),
            (due, rest) => due.or(rest),
        }
    }

    fn something_is_due(&mut self) {
        let now = Instant::now();
        self.rest_until = self.rest_until.filter(|rest| *rest > now);
        for share in self.shares.values_mut() {
            if share.due.is_some_and(|due| due <= now) {
                share.due = None;
                share.ready = true;
            }
        }
    }

    /// A connector that has changed may be able to do now what it waited for.
    fn registry_changed(&mut self) {
        for (uid, share) in &mut self.shares {
            if !share.parked {
                continue;
            }
            let Some(connector) = self.work.registry.get(uid) else {
                continue;
            };
            share.parked = false;
            share.ready = true;
            self.work.throttle.clear(connector.bot.id());
            let (work, uid, wake) = (self.work.clone(), uid.clone(), self.work.store.wake());
            tokio::spawn(async move {
                if let Err(error) = work.store.ready_now(&uid).await {
                    tracing::warn!(%error, "waiting messages are taken up later");
                }
                wake.wake(&uid);
            });
        }
    }

    async fn look_around(&mut self) {
        match self.work.store.keep_claims().await {
            Ok(waiting) => {
                let now = self.work.clock.now();
                for (uid, at) in waiting {
                    let wait = Duration::try_from(at.duration_since(now)).unwrap_or_default();
                    let at = Instant::now() + wait;
                    let share = self.share(uid);
                    if share.parked {
                        // Only the registry can help.
                        continue;
                    }
                    if wait.is_zero() {
                        share.ready = true;
                    } else {
                        share.due = Some(share.due.map_or(at, |due| due.min(at)));
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "the claims cannot be kept"),
        }
        self.shares
            .retain(|_, s| s.running > 0 || s.ready || s.due.is_some() || s.parked);
    }
}
