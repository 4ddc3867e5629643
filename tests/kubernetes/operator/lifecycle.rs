//! From creation to deletion: how much is written, what a restart does, and that a deletion always ends.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::Api;
use kube::api::DeleteParams;
use serde_json::json;
use telegram_connector_operator::api::{FINALIZER, TelegramUserList};
use telegram_connector_operator::dev::bot_api_simulator::{Fault, FaultKind};
use telegram_connector_operator::dev::control_plane::{Effect, Target, Verb};
use telegram_connector_operator::operator::Operator;
use telegram_connector_operator::store::Listing;

use super::house::{House, Start, writes};
use crate::cluster::Cluster;
use crate::suite::{Need, Suite};

pub fn register(suite: &mut Suite) {
    add!(suite, [Core, Embedded], a_restart_writes_nothing);
    add!(
        suite,
        [Core],
        a_polled_connector_costs_three_writes_in_its_life_and_rest_is_silent
    );
    add!(
        suite,
        [Core],
        a_connector_with_a_webhook_costs_five_and_rest_is_silent
    );
    add!(suite, [Core], a_finalizer_is_there_only_while_a_webhook_is);
    add!(
        suite,
        [Core],
        a_store_that_meets_none_of_its_connectors_keeps_their_sessions
    );
    add!(
        suite,
        [Core],
        a_deleted_connectors_sessions_end_also_if_nobody_watched
    );
    add!(
        suite,
        [Core],
        connector_that_was_deleted_while_nobody_ran_is_disconnected_at_the_next_start
    );
    add!(
        suite,
        [Core],
        deletion_ends_with_telegram_down_and_the_secret_gone
    );
    add!(suite, [Core], list_status_follows_its_users);
    add!(
        suite,
        [Core, Embedded],
        a_connector_that_goes_while_it_is_resolved_leaves_no_poller
    );
    add!(
        suite,
        [Core, Embedded],
        writes_that_are_refused_are_tried_ever_more_rarely_and_heal
    );
    add!(
        suite,
        [Core, Controllers],
        a_namespace_goes_with_its_connectors_while_telegram_is_down
    );
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
        .send_and_wait(bot, 1001, "still there?", Duration::from_secs(20))
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

/// Lives of connectors: made, changed, suspended, deleted. At most so many writes at each step, and silence when nothing happens.
async fn lives_with(cluster: Cluster, start: Start, steps: [u64; 4]) {
    let connectors = if cluster.has(Need::Embedded) { 40 } else { 20 };
    let house = House::new(cluster).await;
    let (client, metrics) = house.counted().await;
    let operator = house
        .operator(Start {
            client: Some(client),
            ..start
        })
        .await;
    let names: Vec<String> = (0..connectors).map(|i| format!("c{i}")).collect();
    let mut before = 0;
    let mut at_most = async |step: &str, each: u64| {
        // A status is there a moment before its write is counted.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = writes(&metrics);
        let calls = metrics.encode();
        let calls: Vec<&str> = calls
            .lines()
            .filter(|l| l.contains("kubernetes_calls"))
            .collect();
        assert!(
            now - before <= connectors * each,
            "{step}: {} writes: {calls:#?}",
            now - before
        );
        before = now;
    };
    for name in &names {
        house.sound_connector(name).await;
    }
    for name in &names {
        house.ready(name).await;
    }
    let ready = format!("connectors{{reason=\"MessagesFlow\"}} {connectors}");
    let told = operator.metrics().encode();
    assert!(told.contains(&ready), "{told}");
    at_most("created", steps[0]).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    at_most("at rest", 0).await;
    for name in &names {
        house
            .patch(name, json!({"spec": {"displayName": "changed"}}))
            .await;
    }
    for name in &names {
        house.ready(name).await;
    }
    at_most("changed", steps[1]).await;
    for name in &names {
        house.patch(name, json!({"spec": {"suspend": true}})).await;
    }
    for name in &names {
        house
            .not_ready(name, "Connected", "False", "Suspended")
            .await;
    }
    at_most("suspended", steps[2]).await;
    for name in &names {
        house.delete(name).await;
    }
    for name in &names {
        house.gone(name).await;
    }
    at_most("deleted", steps[3]).await;
    operator.shutdown().await;
}

async fn a_polled_connector_costs_three_writes_in_its_life_and_rest_is_silent(cluster: Cluster) {
    lives_with(cluster, Start::polling(), [1, 1, 1, 0]).await;
}

async fn a_connector_with_a_webhook_costs_five_and_rest_is_silent(cluster: Cluster) {
    // An old server refuses a status that drops an object (the webhook, at suspension), and takes it in two steps.
    let suspension = if cluster.has(Need::Modern) { 1 } else { 3 };
    lives_with(cluster, Start::webhook(), [2, 1, suspension, 1]).await;
}

async fn a_finalizer_is_there_only_while_a_webhook_is(cluster: Cluster) {
    let house = House::new(cluster).await;
    let finalizers = async || {
        let connector = house.connectors().get("a").await.expect("it");
        connector.metadata.finalizers.unwrap_or_default()
    };
    let operator = house.operator(Start::polling()).await;
    house.sound_connector("a").await;
    house.ready("a").await;
    assert_eq!(finalizers().await, [] as [String; 0]);
    operator.shutdown().await;
    let operator = house.operator(Start::webhook()).await;
    house
        .condition("a", "Connected", "True", "WebhookVerified")
        .await;
    assert_eq!(finalizers().await, [FINALIZER]);
    operator.shutdown().await;
    // It stays while Telegram may still have the webhook.
    let down = house.telegram.add_fault(Fault::new(FaultKind::Reset));
    let operator = house.operator(Start::polling()).await;
    house
        .condition("a", "Connected", "False", "TelegramUnreachable")
        .await;
    assert_eq!(finalizers().await, [FINALIZER]);
    house.telegram.remove_fault(down);
    house.ready("a").await;
    house
        .cluster
        .eventually("the finalizer goes with the webhook", || async {
            finalizers().await.is_empty().then_some(())
        })
        .await;
    operator.shutdown().await;
}

/// The connectors of which there are sessions, oldest first.
async fn kept(operator: &Operator) -> Vec<String> {
    let listing = Listing {
        limit: 10,
        ..Listing::default()
    };
    let sessions = operator.store().sessions(&listing).await;
    let rows = sessions.expect("the sessions").rows;
    rows.into_iter().map(|s| s.name).collect()
}

async fn a_deleted_connectors_sessions_end_also_if_nobody_watched(cluster: Cluster) {
    let house = House::new(cluster).await;
    let start = || Start {
        look_again: Duration::from_millis(300),
        ..Start::polling()
    };
    let operator = house.operator(start()).await;
    for name in ["watched", "unwatched", "stays"] {
        let (bot, _) = house.sound_connector(name).await;
        house.ready(name).await;
        house
            .telegram
            .send_and_wait(bot, 1001, "hello", Duration::from_secs(20))
            .await;
    }
    assert_eq!(kept(&operator).await, ["watched", "unwatched", "stays"]);
    house.delete("watched").await;
    house
        .cluster
        .eventually("its sessions end", || async {
            (kept(&operator).await == ["unwatched", "stays"]).then_some(())
        })
        .await;
    operator.shutdown().await;
    house.delete("unwatched").await;
    house.gone("unwatched").await;
    let operator = house.operator(start()).await;
    house
        .cluster
        .eventually("its sessions end too", || async {
            (kept(&operator).await == ["stays"]).then_some(())
        })
        .await;
    operator.shutdown().await;
}

async fn a_store_that_meets_none_of_its_connectors_keeps_their_sessions(cluster: Cluster) {
    const LOOK: Duration = Duration::from_millis(200);
    let house = House::new(cluster).await;
    let start = || Start {
        look_again: LOOK,
        ..Start::polling()
    };
    let operator = house.operator(start()).await;
    let (bot, _) = house.sound_connector("here").await;
    house.ready("here").await;
    let ask = |bot, text| {
        house
            .telegram
            .send_and_wait(bot, 1001, text, Duration::from_secs(20))
    };
    ask(bot, "hello").await;
    operator.shutdown().await;
    // As another cluster would show it: nothing of what was, and connectors of its own, which people write to.
    house.delete("here").await;
    house.gone("here").await;
    let (bot, _) = house.sound_connector("elsewhere").await;
    let operator = house.operator(start()).await;
    house.ready("elsewhere").await;
    ask(bot, "hello").await;
    // What is missed at two looks in a row goes at the second; ten go by.
    tokio::time::sleep(10 * LOOK).await;
    assert_eq!(kept(&operator).await, ["here", "elsewhere"]);
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
    house.telegram.add_fault(Fault::new(FaultKind::Hang));
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
    let began = Instant::now();
    for name in ["a", "b"] {
        house.delete(name).await;
    }
    for name in ["a", "b"] {
        house.gone(name).await;
    }
    assert!(
        began.elapsed() < Duration::from_secs(30),
        "{:?}",
        began.elapsed()
    );
    operator.shutdown().await;
}

async fn connector_that_was_deleted_while_nobody_ran_is_disconnected_at_the_next_start(
    cluster: Cluster,
) {
    let house = House::new(cluster).await;
    let operator = house.operator(Start::webhook()).await;
    let (bot, token) = house.bot();
    house.secret("bots", "support", &token).await;
    house
        .connector(
            "a",
            json!({"botTokenSecretRef": {"name": "bots", "key": "support"}}),
        )
        .await;
    house.ready("a").await;
    operator.shutdown().await;
    house.delete("a").await;
    assert_ne!(house.telegram.webhook_info(bot)["url"], json!(""));
    // The token is looked up for this alone, by the same reference as ever.
    let operator = house.operator(Start::webhook()).await;
    house.gone("a").await;
    assert_eq!(
        house.telegram.webhook_info(bot)["url"],
        json!(""),
        "withdrawn"
    );
    operator.shutdown().await;
}

async fn a_namespace_goes_with_its_connectors_while_telegram_is_down(cluster: Cluster) {
    // Roles of the namespace itself would go before its connectors (docs/upgrade.md).
    let house = House::cluster_wide(cluster).await;
    let operator = house.operator(Start::webhook()).await;
    let names: Vec<String> = (0..20).map(|i| format!("c{i}")).collect();
    for name in &names {
        house.sound_connector(name).await;
    }
    for name in &names {
        house.ready(name).await;
    }
    house.telegram.stop();
    let namespaces: Api<Namespace> = Api::all(house.cluster.client.clone());
    let name = &house.cluster.namespace;
    let began = Instant::now();
    namespaces
        .delete(name, &DeleteParams::default())
        .await
        .expect("the deletion");
    while namespaces.get_opt(name).await.expect("a look").is_some() {
        assert!(
            began.elapsed() < Duration::from_mins(1),
            "the namespace waits for its connectors"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    eprintln!(
        "a namespace with 20 connectors went in {:?} with Telegram down",
        began.elapsed()
    );
    operator.shutdown().await;
}

async fn a_connector_that_goes_while_it_is_resolved_leaves_no_poller(cluster: Cluster) {
    let house = House::new(cluster).await;
    let operator = house.operator(Start::polling()).await;
    let (_, token) = house.bot();
    house.secret("a", "token", &token).await;
    let plane = house.cluster.plane();
    let reads = || plane.requests().count(Verb::Get, "secrets");
    plane.faults().always(
        Target::any().verb(Verb::Get).resource("secrets"),
        Effect::Delay(Duration::from_secs(2)),
    );
    let before = reads();
    house.connector("a", json!({})).await;
    // Nothing shows from outside that the reconcile has begun to wait for the Secret.
    tokio::time::sleep(Duration::from_millis(500)).await;
    house.delete("a").await;
    house.gone("a").await;
    house
        .cluster
        .eventually("the Secret is read", || async {
            (reads() > before).then_some(())
        })
        .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let metrics = operator.metrics().encode();
    assert!(
        metrics.contains("telegram_connector_operator_pollers 0\n"),
        "{metrics}"
    );
    operator.shutdown().await;
}

async fn writes_that_are_refused_are_tried_ever_more_rarely_and_heal(cluster: Cluster) {
    for code in [403, 409, 500] {
        let house = House::new(cluster.clone()).await;
        let faults = house.cluster.plane().faults();
        faults.always(
            Target::any().verb(Verb::Patch).subresource("status"),
            Effect::Error(code, "injected".into()),
        );
        let requests = house.cluster.plane().requests();
        requests.clear();
        let operator = house.operator(Start::polling()).await;
        let name = format!("c{code}");
        let (bot, _) = house.sound_connector(&name).await;
        // A status that cannot be written keeps no message waiting.
        house
            .telegram
            .send_and_wait(bot, 1001, "hello", Duration::from_secs(20))
            .await;
        tokio::time::sleep(Duration::from_secs(8)).await;
        let tried = requests.count(Verb::Patch, "telegramconnectors.connectors.pupau.ai");
        // After about 1, 2 and 4 seconds, and once for each thing seen: the token, the poll, the exchange.
        assert!(
            (2..=8).contains(&tried),
            "{code}: {tried} tries in 8 s: {:?}",
            requests.counts()
        );
        faults.clear();
        house.ready(&name).await;
        operator.shutdown().await;
        house.delete(&name).await;
    }
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
