//! The resources through the API server, over a real store in a file.

mod fixture;

use std::time::Duration;

use aggregated_api_server::ApiBody;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use self::fixture::ROOT;
pub(super) use self::fixture::{ANN, Authority, BOB, BOT, Everybody, Fixture, Treatment};
use crate::identity::ConnectorUid;

#[tokio::test]
async fn denied_message_shows_who_wrote_what_and_where() {
    let mut fixture = Fixture::new().await;
    fixture.write("acme", ANN, ANN, Treatment::Denied).await;
    let message = fixture.get("namespaces/acme/deniedmessages/denied-1").await;
    assert_eq!(message["kind"], "DeniedMessage");
    assert_eq!(
        message["spec"],
        json!({
            "connector": "support", "connectorUID": "uid-acme", "time": "1970-01-01T00:01:40Z",
            "bot": {"id": BOT.0}, "chat": {"id": ANN}, "user": {"id": ANN, "username": "ann"},
            "content": "text", "text": "let me in", "level": "Specific",
        })
    );
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let path = "namespaces/acme/deniedmessages";
    let (_, table) = fixture.call("GET", path, table).await;
    let cells = &table["rows"][0]["cells"];
    let expected = json!(["denied-1", "support", ANN, "ann", "text"]);
    assert_eq!(
        cells.as_array().map(|c| &c[..5]),
        expected.as_array().map(|e| &e[..])
    );
}

#[tokio::test]
async fn selectors_find_the_objects_of_a_person_and_delete_them() {
    let mut fixture = Fixture::new().await;
    for user in [ANN, BOB, ANN] {
        fixture.write("acme", user, user, Treatment::Denied).await;
    }
    fixture.write("globex", ANN, ANN, Treatment::Denied).await;
    let all = "namespaces/acme/deniedmessages";
    let of_ann = format!("{all}?fieldSelector=spec.user.id%3D{ANN}");
    assert_eq!(fixture.names(&of_ann).await, ["denied-1", "denied-3"]);
    let of_other = format!("{all}?fieldSelector=spec.connector%3Dother");
    assert!(fixture.names(&of_other).await.is_empty());
    let of_nobody = format!("{all}?fieldSelector=spec.user.id%3Dann");
    assert!(fixture.names(&of_nobody).await.is_empty());
    let (status, _) = fixture.call("DELETE", &of_ann, "application/json").await;
    assert_eq!(status, 200);
    assert_eq!(fixture.names(all).await, ["denied-2"]);
    assert_eq!(
        fixture.names("namespaces/globex/deniedmessages").await,
        ["denied-4"]
    );
    for name in ["denied-4", "denied-02", "denied-x", "conversation-1-1"] {
        let path = format!("{all}/{name}");
        assert_eq!(
            fixture.call("GET", &path, "application/json").await.0,
            404,
            "{name}"
        );
    }
}

#[tokio::test]
async fn conversation_has_its_words_in_the_transcript_only() {
    let mut fixture = Fixture::new().await;
    fixture.write("acme", ANN, ANN, Treatment::Answered).await;
    let path = "namespaces/acme/conversations/conversation-1-1";
    let conversation = fixture.get(path).await;
    assert!(!conversation.to_string().contains("secret"));
    assert_eq!(conversation["spec"]["user"]["id"], ANN);
    assert_eq!(conversation["spec"]["since"], "1970-01-01T00:01:40Z");
    let status = &conversation["status"];
    assert_eq!(
        (&status["messages"], &status["current"]),
        (&json!(1), &json!(true))
    );
    assert_eq!(status["lastMessage"], "1970-01-01T00:02:40Z");
    let transcript = fixture.get(&format!("{path}/transcript")).await;
    assert_eq!(
        transcript["messages"],
        json!([{"role": "user", "text": "my secret"}, {"role": "assistant", "text": "your answer"}])
    );
    let elsewhere = "namespaces/globex/conversations/conversation-1-1/transcript";
    assert_eq!(
        fixture.call("GET", elsewhere, "application/json").await.0,
        404
    );
}

#[tokio::test]
async fn watch_tells_of_a_conversation_that_is_deleted() {
    let mut fixture = Fixture::new().await;
    fixture.write("acme", ANN, ANN, Treatment::Answered).await;
    let all = "namespaces/acme/conversations";
    let listed = fixture.get(all).await;
    let revision = listed["metadata"]["resourceVersion"].as_str().expect("one");
    let watch = format!("{all}?watch=true&resourceVersion={revision}");
    let mut events = fixture
        .send("GET", &watch, "application/json")
        .await
        .into_body();
    let path = format!("{all}/conversation-1-1");
    assert_eq!(
        fixture.call("DELETE", &path, "application/json").await.0,
        200
    );
    let event = loop {
        let frame = events.frame().await.expect("an event").expect("a frame");
        let event: Value = serde_json::from_slice(frame.data_ref().expect("data")).expect("JSON");
        if event["type"] != "BOOKMARK" {
            break event;
        }
    };
    assert_eq!(event["type"], "DELETED", "{event}");
    let metadata = |object: &Value| {
        (
            object["metadata"]["name"].clone(),
            object["metadata"]["uid"].clone(),
        )
    };
    assert_eq!(metadata(&event["object"]), metadata(&listed["items"][0]));
    assert_eq!(fixture.call("GET", &path, "application/json").await.0, 404);
}

#[tokio::test]
async fn dead_letter_shows_no_text_and_is_tried_again() {
    let mut fixture = Fixture::new().await;
    fixture.write("acme", ANN, -100, Treatment::GivenUp).await;
    let path = "namespaces/acme/deadletters/deadletter-1";
    let dead_letter = fixture.get(path).await;
    assert!(!dead_letter.to_string().contains("secret"), "{dead_letter}");
    let spec = &dead_letter["spec"];
    assert_eq!(
        (&spec["what"], &spec["user"]["id"]),
        (&json!("message"), &json!(ANN))
    );
    assert_eq!(dead_letter["status"]["reason"], "the assistant is away");
    let elsewhere = "namespaces/globex/deadletters/deadletter-1/retry";
    assert_eq!(
        fixture.call("POST", elsewhere, "application/json").await.0,
        404
    );
    let retry = format!("{path}/retry");
    let tried = format!("{retry}?dryRun=All");
    assert!(fixture.call("POST", &tried, "application/json").await.0 < 300);
    fixture.get(path).await;
    assert!(fixture.call("POST", &retry, "application/json").await.0 < 300);
    assert_eq!(fixture.call("GET", path, "application/json").await.0, 404);
    let waiting = fixture.store.backlog().await.expect("a backlog");
    assert_eq!(waiting[0].messages, 1);
}

#[tokio::test]
async fn store_that_is_away_leaves_discovery_and_says_when_to_try_again() {
    let fixture = Fixture::new().await;
    std::fs::remove_dir_all(fixture.folder.path().join("store")).expect("removed");
    let response = fixture
        .send("GET", "namespaces/acme/deniedmessages", "application/json")
        .await;
    assert_eq!(response.status().as_u16(), 503);
    assert_eq!(response.headers()["retry-after"], "1");
    let resources = fixture.get(ROOT).await;
    let names = resources["resources"].as_array().expect("resources").iter();
    let names: Vec<_> = names
        .map(|resource| resource["name"].as_str().expect("a name"))
        .collect();
    for name in [
        "deniedmessages",
        "conversations/transcript",
        "deadletters/retry",
    ] {
        assert!(names.contains(&name), "{names:?}");
    }
}

#[tokio::test]
async fn watch_by_connector_ends_what_a_deleted_one_left() {
    let mut fixture = Fixture::new().await;
    fixture.write("acme", ANN, ANN, Treatment::Denied).await;
    let of_support = "namespaces/acme/deniedmessages?fieldSelector=spec.connector%3Dsupport";
    let of_all = "namespaces/acme/deniedmessages";
    let mut watches = Vec::new();
    for path in [of_support, "namespaces/acme/deniedmessages?"] {
        let path = format!("{path}&watch=true");
        let body = fixture.send("GET", &path, "application/json").await;
        let mut body = body.into_body();
        assert_eq!(next_event(&mut body).await, "ADDED");
        watches.push(body);
    }
    let deleted = ConnectorUid::from("uid-acme");
    let deleted = fixture.store.delete_connector_data(&deleted).await;
    deleted.expect("deleted");
    assert_eq!(next_event(&mut watches[0]).await, "DELETED");
    assert_eq!(next_event(&mut watches[1]).await, "MODIFIED");
    assert!(fixture.names(of_support).await.is_empty());
    assert_eq!(fixture.names(of_all).await.len(), 1, "it is kept");
}

/// The type of the next event of a watch that tells them one by one.
async fn next_event(watch: &mut ApiBody) -> String {
    let frame = tokio::time::timeout(Duration::from_secs(30), watch.frame()).await;
    let frame = frame.expect("in time").expect("an event").expect("read");
    let event: Value = serde_json::from_slice(&frame.into_data().expect("data")).expect("JSON");
    event["type"].as_str().expect("a type").to_owned()
}
