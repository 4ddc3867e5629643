//! What a cluster's controllers do: garbage collection, namespaces that go, CRDs that come and go.

use serde_json::{Value, json};

use super::basics::connector;
use crate::cluster::{ApiResponse, Cluster};
use crate::suite::Suite;

pub fn register(suite: &mut Suite) {
    add!(
        suite,
        [Core, Controllers],
        dependents_go_with_their_last_owner
    );
    add!(suite, [Core, Controllers], orphans_stay);
    add!(
        suite,
        [Core, Controllers],
        foreground_deletion_waits_for_dependents
    );
    add!(
        suite,
        [Core, Controllers],
        a_namespace_goes_when_its_finalizers_are_done
    );
    add!(
        suite,
        [Crds],
        crd_serves_its_kind_and_takes_its_objects_along
    );
}

const MERGE: &str = "application/merge-patch+json";

fn config_map(name: &str, owners: &[&ApiResponse]) -> Value {
    let owners: Vec<Value> = owners
        .iter()
        .map(|owner| {
            json!({"apiVersion": "v1", "kind": "ConfigMap", "name": owner.at("/metadata/name"), "uid": owner.at("/metadata/uid"),
                "blockOwnerDeletion": true})
        })
        .collect();
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "ownerReferences": owners}})
}

async fn gone(cluster: &Cluster, path: &str) {
    cluster
        .eventually("it is gone", || async {
            (cluster.get(path).await.status == 404).then_some(())
        })
        .await;
}

async fn dependents_go_with_their_last_owner(cluster: Cluster) {
    let path = cluster.path("v1", "configmaps");
    let one = cluster
        .call("POST", &path, &config_map("one", &[]))
        .await
        .expect_status(201);
    let two = cluster
        .call("POST", &path, &config_map("two", &[]))
        .await
        .expect_status(201);
    cluster
        .call("POST", &path, &config_map("child", &[&one, &two]))
        .await
        .expect_status(201);
    cluster
        .call("POST", &path, &config_map("lone", &[&one]))
        .await
        .expect_status(201);
    cluster
        .call("DELETE", &format!("{path}/one"), &Value::Null)
        .await
        .expect_status(200);
    gone(&cluster, &format!("{path}/lone")).await;
    cluster
        .get(&format!("{path}/child"))
        .await
        .expect_status(200);
    cluster
        .call("DELETE", &format!("{path}/two"), &Value::Null)
        .await
        .expect_status(200);
    gone(&cluster, &format!("{path}/child")).await;
}

async fn orphans_stay(cluster: Cluster) {
    let path = cluster.path("v1", "configmaps");
    let owner = cluster
        .call("POST", &path, &config_map("owner", &[]))
        .await
        .expect_status(201);
    cluster
        .call("POST", &path, &config_map("child", &[&owner]))
        .await
        .expect_status(201);
    cluster
        .call(
            "DELETE",
            &format!("{path}/owner?propagationPolicy=Orphan"),
            &Value::Null,
        )
        .await
        .expect_status(200);
    gone(&cluster, &format!("{path}/owner")).await;
    let child = cluster
        .get(&format!("{path}/child"))
        .await
        .expect_status(200);
    assert_eq!(child.at("/metadata/ownerReferences"), &Value::Null);
}

async fn foreground_deletion_waits_for_dependents(cluster: Cluster) {
    let path = cluster.path("v1", "configmaps");
    let owner = cluster
        .call("POST", &path, &config_map("owner", &[]))
        .await
        .expect_status(201);
    let mut child = config_map("child", &[&owner]);
    child["metadata"]["finalizers"] = json!(["a.example/x"]);
    cluster.call("POST", &path, &child).await.expect_status(201);
    cluster
        .call(
            "DELETE",
            &format!("{path}/owner?propagationPolicy=Foreground"),
            &Value::Null,
        )
        .await
        .expect_status(200);
    cluster
        .eventually("the child is going", || async {
            cluster
                .get(&format!("{path}/child"))
                .await
                .at("/metadata/deletionTimestamp")
                .is_string()
                .then_some(())
        })
        .await;
    let held = cluster
        .get(&format!("{path}/owner"))
        .await
        .expect_status(200);
    assert_eq!(
        held.at("/metadata/finalizers"),
        &json!(["foregroundDeletion"])
    );
    let free = json!({"metadata": {"finalizers": null}});
    cluster
        .call_as("PATCH", &format!("{path}/child"), MERGE, &free)
        .await
        .expect_status(200);
    gone(&cluster, &format!("{path}/child")).await;
    gone(&cluster, &format!("{path}/owner")).await;
}

async fn a_namespace_goes_when_its_finalizers_are_done(cluster: Cluster) {
    let name = format!("{}-going", cluster.namespace);
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    let made = cluster
        .call("POST", "/api/v1/namespaces", &namespace)
        .await
        .expect_status(201);
    assert_eq!(
        (made.at("/status/phase"), made.at("/spec/finalizers")),
        (&json!("Active"), &json!(["kubernetes"]))
    );
    let connectors =
        format!("/apis/connectors.pupau.ai/v1alpha1/namespaces/{name}/telegramconnectors");
    let secrets = format!("/api/v1/namespaces/{name}/secrets");
    let mut held = connector("held");
    held["metadata"]["finalizers"] = json!(["a.example/x"]);
    cluster
        .call("POST", &connectors, &held)
        .await
        .expect_status(201);
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}});
    cluster
        .call("POST", &secrets, &secret)
        .await
        .expect_status(201);
    let path = format!("/api/v1/namespaces/{name}");
    let going = cluster
        .call("DELETE", &path, &Value::Null)
        .await
        .expect_status(200);
    assert_eq!(going.at("/status/phase"), "Terminating");
    gone(&cluster, &format!("{secrets}/s")).await;
    let refused = cluster
        .call("POST", &secrets, &secret)
        .await
        .expect_status(403);
    assert_eq!(
        refused.at("/details/causes/0/reason"),
        "NamespaceTerminating"
    );
    cluster
        .eventually("the connector is going", || async {
            cluster
                .get(&format!("{connectors}/held"))
                .await
                .at("/metadata/deletionTimestamp")
                .is_string()
                .then_some(())
        })
        .await;
    cluster.get(&path).await.expect_status(200);
    let free = json!({"metadata": {"finalizers": null}});
    cluster
        .call_as("PATCH", &format!("{connectors}/held"), MERGE, &free)
        .await
        .expect_status(200);
    gone(&cluster, &path).await;
}

async fn crd_serves_its_kind_and_takes_its_objects_along(cluster: Cluster) {
    let group = format!("{}.example.com", cluster.namespace);
    let name = format!("things.{group}");
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": name},
        "spec": {"group": group, "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"}, "versions": [
            {"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object",
                "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer", "default": 3}}}}}}}]}});
    let root = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    cluster
        .call("POST", root, &definition)
        .await
        .expect_status(201);
    let path = format!("{root}/{name}");
    let established = cluster
        .eventually("it is established", || async {
            let answer = cluster.get(&path).await;
            let conditions = answer
                .at("/status/conditions")
                .as_array()
                .cloned()
                .unwrap_or_default();
            let holds = |kind: &str| {
                conditions
                    .iter()
                    .any(|one| one["type"] == kind && one["status"] == "True")
            };
            (holds("Established") && holds("NamesAccepted")).then_some(answer)
        })
        .await;
    assert_eq!(established.at("/spec/names/listKind"), "ThingList");
    assert_eq!(established.at("/status/storedVersions"), &json!(["v1"]));
    let things = cluster.path(&format!("{group}/v1"), "things");
    let thing = json!({"apiVersion": format!("{group}/v1"), "kind": "Thing", "metadata": {"name": "t"}, "spec": {}});
    let made = cluster
        .eventually("it is served", || async {
            let answer = cluster.call("POST", &things, &thing).await;
            (answer.status == 201).then_some(answer)
        })
        .await;
    assert_eq!(made.at("/spec/size"), 3);
    cluster
        .call("DELETE", &path, &Value::Null)
        .await
        .expect_status(200);
    gone(&cluster, &path).await;
    gone(&cluster, &format!("{things}/t")).await;
}
