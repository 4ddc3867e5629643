//! Who leads: one process of the fleet registers webhooks, polls and writes status.
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
use crate::connection::BotConnections;
use crate::connection::backoff::jittered;
use crate::telemetry::Metrics;

/// What to do about the Lease as it was just read.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// It is ours: say that we live.
    Renew,
    /// Nobody holds it, or its holder has not renewed it for its whole duration.
    Take,
    /// Somebody else holds it.
    Leave,
}

/// `unchanged_for`: how long this process has seen the Lease as it is.
fn decide(lease: &LeaseSpec, me: &str, unchanged_for: Duration, ours: Duration) -> Step {
    match lease.holder_identity.as_deref() {
        None | Some("") => Step::Take,
        Some(holder) if holder == me => Step::Renew,
        Some(_) => {
            let theirs = lease
                .lease_duration_seconds
                .and_then(|s| u64::try_from(s).ok())
                .map_or(ours, Duration::from_secs);
            if unchanged_for >= theirs {
                Step::Take
            } else {
                Step::Leave
            }
        }
    }
}

/// The election, as one process takes part in it.
pub(super) struct Leadership {
    leases: Api<Lease>,
    settings: LeaseSettings,
    me: String,
    connections: Arc<BotConnections>,
    metrics: Arc<Metrics>,
    leading: watch::Sender<bool>,
    /// The Lease's `resourceVersion` as last seen, and since when.
    seen: Option<(String, Instant)>,
    /// When our hold was last confirmed.
    confirmed: Option<Instant>,
}

impl Leadership {
    /// `identity` is made unique: a process that comes back under its old name is another one.
    pub(super) fn new(
        client: Client,
        settings: LeaseSettings,
        identity: &str,
        connections: Arc<BotConnections>,
        metrics: Arc<Metrics>,
        leading: watch::Sender<bool>,
    ) -> Self {
        Self {
            leases: Api::namespaced(client, &settings.namespace),
            me: format!("{identity}_{}", uuid::Uuid::new_v4()),
            settings,
            connections,
            metrics,
            leading,
            seen: None,
            confirmed: None,
        }
    }

    /// Takes part until `stop`; then ends the pollers and gives the Lease back.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let shared = self.connections.context().clone();
        loop {
            let tried = tokio::select! {
                () = stop.cancelled() => break,
                tried = tokio::time::timeout(self.settings.renew_every, self.look()) => tried,
            };
            match tried {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(%error, leading = self.leads(), "the Lease could not be looked after");
                }
                Err(_) => {
                    tracing::warn!(
                        leading = self.leads(),
                        "the API server does not answer about the Lease"
                    );
                }
            }
            let pause = jittered(if self.leads() {
                self.settings.renew_every
            } else {
                self.settings.retry_every
            });
            let until = Instant::now() + pause;
            loop {
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = tokio::time::sleep_until(until) => break,
                    () = shared.conflict_seen.notified() => {
                        if self.leads() && self.is_cut_off() {
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
        let led = self.leads();
        self.step_down().await;
        if led {
            let released = tokio::time::timeout(Duration::from_secs(3), self.release()).await;
            if !matches!(released, Ok(Ok(()))) {
                tracing::warn!(
                    "the Lease could not be given back; another process takes over when it expires"
                );
            }
        }
    }

    fn leads(&self) -> bool {
        *self.leading.borrow()
    }

    /// Nothing has confirmed our hold for the Lease's whole duration: another one may have taken it.
    fn is_cut_off(&self) -> bool {
        self.confirmed
            .is_none_or(|at| at.elapsed() >= self.settings.duration)
    }

    /// Looks at the Lease once and does what is to be done.
    async fn look(&mut self) -> Result<(), kube::Error> {
        let asked = Instant::now();
        let Some(lease) = self.leases.get_opt(&self.settings.name).await? else {
            return self.create(asked).await;
        };
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        let since = match &self.seen {
            Some((seen, since)) if *seen == version => *since,
            _ => {
                self.seen = Some((version, asked));
                asked
            }
        };
        let spec = lease.spec.clone().unwrap_or_default();
        match decide(
            &spec,
            &self.me,
            asked.saturating_duration_since(since),
            self.settings.duration,
        ) {
            Step::Renew => {
                let renewed = LeaseSpec {
                    renew_time: Some(MicroTime(Timestamp::now())),
                    ..spec
                };
                self.replace(lease, renewed, asked).await
            }
            Step::Take => {
                let now = MicroTime(Timestamp::now());
                let taken = LeaseSpec {
                    holder_identity: Some(self.me.clone()),
                    lease_duration_seconds: Some(whole_seconds(self.settings.duration)),
                    acquire_time: Some(now.clone()),
                    renew_time: Some(now),
                    lease_transitions: Some(spec.lease_transitions.unwrap_or_default() + 1),
                    ..spec
                };
                if self.leads() {
                    // Ours was emptied or has expired unseen: it is taken anew by the same rules as by anybody.
                    self.step_down().await;
                }
                self.replace(lease, taken, asked).await
            }
            Step::Leave => {
                if self.leads() {
                    tracing::warn!(holder = ?spec.holder_identity, "another process has taken the Lease: stepping down");
                    self.step_down().await;
                }
                Ok(())
            }
        }
    }

    async fn create(&mut self, asked: Instant) -> Result<(), kube::Error> {
        let now = MicroTime(Timestamp::now());
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(self.settings.name.clone()),
                namespace: Some(self.settings.namespace.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.me.clone()),
                lease_duration_seconds: Some(whole_seconds(self.settings.duration)),
                acquire_time: Some(now.clone()),
                renew_time: Some(now),
                lease_transitions: Some(0),
                ..LeaseSpec::default()
            }),
        };
        let created = self.leases.create(&PostParams::default(), &lease).await;
        self.settle(created, asked)
    }

    /// The compare-and-swap: the object carries the `resourceVersion` that was read.
    async fn replace(
        &mut self,
        lease: Lease,
        spec: LeaseSpec,
        asked: Instant,
    ) -> Result<(), kube::Error> {
        let lease = Lease {
            spec: Some(spec),
            ..lease
        };
        let replaced = self
            .leases
            .replace(&self.settings.name, &PostParams::default(), &lease)
            .await;
        self.settle(replaced, asked)
    }

    fn settle(
        &mut self,
        written: Result<Lease, kube::Error>,
        asked: Instant,
    ) -> Result<(), kube::Error> {
        match written {
            Ok(lease) => {
                self.seen = lease.metadata.resource_version.map(|v| (v, asked));
                self.confirmed = Some(asked);
                if !self.leads() {
                    tracing::info!(identity = %self.me, "leading");
                    self.connections.open();
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
        self.connections.close().await;
        self.confirmed = None;
        if self.leading.send_replace(false) {
            self.metrics.set_leading(false);
            tracing::info!(identity = %self.me, "no longer leading");
        }
    }

    async fn release(&self) -> Result<(), kube::Error> {
        let lease = self.leases.get(&self.settings.name).await?;
        let spec = lease.spec.clone().unwrap_or_default();
        if spec.holder_identity.as_deref() != Some(&self.me) {
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

fn whole_seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::nobody_holds_it(None, 12, 0, Step::Take)]
    #[case::it_was_given_back(Some(""), 12, 0, Step::Take)]
    #[case::it_is_ours(Some("me"), 12, 100, Step::Renew)]
    #[case::its_holder_lives(Some("other"), 12, 11, Step::Leave)]
    #[case::its_holder_is_gone(Some("other"), 12, 12, Step::Take)]
    #[case::its_holder_promised_longer(Some("other"), 60, 59, Step::Leave)]
    fn a_lease_is_judged_by_what_was_seen_of_it(
        #[case] holder: Option<&str>,
        #[case] duration: i32,
        #[case] unchanged: u64,
        #[case] step: Step,
    ) {
        let lease = LeaseSpec {
            holder_identity: holder.map(str::to_owned),
            lease_duration_seconds: Some(duration),
            // A clock of another machine that is hours behind says nothing.
            renew_time: Some(MicroTime(Timestamp::UNIX_EPOCH)),
            ..LeaseSpec::default()
        };
        assert_eq!(
            decide(
                &lease,
                "me",
                Duration::from_secs(unchanged),
                Duration::from_secs(12)
            ),
            step
        );
    }
}
