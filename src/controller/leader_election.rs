//! Who leads: one process of the fleet registers webhooks and writes status, and polls unless shards say who polls what.
//!
//! The Lease is taken by compare-and-swap on its `resourceVersion`, so that two can never both have taken it, and whether its holder lives is
//! judged by how long this process has seen it unchanged, never by comparing clocks of two machines.
//!
//! A leader that cannot reach the API server goes on: an outage of the API server must stop no message. Telegram is the fence: the
//! 409 that its pollers get when another process polls shows that another one has taken over (ARCHITECTURE.md, invariant 7).

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::PostParams;
use kube::core::ObjectMeta;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::settings::LeaseSettings;
use crate::backoff::jittered;
use crate::connection::BotConnections;
use crate::telemetry::Metrics;

/// What to do about the Lease as it was just read.
#[derive(Debug, PartialEq, Eq)]
enum LeaseAction {
    /// It is ours: say that we live.
    Renew,
    /// Nobody holds it, or its holder has not renewed it for its whole duration.
    Acquire,
    /// Somebody else holds it.
    Wait,
}

/// `unchanged_for`: how long this process has seen the Lease as it is.
fn decide_lease_action(
    lease: &LeaseSpec,
    identity: &str,
    unchanged_for: Duration,
    own_duration: Duration,
) -> LeaseAction {
    match lease.holder_identity.as_deref() {
        None | Some("") => LeaseAction::Acquire,
        Some(holder) if holder == identity => LeaseAction::Renew,
        Some(_) => {
            let lease_duration = lease
                .lease_duration_seconds
                .and_then(|s| u64::try_from(s).ok())
                .map_or(own_duration, Duration::from_secs);
            if unchanged_for >= lease_duration {
                LeaseAction::Acquire
            } else {
                LeaseAction::Wait
            }
        }
    }
}

/// The election, as one process takes part in it.
pub(super) struct LeaderElector {
    leases: Api<Lease>,
    settings: LeaseSettings,
    identity: String,
    /// The connections that leadership allows; `None` where shards say who polls what.
    connections: Option<Arc<BotConnections>>,
    metrics: Arc<Metrics>,
    leading: watch::Sender<bool>,
    /// The Lease's `resourceVersion` as last seen, and since when.
    observed: Option<(String, Instant)>,
    /// When our hold was last confirmed.
    last_renewed: Option<Instant>,
}

impl LeaderElector {
    /// `identity` is made unique: a process that comes back under its old name is another one.
    pub(super) fn new(
        client: Client,
        settings: LeaseSettings,
        identity: &str,
        connections: Option<Arc<BotConnections>>,
        metrics: Arc<Metrics>,
        leading: watch::Sender<bool>,
    ) -> Self {
        Self {
            leases: Api::namespaced(client, &settings.namespace),
            identity: format!("{identity}_{}", uuid::Uuid::new_v4()),
            settings,
            connections,
            metrics,
            leading,
            observed: None,
            last_renewed: None,
        }
    }

    /// Takes part until `stop`; then ends the pollers and gives the Lease back.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let connections = self.connections.clone();
        loop {
            let attempt = tokio::select! {
                () = stop.cancelled() => break,
                attempt = tokio::time::timeout(self.settings.renew_every, self.try_acquire_or_renew()) => attempt,
            };
            match attempt {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(%error, leading = self.is_leader(), "the Lease could not be looked after");
                }
                Err(_) => {
                    tracing::warn!(
                        leading = self.is_leader(),
                        "the API server does not answer about the Lease"
                    );
                }
            }
            let pause = jittered(if self.is_leader() {
                self.settings.renew_every
            } else {
                self.settings.retry_every
            });
            let until = Instant::now() + pause;
            loop {
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = tokio::time::sleep_until(until) => break,
                    () = conflict_seen(connections.as_deref()) => {
                        if self.is_leader() && self.is_cut_off() {
                            tracing::warn!("cut off from the API server, and Telegram shows that another process polls: stepping down");
                            self.step_down().await;
                        }
                    }
                }
            }
            if stop.is_cancelled() {
                break;
            }
        }
        let was_leader = self.is_leader();
        self.step_down().await;
        if was_leader {
            let released = tokio::time::timeout(Duration::from_secs(3), self.release()).await;
            if !matches!(released, Ok(Ok(()))) {
                tracing::warn!(
                    "the Lease could not be given back; another process takes over when it expires"
                );
            }
        }
    }

    fn is_leader(&self) -> bool {
        *self.leading.borrow()
    }

    /// Nothing has confirmed our hold for the Lease's whole duration: another one may have taken it.
    fn is_cut_off(&self) -> bool {
        self.last_renewed
            .is_none_or(|at| at.elapsed() >= self.settings.duration)
    }

    /// Looks at the Lease once and does what is to be done.
    async fn try_acquire_or_renew(&mut self) -> Result<(), kube::Error> {
        let requested_at = Instant::now();
        let Some(lease) = self.leases.get_opt(&self.settings.name).await? else {
            return self.create(requested_at).await;
        };
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        let since = match &self.observed {
            Some((observed, since)) if *observed == version => *since,
            _ => {
                self.observed = Some((version, requested_at));
                requested_at
            }
        };
        let spec = lease.spec.clone().unwrap_or_default();
        match decide_lease_action(
            &spec,
            &self.identity,
            requested_at.saturating_duration_since(since),
            self.settings.duration,
        ) {
            LeaseAction::Renew => {
                let renewed = LeaseSpec {
                    renew_time: Some(MicroTime(Timestamp::now())),
                    ..spec
                };
                self.replace(lease, renewed, requested_at).await
            }
            LeaseAction::Acquire => {
                let now = MicroTime(Timestamp::now());
                let taken = LeaseSpec {
                    holder_identity: Some(self.identity.clone()),
                    lease_duration_seconds: Some(whole_seconds(self.settings.duration)),
                    acquire_time: Some(now.clone()),
                    renew_time: Some(now),
                    lease_transitions: Some(spec.lease_transitions.unwrap_or_default() + 1),
                    ..spec
                };
                if self.is_leader() {
                    // Ours was emptied or has expired unseen: it is taken anew by the same rules as by anybody.
                    self.step_down().await;
                }
                self.replace(lease, taken, requested_at).await
            }
            LeaseAction::Wait => {
                if self.is_leader() {
                    tracing::warn!(holder = ?spec.holder_identity, "another process has taken the Lease: stepping down");
                    self.step_down().await;
                }
                Ok(())
            }
        }
    }

    async fn create(&mut self, requested_at: Instant) -> Result<(), kube::Error> {
        let now = MicroTime(Timestamp::now());
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(self.settings.name.clone()),
                namespace: Some(self.settings.namespace.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: Some(whole_seconds(self.settings.duration)),
                acquire_time: Some(now.clone()),
                renew_time: Some(now),
                lease_transitions: Some(0),
                ..LeaseSpec::default()
            }),
        };
        let created = self.leases.create(&PostParams::default(), &lease).await;
        self.on_lease_written(created, requested_at)
    }

    /// The compare-and-swap: the object carries the `resourceVersion` that was read.
    async fn replace(
        &mut self,
        lease: Lease,
        spec: LeaseSpec,
        requested_at: Instant,
    ) -> Result<(), kube::Error> {
        let lease = Lease {
            spec: Some(spec),
            ..lease
        };
        let replaced = self
            .leases
            .replace(&self.settings.name, &PostParams::default(), &lease)
            .await;
        self.on_lease_written(replaced, requested_at)
    }

    fn on_lease_written(
        &mut self,
        written: Result<Lease, kube::Error>,
        requested_at: Instant,
    ) -> Result<(), kube::Error> {
        match written {
            Ok(lease) => {
                self.observed = lease.metadata.resource_version.map(|v| (v, requested_at));
                self.last_renewed = Some(requested_at);
                if !self.is_leader() {
                    tracing::info!(identity = %self.identity, "leading");
                    if let Some(connections) = &self.connections {
                        connections.open();
                    }
                    self.metrics.set_leading(true);
                    self.leading.send_replace(true);
                }
                Ok(())
            }
            // Somebody else was faster; the next look shows who.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Ends the pollers before anything else.
    async fn step_down(&mut self) {
        if let Some(connections) = &self.connections {
            connections.close().await;
        }
        self.last_renewed = None;
        if self.leading.send_replace(false) {
            self.metrics.set_leading(false);
            tracing::info!(identity = %self.identity, "no longer leading");
        }
    }

    async fn release(&self) -> Result<(), kube::Error> {
        let lease = self.leases.get(&self.settings.name).await?;
        let spec = lease.spec.clone().unwrap_or_default();
        if spec.holder_identity.as_deref() != Some(&self.identity) {
            return Ok(());
        }
        let released = Lease {
            spec: Some(LeaseSpec {
                holder_identity: None,
                lease_duration_seconds: Some(1),
                ..spec
            }),
            ..lease
        };
        self.leases
            .replace(&self.settings.name, &PostParams::default(), &released)
            .await
            .map(drop)
    }
}

/// Resolves at a 409 that says that another process polls what this one may poll as the leader.
async fn conflict_seen(connections: Option<&BotConnections>) {
    match connections {
        Some(connections) => connections.conflict_seen().await,
        None => std::future::pending().await,
    }
}

fn whole_seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::unheld(None, 12, 0, LeaseAction::Acquire)]
    #[case::released(Some(""), 12, 0, LeaseAction::Acquire)]
    #[case::held_by_this_process(Some("me"), 12, 100, LeaseAction::Renew)]
    #[case::holder_is_alive(Some("other"), 12, 11, LeaseAction::Wait)]
    #[case::holder_expired(Some("other"), 12, 12, LeaseAction::Acquire)]
    #[case::holder_has_longer_duration(Some("other"), 60, 59, LeaseAction::Wait)]
    fn lease_is_judged_by_how_long_it_stays_unchanged(
        #[case] holder: Option<&str>,
        #[case] duration: i32,
        #[case] unchanged: u64,
        #[case] expected: LeaseAction,
    ) {
        let lease = LeaseSpec {
            holder_identity: holder.map(str::to_owned),
            lease_duration_seconds: Some(duration),
            // A clock of another machine that is hours behind says nothing.
            renew_time: Some(MicroTime(Timestamp::UNIX_EPOCH)),
            ..LeaseSpec::default()
        };
        assert_eq!(
            decide_lease_action(
                &lease,
                "me",
                Duration::from_secs(unchanged),
                Duration::from_secs(12)
            ),
            expected
        );
    }
}
