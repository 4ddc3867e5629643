//! How current the operator's view of the cluster is: after an outage of the API server, while it refuses every watch, and with a namespace
//! that cannot be listed.

use std::time::{Duration, Instant};

use embedded_control_plane::{FaultEffect, FaultTarget, Verb};
use http::{Request, Response, StatusCode};
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use kube::client::Body;
use serde_json::json;
use telegram_connector_operator::api::TelegramUserList;
use telegram_connector_operator::operator::Operator;

use super::test_env::{OperatorOptions, TestEnv};
use crate::cluster::Cluster;
use crate::suite::Suite;

pub fn register(suite: &mut Suite) {
    add!(
        suite,
        [Core, Embedded],
        revoked_user_is_denied_soon_after_an_outage
    );
    add!(
        suite,
        [Core, Embedded],
        refused_watches_are_told_by_age_and_not_by_readiness
    );
    add!(
        suite,
        [Core, Embedded],
        namespace_that_cannot_be_listed_holds_no_other
    );
}

/// An outage that is long enough for waits of several seconds.
const OUTAGE: Duration = Duration::from_secs(15);

async fn get(operator: &Operator, path: &str) -> (u16, String) {
    let url = format!("http://{}{path}", operator.admin_address());
    let answer = reqwest::get(url).await.expect("an answer");
    (
        answer.status().as_u16(),
        answer.text().await.expect("a body"),
    )
}

/// The age of the view of a resource, in seconds, and the number of its watches that fail.
async fn view_of(operator: &Operator, resource: &str) -> (f64, f64) {
    let (_, metrics) = get(operator, "/metrics").await;
    let value = |name: &str| {
        let prefix = format!("telegram_connector_operator_{name}{{resource=\"{resource}\"}} ");
        let line = metrics.lines().find_map(|l| l.strip_prefix(&prefix));
        let value = line.and_then(|value| value.parse().ok());
        value.unwrap_or_else(|| panic!("no {prefix} in {metrics}"))
    };
    (value("cluster_view_age_seconds"), value("watches_failing"))
}

async fn revoked_user_is_denied_soon_after_an_outage(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    let operator = env.start_operator(OperatorOptions::polling()).await;
    env.create_user_list("staff", json!([{"id": 1001}, {"id": 1002}]))
        .await;
    let access = json!({"level": "Company", "companyUsers": {"listRefs": [{"name": "staff"}]}});
    env.create_connector_with_bot("a", json!({"access": access}))
        .await;
    env.wait_until_ready("a").await;
    let users = || {
        let registry = operator.registry().all();
        registry[0].access.ids.len()
    };
    assert_eq!(users(), 2);

    let faults = env.cluster.control_plane().faults();
    faults.take_down();
    tokio::time::sleep(OUTAGE).await;
    faults.bring_up();
    let back = Instant::now();
    let lists: Api<TelegramUserList> = env.cluster.api();
    let patch = Patch::Merge(json!({"spec": {"users": [{"id": 1001}]}}));
    lists
        .patch("staff", &PatchParams::default(), &patch)
        .await
        .expect("the patch");
    // Who asks for what has changed since gets 410.
    faults.compact_history(None);
    env.cluster
        .eventually("the revoked user is denied", || async {
            (users() == 1).then_some(())
        })
        .await;
    let took = back.elapsed();
    assert!(took < Duration::from_secs(6), "{took:?}");
    operator.shutdown().await;
}

async fn refused_watches_are_told_by_age_and_not_by_readiness(cluster: Cluster) {
    let (env, operator, _) =
        TestEnv::with_ready_connector(cluster, OperatorOptions::polling()).await;
    let resources = ["telegramconnectors", "telegramuserlists", "secrets"];
    for resource in resources {
        assert_eq!(view_of(&operator, resource).await, (0.0, 0.0), "{resource}");
    }
    let faults = env.cluster.control_plane().faults();
    for verb in [Verb::Watch, Verb::List] {
        let refused = FaultEffect::Error(401, "the token has expired".into());
        faults.inject(FaultTarget::any().verb(verb), refused);
    }
    faults.close_watches(None);
    for resource in resources {
        env.cluster
            .eventually("the view grows old", || async {
                let (age, failing) = view_of(&operator, resource).await;
                (age > 1.0 && failing > 0.5).then_some(())
            })
            .await;
    }
    let (status, body) = get(&operator, "/readyz").await;
    assert_eq!(status, 200, "{body}");
    let named = body.lines().filter(|l| l.contains("but not current"));
    assert_eq!(named.count(), 3, "{body}");
    assert!(body.contains("the token has expired"), "{body}");
    faults.clear();
    for resource in resources {
        env.cluster
            .eventually("the view is current", || async {
                (view_of(&operator, resource).await == (0.0, 0.0)).then_some(())
            })
            .await;
    }
    operator.shutdown().await;
}

/// A client to which everything in one namespace is forbidden, as after its deletion, which takes along the Role in it.
fn forbidding_client(client: &Client, namespace: &'static str) -> Client {
    let inner = client.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let client = inner.clone();
        async move {
            let path = format!("/namespaces/{namespace}/");
            if !request.uri().path().contains(&path) {
                return client.send(request).await;
            }
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Forbidden",
                "message": "forbidden: the Role is gone", "code": 403,
            });
            let body = Body::from(status.to_string().into_bytes());
            let response = Response::builder().status(StatusCode::FORBIDDEN);
            Ok(response.body(body).expect("a response"))
        }
    });
    Client::new(service, "default")
}

async fn namespace_that_cannot_be_listed_holds_no_other(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    let (bot, _) = env.create_working_connector("a").await;
    env.create_user_list("staff", json!([{"id": 1}])).await;
    let operator = env
        .start_operator(OperatorOptions {
            client: Some(forbidding_client(&env.cluster.client, "gone")),
            // The first one, of which the CRDs are asked too.
            more_namespaces: vec!["gone".to_owned()],
            ..OperatorOptions::polling()
        })
        .await;
    env.wait_until_ready("a").await;
    env.telegram
        .send_and_wait(bot, 1001, "hello", Duration::from_secs(20))
        .await;
    let lists: Api<TelegramUserList> = env.cluster.api();
    env.cluster
        .eventually("the list's status", || async {
            lists.get("staff").await.expect("the list").status
        })
        .await;
    env.cluster
        .eventually("the process is ready", || async {
            (get(&operator, "/readyz").await.0 == 200).then_some(())
        })
        .await;
    let (_, body) = get(&operator, "/readyz").await;
    let named = body
        .lines()
        .filter(|l| l.contains("namespace \"gone\"") && l.contains("the Role is gone"));
    assert_eq!(named.count(), 3, "{body}");
    let (age, failing) = view_of(&operator, "telegramconnectors").await;
    assert!(age > 0.0 && failing > 0.5, "{age} {failing}");
    operator.shutdown().await;
}
