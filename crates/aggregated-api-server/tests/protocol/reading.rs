//! Getting and listing.

use std::sync::atomic::Ordering;

use serde_json::json;

use crate::fixture::Fixture;

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";

fn with_notes() -> Fixture {
    let fixture = Fixture::new();
    for (namespace, name, owner) in [
        ("acme", "a", "ann"),
        ("acme", "b", "bob"),
        ("acme", "c", "ann"),
        ("other", "d", "ann"),
    ] {
        fixture.notes.add(namespace, name, owner);
    }
    fixture
}

#[tokio::test]
async fn an_object_is_read_whole() {
    let fixture = with_notes();
    let note = fixture.get("namespaces/acme/notes/a").await.json();
    assert_eq!(note["apiVersion"], "notes.example.com/v1");
    assert_eq!(note["kind"], "Note");
    assert_eq!(note["metadata"]["uid"], "uid-acme-a");
    assert_eq!(note["metadata"]["resourceVersion"], "2");
    assert_eq!(note["spec"]["owner"], "ann");
    assert_eq!(note["status"]["phase"], "Pending");
    let absent = fixture.get("namespaces/other/notes/a").await;
    let sentence = "notes.notes.example.com \"a\" not found";
    assert_eq!(absent.refusal(), (404, "NotFound".into(), sentence.into()));
    let details = json!({"group": "notes.example.com", "kind": "notes", "name": "a"});
    assert_eq!(absent.json()["details"], details);
}

#[tokio::test]
async fn lists_are_of_one_namespace_or_of_all() {
    let fixture = with_notes();
    assert_eq!(fixture.get("notes").await.names(), ["a", "b", "c", "d"]);
    let list = fixture.get("namespaces/acme/notes").await;
    assert_eq!(list.names(), ["a", "b", "c"]);
    assert_eq!(list.json()["kind"], "NoteList");
    assert_eq!(list.json()["metadata"], json!({"resourceVersion": "5"}));
    assert_eq!(fixture.get("namespaces/none/notes").await.names(), [""; 0]);
}

#[tokio::test]
async fn tables_have_the_columns_of_the_resource() {
    let fixture = with_notes();
    let table = fixture
        .get_as("namespaces/acme/notes?limit=2", TABLE)
        .await
        .json();
    assert_eq!(
        (&table["kind"], &table["apiVersion"]),
        (&"Table".into(), &"meta.k8s.io/v1".into())
    );
    let columns = table["columnDefinitions"].as_array().expect("columns");
    let names: Vec<_> = columns
        .iter()
        .map(|one| one["name"].as_str().expect("text"))
        .collect();
    assert_eq!(names, ["Name", "Owner", "Phase", "Size", "Due", "Age"]);
    assert_eq!(columns[3]["priority"], 1);
    let row = &table["rows"][0];
    assert_eq!(
        row["cells"].as_array().expect("cells")[..4],
        [json!("a"), json!("ann"), json!("Pending"), json!(1)]
    );
    assert!(
        row["cells"][4].as_str().expect("an age").contains('y'),
        "{row}"
    );
    assert_eq!(row["object"]["kind"], "PartialObjectMetadata");
    assert!(table["metadata"]["continue"].is_string());
    let beta = "application/json;as=Table;v=v1beta1;g=meta.k8s.io";
    let one = fixture
        .get_as("namespaces/acme/notes/b?includeObject=Object", beta)
        .await
        .json();
    assert_eq!(one["apiVersion"], "meta.k8s.io/v1beta1");
    assert_eq!(one["rows"][0]["object"]["spec"]["owner"], "bob");
    let bare = fixture
        .get_as("namespaces/acme/notes/b?includeObject=None", beta)
        .await
        .json();
    assert!(bare["rows"][0].get("object").is_none());
}

#[tokio::test]
async fn metadata_alone_is_given_to_who_asks() {
    let fixture = with_notes();
    let accept = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let list = fixture.get_as("notes", accept).await.json();
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!(list["items"][0]["kind"], "PartialObjectMetadata");
    assert!(list["items"][0].get("spec").is_none());
}

#[tokio::test]
async fn who_reads_protobuf_alone_is_told_so() {
    let fixture = with_notes();
    let refused = fixture
        .get_as("notes", "application/vnd.kubernetes.protobuf")
        .await;
    assert_eq!(refused.refusal().0, 406);
    assert_eq!(refused.refusal().1, "NotAcceptable");
    let both = "application/vnd.kubernetes.protobuf,application/json";
    assert_eq!(fixture.get_as("notes", both).await.status, 200);
}

#[tokio::test]
async fn selectors_choose_and_unknown_ones_are_refused() {
    let fixture = with_notes();
    let names = async |query: &str| {
        fixture
            .get(&format!("namespaces/acme/notes?{query}"))
            .await
            .names()
    };
    assert_eq!(names("fieldSelector=spec.owner%3Dann").await, ["a", "c"]);
    assert_eq!(names("fieldSelector=spec.owner!%3Dann").await, ["b"]);
    assert_eq!(
        names("fieldSelector=metadata.name%3D%3Dc&unknown=x").await,
        ["c"]
    );
    assert_eq!(names("labelSelector=owner+in+(bob)").await, ["b"]);
    assert_eq!(
        names("labelSelector=owner%3Dann&fieldSelector=status.phase%3DPending").await,
        ["a", "c"]
    );
    let refused = fixture.get("notes?fieldSelector=spec.text%3Dx").await;
    let sentence = "field label not supported: spec.text";
    assert_eq!(
        refused.refusal(),
        (400, "BadRequest".into(), sentence.into())
    );
    assert_eq!(
        fixture.get("notes?labelSelector=a+b").await.refusal().0,
        400
    );
}

#[tokio::test]
async fn pages_make_up_the_whole_list() {
    let fixture = Fixture::new();
    for number in 0..1203 {
        let owner = if number % 3 == 0 { "ann" } else { "bob" };
        fixture.notes.add("acme", &format!("n{number:04}"), owner);
    }
    let path = "namespaces/acme/notes?fieldSelector=spec.owner%3Dann";
    let whole = fixture.get(path).await.names();
    assert_eq!(whole.len(), 401);
    let mut pages = Vec::new();
    let mut query = format!("{path}&limit=150");
    loop {
        let page = fixture.get(&query).await;
        assert!(page.names().len() <= 150);
        pages.extend(page.names());
        assert_eq!(page.json()["metadata"]["resourceVersion"], "1204");
        let Some(token) = page.json()["metadata"]["continue"]
            .as_str()
            .map(str::to_owned)
        else {
            break;
        };
        query = format!("{path}&limit=150&continue={token}");
        fixture.notes.add("other", &token[..8], "ann");
    }
    assert_eq!(pages, whole);
}

#[tokio::test]
async fn a_token_of_yesterday_has_expired() {
    let fixture = with_notes();
    let page = fixture.get("namespaces/acme/notes?limit=1").await.json();
    let token = page["metadata"]["continue"].as_str().expect("a token");
    let next = format!("namespaces/acme/notes?limit=1&continue={token}");
    assert_eq!(fixture.get(&next).await.names(), ["b"]);
    fixture.notes.set_phase("acme", "a", "Sent");
    fixture.notes.compact();
    let (code, reason, _) = fixture.get(&next).await.refusal();
    assert_eq!((code, reason.as_str()), (410, "Expired"));
    let odd = "namespaces/acme/notes?continue=nonsense";
    assert_eq!(fixture.get(odd).await.refusal().0, 400);
    assert_eq!(fixture.get("notes?limit=-1").await.refusal().0, 400);
    assert_eq!(
        fixture.get("notes?resourceVersion=x").await.refusal().0,
        400
    );
}

#[tokio::test]
async fn paths_that_lead_nowhere_are_not_found() {
    let fixture = with_notes();
    for path in [
        "letters",
        "namespaces/acme/letters",
        "notes/a",
        "namespaces/acme/notes/a/ink",
        "/metrics",
        "/api",
    ] {
        assert_eq!(fixture.get(path).await.refusal().0, 404, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_has_its_time() {
    let fixture = with_notes();
    fixture.notes.hangs.store(true, Ordering::Relaxed);
    let late = fixture.get("namespaces/acme/notes/a").await;
    assert_eq!(
        (late.refusal().0, late.refusal().1.as_str()),
        (504, "Timeout")
    );
}
