//! The admin endpoint: `/healthz`, `/readyz` and `/metrics`, for the kubelet and for Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Metrics;
use crate::store::Inbox;

/// What must be so before the process counts as ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReadinessCheck {
    /// The API server serves both kinds.
    Crds,
    /// Connectors have been listed once.
    ConnectorsSynced,
    /// User lists have been listed once.
    UserListsSynced,
    /// Secrets (metadata) have been listed once.
    SecretsSynced,
}

impl ReadinessCheck {
    const ALL: [Self; 4] = [
        Self::Crds,
        Self::ConnectorsSynced,
        Self::UserListsSynced,
        Self::SecretsSynced,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Crds => "crds",
            Self::ConnectorsSynced => "connectors-synced",
            Self::UserListsSynced => "user-lists-synced",
            Self::SecretsSynced => "secrets-synced",
        }
    }
}

/// Which checks hold now. The controller says; `/readyz` tells.
#[derive(Debug, Default)]
pub struct Readiness(Mutex<BTreeMap<ReadinessCheck, Result<(), String>>>);

impl Readiness {
    /// The check holds from now on.
    pub fn pass(&self, check: ReadinessCheck) {
        self.set(check, Ok(()));
    }

    /// The check does not hold, and what to do about it.
    pub fn fail(&self, check: ReadinessCheck, why: impl Into<String>) {
        self.set(check, Err(why.into()));
    }

    /// Whether the check holds.
    pub fn is_passing(&self, check: ReadinessCheck) -> bool {
        let checks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(checks.get(&check), Some(Ok(())))
    }

    /// Whether everything holds that the controller answers for.
    pub fn is_ready(&self) -> bool {
        let checks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ReadinessCheck::ALL
            .iter()
            .all(|c| matches!(checks.get(c), Some(Ok(()))))
    }

    fn set(&self, check: ReadinessCheck, state: Result<(), String>) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(check, state);
    }

    fn states(&self) -> Vec<(&'static str, Result<(), String>)> {
        let checks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ReadinessCheck::ALL
            .iter()
            .map(|c| {
                let state = checks.get(c).cloned();
                (c.name(), state.unwrap_or_else(|| Err("not yet".to_owned())))
            })
            .collect()
    }
}

/// What the endpoint answers from.
#[derive(Clone)]
pub struct AdminState {
    /// `/metrics`.
    pub metrics: Arc<Metrics>,
    /// `/readyz`.
    pub readiness: Arc<Readiness>,
    /// `/readyz` asks whether it can be written.
    pub inbox: Arc<dyn Inbox>,
}

impl std::fmt::Debug for AdminState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdminState").finish_non_exhaustive()
    }
}

/// A probe's own limit is often 1 s; the store must have answered before.
const STORE_TIMEOUT: Duration = Duration::from_millis(800);

/// Serves until `stop` is cancelled.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    admin: AdminState,
    stop: CancellationToken,
) -> std::io::Result<()> {
    axum::serve(listener, router(admin))
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
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
    let store = tokio::time::timeout(STORE_TIMEOUT, admin.inbox.writable()).await;
    states.push((
        "store-writable",
        match store {
            Ok(Ok(())) => Ok(()),
            Ok(Err(e)) => Err(e.to_string()),
            Err(_) => Err("the store does not answer".to_owned()),
        },
    ));
    let ready = states.iter().all(|(_, state)| state.is_ok());
    let mut body = String::new();
    for (name, state) in &states {
        // Writing to a String cannot fail.
        let _ = match state {
            Ok(()) => writeln!(body, "[+] {name} ok"),
            Err(why) => writeln!(body, "[-] {name}: {why}"),
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
    use crate::identity::{BotId, ConnectorUid};
    use crate::store::{Accepted, StoreError};
    use crate::telegram::RawUpdate;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    struct UnwritableInbox;
    #[async_trait::async_trait]
    impl Inbox for UnwritableInbox {
        async fn accept(
            &self,
            _: &ConnectorUid,
            bot: BotId,
            _: Vec<RawUpdate>,
        ) -> Result<Accepted, StoreError> {
            Err(StoreError::BacklogFull(bot))
        }
        async fn forget(&self, _: &ConnectorUid) -> Result<(), StoreError> {
            Ok(())
        }
        async fn connectors(&self) -> Result<Vec<crate::identity::ConnectorRef>, StoreError> {
            Ok(Vec::new())
        }
        async fn writable(&self) -> Result<(), StoreError> {
            Err(StoreError::Unavailable("disk full".into()))
        }
    }

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
    async fn readyz_names_each_check_and_fails_while_one_fails() {
        let readiness = Arc::new(Readiness::default());
        readiness.pass(ReadinessCheck::Crds);
        readiness.fail(ReadinessCheck::ConnectorsSynced, "403 Forbidden");
        let admin = AdminState {
            metrics: Arc::default(),
            readiness,
            inbox: Arc::new(UnwritableInbox),
        };
        let (status, body) = get(admin.clone(), "/readyz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(
            body,
            "[+] crds ok\n[-] connectors-synced: 403 Forbidden\n[-] user-lists-synced: not yet\n\
             [-] secrets-synced: not yet\n[-] store-writable: the store cannot be written: disk full\n"
        );
        assert_eq!(get(admin, "/healthz").await.0, StatusCode::OK);
    }
}
