//! Two processes, one Lease: never two pollers, and a quick takeover.

use std::time::{Duration, Instant};

use telegram_connector_operator::controller::LeaseSettings;

use super::house::{House, Start};
use crate::cluster::Cluster;
use crate::suite::Suite;

pub fn register(suite: &mut Suite) {
    add!(
        suite,
        [Core],
        leader_that_stops_is_followed_at_once_and_never_doubled
    );
}

async fn leader_that_stops_is_followed_at_once_and_never_doubled(cluster: Cluster) {
    let house = House::new(cluster).await;
    let start = || Start {
        lease: Some(LeaseSettings::new(&house.cluster.namespace, "operator")),
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
