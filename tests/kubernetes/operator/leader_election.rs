//! Leader election between two operators: two pollers never run at once, a follower takes over in time, and an API server that is
//! down delays no message.
//!
//! `LEADERSHIP_KILLS=20 cargo test --test kubernetes leaders_that` is the long run; a short one is part of every `cargo test`. Both use
//! a short Lease. One kill and one stop are timed with the default of `--lease-seconds`.

use std::time::{Duration, Instant};

use kube::Client;
use telegram_connector_operator::controller::LeaseSettings;
use telegram_connector_operator::identity::BotId;

use super::load_generator::{LoadGenerator, StallMonitor, slowest};
use super::operator_process::OperatorProcess;
use super::tcp_proxy::TcpProxy;
use super::test_env::{OperatorOptions, TestEnv, client_config, free_address};
use crate::cluster::Cluster;
use crate::suite::{ServerFeature, Suite};

pub fn register(suite: &mut Suite) {
    add!(
        suite,
        [Core],
        stopped_leader_is_replaced_at_once_and_never_doubled
    );
    add!(
        suite,
        [Core],
        leaders_that_are_killed_or_stopped_are_followed_without_loss
    );
    add!(suite, [Core], takeover_is_in_time_with_the_default_lease);
    add!(
        suite,
        [Core],
        follower_serves_connectors_as_the_leader_vouches
    );
    add!(
        suite,
        [Core],
        leader_that_is_cut_off_polls_on_until_another_takes_over
    );
    add!(
        suite,
        [Core],
        outage_of_the_api_server_delays_no_message_and_heals
    );
}

async fn stopped_leader_is_replaced_at_once_and_never_doubled(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    let options = || OperatorOptions {
        lease: Some(LeaseSettings::new(
            &env.cluster.namespace,
            "operator",
            Duration::from_secs(12),
        )),
        ..OperatorOptions::polling()
    };
    let mut leader = env.start_operator(options()).await;
    let (bot, _) = env.create_working_connector("a").await;
    env.wait_until_ready("a").await;
    for user in 4001..4004 {
        let follower = env.start_operator(options()).await;
        env.wait_for_registry(&follower).await;
        let stopped_at = Instant::now();
        leader.shutdown().await;
        env.telegram
            .send_and_wait(bot, user, "who answers now?", Duration::from_secs(20))
            .await;
        let took = stopped_at.elapsed();
        assert!(took < Duration::from_secs(8), "takeover took {took:?}");
        leader = follower;
    }
    assert_eq!(
        env.telegram.counters(bot).conflicts,
        0,
        "two pollers at once"
    );
    leader.shutdown().await;
}

async fn follower_serves_connectors_as_the_leader_vouches(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    let options = || OperatorOptions {
        lease: Some(LeaseSettings::new(
            &env.cluster.namespace,
            "operator",
            Duration::from_secs(12),
        )),
        ..OperatorOptions::polling()
    };
    let leader = env.start_operator(options()).await;
    env.create_working_connector("before").await;
    env.wait_until_ready("before").await;
    let follower = env.start_operator(options()).await;
    env.wait_for_registry(&follower).await;
    // Its status comes later than the connector itself.
    let (bot, _) = env.create_working_connector("after").await;
    let serves = |count: usize, what: &'static str| {
        let follower = &follower;
        env.cluster.eventually(what, move || async move {
            (follower.registry().all().len() == count).then_some(())
        })
    };
    serves(2, "the follower serves the connector that came after it").await;
    env.telegram.revoke(bot);
    env.telegram.send_private_message(bot, 1001, "hello");
    env.wait_until_not_ready("after", "TokenValid", "False", "TokenUnauthorized")
        .await;
    serves(1, "the follower serves it no longer").await;
    follower.shutdown().await;
    leader.shutdown().await;
}

/// The kind of API server, for the printed figures.
fn server_kind(env: &TestEnv) -> &'static str {
    if env.cluster.has(ServerFeature::Embedded) {
        "the embedded control plane"
    } else {
        "a real API server"
    }
}

/// Creates three valid connectors and waits until they are Ready.
async fn create_ready_bots(env: &TestEnv) -> Vec<BotId> {
    const NAMES: [&str; 3] = ["a", "b", "c"];
    let mut bots = Vec::new();
    for name in NAMES {
        bots.push(env.create_working_connector(name).await.0);
    }
    for name in NAMES {
        env.wait_until_ready(name).await;
    }
    bots
}

async fn wait_until_leading(env: &TestEnv, process: &OperatorProcess) {
    env.cluster
        .eventually("the process leads", || async {
            process.leads().await.then_some(())
        })
        .await;
}

async fn wait_until_synced(env: &TestEnv, process: &OperatorProcess) {
    env.cluster
        .eventually("the watches of the process are synced", || async {
            process.is_ready().await.then_some(())
        })
        .await;
}

async fn leaders_that_are_killed_or_stopped_are_followed_without_loss(cluster: Cluster) {
    let kills = std::env::var("LEADERSHIP_KILLS").map_or(2, |n| n.parse().expect("a number"));
    LeaderFailures {
        kills,
        lease_seconds: Some(3),
    }
    .run(cluster)
    .await;
}

async fn takeover_is_in_time_with_the_default_lease(cluster: Cluster) {
    LeaderFailures {
        kills: 1,
        lease_seconds: None,
    }
    .run(cluster)
    .await;
}

/// A leader is stopped with SIGTERM after this many kills, and once more at the end.
const STOP_AFTER: usize = 4;
/// The longest takeover after a kill, whatever the Lease.
const MAX_TAKEOVER_AFTER_KILL: Duration = Duration::from_secs(20);
/// The longest takeover after a clean stop, which releases the Lease.
const MAX_TAKEOVER_AFTER_STOP: Duration = Duration::from_secs(3);
/// The longest takeover once the Lease has expired.
const MAX_TAKEOVER_AFTER_EXPIRY: Duration = Duration::from_secs(8);

/// Ends one leader after the other under load, and checks each takeover and every answer.
struct LeaderFailures {
    kills: usize,
    /// The value of `--lease-seconds`; `None` for its default.
    lease_seconds: Option<u64>,
}

impl LeaderFailures {
    /// The way each leader ends: true for SIGKILL, false for SIGTERM.
    fn sequence(&self) -> Vec<bool> {
        let mut ends = Vec::new();
        for n in 1..=self.kills {
            ends.push(true);
            if n % STOP_AFTER == 0 || n == self.kills {
                ends.push(false);
            }
        }
        ends
    }

    /// The longest takeover that is accepted: the documented one, or less if the Lease is short.
    fn max_takeover(&self, killed: bool) -> Duration {
        let lease = self.lease_seconds.map(Duration::from_secs);
        match (killed, lease) {
            (false, _) => MAX_TAKEOVER_AFTER_STOP,
            (true, None) => MAX_TAKEOVER_AFTER_KILL,
            (true, Some(lease)) => MAX_TAKEOVER_AFTER_KILL.min(lease + MAX_TAKEOVER_AFTER_EXPIRY),
        }
    }

    async fn run(&self, cluster: Cluster) {
        let env = TestEnv::new(cluster).await;
        let kubeconfig = env.kubeconfig().await;
        let lease = self.lease_seconds.map(|s| format!("--lease-seconds={s}"));
        let mut flags = vec![
            "--leader-election=true",
            "--lease-namespace",
            &env.cluster.namespace,
            "--log-level=info",
        ];
        flags.extend(lease.as_deref());
        let start = |n: usize| env.start_process(&format!("operator-{n}"), &kubeconfig, &flags);
        let mut leader = start(0);
        wait_until_leading(&env, &leader).await;
        let bots = create_ready_bots(&env).await;
        let load = LoadGenerator::start(&env.telegram, &bots, 10_000, Duration::from_millis(40));
        let mut takeovers = [Vec::new(), Vec::new()];
        let ends = self.sequence();
        for (n, &killed) in (1..).zip(&ends) {
            let follower = start(n);
            wait_until_synced(&env, &follower).await;
            let ended_at = Instant::now();
            if killed {
                leader.kill();
            } else {
                leader.terminate();
            }
            let user = 9000 + i64::try_from(n).expect("few");
            env.telegram
                .send_and_wait(
                    bots[n % 3],
                    user,
                    "who answers now?",
                    MAX_TAKEOVER_AFTER_KILL,
                )
                .await;
            wait_until_leading(&env, &follower).await;
            let took = ended_at.elapsed();
            let max_takeover = self.max_takeover(killed);
            assert!(
                took < max_takeover,
                "takeover took {took:?}, killed: {killed}"
            );
            takeovers[usize::from(killed)].push(took);
            leader = follower;
        }
        leader.terminate();
        let exit = tokio::time::timeout(Duration::from_secs(25), leader.ended()).await;
        assert!(
            exit.is_ok(),
            "the leader does not end after SIGTERM: {}",
            leader.log()
        );
        leader = start(ends.len() + 1);
        wait_until_leading(&env, &leader).await;
        let answers = load.all_answered(Duration::from_mins(1)).await;
        let [stops, kills] = takeovers.map(|took| took.into_iter().max().unwrap_or_default());
        eprintln!(
            "{} leaders killed, {} stopped, {} messages answered, none lost; takeover at most {:.1} s after a kill, {:.1} s after a stop, {} ({})",
            self.kills,
            ends.len() - self.kills,
            answers.len(),
            kills.as_secs_f64(),
            stops.as_secs_f64(),
            lease.as_deref().unwrap_or("with the default Lease"),
            server_kind(&env)
        );
        for bot in bots {
            let counters = env.telegram.counters(bot);
            assert_eq!(
                (counters.conflicts, counters.concurrent_polls),
                (0, 0),
                "two pollers at once"
            );
        }
    }
}

async fn leader_that_is_cut_off_polls_on_until_another_takes_over(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    let kubeconfig = env.kubeconfig().await;
    let proxy = TcpProxy::for_kubeconfig(&kubeconfig).await;
    let flags = [
        "--leader-election=true",
        "--lease-namespace",
        &env.cluster.namespace,
        "--lease-seconds=4",
    ];
    let cut_off = env.start_process("cut-off", &proxy.kubeconfig, &flags);
    wait_until_leading(&env, &cut_off).await;
    let bots = create_ready_bots(&env).await;
    let load = LoadGenerator::start(&env.telegram, &bots, 10_000, Duration::from_millis(40));
    proxy.cut();
    let cut_at = Instant::now();
    // Longer than the Lease: no other operator runs, so it keeps polling.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(
        cut_off.leads().await,
        "an outage of the API server must stop no poller"
    );
    let conflicts = || {
        bots.iter()
            .map(|b| env.telegram.counters(*b).conflicts)
            .sum::<u64>()
    };
    assert_eq!(conflicts(), 0, "no other operator polls yet");
    let other = env.start_process("other", &kubeconfig, &flags);
    wait_until_synced(&env, &other).await;
    let takeover_started = Instant::now();
    wait_until_leading(&env, &other).await;
    env.cluster
        .eventually("the operator that is cut off stops leading", || async {
            (!cut_off.leads().await).then_some(())
        })
        .await;
    let handover = conflicts();
    for (user, bot) in (9000..).zip(&bots) {
        env.telegram
            .send_and_wait(*bot, user, "still there?", Duration::from_secs(20))
            .await;
    }
    let took = takeover_started.elapsed();
    assert!(took < MAX_TAKEOVER_AFTER_KILL, "takeover took {took:?}");
    proxy.restore();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(other.leads().await && !cut_off.leads().await);
    assert_eq!(conflicts(), handover, "conflicts outside of the handover");
    let answers = load.all_answered(Duration::from_secs(30)).await;
    eprintln!(
        "{} messages in {:.0} s around a cut, none lost, {handover} conflicts in the handover, which took {:.1} s ({})",
        answers.len(),
        cut_at.elapsed().as_secs_f64(),
        took.as_secs_f64(),
        server_kind(&env)
    );
}

async fn outage_of_the_api_server_delays_no_message_and_heals(cluster: Cluster) {
    let outage = Duration::from_secs(if cluster.has(ServerFeature::Embedded) {
        10
    } else {
        30
    });
    let env = TestEnv::new(cluster).await;
    let proxy = TcpProxy::for_kubeconfig(&env.kubeconfig().await).await;
    let client = Client::try_from(client_config(&proxy.kubeconfig).await).expect("a client");
    let operator = env
        .start_operator(OperatorOptions {
            client: Some(client),
            lease: Some(LeaseSettings::new(
                &env.cluster.namespace,
                "operator",
                Duration::from_secs(6),
            )),
            ..OperatorOptions::polling()
        })
        .await;
    let bots = create_ready_bots(&env).await;
    let load = LoadGenerator::start(&env.telegram, &bots, 10_000, Duration::from_millis(40));
    tokio::time::sleep(Duration::from_secs(4)).await;
    let stalls = StallMonitor::measure(env.folder());
    // For one half of the outage connections are silent, for the other half they are refused.
    proxy.cut();
    let outage_start = jiff::Timestamp::now();
    tokio::time::sleep(outage / 2).await;
    proxy.set_target(free_address());
    proxy.restore();
    tokio::time::sleep(outage / 2).await;
    proxy.set_target(proxy.server);
    // The operator recovers by itself: its watches see a new object, and it writes the status.
    let (bot, _) = env.create_working_connector("new").await;
    env.wait_until_ready("new").await;
    env.telegram
        .send_and_wait(bot, 1001, "hello", Duration::from_secs(20))
        .await;
    let answers = load.all_answered(Duration::from_secs(20)).await;
    let stalls = stalls.finish();
    let answers_since: Vec<_> = answers
        .iter()
        .filter(|a| a.sent_at >= outage_start)
        .collect();
    eprintln!(
        "{} messages, API server gone for {outage:?}: slowest answer {:?} before, {:?} during and after; the machine stalled {:?} at most ({})",
        answers.len(),
        slowest(answers.iter().filter(|a| a.sent_at < outage_start)),
        slowest(answers_since.iter().copied()),
        stalls.longest(),
        server_kind(&env)
    );
    for answer in answers_since {
        // Stalls of the machine itself during the exchange do not count against the operator.
        let limit = Duration::from_secs(1) + stalls.during(answer);
        assert!(answer.took < limit, "{answer:?}, at most {limit:?}");
    }
    for bot in bots {
        assert_eq!(env.telegram.counters(bot).conflicts, 0);
    }
    operator.shutdown().await;
}
