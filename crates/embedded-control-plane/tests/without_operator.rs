//! The crate as another project would use it: a CRD of its own, kube's client, manifests, faults and the request log.

#![allow(clippy::unwrap_used)]
#![cfg(feature = "server")]

use embedded_control_plane::schema::{KindValidator, prune};
use embedded_control_plane::{ControlPlane, FaultEffect, FaultTarget, ManifestError, Verb};
use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube::api::{Api, DynamicObject, ListParams, PostParams, WatchEvent, WatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

const RESOURCE: &str = "things.example.com";

fn schema() -> Value {
    json!({"type": "object", "properties": {"spec": {
        "type": "object",
        "required": ["size"],
        "properties": {
            "size": {"type": "integer", "minimum": 1},
            "color": {"type": "string", "default": "red"},
        },
        "x-kubernetes-validations": [
            {"rule": "self.color != 'blue' || self.size > 3", "message": "blue things are larger than 3"},
        ],
    }}})
}

fn crd() -> CustomResourceDefinition {
    serde_json::from_value(json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": RESOURCE},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "things", "singular": "thing", "kind": "Thing"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema()}}],
        },
    }))
    .unwrap()
}

fn things(client: Client) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("example.com", "v1", "Thing");
    Api::default_namespaced_with(client, &ApiResource::from_gvk(&kind))
}

fn thing(name: &str, spec: Value) -> DynamicObject {
    let object = json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": name}, "spec": spec});
    serde_json::from_value(object).unwrap()
}

#[tokio::test]
async fn foreign_crd_is_served_with_defaults_and_cel_rules() {
    let control_plane = ControlPlane::builder().crds([crd()]).build();
    let things = things(control_plane.client());
    let params = PostParams::default();

    let small = thing("small", json!({"size": 1}));
    let created = things.create(&params, &small).await.unwrap();
    assert_eq!(created.data["spec"]["color"], "red");
    let blue = thing("blue", json!({"size": 3, "color": "blue"}));
    let refused = things.create(&params, &blue).await.unwrap_err().to_string();
    assert!(
        refused.contains("blue things are larger than 3"),
        "{refused}"
    );
    let listed = things.list(&ListParams::default()).await.unwrap();
    assert_eq!(listed.items.len(), 1);

    let version = listed.metadata.resource_version.unwrap();
    let watch = things.watch(&WatchParams::default(), &version).await;
    let mut watch = std::pin::pin!(watch.unwrap());
    let large = thing("large", json!({"size": 4, "color": "blue"}));
    things.create(&params, &large).await.unwrap();
    let event = watch.next().await.unwrap().unwrap();
    assert!(
        matches!(&event, WatchEvent::Added(object) if object.metadata.name.as_deref() == Some("large")),
        "{event:?}"
    );
}

#[tokio::test]
async fn manifests_bring_their_own_crd() {
    let control_plane = ControlPlane::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("things.json");
    let stream = [
        serde_json::to_string(&thing("small", json!({"size": 1}))).unwrap(),
        serde_json::to_string(&crd()).unwrap(),
    ];
    std::fs::write(&file, stream.join("\n---\n")).unwrap();
    assert_eq!(control_plane.apply_manifests([&file]).unwrap(), 2);
    let found = things(control_plane.client()).get("small").await.unwrap();
    assert_eq!(found.data["spec"], json!({"size": 1, "color": "red"}));

    std::fs::write(
        &file,
        serde_json::to_string(&thing("none", json!({}))).unwrap(),
    )
    .unwrap();
    let error: ManifestError = control_plane.apply_manifests([&file]).unwrap_err();
    assert!(error.to_string().contains("spec.size"), "{error}");
}

#[tokio::test]
async fn manifest_with_a_key_twice_is_refused() {
    let control_plane = ControlPlane::builder().crds([crd()]).build();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("things.yaml");
    let things = "apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: one}\nspec: {size: 1}\n---\n\
                  apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: two}\nspec:\n  size: 1\n  color: green\n  size: 2\n";
    std::fs::write(&file, things).unwrap();
    let error = control_plane.apply_manifests([&file]).unwrap_err();
    let error = error.to_string();
    for part in ["things.yaml", "Thing \"two\"", "spec.size twice"] {
        assert!(error.contains(part), "no {part}: {error}");
    }
}

#[tokio::test]
async fn injected_fault_hits_once_and_requests_are_counted() {
    let control_plane = ControlPlane::new();
    let config_maps: Api<ConfigMap> = Api::default_namespaced(control_plane.client());
    let mut object = ConfigMap::default();
    object.metadata.name = Some("settings".into());
    control_plane.faults().inject_times(
        1,
        FaultTarget::any().verb(Verb::Create).resource("configmaps"),
        FaultEffect::Error(503, "try later".into()),
    );
    let params = PostParams::default();
    let refused = config_maps.create(&params, &object).await.unwrap_err();
    assert!(matches!(&refused, kube::Error::Api(status) if status.code == 503));
    config_maps.create(&params, &object).await.unwrap();
    let requests = control_plane.request_log();
    assert_eq!(requests.count(Verb::Create, "configmaps"), 2);
    assert_eq!(requests.requests().last().unwrap().status, 201);
}

#[test]
#[should_panic(expected = "is refused")]
fn builder_panics_with_the_message_of_a_refused_crd() {
    let mut wrong = crd();
    wrong.metadata.name = Some("other.example.com".into());
    drop(ControlPlane::builder().crds([wrong]).build());
}

#[test]
fn validator_works_without_a_server() {
    let validator = KindValidator::compile(&schema());
    let mut object =
        json!({"metadata": {"name": "a"}, "spec": {"size": 0, "color": "blue", "weight": 3}});
    assert_eq!(prune(&mut object, &validator.schema, true), ["spec.weight"]);
    let structural = validator.validate_structure(&object);
    assert_eq!(structural[0].field, "spec.size");
    let rules = validator.validate_rules(&object, None);
    assert!(
        rules[0].message.contains("blue things are larger than 3"),
        "{}",
        rules[0]
    );
}
