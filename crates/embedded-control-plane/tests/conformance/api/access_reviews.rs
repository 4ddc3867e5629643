//! Access reviews, and the workloads that are only kept.

use embedded_control_plane::AccessDenial;
use serde_json::{Value, json};

use crate::cluster::{ApiResponse, Cluster};
use crate::suite::Suite;

pub fn register(suite: &mut Suite) {
    add!(suite, [Core], review_of_the_administrator_allows_everything);
    add!(
        suite,
        [Core, Rbac],
        review_of_an_unknown_user_allows_nothing
    );
    add!(suite, [Embedded], denied_request_is_refused_and_reviewed_so);
    add!(suite, [Embedded], denial_to_another_user_is_not_the_callers);
    add!(suite, [Core], deployment_status_is_a_part_of_its_own);
}

const OWN: &str = "selfsubjectaccessreviews";
const OTHERS: &str = "subjectaccessreviews";

async fn review(cluster: &Cluster, resource: &str, user: Option<&str>, verb: &str) -> ApiResponse {
    let mut spec = json!({"resourceAttributes": {
        "verb": verb, "group": "connectors.pupau.ai", "resource": "telegramconnectors", "subresource": "status", "namespace": cluster.namespace,
    }});
    if let Some(user) = user {
        spec["user"] = user.into();
    }
    let kind = if user.is_some() {
        "SubjectAccessReview"
    } else {
        "SelfSubjectAccessReview"
    };
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec});
    let path = format!("/apis/authorization.k8s.io/v1/{resource}");
    let answer = cluster.call("POST", &path, &review).await;
    answer.expect_status(201)
}

async fn review_of_the_administrator_allows_everything(cluster: Cluster) {
    let answer = review(&cluster, OWN, None, "patch").await;
    assert_eq!(answer.at("/status/allowed"), true, "{}", answer.text);
    assert_eq!(answer.at("/spec/resourceAttributes/subresource"), "status");
    let path = format!("/apis/authorization.k8s.io/v1/{OWN}");
    cluster.get(&path).await.expect_status(405);
}

async fn review_of_an_unknown_user_allows_nothing(cluster: Cluster) {
    let answer = review(&cluster, OTHERS, Some("system:nobody"), "patch").await;
    assert_eq!(answer.at("/status/allowed"), false, "{}", answer.text);
}

async fn denied_request_is_refused_and_reviewed_so(cluster: Cluster) {
    let denial =
        AccessDenial::to_caller().resource("telegramconnectors.connectors.pupau.ai/status");
    cluster.control_plane().faults().deny(denial.verb("patch"));
    let denied = review(&cluster, OWN, None, "patch").await;
    assert_eq!(denied.at("/status/allowed"), false);
    let other = review(&cluster, OWN, None, "get").await;
    assert_eq!(other.at("/status/allowed"), true);
    let status = format!("{}/x/status", cluster.connectors());
    let media = "application/merge-patch+json";
    let patched = cluster.call_as("PATCH", &status, media, &json!({})).await;
    let refused = patched.expect_status(403);
    assert_eq!(refused.at("/reason"), "Forbidden");
}

async fn denial_to_another_user_is_not_the_callers(cluster: Cluster) {
    let faults = cluster.control_plane().faults();
    faults.deny(AccessDenial::to_user("somebody").namespace(&cluster.namespace));
    let somebody = review(&cluster, OTHERS, Some("somebody"), "get").await;
    assert_eq!(somebody.at("/status/allowed"), false);
    let caller = review(&cluster, OWN, None, "get").await;
    assert_eq!(caller.at("/status/allowed"), true);
    let else_ = review(&cluster, OTHERS, Some("somebody else"), "get").await;
    assert_eq!(else_.at("/status/allowed"), true);
}

async fn deployment_status_is_a_part_of_its_own(cluster: Cluster) {
    let labels = json!({"app": "x"});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i", "args": ["run"]}]}},
        },
        "status": {"readyReplicas": 7},
    });
    let path = cluster.path("apps/v1", "deployments");
    let answer = cluster.call("POST", &path, &deployment).await;
    let made = answer.expect_status(201);
    assert_eq!(made.at("/status/readyReplicas"), &Value::Null);
    assert_eq!(made.at("/metadata/generation"), 1);
    assert_eq!(made.at("/spec/template/spec/containers/0/args/0"), "run");
}
