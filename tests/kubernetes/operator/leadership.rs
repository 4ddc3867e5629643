//! Two processes, one Lease: never two pollers, a quick takeover, and no message that waits for the API server.
//!
//! `LEADERSHIP_KILLS=20 cargo test --test kubernetes leaders_that` is the long run; a short one is part of every `cargo test`. Both use a short
//! Lease; one kill and one stop are timed with the Lease that `--lease-seconds` has by default.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use kube::Client;
use telegram_connector_operator::controller::LeaseSettings;
use telegram_connector_operator::identity::BotId;

use super::house::{House, Start, any_port, config};
use super::load::{Load, Stalls, slowest};
use super::process::Process;
use super::wire::Wire;
use crate::cluster::Cluster;
use crate::suite::{Need, Suite};

pub fn register(suite: &mut Suite) {
    add!(
        suite,
        [Core],
        leader_that_stops_is_followed_at_once_and_never_doubled
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

async fn leader_that_stops_is_followed_at_once_and_never_doubled(cluster: Cluster) {
    let house = House::new(cluster).await;
    let start = || Start {
        lease: Some(LeaseSettings::new(
            &house.cluster.namespace,
            "operator",
            Duration::from_secs(12),
        )),
        ..Start::polling()
    };
    let mut leader = house.operator(start()).await;
    let (bot, _) = house.sound_connector("a").await;
    house.ready("a").await;
    for person in 4001..4004 {
        let follower = house.operator(start()).await;
        house
            .cluster
            .eventually("the follower's registry is warm", || async {
                (!follower.registry().all().is_empty()).then_some(())
            })
            .await;
        let began = Instant::now();
        leader.shutdown().await;
        house
            .telegram
            .send_and_wait(bot, person, "who answers now?", Duration::from_secs(20))
            .await;
        let took = began.elapsed();
        assert!(took < Duration::from_secs(8), "takeover took {took:?}");
        leader = follower;
    }
    assert_eq!(
        house.telegram.counters(bot).conflicts,
        0,
        "two pollers at once"
    );
    leader.shutdown().await;
}

/// For what is printed.
fn server(house: &House) -> &'static str {
    if house.cluster.has(Need::Embedded) {
        "the embedded control plane"
    } else {
        "a real API server"
    }
}

/// An address where connections are refused.
fn nobody() -> SocketAddr {
    let listener = std::net::TcpListener::bind(any_port()).expect("a free port");
    listener.local_addr().expect("its address")
}

/// Three sound connectors, Ready as soon as somebody leads.
async fn bots(house: &House) -> Vec<BotId> {
    let mut bots = Vec::new();
    for name in ["a", "b", "c"] {
        bots.push(house.sound_connector(name).await.0);
    }
    bots
}

async fn leading(house: &House, process: &Process) {
    house
        .cluster
        .eventually("it leads", || async { process.leads().await.then_some(()) })
        .await;
}

async fn ready(house: &House, process: &Process) {
    house
        .cluster
        .eventually("its watches are synced", || async {
            process.is_ready().await.then_some(())
        })
        .await;
}

async fn leaders_that_are_killed_or_stopped_are_followed_without_loss(cluster: Cluster) {
    let kills = std::env::var("LEADERSHIP_KILLS").map_or(2, |n| n.parse().expect("a number"));
    Ends {
        kills,
        lease_seconds: Some(3),
    }
    .play(cluster)
    .await;
}

async fn takeover_is_in_time_with_the_default_lease(cluster: Cluster) {
    Ends {
        kills: 1,
        lease_seconds: None,
    }
    .play(cluster)
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
struct Ends {
    kills: usize,
    /// `--lease-seconds`, if it is given.
    lease_seconds: Option<u64>,
}

impl Ends {
    /// Whether each end is a kill.
    fn in_order(&self) -> Vec<bool> {
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
    fn most(&self, killed: bool) -> Duration {
        let lease = self.lease_seconds.map(Duration::from_secs);
        match (killed, lease) {
            (false, _) => AFTER_A_STOP,
            (true, None) => AFTER_A_KILL,
            (true, Some(lease)) => AFTER_A_KILL.min(lease + BEYOND_THE_LEASE),
        }
    }

    async fn play(&self, cluster: Cluster) {
        let house = House::new(cluster).await;
        let kubeconfig = house.kubeconfig().await;
        let lease = self.lease_seconds.map(|s| format!("--lease-seconds={s}"));
        let mut flags = vec![
            "--leader-election=true",
            "--lease-namespace",
            &house.cluster.namespace,
            "--log-level=info",
        ];
        flags.extend(lease.as_deref());
        let start = |n: usize| house.process(&format!("operator-{n}"), &kubeconfig, &flags);
        let mut leader = start(0);
        leading(&house, &leader).await;
        let bots = bots(&house).await;
        for name in ["a", "b", "c"] {
            house.ready(name).await;
        }
        let load = Load::start(&house.telegram, &bots, 10_000, Duration::from_millis(40));
        let mut took_after = [Vec::new(), Vec::new()];
        let ends = self.in_order();
        for (n, &killed) in (1..).zip(&ends) {
            let follower = start(n);
            ready(&house, &follower).await;
            let began = Instant::now();
            if killed {
                leader.kill();
            } else {
                leader.terminate();
            }
            let person = 9000 + i64::try_from(n).expect("few");
            house
                .telegram
                .send_and_wait(bots[n % 3], person, "who answers now?", AFTER_A_KILL)
                .await;
            leading(&house, &follower).await;
            let took = began.elapsed();
            let most = self.most(killed);
            assert!(took < most, "takeover took {took:?}, killed: {killed}");
            took_after[usize::from(killed)].push(took);
            leader = follower;
        }
        leader.terminate();
        let left = tokio::time::timeout(Duration::from_secs(25), leader.ended()).await;
        assert!(left.is_ok(), "it does not end: {}", leader.log());
        leader = start(ends.len() + 1);
        leading(&house, &leader).await;
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
            server(&house)
        );
        for bot in bots {
            let counted = house.telegram.counters(bot);
            assert_eq!(
                (counted.conflicts, counted.concurrent_polls),
                (0, 0),
                "two pollers at once"
            );
        }
    }
}

async fn leader_that_is_cut_off_polls_on_until_another_takes_over(cluster: Cluster) {
    let house = House::new(cluster).await;
    let kubeconfig = house.kubeconfig().await;
    let wire = Wire::to(&kubeconfig).await;
    let flags = [
        "--leader-election=true",
        "--lease-namespace",
        &house.cluster.namespace,
        "--lease-seconds=4",
    ];
    let cut_off = house.process("cut-off", &wire.kubeconfig, &flags);
    leading(&house, &cut_off).await;
    let bots = bots(&house).await;
    for name in ["a", "b", "c"] {
        house.ready(name).await;
    }
    let load = Load::start(&house.telegram, &bots, 10_000, Duration::from_millis(40));
    wire.cut();
    let alone = Instant::now();
    // Longer than its Lease lasts: nobody else is there, and it goes on.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(cut_off.leads().await, "an outage stops no poller");
    let conflicts = || {
        bots.iter()
            .map(|b| house.telegram.counters(*b).conflicts)
            .sum::<u64>()
    };
    assert_eq!(conflicts(), 0, "nobody else polls yet");
    let other = house.process("other", &kubeconfig, &flags);
    ready(&house, &other).await;
    let came = Instant::now();
    leading(&house, &other).await;
    house
        .cluster
        .eventually("the one that is cut off steps down", || async {
            (!cut_off.leads().await).then_some(())
        })
        .await;
    let handover = conflicts();
    for (person, bot) in (9000..).zip(&bots) {
        house
            .telegram
            .send_and_wait(*bot, person, "still there?", Duration::from_secs(20))
            .await;
    }
    let took = came.elapsed();
    assert!(took < AFTER_A_KILL, "takeover took {took:?}");
    wire.mend();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(other.leads().await && !cut_off.leads().await);
    assert_eq!(conflicts(), handover, "no conflict but in the handover");
    let answers = load.all_answered(Duration::from_secs(30)).await;
    eprintln!(
        "{} messages in {:.0} s around a cut, none lost, {handover} conflicts in the handover, which took {:.1} s ({})",
        answers.len(),
        alone.elapsed().as_secs_f64(),
        took.as_secs_f64(),
        server(&house)
    );
}

async fn outage_of_the_api_server_delays_no_message_and_heals(cluster: Cluster) {
    let outage = Duration::from_secs(if cluster.has(Need::Embedded) { 10 } else { 30 });
    let house = House::new(cluster).await;
    let wire = Wire::to(&house.kubeconfig().await).await;
    let client = Client::try_from(config(&wire.kubeconfig).await).expect("a client");
    let operator = house
        .operator(Start {
            client: Some(client),
            lease: Some(LeaseSettings::new(
                &house.cluster.namespace,
                "operator",
                Duration::from_secs(6),
            )),
            ..Start::polling()
        })
        .await;
    let bots = bots(&house).await;
    for name in ["a", "b", "c"] {
        house.ready(name).await;
    }
    let load = Load::start(&house.telegram, &bots, 10_000, Duration::from_millis(40));
    tokio::time::sleep(Duration::from_secs(4)).await;
    let stalls = Stalls::measure(house.folder());
    // Half of the time nothing is heard of it, and half of the time it is not there.
    wire.cut();
    let cut = jiff::Timestamp::now();
    tokio::time::sleep(outage / 2).await;
    wire.lead_to(nobody());
    wire.mend();
    tokio::time::sleep(outage / 2).await;
    wire.lead_to(wire.server);
    // Recovers by itself: a change that waited is seen, and a status is written.
    let (bot, _) = house.sound_connector("new").await;
    house.ready("new").await;
    house
        .telegram
        .send_and_wait(bot, 1001, "hello", Duration::from_secs(20))
        .await;
    let answers = load.all_answered(Duration::from_secs(20)).await;
    let stalls = stalls.all();
    let since: Vec<_> = answers.iter().filter(|a| a.said >= cut).collect();
    eprintln!(
        "{} messages, API server gone for {outage:?}: slowest answer {:?} before, {:?} during and after; the machine stalled {:?} at most ({})",
        answers.len(),
        slowest(answers.iter().filter(|a| a.said < cut)),
        slowest(since.iter().copied()),
        stalls.longest(),
        server(&house)
    );
    for answer in since {
        // What the machine held up just then, it held up for whatever reason it has.
        let most = Duration::from_secs(1) + stalls.during(answer);
        assert!(answer.took < most, "{answer:?}, at most {most:?}");
    }
    for bot in bots {
        assert_eq!(house.telegram.counters(bot).conflicts, 0);
    }
    operator.shutdown().await;
}
