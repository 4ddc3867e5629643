//! A bot whose backlog is full, behind its webhook: Telegram is asked to wait, and nobody else is.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{Empty, Full};
use secrecy::{ExposeSecret, SecretString};
use telegram_connector_operator::connection::webhook::secret_token::{
    SECRET_HEADER, derive_secret_token,
};
use telegram_connector_operator::connection::webhook::{self, WebhookServer};
use telegram_connector_operator::store::{self, StoreOptions};
use telegram_connector_operator::telemetry::Metrics;

use crate::test_env::{Connector, TestEnv};

const KEY: &str = "0123456789abcdef0123456789abcdef";

async fn deliver(server: &WebhookServer, to: &Connector, update: i64) -> Response<Empty<Bytes>> {
    let secret = derive_secret_token(&SecretString::from(KEY), &to.uid, to.id);
    let body = format!(
        r#"{{"update_id":{update},"message":{{"message_id":{update},"date":100,"chat":{{"id":7,"type":"private"}},"from":{{"id":7,"is_bot":false,"first_name":"Ann"}},"text":"x"}}}}"#
    );
    let request = Request::post(format!("/telegram/{}", to.uid))
        .header("content-type", "application/json")
        .header(SECRET_HEADER, secret.expose_secret())
        .body(Full::new(Bytes::from(body)))
        .unwrap();
    server.handle_request(request).await
}

#[tokio::test]
async fn full_backlog_refuses_updates_of_that_bot_only() {
    let mut env = TestEnv::new().await;
    let (full, other) = (env.connector("full"), env.connector("other"));
    let folder = tempfile::tempdir().unwrap();
    let address = format!("sqlite:{}/connectors.db", folder.path().display());
    let options = StoreOptions {
        backlog_per_bot: 2,
        ..StoreOptions::default()
    };
    let inbox = store::open_with(&address, options).await.unwrap();
    let metrics = Arc::new(Metrics::new());
    let server = WebhookServer {
        registry: env.registry.clone(),
        inbox: inbox.clone(),
        metrics: metrics.clone(),
        keys: vec![KEY.into()],
        tls: None,
        connection_limits: webhook::CONNECTION_LIMITS,
    };
    for update in 1..=2 {
        assert_eq!(
            deliver(&server, &full, update).await.status(),
            StatusCode::OK
        );
    }
    let refused = deliver(&server, &full, 3).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    let wait = refused.headers().get("retry-after");
    let wait = wait.expect("a Retry-After").to_str().unwrap();
    assert!((1..=60).contains(&wait.parse::<u32>().unwrap()), "{wait}");
    assert!(
        refused.headers().get("connection").is_none(),
        "Telegram's connection is kept"
    );
    assert_eq!(deliver(&server, &other, 3).await.status(), StatusCode::OK);
    let metrics = metrics.encode();
    assert!(
        metrics.contains("webhook_refusals_total{reason=\"backlog\"} 1\n"),
        "{metrics}"
    );
}
