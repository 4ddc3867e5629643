//! Merge, JSON and strategic merge patches, and what each refuses.

use serde_json::{Value, json};

use super::basics::connector;
use crate::cluster::Cluster;
use crate::suite::Suite;

pub fn register(suite: &mut Suite) {
    add!(suite, [], json_patches_test_and_change);
    add!(suite, [], custom_resources_take_no_strategic_merge_patch);
    add!(suite, [], a_patch_with_an_old_version_conflicts);
    add!(suite, [Core], strategic_merge_knows_lists_and_takes_orders);
}

async fn json_patches_test_and_change(cluster: Cluster) {
    cluster
        .call("POST", &cluster.connectors(), &connector("c"))
        .await
        .expect_status(201);
    let path = format!("{}/c", cluster.connectors());
    let media = "application/json-patch+json";
    let good = json!([
        {"op": "test", "path": "/spec/access/level", "value": "Open"},
        {"op": "add", "path": "/metadata/annotations", "value": {"a": "b"}},
        {"op": "add", "path": "/spec/displayName", "value": "D"},
    ]);
    let changed = cluster
        .call_as("PATCH", &path, media, &good)
        .await
        .expect_status(200);
    assert_eq!(
        (
            changed.at("/metadata/annotations/a"),
            changed.at("/spec/displayName")
        ),
        (&json!("b"), &json!("D"))
    );
    for bad in [
        json!([{"op": "test", "path": "/spec/access/level", "value": "Company"}, {"op": "remove", "path": "/spec/displayName"}]),
        json!([{"op": "remove", "path": "/spec/nothing/here"}]),
    ] {
        let refused = cluster
            .call_as("PATCH", &path, media, &bad)
            .await
            .expect_status(422);
        assert_eq!(refused.at("/reason"), "Invalid");
    }
    assert_eq!(
        cluster.get(&path).await.expect_status(200).body,
        changed.body
    );
}

async fn custom_resources_take_no_strategic_merge_patch(cluster: Cluster) {
    cluster
        .call("POST", &cluster.connectors(), &connector("c"))
        .await
        .expect_status(201);
    let path = format!("{}/c", cluster.connectors());
    for media in ["application/strategic-merge-patch+json", "text/plain"] {
        let refused = cluster
            .call_as("PATCH", &path, media, &json!({"spec": {}}))
            .await
            .expect_status(415);
        assert_eq!(refused.at("/reason"), "UnsupportedMediaType");
    }
    let forced = cluster
        .call_as(
            "PATCH",
            &format!("{path}?force=true"),
            "application/merge-patch+json",
            &json!({"spec": {}}),
        )
        .await
        .expect_status(422);
    assert_eq!(forced.at("/details/causes/0/field"), "force");
}

async fn a_patch_with_an_old_version_conflicts(cluster: Cluster) {
    let made = cluster
        .call("POST", &cluster.connectors(), &connector("c"))
        .await
        .expect_status(201);
    let path = format!("{}/c", cluster.connectors());
    let merge = "application/merge-patch+json";
    let version = made.at("/metadata/resourceVersion");
    let change = |text: &str| json!({"metadata": {"resourceVersion": version}, "spec": {"displayName": text}});
    cluster
        .call_as("PATCH", &path, merge, &change("A"))
        .await
        .expect_status(200);
    let refused = cluster
        .call_as("PATCH", &path, merge, &change("B"))
        .await
        .expect_status(409);
    assert_eq!(refused.at("/reason"), "Conflict");
    let stranger = json!({"metadata": {"uid": "00000000-0000-0000-0000-000000000000"}});
    cluster
        .call_as("PATCH", &path, merge, &stranger)
        .await
        .expect_status(422);
    cluster
        .call_as(
            "PATCH",
            &format!("{}/absent", cluster.connectors()),
            merge,
            &change("A"),
        )
        .await
        .expect_status(404);
}

async fn strategic_merge_knows_lists_and_takes_orders(cluster: Cluster) {
    let owner = |name: &str, uid: &str| json!({"apiVersion": "example.com/v1", "kind": "Nothing", "name": name, "uid": uid});
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "data": {"a": "YQ==", "b": "YQ=="},
        "metadata": {"name": "s", "finalizers": ["a.example/x", "a.example/y"], "ownerReferences": [owner("one", "1")]}});
    cluster
        .call("POST", &cluster.path("v1", "secrets"), &secret)
        .await
        .expect_status(201);
    let path = format!("{}/s", cluster.path("v1", "secrets"));
    let media = "application/strategic-merge-patch+json";
    let patch = json!({"data": {"b": null, "c": "Yw=="}, "metadata": {
        "$deleteFromPrimitiveList/finalizers": ["a.example/x"], "finalizers": ["a.example/z"],
        "ownerReferences": [owner("two", "2")]}});
    let one = cluster
        .call_as("PATCH", &path, media, &patch)
        .await
        .expect_status(200);
    assert_eq!(one.at("/data"), &json!({"a": "YQ==", "c": "Yw=="}));
    assert_eq!(
        one.at("/metadata/finalizers"),
        &json!(["a.example/z", "a.example/y"])
    );
    let mut uids: Vec<&Value> = one
        .at("/metadata/ownerReferences")
        .as_array()
        .expect("owners")
        .iter()
        .map(|owner| &owner["uid"])
        .collect();
    uids.sort_by_key(ToString::to_string);
    assert_eq!(uids, ["1", "2"]);
    let patch = json!({"metadata": {"ownerReferences": [{"$patch": "delete", "uid": "1"}], "finalizers": null}});
    let two = cluster
        .call_as("PATCH", &path, media, &patch)
        .await
        .expect_status(200);
    assert_eq!(two.at("/metadata/ownerReferences/0/uid"), "2");
    assert_eq!(two.at("/metadata/ownerReferences/1"), &Value::Null);
    assert_eq!(two.at("/metadata/finalizers"), &Value::Null);
}
