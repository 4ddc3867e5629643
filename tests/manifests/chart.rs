//! Checks the rendered chart against Kubernetes' newest types: no field that an API server would drop or refuse, and no Pod that Pod
//! Security "restricted" would refuse. `tests/chart/ci.sh` compares the snapshots with real Helm.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{
    ConfigMap, PersistentVolumeClaim, PodSpec, Secret, Service, ServiceAccount, Volume,
};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding};
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use telegram_connector_operator::controller::{DATA_API_SECRET, RIGHTS, RightScope};

use super::folder;

/// Every object of every snapshot, with the snapshot's name.
fn rendered() -> Vec<(String, Value)> {
    let mut objects = Vec::new();
    for entry in fs::read_dir(folder("tests/chart/snapshots")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        for document in serde_yaml::Deserializer::from_str(&text) {
            let object = Value::deserialize(document).unwrap();
            if object.is_object() {
                objects.push((name.clone(), object));
            }
        }
    }
    assert!(objects.len() > 100, "{}", objects.len());
    objects
}

/// The object after a round trip through its type, which drops unknown fields.
fn round_tripped<T: DeserializeOwned + Serialize>(object: &Value) -> Value {
    let typed: T =
        serde_json::from_value(object.clone()).unwrap_or_else(|e| panic!("{e}: {object}"));
    serde_json::to_value(typed).unwrap()
}

/// Removes nulls and empty lists and maps.
fn without_empty(value: &Value) -> Value {
    let empty = |value: &Value| {
        value.is_null()
            || value.as_array().is_some_and(Vec::is_empty)
            || value.as_object().is_some_and(serde_json::Map::is_empty)
    };
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), without_empty(value)))
            .filter(|(_, value)| !empty(value))
            .collect(),
        Value::Array(items) => items.iter().map(without_empty).collect(),
        other => other.clone(),
    }
}

#[test]
fn chart_objects_have_only_fields_known_to_kubernetes() {
    let mut judged = BTreeMap::<String, usize>::new();
    for (snapshot, object) in rendered() {
        let version = object["apiVersion"].as_str().unwrap();
        let kind = object["kind"].as_str().unwrap();
        let round_tripped = match (version, kind) {
            ("apps/v1", "Deployment") => round_tripped::<Deployment>(&object),
            ("v1", "ConfigMap") => round_tripped::<ConfigMap>(&object),
            ("v1", "PersistentVolumeClaim") => round_tripped::<PersistentVolumeClaim>(&object),
            ("v1", "Secret") => round_tripped::<Secret>(&object),
            ("v1", "Service") => round_tripped::<Service>(&object),
            ("v1", "ServiceAccount") => round_tripped::<ServiceAccount>(&object),
            ("apiregistration.k8s.io/v1", "APIService") => round_tripped::<APIService>(&object),
            ("networking.k8s.io/v1", "Ingress") => round_tripped::<Ingress>(&object),
            ("networking.k8s.io/v1", "NetworkPolicy") => round_tripped::<NetworkPolicy>(&object),
            ("policy/v1", "PodDisruptionBudget") => round_tripped::<PodDisruptionBudget>(&object),
            ("rbac.authorization.k8s.io/v1", "ClusterRole") => {
                round_tripped::<ClusterRole>(&object)
            }
            ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding") => {
                round_tripped::<ClusterRoleBinding>(&object)
            }
            ("rbac.authorization.k8s.io/v1", "Role") => round_tripped::<Role>(&object),
            ("rbac.authorization.k8s.io/v1", "RoleBinding") => {
                round_tripped::<RoleBinding>(&object)
            }
            // Kinds of other projects; and our CRDs, which other tests install on real API servers.
            ("gateway.networking.k8s.io/v1", "HTTPRoute")
            | ("cert-manager.io/v1", "Certificate" | "Issuer")
            | ("monitoring.coreos.com/v1", "ServiceMonitor" | "PodMonitor" | "PrometheusRule")
            | ("apiextensions.k8s.io/v1", "CustomResourceDefinition") => continue,
            other => panic!("{snapshot}: {other:?} is not served by every Kubernetes from 1.30 on"),
        };
        assert_eq!(
            without_empty(&object),
            without_empty(&round_tripped),
            "{snapshot}: {kind}"
        );
        *judged.entry(kind.to_owned()).or_default() += 1;
    }
    assert!(judged.len() >= 12, "{judged:?}");
}

/// <https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted>
fn violations(pod: &PodSpec) -> Vec<String> {
    let mut violations = Vec::new();
    let mut must = |holds: bool, what: &str| {
        if !holds {
            violations.push(what.to_owned());
        }
    };
    let whole = pod.security_context.clone().unwrap_or_default();
    let on = |flag: Option<bool>| flag == Some(true);
    must(
        !on(pod.host_network) && !on(pod.host_pid) && !on(pod.host_ipc),
        "host namespaces",
    );
    for Volume {
        config_map,
        csi,
        downward_api,
        empty_dir,
        ephemeral,
        persistent_volume_claim,
        projected,
        secret,
        name,
        ..
    } in pod.volumes.iter().flatten()
    {
        let restricted = config_map.is_some()
            || csi.is_some()
            || downward_api.is_some()
            || empty_dir.is_some()
            || ephemeral.is_some()
            || persistent_volume_claim.is_some()
            || projected.is_some()
            || secret.is_some();
        must(restricted, &format!("kind of volume {name}"));
    }
    for container in &pod.containers {
        let own = container.security_context.clone().unwrap_or_default();
        must(!on(own.privileged), "privileged");
        must(
            own.allow_privilege_escalation == Some(false),
            "allowPrivilegeEscalation",
        );
        let capabilities = own.capabilities.unwrap_or_default();
        must(
            capabilities.drop == Some(vec!["ALL".into()]) && capabilities.add.is_none(),
            "capabilities",
        );
        must(
            on(own.run_as_non_root.or(whole.run_as_non_root)),
            "runAsNonRoot",
        );
        must(
            own.run_as_user.or(whole.run_as_user) != Some(0),
            "runAsUser",
        );
        let seccomp = own
            .seccomp_profile
            .or_else(|| whole.seccomp_profile.clone());
        must(
            seccomp.is_some_and(|s| matches!(s.type_.as_str(), "RuntimeDefault" | "Localhost")),
            "seccompProfile",
        );
        // Not required by "restricted", but by this project.
        must(on(own.read_only_root_filesystem), "readOnlyRootFilesystem");
        let ports = container.ports.iter().flatten();
        must(ports.clone().all(|p| p.host_port.is_none()), "hostPort");
    }
    violations
}

#[test]
fn every_pod_of_the_chart_meets_pod_security_restricted() {
    let mut pods = 0;
    for (snapshot, object) in rendered() {
        if object["kind"] == json!("Deployment") {
            let pod: PodSpec =
                serde_json::from_value(object["spec"]["template"]["spec"].clone()).unwrap();
            assert_eq!(violations(&pod), [""; 0], "{snapshot}");
            pods += 1;
        }
    }
    assert!(pods >= 12, "{pods}");
}

#[test]
fn privileged_pod_violates_every_rule() {
    let pod = json!({
        "hostNetwork": true,
        "containers": [{"name": "a", "ports": [{"containerPort": 1, "hostPort": 1}], "securityContext": {"privileged": true, "runAsUser": 0}}],
        "volumes": [{"name": "host", "hostPath": {"path": "/"}}],
    });
    let found = violations(&serde_json::from_value(pod).unwrap());
    assert_eq!(found.len(), 10, "{found:?}");
}

/// One verb on one resource of one group, in one kind of namespace.
type Permission = (String, String, String);

#[test]
fn doctor_asks_for_the_rights_that_the_chart_grants() {
    let (mut watched, mut lease) = (BTreeSet::new(), BTreeSet::new());
    let rendered = rendered();
    let cluster_lists = rendered.iter().find(|(snapshot, object)| {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        snapshot == "default" && object["kind"] == "ClusterRole" && name.ends_with("-cluster-lists")
    });
    let cluster_lists = cluster_lists.expect("a role").1["rules"].clone();
    let cluster_lists: Vec<PolicyRule> = serde_json::from_value(cluster_lists).unwrap();
    let cluster_lists = cluster_lists.iter().flat_map(permissions).collect();
    let roles = rendered
        .iter()
        .filter(|(snapshot, object)| snapshot == "namespaced-postgres" && object["kind"] == "Role");
    for (_, role) in roles {
        let name = role["metadata"]["name"].as_str().unwrap();
        let rules: Vec<PolicyRule> = serde_json::from_value(role["rules"].clone()).unwrap();
        let granted = if name.ends_with("-leader") {
            &mut lease
        } else {
            &mut watched
        };
        granted.extend(rules.iter().flat_map(permissions));
    }
    for (scope, granted) in [
        (RightScope::Watched, watched),
        (RightScope::Lease, lease),
        (RightScope::ClusterUserLists, cluster_lists),
    ] {
        let rights = RIGHTS.iter().filter(|right| right.scope == scope);
        let asked: BTreeSet<Permission> = rights
            .flat_map(|right| {
                let mut resource = right.resource.to_owned();
                if !right.subresource.is_empty() {
                    resource = format!("{resource}/{}", right.subresource);
                }
                let verbs = right.verbs.iter();
                verbs
                    .map(move |verb| (right.group.to_owned(), resource.clone(), (*verb).to_owned()))
            })
            .collect();
        assert_eq!(asked, granted, "{scope:?}");
    }
}

#[test]
fn doctor_asks_for_the_rights_of_the_data_api_by_name() {
    let roles = rendered();
    let named = |kind: &str, suffix: &str| {
        let mut found = roles.iter().filter(|(snapshot, object)| {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            snapshot == "data-api" && object["kind"] == kind && name.ends_with(suffix)
        });
        let role = &found.next().expect("a role").1;
        serde_json::from_value::<Vec<PolicyRule>>(role["rules"].clone()).unwrap()
    };
    let secret = "operator-telegram-connector-operator-data-api-certificate";
    for (scope, rules) in [
        (RightScope::DataApiSecret, named("Role", "-data-api")),
        (
            RightScope::DataApiService,
            named("ClusterRole", "-data-api"),
        ),
    ] {
        let asked: Vec<_> = RIGHTS.iter().filter(|right| right.scope == scope).collect();
        assert_eq!((asked.len(), rules.len()), (1, 1), "{scope:?}");
        let (right, rule) = (asked[0], &rules[0]);
        let name = match right.name {
            DATA_API_SECRET => secret,
            name => name,
        };
        assert_eq!(rule.resource_names, Some(vec![name.to_owned()]));
        assert_eq!(rule.verbs, right.verbs);
        assert_eq!(rule.resources, Some(vec![right.resource.to_owned()]));
        assert_eq!(rule.api_groups, Some(vec![right.group.to_owned()]));
    }
}

#[test]
fn words_of_people_are_in_no_role_of_the_clusters_own() {
    let mut roles = 0;
    for (snapshot, object) in rendered() {
        let labels = object["metadata"]["labels"].to_string();
        if object["kind"] != "ClusterRole" || !labels.contains("aggregate-to") {
            continue;
        }
        let rules: Vec<PolicyRule> = serde_json::from_value(object["rules"].clone()).unwrap();
        for (group, resource, verb) in rules.iter().flat_map(permissions) {
            if group == "data.connectors.pupau.ai" {
                roles += 1;
                assert!(
                    ["conversations", "deadletters"].contains(&resource.as_str())
                        && ["get", "list", "watch"].contains(&verb.as_str())
                        && !labels.contains("aggregate-to-view"),
                    "{snapshot}: {verb} {resource}"
                );
            }
        }
    }
    assert!(roles >= 6, "{roles}");
}

fn permissions(rule: &PolicyRule) -> Vec<Permission> {
    let mut permissions = Vec::new();
    for group in rule.api_groups.iter().flatten() {
        for resource in rule.resources.iter().flatten() {
            let verbs = rule.verbs.iter();
            permissions.extend(verbs.map(|verb| (group.clone(), resource.clone(), verb.clone())));
        }
    }
    permissions
}
