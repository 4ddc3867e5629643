//! Lists, pages, selectors, tables and metadata-only shapes.

use http::Request;
use serde_json::{Value, json};

use super::basics::connector;
use crate::cluster::{ApiResponse, Cluster};
use crate::suite::{ServerFeature, Suite};

pub fn register(suite: &mut Suite) {
    add!(suite, [], selectors_choose_by_label_and_field);
    add!(suite, [], pages_show_one_consistent_list);
    add!(suite, [], tables_have_the_columns_of_the_definition);
    add!(suite, [], metadata_alone_is_served);
    add!(
        suite,
        [Kubernetes130],
        contradictory_list_options_are_refused
    );
    add!(suite, [], a_kind_is_found_by_discovery);
    add!(
        suite,
        [Core, Kubernetes130],
        discovery_is_aggregated_on_request
    );
}

async fn make(cluster: &Cluster, names: &[&str]) {
    for name in names {
        let mut wanted = connector(name);
        wanted["metadata"]["labels"] = json!({"name": name, "kind": "test"});
        cluster
            .call("POST", &cluster.connectors(), &wanted)
            .await
            .expect_status(201);
    }
}

fn names(answer: &ApiResponse) -> Vec<String> {
    let items = answer.at("/items").as_array().cloned().unwrap_or_default();
    items
        .iter()
        .filter_map(|item| item["metadata"]["name"].as_str().map(str::to_owned))
        .collect()
}

async fn selectors_choose_by_label_and_field(cluster: Cluster) {
    make(&cluster, &["a", "b", "c"]).await;
    let list = |query: &'static str| {
        let cluster = cluster.clone();
        async move {
            cluster
                .get(&format!("{}?{query}", cluster.connectors()))
                .await
        }
    };
    for (query, wanted) in [
        ("labelSelector=name%3Da", vec!["a"]),
        ("labelSelector=name!%3Da", vec!["b", "c"]),
        (
            "labelSelector=name%20in%20(a,c),kind%3Dtest",
            vec!["a", "c"],
        ),
        ("labelSelector=name%20notin%20(a,c)", vec!["b"]),
        ("labelSelector=!name", vec![]),
        ("labelSelector=kind", vec!["a", "b", "c"]),
        ("fieldSelector=metadata.name%3Db", vec!["b"]),
        ("fieldSelector=metadata.name!%3Db", vec!["a", "c"]),
    ] {
        let answer = list(query).await.expect_status(200);
        assert_eq!(names(&answer), wanted, "{query}");
        assert_eq!(answer.at("/kind"), "TelegramConnectorList");
    }
    let refused = list("fieldSelector=spec.x%3Dy").await.expect_status(400);
    assert_eq!(refused.at("/message"), "field label not supported: spec.x");
    list("labelSelector=a%20b%20c").await.expect_status(400);
}

async fn pages_show_one_consistent_list(cluster: Cluster) {
    make(&cluster, &["a", "b", "c", "d", "e"]).await;
    let path = cluster.connectors();
    let first = cluster
        .get(&format!("{path}?limit=2"))
        .await
        .expect_status(200);
    assert_eq!(names(&first), ["a", "b"]);
    assert_eq!(first.at("/metadata/remainingItemCount"), 3);
    cluster
        .call("DELETE", &format!("{path}/c"), &Value::Null)
        .await
        .expect_status(200);
    make(&cluster, &["bb"]).await;
    let next = |answer: &ApiResponse| {
        answer
            .at("/metadata/continue")
            .as_str()
            .expect("a token")
            .to_owned()
    };
    let token = next(&first);
    let second = cluster
        .get(&format!("{path}?limit=2&continue={token}"))
        .await
        .expect_status(200);
    assert_eq!(
        names(&second),
        ["c", "d"],
        "the list is as it was when it began"
    );
    assert_eq!(
        second.at("/metadata/resourceVersion"),
        first.at("/metadata/resourceVersion")
    );
    let token = next(&second);
    let third = cluster
        .get(&format!("{path}?limit=2&continue={token}"))
        .await
        .expect_status(200);
    assert_eq!(names(&third), ["e"]);
    assert_eq!(
        third.at("/metadata/continue").as_str().unwrap_or_default(),
        ""
    );
    cluster
        .get(&format!("{path}?continue=nonsense"))
        .await
        .expect_status(400);
}

async fn get_as(cluster: &Cluster, path: &str, accept: &str) -> ApiResponse {
    let request = Request::get(path)
        .header("accept", accept)
        .body(Vec::new())
        .expect("a request");
    cluster.send(request).await
}

async fn tables_have_the_columns_of_the_definition(cluster: Cluster) {
    make(&cluster, &["a"]).await;
    let path = format!("{}/a", cluster.connectors());
    let status = json!({"status": {"mode": "Polling", "accessUsers": 3, "conditions": [
        {"type": "Other", "status": "False", "reason": "No", "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z"},
        {"type": "Ready", "status": "True", "reason": "Yes", "message": "all is well", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
    cluster
        .call_as(
            "PATCH",
            &format!("{path}/status"),
            "application/merge-patch+json",
            &status,
        )
        .await
        .expect_status(200);
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let table = get_as(&cluster, &cluster.connectors(), accept)
        .await
        .expect_status(200);
    assert_eq!(
        (table.at("/kind"), table.at("/apiVersion")),
        (&json!("Table"), &json!("meta.k8s.io/v1"))
    );
    let columns = table.at("/columnDefinitions").as_array().expect("columns");
    let cells = table.at("/rows/0/cells").as_array().expect("cells");
    let cell = |name: &str| {
        let place = columns
            .iter()
            .position(|column| column["name"] == name)
            .expect(name);
        &cells[place]
    };
    assert_eq!(columns[0]["format"], "name");
    assert_eq!(
        (cell("Name"), cell("Access"), cell("Mode")),
        (&json!("a"), &json!("Open"), &json!("Polling"))
    );
    assert_eq!(
        (cell("Ready"), cell("Reason"), cell("Users")),
        (&json!("True"), &json!("Yes"), &json!(3))
    );
    assert_eq!(
        cell("Bot"),
        &Value::Null,
        "a value that is not there is no text"
    );
    assert!(
        cell("Age").as_str().is_some_and(|age| age.ends_with('s')),
        "{:?}",
        cell("Age")
    );
    assert_eq!(table.at("/rows/0/object/kind"), "PartialObjectMetadata");
    let bare = get_as(
        &cluster,
        &format!("{}?includeObject=None", cluster.connectors()),
        accept,
    )
    .await
    .expect_status(200);
    assert_eq!(bare.at("/rows/0/object"), &Value::Null);
    let whole = get_as(&cluster, &format!("{path}?includeObject=Object"), accept)
        .await
        .expect_status(200);
    assert_eq!(whole.at("/rows/0/object/spec/access/level"), "Open");
}

async fn metadata_alone_is_served(cluster: Cluster) {
    make(&cluster, &["a"]).await;
    let accept = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
    let one = get_as(&cluster, &format!("{}/a", cluster.connectors()), accept)
        .await
        .expect_status(200);
    assert_eq!(one.at("/kind"), "PartialObjectMetadata");
    assert_eq!(one.at("/metadata/labels/name"), "a");
    assert_eq!(one.at("/spec"), &Value::Null);
    let accept = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let list = get_as(&cluster, &cluster.connectors(), accept)
        .await
        .expect_status(200);
    assert_eq!(list.at("/kind"), "PartialObjectMetadataList");
    assert_eq!(names(&list), ["a"]);
    assert_eq!(list.at("/items/0/spec"), &Value::Null);
    get_as(&cluster, &cluster.connectors(), "text/html")
        .await
        .expect_status(406);
}

async fn contradictory_list_options_are_refused(cluster: Cluster) {
    for query in [
        "resourceVersionMatch=Exact",
        "resourceVersionMatch=Exact&resourceVersion=0",
        "resourceVersionMatch=Foo&resourceVersion=0",
        "watch=1&sendInitialEvents=true",
        "watch=1&resourceVersionMatch=NotOlderThan&resourceVersion=1",
    ] {
        let refused = cluster
            .get(&format!("{}?{query}", cluster.connectors()))
            .await
            .expect_status(422);
        assert_eq!(refused.at("/details/kind"), "ListOptions", "{query}");
    }
    cluster
        .get(&format!("{}?resourceVersion=abc", cluster.connectors()))
        .await
        .expect_status(400);
    if cluster.has(ServerFeature::Embedded) {
        // A real server waits three seconds before it says so, and the client asks again and again.
        let ahead = cluster
            .get(&format!(
                "{}?resourceVersion=99999999999",
                cluster.connectors()
            ))
            .await
            .expect_status(504);
        assert_eq!(
            ahead.at("/details/causes/0/reason"),
            "ResourceVersionTooLarge"
        );
    }
}

async fn a_kind_is_found_by_discovery(cluster: Cluster) {
    let found = cluster
        .get("/apis/connectors.pupau.ai/v1alpha1")
        .await
        .expect_status(200);
    let all = found.at("/resources").as_array().expect("resources");
    let of = |name: &str| {
        all.iter()
            .find(|resource| resource["name"] == name)
            .expect(name)
    };
    let kind = of("telegramconnectors");
    assert_eq!(
        (&kind["kind"], &kind["namespaced"]),
        (&json!("TelegramConnector"), &json!(true))
    );
    assert_eq!(
        (&kind["shortNames"], &kind["singularName"]),
        (&json!(["tgc"]), &json!("telegramconnector"))
    );
    let mut verbs: Vec<&str> = kind["verbs"]
        .as_array()
        .expect("verbs")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    verbs.sort_unstable();
    assert_eq!(
        verbs,
        [
            "create",
            "delete",
            "deletecollection",
            "get",
            "list",
            "patch",
            "update",
            "watch"
        ]
    );
    assert_eq!(
        of("telegramconnectors/status")["verbs"],
        json!(["get", "patch", "update"])
    );
    cluster
        .get("/apis/connectors.pupau.ai/v1alpha1/nothing")
        .await
        .expect_status(404);
}

async fn discovery_is_aggregated_on_request(cluster: Cluster) {
    let accept =
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let groups = get_as(&cluster, "/apis", accept).await.expect_status(200);
    let all = groups.at("/items").as_array().expect("groups");
    let ours = all
        .iter()
        .find(|group| group["metadata"]["name"] == "connectors.pupau.ai")
        .expect("our group");
    let scope_of = |name: &str| {
        let resources = ours.pointer("/versions/0/resources").expect("resources");
        let mut resources = resources.as_array().expect("a list").iter();
        let found = resources.find(|resource| resource["resource"] == name);
        found.expect("the resource")["scope"].clone()
    };
    assert_eq!(scope_of("telegramconnectors"), json!("Namespaced"));
    assert_eq!(scope_of("clustertelegramuserlists"), json!("Cluster"));
    let core = get_as(&cluster, "/api", accept).await.expect_status(200);
    assert!(core.text.contains("\"secrets\""));
}
