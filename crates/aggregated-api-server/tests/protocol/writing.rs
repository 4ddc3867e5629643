//! Creating, deleting, subresources, dry runs and what is wrong with them.

use serde_json::{Value, json};

use crate::fixture::Fixture;

fn note(name: &str) -> Value {
    json!({"apiVersion": "notes.example.com/v1", "kind": "Note", "metadata": {"name": name}, "spec": {"text": "hi"}})
}

#[tokio::test]
async fn a_note_is_made_once() {
    let fixture = Fixture::new();
    let made = fixture.post("namespaces/acme/notes", &note("n")).await;
    assert_eq!(made.status, 201);
    assert_eq!(made.json()["spec"], json!({"owner": "admin", "text": "hi"}));
    let again = fixture.post("namespaces/acme/notes", &note("n")).await;
    let sentence = "notes.notes.example.com \"n\" already exists";
    assert_eq!(
        again.refusal(),
        (409, "AlreadyExists".into(), sentence.into())
    );
    let mut unnamed = note("n");
    unnamed["metadata"] = json!({"generateName": "n-"});
    let made = fixture.post("namespaces/acme/notes", &unnamed).await.json();
    let name = made["metadata"]["name"].as_str().expect("a name");
    assert!(name.starts_with("n-") && name.len() == 7, "{name}");
    assert_eq!(fixture.notes.count(), 2);
}

#[tokio::test]
async fn a_dry_run_checks_and_makes_nothing() {
    let fixture = Fixture::new();
    let made = fixture
        .post("namespaces/acme/notes?dryRun=All", &note("n"))
        .await;
    assert_eq!((made.status.as_u16(), fixture.notes.count()), (201, 0));
    fixture.notes.add("acme", "n", "ann");
    let refused = fixture
        .post("namespaces/acme/notes?dryRun=All", &note("n"))
        .await;
    assert_eq!(refused.refusal().0, 409);
    let odd = fixture
        .post("namespaces/acme/notes?dryRun=Some", &note("o"))
        .await;
    assert_eq!(odd.refusal().0, 400);
    for path in ["namespaces/acme/notes/n", "namespaces/acme/notes"] {
        let deleted = fixture.delete(&format!("{path}?dryRun=All")).await;
        assert_eq!(deleted.json()["status"], "Success");
        let options = r#"{"kind":"DeleteOptions","apiVersion":"v1","dryRun":["All"]}"#;
        let deleted = fixture.call("admin", "DELETE", path, &[], options).await;
        assert_eq!(deleted.json()["status"], "Success");
    }
    let stamped = fixture
        .post("namespaces/acme/notes/n/stamp?dryRun=All", &json!({}))
        .await;
    assert_eq!(stamped.json()["stamped"], false);
    assert_eq!((fixture.notes.count(), fixture.notes.revision()), (1, 2));
}

#[tokio::test]
async fn what_is_wrong_is_named_by_field() {
    let fixture = Fixture::new();
    let refused = async |change: &dyn Fn(&mut Value)| {
        let mut body = note("n");
        change(&mut body);
        fixture.post("namespaces/acme/notes", &body).await
    };
    let empty = refused(&|body| body["spec"]["text"] = "".into()).await;
    let sentence =
        "Note.notes.example.com \"n\" is invalid: spec.text: Required value: give the note a text";
    assert_eq!(empty.refusal(), (422, "Invalid".into(), sentence.into()));
    let cause = json!([{"reason": "FieldValueRequired", "message": "Required value: give the note a text", "field": "spec.text"}]);
    assert_eq!(empty.json()["details"]["causes"], cause);
    let code = async |change: &dyn Fn(&mut Value)| refused(change).await.refusal().0;
    assert_eq!(
        code(&|body| body["metadata"]["name"] = "No_Name".into()).await,
        422
    );
    assert_eq!(code(&|body| body["metadata"] = json!({})).await, 422);
    assert_eq!(
        code(&|body| body["metadata"]["namespace"] = "other".into()).await,
        400
    );
    assert_eq!(code(&|body| body["kind"] = "Letter".into()).await, 400);
    assert_eq!(code(&|body| body["apiVersion"] = "v1".into()).await, 400);
    assert_eq!(code(&|body| body["metadata"] = "n".into()).await, 400);
    assert_eq!(code(&|body| *body = json!([1])).await, 400);
    assert_eq!(fixture.notes.count(), 0);
}

#[tokio::test]
async fn unknown_fields_are_treated_as_the_client_wants() {
    let fixture = Fixture::new();
    let mut body = note("n");
    body["spec"]["colour"] = "red".into();
    let create = async |validation: &str| {
        let path = format!("namespaces/acme/notes?dryRun=All&{validation}");
        fixture.post(&path, &body).await
    };
    let (code, reason, message) = create("fieldValidation=Strict").await.refusal();
    assert_eq!((code, reason.as_str()), (400, "BadRequest"));
    assert!(
        message.ends_with("strict decoding error: unknown field \"spec.colour\""),
        "{message}"
    );
    let warned = create("fieldValidation=Warn").await;
    assert_eq!(
        warned.headers["warning"],
        r#"299 - "unknown field \"spec.colour\"""#
    );
    assert!(create("").await.headers.contains_key("warning"));
    assert!(
        !create("fieldValidation=Ignore")
            .await
            .headers
            .contains_key("warning")
    );
}

#[tokio::test]
async fn bodies_have_a_bound_and_are_json() {
    let fixture = Fixture::new();
    let path = "namespaces/acme/notes";
    let long = "x".repeat((1 << 20) + 1);
    let refused = fixture.call("admin", "POST", path, &[], long).await;
    assert_eq!(refused.refusal().0, 413);
    let protobuf = [("content-type", "application/vnd.kubernetes.protobuf")];
    let refused = fixture
        .call("admin", "POST", path, &protobuf, "k8s\0x")
        .await;
    assert_eq!(refused.refusal().0, 415);
    let refused = fixture.call("admin", "POST", path, &[], "{\"a\":").await;
    assert_eq!(refused.refusal().0, 400);
    for method in ["PUT", "PATCH"] {
        let refused = fixture
            .call("admin", method, "namespaces/acme/notes/n", &[], "{}")
            .await;
        assert_eq!(refused.refusal().0, 405);
    }
    assert_eq!(
        fixture
            .call("admin", "POST", "notes", &[], "{}")
            .await
            .refusal()
            .0,
        405
    );
    assert_eq!(
        fixture
            .call("admin", "DELETE", "notes", &[], "")
            .await
            .refusal()
            .0,
        405
    );
}

#[tokio::test]
async fn a_deletion_says_what_it_deleted() {
    let fixture = Fixture::new();
    fixture.notes.add("acme", "n", "ann");
    let path = "namespaces/acme/notes/n";
    let other = r#"{"preconditions":{"uid":"another"}}"#;
    let refused = fixture.call("admin", "DELETE", path, &[], other).await;
    assert_eq!(refused.refusal().0, 409);
    let details =
        json!({"name": "n", "group": "notes.example.com", "kind": "notes", "uid": "uid-acme-n"});
    assert_eq!(fixture.delete(path).await.json()["details"], details);
    assert_eq!(fixture.delete(path).await.refusal().0, 404);
}

#[tokio::test]
async fn a_collection_is_deleted_by_selectors() {
    let fixture = Fixture::new();
    for number in 0..1300 {
        let owner = if number % 2 == 0 { "ann" } else { "bob" };
        fixture.notes.add("acme", &format!("n{number:04}"), owner);
    }
    fixture.notes.add("other", "n", "ann");
    let path = "namespaces/acme/notes";
    let deleted = fixture
        .delete(&format!("{path}?fieldSelector=spec.owner%3Dann"))
        .await;
    assert_eq!(deleted.json()["status"], "Success");
    assert_eq!(fixture.notes.count(), 651);
    fixture
        .delete(&format!("{path}?labelSelector=owner%3Dnone"))
        .await;
    assert_eq!(fixture.notes.count(), 651);
    fixture.delete(path).await;
    assert_eq!(fixture.get("notes").await.names(), ["n"]);
}

#[tokio::test]
async fn subresources_are_read_and_made() {
    let fixture = Fixture::new();
    fixture.notes.add("acme", "n", "ann");
    let words = fixture.get("namespaces/acme/notes/n/words").await.json();
    let expected = json!({"apiVersion": "notes.example.com/v1", "kind": "NoteWords", "metadata": {"name": "n", "namespace": "acme"},
        "words": ["hello"]});
    assert_eq!(words, expected);
    let stamped = fixture
        .post(
            "namespaces/acme/notes/n/stamp",
            &json!({"ink": "blue", "paper": 1}),
        )
        .await;
    assert_eq!(
        (stamped.status.as_u16(), &stamped.json()["ink"]),
        (201, &"blue".into())
    );
    assert!(stamped.headers.contains_key("warning"));
    let empty = fixture
        .call("admin", "POST", "namespaces/acme/notes/n/stamp", &[], "")
        .await;
    assert_eq!(empty.status, 201);
    assert_eq!(
        fixture
            .delete("namespaces/acme/notes/n/stamp")
            .await
            .refusal()
            .0,
        405
    );
    assert_eq!(
        fixture
            .get("namespaces/acme/notes/n/stamp")
            .await
            .refusal()
            .0,
        405
    );
    assert_eq!(
        fixture
            .get("namespaces/acme/notes/none/words")
            .await
            .refusal()
            .0,
        404
    );
}
