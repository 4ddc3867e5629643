//! Secrets, `ConfigMap`s, Leases and Events beyond what every kind does.

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::suite::Suite;

pub fn register(suite: &mut Suite) {
    add!(suite, [Core], secrets_keep_their_rules);
    add!(suite, [Core], leases_are_replaced_by_version_only);
    add!(suite, [Core], both_views_of_events_show_the_same_events);
    add!(suite, [Core], events_are_selected_by_what_they_are_about);
    add!(suite, [Core], objects_need_their_namespace);
}

const MERGE: &str = "application/merge-patch+json";

async fn secrets_keep_their_rules(cluster: Cluster) {
    let path = cluster.path("v1", "secrets");
    let secret = |name: &str, data: Value| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data});
    cluster
        .call("POST", &path, &secret("s", json!({"a": "YQ=="})))
        .await
        .expect_status(201);
    let broken = cluster
        .call("POST", &path, &secret("t", json!({"a": "!!"})))
        .await
        .expect_status(400);
    assert!(
        broken.text.contains("illegal base64 data at input byte 0"),
        "{}",
        broken.text
    );
    let key = cluster
        .call("POST", &path, &secret("t", json!({"a b": "YQ=="})))
        .await
        .expect_status(422);
    assert_eq!(key.at("/details/causes/0/field"), "data[a b]");
    let one = format!("{path}/s");
    let kind = cluster
        .call_as("PATCH", &one, MERGE, &json!({"type": "other"}))
        .await
        .expect_status(422);
    assert_eq!(
        kind.at("/message"),
        "Secret \"s\" is invalid: type: Invalid value: \"other\": field is immutable"
    );
    let plain = cluster
        .call_as("PATCH", &one, MERGE, &json!({"stringData": {"b": "b"}}))
        .await
        .expect_status(200);
    assert_eq!(plain.at("/data"), &json!({"a": "YQ==", "b": "Yg=="}));
    cluster
        .call_as("PATCH", &one, MERGE, &json!({"immutable": true}))
        .await
        .expect_status(200);
    let fixed = cluster
        .call_as("PATCH", &one, MERGE, &json!({"data": {"a": "Yg=="}}))
        .await
        .expect_status(422);
    assert_eq!(fixed.at("/details/causes/0/field"), "data");
    cluster
        .call_as("PATCH", &one, MERGE, &json!({"immutable": null}))
        .await
        .expect_status(422);
}

async fn leases_are_replaced_by_version_only(cluster: Cluster) {
    let path = cluster.path("coordination.k8s.io/v1", "leases");
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"},
        "spec": {"holderIdentity": "one", "leaseDurationSeconds": 15, "renewTime": "2026-01-01T00:00:00.000000Z"}});
    let made = cluster.call("POST", &path, &lease).await.expect_status(201);
    assert_eq!(made.at("/spec/renewTime"), "2026-01-01T00:00:00.000000Z");
    cluster
        .call("PUT", &format!("{path}/l"), &lease)
        .await
        .expect_status(422);
    let mut next = made.body.clone();
    next["spec"]["holderIdentity"] = json!("two");
    cluster
        .call("PUT", &format!("{path}/l"), &next)
        .await
        .expect_status(200);
    next["spec"]["holderIdentity"] = json!("three");
    cluster
        .call("PUT", &format!("{path}/l"), &next)
        .await
        .expect_status(409);
    let mut bad = lease;
    bad["metadata"]["name"] = json!("m");
    bad["spec"]["leaseDurationSeconds"] = json!(0);
    let refused = cluster.call("POST", &path, &bad).await.expect_status(422);
    assert_eq!(
        refused.at("/details/causes/0/message"),
        "Invalid value: 0: must be greater than 0"
    );
}

fn event(cluster: &Cluster, name: &str, about: &str) -> Value {
    json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": name},
        "regarding": {"kind": "Secret", "name": about, "namespace": cluster.namespace}, "reason": "Tested", "note": "it was tested",
        "type": "Normal", "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "tests",
        "reportingInstance": "one", "action": "Test"})
}

async fn both_views_of_events_show_the_same_events(cluster: Cluster) {
    let (new, old) = (
        cluster.path("events.k8s.io/v1", "events"),
        cluster.path("v1", "events"),
    );
    cluster
        .call("POST", &new, &event(&cluster, "e", "s"))
        .await
        .expect_status(201);
    let seen = cluster.get(&format!("{old}/e")).await.expect_status(200);
    assert_eq!(
        (seen.at("/apiVersion"), seen.at("/message")),
        (&json!("v1"), &json!("it was tested"))
    );
    assert_eq!(
        (
            seen.at("/involvedObject/name"),
            seen.at("/reportingComponent")
        ),
        (&json!("s"), &json!("tests"))
    );
    assert_eq!(
        (seen.at("/note"), seen.at("/regarding")),
        (&Value::Null, &Value::Null)
    );
    let written = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "f"}, "reason": "R", "message": "M", "type": "Warning",
        "involvedObject": {"kind": "Secret", "name": "s", "namespace": cluster.namespace}, "source": {"component": "c"},
        "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:00Z", "count": 2});
    cluster
        .call("POST", &old, &written)
        .await
        .expect_status(201);
    let seen = cluster.get(&format!("{new}/f")).await.expect_status(200);
    assert_eq!(
        (seen.at("/apiVersion"), seen.at("/note")),
        (&json!("events.k8s.io/v1"), &json!("M"))
    );
    assert_eq!(
        (
            seen.at("/deprecatedCount"),
            seen.at("/deprecatedSource/component")
        ),
        (&json!(2), &json!("c"))
    );
    let counted = cluster
        .call_as("PATCH", &format!("{old}/f"), MERGE, &json!({"count": 3}))
        .await
        .expect_status(200);
    assert_eq!(counted.at("/count"), 3);
    let elsewhere =
        json!({"metadata": {"name": "g"}, "involvedObject": {"namespace": "elsewhere"}});
    let refused = cluster
        .call("POST", &old, &elsewhere)
        .await
        .expect_status(422);
    assert!(
        refused.text.contains("does not match event.namespace"),
        "{}",
        refused.text
    );
    let mut lacking = event(&cluster, "h", "s");
    lacking.as_object_mut().expect("an object").remove("action");
    cluster
        .call("POST", &new, &lacking)
        .await
        .expect_status(422);
}

async fn events_are_selected_by_what_they_are_about(cluster: Cluster) {
    let new = cluster.path("events.k8s.io/v1", "events");
    for (name, about) in [("a", "one"), ("b", "two"), ("c", "one")] {
        cluster
            .call("POST", &new, &event(&cluster, name, about))
            .await
            .expect_status(201);
    }
    let old = cluster.path("v1", "events");
    let found = cluster
        .get(&format!(
            "{old}?fieldSelector=involvedObject.name%3Done,involvedObject.kind%3DSecret"
        ))
        .await
        .expect_status(200);
    assert_eq!(found.at("/items").as_array().map(Vec::len), Some(2));
    let found = cluster
        .get(&format!("{old}?fieldSelector=reason!%3DTested"))
        .await
        .expect_status(200);
    assert_eq!(found.at("/items").as_array().map(Vec::len), Some(0));
    cluster
        .get(&format!("{old}?fieldSelector=message%3Dx"))
        .await
        .expect_status(400);
}

async fn objects_need_their_namespace(cluster: Cluster) {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}});
    let refused = cluster
        .call("POST", "/api/v1/namespaces/nowhere/secrets", &secret)
        .await
        .expect_status(404);
    assert_eq!(refused.at("/message"), "namespaces \"nowhere\" not found");
    let name = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a.b"}});
    cluster
        .call("POST", "/api/v1/namespaces", &name)
        .await
        .expect_status(422);
    cluster
        .call("DELETE", "/api/v1/namespaces", &Value::Null)
        .await
        .expect_status(405);
}
