//! From creation to deletion: how much is written, what a restart does, and that a deletion always ends.

use std::time::{Duration, Instant};

use bot_api_simulator::{Fault, FaultKind};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::Api;
use kube::api::DeleteParams;
use serde_json::json;
use telegram_connector_operator::api::{FINALIZER, TelegramUserList};
use telegram_connector_operator::dev::control_plane::{FaultEffect, FaultTarget, Verb};
use telegram_connector_operator::operator::Operator;
use telegram_connector_operator::store::Listing;

use super::test_env::{OperatorOptions, TestEnv, count_writes};
use crate::cluster::Cluster;
use crate::suite::{ServerFeature, Suite};

pub fn register(suite: &mut Suite) {
    add!(suite, [Core, Embedded], restart_writes_nothing);
    add!(
        suite,
        [Core],
        polled_connector_costs_three_writes_and_idles_silently
    );
    add!(
        suite,
        [Core],
        webhook_connector_costs_five_writes_and_idles_silently
    );
    add!(suite, [Core], finalizer_exists_only_while_webhook_does);
    add!(
        suite,
        [Core],
        store_without_known_connectors_keeps_their_sessions
    );
    add!(
        suite,
        [Core],
        sessions_end_for_connectors_deleted_while_down
    );
    add!(
        suite,
        [Core],
        connector_deleted_while_down_is_disconnected_at_startup
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
        connector_deleted_during_reconcile_leaves_no_poller
    );
    add!(
        suite,
        [Core, Embedded],
        refused_writes_are_retried_with_backoff_and_recover
    );
    add!(
        suite,
        [Core, Controllers],
        namespace_deletion_ends_while_telegram_is_down
    );
}

async fn restart_writes_nothing(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    let operator = env.start_operator(OperatorOptions::polling()).await;
    let (bot, _) = env.create_working_connector("a").await;
    env.create_user_list("staff", json!([{"id": 1}])).await;
    env.wait_until_ready("a").await;
    operator.shutdown().await;
    let before = env.connectors().get("a").await.expect("it");
    let requests = env.cluster.control_plane().request_log();
    requests.clear();
    let operator = env.start_operator(OperatorOptions::polling()).await;
    env.telegram
        .send_and_wait(bot, 1001, "still there?", Duration::from_secs(20))
        .await;
    // Longer than the patience with which a status waits for what is missing. The exchange itself is news: AssistantReady.
    env.wait_for_condition("a", "AssistantReady", "True", "ExchangesSucceed")
        .await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let after = env.connectors().get("a").await.expect("it");
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
        requests.write_count(),
        1,
        "AssistantReady alone: {:?}",
        requests.counts()
    );
    operator.shutdown().await;
}

/// Lives of connectors: made, changed, suspended, deleted. At most so many writes at each step, and silence when nothing happens.
async fn assert_write_budget(cluster: Cluster, start: OperatorOptions, steps: [u64; 4]) {
    let connectors = if cluster.has(ServerFeature::Embedded) {
        40
    } else {
        20
    };
    let env = TestEnv::new(cluster).await;
    let (client, metrics) = env.counting_client().await;
    let operator = env
        .start_operator(OperatorOptions {
            client: Some(client),
            ..start
        })
        .await;
    let names: Vec<String> = (0..connectors).map(|i| format!("c{i}")).collect();
    let mut before = 0;
    let mut at_most = async |step: &str, each: u64| {
        // A status is there a moment before its write is counted.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = count_writes(&metrics);
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
        env.create_working_connector(name).await;
    }
    for name in &names {
        env.wait_until_ready(name).await;
    }
    let ready = format!("connectors{{reason=\"MessagesFlow\"}} {connectors}");
    let told = operator.metrics().encode();
    assert!(told.contains(&ready), "{told}");
    at_most("created", steps[0]).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    at_most("at rest", 0).await;
    for name in &names {
        env.patch_connector(name, json!({"spec": {"displayName": "changed"}}))
            .await;
    }
    for name in &names {
        env.wait_until_ready(name).await;
    }
    at_most("changed", steps[1]).await;
    for name in &names {
        env.patch_connector(name, json!({"spec": {"suspend": true}}))
            .await;
    }
    for name in &names {
        env.wait_until_not_ready(name, "Connected", "False", "Suspended")
            .await;
    }
    at_most("suspended", steps[2]).await;
    for name in &names {
        env.delete_connector(name).await;
    }
    for name in &names {
        env.wait_until_gone(name).await;
    }
    at_most("deleted", steps[3]).await;
    operator.shutdown().await;
}

async fn polled_connector_costs_three_writes_and_idles_silently(cluster: Cluster) {
    assert_write_budget(cluster, OperatorOptions::polling(), [1, 1, 1, 0]).await;
}

async fn webhook_connector_costs_five_writes_and_idles_silently(cluster: Cluster) {
    // An old server refuses a status that drops an object (the webhook, at suspension), and takes it in two steps.
    let suspension = if cluster.has(ServerFeature::Kubernetes130) {
        1
    } else {
        3
    };
    assert_write_budget(cluster, OperatorOptions::webhook(), [2, 1, suspension, 1]).await;
}

async fn finalizer_exists_only_while_webhook_does(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    let finalizers = async || {
        let connector = env.connectors().get("a").await.expect("it");
        connector.metadata.finalizers.unwrap_or_default()
    };
    let operator = env.start_operator(OperatorOptions::polling()).await;
    env.create_working_connector("a").await;
    env.wait_until_ready("a").await;
    assert_eq!(finalizers().await, [] as [String; 0]);
    operator.shutdown().await;
    let operator = env.start_operator(OperatorOptions::webhook()).await;
    env.wait_for_condition("a", "Connected", "True", "WebhookVerified")
        .await;
    assert_eq!(finalizers().await, [FINALIZER]);
    operator.shutdown().await;
    // It stays while Telegram may still have the webhook.
    let down = env.telegram.add_fault(Fault::new(FaultKind::Reset));
    let operator = env.start_operator(OperatorOptions::polling()).await;
    env.wait_for_condition("a", "Connected", "False", "TelegramUnreachable")
        .await;
    assert_eq!(finalizers().await, [FINALIZER]);
    env.telegram.remove_fault(down);
    env.wait_until_ready("a").await;
    env.cluster
        .eventually("the finalizer goes with the webhook", || async {
            finalizers().await.is_empty().then_some(())
        })
        .await;
    operator.shutdown().await;
}

/// The connectors of which there are sessions, oldest first.
async fn connectors_with_sessions(operator: &Operator) -> Vec<String> {
    let listing = Listing {
        limit: 10,
        ..Listing::default()
    };
    let sessions = operator.store().sessions(&listing).await;
    let rows = sessions.expect("the sessions").rows;
    rows.into_iter().map(|s| s.name).collect()
}

async fn sessions_end_for_connectors_deleted_while_down(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    let start = || OperatorOptions {
        recheck_interval: Duration::from_millis(300),
        ..OperatorOptions::polling()
    };
    let operator = env.start_operator(start()).await;
    for name in ["watched", "unwatched", "stays"] {
        let (bot, _) = env.create_working_connector(name).await;
        env.wait_until_ready(name).await;
        env.telegram
            .send_and_wait(bot, 1001, "hello", Duration::from_secs(20))
            .await;
    }
    assert_eq!(
        connectors_with_sessions(&operator).await,
        ["watched", "unwatched", "stays"]
    );
    env.delete_connector("watched").await;
    env.cluster
        .eventually("its sessions end", || async {
            (connectors_with_sessions(&operator).await == ["unwatched", "stays"]).then_some(())
        })
        .await;
    operator.shutdown().await;
    env.delete_connector("unwatched").await;
    env.wait_until_gone("unwatched").await;
    let operator = env.start_operator(start()).await;
    env.cluster
        .eventually("its sessions end too", || async {
            (connectors_with_sessions(&operator).await == ["stays"]).then_some(())
        })
        .await;
    operator.shutdown().await;
}

async fn store_without_known_connectors_keeps_their_sessions(cluster: Cluster) {
    const RECHECK_INTERVAL: Duration = Duration::from_millis(200);
    let env = TestEnv::new(cluster).await;
    let start = || OperatorOptions {
        recheck_interval: RECHECK_INTERVAL,
        ..OperatorOptions::polling()
    };
    let operator = env.start_operator(start()).await;
    let (bot, _) = env.create_working_connector("here").await;
    env.wait_until_ready("here").await;
    let send_and_wait = |bot, text| {
        env.telegram
            .send_and_wait(bot, 1001, text, Duration::from_secs(20))
    };
    send_and_wait(bot, "hello").await;
    operator.shutdown().await;
    // As another cluster would show it: nothing of what was, and connectors of its own, which people write to.
    env.delete_connector("here").await;
    env.wait_until_gone("here").await;
    let (bot, _) = env.create_working_connector("elsewhere").await;
    let operator = env.start_operator(start()).await;
    env.wait_until_ready("elsewhere").await;
    send_and_wait(bot, "hello").await;
    // What is missed at two looks in a row goes at the second; ten go by.
    tokio::time::sleep(10 * RECHECK_INTERVAL).await;
    assert_eq!(
        connectors_with_sessions(&operator).await,
        ["here", "elsewhere"]
    );
    operator.shutdown().await;
}

async fn deletion_ends_with_telegram_down_and_the_secret_gone(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    let operator = env.start_operator(OperatorOptions::webhook()).await;
    for name in ["a", "b", "c"] {
        env.create_working_connector(name).await;
        env.wait_until_ready(name).await;
        let finalizers = env
            .connectors()
            .get(name)
            .await
            .expect("it")
            .metadata
            .finalizers;
        assert_eq!(finalizers, Some(vec![FINALIZER.to_owned()]));
    }
    env.telegram.add_fault(Fault::new(FaultKind::Hang));
    let secrets: Api<Secret> = env.cluster.api();
    secrets
        .delete("b", &DeleteParams::default())
        .await
        .expect("the Secret goes");
    env.patch_connector(
        "c",
        json!({"metadata": {"annotations": {"connectors.pupau.ai/skip-disconnect": "true"}}}),
    )
    .await;
    let began = Instant::now();
    env.delete_connector("c").await;
    env.wait_until_gone("c").await;
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "skip-disconnect does not wait for Telegram"
    );
    let began = Instant::now();
    for name in ["a", "b"] {
        env.delete_connector(name).await;
    }
    for name in ["a", "b"] {
        env.wait_until_gone(name).await;
    }
    assert!(
        began.elapsed() < Duration::from_secs(30),
        "{:?}",
        began.elapsed()
    );
    operator.shutdown().await;
}

async fn connector_deleted_while_down_is_disconnected_at_startup(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    let operator = env.start_operator(OperatorOptions::webhook()).await;
    let (bot, token) = env.add_bot();
    env.set_secret("bots", "support", &token).await;
    env.create_connector(
        "a",
        json!({"botTokenSecretRef": {"name": "bots", "key": "support"}}),
    )
    .await;
    env.wait_until_ready("a").await;
    operator.shutdown().await;
    env.delete_connector("a").await;
    assert_ne!(env.telegram.webhook_info(bot)["url"], json!(""));
    // The token is looked up for this alone, by the same reference as ever.
    let operator = env.start_operator(OperatorOptions::webhook()).await;
    env.wait_until_gone("a").await;
    assert_eq!(
        env.telegram.webhook_info(bot)["url"],
        json!(""),
        "withdrawn"
    );
    operator.shutdown().await;
}

async fn namespace_deletion_ends_while_telegram_is_down(cluster: Cluster) {
    // Roles of the namespace itself would go before its connectors (docs/upgrade.md).
    let env = TestEnv::cluster_wide(cluster).await;
    let operator = env.start_operator(OperatorOptions::webhook()).await;
    let names: Vec<String> = (0..20).map(|i| format!("c{i}")).collect();
    for name in &names {
        env.create_working_connector(name).await;
    }
    for name in &names {
        env.wait_until_ready(name).await;
    }
    env.telegram.stop();
    let namespaces: Api<Namespace> = Api::all(env.cluster.client.clone());
    let name = &env.cluster.namespace;
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

async fn connector_deleted_during_reconcile_leaves_no_poller(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    let operator = env.start_operator(OperatorOptions::polling()).await;
    let (_, token) = env.add_bot();
    env.set_secret("a", "token", &token).await;
    let control_plane = env.cluster.control_plane();
    let reads = || control_plane.request_log().count(Verb::Get, "secrets");
    control_plane.faults().inject(
        FaultTarget::any().verb(Verb::Get).resource("secrets"),
        FaultEffect::Delay(Duration::from_secs(2)),
    );
    let before = reads();
    env.create_connector("a", json!({})).await;
    // Nothing shows from outside that the reconcile has begun to wait for the Secret.
    tokio::time::sleep(Duration::from_millis(500)).await;
    env.delete_connector("a").await;
    env.wait_until_gone("a").await;
    env.cluster
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

async fn refused_writes_are_retried_with_backoff_and_recover(cluster: Cluster) {
    for code in [403, 409, 500] {
        let env = TestEnv::new(cluster.clone()).await;
        let faults = env.cluster.control_plane().faults();
        faults.inject(
            FaultTarget::any().verb(Verb::Patch).subresource("status"),
            FaultEffect::Error(code, "injected".into()),
        );
        let requests = env.cluster.control_plane().request_log();
        requests.clear();
        let operator = env.start_operator(OperatorOptions::polling()).await;
        let name = format!("c{code}");
        let (bot, _) = env.create_working_connector(&name).await;
        // A status that cannot be written keeps no message waiting.
        env.telegram
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
        env.wait_until_ready(&name).await;
        operator.shutdown().await;
        env.delete_connector(&name).await;
    }
}

async fn list_status_follows_its_users(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    let operator = env.start_operator(OperatorOptions::polling()).await;
    env.create_user_list("staff", json!([{"id": 1}, {"username": "ann_example"}]))
        .await;
    let lists: Api<TelegramUserList> = env.cluster.api();
    let status = async |used_by: i32| {
        env.cluster
            .eventually("the list's status", || async {
                let status = lists.get("staff").await.expect("the list").status?;
                (status.used_by == Some(used_by)).then_some(status)
            })
            .await
    };
    assert_eq!(status(0).await.users, Some(2));
    let (_, token) = env.add_bot();
    env.set_secret("a", "token", &token).await;
    env.create_connector(
        "a",
        json!({"access": {"level": "Company", "companyUsers": {"listRefs": [{"name": "staff"}]}}}),
    )
    .await;
    status(1).await;
    env.wait_until_ready("a").await;
    env.delete_connector("a").await;
    status(0).await;
    operator.shutdown().await;
}
