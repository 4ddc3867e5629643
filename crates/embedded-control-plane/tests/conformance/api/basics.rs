//! Create, read, replace, delete, and what the server owns in an object.

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::suite::Suite;

pub fn register(suite: &mut Suite) {
    add!(suite, [], created_object_gets_what_the_server_owns);
    add!(
        suite,
        [],
        spec_change_moves_the_generation_and_status_change_does_not
    );
    add!(suite, [], replace_of_an_old_version_conflicts);
    add!(suite, [Core], secret_string_data_ends_up_in_data);
}

/// A connector that every server accepts.
pub fn connector(name: &str) -> Value {
    json!({
        "apiVersion": "connectors.pupau.ai/v1alpha1",
        "kind": "TelegramConnector",
        "metadata": {"name": name},
        "spec": {
            "botTokenSecretRef": {"name": "bot"},
            "assistant": {"protocol": "OpenAI", "url": "http://assistant.example/v1", "model": "m"},
            "access": {"level": "Open"},
        },
    })
}

async fn created_object_gets_what_the_server_owns(cluster: Cluster) {
    let mut wanted = connector("first");
    wanted["status"] = json!({"mode": "Polling"});
    wanted["metadata"]["generation"] = json!(7);
    let made = cluster
        .call("POST", &cluster.connectors(), &wanted)
        .await
        .expect_status(201);
    assert_eq!(made.at("/metadata/generation"), 1);
    assert_eq!(made.at("/metadata/namespace"), &json!(cluster.namespace));
    assert_eq!(made.at("/metadata/uid").as_str().map(str::len), Some(36));
    assert!(
        made.at("/metadata/creationTimestamp")
            .as_str()
            .is_some_and(|time| time.ends_with('Z'))
    );
    assert!(
        made.at("/metadata/resourceVersion")
            .as_str()
            .is_some_and(|version| version.parse::<u64>().is_ok())
    );
    assert_eq!(
        made.at("/status"),
        &Value::Null,
        "the status is written elsewhere"
    );
    let again = cluster
        .call("POST", &cluster.connectors(), &connector("first"))
        .await
        .expect_status(409);
    assert_eq!(again.at("/reason"), "AlreadyExists");
    assert_eq!(
        again.at("/message"),
        "telegramconnectors.connectors.pupau.ai \"first\" already exists"
    );
    let mut generated = connector("x");
    generated["metadata"] = json!({"generateName": "some-"});
    let made = cluster
        .call("POST", &cluster.connectors(), &generated)
        .await
        .expect_status(201);
    assert!(
        made.at("/metadata/name")
            .as_str()
            .is_some_and(|name| name.len() == 10 && name.starts_with("some-"))
    );
    let missing = cluster
        .get(&format!("{}/absent", cluster.connectors()))
        .await
        .expect_status(404);
    assert_eq!(
        missing.at("/message"),
        "telegramconnectors.connectors.pupau.ai \"absent\" not found"
    );
    assert_eq!(
        missing.at("/details"),
        &json!({"name": "absent", "group": "connectors.pupau.ai", "kind": "telegramconnectors"})
    );
}

async fn spec_change_moves_the_generation_and_status_change_does_not(cluster: Cluster) {
    cluster
        .call("POST", &cluster.connectors(), &connector("c"))
        .await
        .expect_status(201);
    let path = format!("{}/c", cluster.connectors());
    let merge = "application/merge-patch+json";
    let changed = json!({"spec": {"displayName": "A"}, "status": {"mode": "Polling"}, "metadata": {"labels": {"a": "b"}}});
    let one = cluster
        .call_as("PATCH", &path, merge, &changed)
        .await
        .expect_status(200);
    assert_eq!(one.at("/metadata/generation"), 2);
    assert_eq!(one.at("/status"), &Value::Null);
    let labelled = json!({"metadata": {"labels": {"a": "c"}}});
    let two = cluster
        .call_as("PATCH", &path, merge, &labelled)
        .await
        .expect_status(200);
    assert_eq!(
        two.at("/metadata/generation"),
        2,
        "metadata is no new generation"
    );
    let status = format!("{path}/status");
    let changed = json!({"spec": {"displayName": "B"}, "status": {"mode": "Polling"}, "metadata": {"labels": {"a": "d"}}});
    let three = cluster
        .call_as("PATCH", &status, merge, &changed)
        .await
        .expect_status(200);
    assert_eq!(three.at("/metadata/generation"), 2);
    assert_eq!(three.at("/status/mode"), "Polling");
    assert_eq!(
        three.at("/spec/displayName"),
        "A",
        "the status endpoint writes the status only"
    );
    let before = three.at("/metadata/resourceVersion").clone();
    let four = cluster
        .call_as(
            "PATCH",
            &status,
            merge,
            &json!({"status": {"mode": "Polling"}}),
        )
        .await
        .expect_status(200);
    assert_eq!(
        four.at("/metadata/resourceVersion"),
        &before,
        "a change that changes nothing is no new version"
    );
}

async fn replace_of_an_old_version_conflicts(cluster: Cluster) {
    let made = cluster
        .call("POST", &cluster.connectors(), &connector("c"))
        .await
        .expect_status(201);
    let path = format!("{}/c", cluster.connectors());
    let mut changed = made.body.clone();
    changed["spec"]["displayName"] = json!("A");
    cluster
        .call("PUT", &path, &changed)
        .await
        .expect_status(200);
    changed["spec"]["displayName"] = json!("B");
    let refused = cluster
        .call("PUT", &path, &changed)
        .await
        .expect_status(409);
    assert_eq!(refused.at("/reason"), "Conflict");
    assert_eq!(
        refused.at("/message"),
        "Operation cannot be fulfilled on telegramconnectors.connectors.pupau.ai \"c\": the object has been modified; please apply your changes to the latest version and try again"
    );
    changed["metadata"]
        .as_object_mut()
        .expect("metadata")
        .remove("resourceVersion");
    let refused = cluster
        .call("PUT", &path, &changed)
        .await
        .expect_status(422);
    assert_eq!(
        refused.at("/details/causes/0/field"),
        "metadata.resourceVersion"
    );
}

async fn secret_string_data_ends_up_in_data(cluster: Cluster) {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"},
        "data": {"a": "YQ==", "b": "YQ=="}, "stringData": {"b": "c"}});
    let made = cluster
        .call("POST", &cluster.path("v1", "secrets"), &secret)
        .await
        .expect_status(201);
    assert_eq!(made.at("/data"), &json!({"a": "YQ==", "b": "Yw=="}));
    assert_eq!(made.at("/stringData"), &Value::Null);
    assert_eq!(made.at("/type"), "Opaque");
}
