//! What only the embedded control plane has: injected faults, the request log, files. And that kube's runtime runs on it.

use std::time::Duration;

use embedded_control_plane::{FaultEffect, FaultTarget, Verb};
use futures::StreamExt;
use kube::Api;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::{Value, json};

use super::basics::connector;
use crate::cluster::{Cluster, WAIT_TIMEOUT};
use crate::suite::Suite;

pub fn register(suite: &mut Suite) {
    add!(
        suite,
        [Embedded],
        faults_hit_what_they_name_as_often_as_they_say
    );
    add!(suite, [Embedded], a_lost_answer_leaves_the_write_done);
    add!(
        suite,
        [Embedded],
        watcher_survives_closed_watches_lost_history_and_an_outage
    );
    add!(
        suite,
        [Embedded],
        a_frozen_cache_shows_the_past_until_it_thaws
    );
    add!(suite, [Embedded], requests_are_counted_by_verb_and_resource);
    add!(
        suite,
        [Embedded],
        files_are_applied_and_applied_again_when_they_change
    );
    add!(suite, [Embedded], the_api_is_served_over_http);
}

const RESOURCE: &str = "telegramconnectors.connectors.pupau.ai";

async fn faults_hit_what_they_name_as_often_as_they_say(cluster: Cluster) {
    let faults = cluster.control_plane().faults();
    let creating = FaultTarget::any().verb(Verb::Create).resource(RESOURCE);
    faults.inject_times(1, creating, FaultEffect::Error(503, "try later".into()));
    cluster.get(&cluster.connectors()).await.expect_status(200);
    let refused = cluster
        .call("POST", &cluster.connectors(), &connector("c"))
        .await
        .expect_status(503);
    assert_eq!(refused.at("/reason"), "ServiceUnavailable");
    cluster
        .call("POST", &cluster.connectors(), &connector("c"))
        .await
        .expect_status(201);
    faults.inject(
        FaultTarget::any().name("c"),
        FaultEffect::Delay(Duration::from_millis(80)),
    );
    let began = tokio::time::Instant::now();
    cluster
        .get(&format!("{}/c", cluster.connectors()))
        .await
        .expect_status(200);
    assert!(began.elapsed() >= Duration::from_millis(80));
    faults.clear();
}

async fn a_lost_answer_leaves_the_write_done(cluster: Cluster) {
    cluster.control_plane().faults().inject_times(
        1,
        FaultTarget::any().verb(Verb::Create),
        FaultEffect::DropResponse,
    );
    let body = serde_json::to_vec(&connector("c")).expect("JSON");
    let request =
        http::Request::post(cluster.connectors()).header("content-type", "application/json");
    let sent = cluster
        .client
        .send(request.body(body.into()).expect("a request"))
        .await;
    assert!(sent.is_err(), "the client sees a broken connection");
    cluster
        .get(&format!("{}/c", cluster.connectors()))
        .await
        .expect_status(200);
}

async fn watcher_survives_closed_watches_lost_history_and_an_outage(cluster: Cluster) {
    for strategy in [
        watcher::Config::default(),
        watcher::Config::default().streaming_lists(),
    ] {
        let kind = GroupVersionKind::gvk("connectors.pupau.ai", "v1alpha1", "TelegramConnector");
        let connectors: Api<DynamicObject> = Api::namespaced_with(
            cluster.client.clone(),
            &cluster.namespace,
            &ApiResource::from_gvk(&kind),
        );
        let mut seen = std::pin::pin!(
            watcher(connectors, strategy)
                .default_backoff()
                .applied_objects()
        );
        let faults = cluster.control_plane().faults();
        let round = cluster.control_plane().request_log().write_count();
        for (step, disturb) in ["nothing", "closed", "forgotten", "down"]
            .into_iter()
            .enumerate()
        {
            match disturb {
                "closed" => faults.close_watches(Some(RESOURCE)),
                "forgotten" => faults.compact_history(Some(RESOURCE)),
                "down" => {
                    faults.take_down();
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    faults.bring_up();
                }
                _ => {}
            }
            let name = format!("c{round}-{step}");
            cluster
                .call("POST", &cluster.connectors(), &connector(&name))
                .await
                .expect_status(201);
            let found = async {
                while let Some(event) = seen.next().await {
                    // Errors are news to the operator, not an end: the watcher goes on by itself.
                    if event.is_ok_and(|object| object.metadata.name.as_deref() == Some(&name)) {
                        return;
                    }
                }
                panic!("the watcher ended");
            };
            tokio::time::timeout(WAIT_TIMEOUT, found)
                .await
                .unwrap_or_else(|_| panic!("{disturb}: {name} was never seen"));
        }
    }
}

async fn a_frozen_cache_shows_the_past_until_it_thaws(cluster: Cluster) {
    let faults = cluster.control_plane().faults();
    cluster
        .call("POST", &cluster.connectors(), &connector("a"))
        .await
        .expect_status(201);
    faults.freeze_cache(RESOURCE);
    cluster
        .call("POST", &cluster.connectors(), &connector("b"))
        .await
        .expect_status(201);
    let count = || async {
        cluster
            .get(&cluster.connectors())
            .await
            .at("/items")
            .as_array()
            .map(Vec::len)
    };
    assert_eq!(count().await, Some(1));
    cluster
        .get(&format!("{}/b", cluster.connectors()))
        .await
        .expect_status(200);
    faults.unfreeze_cache(RESOURCE);
    assert_eq!(count().await, Some(2));
}

async fn requests_are_counted_by_verb_and_resource(cluster: Cluster) {
    let requests = cluster.control_plane().request_log();
    requests.clear();
    cluster
        .call("POST", &cluster.connectors(), &connector("c"))
        .await
        .expect_status(201);
    let path = format!("{}/c", cluster.connectors());
    cluster.get(&path).await.expect_status(200);
    cluster.get(&path).await.expect_status(200);
    cluster
        .call_as(
            "PATCH",
            &format!("{path}/status"),
            "application/merge-patch+json",
            &json!({"status": {}}),
        )
        .await
        .expect_status(200);
    assert_eq!(
        (
            requests.count(Verb::Create, RESOURCE),
            requests.count(Verb::Get, RESOURCE)
        ),
        (1, 2)
    );
    assert_eq!(requests.write_count(), 2);
    let last = requests.requests().pop().expect("a log");
    assert_eq!(
        (last.verb, last.subresource.as_str(), last.status),
        (Verb::Patch, "status", 200)
    );
}

async fn files_are_applied_and_applied_again_when_they_change(cluster: Cluster) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("all.yaml");
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: b}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: t}\n";
    std::fs::write(&file, secret).expect("a writable folder");
    let (send, mut reports) = tokio::sync::mpsc::unbounded_channel();
    let report = move |_: &std::path::Path, outcome: Result<usize, _>| {
        let _ = send.send(
            outcome.map_err(|error: embedded_control_plane::ManifestError| error.to_string()),
        );
    };
    let _guard = cluster
        .control_plane()
        .watch_manifests([folder.path()], report)
        .expect("good files");
    let path = "/api/v1/namespaces/default/secrets/s";
    assert_eq!(
        cluster.get(path).await.expect_status(200).at("/data"),
        &json!({"a": "Yg=="})
    );
    std::fs::write(
        &file,
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {changed: b}\n",
    )
    .expect("a writable folder");
    let applied = tokio::time::timeout(WAIT_TIMEOUT, reports.recv())
        .await
        .expect("in time");
    assert_eq!(applied, Some(Ok(1)));
    assert_eq!(
        cluster.get(path).await.expect_status(200).at("/data"),
        &json!({"changed": "Yg=="})
    );
    std::fs::write(
        &file,
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {a: 3}\nbogus: 1\n",
    )
    .expect("a writable folder");
    let applied = tokio::time::timeout(WAIT_TIMEOUT, reports.recv())
        .await
        .expect("in time")
        .expect("a report");
    let error = applied.expect_err("the file is wrong");
    assert!(
        error.contains("all.yaml") && error.contains("Secret \"s\""),
        "{error}"
    );
}

async fn the_api_is_served_over_http(cluster: Cluster) {
    let served = cluster
        .control_plane()
        .serve(([127, 0, 0, 1], 0).into())
        .await
        .expect("a free port");
    let version: Value = reqwest::get(format!("{}/version", served.url()))
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    assert_eq!(version["major"], "1");
    let url = served.url();
    served.shutdown();
    cluster
        .eventually("nobody answers", || async {
            reqwest::get(format!("{url}/version"))
                .await
                .is_err()
                .then_some(())
        })
        .await;
}
