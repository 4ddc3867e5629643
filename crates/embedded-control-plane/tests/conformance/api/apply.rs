//! Server-side apply: ownership, merging of keyed lists and sets, conflicts.

use serde_json::{Value, json};

use super::basics::connector;
use crate::cluster::{ApiResponse, Cluster};
use crate::suite::{ServerFeature, Suite};

pub fn register(suite: &mut Suite) {
    add!(suite, [], apply_creates_and_its_owner_can_take_back);
    add!(suite, [], another_owners_field_conflicts_unless_forced);
    add!(suite, [], conditions_of_two_owners_merge_by_type);
    add!(
        suite,
        [Kubernetes130],
        applied_order_wins_and_others_keep_their_places
    );
    add!(suite, [], finalizers_of_two_owners_are_one_set);
    add!(suite, [], an_apply_that_changes_nothing_is_no_new_version);
    add!(suite, [], what_apply_refuses);
    add!(suite, [Kubernetes130], managed_fields_can_be_reset);
    add!(suite, [Core], secrets_are_applied_key_by_key);
}

fn partial(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "connectors.pupau.ai/v1alpha1", "kind": "TelegramConnector", "metadata": {"name": name}, "spec": spec})
}

fn status(conditions: &[(&str, &str)]) -> Value {
    let conditions: Vec<Value> = conditions
        .iter()
        .map(|(kind, status)| {
            json!({"type": kind, "status": status, "reason": "R", "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z"})
        })
        .collect();
    json!({"apiVersion": "connectors.pupau.ai/v1alpha1", "kind": "TelegramConnector", "metadata": {"name": "c"},
        "status": {"conditions": conditions}})
}

fn types(answer: &ApiResponse) -> Vec<String> {
    let all = answer
        .at("/status/conditions")
        .as_array()
        .cloned()
        .unwrap_or_default();
    all.iter()
        .filter_map(|condition| condition["type"].as_str().map(str::to_owned))
        .collect()
}

fn fields_of<'a>(answer: &'a ApiResponse, manager: &str, operation: &str) -> &'a Value {
    let entries = answer
        .at("/metadata/managedFields")
        .as_array()
        .expect("managedFields");
    let found = entries
        .iter()
        .find(|entry| entry["manager"] == manager && entry["operation"] == operation);
    found.map_or(&Value::Null, |entry| &entry["fieldsV1"])
}

async fn apply_creates_and_its_owner_can_take_back(cluster: Cluster) {
    let path = format!("{}/c", cluster.connectors());
    let mut wanted = connector("c");
    wanted["spec"]["displayName"] = json!("D");
    wanted["metadata"]["labels"] = json!({"a": "b", "c": "d"});
    let made = cluster
        .apply(&path, "one", false, &wanted)
        .await
        .expect_status(201);
    assert_eq!(
        fields_of(&made, "one", "Apply")["f:metadata"],
        json!({"f:labels": {"f:a": {}, "f:c": {}}})
    );
    assert_eq!(
        fields_of(&made, "one", "Apply")["f:spec"]["f:access"],
        json!({"f:level": {}})
    );
    wanted["spec"]
        .as_object_mut()
        .expect("spec")
        .remove("displayName");
    wanted["metadata"]["labels"] = json!({"a": "b"});
    let less = cluster
        .apply(&path, "one", false, &wanted)
        .await
        .expect_status(200);
    assert_eq!(less.at("/spec/displayName"), &Value::Null);
    assert_eq!(less.at("/metadata/labels"), &json!({"a": "b"}));
    assert_eq!(less.at("/metadata/generation"), 2);
}

async fn another_owners_field_conflicts_unless_forced(cluster: Cluster) {
    let path = format!("{}/c", cluster.connectors());
    let mut wanted = connector("c");
    wanted["spec"]["displayName"] = json!("one's");
    cluster
        .apply(&path, "one", false, &wanted)
        .await
        .expect_status(201);
    let other = partial("c", &json!({"displayName": "two's", "greeting": "hello"}));
    let refused = cluster
        .apply(&path, "two", false, &other)
        .await
        .expect_status(409);
    assert_eq!(
        refused.at("/message"),
        "Apply failed with 1 conflict: conflict with \"one\": .spec.displayName"
    );
    assert_eq!(
        refused.at("/details/causes"),
        &json!([{"reason": "FieldManagerConflict", "message": "conflict with \"one\"", "field": ".spec.displayName"}])
    );
    let same = partial("c", &json!({"displayName": "one's"}));
    cluster
        .apply(&path, "two", false, &same)
        .await
        .expect_status(200);
    let forced = cluster
        .apply(&path, "two", true, &other)
        .await
        .expect_status(200);
    assert_eq!(forced.at("/spec/displayName"), "two's");
    assert_eq!(
        fields_of(&forced, "one", "Apply").pointer("/f:spec/f:displayName"),
        None
    );
    assert_eq!(
        fields_of(&forced, "two", "Apply").pointer("/f:spec/f:displayName"),
        Some(&json!({}))
    );
    // One does not name it any more and never owned it since: it stays.
    wanted["spec"]
        .as_object_mut()
        .expect("spec")
        .remove("displayName");
    let kept = cluster
        .apply(&path, "one", false, &wanted)
        .await
        .expect_status(200);
    assert_eq!(kept.at("/spec/displayName"), "two's");
    // A plain update takes the field, and applying over it conflicts with the updater.
    let update = json!({"spec": {"greeting": "updated"}});
    let merge = "application/merge-patch+json";
    let updated = cluster
        .call_as(
            "PATCH",
            &format!("{path}?fieldManager=three"),
            merge,
            &update,
        )
        .await
        .expect_status(200);
    assert_eq!(
        fields_of(&updated, "three", "Update").pointer("/f:spec/f:greeting"),
        Some(&json!({}))
    );
    let refused = cluster
        .apply(&path, "two", false, &other)
        .await
        .expect_status(409);
    let message = refused
        .at("/message")
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(message.starts_with("Apply failed with 1 conflict: conflict with \"three\" using connectors.pupau.ai/v1alpha1"), "{message}");
}

async fn conditions_of_two_owners_merge_by_type(cluster: Cluster) {
    cluster
        .call("POST", &cluster.connectors(), &connector("c"))
        .await
        .expect_status(201);
    let path = format!("{}/c/status", cluster.connectors());
    cluster
        .apply(
            &path,
            "one",
            false,
            &status(&[("A", "True"), ("B", "True")]),
        )
        .await
        .expect_status(200);
    let both = cluster
        .apply(&path, "two", false, &status(&[("X", "True")]))
        .await
        .expect_status(200);
    assert_eq!(types(&both), ["A", "B", "X"]);
    let less = cluster
        .apply(&path, "one", false, &status(&[("B", "False")]))
        .await
        .expect_status(200);
    assert_eq!(types(&less), ["B", "X"]);
    assert_eq!(less.at("/status/conditions/0/status"), "False");
    if cluster.has(ServerFeature::Kubernetes130) {
        let entries = less
            .at("/metadata/managedFields")
            .as_array()
            .expect("managedFields");
        let of_status = entries
            .iter()
            .filter(|entry| entry["subresource"] == "status")
            .count();
        assert_eq!(of_status, 2);
    }
    let refused = cluster
        .apply(&path, "two", false, &status(&[("B", "Unknown")]))
        .await
        .expect_status(409);
    assert_eq!(
        refused.at("/details/causes/0/field"),
        ".status.conditions[type=\"B\"].status"
    );
    let twice = cluster
        .apply(
            &path,
            "two",
            false,
            &status(&[("Y", "True"), ("Y", "True")]),
        )
        .await
        .expect_status(500);
    assert!(
        twice
            .text
            .contains(r#".status.conditions: duplicate entries for key [type=\"Y\"]"#),
        "{}",
        twice.text
    );
}

async fn applied_order_wins_and_others_keep_their_places(cluster: Cluster) {
    cluster
        .call("POST", &cluster.connectors(), &connector("c"))
        .await
        .expect_status(201);
    let path = format!("{}/c/status", cluster.connectors());
    let steps: [(&str, &[&str], &[&str]); 6] = [
        ("one", &["A", "B"], &["A", "B"]),
        ("two", &["X"], &["A", "B", "X"]),
        ("one", &["B", "A"], &["B", "X", "A"]),
        ("one", &["B", "C", "A"], &["B", "X", "C", "A"]),
        ("one", &["C", "Q", "B"], &["X", "C", "Q", "B"]),
        ("two", &["Y", "X"], &["Y", "X", "C", "Q", "B"]),
    ];
    for (manager, applied, wanted) in steps {
        let applied: Vec<(&str, &str)> = applied.iter().map(|kind| (*kind, "True")).collect();
        let answer = cluster
            .apply(&path, manager, false, &status(&applied))
            .await
            .expect_status(200);
        assert_eq!(types(&answer), wanted, "{manager} applied {applied:?}");
    }
}

async fn finalizers_of_two_owners_are_one_set(cluster: Cluster) {
    cluster
        .call("POST", &cluster.connectors(), &connector("c"))
        .await
        .expect_status(201);
    let path = format!("{}/c", cluster.connectors());
    let with = |finalizer: &str| {
        let mut wanted = partial("c", &json!({}));
        wanted.as_object_mut().expect("an object").remove("spec");
        wanted["metadata"]["finalizers"] = json!([finalizer]);
        wanted
    };
    cluster
        .apply(&path, "one", false, &with("a.example/one"))
        .await
        .expect_status(200);
    let both = cluster
        .apply(&path, "two", false, &with("a.example/two"))
        .await
        .expect_status(200);
    assert_eq!(
        both.at("/metadata/finalizers"),
        &json!(["a.example/one", "a.example/two"])
    );
    let bare = json!({"apiVersion": "connectors.pupau.ai/v1alpha1", "kind": "TelegramConnector", "metadata": {"name": "c"}});
    let one = cluster
        .apply(&path, "one", false, &bare)
        .await
        .expect_status(200);
    assert_eq!(one.at("/metadata/finalizers"), &json!(["a.example/two"]));
    let none = cluster
        .apply(&path, "two", false, &bare)
        .await
        .expect_status(200);
    assert_eq!(none.at("/metadata/finalizers"), &Value::Null);
}

async fn an_apply_that_changes_nothing_is_no_new_version(cluster: Cluster) {
    let path = format!("{}/c", cluster.connectors());
    let one = cluster
        .apply(&path, "one", false, &connector("c"))
        .await
        .expect_status(201);
    // The times of owners have a resolution of a second: a new one would show.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let two = cluster
        .apply(&path, "one", false, &connector("c"))
        .await
        .expect_status(200);
    assert_eq!(one.body, two.body);
}

async fn what_apply_refuses(cluster: Cluster) {
    let path = format!("{}/c", cluster.connectors());
    let apply = "application/apply-patch+yaml";
    let nobody = cluster
        .call_as("PATCH", &path, apply, &connector("c"))
        .await
        .expect_status(422);
    assert_eq!(nobody.at("/details/causes/0/field"), "fieldManager");
    cluster
        .apply(&path, "one", false, &connector("other"))
        .await
        .expect_status(400);
    let mut owned = connector("c");
    owned["metadata"]["managedFields"] = json!([{"manager": "x"}]);
    let refused = cluster
        .apply(&path, "one", false, &owned)
        .await
        .expect_status(400);
    assert_eq!(refused.at("/message"), "metadata.managedFields must be nil");
    cluster
        .apply(&format!("{path}/status"), "one", false, &status(&[]))
        .await
        .expect_status(404);
    cluster
        .apply(&path, "one", false, &json!({"metadata": {"name": "c"}}))
        .await
        .expect_status(400);
}

async fn managed_fields_can_be_reset(cluster: Cluster) {
    let path = format!("{}/c", cluster.connectors());
    cluster
        .apply(&path, "one", false, &connector("c"))
        .await
        .expect_status(201);
    let reset = json!({"metadata": {"managedFields": [{}]}});
    let bare = cluster
        .call_as("PATCH", &path, "application/merge-patch+json", &reset)
        .await
        .expect_status(200);
    assert_eq!(bare.at("/metadata/managedFields"), &Value::Null);
    let again = cluster
        .apply(
            &path,
            "two",
            false,
            &partial("c", &json!({"displayName": "D"})),
        )
        .await
        .expect_status(200);
    let before = fields_of(&again, "before-first-apply", "Update");
    assert_eq!(
        before.pointer("/f:spec/f:access"),
        Some(&json!({".": {}, "f:level": {}}))
    );
}

async fn secrets_are_applied_key_by_key(cluster: Cluster) {
    let path = format!("{}/s", cluster.path("v1", "secrets"));
    let secret = |data: Value| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": data});
    cluster
        .apply(&path, "one", false, &secret(json!({"a": "YQ=="})))
        .await
        .expect_status(201);
    let both = cluster
        .apply(&path, "two", false, &secret(json!({"b": "Yg=="})))
        .await
        .expect_status(200);
    assert_eq!(both.at("/data"), &json!({"a": "YQ==", "b": "Yg=="}));
    let refused = cluster
        .apply(&path, "two", false, &secret(json!({"a": "Yg=="})))
        .await
        .expect_status(409);
    assert_eq!(
        refused.at("/message"),
        "Apply failed with 1 conflict: conflict with \"one\": .data.a"
    );
}
