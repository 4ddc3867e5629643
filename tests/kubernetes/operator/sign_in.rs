//! `companyUsers.oidc`: what is wrong with an identity provider or its client is said by `AccessResolved`, and clears by itself.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use parking_lot::Mutex;
use serde_json::{Value, json};
use telegram_connector_operator::operator::Operator;

use super::operator_options::free_address;
use super::test_env::{OperatorOptions, TestEnv};
use crate::cluster::Cluster;
use crate::suite::Suite;

pub fn register(suite: &mut Suite) {
    add!(suite, [Core], provider_that_is_away_is_reported_and_found);
    add!(suite, [Core], client_that_is_refused_is_reported_and_mended);
    add!(suite, [Core], sign_in_without_a_key_is_reported);
}

/// An identity provider of which only the standing matters.
#[derive(Clone)]
struct Provider {
    issuer: String,
    /// Whether it has the device flow.
    has_devices: Arc<Mutex<bool>>,
    /// The client's secret, in the body.
    secret: &'static str,
}

impl Provider {
    /// Listens on an address at which nobody listened before.
    async fn start(issuer: &str, has_devices: bool) -> Self {
        let provider = Self {
            issuer: issuer.to_owned(),
            has_devices: Arc::new(Mutex::new(has_devices)),
            secret: "good",
        };
        let app = Router::new()
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/keys", get(|| async { Json(json!({"keys": []})) }))
            .route("/token", post(token))
            .with_state(provider.clone());
        let address = issuer.trim_start_matches("http://");
        let listener = tokio::net::TcpListener::bind(address).await;
        let listener = listener.expect("the address is free");
        tokio::spawn(async move { axum::serve(listener, app).await });
        provider
    }
}

async fn metadata(State(provider): State<Provider>) -> Json<Value> {
    let issuer = &provider.issuer;
    let mut metadata = json!({
        "issuer": issuer, "authorization_endpoint": format!("{issuer}/auth"), "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/keys"), "response_types_supported": ["code"], "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"], "token_endpoint_auth_methods_supported": ["client_secret_post"],
    });
    if *provider.has_devices.lock() {
        metadata["device_authorization_endpoint"] = format!("{issuer}/device").into();
    }
    Json(metadata)
}

async fn token(State(provider): State<Provider>, form: String) -> (StatusCode, Json<Value>) {
    let known = form.ends_with(&format!("&client_secret={}", provider.secret));
    let error = if known {
        "invalid_grant"
    } else {
        "invalid_client"
    };
    (StatusCode::BAD_REQUEST, Json(json!({"error": error})))
}

/// A connector that people of the company may write to, and nobody else.
async fn start(cluster: Cluster, options: OperatorOptions) -> (TestEnv, Operator, String) {
    let env = TestEnv::new(cluster).await;
    let operator = env.start_operator(options).await;
    let issuer = format!("http://{}", free_address());
    let spec = json!({"access": {"level": "Company", "companyUsers": {"oidc": {
        "issuer": issuer, "clientId": "bot", "clientSecretRef": {"name": "sign-in"}}}}});
    env.create_connector_with_bot("a", spec).await;
    (env, operator, issuer)
}

async fn provider_that_is_away_is_reported_and_found(cluster: Cluster) {
    let (env, operator, issuer) = start(cluster, OperatorOptions::polling()).await;
    env.wait_until_not_ready("a", "AccessResolved", "False", "SecretNotFound")
        .await;
    env.set_secret("sign-in", "client-secret", "good\n").await;
    let message = env
        .wait_until_not_ready(
            "a",
            "AccessResolved",
            "False",
            "IdentityProviderUnreachable",
        )
        .await;
    assert!(message.contains("check the issuer"), "{message}");
    env.wait_for_condition("a", "Reconciling", "True", "IdentityProviderUnreachable")
        .await;
    let provider = Provider::start(&issuer, false).await;
    let message = env
        .wait_until_not_ready("a", "AccessResolved", "False", "DeviceFlowUnsupported")
        .await;
    assert!(message.contains("RFC 8628"), "{message}");
    *provider.has_devices.lock() = true;
    env.wait_until_ready("a").await;
    let resolved = env
        .wait_for_condition("a", "AccessResolved", "True", "Resolved")
        .await;
    assert_eq!(
        resolved.message,
        format!("0 users may write, and members who sign in at {issuer}")
    );
    operator.shutdown().await;
}

async fn client_that_is_refused_is_reported_and_mended(cluster: Cluster) {
    let (env, operator, issuer) = start(cluster, OperatorOptions::polling()).await;
    Provider::start(&issuer, true).await;
    env.set_secret("sign-in", "client-secret", "hunter2").await;
    let message = env
        .wait_until_not_ready("a", "AccessResolved", "False", "IdentityProviderRefused")
        .await;
    assert!(message.contains("invalid_client"), "{message}");
    assert!(!message.contains("hunter2"), "{message}");
    // A rotation is followed.
    env.set_secret("sign-in", "client-secret", "good").await;
    env.wait_until_ready("a").await;
    operator.shutdown().await;
}

async fn sign_in_without_a_key_is_reported(cluster: Cluster) {
    let options = OperatorOptions {
        seals: false,
        ..OperatorOptions::polling()
    };
    let (env, operator, _) = start(cluster, options).await;
    let message = env
        .wait_until_not_ready("a", "AccessResolved", "False", "SignInKeyMissing")
        .await;
    assert!(message.contains("--sign-in-key-file"), "{message}");
    operator.shutdown().await;
}
