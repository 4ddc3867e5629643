//! Delete: finalizers, preconditions, collections.

use serde_json::{Value, json};

use super::basics::connector;
use crate::cluster::Cluster;
use crate::suite::Suite;

pub fn register(suite: &mut Suite) {
    add!(suite, [], a_finalizer_holds_an_object_until_it_is_taken_off);
    add!(suite, [], preconditions_protect_another_object);
    add!(suite, [], a_collection_is_deleted_by_selector);
    add!(suite, [], an_unknown_policy_is_refused);
}

const MERGE: &str = "application/merge-patch+json";

async fn a_finalizer_holds_an_object_until_it_is_taken_off(cluster: Cluster) {
    let mut wanted = connector("c");
    wanted["metadata"]["finalizers"] = json!(["a.example/x"]);
    cluster
        .call("POST", &cluster.connectors(), &wanted)
        .await
        .expect_status(201);
    let path = format!("{}/c", cluster.connectors());
    let marked = cluster
        .call("DELETE", &path, &Value::Null)
        .await
        .expect_status(200);
    assert!(marked.at("/metadata/deletionTimestamp").is_string());
    assert_eq!(marked.at("/metadata/deletionGracePeriodSeconds"), 0);
    assert_eq!(marked.at("/metadata/generation"), 2);
    let again = cluster
        .call("DELETE", &path, &Value::Null)
        .await
        .expect_status(200);
    assert_eq!(
        again.at("/metadata/deletionTimestamp"),
        marked.at("/metadata/deletionTimestamp")
    );
    let added = json!({"metadata": {"finalizers": ["a.example/x", "a.example/new"]}});
    let refused = cluster
        .call_as("PATCH", &path, MERGE, &added)
        .await
        .expect_status(422);
    assert!(
        refused
            .text
            .contains("no new finalizers can be added if the object is being deleted"),
        "{}",
        refused.text
    );
    let revived = json!({"metadata": {"deletionTimestamp": null}});
    let still = cluster
        .call_as("PATCH", &path, MERGE, &revived)
        .await
        .expect_status(200);
    assert!(
        still.at("/metadata/deletionTimestamp").is_string(),
        "nothing takes a deletion back"
    );
    cluster
        .call_as(
            "PATCH",
            &path,
            MERGE,
            &json!({"metadata": {"finalizers": null}}),
        )
        .await
        .expect_status(200);
    cluster.get(&path).await.expect_status(404);
    let made = cluster
        .call("POST", &cluster.connectors(), &connector("c"))
        .await
        .expect_status(201);
    let gone = cluster
        .call("DELETE", &path, &Value::Null)
        .await
        .expect_status(200);
    assert_eq!(
        (gone.at("/kind"), gone.at("/status")),
        (&json!("Status"), &json!("Success"))
    );
    assert_eq!(gone.at("/details/uid"), made.at("/metadata/uid"));
}

async fn preconditions_protect_another_object(cluster: Cluster) {
    let made = cluster
        .call("POST", &cluster.connectors(), &connector("c"))
        .await
        .expect_status(201);
    let path = format!("{}/c", cluster.connectors());
    for preconditions in [json!({"uid": "other"}), json!({"resourceVersion": "1"})] {
        let options =
            json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions});
        let refused = cluster
            .call("DELETE", &path, &options)
            .await
            .expect_status(409);
        assert_eq!(refused.at("/reason"), "Conflict");
    }
    let options = json!({"apiVersion": "v1", "kind": "DeleteOptions",
        "preconditions": {"uid": made.at("/metadata/uid"), "resourceVersion": made.at("/metadata/resourceVersion")}});
    cluster
        .call("DELETE", &path, &options)
        .await
        .expect_status(200);
    cluster
        .call("DELETE", &path, &Value::Null)
        .await
        .expect_status(404);
}

async fn a_collection_is_deleted_by_selector(cluster: Cluster) {
    for (name, label) in [("a", "x"), ("b", "y"), ("c", "x")] {
        let mut wanted = connector(name);
        wanted["metadata"]["labels"] = json!({"l": label});
        cluster
            .call("POST", &cluster.connectors(), &wanted)
            .await
            .expect_status(201);
    }
    let path = format!("{}?labelSelector=l%3Dx", cluster.connectors());
    let gone = cluster
        .call("DELETE", &path, &Value::Null)
        .await
        .expect_status(200);
    assert_eq!(gone.at("/items").as_array().map(Vec::len), Some(2));
    let left = cluster.get(&cluster.connectors()).await.expect_status(200);
    assert_eq!(left.at("/items").as_array().map(Vec::len), Some(1));
    assert_eq!(left.at("/items/0/metadata/name"), "b");
}

async fn an_unknown_policy_is_refused(cluster: Cluster) {
    cluster
        .call("POST", &cluster.connectors(), &connector("c"))
        .await
        .expect_status(201);
    let path = format!("{}/c?propagationPolicy=Perhaps", cluster.connectors());
    let refused = cluster
        .call("DELETE", &path, &Value::Null)
        .await
        .expect_status(422);
    assert_eq!(refused.at("/details/causes/0/field"), "propagationPolicy");
}
