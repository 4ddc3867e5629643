//! Role-based access control: what roles allow to users, in reviews and when it is tried.

use serde_json::{Value, json};

use crate::aggregated_server::get_with;
use crate::cluster::Cluster;
use crate::suite::Suite;

pub fn register(suite: &mut Suite) {
    add!(suite, [Core], roles_decide_reviews_and_requests);
    add!(suite, [Core], own_review_is_of_the_user_that_is_acted_as);
    add!(suite, [Core], group_without_a_user_is_an_error);
}

const GROUP: &str = "rbac.authorization.k8s.io";

/// Lets a group of users read one `ConfigMap` and every Pod's status.
async fn bind(cluster: &Cluster, group: &str) {
    let role = json!({"apiVersion": format!("{GROUP}/v1"), "kind": "Role", "metadata": {"name": "reader"}, "rules": [
        {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["one"], "verbs": ["get", "watch"]},
        {"apiGroups": [""], "resources": ["pods/*"], "verbs": ["get"]}, {"apiGroups": [""], "resources": ["pods/status"], "verbs": ["get"]}]});
    let binding = json!({"apiVersion": format!("{GROUP}/v1"), "kind": "RoleBinding", "metadata": {"name": "reader"},
        "roleRef": {"apiGroup": GROUP, "kind": "Role", "name": "reader"},
        "subjects": [{"apiGroup": GROUP, "kind": "Group", "name": group}]});
    for (plural, object) in [("roles", role), ("rolebindings", binding)] {
        let path = format!("/apis/{GROUP}/v1/namespaces/{}/{plural}", cluster.namespace);
        cluster
            .call("POST", &path, &object)
            .await
            .expect_status(201);
    }
}

async fn review(cluster: &Cluster, attributes: Value, groups: &[&str]) -> bool {
    let mut attributes = attributes;
    attributes["namespace"] = cluster.namespace.clone().into();
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": {"user": "ann", "groups": groups, "resourceAttributes": attributes}});
    let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let answer = cluster.call("POST", path, &review).await.expect_status(201);
    answer.at("/status/allowed") == true
}

async fn roles_decide_reviews_and_requests(cluster: Cluster) {
    cluster.enforce_rbac();
    let group = format!("readers-{}", cluster.namespace);
    bind(&cluster, &group).await;
    let one = json!({"verb": "get", "resource": "configmaps", "name": "one"});
    let look = || async {
        let allowed = review(&cluster, one.clone(), &[&group]).await;
        allowed.then_some(())
    };
    cluster.eventually("the role is known", look).await;
    let denied = [
        json!({"verb": "get", "resource": "configmaps", "name": "two"}),
        json!({"verb": "get", "resource": "configmaps"}),
        json!({"verb": "list", "resource": "configmaps", "name": "one"}),
        json!({"verb": "get", "resource": "configmaps", "name": "one", "group": "apps"}),
        json!({"verb": "get", "resource": "pods"}),
        json!({"verb": "get", "resource": "pods", "subresource": "log"}),
    ];
    for attributes in denied {
        assert!(
            !review(&cluster, attributes.clone(), &[&group]).await,
            "{attributes}"
        );
    }
    let status = json!({"verb": "get", "resource": "pods", "subresource": "status"});
    assert!(review(&cluster, status, &[&group]).await);
    assert!(!review(&cluster, one.clone(), &["others"]).await);
    assert!(review(&cluster, one, &["system:masters"]).await);

    let path = cluster.path("v1", "configmaps");
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}});
    cluster
        .call("POST", &path, &object)
        .await
        .expect_status(201);
    let ann = [
        ("impersonate-user", "ann"),
        ("impersonate-group", group.as_str()),
    ];
    let one = get_with(&cluster, &format!("{path}/one"), &ann).await;
    one.expect_status(200);
    let refused = get_with(&cluster, &path, &ann).await.expect_status(403);
    let wanted = format!(
        "configmaps is forbidden: User \"ann\" cannot list resource \"configmaps\" in API group \"\" in the namespace \"{}\"",
        cluster.namespace
    );
    assert_eq!(refused.at("/message"), &json!(wanted));
    assert_eq!(refused.at("/details"), &json!({"kind": "configmaps"}));
    // To watch one object by its name is to watch that object.
    let watch = format!("{path}?watch=true&timeoutSeconds=1&fieldSelector=metadata.name");
    for (selector, status) in [
        ("%3Done", 200),
        ("%3D%3Done", 200),
        ("%3Dtwo", 403),
        ("!%3Done", 403),
    ] {
        let answer = get_with(&cluster, &format!("{watch}{selector}"), &ann).await;
        answer.expect_status(status);
    }
    get_with(&cluster, "/apis", &ann).await.expect_status(200);
    let nobody = [("impersonate-user", "system:anonymous")];
    get_with(&cluster, "/version", &nobody)
        .await
        .expect_status(200);
    let refused = get_with(&cluster, "/apis", &nobody)
        .await
        .expect_status(403);
    let wanted = "forbidden: User \"system:anonymous\" cannot get path \"/apis\"";
    assert_eq!(refused.at("/message"), wanted);
}

async fn own_review_is_of_the_user_that_is_acted_as(cluster: Cluster) {
    cluster.enforce_rbac();
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"verb": "get", "resource": "secrets", "namespace": cluster.namespace}}});
    let allowed = async |user: &str, group: &str| {
        let request = http::Request::post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews")
            .header("content-type", "application/json")
            .header("impersonate-user", user)
            .header("impersonate-group", group)
            .body(review.to_string().into_bytes())
            .expect("a request");
        let answer = cluster.send(request).await.expect_status(201);
        answer.at("/status/allowed").clone()
    };
    assert_eq!(allowed("ann", "staff").await, false);
    assert_eq!(allowed("ann", "system:masters").await, true);
}

async fn group_without_a_user_is_an_error(cluster: Cluster) {
    let headers = [("impersonate-group", "staff")];
    let answer = get_with(&cluster, "/version", &headers).await;
    answer.expect_status(500);
}
