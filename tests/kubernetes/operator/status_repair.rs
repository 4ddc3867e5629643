//! A status that somebody else wipes or forges is written again, but nobody is fought over it.

use std::fmt::Debug;
use std::time::Duration;

use embedded_control_plane::Verb;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use telegram_connector_operator::api::TelegramUserList;

use super::test_env::{OperatorOptions, TestEnv};
use crate::cluster::Cluster;
use crate::suite::Suite;

pub fn register(suite: &mut Suite) {
    add!(suite, [Core], wiped_or_forged_status_is_written_again);
    add!(
        suite,
        [Core, Embedded],
        status_that_is_forged_again_and_again_is_not_fought_over
    );
}

async fn forge<K: Clone + DeserializeOwned + Debug>(api: &Api<K>, name: &str, status: Value) {
    let patch = Patch::Merge(json!({"status": status}));
    api.patch_status(name, &PatchParams::default(), &patch)
        .await
        .expect("the patch");
}

fn forged_condition(type_: &str) -> Value {
    json!({
        "type": type_, "status": "True", "reason": "Forged", "message": "forged", "observedGeneration": 1,
        "lastTransitionTime": "2001-01-01T00:00:00Z",
    })
}

async fn wiped_or_forged_status_is_written_again(cluster: Cluster) {
    let (env, operator, _) =
        TestEnv::with_ready_connector(cluster, OperatorOptions::polling()).await;
    env.create_user_list("staff", json!([{"id": 1}])).await;
    let connectors = env.connectors();
    let lists: Api<TelegramUserList> = env.cluster.api();
    let status_of = async || connectors.get("a").await.expect("it").status;
    let list_status = async || lists.get("staff").await.expect("it").status;
    let list_before = env
        .cluster
        .eventually("the list's status", &list_status)
        .await;
    let before = status_of().await.expect("a status");
    let wiped = json!({
        "observedGeneration": null, "bot": null, "mode": null, "session": null, "conditions": null,
    });
    let forged = json!({
        "accessUsers": 99,
        "bot": {"username": "forged_bot"},
        "conditions": [forged_condition("AssistantReady"), forged_condition("Stalled")],
    });
    for status in [wiped, forged] {
        forge(&connectors, "a", status.clone()).await;
        env.cluster
            .eventually(&format!("the status is as before {status}"), || async {
                let mut now = status_of().await?;
                now.conditions
                    .sort_by_key(|c| before.conditions.iter().position(|b| b.type_ == c.type_));
                (now == before).then_some(())
            })
            .await;
    }
    forge(&lists, "staff", json!({"usedBy": 99, "conditions": null})).await;
    env.cluster
        .eventually("the list's status is as before", || async {
            (list_status().await? == list_before).then_some(())
        })
        .await;
    operator.shutdown().await;
}

async fn status_that_is_forged_again_and_again_is_not_fought_over(cluster: Cluster) {
    let (env, operator, _) =
        TestEnv::with_ready_connector(cluster, OperatorOptions::polling()).await;
    let connectors = env.connectors();
    let requests = env.cluster.control_plane().request_log();
    requests.clear();
    let rounds = 30;
    for round in 0..rounds {
        forge(&connectors, "a", json!({"session": format!("{round}h")})).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let writes = requests.count(Verb::Patch, "telegramconnectors.connectors.pupau.ai") - rounds;
    assert!(
        (1..=4).contains(&writes),
        "{writes} writes against {rounds}"
    );
    operator.shutdown().await;
}
