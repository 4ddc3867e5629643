//! Two processes, one Lease: never two pollers, a quick takeover, and no message that waits for the API server.
//!
//! `LEADERSHIP_KILLS=20 cargo test --test kubernetes leaders_that` is the long run; a short one is part of every `cargo test`.

use std::time::{Duration, Instant};

use kube::Client;
use telegram_connector_operator::controller::LeaseSettings;
use telegram_connector_operator::identity::BotId;

use super::house::{House, Start, config};
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
            .ask(bot, person, "who answers now?", Duration::from_secs(20))
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
    let ends: usize = std::env::var("LEADERSHIP_KILLS").map_or(4, |n| n.parse().expect("a number"));
    let house = House::new(cluster).await;
    let kubeconfig = house.kubeconfig().await;
    let flags = [
        "--leader-election=true",
        "--lease-namespace",
        &house.cluster.namespace,
        "--lease-seconds=3",
        "--log-level=info",
    ];
    let start = |n: usize| house.process(&format!("operator-{n}"), &kubeconfig, &flags);
    let mut leader = start(0);
    leading(&house, &leader).await;
    let bots = bots(&house).await;
    for name in ["a", "b", "c"] {
        house.ready(name).await;
    }
    let load = Load::start(&house.telegram, &bots, 10_000, Duration::from_millis(40));
    let mut slowest_after = [Duration::ZERO; 2];
    for n in 1..=ends {
        let follower = start(n);
        ready(&house, &follower).await;
        let killed = n % 2 == 1;
        let began = Instant::now();
        if killed {
            leader.kill();
        } else {
            leader.terminate();
        }
        let person = 9000 + i64::try_from(n).expect("few");
        house
            .telegram
            .ask(
                bots[n % 3],
                person,
                "who answers now?",
                Duration::from_secs(20),
            )
            .await;
        leading(&house, &follower).await;
        let took = began.elapsed();
        let most = Duration::from_secs(if killed { 20 } else { 3 });
        assert!(took < most, "takeover took {took:?}, killed: {killed}");
        slowest_after[usize::from(killed)] = slowest_after[usize::from(killed)].max(took);
        leader = follower;
    }
    leader.terminate();
    let left = tokio::time::timeout(Duration::from_secs(25), leader.ended()).await;
    assert!(left.is_ok(), "it does not end: {}", leader.log());
    leader = start(ends + 1);
    leading(&house, &leader).await;
    let answers = load.all_answered(Duration::from_mins(1)).await;
    eprintln!(
        "{ends} leaders ended, {} messages answered, none lost; takeover at most {:.1} s after a kill, {:.1} s after a stop",
        answers.len(),
        slowest_after[1].as_secs_f64(),
        slowest_after[0].as_secs_f64()
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
    let other = house.process("other", &kubeconfig, &flags);
    leading(&house, &other).await;
    house
        .cluster
        .eventually("the one that is cut off steps down", || async {
            (!cut_off.leads().await).then_some(())
        })
        .await;
    let conflicts = || {
        bots.iter()
            .map(|b| house.telegram.counters(*b).conflicts)
            .sum::<u64>()
    };
    for (person, bot) in (9000..).zip(&bots) {
        house
            .telegram
            .ask(*bot, person, "still there?", Duration::from_secs(20))
            .await;
    }
    let handover = conflicts();
    wire.mend();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(other.leads().await && !cut_off.leads().await);
    assert_eq!(conflicts(), handover, "no conflict but in the handover");
    let answers = load.all_answered(Duration::from_secs(30)).await;
    eprintln!(
        "{} messages in {:.0} s around a cut, none lost, {handover} conflicts in the handover",
        answers.len(),
        alone.elapsed().as_secs_f64()
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
    wire.cut();
    let cut = jiff::Timestamp::now();
    tokio::time::sleep(outage).await;
    wire.mend();
    // Recovers by itself: a change that waited is seen, and a status is written.
    let (bot, _) = house.sound_connector("new").await;
    house.ready("new").await;
    house
        .telegram
        .ask(bot, 1001, "hello", Duration::from_secs(20))
        .await;
    let answers = load.all_answered(Duration::from_secs(20)).await;
    let before = slowest(answers.iter().filter(|a| a.said < cut));
    let since = slowest(answers.iter().filter(|a| a.said >= cut));
    let stalled = stalls.longest();
    eprintln!(
        "{} messages, API server gone for {outage:?}: slowest answer {before:?} before, {since:?} during and after; the machine stalled {stalled:?}",
        answers.len()
    );
    // An answer waits for several durable writes, one after the other.
    let machine = before + 4 * stalled;
    assert!(
        since < machine + Duration::from_secs(1),
        "{since:?}, {before:?} before"
    );
    for bot in bots {
        assert_eq!(house.telegram.counters(bot).conflicts, 0);
    }
    operator.shutdown().await;
}
