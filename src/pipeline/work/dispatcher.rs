//! The engine: knows who has work, claims lanes for them within fair shares, and starts what works through them.
//!
//! It sleeps until something is accepted, given back, due or published; an idle operator costs nothing here but a look
//! around every few seconds.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::identity::ConnectorUid;
use crate::pipeline::claim::lane_worker::LaneOutcome;
use crate::pipeline::decide::history;
use crate::pipeline::state::pipeline_state::PipelineState;
use crate::pipeline::work::claim_health::ClaimHealth;
use crate::pipeline::work::fair_share::LaneShare;
use crate::pipeline::work::run_lane;
use crate::registry::ResolvedConnector;
use crate::store::{ClaimOutcome, ClaimRequest, StoreError};

/// How often leases are kept, dead processes' lanes taken over, and what others put there is found.
const STORE_POLL_INTERVAL: Duration = Duration::from_secs(5);
/// How long the store is left alone after it failed to answer a claim.
const STORE_FAILURE_BACKOFF: Duration = Duration::from_millis(500);
/// Lanes that a parked claim takes at most: no more than each connector may have in work whoever else is busy.
const PARKED_LANES: usize = 4;
/// After so long without a message a connector's parked claim is withdrawn.
const PARKED_CLAIM_IDLE: Duration = Duration::from_secs(30);

/// What the engine knows of a connector.
#[derive(Debug, Default)]
struct ConnectorSchedule {
    /// Lanes in work.
    running: usize,
    /// Something may be ready.
    ready: bool,
    /// Something becomes ready then.
    due: Option<Instant>,
    /// Lanes wait for the connector itself to change.
    waits_for_connector: bool,
    /// Since when a claim waits for its next message.
    parked_at: Option<Instant>,
}

/// What came of a claim.
struct ClaimResult {
    /// For whom it was.
    requested: Vec<ConnectorUid>,
    /// It had been parked.
    was_parked: bool,
    outcome: Result<ClaimOutcome, StoreError>,
}

pub(crate) struct Dispatcher {
    pipeline: Arc<PipelineState>,
    schedules: HashMap<ConnectorUid, ConnectorSchedule>,
    running: usize,
    lane_outcomes: (
        mpsc::UnboundedSender<LaneOutcome>,
        mpsc::UnboundedReceiver<LaneOutcome>,
    ),
    #[allow(clippy::type_complexity, reason = "both ends of one channel")]
    claim_results: (
        mpsc::UnboundedSender<ClaimResult>,
        mpsc::UnboundedReceiver<ClaimResult>,
    ),
    claim_in_flight: bool,
    /// Calls of the store that nobody but the engine waits for: they end with it, so that nothing is claimed behind its back.
    store_calls: JoinSet<()>,
    store_backoff_until: Option<Instant>,
    /// The store was looked at since the start.
    polled: bool,
    claim_health: ClaimHealth,
    lane_tasks: TaskTracker,
    abort: CancellationToken,
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the pipeline was dropped without an end: it goes on.
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

impl Dispatcher {
    pub(crate) fn new(
        pipeline: Arc<PipelineState>,
        lane_tasks: TaskTracker,
        abort: CancellationToken,
    ) -> Self {
        let claim_health = ClaimHealth::new(
            pipeline.readiness.clone(),
            pipeline.limits.claim_failure_grace,
        );
        Self {
            pipeline,
            schedules: HashMap::new(),
            running: 0,
            lane_outcomes: mpsc::unbounded_channel(),
            claim_results: mpsc::unbounded_channel(),
            claim_in_flight: false,
            store_calls: JoinSet::new(),
            store_backoff_until: None,
            polled: false,
            claim_health,
            lane_tasks,
            abort,
        }
    }

    /// Runs until it is told to stop, whether or not the store answers; lanes in work go on by themselves.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let work_notifier = self.pipeline.store.work_notifier();
        let mut registry = self.pipeline.registry.subscribe();
        let mut store_poll = tokio::time::interval(STORE_POLL_INTERVAL);
        store_poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.request_claims();
            let due = self.next_due();
            tokio::select! {
                () = stopped(&mut stop) => break,
                connectors = work_notifier.notified_connectors() => {
                    for uid in connectors {
                        self.schedule(uid).ready = true;
                    }
                }
                Some(outcome) = self.lane_outcomes.1.recv() => {
                    self.on_lane_outcome(outcome);
                    while let Ok(outcome) = self.lane_outcomes.1.try_recv() {
                        self.on_lane_outcome(outcome);
                    }
                }
                Some(claimed) = self.claim_results.1.recv() => self.on_claim_result(claimed),
                Ok(()) = registry.changed() => self.on_registry_changed(),
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => self.mark_due_ready(),
                _ = store_poll.tick() => tokio::select! {
                    () = stopped(&mut stop) => break,
                    () = self.poll_store() => {}
                },
            }
        }
        self.withdraw_claims(|_| true);
        // What the store has been asked for it does before it gives the claims back; what it was not asked for yet it never is.
        self.store_calls.shutdown().await;
    }

    fn schedule(&mut self, uid: ConnectorUid) -> &mut ConnectorSchedule {
        self.schedules.entry(uid).or_default()
    }

    /// What each connector may claim now. One that has as many lanes as its setting allows leaves its part to the others.
    fn lane_share(&self) -> LaneShare {
        let may_claim = |(uid, schedule): &(&ConnectorUid, &ConnectorSchedule)| {
            schedule.ready
                && self
                    .pipeline
                    .registry
                    .get(uid)
                    .is_some_and(|c| schedule.running < usize::from(c.concurrency))
        };
        let asking = self.schedules.iter().filter(may_claim).count();
        LaneShare::new(self.pipeline.limits.lanes, self.running, asking)
    }

    /// Asks the store for lanes, one request at a time: what comes up meanwhile goes with the next.
    fn request_claims(&mut self) {
        if self.claim_in_flight || self.store_backoff_until.is_some() {
            return;
        }
        let share = self.lane_share();
        let (mut requests, mut requested) = (Vec::new(), Vec::new());
        for (uid, schedule) in &mut self.schedules {
            if !schedule.ready {
                continue;
            }
            // Not in the registry: suspended or not resolved. Its messages wait until it is published.
            let Some(connector) = self.pipeline.registry.get(uid) else {
                schedule.ready = false;
                schedule.waits_for_connector = true;
                continue;
            };
            let lanes = share.lanes_to_claim(schedule.running, usize::from(connector.concurrency));
            // One that is being carried out brings its outcome at once.
            let is_parked = schedule.parked_at.is_some();
            if lanes == 0 || is_parked && !self.pipeline.store.withdraw_claim(uid) {
                continue;
            }
            schedule.parked_at = None;
            requests.push(claim_request(&connector, lanes));
            schedule.ready = false;
            requested.push(uid.clone());
        }
        if requests.is_empty() {
            // What could not be claimed is wanted no more, for instance because its connector is suspended.
            self.claim_health.on_success();
            return;
        }
        self.claim_in_flight = true;
        let (pipeline, claims) = (self.pipeline.clone(), self.claim_results.0.clone());
        self.store_calls.spawn(async move {
            let outcome = pipeline.store.claim(requests).await;
            // The engine is gone only when the process ends; then so are the claims.
            let _ = claims.send(ClaimResult {
                requested,
                was_parked: false,
                outcome,
            });
        });
    }

    /// Has a connector's next message claimed as it is accepted, where nothing else of the connector waits to be claimed.
    fn park_claim(&mut self, uid: ConnectorUid) {
        let Some(connector) = self.pipeline.registry.get(&uid) else {
            return;
        };
        let share = LaneShare::new(self.pipeline.limits.lanes, self.running, 1);
        let schedule = self.schedules.entry(uid.clone()).or_default();
        let lanes = share.lanes_to_claim(schedule.running, usize::from(connector.concurrency));
        if lanes == 0 || schedule.ready || schedule.parked_at.is_some() {
            return;
        }
        schedule.parked_at = Some(Instant::now());
        let claim_request = claim_request(&connector, lanes.min(PARKED_LANES));
        let parked = self.pipeline.store.park_claim(claim_request);
        let claims = self.claim_results.0.clone();
        self.store_calls.spawn(async move {
            if let Some(outcome) = parked.outcome().await {
                // As above.
                let _ = claims.send(ClaimResult {
                    requested: vec![uid],
                    was_parked: true,
                    outcome,
                });
            }
        });
    }

    /// Takes back the parked claims for which this holds.
    fn withdraw_claims(&mut self, is_wanted: impl Fn(&ConnectorSchedule) -> bool) {
        for (uid, schedule) in &mut self.schedules {
            if schedule.parked_at.is_some()
                && is_wanted(schedule)
                && self.pipeline.store.withdraw_claim(uid)
            {
                schedule.parked_at = None;
            }
        }
    }

    fn on_claim_result(&mut self, result: ClaimResult) {
        let requested = result.requested;
        // Their outcomes come by channels.
        while self.store_calls.try_join_next().is_some() {}
        if result.was_parked {
            for uid in &requested {
                self.schedule(uid.clone()).parked_at = None;
            }
        } else {
            self.claim_in_flight = false;
        }
        match result.outcome {
            Ok(claimed) => {
                self.claim_health.on_success();
                let drained = claimed.drained.clone();
                self.on_claimed(requested, claimed);
                for uid in drained {
                    self.park_claim(uid);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "no work can be claimed");
                self.claim_health.on_failure(Instant::now(), &error);
                for uid in requested {
                    self.schedule(uid).ready = true;
                }
                self.store_backoff_until = Some(Instant::now() + STORE_FAILURE_BACKOFF);
            }
        }
    }

    fn on_claimed(&mut self, requested: Vec<ConnectorUid>, claimed: ClaimOutcome) {
        // Whoever got what it wanted may have more; whoever did not is told when.
        let mut got: HashMap<&ConnectorUid, usize> = HashMap::new();
        for lane in &claimed.lanes {
            *got.entry(&lane.connector).or_default() += 1;
        }
        let more: Vec<_> = requested
            .into_iter()
            .filter(|uid| got.contains_key(uid))
            .collect();
        let now = self.pipeline.clock.now();
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
                self.schedule(uid).ready = true;
            }
        }
        for (uid, at) in due {
            let schedule = self.schedule(uid);
            schedule.due = Some(schedule.due.map_or(at, |due| due.min(at)));
        }
        for lane in claimed.lanes {
            self.running += 1;
            self.schedule(lane.connector.clone()).running += 1;
            let (pipeline, outcomes) = (self.pipeline.clone(), self.lane_outcomes.0.clone());
            let abort = self.abort.clone();
            self.lane_tasks.spawn(async move {
                tokio::select! {
                    () = abort.cancelled() => {}
                    // As above.
                    outcome = run_lane::run_lane(pipeline, lane) => drop(outcomes.send(outcome)),
                }
            });
        }
    }

    fn on_lane_outcome(&mut self, outcome: LaneOutcome) {
        self.running -= 1;
        let now = Instant::now();
        let changed = *self.pipeline.registry.subscribe().borrow() != outcome.registry_version;
        let schedule = self.schedule(outcome.connector);
        schedule.running -= 1;
        schedule.waits_for_connector |= outcome.waits_for_connector;
        match outcome.ready_in {
            Some(wait) if wait.is_zero() => schedule.ready = true,
            Some(wait) => {
                let at = now + wait;
                schedule.due = Some(schedule.due.map_or(at, |due| due.min(at)));
            }
            None => {}
        }
        if outcome.waits_for_connector && changed {
            // What it waits for happened while it was given back.
            self.on_registry_changed();
        }
    }

    fn next_due(&self) -> Option<Instant> {
        let due = self.schedules.values().filter_map(|s| s.due).min();
        match (due, self.store_backoff_until) {
            (Some(due), Some(backoff)) => Some(due.min(backoff)),
            (due, backoff) => due.or(backoff),
        }
    }

    fn mark_due_ready(&mut self) {
        let now = Instant::now();
        self.store_backoff_until = self.store_backoff_until.filter(|backoff| *backoff > now);
        for schedule in self.schedules.values_mut() {
            if schedule.due.is_some_and(|due| due <= now) {
                schedule.due = None;
                schedule.ready = true;
            }
        }
    }

    /// A connector that has changed may be able to do now what it waited for.
    fn on_registry_changed(&mut self) {
        // They were made for the connectors as they were.
        self.withdraw_claims(|_| true);
        for (uid, schedule) in &mut self.schedules {
            if !schedule.waits_for_connector {
                continue;
            }
            let Some(connector) = self.pipeline.registry.get(uid) else {
                continue;
            };
            schedule.waits_for_connector = false;
            schedule.ready = true;
            self.pipeline.throttle.clear(connector.bot.id());
            let (pipeline, uid, work_notifier) = (
                self.pipeline.clone(),
                uid.clone(),
                self.pipeline.store.work_notifier(),
            );
            self.store_calls.spawn(async move {
                if let Err(error) = pipeline.store.ready_now(&uid).await {
                    tracing::warn!(%error, "waiting messages are taken up later");
                }
                work_notifier.notify(&uid);
            });
        }
    }

    async fn poll_store(&mut self) {
        match self.pipeline.store.keep_claims().await {
            Ok(waiting) => {
                let now = self.pipeline.clock.now();
                let is_first = !std::mem::replace(&mut self.polled, true);
                for (uid, at) in waiting {
                    let wait = Duration::try_from(at.duration_since(now)).unwrap_or_default();
                    let at = Instant::now() + wait;
                    let schedule = self.schedule(uid);
                    if schedule.waits_for_connector {
                        // Only the registry can help.
                        continue;
                    }
                    if wait.is_zero() {
                        schedule.ready = true;
                    } else {
                        schedule.due = Some(schedule.due.map_or(at, |due| due.min(at)));
                    }
                    // What a process before this one made a chat of it wait for is not known, be another one ready or not: perhaps another key.
                    schedule.waits_for_connector |= is_first;
                }
                if is_first {
                    self.on_registry_changed();
                }
            }
            Err(error) => tracing::warn!(%error, "the claims cannot be kept"),
        }
        let now = Instant::now();
        self.withdraw_claims(|s| {
            s.running == 0
                && s.parked_at
                    .is_some_and(|at| now.duration_since(at) > PARKED_CLAIM_IDLE)
        });
        self.schedules.retain(|_, s| {
            let is_waiting = s.ready || s.due.is_some() || s.waits_for_connector;
            s.running > 0 || is_waiting || s.parked_at.is_some()
        });
    }
}

/// The claim of a connector as it is now.
fn claim_request(connector: &ResolvedConnector, lanes: usize) -> ClaimRequest {
    let needs_history = connector
        .assistant
        .as_ref()
        .is_some_and(|a| a.needs_history());
    ClaimRequest {
        connector: connector.connector_ref.clone(),
        bot: connector.bot.id(),
        lanes,
        history: if needs_history {
            history::max_exchanges(connector.session.max_messages)
        } else {
            0
        },
    }
}
