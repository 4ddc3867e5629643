//! Two processes, one Lease: never two pollers, a quick takeover, and no message that waits for the API server.
//!
//! `LEADERSHIP_KILLS=20 cargo test --test kubernetes leaders_that` is the long run; a short one is part of every `cargo test`. Both use a short
//! Lease; one kill and one stop are timed with the Lease that `--lease-seconds` has by default.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use kube::Client;
use telegram_connector_operator::controller::LeaseSettings;
use telegram_connector_operator::identity::BotId;

use super::load_generator::{LoadGenerator, StallMonitor, slowest};
use super::operator_process::OperatorProcess;
use super::tcp_proxy::TcpProxy;
use super::test_env::{OperatorOptions, TestEnv, any_port, client_config};
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
    let start = || OperatorOptions {
        lease: Some(LeaseSettings::new(
            &env.cluster.namespace,
            "operator",
            Duration::from_secs(12),
        )),
        ..OperatorOptions::polling()
    };
    let mut leader = env.start_operator(start()).await;
    let (bot, _) = env.create_working_connector("a").await;
    env.wait_until_ready("a").await;
    for person in 4001..4004 {
        let follower = env.start_operator(start()).await;
        env.cluster
            .eventually("the follower's registry is warm", || async {
                (!follower.registry().all().is_empty()).then_some(())
            })
            .await;
        let began = Instant::now();
        leader.shutdown().await;
        env.telegram
            .send_and_wait(bot, person, "who answers now?", Duration::from_secs(20))
            .await;
        let took = began.elapsed();
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

/// For what is printed.
fn server(env: &TestEnv) -> &'static str {
    if env.cluster.has(ServerFeature::Embedded) {
        "the embedded control plane"
    } else {
        "a real API server"
    }
}

/// An address where connections are refused.
fn refused_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind(any_port()).expect("a free port");
    listener.local_addr().expect("its address")
}

/// Three sound connectors, Ready as soon as somebody leads.
async fn create_bots(env: &TestEnv) -> Vec<BotId> {
    let mut bots = Vec::new();
    for name in ["a", "b", "c"] {
        bots.push(env.create_working_connector(name).await.0);
    }
    bots
}

async fn wait_until_leading(env: &TestEnv, process: &OperatorProcess) {
    env.cluster
        .eventually("it leads", || async { process.leads().await.then_some(()) })
        .await;
}

async fn wait_until_synced(env: &TestEnv, process: &OperatorProcess) {
    env.cluster
        .eventually("its watches are synced", || async {
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

/// After so many kills a leader is stopped, and at the end one more.
const STOP_AFTER: usize = 4;
/// How long after a kill another one must answer, and after a clean stop.
const AFTER_A_KILL: Duration = Duration::from_secs(20);
const AFTER_A_STOP: Duration = Duration::from_secs(3);
/// What a takeover may take beyond the Lease that must first run out.
const BEYOND_THE_LEASE: Duration = Duration::from_secs(8);

/// Leaders that end one after the other under load.
struct LeaderFailures {
    kills: usize,
    /// `--lease-seconds`, if it is given.
    lease_seconds: Option<u64>,
}

impl LeaderFailures {
    /// Whether each end is a kill.
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

    /// The longest takeover: never beyond what is promised, and with a short Lease sooner.
    fn max_takeover(&self, killed: bool) -> Duration {
        let lease = self.lease_seconds.map(Duration::from_secs);
        match (killed, lease) {
            (false, _) => AFTER_A_STOP,
            (true, None) => AFTER_A_KILL,
            (true, Some(lease)) => AFTER_A_KILL.min(lease + BEYOND_THE_LEASE),
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
        let bots = create_bots(&env).await;
        for name in ["a", "b", "c"] {
            env.wait_until_ready(name).await;
        }
        let load = LoadGenerator::start(&env.telegram, &bots, 10_000, Duration::from_millis(40));
        let mut took_after = [Vec::new(), Vec::new()];
        let ends = self.sequence();
        for (n, &killed) in (1..).zip(&ends) {
            let follower = start(n);
            wait_until_synced(&env, &follower).await;
            let began = Instant::now();
            if killed {
                leader.kill();
            } else {
                leader.terminate();
            }
            let person = 9000 + i64::try_from(n).expect("few");
            env.telegram
                .send_and_wait(bots[n % 3], person, "who answers now?", AFTER_A_KILL)
                .await;
            wait_until_leading(&env, &follower).await;
            let took = began.elapsed();
            let most = self.max_takeover(killed);
            assert!(took < most, "takeover took {took:?}, killed: {killed}");
            took_after[usize::from(killed)].push(took);
            leader = follower;
        }
        leader.terminate();
        let left = tokio::time::timeout(Duration::from_secs(25), leader.ended()).await;
        assert!(left.is_ok(), "it does not end: {}", leader.log());
        leader = start(ends.len() + 1);
        wait_until_leading(&env, &leader).await;
        let answers = load.all_answered(Duration::from_mins(1)).await;
        let [stops, kills] = took_after.map(|took| took.into_iter().max().unwrap_or_default());
        eprintln!(
            "{} leaders killed, {} stopped, {} messages answered, none lost; takeover at most {:.1} s after a kill, {:.1} s after a stop, {} ({})",
            self.kills,
            ends.len() - self.kills,
            answers.len(),
            kills.as_secs_f64(),
            stops.as_secs_f64(),
            lease.as_deref().unwrap_or("with the default Lease"),
            server(&env)
        );
        for bot in bots {
            let counted = env.telegram.counters(bot);
            assert_eq!(
                (counted.conflicts, counted.concurrent_polls),
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
    let bots = create_bots(&env).await;
    for name in ["a", "b", "c"] {
        env.wait_until_ready(name).await;
    }
    let load = LoadGenerator::start(&env.telegram, &bots, 10_000, Duration::from_millis(40));
    proxy.cut();
    let alone = Instant::now();
    // Longer than its Lease lasts: nobody else is there, and it goes on.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(cut_off.leads().await, "an outage stops no poller");
    let conflicts = || {
        bots.iter()
            .map(|b| env.telegram.counters(*b).conflicts)
            .sum::<u64>()
    };
    assert_eq!(conflicts(), 0, "nobody else polls yet");
    let other = env.start_process("other", &kubeconfig, &flags);
    wait_until_synced(&env, &other).await;
    let came = Instant::now();
    wait_until_leading(&env, &other).await;
    env.cluster
        .eventually("the one that is cut off steps down", || async {
            (!cut_off.leads().await).then_some(())
        })
        .await;
    let handover = conflicts();
    for (person, bot) in (9000..).zip(&bots) {
        env.telegram
            .send_and_wait(*bot, person, "still there?", Duration::from_secs(20))
            .await;
    }
    let took = came.elapsed();
    assert!(took < AFTER_A_KILL, "takeover took {took:?}");
    proxy.restore();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(other.leads().await && !cut_off.leads().await);
    assert_eq!(conflicts(), handover, "no conflict but in the handover");
    let answers = load.all_answered(Duration::from_secs(30)).await;
    eprintln!(
        "{} messages in {:.0} s around a cut, none lost, {handover} conflicts in the handover, which took {:.1} s ({})",
        answers.len(),
        alone.elapsed().as_secs_f64(),
        took.as_secs_f64(),
        server(&env)
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
    let bots = create_bots(&env).await;
    for name in ["a", "b", "c"] {
        env.wait_until_ready(name).await;
    }
    let load = LoadGenerator::start(&env.telegram, &bots, 10_000, Duration::from_millis(40));
    tokio::time::sleep(Duration::from_secs(4)).await;
    let stalls = StallMonitor::measure(env.folder());
    // Half of the time nothing is heard of it, and half of the time it is not there.
    proxy.cut();
    let cut = jiff::Timestamp::now();
    tokio::time::sleep(outage / 2).await;
    proxy.set_target(refused_address());
    proxy.restore();
    tokio::time::sleep(outage / 2).await;
    proxy.set_target(proxy.server);
    // Recovers by itself: a change that waited is seen, and a status is written.
    let (bot, _) = env.create_working_connector("new").await;
    env.wait_until_ready("new").await;
    env.telegram
        .send_and_wait(bot, 1001, "hello", Duration::from_secs(20))
        .await;
    let answers = load.all_answered(Duration::from_secs(20)).await;
    let stalls = stalls.finish();
    let since: Vec<_> = answers.iter().filter(|a| a.sent_at >= cut).collect();
    eprintln!(
        "{} messages, API server gone for {outage:?}: slowest answer {:?} before, {:?} during and after; the machine stalled {:?} at most ({})",
        answers.len(),
        slowest(answers.iter().filter(|a| a.sent_at < cut)),
        slowest(since.iter().copied()),
        stalls.longest(),
        server(&env)
    );
    for answer in since {
        // What the machine held up just then, it held up for whatever reason it has.
        let most = Duration::from_secs(1) + stalls.during(answer);
        assert!(answer.took < most, "{answer:?}, at most {most:?}");
    }
    for bot in bots {
        assert_eq!(env.telegram.counters(bot).conflicts, 0);
    }
    operator.shutdown().await;
}
