//! `outgoingmessages` through the API server: made, refused with the field, found and watched.

use std::sync::Arc;
use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};

use super::tests::{ANN, BOB, BOT, Fixture, Treatment};
use crate::api::connector::AccessLevel;
use crate::identity::ConnectorUid;
use crate::pipeline::test_values;
use crate::store::{Change, ClaimRequest, LaneWrite, Release};

const PATH: &str = "namespaces/acme/outgoingmessages";

/// The connector `support` of `acme` may send to Ann, who has written to it, and to Bob, who has not.
async fn fixture() -> Fixture {
    let mut fixture = Fixture::new().await;
    fixture.write("acme", ANN, ANN, Treatment::Answered).await;
    let connector = test_values::connector(|c| {
        c.connector_ref.uid = ConnectorUid::from("uid-acme");
        c.access.level = AccessLevel::Specific;
        c.access.ids = Arc::new([ANN, BOB].into());
        c.sending_per_minute = Some(5);
    });
    assert_eq!(connector.bot.id(), BOT);
    fixture.registry.publish(Arc::new(connector));
    fixture
}

fn message(name: &str) -> Value {
    json!({
        "apiVersion": "data.connectors.pupau.ai/v1alpha1", "kind": "OutgoingMessage",
        "metadata": {"name": name},
        "spec": {"connector": "support", "to": {"user": ANN}, "text": "**Deployed**", "silent": true, "idempotencyKey": name},
    })
}

/// Telegram takes what waits for Ann.
async fn deliver(fixture: &Fixture) {
    let request = ClaimRequest {
        connector: fixture.registry.all()[0].connector_ref.clone(),
        bot: BOT,
        lanes: 1,
        history: 0,
    };
    let claimed = fixture.store.claim(vec![request]).await.expect("a claim");
    let lane = &claimed.lanes[0];
    let sent = lane.parts.iter().map(|part| Change::Sent {
        reply: part.reply,
        number: part.number,
        message_id: Some(501),
    });
    let write = LaneWrite {
        claim: lane.claim,
        changes: sent.collect(),
        release: Some(Release::Now),
    };
    fixture.store.write(write.into()).await.expect("written");
}

#[tokio::test]
async fn message_is_made_and_its_status_told() {
    let fixture = fixture().await;
    let (status, made) = fixture.create(PATH, &message("deployed")).await;
    assert_eq!(status, 201, "{made}");
    assert_eq!(made["spec"], message("deployed")["spec"]);
    assert_eq!(made["status"]["phase"], "Pending");
    deliver(&fixture).await;
    let sent = fixture.get(&format!("{PATH}/deployed")).await;
    assert_eq!(sent["metadata"]["uid"], made["metadata"]["uid"]);
    assert_ne!(
        sent["metadata"]["resourceVersion"],
        made["metadata"]["resourceVersion"]
    );
    let status = &sent["status"];
    assert_eq!(
        (&status["phase"], &status["messageIds"]),
        (&json!("Sent"), &json!([501]))
    );
    let condition = &status["conditions"][0];
    assert_eq!(
        (&condition["type"], &condition["status"]),
        (&json!("Sent"), &json!("True"))
    );
    assert!(status["time"].is_string() && status["reason"].is_null());
}

#[tokio::test]
async fn same_key_gives_the_first_message_or_a_conflict() {
    let fixture = fixture().await;
    let (_, first) = fixture.create(PATH, &message("first")).await;
    let mut again = message("first");
    again["metadata"] = json!({"generateName": "second-"});
    let (status, known) = fixture.create(PATH, &again).await;
    assert!((200..300).contains(&status), "{known}");
    assert_eq!(known["metadata"]["uid"], first["metadata"]["uid"]);
    again["spec"]["text"] = "something else".into();
    let (status, refused) = fixture.create(PATH, &again).await;
    assert_eq!(
        (status, &refused["reason"]),
        (409, &json!("Conflict")),
        "{refused}"
    );
    let mut same_name = message("first");
    same_name["spec"]["idempotencyKey"] = "another".into();
    let (status, refused) = fixture.create(PATH, &same_name).await;
    assert_eq!(
        (status, &refused["reason"]),
        (409, &json!("AlreadyExists")),
        "{refused}"
    );
    assert_eq!(fixture.names(PATH).await, ["first"]);
}

#[rstest]
#[case::no_connector("/spec/connector", json!("sales"), "spec.connector")]
#[case::both("/spec/to", json!({"user": ANN, "chat": ANN}), "spec.to")]
#[case::nobody("/spec/to", json!({}), "spec.to")]
#[case::no_number("/spec/to", json!({"user": "ann"}), "spec")]
#[case::never_met("/spec/to", json!({"user": BOB}), "spec.to")]
#[case::denied("/spec/to", json!({"user": 6666}), "spec.to.user")]
#[case::no_text("/spec/text", json!(""), "spec.text")]
#[case::too_long("/spec/text", json!("x".repeat(40_000)), "spec.text")]
#[case::no_key("/spec/idempotencyKey", json!(""), "spec.idempotencyKey")]
#[case::lacks_text("/spec", json!({"connector": "support", "to": {"user": ANN}}), "spec.text")]
#[case::lacks_all("/spec", json!({}), "spec.connector")]
#[tokio::test]
async fn wrong_field_is_named(#[case] at: &str, #[case] value: Value, #[case] field: &str) {
    let fixture = fixture().await;
    let mut wrong = message("wrong");
    *wrong.pointer_mut(at).expect("a field") = value;
    let (status, refused) = fixture.create(PATH, &wrong).await;
    assert_eq!(
        (status, &refused["reason"]),
        (422, &json!("Invalid")),
        "{refused}"
    );
    let causes = refused["details"]["causes"].as_array().expect("causes");
    let fields: Vec<_> = causes.iter().filter_map(|c| c["field"].as_str()).collect();
    assert!(fields.iter().any(|f| f.starts_with(field)), "{refused}");
    assert!(fixture.names(PATH).await.is_empty());
}

#[tokio::test]
async fn dry_run_checks_everything_and_makes_nothing() {
    let fixture = fixture().await;
    let path = format!("{PATH}?dryRun=All");
    let (status, tried) = fixture.create(&path, &message("tried")).await;
    assert_eq!(
        (status, &tried["status"]["phase"]),
        (201, &json!("Pending")),
        "{tried}"
    );
    let mut denied = message("tried");
    denied["spec"]["to"] = json!({"user": 6666});
    assert_eq!(fixture.create(&path, &denied).await.0, 422);
    assert!(fixture.names(PATH).await.is_empty());
}

#[tokio::test]
async fn too_many_are_told_when_to_come_again() {
    let fixture = fixture().await;
    for n in 0..5 {
        let (status, _) = fixture.create(PATH, &message(&format!("m-{n}"))).await;
        assert_eq!(status, 201);
    }
    let (status, refused) = fixture.create(PATH, &message("m-5")).await;
    assert_eq!(
        (status, &refused["reason"]),
        (429, &json!("TooManyRequests")),
        "{refused}"
    );
    let seconds = refused["details"]["retryAfterSeconds"].as_i64();
    assert!(seconds.is_some_and(|s| (1..=60).contains(&s)), "{refused}");
}

#[tokio::test]
async fn messages_are_found_by_what_they_are() {
    let fixture = fixture().await;
    for name in ["a", "b"] {
        fixture.create(PATH, &message(name)).await;
    }
    deliver(&fixture).await;
    fixture.create(PATH, &message("c")).await;
    for (selector, expected) in [
        ("spec.connector=support", &["a", "b", "c"][..]),
        ("spec.connector=sales", &[]),
        ("metadata.name=b", &["b"]),
        ("metadata.name=d", &[]),
        ("status.phase=Sent", &["a", "b"]),
        ("spec.to.user=6666", &[]),
        ("spec.to.user=ann", &[]),
    ] {
        let selector = selector.replacen('=', "%3D", 1);
        let path = format!("{PATH}?fieldSelector={selector}");
        assert_eq!(fixture.names(&path).await, expected, "{selector}");
    }
    let of_ann = format!("{PATH}?fieldSelector=spec.to.user%3D{ANN}&limit=2");
    assert_eq!(fixture.names(&of_ann).await, ["a", "b"]);
    assert!(
        fixture
            .names("namespaces/globex/outgoingmessages")
            .await
            .is_empty()
    );
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let (_, table) = fixture.call("GET", PATH, table).await;
    let cells = table["rows"][0]["cells"].as_array().expect("cells");
    assert_eq!(cells[..3], [json!("a"), json!("support"), json!("Sent")]);
    assert_eq!(
        fixture
            .call("DELETE", &format!("{PATH}/a"), "application/json")
            .await
            .0,
        405
    );
}

#[tokio::test]
async fn change_of_a_message_is_told_to_watches() {
    let fixture = fixture().await;
    let before = fixture.get(PATH).await["metadata"]["resourceVersion"].clone();
    let before = before.as_str().expect("a version").parse::<i64>();
    fixture.create(PATH, &message("a")).await;
    let all = crate::store::ObjectQuery::all(crate::store::ObjectKind::OutgoingMessage);
    let page = fixture
        .store
        .list_objects(&all, None, 10)
        .await
        .expect("a list");
    deliver(&fixture).await;
    tokio::time::timeout(Duration::from_secs(10), async {
        let changes = fixture.store.object_changes(&all, page.revision, 10).await;
        assert_eq!(
            changes.expect("changes").changes.len(),
            1,
            "after {before:?}"
        );
    })
    .await
    .expect("in time");
}
