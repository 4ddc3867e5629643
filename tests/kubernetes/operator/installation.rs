//! Incomplete installations: CRDs that are created after the operator has started, and stored objects that do not match the schema
//! because an older CRD accepted them.

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps,
};
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Api, Resource};
use serde_json::{Value, json};
use telegram_connector_operator::api::{TelegramConnector, TelegramUserList, crds};

use super::test_env::{OperatorOptions, TestEnv};
use crate::cluster::Cluster;
use crate::servers::install;
use crate::suite::Suite;

pub fn register(suite: &mut Suite) {
    add!(
        suite,
        [Core, OwnServer],
        late_crds_are_awaited_and_unreadable_objects_harm_no_other
    );
}

/// The operator's CRDs with a schema that accepts every object.
fn permissive() -> [CustomResourceDefinition; 3] {
    crds::all().map(|mut definition| {
        for version in &mut definition.spec.versions {
            let schema = version
                .schema
                .as_mut()
                .and_then(|s| s.open_api_v3_schema.as_mut());
            *schema.expect("a schema") = JSONSchemaProps {
                type_: Some("object".into()),
                x_kubernetes_preserve_unknown_fields: Some(true),
                ..JSONSchemaProps::default()
            };
        }
        definition
    })
}

fn untyped<K: Resource<DynamicType = ()>>(cluster: &Cluster) -> Api<DynamicObject> {
    let resource = ApiResource::erase::<K>(&());
    Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &resource)
}

async fn create<K: Resource<DynamicType = ()>>(cluster: &Cluster, name: &str, spec: Value) {
    let object = json!({
        "apiVersion": K::api_version(&()), "kind": K::kind(&()), "metadata": {"name": name}, "spec": spec,
    });
    untyped::<K>(cluster)
        .create(
            &PostParams::default(),
            &serde_json::from_value(object).expect("an object"),
        )
        .await
        .expect("the permissive CRD accepts the object");
}

async fn replace<K: Resource<DynamicType = ()>>(cluster: &Cluster, name: &str, spec: Value) {
    let patch = json!([{"op": "replace", "path": "/spec", "value": spec}]);
    let patch = serde_json::from_value(patch).expect("a patch");
    untyped::<K>(cluster)
        .patch(name, &PatchParams::default(), &Patch::<()>::Json(patch))
        .await
        .expect("the spec is replaced");
}

async fn late_crds_are_awaited_and_unreadable_objects_harm_no_other(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    let operator = env.start_operator(OperatorOptions::polling()).await;
    let readyz = || async {
        let url = format!("http://{}/readyz", operator.admin_address());
        let answer = reqwest::get(url).await.expect("an answer");
        (
            answer.status().as_u16(),
            answer.text().await.expect("a text"),
        )
    };
    env.cluster
        .eventually("/readyz names the missing CRDs", || async {
            let (status, text) = readyz().await;
            (status == 503 && text.contains("telegramconnectors") && text.contains("crds/"))
                .then_some(())
        })
        .await;
    install(&env.cluster.client, permissive()).await;
    env.cluster
        .eventually("the operator is ready", || async {
            (readyz().await.0 == 200).then_some(())
        })
        .await;
    let (bot, _) = env.create_working_connector("valid").await;
    env.wait_until_ready("valid").await;

    create::<TelegramConnector>(
        &env.cluster,
        "broken",
        json!({"botTokenSecretRef": 7, "assistant": "x"}),
    )
    .await;
    create::<TelegramUserList>(&env.cluster, "staff", json!({"users": "everybody"})).await;
    env.create_connector_with_bot(
        "listed",
        json!({"access": {"level": "Company", "companyUsers": {"listRefs": [{"name": "staff"}]}}}),
    )
    .await;
    let message = env
        .wait_until_not_ready("listed", "AccessResolved", "False", "UserListInvalid")
        .await;
    assert!(message.contains("\"staff\""), "{message}");
    env.telegram
        .send_and_wait(bot, 1001, "still there?", Duration::from_secs(20))
        .await;
    env.create_working_connector("later").await;
    env.wait_until_ready("later").await;

    // A restart reads them in the initial list.
    operator.shutdown().await;
    let operator = env.start_operator(OperatorOptions::polling()).await;
    env.telegram
        .send_and_wait(bot, 1002, "and now?", Duration::from_secs(20))
        .await;

    // Once repaired, they work without a restart.
    replace::<TelegramUserList>(&env.cluster, "staff", json!({"users": [{"id": 1001}]})).await;
    env.wait_until_ready("listed").await;
    let (repaired, token) = env.add_bot();
    env.set_secret("broken", "token", &token).await;
    let valid_spec = env
        .connectors()
        .get("valid")
        .await
        .expect("the connector")
        .spec;
    let mut spec = serde_json::to_value(valid_spec).expect("a spec");
    spec["botTokenSecretRef"] = json!({"name": "broken"});
    replace::<TelegramConnector>(&env.cluster, "broken", spec).await;
    env.wait_until_ready("broken").await;
    env.telegram
        .send_and_wait(repaired, 1003, "hello", Duration::from_secs(20))
        .await;
    operator.shutdown().await;
}
