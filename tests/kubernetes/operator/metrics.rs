//! Every documented metric has samples. A metric that nothing records would show an empty panel and an alert that never fires.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use telegram_connector_operator::api::TelegramUserList;

use super::test_env::{OperatorOptions, TestEnv};
use crate::cluster::Cluster;
use crate::suite::Suite;

pub fn register(suite: &mut Suite) {
    add!(suite, [Core], conversation_produces_every_documented_metric);
}

/// The metrics of docs/metrics.md that have no sample, without the common prefix.
fn metrics_without_samples(exposition: &str) -> BTreeSet<String> {
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let reference = fs::read_to_string(reference).expect("the metrics reference");
    let names: BTreeSet<&str> = reference
        .lines()
        .filter_map(|line| {
            line.strip_prefix("| `telegram_connector_operator_")?
                .split('`')
                .next()
        })
        .collect();
    assert!(names.len() > 15, "{names:?}");
    let is_sample_of = |name: &str, line: &str| {
        line.strip_prefix("telegram_connector_operator_")
            .and_then(|line| line.strip_prefix(name))
            .is_some_and(|rest| rest.starts_with(['{', ' ']) || rest.starts_with("_count"))
    };
    names
        .into_iter()
        .filter(|name| !exposition.lines().any(|line| is_sample_of(name, line)))
        .map(str::to_owned)
        .collect()
}

async fn conversation_produces_every_documented_metric(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    let operator = env.start_operator(OperatorOptions::polling()).await;
    let (bot, _) = env.create_working_connector("a").await;
    env.create_user_list("staff", serde_json::json!([{"id": 1001}]))
        .await;
    env.wait_until_ready("a").await;
    env.telegram
        .send_and_wait(bot, 1001, "hello", Duration::from_secs(20))
        .await;
    let metrics = operator.metrics().clone();
    // The reconcile of the list and the writes after the answer may not have ended yet.
    env.wait_for_condition("a", "AssistantReady", "True", "ExchangesSucceed")
        .await;
    let list: kube::Api<TelegramUserList> = env.cluster.api();
    env.cluster
        .eventually("the list has a status", || async {
            list.get("staff").await.expect("the list").status
        })
        .await;
    let exposition = metrics.encode();
    // Kubernetes calls are counted by the client of `run`; this operator uses the client of the test. The age of the view is taken when the
    // admin server is asked, which this operator has none of.
    let expected = [
        "cluster_view_age_seconds",
        // There is no data API.
        "data_api_available",
        "data_api_certificate_left_seconds",
        "kubernetes_calls_total",
        "watches_failing",
    ];
    let expected = BTreeSet::from(expected.map(str::to_owned));
    assert_eq!(metrics_without_samples(&exposition), expected);
    for zero_sample in [
        "updates_total{outcome=\"dead_lettered\"} 0",
        "webhook_refusals_total{reason=\"bad_secret\"} 0",
        "store_errors_total{operation=\"accept\"} 0",
        "throttled_total{method=\"sendMessage\"} 0",
    ] {
        assert!(
            exposition.contains(zero_sample),
            "{zero_sample}: {exposition}"
        );
    }
    assert!(
        exposition.contains("assistant_seconds_count{protocol=\"OpenAI\",result=\"ok\"} 1"),
        "{exposition}"
    );
    for operation in ["accept", "claim", "write"] {
        let sample = format!("store_seconds_count{{operation=\"{operation}\"}}");
        assert!(exposition.contains(&sample), "{sample}: {exposition}");
    }
    operator.shutdown().await;
}
