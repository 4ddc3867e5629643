//! From creation to deletion: how much is written, what a restart does, and that a deletion always ends.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::json;
use telegram_connector_operator::api::{FINALIZER, TelegramUserList};
use telegram_connector_operator::dev::control_plane::Verb;
use telegram_connector_operator::dev::telegram::{Break, Fault};

use super::house::{House, Start};
use crate::cluster::Cluster;
use crate::suite::Suite;

pub fn register(suite: &mut Suite) {
    add!(suite, [Core, Embedded], a_restart_writes_nothing);
    add!(
        suite,
        [Core, Embedded],
        writes_per_connector_are_bounded_and_rest_is_silent
    );
    add!(
        suite,
        [Core],
        deletion_ends_with_telegram_down_and_the_secret_gone
    );
    add!(suite, [Core], list_status_follows_its_users);
}

async fn a_restart_writes_nothing(cluster: Cluster) {
    let house = House::new(cluster).await;
    let operator = house.operator(Start::polling()).await;
    let (bot, _) = house.sound_connector("a").await;
    house.list("staff", json!([{"id": 1}])).await;
    house.ready("a").await;
    operator.shutdown().await;
    let before = house.connectors().get("a").await.expect("it");
    let requests = house.cluster.plane().requests();
    requests.clear();
    let operator = house.operator(Start::polling()).await;
    house
        .telegram
        .ask(bot, 1001, "still there?", Duration::from_secs(20))
        .await;
    // Longer than the patience with which a status waits for what is missing. The exchange itself is news: AssistantReady.
    house
        .condition("a", "AssistantReady", "True", "ExchangesSucceed")
        .await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let after = house.connectors().get("a").await.expect("it");
    let times = |o: &telegram_connector_operator::api::TelegramConnector| {
        o.status
            .iter()
            .flat_map(|s| s.conditions.clone())
            .filter(|c| c.type_ != "AssistantReady")
            .map(|c| (c.type_, c.last_transition_time))
            .collect::<Vec<_>>()
    };
    assert_eq!(times(&before), times(&after));
    assert_eq!(
        requests.writes(),
        1,
        "AssistantReady alone: {:?}",
        requests.counts()
    );
    operator.shutdown().await;
}

async fn writes_per_connector_are_bounded_and_rest_is_silent(cluster: Cluster) {
    const CONNECTORS: u64 = 40;
    let house = House::new(cluster).await;
    let operator = house.operator(Start::polling()).await;
    for i in 0..CONNECTORS {
        house.sound_connector(&format!("c{i}")).await;
    }
    for i in 0..CONNECTORS {
        house.ready(&format!("c{i}")).await;
    }
    let metrics = operator.metrics().encode();
    assert!(
        metrics.contains("connectors{reason=\"MessagesFlow\"} 40"),
        "{metrics}"
    );
    let requests = house.cluster.plane().requests();
    // The operator patches and creates events; the test itself only creates, patches once and deletes.
    let ours = || {
        requests.count(Verb::Patch, "telegramconnectors.connectors.pupau.ai")
            + requests.count(Verb::Create, "events.events.k8s.io")
    };
    assert_eq!(
        ours(),
        CONNECTORS * 2,
        "finalizer and status: {:?}",
        requests.counts()
    );
    requests.clear();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(requests.writes(), 0, "{:?}", requests.counts());
    for i in 0..CONNECTORS {
        let name = format!("c{i}");
        house
            .patch(&name, json!({"spec": {"displayName": "changed"}}))
            .await;
    }
    for i in 0..CONNECTORS {
        house.ready(&format!("c{i}")).await;
    }
    assert_eq!(
        ours(),
        CONNECTORS * (1 + 1),
        "the change and one status: {:?}",
        requests.counts()
    );
    requests.clear();
    for i in 0..CONNECTORS {
        house.delete(&format!("c{i}")).await;
    }
    for i in 0..CONNECTORS {
        house.gone(&format!("c{i}")).await;
    }
    assert_eq!(ours(), CONNECTORS, "the finalizer: {:?}", requests.counts());
    operator.shutdown().await;
}

async fn deletion_ends_with_telegram_down_and_the_secret_gone(cluster: Cluster) {
    let house = House::new(cluster).await;
    let operator = house.operator(Start::webhook()).await;
    for name in ["a", "b", "c"] {
        house.sound_connector(name).await;
        house.ready(name).await;
        let finalizers = house
            .connectors()
            .get(name)
            .await
            .expect("it")
            .metadata
            .finalizers;
        assert_eq!(finalizers, Some(vec![FINALIZER.to_owned()]));
    }
    house.telegram.add_fault(Fault::new(Break::Hang));
    let secrets: Api<Secret> = house.cluster.api();
    secrets
        .delete("b", &DeleteParams::default())
        .await
        .expect("the Secret goes");
    house
        .patch(
            "c",
            json!({"metadata": {"annotations": {"connectors.pupau.ai/skip-disconnect": "true"}}}),
        )
        .await;
    let began = Instant::now();
    house.delete("c").await;
    house.gone("c").await;
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "skip-disconnect does not wait for Telegram"
    );
    for name in ["a", "b"] {
        house.delete(name).await;
    }
    for name in ["a", "b"] {
        house.gone(name).await;
    }
    assert!(
        began.elapsed() < Duration::from_secs(35),
        "{:?}",
        began.elapsed()
    );
    operator.shutdown().await;
}

async fn list_status_follows_its_users(cluster: Cluster) {
    let house = House::new(cluster).await;
    let operator = house.operator(Start::polling()).await;
    house
        .list("staff", json!([{"id": 1}, {"username": "ann_example"}]))
        .await;
    let lists: Api<TelegramUserList> = house.cluster.api();
    let status = async |used_by: i32| {
        house
            .cluster
            .eventually("the list's status", || async {
                let status = lists.get("staff").await.expect("the list").status?;
                (status.used_by == Some(used_by)).then_some(status)
            })
            .await
    };
    assert_eq!(status(0).await.users, Some(2));
    let (_, token) = house.bot();
    house.secret("a", "token", &token).await;
    house
        .connector("a", json!({"access": {"level": "Company", "companyUsers": {"listRefs": [{"name": "staff"}]}}}))
        .await;
    status(1).await;
    house.ready("a").await;
    house.delete("a").await;
    status(0).await;
    operator.shutdown().await;
}
