//! Replicas of the operator on one database, and the bots that they poll.

use std::time::Duration;

use telegram_connector_operator::identity::BotId;

use crate::cluster::Cluster;
use crate::operator::operator_process::OperatorProcess;
use crate::operator::test_env::{TestEnv, count_writes_in};
use crate::postgres_server::Postgres;

pub(super) const REPLICAS: usize = 3;
/// How many bots there are, unless `TAKEOVER_BOTS` says.
pub(super) const BOTS: usize = 18;
/// The longest time without a poll after a replica was killed.
pub(super) const MAX_TAKEOVER: Duration = Duration::from_secs(5);

/// Replicas of the operator on one database.
pub(super) struct Fleet {
    pub(super) env: TestEnv,
    pub(super) postgres: Postgres,
    pub(super) kubeconfig: String,
    /// Of each replica, besides the usual ones.
    pub(super) flags: &'static [&'static str],
    pub(super) started: usize,
    pub(super) replicas: Vec<OperatorProcess>,
}

impl Fleet {
    /// None where there is no `PostgreSQL`.
    pub(super) async fn start(cluster: Cluster) -> Option<Self> {
        Self::start_with(cluster, &[]).await
    }

    pub(super) async fn start_with(
        cluster: Cluster,
        flags: &'static [&'static str],
    ) -> Option<Self> {
        let postgres = Postgres::start_empty().await?;
        let env = TestEnv::new(cluster).await;
        let mut fleet = Self {
            kubeconfig: env.kubeconfig().await,
            env,
            postgres,
            flags,
            started: 0,
            replicas: Vec::new(),
        };
        for _ in 0..REPLICAS {
            fleet.add_replica().await;
        }
        fleet.wait_until_shared().await;
        Some(fleet)
    }

    /// Starts one more replica, and waits until it is ready.
    pub(super) async fn add_replica(&mut self) {
        let name = format!("operator-{}", self.started);
        self.started += 1;
        let address = self.postgres.address();
        let mut flags = vec![
            "--store",
            &address,
            "--lease-namespace",
            &self.env.cluster.namespace,
            "--lease-seconds=4",
            "--log-level=info",
        ];
        flags.extend(self.flags);
        let replica = self.env.start_process(&name, &self.kubeconfig, &flags);
        self.env
            .cluster
            .eventually("the replica is ready", || async {
                replica.is_ready().await.then_some(())
            })
            .await;
        self.replicas.push(replica);
    }

    /// A metric of each replica.
    pub(super) async fn metrics(&self, name: &str) -> Vec<u64> {
        let mut values = Vec::new();
        for replica in &self.replicas {
            values.push(replica.metric(name).await.unwrap_or_default());
        }
        values
    }

    /// Waits until each replica has its share of the shards.
    pub(super) async fn wait_until_shared(&self) {
        let share = 256 / u64::try_from(self.replicas.len()).expect("few");
        self.env
            .cluster
            .eventually("each replica has its share of shards", || async {
                let shards = self.metrics("shards").await;
                let is_shared = shards.iter().sum::<u64>() == 256
                    && shards.iter().all(|n| (share..=share + 1).contains(n));
                is_shared.then_some(())
            })
            .await;
    }

    /// Creates connectors and waits until all are Ready and have a long poll.
    pub(super) async fn create_bots(&self, count: usize) -> Vec<BotId> {
        let mut bots = Vec::new();
        for n in 0..count {
            bots.push(self.env.create_working_connector(&name_of(n)).await.0);
        }
        for n in 0..count {
            self.env.wait_until_ready(&name_of(n)).await;
        }
        self.wait_until_polled(&bots).await;
        bots
    }

    pub(super) async fn wait_until_polled(&self, bots: &[BotId]) {
        self.env
            .cluster
            .eventually("every bot has a long poll", || async {
                bots.iter().all(|bot| self.is_polled(*bot)).then_some(())
            })
            .await;
    }

    pub(super) fn is_polled(&self, bot: BotId) -> bool {
        self.env.telegram.polls_in_flight(bot) > 0
    }

    pub(super) fn assert_no_conflicts(&self, bots: &[BotId]) {
        for bot in bots {
            let counters = self.env.telegram.counters(*bot);
            assert_eq!(
                (counters.conflicts, counters.concurrent_polls),
                (0, 0),
                "two pollers of {bot} at once"
            );
        }
    }

    /// How often a bot was connected, and how many of its polls ended without an answer.
    pub(super) fn disturbances(&self, bot: BotId) -> (u64, u64) {
        let in_flight = u64::from(self.env.telegram.polls_in_flight(bot));
        let counters = self.env.telegram.counters(bot);
        let calls = |method: &str| counters.methods.get(method).copied().unwrap_or_default();
        let unanswered =
            calls("getupdates").saturating_sub(counters.polls + counters.conflicts + in_flight);
        (calls("getme"), unanswered)
    }

    /// How many writes to Kubernetes all replicas have made, but for the Lease.
    pub(super) async fn kubernetes_writes(&self) -> Vec<u64> {
        let mut writes = Vec::new();
        for replica in &self.replicas {
            let (_, metrics) = replica.get("/metrics").await.expect("it runs");
            writes.push(count_writes_in(&metrics));
        }
        writes
    }

    pub(super) async fn leader(&self) -> usize {
        self.env
            .cluster
            .eventually("a replica leads", || async {
                let leading = self.metrics("leader").await;
                leading.iter().position(|n| *n == 1)
            })
            .await
    }
}

pub(super) fn name_of(n: usize) -> String {
    format!("bot-{n}")
}
