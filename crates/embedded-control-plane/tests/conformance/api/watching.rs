//! Watches: from nothing, from a version, by selector, with bookmarks, as streaming lists, and when history is gone.

use std::time::Duration;

use futures::{AsyncBufReadExt, StreamExt, TryStreamExt};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::basics::connector;
use crate::cluster::{Cluster, WAIT_TIMEOUT};
use crate::suite::Suite;

pub fn register(suite: &mut Suite) {
    add!(suite, [], a_watch_tells_everything_once_and_in_order);
    add!(suite, [], a_watch_resumes_after_a_version);
    add!(
        suite,
        [],
        object_that_leaves_the_selection_is_deleted_for_its_watcher
    );
    add!(suite, [], a_watch_ends_at_its_time);
    add!(suite, [], a_watch_of_tables_has_one_head);
    add!(
        suite,
        [StreamingLists],
        a_streaming_list_ends_with_its_bookmark
    );
    add!(suite, [Embedded], a_version_beyond_history_is_gone);
}

/// A watch that is read in the background.
struct Watch(mpsc::UnboundedReceiver<Value>);

impl Watch {
    async fn open(cluster: &Cluster, query: &str) -> Self {
        Self::open_as(cluster, query, "application/json").await
    }

    async fn open_as(cluster: &Cluster, query: &str, accept: &str) -> Self {
        let path = format!("{}?watch=1&{query}", cluster.connectors());
        let request = http::Request::get(path)
            .header("accept", accept)
            .body(Vec::new())
            .expect("a request");
        let reader = cluster
            .client
            .request_stream(request)
            .await
            .expect("a watch");
        let (send, receive) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let lines = reader
                .lines()
                .map_ok(|line| serde_json::from_str::<Value>(&line).expect("a line is JSON"));
            let mut lines = std::pin::pin!(lines);
            while let Some(Ok(event)) = lines.next().await {
                if send.send(event).is_err() {
                    return;
                }
            }
        });
        Self(receive)
    }

    /// The next event; `None` when the watch ended.
    async fn next(&mut self) -> Option<Value> {
        tokio::time::timeout(WAIT_TIMEOUT, self.0.recv())
            .await
            .expect("an event in time")
    }

    /// `TYPE name` of the next event.
    async fn next_type_and_name(&mut self) -> String {
        let event = self.next().await.expect("an event");
        let name = event
            .pointer("/object/metadata/name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        format!("{} {name}", event["type"].as_str().unwrap_or_default())
    }
}

async fn make(cluster: &Cluster, name: &str, label: &str) -> String {
    let mut wanted = connector(name);
    wanted["metadata"]["labels"] = json!({"l": label});
    let made = cluster
        .call("POST", &cluster.connectors(), &wanted)
        .await
        .expect_status(201);
    made.at("/metadata/resourceVersion")
        .as_str()
        .expect("a version")
        .to_owned()
}

async fn label(cluster: &Cluster, name: &str, label: &str) {
    let path = format!("{}/{name}", cluster.connectors());
    let change = json!({"metadata": {"labels": {"l": label}}});
    cluster
        .call_as("PATCH", &path, "application/merge-patch+json", &change)
        .await
        .expect_status(200);
}

async fn remove(cluster: &Cluster, name: &str) {
    cluster
        .call(
            "DELETE",
            &format!("{}/{name}", cluster.connectors()),
            &Value::Null,
        )
        .await
        .expect_status(200);
}

async fn a_watch_tells_everything_once_and_in_order(cluster: Cluster) {
    make(&cluster, "a", "x").await;
    let mut watch = Watch::open(&cluster, "").await;
    assert_eq!(watch.next_type_and_name().await, "ADDED a");
    make(&cluster, "b", "x").await;
    label(&cluster, "a", "y").await;
    remove(&cluster, "b").await;
    assert_eq!(watch.next_type_and_name().await, "ADDED b");
    assert_eq!(watch.next_type_and_name().await, "MODIFIED a");
    let gone = watch.next().await.expect("an event");
    assert_eq!(
        (&gone["type"], &gone["object"]["metadata"]["name"]),
        (&json!("DELETED"), &json!("b"))
    );
    assert_eq!(
        gone["object"]["spec"]["access"]["level"], "Open",
        "the last state comes along"
    );
}

async fn a_watch_resumes_after_a_version(cluster: Cluster) {
    make(&cluster, "a", "x").await;
    let version = make(&cluster, "b", "x").await;
    make(&cluster, "c", "x").await;
    label(&cluster, "a", "y").await;
    let mut watch = Watch::open(&cluster, &format!("resourceVersion={version}")).await;
    assert_eq!(watch.next_type_and_name().await, "ADDED c");
    assert_eq!(watch.next_type_and_name().await, "MODIFIED a");
    let mut one = Watch::open(
        &cluster,
        &format!("resourceVersion={version}&fieldSelector=metadata.name%3Da"),
    )
    .await;
    assert_eq!(one.next_type_and_name().await, "MODIFIED a");
}

async fn object_that_leaves_the_selection_is_deleted_for_its_watcher(cluster: Cluster) {
    make(&cluster, "a", "x").await;
    make(&cluster, "b", "y").await;
    let mut watch = Watch::open(&cluster, "labelSelector=l%3Dx").await;
    assert_eq!(watch.next_type_and_name().await, "ADDED a");
    label(&cluster, "a", "y").await;
    label(&cluster, "b", "x").await;
    let left = watch.next().await.expect("an event");
    assert_eq!(
        (&left["type"], &left["object"]["metadata"]["name"]),
        (&json!("DELETED"), &json!("a"))
    );
    assert_eq!(
        left["object"]["metadata"]["labels"]["l"], "x",
        "it is shown as it was inside"
    );
    assert_eq!(watch.next_type_and_name().await, "ADDED b");
}

async fn a_watch_ends_at_its_time(cluster: Cluster) {
    make(&cluster, "a", "x").await;
    let mut watch = Watch::open(&cluster, "timeoutSeconds=1&allowWatchBookmarks=true").await;
    assert_eq!(watch.next_type_and_name().await, "ADDED a");
    let began = tokio::time::Instant::now();
    while let Some(event) = watch.next().await {
        assert_eq!(event["type"], "BOOKMARK");
        assert_eq!(event["object"]["kind"], "TelegramConnector");
        assert!(event["object"]["metadata"]["resourceVersion"].is_string());
    }
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
}

async fn a_watch_of_tables_has_one_head(cluster: Cluster) {
    make(&cluster, "a", "x").await;
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let mut watch = Watch::open_as(&cluster, "", accept).await;
    let first = watch.next().await.expect("an event");
    assert_eq!(
        (&first["type"], &first["object"]["kind"]),
        (&json!("ADDED"), &json!("Table"))
    );
    assert_eq!(first["object"]["rows"][0]["cells"][0], "a");
    assert!(
        first["object"]["columnDefinitions"]
            .as_array()
            .is_some_and(|head| !head.is_empty())
    );
    make(&cluster, "b", "x").await;
    let second = watch.next().await.expect("an event");
    assert_eq!(second["object"]["rows"][0]["cells"][0], "b");
    assert!(
        second["object"]["columnDefinitions"]
            .as_array()
            .is_none_or(Vec::is_empty)
    );
}

async fn a_streaming_list_ends_with_its_bookmark(cluster: Cluster) {
    make(&cluster, "a", "x").await;
    make(&cluster, "b", "x").await;
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = Watch::open(&cluster, query).await;
    let mut first = [
        watch.next_type_and_name().await,
        watch.next_type_and_name().await,
    ];
    first.sort();
    assert_eq!(first, ["ADDED a", "ADDED b"]);
    let end = watch.next().await.expect("an event");
    assert_eq!(end["type"], "BOOKMARK");
    assert_eq!(
        end["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );
    make(&cluster, "c", "x").await;
    assert_eq!(watch.next_type_and_name().await, "ADDED c");
}

async fn a_version_beyond_history_is_gone(cluster: Cluster) {
    let version = make(&cluster, "a", "x").await;
    let resource = "telegramconnectors.connectors.pupau.ai";
    cluster
        .control_plane()
        .faults()
        .compact_history(Some(resource));
    let mut watch = Watch::open(&cluster, &format!("resourceVersion={version}")).await;
    let error = watch.next().await.expect("an event");
    assert_eq!(
        (&error["type"], &error["object"]["code"]),
        (&json!("ERROR"), &json!(410))
    );
    assert_eq!(error["object"]["reason"], "Expired");
    assert_eq!(watch.next().await, None);
    let path = format!(
        "{}?resourceVersion={version}&resourceVersionMatch=Exact",
        cluster.connectors()
    );
    cluster.get(&path).await.expect_status(410);
}
