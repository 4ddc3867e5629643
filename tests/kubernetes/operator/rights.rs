//! The chart's rights, no more and no less: one life of connectors uses every one of them, and each is missed when it is taken away.

use std::time::Duration;

use futures::future::join_all;
use serde_json::json;
use telegram_connector_operator::controller::LeaseSettings;

use super::account::{Account, Right, Scope, granted};
use super::house::{House, Start};
use crate::cluster::{Cluster, PATIENCE};
use crate::suite::Suite;

pub fn register(suite: &mut Suite) {
    add!(
        suite,
        [Core, Rbac],
        every_right_of_the_chart_is_used_and_no_other_is_wanted
    );
    add!(
        suite,
        [Core, Rbac],
        any_right_of_the_chart_is_missed_when_it_is_taken_away
    );
}

/// Everything that needs a right: a connector with a list, a key and a Lease, polled; and one by webhook, which has a finalizer.
async fn life(house: &House) {
    let lease = LeaseSettings::new(&house.cluster.namespace, "operator", Duration::from_secs(6));
    let operator = house
        .operator(Start {
            lease: Some(lease),
            ..Start::polling()
        })
        .await;
    house.list("staff", json!([{"id": 1001}])).await;
    let (bot, token) = house.bot();
    house.secret("polled", "token", &token).await;
    let staff =
        json!({"access": {"level": "Company", "companyUsers": {"listRefs": [{"name": "staff"}]}}});
    house.connector("polled", staff).await;
    house.ready("polled").await;
    house
        .telegram
        .send_and_wait(bot, 1001, "hello", Duration::from_secs(20))
        .await;
    // The Lease is made at first and then renewed; the Secret's end is noticed by a watch, and told by an event.
    house.delete_secret("polled").await;
    house
        .not_ready("polled", "TokenValid", "False", "SecretNotFound")
        .await;
    house.delete("polled").await;
    house.gone("polled").await;
    let calls = house.account.as_ref().expect("an account").calls.clone();
    house
        .cluster
        .eventually("the Lease is renewed", || async {
            let renewed = |right: &Right| right.resource == "leases" && right.verb == "update";
            calls.allowed().iter().any(renewed).then_some(())
        })
        .await;
    operator.shutdown().await;

    let operator = house.operator(Start::webhook()).await;
    house.sound_connector("called").await;
    house.ready("called").await;
    house.delete("called").await;
    house.gone("called").await;
    operator.shutdown().await;
}

async fn every_right_of_the_chart_is_used_and_no_other_is_wanted(cluster: Cluster) {
    let house = House::new(cluster).await;
    life(&house).await;
    let calls = &house.account.as_ref().expect("an account").calls;
    assert_eq!(calls.allowed(), granted());
}

async fn any_right_of_the_chart_is_missed_when_it_is_taken_away(cluster: Cluster) {
    let all = granted();
    let lives = all.iter().enumerate().map(|(number, lost)| {
        let (cluster, mut left) = (cluster.clone(), all.clone());
        left.remove(lost);
        async move {
            let own = Cluster {
                namespace: format!("{}-{number}", cluster.namespace),
                ..cluster
            };
            own.prepare().await;
            let account = Account::new(&own, &left, Scope::Namespace).await;
            let house = House::with_account(own.clone(), account.clone()).await;
            let missed = async {
                while !account.calls.forbidden().contains(lost) {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            let was_missed = tokio::select! {
                () = missed => true,
                () = life(&house) => false,
                () = tokio::time::sleep(PATIENCE) => false,
            };
            own.clean_up().await;
            (!was_missed).then(|| lost.to_string())
        }
    });
    let never_missed: Vec<String> = join_all(lives).await.into_iter().flatten().collect();
    assert!(
        never_missed.is_empty(),
        "nothing misses these, so the chart must not grant them: {never_missed:#?}"
    );
}
