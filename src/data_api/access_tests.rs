//! `accessgrants` and `accessrequests` through the API server: given, asked for, decided once, found and ended.

use std::sync::Arc;

use rstest::rstest;
use serde_json::{Value, json};

use super::tests::{ANN, BOB, Fixture, Treatment};
use crate::identity::ConnectorUid;
use crate::pipeline::test_values;

const GRANTS: &str = "namespaces/acme/accessgrants";
const REQUESTS: &str = "namespaces/acme/accessrequests";
const JSON: &str = "application/json";

/// The connector `support` of `acme` is known, and somebody has asked it to be let in.
async fn fixture(asking: &[i64]) -> Fixture {
    let mut fixture = Fixture::new().await;
    fixture.write("acme", BOB, BOB, Treatment::Denied).await;
    for user in asking {
        fixture
            .write("acme", *user, *user, Treatment::AsksForAccess)
            .await;
    }
    let connector = test_values::connector(|c| {
        c.connector_ref.uid = ConnectorUid::from("uid-acme");
        c.access.takes_grants = true;
    });
    fixture.registry.publish(Arc::new(connector));
    fixture
}

fn grant(user: i64) -> Value {
    json!({
        "apiVersion": "data.connectors.pupau.ai/v1alpha1", "kind": "AccessGrant",
        "spec": {"connector": "support", "user": {"id": user, "username": "@ann", "name": "Ann"}, "until": "2999-01-31"},
    })
}

#[tokio::test]
async fn grant_by_hand_says_who_gave_it_and_when_it_ends() {
    let fixture = fixture(&[]).await;
    let (status, made) = fixture.create(GRANTS, &grant(ANN)).await;
    assert_eq!(status, 201, "{made}");
    let spec = &made["spec"];
    assert_eq!(
        spec["user"],
        json!({"id": ANN, "name": "Ann", "username": "ann"})
    );
    assert_eq!(
        (&spec["source"], &spec["by"], &spec["until"]),
        (
            &json!("Admin"),
            &json!("admin"),
            &json!("2999-02-01T00:00:00Z")
        )
    );
    let name = made["metadata"]["name"].as_str().expect("a name");
    let path = format!("{GRANTS}/{name}");
    assert_eq!(
        fixture.get(&path).await["metadata"]["uid"],
        made["metadata"]["uid"]
    );
    // One of each source: the next one takes its place.
    fixture.create(GRANTS, &grant(ANN)).await;
    let names = fixture.names(GRANTS).await;
    assert_eq!(names.len(), 1);
    assert_ne!(names[0], name);
    let elsewhere = format!("namespaces/globex/accessgrants/{}", names[0]);
    assert_eq!(fixture.call("GET", &elsewhere, JSON).await.0, 404);
    assert_eq!(fixture.call("DELETE", &elsewhere, JSON).await.0, 404);
    let path = format!("{GRANTS}/{}", names[0]);
    assert_eq!(fixture.call("DELETE", &path, JSON).await.0, 200);
    assert!(fixture.names(GRANTS).await.is_empty());
}

#[rstest]
#[case::without_end("/spec/until", Value::Null, 422, "spec.until")]
#[case::that_has_ended("/spec/until", json!("2020-01-01"), 422, "spec.until")]
#[case::of_an_unknown_connector("/spec/connector", json!("none"), 422, "spec.connector")]
#[case::of_a_group("/spec/user/id", json!(-100), 422, "spec.user.id")]
#[case::with_a_misspelt_field("/spec/user", json!({"idd": 1}), 422, "spec.user.id")]
#[tokio::test]
async fn grant_is_refused_with_the_field(
    #[case] pointer: &str,
    #[case] value: Value,
    #[case] code: u16,
    #[case] field: &str,
) {
    let fixture = fixture(&[]).await;
    let mut body = grant(ANN);
    *body.pointer_mut(pointer).expect("it is there") = value;
    let (status, answer) = fixture.create(GRANTS, &body).await;
    assert_eq!(status, code, "{answer}");
    assert_eq!(answer["details"]["causes"][0]["field"], field, "{answer}");
    assert!(fixture.names(GRANTS).await.is_empty());
}

#[tokio::test]
async fn connector_that_takes_no_grants_gets_none() {
    let fixture = fixture(&[]).await;
    let connector = test_values::connector(|c| {
        c.connector_ref.uid = ConnectorUid::from("uid-acme");
    });
    fixture.registry.publish(Arc::new(connector));
    let (status, answer) = fixture.create(GRANTS, &grant(ANN)).await;
    let cause = &answer["details"]["causes"][0];
    assert_eq!(
        (status, &cause["field"], &cause["reason"]),
        (422, &json!("spec.connector"), &json!("FieldValueForbidden"))
    );
    assert!(fixture.names(GRANTS).await.is_empty());
}

#[tokio::test]
async fn dry_runs_of_grants_and_verdicts_change_nothing() {
    let fixture = fixture(&[ANN]).await;
    let dry = format!("{GRANTS}?dryRun=All");
    assert_eq!(fixture.create(&dry, &grant(ANN)).await.0, 201);
    let name = &fixture.names(REQUESTS).await[0];
    let dry = format!("{REQUESTS}/{name}/approve?dryRun=All");
    let (status, answer) = fixture.create(&dry, &json!({})).await;
    assert_eq!(
        (status, &answer["status"]["phase"]),
        (201, &json!("Allowed"))
    );
    assert!(fixture.names(GRANTS).await.is_empty());
    let request = fixture.get(&format!("{REQUESTS}/{name}")).await;
    assert_eq!(request["status"], json!({"phase": "Waiting"}));
}

#[tokio::test]
async fn request_is_approved_once_and_becomes_a_grant() {
    let fixture = fixture(&[ANN]).await;
    let names = fixture.names(REQUESTS).await;
    let path = format!("{REQUESTS}/{}", names[0]);
    let request = fixture.get(&path).await;
    let spec = &request["spec"];
    assert_eq!(
        spec["user"],
        json!({"id": ANN, "name": "Ann Example", "username": "ann"})
    );
    assert_eq!(
        (&spec["level"], &spec["connector"]),
        (&json!("Specific"), &json!("support"))
    );
    assert!(
        spec["askedAt"].is_string() && spec["expiresAt"].is_string(),
        "{spec}"
    );
    let approve = format!("{path}/approve");
    let elsewhere = approve.replace("acme", "globex");
    assert_eq!(fixture.create(&elsewhere, &json!({})).await.0, 404);
    let (status, refused) = fixture.create(&approve, &json!({"days": 0})).await;
    assert_eq!(
        (status, &refused["details"]["causes"][0]["field"]),
        (422, &json!("days"))
    );
    let (status, answer) = fixture
        .create(&approve, &json!({"until": "2999-01-31"}))
        .await;
    assert_eq!(status, 201, "{answer}");
    assert_eq!(answer["kind"], "AccessRequestApproval");
    let decided = &fixture.get(&path).await["status"];
    assert_eq!(&answer["status"], decided);
    assert_eq!(
        (&decided["phase"], &decided["decidedBy"], &decided["until"]),
        (
            &json!("Allowed"),
            &json!("admin"),
            &json!("2999-02-01T00:00:00Z")
        )
    );
    let grants = fixture.names(GRANTS).await;
    let grant = fixture.get(&format!("{GRANTS}/{}", grants[0])).await;
    assert_eq!(
        (
            &grant["spec"]["source"],
            &grant["spec"]["user"]["id"],
            &grant["spec"]["by"]
        ),
        (&json!("Request"), &json!(ANN), &json!("admin"))
    );
    // What tells the asker waits in their lane, once.
    let waiting = || async { fixture.store.backlog().await.expect("a backlog")[0].messages };
    assert_eq!(waiting().await, 1);
    for verdict in ["approve", "refuse"] {
        let (status, answer) = fixture
            .create(&format!("{path}/{verdict}"), &json!({}))
            .await;
        assert_eq!(status, 409, "{answer}");
        let message = answer["message"].as_str().expect("a message");
        assert!(message.contains("it is Allowed by admin"), "{message}");
    }
    assert_eq!((fixture.names(GRANTS).await.len(), waiting().await), (1, 1));
}

#[tokio::test]
async fn request_is_refused_for_good_until_it_is_deleted() {
    let mut fixture = fixture(&[ANN, BOB]).await;
    let of = |selector: &str| format!("{REQUESTS}?fieldSelector={selector}");
    let of_ann = of(&format!("spec.user.id%3D{ANN}"));
    let name = fixture.names(&of_ann).await.remove(0);
    let refuse = format!("{REQUESTS}/{name}/refuse");
    let (status, answer) = fixture.create(&refuse, &json!({"mute": true})).await;
    assert_eq!((status, &answer["status"]["phase"]), (201, &json!("Muted")));
    assert!(fixture.names(GRANTS).await.is_empty());
    let waiting = of("status.phase%3DWaiting,spec.connector%3Dsupport");
    let names = fixture.names(&waiting).await;
    assert!(names.len() == 1 && names[0] != name, "{names:?}");
    let path = format!("{REQUESTS}/{name}");
    assert_eq!(fixture.call("DELETE", &path, JSON).await.0, 200);
    assert!(fixture.names(&of_ann).await.is_empty());
    let (status, _) = fixture.call("DELETE", REQUESTS, JSON).await;
    assert_eq!(status, 405, "requests are deleted one by one");
    fixture
        .write("globex", ANN, ANN, Treatment::AsksForAccess)
        .await;
    assert!(fixture.names(&of_ann).await.is_empty());
}

#[tokio::test]
async fn tables_of_access_show_whom_and_how_far() {
    let fixture = fixture(&[ANN]).await;
    fixture.create(GRANTS, &grant(BOB)).await;
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let cells =
        async |path: &str| fixture.call("GET", path, table).await.1["rows"][0]["cells"].clone();
    let request = cells(REQUESTS).await;
    let shown = request.as_array().expect("cells");
    assert_eq!(
        shown[1..6],
        [
            json!("support"),
            json!(ANN),
            json!("ann"),
            json!("Specific"),
            json!("Waiting")
        ]
    );
    let grant = cells(GRANTS).await;
    let shown = grant.as_array().expect("cells");
    assert_eq!(
        shown[1..6],
        [
            json!("support"),
            json!(BOB),
            json!("ann"),
            json!("Admin"),
            json!("2999-02-01T00:00:00Z")
        ]
    );
}
