//! API aggregation: a group that another server serves.

use std::time::Duration;

use futures::AsyncBufReadExt;
use http::Request;
use serde_json::{Value, json};

use crate::aggregated_server::{AggregatedServer, get_with};
use crate::cluster::Cluster;
use crate::suite::{ServerFeature, Suite};

/// How long the controllers of a server that has just been started may take, on a machine that does much else.
const CONTROLLERS_TIMEOUT: Duration = Duration::from_mins(2);

pub fn register(suite: &mut Suite) {
    // Each on a server of its own: a group whose server is away holds up every namespace that is to go.
    add!(
        suite,
        [Core, OwnServer],
        aggregated_server_is_told_who_calls
    );
    add!(
        suite,
        [Core, OwnServer],
        users_without_a_role_do_not_reach_the_server
    );
    add!(suite, [Core, OwnServer], bodies_stream_in_both_directions);
    add!(suite, [Core, OwnServer], group_is_in_discovery_and_openapi);
    add!(
        suite,
        [Core, OwnServer],
        server_that_is_away_holds_up_namespaces
    );
    add!(
        suite,
        [Core, OwnServer],
        namespace_takes_aggregated_objects_along
    );
    add!(suite, [Embedded, OwnServer], owner_takes_dependents_along);
    add!(suite, [Core, OwnServer], wrong_authority_is_not_believed);
    add!(suite, [Core], api_service_must_be_named_after_its_version);
    add!(
        suite,
        [Embedded, OwnServer],
        authentication_is_published_when_it_is_read
    );
}

async fn role_for(cluster: &Cluster, user: &str, group: &str) {
    let root = "/apis/rbac.authorization.k8s.io/v1";
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "notes"},
        "rules": [{"apiGroups": [group], "resources": ["notes"], "verbs": ["get"]}]});
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "notes"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "notes"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}]});
    for (plural, object) in [("roles", role), ("rolebindings", binding)] {
        let path = format!("{root}/namespaces/{}/{plural}", cluster.namespace);
        cluster
            .call("POST", &path, &object)
            .await
            .expect_status(201);
    }
}

async fn aggregated_server_is_told_who_calls(cluster: Cluster) {
    cluster.enforce_rbac();
    let server = AggregatedServer::started(&cluster).await;
    let one = format!("{}/one", server.path(&cluster));
    let forged = [
        ("x-remote-user", "mallory"),
        ("x-remote-group", "forged"),
        ("accept", "application/json;as=Odd, application/json"),
    ];
    let seen = get_with(&cluster, &one, &forged).await.expect_status(200);
    assert_eq!(seen.at("/seen/certificate"), "front-proxy-client");
    assert_ne!(seen.at("/seen/user/0"), "mallory", "{}", seen.text);
    let groups = seen.at("/seen/groups");
    assert_eq!(groups, &json!(["system:masters", "system:authenticated"]));
    assert_eq!(
        seen.at("/seen/accept"),
        &json!(["application/json;as=Odd, application/json"])
    );

    role_for(&cluster, "ann", &server.group).await;
    let as_ann = [
        ("impersonate-user", "ann"),
        ("impersonate-group", "staff"),
        ("impersonate-extra-reason", "because"),
    ];
    let look = || async {
        let answer = get_with(&cluster, &format!("{one}?pretty=1"), &as_ann).await;
        (answer.status == 200).then_some(answer)
    };
    let seen = cluster.eventually("the role is known", look).await;
    assert_eq!(seen.at("/seen/user"), &json!(["ann"]));
    let groups = seen.at("/seen/groups");
    assert_eq!(groups, &json!(["staff", "system:authenticated"]));
    assert_eq!(seen.at("/seen/reason"), &json!(["because"]));
    assert_eq!(seen.at("/seen/others"), &json!([]));
    assert_eq!(seen.at("/seen/query"), "pretty=1");
}

async fn users_without_a_role_do_not_reach_the_server(cluster: Cluster) {
    cluster.enforce_rbac();
    let server = AggregatedServer::started(&cluster).await;
    let one = format!("{}/one", server.path(&cluster));
    let refused = get_with(&cluster, &one, &[("impersonate-user", "bob")])
        .await
        .expect_status(403);
    let group = &server.group;
    let wanted = format!(
        "notes.{group} \"one\" is forbidden: User \"bob\" cannot get resource \"notes\" in API group \"{group}\" in the namespace \"{}\"",
        cluster.namespace
    );
    assert_eq!(refused.at("/message"), &json!(wanted));
    assert_eq!(
        refused.at("/details"),
        &json!({"name": "one", "group": group, "kind": "notes"})
    );
    let bob = [("impersonate-user", "bob")];
    let root = format!("/apis/{group}/v1");
    get_with(&cluster, &root, &bob).await.expect_status(200);
}

async fn bodies_stream_in_both_directions(cluster: Cluster) {
    let server = AggregatedServer::started(&cluster).await;
    let path = server.path(&cluster);
    let text = "x".repeat(300_000);
    let note = json!({"apiVersion": format!("{}/v1", server.group), "kind": "Note", "metadata": {"name": "n"}, "text": text});
    let made = cluster.call("POST", &path, &note).await.expect_status(201);
    assert_eq!(made.at("/text").as_str().map(str::len), Some(300_000));

    let request = Request::get(format!("{path}?watch=true"));
    let request = request.body(Vec::new()).expect("a request");
    let lines = cluster.client.request_stream(request).await;
    let mut lines = std::pin::pin!(lines.expect("a stream").lines());
    let mut next = async || {
        let line = futures::StreamExt::next(&mut lines);
        let line = tokio::time::timeout(crate::cluster::WAIT_TIMEOUT, line).await;
        let line = line.expect("in time").expect("an event").expect("a line");
        let event: Value = serde_json::from_str(&line).expect("JSON");
        event["object"]["metadata"]["name"].clone()
    };
    assert_eq!(next().await, "first");
    server.tell_more();
    assert_eq!(next().await, "second");
}

async fn group_is_in_discovery_and_openapi(cluster: Cluster) {
    let mut server = AggregatedServer::started(&cluster).await;
    let group = server.group.clone();
    let root = format!("apis/{group}/v1");
    let groups = cluster.get("/apis").await.expect_status(200);
    let found = |groups: &Value| {
        let all = groups["groups"].as_array().cloned().unwrap_or_default();
        all.into_iter().find(|one| one["name"] == group)
    };
    let entry = found(&groups.body).expect("the group is listed");
    assert_eq!(
        entry["preferredVersion"]["groupVersion"],
        format!("{group}/v1")
    );
    let one = cluster.get(&format!("/apis/{group}")).await;
    assert_eq!(one.expect_status(200).at("/versions"), &entry["versions"]);
    let resources = cluster.get(&format!("/{root}")).await.expect_status(200);
    assert_eq!(resources.at("/resources/0/shortNames"), &json!(["nt"]));
    let look = || async {
        let swagger = cluster.get("/openapi/v2").await;
        let has = |pointer: &str, name: &str| swagger.at(pointer).get(name).is_some();
        (has("/definitions", "example.notes.v1.Note")
            && has("/paths", &format!("/{root}/namespaces/{{namespace}}/notes"))
            && has("/definitions", "io.k8s.api.core.v1.Secret"))
        .then_some(())
    };
    cluster.eventually("OpenAPI v2 has both", look).await;
    if !cluster.has(ServerFeature::Kubernetes130) {
        return;
    }
    let aggregated = [(
        "accept",
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
    )];
    let version = async || {
        let all = get_with(&cluster, "/apis", &aggregated).await;
        let items = all.at("/items").as_array().cloned().unwrap_or_default();
        let item = items
            .into_iter()
            .find(|one| one["metadata"]["name"] == group);
        item.map(|item| item["versions"][0].clone())
    };
    let look = || async { version().await.filter(|one| one["freshness"] == "Current") };
    let current = cluster.eventually("it is discovered", look).await;
    let notes = &current["resources"][0];
    assert_eq!(
        (&notes["resource"], &notes["scope"]),
        (&json!("notes"), &json!("Namespaced"))
    );
    assert_eq!(notes["subresources"][0]["subresource"], "words");
    let index = cluster.get("/openapi/v3").await.expect_status(200);
    let url = index.at("/paths")[&root]["serverRelativeURL"].clone();
    let url = url.as_str().expect("the group has a document");
    let document = cluster.get(url).await.expect_status(200);
    assert_eq!(
        document.at("/components/schemas/example.notes.v1.Note/description"),
        "A note."
    );

    server.stop().await;
    let look = || async { version().await.filter(|one| one["freshness"] == "Stale") };
    let stale = cluster.eventually("it is stale", look).await;
    assert_eq!(stale["resources"], current["resources"]);
    let index = cluster.get("/openapi/v3").await.expect_status(200);
    assert!(index.at("/paths")[&root].is_object(), "{}", index.text);
    assert!(index.at("/paths")["api/v1"].is_object(), "{}", index.text);
}

async fn server_that_is_away_holds_up_namespaces(cluster: Cluster) {
    let mut server = AggregatedServer::started(&cluster).await;
    server.stop().await;
    let path = server.path(&cluster);
    let away = cluster.get(&path).await.expect_status(503);
    assert!(
        away.text.starts_with("error trying to reach service: ")
            || away.text == "service unavailable\n",
        "{}",
        away.text
    );
    // A change has the controller of a real server look at once.
    let change = json!({"metadata": {"annotations": {"changed": "yes"}}});
    let media = "application/merge-patch+json";
    let changed = cluster
        .call_as("PATCH", &server.api_service(), media, &change)
        .await;
    changed.expect_status(200);
    let condition = server.wait_for(&cluster, "False").await;
    assert_eq!(condition["reason"], "FailedDiscoveryCheck");
    let look = || async {
        let answer = cluster.get(&path).await.expect_status(503);
        (answer.text == "service unavailable\n").then_some(())
    };
    cluster.eventually("the group is not proxied", look).await;
    cluster.get("/apis").await.expect_status(200);

    let name = format!("{}-going", cluster.namespace);
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    let made = cluster.call("POST", "/api/v1/namespaces", &namespace).await;
    made.expect_status(201);
    let path = format!("/api/v1/namespaces/{name}");
    let deleted = cluster.call("DELETE", &path, &Value::Null).await;
    deleted.expect_status(200);
    let look = || async {
        let answer = cluster.get(&path).await.expect_status(200);
        let all = answer.at("/status/conditions").as_array().cloned();
        all.into_iter().flatten().find(|one| {
            one["type"] == "NamespaceDeletionDiscoveryFailure" && one["status"] == "True"
        })
    };
    let condition = cluster
        .eventually_within(CONTROLLERS_TIMEOUT, "the condition", look)
        .await;
    assert_eq!(condition["reason"], "DiscoveryFailed");
    let message = condition["message"].as_str().unwrap_or_default();
    assert!(
        message.contains(&format!("{}/v1", server.group)),
        "{message}"
    );

    let deleted = cluster
        .call("DELETE", &server.api_service(), &Value::Null)
        .await;
    deleted.expect_status(200);
    let look = || async { (cluster.get(&path).await.status == 404).then_some(()) };
    cluster
        .eventually_within(CONTROLLERS_TIMEOUT, "the namespace goes", look)
        .await;
}

async fn namespace_takes_aggregated_objects_along(cluster: Cluster) {
    cluster.enforce_rbac();
    let server = AggregatedServer::started(&cluster).await;
    let name = format!("{}-going", cluster.namespace);
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    let made = cluster.call("POST", "/api/v1/namespaces", &namespace).await;
    made.expect_status(201);
    server.add_note(&name, "a", &json!({}));
    let path = format!("/api/v1/namespaces/{name}");
    let deleted = cluster.call("DELETE", &path, &Value::Null).await;
    deleted.expect_status(200);
    let look = || async { (cluster.get(&path).await.status == 404).then_some(()) };
    cluster
        .eventually_within(CONTROLLERS_TIMEOUT, "the namespace goes", look)
        .await;
    assert_eq!(server.notes_in(&name), 0);
    assert_eq!(server.notes_in(&cluster.namespace), 1);
    assert_eq!(
        server.deleted_by()[0],
        "system:serviceaccount:kube-system:namespace-controller"
    );
}

async fn owner_takes_dependents_along(cluster: Cluster) {
    let server = AggregatedServer::started(&cluster).await;
    let path = cluster.path("v1", "configmaps");
    let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owner"}});
    let owner = cluster.call("POST", &path, &owner).await.expect_status(201);
    let references = json!({"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner",
        "uid": owner.at("/metadata/uid")}]});
    server.add_note(&cluster.namespace, "owned", &references);
    let deleted = cluster
        .call("DELETE", &format!("{path}/owner"), &Value::Null)
        .await;
    deleted.expect_status(200);
    let look = || async { (server.notes_in(&cluster.namespace) == 1).then_some(()) };
    cluster.eventually("the dependent goes", look).await;
    let left = format!("{}/one", server.path(&cluster));
    cluster.get(&left).await.expect_status(200);
}

async fn wrong_authority_is_not_believed(cluster: Cluster) {
    let server = AggregatedServer::start(&cluster).await;
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let other = params.self_signed(&key).expect("a certificate").pem();
    server.register_with(&cluster, &other).await;
    // Whether the server is there is found out without checking who it is; its users are not served so.
    server.wait_for(&cluster, "True").await;
    let path = server.path(&cluster);
    let look = || async {
        let refused = cluster.get(&path).await;
        let why = refused.text.starts_with("error trying to reach service: ");
        (refused.status == 503 && why).then_some(())
    };
    cluster.eventually("the server is not believed", look).await;

    let skip = json!({"spec": {"caBundle": null, "insecureSkipTLSVerify": true}});
    let media = "application/merge-patch+json";
    let changed = cluster
        .call_as("PATCH", &server.api_service(), media, &skip)
        .await;
    changed.expect_status(200);
    let look = || async { (cluster.get(&path).await.status == 200).then_some(()) };
    cluster
        .eventually("the server is believed without proof", look)
        .await;
}

async fn api_service_must_be_named_after_its_version(cluster: Cluster) {
    let wrong = json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": "v1.other.example"},
        "spec": {"group": "notes.example", "version": "v1", "groupPriorityMinimum": 0, "versionPriority": 15,
            "caBundle": "eA==", "insecureSkipTLSVerify": true, "service": {"namespace": "default", "name": ""}}});
    let root = "/apis/apiregistration.k8s.io/v1/apiservices";
    let refused = cluster.call("POST", root, &wrong).await.expect_status(422);
    let causes = refused.at("/details/causes").as_array().cloned();
    let mut fields: Vec<String> = causes
        .unwrap_or_default()
        .iter()
        .filter_map(|cause| cause["field"].as_str().map(str::to_owned))
        .collect();
    fields.sort();
    assert_eq!(
        fields,
        [
            "metadata.name",
            "spec.groupPriorityMinimum",
            "spec.insecureSkipTLSVerify",
            "spec.service.name"
        ],
        "{}",
        refused.text
    );
}

async fn authentication_is_published_when_it_is_read(cluster: Cluster) {
    let path = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";
    let found = cluster.get(path).await.expect_status(200);
    let data = found.at("/data");
    assert_eq!(
        data["requestheader-allowed-names"],
        "[\"front-proxy-client\"]"
    );
    assert_eq!(
        data["requestheader-username-headers"],
        "[\"X-Remote-User\"]"
    );
    assert_ne!(data["requestheader-client-ca-file"], data["client-ca-file"]);
}
