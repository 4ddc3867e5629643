//! A server on which things are not as they should be: CRDs that come after the operator, and objects that nobody can read because
//! an older CRD let them in.

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps,
};
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Api, Resource};
use serde_json::{Value, json};
use telegram_connector_operator::api::{TelegramConnector, TelegramUserList, crds};

use super::house::{House, Start};
use crate::cluster::Cluster;
use crate::servers::install;
use crate::suite::Suite;

pub fn register(suite: &mut Suite) {
    add!(
        suite,
        [Core, Alone],
        definitions_that_come_later_are_waited_for_and_unreadable_objects_hurt_nobody_else
    );
}

/// Our CRDs without their schema: whatever is written is taken.
fn permissive() -> [CustomResourceDefinition; 2] {
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
        .expect("a permissive server takes it");
}

async fn replace<K: Resource<DynamicType = ()>>(cluster: &Cluster, name: &str, spec: Value) {
    let patch = json!([{"op": "replace", "path": "/spec", "value": spec}]);
    let patch = serde_json::from_value(patch).expect("a patch");
    untyped::<K>(cluster)
        .patch(name, &PatchParams::default(), &Patch::<()>::Json(patch))
        .await
        .expect("the repair");
}

async fn definitions_that_come_later_are_waited_for_and_unreadable_objects_hurt_nobody_else(
    cluster: Cluster,
) {
    let house = House::new(cluster).await;
    let operator = house.operator(Start::polling()).await;
    let readyz = || async {
        let url = format!("http://{}/readyz", operator.admin_address());
        let answer = reqwest::get(url).await.expect("an answer");
        (
            answer.status().as_u16(),
            answer.text().await.expect("a text"),
        )
    };
    house
        .cluster
        .eventually("it says what it waits for", || async {
            let (status, text) = readyz().await;
            (status == 503 && text.contains("telegramconnectors") && text.contains("crds/"))
                .then_some(())
        })
        .await;
    install(&house.cluster.client, permissive()).await;
    house
        .cluster
        .eventually("it is ready", || async {
            (readyz().await.0 == 200).then_some(())
        })
        .await;
    let (bot, _) = house.sound_connector("sound").await;
    house.ready("sound").await;

    create::<TelegramConnector>(
        &house.cluster,
        "broken",
        json!({"botTokenSecretRef": 7, "assistant": "x"}),
    )
    .await;
    create::<TelegramUserList>(&house.cluster, "staff", json!({"users": "everybody"})).await;
    let (_, token) = house.bot();
    house.secret("listed", "token", &token).await;
    house
        .connector(
            "listed",
            json!({"access": {"level": "Company", "companyUsers": {"listRefs": [{"name": "staff"}]}}}),
        )
        .await;
    let message = house
        .not_ready("listed", "AccessResolved", "False", "UserListInvalid")
        .await;
    assert!(message.contains("\"staff\""), "{message}");
    house
        .telegram
        .send_and_wait(bot, 1001, "still there?", Duration::from_secs(20))
        .await;
    house.sound_connector("later").await;
    house.ready("later").await;

    // They are there at a start, too.
    operator.shutdown().await;
    let operator = house.operator(Start::polling()).await;
    house
        .telegram
        .send_and_wait(bot, 1002, "and now?", Duration::from_secs(20))
        .await;

    // Repaired, without a restart.
    replace::<TelegramUserList>(&house.cluster, "staff", json!({"users": [{"id": 1001}]})).await;
    house.ready("listed").await;
    let (repaired, token) = house.bot();
    house.secret("broken", "token", &token).await;
    let sound = house.connectors().get("sound").await.expect("it").spec;
    let mut spec = serde_json::to_value(sound).expect("a spec");
    spec["botTokenSecretRef"] = json!({"name": "broken"});
    replace::<TelegramConnector>(&house.cluster, "broken", spec).await;
    house.ready("broken").await;
    house
        .telegram
        .send_and_wait(repaired, 1003, "hello", Duration::from_secs(20))
        .await;
    operator.shutdown().await;
}
