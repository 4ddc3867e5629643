//! Which bots this replica polls: keeps its lease on shards, takes free ones, and hands over those that are another replica's share.
//!
//! A poller whose lease could not be renewed cannot store what it receives either, since the inbox is in the same database; so it stops before
//! the lease is over and another replica may poll. Telegram's 409 stays the last fence, for a process that was frozen meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::context::Context;
use super::observation_sharing::ObservationSharing;
use crate::connection::{first_to_release, plan_moves};
use crate::store::StoreError;
use crate::store::shards::{FleetView, Replica, ReplicaId, Shard};
use crate::telemetry::ReadinessCheck;

/// How long a lease lasts by the database's clock.
const LEASE: Duration = Duration::from_secs(3);
/// How long after the last renewal began pollers run on: less than [`LEASE`], so that they have ended before another replica polls.
const POLLING_WINDOW: Duration = Duration::from_millis(2500);
/// How often the lease is renewed.
const RENEW_INTERVAL: Duration = Duration::from_secs(1);
/// How soon to look again while a replica is late, or shards are on their way here.
const SHORT_INTERVAL: Duration = Duration::from_millis(250);
/// A replica that has not renewed its lease for so long is late, and so is a renewal of one's own.
const LATE_AFTER: Duration = Duration::from_millis(1500);
/// How often it is asked whether the connectors are known.
const READY_CHECK_INTERVAL: Duration = Duration::from_millis(50);
/// How long giving up the shards may take at a shutdown.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(3);

/// One replica's part in sharing the shards.
pub(super) struct ShardKeeper {
    ctx: Arc<Context>,
    sharing: Arc<ObservationSharing>,
    /// The shards whose bots may be polled here.
    held: BTreeSet<Shard>,
    renewal: Option<Renewal>,
    /// When shards were last given up.
    released_at: Option<Instant>,
}

/// The lease as this process knows it.
#[derive(Debug, Clone, Copy)]
struct Renewal {
    id: ReplicaId,
    /// When the last renewal that succeeded began.
    at: Instant,
    /// Since when no renewal was late.
    in_time_since: Instant,
}

impl Renewal {
    /// The next renewal, which began at `at`.
    fn next(before: Option<Self>, id: ReplicaId, at: Instant) -> Self {
        let in_time = before.filter(|b| b.id == id && at - b.at < LATE_AFTER);
        Self {
            id,
            at,
            in_time_since: in_time.map_or(at, |b| b.in_time_since),
        }
    }

    /// Whether a lease of another replica that is over means that this replica is gone. After an outage of the database all leases are
    /// over, and who comes back first must not take everything.
    fn may_judge(&self) -> bool {
        self.at - self.in_time_since >= LEASE
    }
}

impl ShardKeeper {
    pub(super) fn new(ctx: Arc<Context>, sharing: Arc<ObservationSharing>) -> Self {
        Self {
            ctx,
            sharing,
            held: BTreeSet::new(),
            renewal: None,
            released_at: None,
        }
    }

    /// Takes part until `stop`; then ends the pollers and gives the shards up. Begins when the connectors are known, so that no shard waits
    /// here for a replica that is still starting.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let readiness = self.ctx.inputs.readiness.clone();
        while !stop.is_cancelled() && !readiness.is_passing(ReadinessCheck::ConnectorsSynced) {
            stop.run_until_cancelled(tokio::time::sleep(READY_CHECK_INTERVAL))
                .await;
        }
        while !stop.is_cancelled() {
            let Some(pause) = stop.run_until_cancelled(self.renew_in_time()).await else {
                break;
            };
            stop.run_until_cancelled(tokio::time::sleep(pause)).await;
        }
        self.ctx.outputs.connections.close().await;
        self.set_held(BTreeSet::new());
        let leaving = tokio::time::timeout(LEAVE_TIMEOUT, self.sharing.leases().leave()).await;
        if !matches!(leaving, Ok(Ok(()))) {
            tracing::warn!(
                "failed to give up the shards; other replicas take them over when the lease ends"
            );
        }
    }

    /// Renews the lease and moves shards, and stops polling when that does not succeed in time. Returns the pause until the next time.
    async fn renew_in_time(&mut self) -> Duration {
        let now = Instant::now();
        let deadline = self
            .renewal
            .filter(|_| !self.held.is_empty())
            .map_or(now + POLLING_WINDOW, |renewal| renewal.at + POLLING_WINDOW);
        let error = match tokio::time::timeout_at(deadline, self.renew()).await {
            Ok(Ok(pause)) => return pause,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the database does not answer".to_owned(),
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if left > Duration::ZERO && !self.held.is_empty() {
            tracing::debug!(%error, "failed to renew the lease on shards; retrying");
            return SHORT_INTERVAL.min(left);
        }
        if self.held.is_empty() {
            tracing::debug!(%error, "no lease on shards; retrying");
        } else {
            tracing::warn!(%error, shards = self.held.len(), "the lease on shards could not be renewed: polling stops until it can");
            self.close(&self.held.iter().copied().collect::<Vec<_>>())
                .await;
        }
        RENEW_INTERVAL
    }

    async fn renew(&mut self) -> Result<Duration, StoreError> {
        let leases = self.sharing.leases().clone();
        let began = Instant::now();
        let mut view = leases.renew(LEASE).await?;
        let renewal = Renewal::next(self.renewal, view.own_id, began);
        self.renewal = Some(renewal);
        self.follow(&view).await;
        let is_over = |view: &FleetView| view.replicas.iter().any(|r| r.expires_in.is_none());
        if is_over(&view) && renewal.may_judge() && leases.remove_expired().await? {
            view = leases.renew(LEASE).await?;
            self.follow(&view).await;
        }
        let moves = plan_moves(&view);
        if !moves.take.is_empty() {
            let taken = leases.take(&moves.take).await?;
            tracing::info!(shards = taken.len(), "polling more shards");
            self.ctx.metrics.count_taken_shards(taken.len());
            self.open(&taken);
        }
        self.release(&moves.surplus).await?;
        let is_late = |r: &Replica| {
            r.expires_in
                .is_none_or(|left| left < LEASE.saturating_sub(LATE_AFTER))
        };
        let waits = !moves.settled || view.replicas.iter().any(is_late);
        Ok(if waits {
            SHORT_INTERVAL
        } else {
            RENEW_INTERVAL.saturating_sub(began.elapsed())
        })
    }

    /// Makes what is polled here what the database says is this replica's: after an outage, after a lease that was lost, and after an answer
    /// that did not arrive.
    async fn follow(&mut self, view: &FleetView) {
        let owned: BTreeSet<Shard> = view.own_shards().collect();
        let lost: Vec<Shard> = self.held.difference(&owned).copied().collect();
        if !lost.is_empty() {
            tracing::warn!(
                shards = lost.len(),
                "another replica has taken over shards of this one: polling of them stops"
            );
            self.close(&lost).await;
        }
        let found: Vec<Shard> = owned.difference(&self.held).copied().collect();
        self.open(&found);
    }

    /// Hands over some of these shards, which are above this replica's share, unless it has just done so.
    async fn release(&mut self, surplus: &[Shard]) -> Result<(), StoreError> {
        let is_soon = |at: Instant| at.elapsed() < RENEW_INTERVAL;
        if surplus.is_empty() || self.released_at.is_some_and(is_soon) {
            return Ok(());
        }
        self.released_at = Some(Instant::now());
        let bots = self.ctx.outputs.connections.count_by_shard();
        let released = first_to_release(surplus, |shard| {
            bots.get(&shard).copied().unwrap_or_default()
        });
        self.close(released).await;
        self.sharing.leases().release(released).await?;
        tracing::info!(shards = released.len(), "handed shards over");
        Ok(())
    }

    /// Begins to poll these shards.
    fn open(&mut self, shards: &[Shard]) {
        if shards.is_empty() {
            return;
        }
        self.ctx.outputs.connections.open_shards(shards);
        self.set_held(self.held.iter().chain(shards).copied().collect());
        let connectors = self.ctx.caches.connectors.of_shards(shards);
        self.ctx.requeue_all(connectors);
    }

    /// Stops polling these shards. All pollers have ended when this returns.
    async fn close(&mut self, shards: &[Shard]) {
        let held = self.held.iter().filter(|held| !shards.contains(held));
        self.set_held(held.copied().collect());
        self.sharing.forget_shards(shards);
        self.ctx.outputs.connections.close_shards(shards).await;
    }

    fn set_held(&mut self, held: BTreeSet<Shard>) {
        self.ctx.metrics.set_shards(held.len());
        self.held = held;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replica_judges_others_after_a_lease_without_a_gap() {
        let begin = Instant::now();
        let id = ReplicaId(7);
        let renew =
            |before, at: u64| Some(Renewal::next(before, id, begin + Duration::from_millis(at)));
        let judges = |renewal: Option<Renewal>| renewal.is_some_and(|r| r.may_judge());
        let mut renewal = None;
        for at in [0, 1000, 2000] {
            renewal = renew(renewal, at);
            assert!(!judges(renewal), "it has just begun, at {at} ms");
        }
        renewal = renew(renewal, 3000);
        assert!(judges(renewal));
        // An outage of the database: the leases of all were over.
        renewal = renew(renewal, 13_000);
        assert!(!judges(renewal));
        for at in [14_000, 15_000] {
            renewal = renew(renewal, at);
            assert!(
                !judges(renewal),
                "others may not have come back, at {at} ms"
            );
        }
        assert!(judges(renew(renewal, 16_000)));
        let other_life = Renewal::next(renewal, ReplicaId(8), begin + Duration::from_secs(16));
        assert!(!other_life.may_judge());
    }
}
