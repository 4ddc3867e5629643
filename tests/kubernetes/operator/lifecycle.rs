//! The life of a connector from creation to deletion: the number of writes at each step, restarts, and deletions that must end
//! whatever fails.

use std::time::{Duration, Instant};

use bot_api_simulator::{Fault, FaultKind};
use embedded_control_plane::{FaultEffect, FaultTarget, Verb};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::Api;
use kube::api::DeleteParams;
use serde_json::json;
use telegram_connector_operator::api::{FINALIZER, TelegramConnector, TelegramUserList};

use super::test_env::{OperatorOptions, TestEnv, count_writes};
use crate::cluster::Cluster;
use crate::suite::{ServerFeature, Suite};

pub fn register(suite: &mut Suite) {
    add!(suite, [Core, Embedded], restart_writes_nothing);
    add!(
        suite,
        [Core, Embedded],
        restart_with_user_lists_writes_nothing
    );
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
    let before = env.connectors().get("a").await.expect("the connector");
    let requests = env.cluster.control_plane().request_log();
    requests.clear();
    let operator = env.start_operator(OperatorOptions::polling()).await;
    env.telegram
        .send_and_wait(bot, 1001, "still there?", Duration::from_secs(20))
        .await;
    // Longer than an incomplete status is held back. The exchange itself changes AssistantReady.
    env.wait_for_condition("a", "AssistantReady", "True", "ExchangesSucceed")
        .await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let after = env.connectors().get("a").await.expect("the connector");
    let transition_times = |connector: &TelegramConnector| {
        connector
            .status
            .iter()
            .flat_map(|s| s.conditions.clone())
            .filter(|c| c.type_ != "AssistantReady")
            .map(|c| (c.type_, c.last_transition_time))
            .collect::<Vec<_>>()
    };
    assert_eq!(transition_times(&before), transition_times(&after));
    assert_eq!(
        requests.write_count(),
        1,
        "AssistantReady alone: {:?}",
        requests.counts()
    );
    operator.shutdown().await;
}

async fn restart_with_user_lists_writes_nothing(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    let operator = env.start_operator(OperatorOptions::polling()).await;
    let references = [
        ("a", vec!["staff"]),
        ("b", vec!["staff", "guests"]),
        ("c", vec![]),
    ];
    for (list, user) in [("staff", 1001), ("guests", 1002)] {
        env.create_user_list(list, json!([{"id": user}])).await;
    }
    for (name, lists) in &references {
        let refs: Vec<_> = lists.iter().map(|list| json!({"name": list})).collect();
        let access = if refs.is_empty() {
            json!({"level": "Open"})
        } else {
            json!({"level": "Company", "companyUsers": {"listRefs": refs}})
        };
        env.create_connector_with_bot(name, json!({"access": access}))
            .await;
        env.wait_until_ready(name).await;
    }
    let lists: Api<TelegramUserList> = env.cluster.api();
    let versions = async || {
        let mut versions = Vec::new();
        for name in ["staff", "guests"] {
            let list = lists.get(name).await.expect("the list");
            let used_by = list.status.expect("a status").used_by;
            versions.push((used_by, list.metadata.resource_version));
        }
        versions
    };
    env.cluster
        .eventually("usedBy of both lists", || async {
            let used_by: Vec<_> = versions().await.into_iter().map(|v| v.0).collect();
            (used_by == [Some(2), Some(1)]).then_some(())
        })
        .await;
    operator.shutdown().await;

    let before = versions().await;
    // The lists come first, as they mostly do, and the connectors that refer to them later.
    env.cluster.control_plane().faults().inject(
        FaultTarget::any()
            .verb(Verb::List)
            .resource("telegramconnectors.connectors.pupau.ai"),
        FaultEffect::Delay(Duration::from_millis(500)),
    );
    let requests = env.cluster.control_plane().request_log();
    requests.clear();
    let operator = env.start_operator(OperatorOptions::polling()).await;
    env.cluster
        .eventually("three pollers", || async {
            let metrics = operator.metrics().encode();
            metrics
                .contains("telegram_connector_operator_pollers 3\n")
                .then_some(())
        })
        .await;
    // Longer than an incomplete status is held back.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(requests.write_count(), 0, "{:?}", requests.counts());
    assert_eq!(versions().await, before);
    operator.shutdown().await;
}

/// Creates, changes, suspends and deletes connectors. Each step makes at most `budgets[step]` writes per connector, and an idle operator
/// writes nothing.
async fn assert_write_budget(cluster: Cluster, options: OperatorOptions, budgets: [u64; 4]) {
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
            ..options
        })
        .await;
    let names: Vec<String> = (0..connectors).map(|i| format!("c{i}")).collect();
    let mut before = 0;
    let mut assert_writes = async |step: &str, budget: u64| {
        // The status is visible a moment before its write is counted.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = count_writes(&metrics);
        let calls = metrics.encode();
        let calls: Vec<&str> = calls
            .lines()
            .filter(|l| l.contains("kubernetes_calls"))
            .collect();
        assert!(
            now - before <= connectors * budget,
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
    let metrics_text = operator.metrics().encode();
    assert!(metrics_text.contains(&ready), "{metrics_text}");
    assert_writes("created", budgets[0]).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_writes("idle", 0).await;
    for name in &names {
        env.patch_connector(name, json!({"spec": {"displayName": "changed"}}))
            .await;
    }
    for name in &names {
        env.wait_until_ready(name).await;
    }
    assert_writes("changed", budgets[1]).await;
    for name in &names {
        env.patch_connector(name, json!({"spec": {"suspend": true}}))
            .await;
    }
    for name in &names {
        env.wait_until_not_ready(name, "Connected", "False", "Suspended")
            .await;
    }
    assert_writes("suspended", budgets[2]).await;
    for name in &names {
        env.delete_connector(name).await;
    }
    for name in &names {
        env.wait_until_gone(name).await;
    }
    assert_writes("deleted", budgets[3]).await;
    operator.shutdown().await;
}

async fn polled_connector_costs_three_writes_and_idles_silently(cluster: Cluster) {
    assert_write_budget(cluster, OperatorOptions::polling(), [1, 1, 1, 0]).await;
}

async fn webhook_connector_costs_five_writes_and_idles_silently(cluster: Cluster) {
    // Kubernetes before 1.30 rejects a status patch that removes an object (the webhook, at suspension); the operator then makes two
    // more writes.
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
        let connector = env.connectors().get("a").await.expect("the connector");
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
    // The finalizer stays while the webhook may still be registered at Telegram.
    let outage = env.telegram.add_fault(Fault::new(FaultKind::Reset));
    let operator = env.start_operator(OperatorOptions::polling()).await;
    env.wait_for_condition("a", "Connected", "False", "TelegramUnreachable")
        .await;
    assert_eq!(finalizers().await, [FINALIZER]);
    env.telegram.remove_fault(outage);
    env.wait_until_ready("a").await;
    env.cluster
        .eventually("the finalizer is removed with the webhook", || async {
            finalizers().await.is_empty().then_some(())
        })
        .await;
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
            .expect("the connector")
            .metadata
            .finalizers;
        assert_eq!(finalizers, Some(vec![FINALIZER.to_owned()]));
    }
    env.telegram.add_fault(Fault::new(FaultKind::Hang));
    let secrets: Api<Secret> = env.cluster.api();
    secrets
        .delete("b", &DeleteParams::default())
        .await
        .expect("the Secret is deleted");
    env.patch_connector(
        "c",
        json!({"metadata": {"annotations": {"connectors.pupau.ai/skip-disconnect": "true"}}}),
    )
    .await;
    let deleted_at = Instant::now();
    env.delete_connector("c").await;
    env.wait_until_gone("c").await;
    assert!(
        deleted_at.elapsed() < Duration::from_secs(5),
        "skip-disconnect does not wait for Telegram"
    );
    let deleted_at = Instant::now();
    for name in ["a", "b"] {
        env.delete_connector(name).await;
    }
    for name in ["a", "b"] {
        env.wait_until_gone(name).await;
    }
    assert!(
        deleted_at.elapsed() < Duration::from_secs(30),
        "{:?}",
        deleted_at.elapsed()
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
    // The deleted connector was never reconciled here, so its token is read for the cleanup alone.
    let operator = env.start_operator(OperatorOptions::webhook()).await;
    env.wait_until_gone("a").await;
    assert_eq!(
        env.telegram.webhook_info(bot)["url"],
        json!(""),
        "the webhook is not deleted"
    );
    operator.shutdown().await;
}

async fn namespace_deletion_ends_while_telegram_is_down(cluster: Cluster) {
    // Roles in the namespace would be deleted before its connectors (docs/upgrade.md).
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
    let deleted_at = Instant::now();
    namespaces
        .delete(name, &DeleteParams::default())
        .await
        .expect("the deletion");
    while namespaces
        .get_opt(name)
        .await
        .expect("the API server answers")
        .is_some()
    {
        assert!(
            deleted_at.elapsed() < Duration::from_mins(1),
            "the deletion of the namespace hangs on its connectors"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    eprintln!(
        "a namespace with 20 connectors was deleted in {:?} with Telegram down",
        deleted_at.elapsed()
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
    // It cannot be observed from outside that the reconcile waits for the Secret, hence the sleep.
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
        // Messages are answered although the status cannot be written.
        env.telegram
            .send_and_wait(bot, 1001, "hello", Duration::from_secs(20))
            .await;
        tokio::time::sleep(Duration::from_secs(8)).await;
        let attempts = requests.count(Verb::Patch, "telegramconnectors.connectors.pupau.ai");
        // Retries after about 1, 2 and 4 s, and one write for each observation: the token, the poll, the exchange.
        assert!(
            (2..=8).contains(&attempts),
            "{code}: {attempts} attempts in 8 s: {:?}",
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
    let status_once_used_by = async |used_by: i32| {
        env.cluster
            .eventually("the list's status", || async {
                let status = lists.get("staff").await.expect("the list").status?;
                (status.used_by == Some(used_by)).then_some(status)
            })
            .await
    };
    assert_eq!(status_once_used_by(0).await.users, Some(2));
    env.create_connector_with_bot(
        "a",
        json!({"access": {"level": "Company", "companyUsers": {"listRefs": [{"name": "staff"}]}}}),
    )
    .await;
    status_once_used_by(1).await;
    env.wait_until_ready("a").await;
    env.delete_connector("a").await;
    status_once_used_by(0).await;
    operator.shutdown().await;
}
