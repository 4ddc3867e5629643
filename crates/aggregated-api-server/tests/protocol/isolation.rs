//! Who may, and that nothing of another namespace can be reached.

use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::fixture::Fixture;

#[tokio::test]
async fn who_may_not_reads_kubernetes_own_sentence() {
    let fixture = Fixture::new();
    fixture.notes.add("acme", "a", "ann");
    let read = async |user: &str, method: &str, path: &str| {
        let answer = fixture.call(user, method, path, &[], "").await;
        answer.refusal()
    };
    let (code, reason, message) = read("nobody", "GET", "namespaces/acme/notes/a").await;
    assert_eq!((code, reason.as_str()), (403, "Forbidden"));
    assert_eq!(
        message,
        "notes.notes.example.com \"a\" is forbidden: User \"nobody\" cannot get resource \"notes\" in API group \"notes.example.com\" in the namespace \"acme\""
    );
    let (_, _, message) = read("member", "GET", "notes").await;
    assert_eq!(
        message,
        "notes.notes.example.com is forbidden: User \"member\" cannot list resource \"notes\" in API group \"notes.example.com\" at the cluster scope"
    );
    let (_, _, message) = read("nobody", "GET", "namespaces/acme/notes/a/words").await;
    assert!(
        message.contains("cannot get resource \"notes/words\""),
        "{message}"
    );
    assert_eq!(
        read("nobody", "DELETE", "namespaces/acme/notes").await.0,
        403
    );
    assert_eq!(read("lost", "GET", "namespaces/acme/notes").await.0, 503);
    assert_eq!(fixture.notes.count(), 1);
    // Discovery wants to know who it is, and no more.
    let group = fixture.call("nobody", "GET", "/apis", &[], "").await;
    assert_eq!(group.status, 200);
}

#[tokio::test]
async fn rbac_is_asked_in_the_words_of_kubernetes() {
    let fixture = Fixture::new();
    let cases = [
        ("GET", "notes", ["list", "", "", ""]),
        (
            "GET",
            "notes?watch=true&timeoutSeconds=1",
            ["watch", "", "", ""],
        ),
        (
            "GET",
            "namespaces/n/notes?fieldSelector=metadata.name%3Dx",
            ["list", "n", "x", ""],
        ),
        ("GET", "namespaces/n/notes/x", ["get", "n", "x", ""]),
        (
            "GET",
            "namespaces/n/notes/x/words",
            ["get", "n", "x", "words"],
        ),
        ("POST", "namespaces/n/notes", ["create", "n", "", ""]),
        (
            "POST",
            "namespaces/n/notes/x/stamp",
            ["create", "n", "x", "stamp"],
        ),
        ("DELETE", "namespaces/n/notes/x", ["delete", "n", "x", ""]),
        (
            "DELETE",
            "namespaces/n/notes",
            ["deletecollection", "n", "", ""],
        ),
        ("PUT", "namespaces/n/notes/x", ["update", "n", "x", ""]),
        ("PATCH", "namespaces/n/notes/x", ["patch", "n", "x", ""]),
    ];
    for (method, path, [verb, namespace, name, subresource]) in cases {
        fixture.send("admin", method, path, &[], "").await;
        let asked = fixture.rules.asked.lock().pop().expect("it was asked");
        let attributes = [
            &asked.verb,
            &asked.namespace,
            &asked.name,
            &asked.subresource,
        ];
        assert_eq!(
            attributes,
            [verb, namespace, name, subresource],
            "{method} {path}"
        );
        assert_eq!(
            (asked.group.as_str(), asked.resource.as_str()),
            ("notes.example.com", "notes")
        );
    }
}

#[tokio::test]
async fn nothing_leads_into_another_namespace() {
    let fixture = Fixture::new();
    for number in 0..5 {
        fixture.notes.add("acme", &format!("mine-{number}"), "ann");
        fixture
            .notes
            .add("other", &format!("theirs-{number}"), "ann");
    }
    let first = fixture.get("namespaces/other/notes?limit=2").await.json();
    let theirs = first["metadata"]["continue"]
        .as_str()
        .expect("a token")
        .to_owned();
    // The token of one namespace, and one forged for the right query with a position in the other.
    let mine = fixture.get("namespaces/acme/notes?limit=2").await.json();
    let mine = mine["metadata"]["continue"]
        .as_str()
        .expect("a token")
        .to_owned();
    let forged = {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(&mine).expect("base64")).expect("text");
        URL_SAFE_NO_PAD.encode(text.replace("acme/mine-1", "other/theirs-0"))
    };
    assert_ne!(forged, mine);
    for query in [
        "fieldSelector=metadata.namespace%3Dother".to_owned(),
        "fieldSelector=metadata.namespace!%3Dacme".to_owned(),
        "fieldSelector=metadata.name%3Dtheirs-1".to_owned(),
        "labelSelector=owner%3Dann".to_owned(),
        format!("continue={theirs}"),
        format!("continue={forged}"),
        format!("limit=2&continue={forged}"),
    ] {
        let path = format!("namespaces/acme/notes?{query}");
        let listed = fixture.call("member", "GET", &path, &[], "").await;
        assert!(!listed.text.contains("theirs"), "{query}: {}", listed.text);
        let deleted = fixture.call("member", "DELETE", &path, &[], "").await;
        assert!(
            deleted.status.is_success() || deleted.status == 400,
            "{query}"
        );
    }
    for name in ["theirs-0", "..%2F..%2Fother%2Fnotes%2Ftheirs-0"] {
        let path = format!("namespaces/acme/notes/{name}");
        let answer = fixture.call("member", "GET", &path, &[], "").await;
        assert_eq!(answer.status, 404);
    }
    assert_eq!(fixture.get("namespaces/other/notes").await.names().len(), 5);
}

/// Anything that a client may put where the names are.
fn segments() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("theirs-1".to_owned()),
        Just("..".to_owned()),
        Just("%2e%2e".to_owned()),
        Just("../other/notes/theirs-1".to_owned()),
        Just("..%2F..%2Fother%2Fnotes%2Ftheirs-1".to_owned()),
        Just("other".to_owned()),
        Just("notes".to_owned()),
        Just("words".to_owned()),
        "[a-z0-9%./-]{0,12}",
    ]
}

fn queries() -> impl Strategy<Value = String> {
    let parameter = prop_oneof![
        Just("namespace=other".to_owned()),
        Just("fieldSelector=metadata.namespace%3Dother".to_owned()),
        Just("fieldSelector=metadata.namespace!%3Dacme".to_owned()),
        Just("fieldSelector=metadata.name%3Dtheirs-1,metadata.namespace%3Dother".to_owned()),
        Just("labelSelector=owner+in+(ann,bob)".to_owned()),
        Just("limit=1".to_owned()),
        Just("limit=500".to_owned()),
        Just("watch=1&timeoutSeconds=1&resourceVersion=1".to_owned()),
        Just("includeObject=Object".to_owned()),
        "[ -~]{0,20}".prop_map(|text| format!("continue={}", text.replace(['#', ' '], "x"))),
        "(other|acme)/[a-z0-9-]{0,9}".prop_map(|at| {
            // As a token of this server, for this query, would be.
            let query = fingerprint();
            let token = json!({"v": 1, "rv": 1, "at": at, "q": query}).to_string();
            format!("continue={}", URL_SAFE_NO_PAD.encode(token))
        }),
    ];
    proptest::collection::vec(parameter, 0..4).prop_map(|all| all.join("&"))
}

/// The number in a token for all notes of `acme`.
fn fingerprint() -> u64 {
    static NUMBER: OnceLock<u64> = OnceLock::new();
    *NUMBER.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(async {
            let list = two_namespaces().get("namespaces/acme/notes?limit=1").await;
            let token = list.json()["metadata"]["continue"]
                .as_str()
                .expect("a token")
                .to_owned();
            let json = URL_SAFE_NO_PAD.decode(token).expect("base64");
            let token: Value = serde_json::from_slice(&json).expect("JSON");
            token["q"].as_u64().expect("a number")
        })
    })
}

fn two_namespaces() -> Fixture {
    let fixture = Fixture::new();
    for number in 0..3 {
        fixture.notes.add("acme", &format!("mine-{number}"), "ann");
        fixture
            .notes
            .add("other", &format!("theirs-{number}"), "ann");
    }
    fixture
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_request_of_a_member_reaches_another_namespace(
        method in prop_oneof![Just("GET"), Just("DELETE"), Just("POST")],
        inside in proptest::collection::vec(segments(), 0..4),
        query in queries(),
        accept in prop_oneof![
            Just("application/json"),
            Just("application/json;as=Table;v=v1;g=meta.k8s.io"),
            Just("application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"),
        ],
        leaks: bool,
    ) {
        let _ = fingerprint();
        // Time stands still, so that a watch's second is over at once.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let fixture = two_namespaces();
            fixture.notes.leaks.store(leaks, Ordering::Relaxed);
            let path = inside.join("/");
            let path = format!("/apis/notes.example.com/v1/namespaces/acme/notes/{path}?{query}");
            if path.parse::<http::Uri>().is_err() {
                return;
            }
            let answer = fixture.call("member", method, &path, &[("accept", accept)], "").await;
            // What the client itself has said may come back in a sentence.
            let shown = if answer.status.is_success() {
                answer.text
            } else {
                answer.json()["items"].to_string()
            };
            assert!(!shown.contains("uid-other") && !shown.contains("\"theirs-"), "{method} {path}: {shown}");
            let theirs = fixture.notes.names().into_iter().filter(|(namespace, _)| namespace == "other");
            assert_eq!(theirs.count(), 3, "{method} {path}");
        });
    }
}
