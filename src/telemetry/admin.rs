//! The admin endpoint: `/healthz`, `/readyz` and `/metrics`, for the kubelet and for Prometheus.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use futures::future::BoxFuture;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::Metrics;
use super::readiness::{CheckState, Readiness};
use crate::http_server::{self, ConnectionLimits, HeadLimits, TrackedConnection};

/// Asks the store whether it can be written; the error says why not.
pub type StoreProbe = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// Shared state of the handlers.
#[derive(Clone)]
pub struct AdminState {
    /// The samples of `/metrics`.
    pub metrics: Arc<Metrics>,
    /// The other checks of `/readyz`.
    pub readiness: Arc<Readiness>,
    /// The check `store-writable` of `/readyz`.
    pub store_probe: StoreProbe,
}

impl std::fmt::Debug for AdminState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdminState").finish_non_exhaustive()
    }
}

/// The longest wait for the store. The kubelet's default `timeoutSeconds` is 1; the answer must leave before.
const STORE_TIMEOUT: Duration = Duration::from_millis(800);

/// The connections at once: the kubelet's, Prometheus' and those of people. None is trusted, because nobody authenticates.
const CONNECTION_LIMITS: ConnectionLimits = ConnectionLimits {
    untrusted: 256,
    untrusted_per_peer: 128,
    crowd: 32,
    trusted: 0,
};
/// Time limit of a head, and of a kept connection between two scrapes: above the usual intervals.
const HEAD_TIMEOUT: Duration = Duration::from_secs(65);

/// Serves until `stop` is cancelled.
pub async fn serve(listener: TcpListener, admin: AdminState, stop: CancellationToken) {
    let service = TowerToHyperService::new(router(admin));
    let stopped = stop.clone();
    let serve = move |stream: TcpStream, connection: TrackedConnection| {
        let (service, stop) = (service.clone(), stop.clone());
        async move {
            // Counted until the connection ends.
            let _connection = connection;
            let head = HeadLimits::within(HEAD_TIMEOUT);
            http_server::serve_http1(stream, service, head, stop).await;
        }
    };
    http_server::accept_connections("admin", listener, CONNECTION_LIMITS, stopped, serve).await;
}

/// The endpoint's routes.
pub fn router(admin: AdminState) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(admin)
}

async fn metrics(State(admin): State<AdminState>) -> impl IntoResponse {
    for age in admin.readiness.watches().ages() {
        let resource = age.resource.label();
        admin
            .metrics
            .set_cluster_view(resource, age.failing, age.oldest);
    }
    (
        [(
            header::CONTENT_TYPE,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        )],
        admin.metrics.encode(),
    )
}

async fn readyz(State(admin): State<AdminState>) -> impl IntoResponse {
    let mut states = admin.readiness.states();
    let store = tokio::time::timeout(STORE_TIMEOUT, (admin.store_probe)()).await;
    states.push(CheckState {
        name: "store-writable",
        result: store.unwrap_or_else(|_| Err("the store does not answer".to_owned())),
        warning: None,
    });
    let ready = states.iter().all(|state| state.result.is_ok());
    let mut body = String::new();
    for CheckState {
        name,
        result,
        warning,
    } in &states
    {
        // Writing to a String cannot fail.
        let _ = match (result, warning) {
            (Ok(()), None) => writeln!(body, "[+] {name} ok"),
            (Ok(()), Some(warning)) => writeln!(body, "[+] {name} ok, but {warning}"),
            (Err(why), _) => writeln!(body, "[-] {name}: {why}"),
        };
    }
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{ReadinessCheck, WatchedResource};
    use http_body_util::BodyExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tower::ServiceExt;

    async fn get(admin: AdminState, path: &str) -> (StatusCode, String) {
        let request = http::Request::get(path)
            .body(axum::body::Body::empty())
            .unwrap();
        let response = router(admin).oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn long_head_is_refused_and_a_short_one_answered() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let admin = AdminState {
            metrics: Arc::default(),
            readiness: Arc::default(),
            store_probe: Arc::new(|| Box::pin(async { Ok(()) })),
        };
        let stop = CancellationToken::new();
        let server = tokio::spawn(serve(listener, admin, stop.clone()));
        for (filler, status) in [(http_server::MAX_HEAD_BYTES, "431"), (100, "200")] {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let filler = "x".repeat(filler);
            let request = format!("GET /healthz HTTP/1.1\r\nHost: x\r\nX: {filler}\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).await.unwrap();
            assert_eq!(answer, format!("HTTP/1.1 {status}").as_bytes());
        }
        stop.cancel();
        server.await.unwrap();
    }

    #[tokio::test]
    async fn readyz_names_each_check_and_fails_while_one_fails() {
        let readiness = Arc::new(Readiness::default());
        readiness.pass(ReadinessCheck::Crds);
        readiness.fail(ReadinessCheck::ConnectorsSynced, "403 Forbidden");
        let admin = AdminState {
            metrics: Arc::default(),
            readiness,
            store_probe: Arc::new(|| {
                Box::pin(async { Err("the store cannot be written: disk full".to_owned()) })
            }),
        };
        let (status, body) = get(admin.clone(), "/readyz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(
            body,
            "[+] crds ok\n[-] connectors-synced: 403 Forbidden\n[-] user-lists-synced: not yet\n\
             [-] secrets-synced: not yet\n[-] work-claims: not yet\n[-] store-writable: the store cannot be written: disk full\n"
        );
        assert_eq!(get(admin, "/healthz").await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn readyz_says_that_the_store_is_silent() {
        let admin = AdminState {
            metrics: Arc::default(),
            readiness: Arc::default(),
            store_probe: Arc::new(|| Box::pin(std::future::pending())),
        };
        let asked = get(admin, "/readyz");
        let kubelet = tokio::time::timeout(Duration::from_secs(30), asked).await;
        let (status, body) = kubelet.expect("an answer, though the store gives none");
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        let line = "[-] store-writable: the store does not answer\n";
        assert!(body.contains(line), "{body}");
    }

    #[tokio::test]
    async fn old_view_of_the_cluster_is_named_while_ready() {
        let readiness = Arc::new(Readiness::default());
        for check in [
            ReadinessCheck::Crds,
            ReadinessCheck::ConnectorsSynced,
            ReadinessCheck::UserListsSynced,
            ReadinessCheck::SecretsSynced,
            ReadinessCheck::WorkClaims,
        ] {
            readiness.pass(check);
        }
        let watches = readiness.watches();
        watches.begin(WatchedResource::UserLists, "gone");
        watches.on_error(WatchedResource::UserLists, "gone", "403 Forbidden");
        let admin = AdminState {
            metrics: Arc::default(),
            readiness,
            store_probe: Arc::new(|| Box::pin(async { Ok(()) })),
        };
        let (status, body) = get(admin.clone(), "/readyz").await;
        assert_eq!(status, StatusCode::OK);
        let line = "[+] user-lists-synced ok, but not current: namespace \"gone\" for 0 s: 403 Forbidden\n";
        assert!(body.contains(line), "{body}");
        let (_, metrics) = get(admin, "/metrics").await;
        for line in [
            "watches_failing{resource=\"telegramuserlists\"} 1\n",
            "watches_failing{resource=\"secrets\"} 0\n",
            "cluster_view_age_seconds{resource=\"secrets\"} 0.0\n",
        ] {
            assert!(metrics.contains(line), "{metrics}");
        }
    }
}
