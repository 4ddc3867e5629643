//! Schema, CEL, pruning, field validation: the texts are compared with the real server's by running there.

use serde_json::{Value, json};

use super::basics::connector;
use crate::cluster::Cluster;
use crate::suite::Suite;

pub fn register(suite: &mut Suite) {
    add!(
        suite,
        [Kubernetes130],
        each_broken_rule_is_named_with_field_and_reason
    );
    add!(suite, [], unknown_fields_are_pruned);
    add!(
        suite,
        [FieldValidation],
        strict_validation_refuses_what_lax_validation_warns_of
    );
    add!(suite, [], names_and_labels_are_checked);
    add!(suite, [], a_dry_run_checks_and_stores_nothing);
    add!(
        suite,
        [Kubernetes130],
        an_unqualified_kind_or_body_is_refused
    );
}

/// Sets a value by JSON pointer (objects only), or takes it out with `Null`.
fn with(mut object: Value, pointer: &str, value: Value) -> Value {
    let mut place = &mut object;
    let parts: Vec<&str> = pointer.trim_start_matches('/').split('/').collect();
    let (last, path) = parts.split_last().expect("a pointer");
    for part in path {
        place = &mut place[*part];
    }
    if value.is_null() {
        place.as_object_mut().expect("an object").remove(*last);
    } else {
        place[*last] = value;
    }
    object
}

/// (field, message) of every cause, in order of the alphabet: the server's own order is random.
fn causes(body: &Value) -> Vec<(String, String)> {
    let text = |cause: &Value, key: &str| cause[key].as_str().unwrap_or_default().to_owned();
    let all = body.pointer("/details/causes").and_then(Value::as_array);
    let mut causes: Vec<_> = all
        .into_iter()
        .flatten()
        .map(|cause| (text(cause, "field"), text(cause, "message")))
        .collect();
    causes.sort();
    causes
}

const UNCHECKED: &str = "Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";

async fn each_broken_rule_is_named_with_field_and_reason(cluster: Cluster) {
    let good = connector("c");
    let users = |users: Value| json!({"level": "Specific", "specificUsers": {"users": users}});
    let cases: Vec<(Value, Vec<(&str, &str)>)> = vec![
        (
            with(good.clone(), "/spec/greeting", json!(5)),
            vec![
                ("<nil>", UNCHECKED),
                (
                    "spec.greeting",
                    "Invalid value: \"integer\": spec.greeting in body must be of type string: \"integer\"",
                ),
            ],
        ),
        (
            with(good.clone(), "/spec/access/level", json!("Nope")),
            vec![
                ("<nil>", UNCHECKED),
                (
                    "spec.access.level",
                    "Unsupported value: \"Nope\": supported values: \"Open\", \"Company\", \"AgentEnabled\", \"Specific\"",
                ),
            ],
        ),
        (
            with(good.clone(), "/spec/access", Value::Null),
            vec![("<nil>", UNCHECKED), ("spec.access", "Required value")],
        ),
        (
            with(good.clone(), "/spec/assistant/timeoutSeconds", json!(700)),
            vec![(
                "spec.assistant.timeoutSeconds",
                "Invalid value: 700: spec.assistant.timeoutSeconds in body should be less than or equal to 600",
            )],
        ),
        (
            with(good.clone(), "/spec/botTokenSecretRef/name", json!("")),
            vec![(
                "spec.botTokenSecretRef.name",
                "Invalid value: \"\": spec.botTokenSecretRef.name in body should be at least 1 chars long",
            )],
        ),
        (
            with(
                good.clone(),
                "/spec/access",
                users((1..=1001).map(|id| json!({"id": id})).collect()),
            ),
            vec![
                ("<nil>", UNCHECKED),
                (
                    "spec.access.specificUsers.users",
                    "Too many: 1001: must have at most 1000 items",
                ),
            ],
        ),
        (
            with(good.clone(), "/spec/assistant/timeoutSeconds", json!(1.5)),
            vec![
                ("<nil>", UNCHECKED),
                (
                    "<nil>",
                    "Invalid value: \"\": Checked value must be of type integer with format int32 in spec.assistant.timeoutSeconds",
                ),
                (
                    "spec.assistant.timeoutSeconds",
                    "Invalid value: \"float64\": spec.assistant.timeoutSeconds in body must be of type int32: \"float64\"",
                ),
            ],
        ),
    ];
    for (object, wanted) in cases {
        let refused = cluster
            .call("POST", &cluster.connectors(), &object)
            .await
            .expect_status(422);
        assert_eq!(refused.at("/reason"), "Invalid");
        let mut wanted: Vec<_> = wanted
            .into_iter()
            .map(|(field, message)| (field.to_owned(), message.to_owned()))
            .collect();
        wanted.sort();
        assert_eq!(causes(&refused.body), wanted);
    }
    // The texts of CEL rules are the CRD's own; how they are wrapped is the server's.
    for (object, field, start) in [
        (
            with(good.clone(), "/spec/assistant/url", json!("ftp://x")),
            "spec.assistant.url",
            "Invalid value: \"ftp://x\": ",
        ),
        (
            with(
                good.clone(),
                "/spec/access",
                users(json!([{"id": 1, "username": "abcde"}])),
            ),
            "spec.access.specificUsers.users[0]",
            "Invalid value: ",
        ),
        (
            with(good, "/spec/access", json!({"level": "Company"})),
            "spec.access.companyUsers",
            "Required value: ",
        ),
    ] {
        let refused = cluster
            .call("POST", &cluster.connectors(), &object)
            .await
            .expect_status(422);
        let causes = causes(&refused.body);
        assert_eq!(causes.len(), 1, "{causes:?}");
        assert_eq!(causes[0].0, field);
        let text = causes[0]
            .1
            .strip_prefix(start)
            .unwrap_or_else(|| panic!("{causes:?}"));
        assert!(!text.starts_with('"'), "{causes:?}");
    }
}

async fn unknown_fields_are_pruned(cluster: Cluster) {
    let odd = with(
        with(connector("c"), "/spec/bogus", json!(1)),
        "/spec/access/zip",
        json!({"a": 1}),
    );
    let made = cluster
        .call("POST", &cluster.connectors(), &odd)
        .await
        .expect_status(201);
    assert_eq!(made.at("/spec/bogus"), &Value::Null);
    assert_eq!(made.at("/spec/access"), &json!({"level": "Open"}));
}

async fn strict_validation_refuses_what_lax_validation_warns_of(cluster: Cluster) {
    let odd = with(
        with(connector("c"), "/spec/bogus", json!(1)),
        "/spec/access/zip",
        json!(2),
    );
    let path = cluster.connectors();
    let strict = cluster
        .call("POST", &format!("{path}?fieldValidation=Strict"), &odd)
        .await
        .expect_status(400);
    assert_eq!(
        strict.at("/message"),
        "TelegramConnector in version \"v1alpha1\" cannot be handled as a TelegramConnector: strict decoding error: unknown field \"spec.access.zip\", unknown field \"spec.bogus\""
    );
    let warned = cluster
        .call(
            "POST",
            &format!("{path}?fieldValidation=Warn&dryRun=All"),
            &odd,
        )
        .await
        .expect_status(201);
    let warnings: Vec<_> = warned
        .headers
        .get_all("warning")
        .iter()
        .map(|one| one.to_str().expect("text"))
        .collect();
    assert_eq!(
        warnings,
        [
            r#"299 - "unknown field \"spec.access.zip\"""#,
            r#"299 - "unknown field \"spec.bogus\"""#
        ]
    );
    let silent = cluster
        .call(
            "POST",
            &format!("{path}?fieldValidation=Ignore&dryRun=All"),
            &odd,
        )
        .await
        .expect_status(201);
    assert!(silent.headers.get("warning").is_none());
    let twice = serde_json::to_string(&connector("c"))
        .expect("JSON")
        .replace("\"level\"", "\"level\":\"Open\",\"level\"");
    let request = http::Request::post(format!("{path}?fieldValidation=Strict"))
        .header("content-type", "application/json");
    let twice = cluster
        .send(request.body(twice.into_bytes()).expect("a request"))
        .await
        .expect_status(400);
    assert!(
        twice
            .text
            .contains(r#"duplicate field \"spec.access.level\""#),
        "{}",
        twice.text
    );
}

async fn names_and_labels_are_checked(cluster: Cluster) {
    for (object, field) in [
        (connector("Bad_Name"), "metadata.name"),
        (
            with(connector("c"), "/metadata/labels", json!({"a b": "c"})),
            "metadata.labels",
        ),
        (
            with(connector("c"), "/metadata/labels", json!({"a": "c d"})),
            "metadata.labels",
        ),
        (
            with(connector("c"), "/metadata/finalizers", json!(["a b/c"])),
            "metadata.finalizers",
        ),
    ] {
        let refused = cluster
            .call("POST", &cluster.connectors(), &object)
            .await
            .expect_status(422);
        assert_eq!(refused.at("/details/causes/0/field"), field);
        assert!(
            refused.text.contains("regex used for validation"),
            "{}",
            refused.text
        );
    }
    let elsewhere = with(connector("c"), "/metadata/namespace", json!("elsewhere"));
    cluster
        .call("POST", &cluster.connectors(), &elsewhere)
        .await
        .expect_status(400);
}

async fn a_dry_run_checks_and_stores_nothing(cluster: Cluster) {
    let path = format!("{}?dryRun=All", cluster.connectors());
    let made = cluster
        .call("POST", &path, &connector("c"))
        .await
        .expect_status(201);
    assert_eq!(made.at("/metadata/resourceVersion"), &Value::Null);
    let one = format!("{}/c", cluster.connectors());
    cluster.get(&one).await.expect_status(404);
    cluster
        .call(
            "POST",
            &path,
            &with(connector("c"), "/spec/access", json!({})),
        )
        .await
        .expect_status(422);
    let made = cluster
        .call("POST", &cluster.connectors(), &connector("c"))
        .await
        .expect_status(201);
    let change = json!({"spec": {"displayName": "D"}});
    let tried = cluster
        .call_as(
            "PATCH",
            &format!("{one}?dryRun=All"),
            "application/merge-patch+json",
            &change,
        )
        .await
        .expect_status(200);
    assert_eq!(tried.at("/metadata/generation"), 2);
    cluster
        .call("DELETE", &format!("{one}?dryRun=All"), &Value::Null)
        .await
        .expect_status(200);
    assert_eq!(cluster.get(&one).await.expect_status(200).body, made.body);
}

async fn an_unqualified_kind_or_body_is_refused(cluster: Cluster) {
    let path = cluster.connectors();
    let kindless = with(connector("c"), "/kind", Value::Null);
    let refused = cluster
        .call("POST", &path, &kindless)
        .await
        .expect_status(400);
    assert!(
        refused.text.contains("Object 'Kind' is missing"),
        "{}",
        refused.text
    );
    let other = with(connector("c"), "/kind", json!("Other"));
    let refused = cluster.call("POST", &path, &other).await.expect_status(422);
    assert_eq!(
        refused.at("/details/causes/0/message"),
        "Invalid value: \"Other\": must be TelegramConnector"
    );
    let version = with(
        connector("c"),
        "/apiVersion",
        json!("connectors.pupau.ai/v2"),
    );
    cluster
        .call("POST", &path, &version)
        .await
        .expect_status(400);
    let number = with(connector("c"), "/metadata/labels", json!({"a": 1}));
    let refused = cluster
        .call("POST", &path, &number)
        .await
        .expect_status(400);
    assert!(
        refused
            .text
            .contains("json: cannot unmarshal number into Go struct field ObjectMeta.labels"),
        "{}",
        refused.text
    );
}
