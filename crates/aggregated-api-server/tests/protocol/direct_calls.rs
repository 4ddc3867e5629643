//! Calls over TLS that do not come from the aggregator are refused, whoever they say they are.

use serde_json::Value;

use crate::certificates::{Authority, Identity};
use crate::fixture::Fixture;
use crate::tls;

/// Asks for all notes with a forged user, showing this certificate; returns the status and the body.
async fn ask(fixture: &Fixture, identity: Option<Identity>) -> (u16, Value) {
    let serving = Authority::new();
    let port = tls::serve(fixture.server.clone(), serving.server(&["localhost"])).await;
    let root = reqwest::Certificate::from_pem(serving.pem.as_bytes()).expect("a certificate");
    let mut client = reqwest::Client::builder()
        .use_rustls_tls()
        .no_proxy()
        .tls_built_in_root_certs(false)
        .add_root_certificate(root);
    if let Some(identity) = identity {
        let identity = reqwest::Identity::from_pem(identity.pem.as_bytes());
        client = client.identity(identity.expect("a certificate with its key"));
    }
    let answer = client
        .build()
        .expect("a client")
        .get(format!(
            "https://localhost:{port}/apis/notes.example.com/v1/notes"
        ))
        .header("X-Remote-User", "admin")
        .header("X-Remote-Group", "system:masters")
        .send()
        .await
        .expect("an answer");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

fn assert_unauthorized((code, status): (u16, Value)) {
    assert_eq!(
        (code, &status["reason"]),
        (401, &"Unauthorized".into()),
        "{status}"
    );
    assert!(status.get("items").is_none());
}

#[tokio::test]
async fn the_aggregators_certificate_is_believed() {
    let fixture = Fixture::new();
    fixture.notes.add("acme", "a", "ann");
    let own = fixture.authority.client("front-proxy-client");
    let (code, list) = ask(&fixture, Some(own)).await;
    assert_eq!(
        (code, &list["items"][0]["metadata"]["name"]),
        (200, &"a".into())
    );
}

#[tokio::test]
async fn a_forged_user_without_a_certificate_is_refused() {
    assert_unauthorized(ask(&Fixture::new(), None).await);
}

#[tokio::test]
async fn a_certificate_of_another_ca_is_refused() {
    let other = Authority::new().client("front-proxy-client");
    assert_unauthorized(ask(&Fixture::new(), Some(other)).await);
}

#[tokio::test]
async fn the_right_ca_with_a_wrong_name_is_refused() {
    let fixture = Fixture::new();
    let named = fixture.authority.client("kubernetes-admin");
    assert_unauthorized(ask(&fixture, Some(named)).await);
}

#[tokio::test]
async fn the_right_ca_for_servers_is_refused() {
    let fixture = Fixture::new();
    let serving = fixture.authority.server(&["front-proxy-client"]);
    assert_unauthorized(ask(&fixture, Some(serving)).await);
}
