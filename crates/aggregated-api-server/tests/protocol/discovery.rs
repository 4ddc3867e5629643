//! Discovery, `OpenAPI` and the other documents.

use std::sync::atomic::Ordering;

use serde_json::Value;

use crate::fixture::{Fixture, ROOT};

#[tokio::test]
async fn discovery_names_resources_and_what_can_be_done() {
    let fixture = Fixture::new();
    let list = fixture.get(ROOT).await.json();
    assert_eq!(list["groupVersion"], "notes.example.com/v1");
    let note = &list["resources"][0];
    assert_eq!(
        (&note["name"], &note["shortNames"][0]),
        (&"notes".into(), &"nt".into())
    );
    let verbs = [
        "create",
        "delete",
        "deletecollection",
        "get",
        "list",
        "watch",
    ];
    assert_eq!(note["verbs"], serde_json::json!(verbs));
    assert_eq!(list["resources"][1]["name"], "notes/words");
    assert_eq!(list["resources"][1]["kind"], "NoteWords");
    assert_eq!(
        fixture.get("/apis").await.json()["groups"][0]["name"],
        "notes.example.com"
    );
    let group = fixture.get("/apis/notes.example.com").await.json();
    assert_eq!(group["preferredVersion"]["version"], "v1");
    assert_eq!(fixture.get("/apis/other.example.com").await.status, 404);
}

#[tokio::test]
async fn aggregated_discovery_is_given_to_who_asks() {
    let fixture = Fixture::new();
    for form in ["v2", "v2beta1"] {
        let accept = format!(
            "application/json;g=apidiscovery.k8s.io;v={form};as=APIGroupDiscoveryList,application/json"
        );
        let answer = fixture.get_as("/apis", &accept).await;
        assert!(
            answer.headers["content-type"]
                .to_str()
                .expect("text")
                .contains(&format!("v={form};as="))
        );
        let list = answer.json();
        assert_eq!(list["apiVersion"], format!("apidiscovery.k8s.io/{form}"));
        let note = &list["items"][0]["versions"][0]["resources"][0];
        assert_eq!(note["responseKind"]["kind"], "Note");
        assert_eq!(note["subresources"][1]["subresource"], "stamp");
    }
}

#[tokio::test]
async fn documents_are_answered_although_the_storage_is_away() {
    let fixture = Fixture::new();
    fixture.notes.is_away.store(true, Ordering::Relaxed);
    for path in [
        "/",
        "/apis",
        ROOT,
        "/openapi/v2",
        "/openapi/v3",
        "/healthz",
        "/livez",
        "/readyz",
        "/version",
    ] {
        assert_eq!(fixture.get(path).await.status, 200, "{path}");
    }
    let away = fixture.get("notes").await;
    assert_eq!(away.refusal().0, 503);
    assert_eq!(away.headers["retry-after"], "1");
    assert_eq!(away.json()["details"]["retryAfterSeconds"], 1);
    assert_eq!(fixture.get("/version").await.json()["gitVersion"], "v1.2.3");
}

#[tokio::test]
async fn openapi_is_sent_again_only_if_it_has_changed() {
    let fixture = Fixture::new();
    let index = fixture.get("/openapi/v3").await.json();
    let url = &index["paths"]["apis/notes.example.com/v1"]["serverRelativeURL"];
    for path in ["/openapi/v2", url.as_str().expect("a URL")] {
        let first = fixture.get(path).await;
        assert_eq!(first.status, 200, "{path}");
        let etag = first.headers["etag"].to_str().expect("text").to_owned();
        let again = fixture
            .call("admin", "GET", path, &[("if-none-match", &etag)], "")
            .await;
        assert_eq!((again.status.as_u16(), again.text.as_str()), (304, ""));
    }
}

/// Every `$ref` in a document.
fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get("$ref") {
                found.push(reference.clone());
            }
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn every_reference_of_openapi_leads_somewhere() {
    let fixture = Fixture::new();
    for path in ["/openapi/v2", "/openapi/v3/apis/notes.example.com/v1"] {
        let document = fixture.get(path).await.json();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 10, "{path}");
        for reference in found {
            let pointer = reference.strip_prefix('#').expect("a local one");
            assert!(document.pointer(pointer).is_some(), "{path}: {reference}");
        }
        let mut ids = Vec::new();
        for path in document["paths"].as_object().expect("paths").values() {
            let operations = path.as_object().expect("operations").values();
            ids.extend(operations.filter_map(|one| one["operationId"].as_str().map(str::to_owned)));
        }
        let count = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), count, "operation ids are unique");
    }
}
