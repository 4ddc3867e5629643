//! What a test gets: a client, a namespace of its own, and a few ways to ask that every test needs.

use std::fmt::Debug;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use embedded_control_plane::{ControlPlane, ServerHandle};
use http::{Request, StatusCode};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client, Resource};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::suite::ServerFeature;

/// How long a test waits for something that must come.
pub const WAIT_TIMEOUT: Duration = Duration::from_secs(30);

/// A server as one test sees it.
#[derive(Clone)]
#[allow(dead_code)] // hooks for every module of tests
pub struct Cluster {
    /// Talks to the server as its administrator.
    pub client: Client,
    /// This test's own namespace; it exists where the server has namespaces.
    pub namespace: String,
    /// A kubeconfig for the server, as YAML; empty for an embedded one that is not served.
    pub kubeconfig: String,
    pub(crate) control_plane: Option<ControlPlane>,
    pub(crate) features: Vec<ServerFeature>,
}

/// The server as programs reach it from outside: by a kubeconfig in a file.
pub struct ExternalAccess {
    folder: tempfile::TempDir,
    /// Keeps the embedded control plane on its port.
    _served: Option<ServerHandle>,
}

impl ExternalAccess {
    /// A folder for whoever needs one.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// `KUBECONFIG`.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder().join("config")
    }
}

/// An answer, whole.
#[derive(Debug, Clone)]
pub struct ApiResponse {
    pub status: StatusCode,
    pub headers: http::HeaderMap,
    pub body: Value,
    pub text: String,
}

#[allow(dead_code)] // hooks for every module of tests
impl Cluster {
    /// Whether the server has an ability, for the rare test that checks more where more is there.
    pub fn has(&self, feature: ServerFeature) -> bool {
        self.features.contains(&feature)
    }

    /// The embedded control plane itself: faults, request log. Only for tests that need [`ServerFeature::Embedded`].
    pub fn control_plane(&self) -> &ControlPlane {
        self.control_plane
            .as_ref()
            .expect("the test is registered with ServerFeature::Embedded")
    }

    /// Has the embedded one obey roles and their bindings, as the real ones do.
    pub fn enforce_rbac(&self) {
        if let Some(control_plane) = &self.control_plane {
            control_plane.enforce_rbac();
        }
    }

    /// The way in for a program.
    pub async fn external_access(&self) -> ExternalAccess {
        let (kubeconfig, served) = match &self.control_plane {
            Some(control_plane) => {
                let served = control_plane.serve(([127, 0, 0, 1], 0).into()).await;
                let served = served.expect("a free port");
                (served.kubeconfig.clone(), Some(served))
            }
            None => (self.kubeconfig.clone(), None),
        };
        let external_access = ExternalAccess {
            folder: tempfile::tempdir().expect("a folder"),
            _served: served,
        };
        std::fs::write(external_access.kubeconfig(), kubeconfig).expect("a writable folder");
        external_access
    }

    /// An API in the test's namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Sends a request as it is and returns the answer whatever it is.
    pub async fn send(&self, request: Request<Vec<u8>>) -> ApiResponse {
        let request = request.map(kube::client::Body::from);
        let response = self.client.send(request).await.expect("the server answers");
        let (parts, body) = response.into_parts();
        let bytes = body.collect_bytes().await.expect("the body arrives");
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        ApiResponse {
            status: parts.status,
            headers: parts.headers,
            body,
            text,
        }
    }

    /// GET.
    pub async fn get(&self, path: &str) -> ApiResponse {
        self.call("GET", path, &Value::Null).await
    }

    /// POST, PUT or DELETE of a JSON document.
    pub async fn call(&self, method: &str, path: &str, body: &Value) -> ApiResponse {
        self.call_as(method, path, "application/json", body).await
    }

    /// A call with a media type of its own, such as a kind of patch.
    pub async fn call_as(
        &self,
        method: &str,
        path: &str,
        media: &str,
        body: &Value,
    ) -> ApiResponse {
        let bytes = if body.is_null() {
            Vec::new()
        } else {
            serde_json::to_vec(body).expect("JSON serializes")
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", media);
        self.send(request.body(bytes).expect("a request")).await
    }

    /// Server-side apply by a manager.
    pub async fn apply(&self, path: &str, manager: &str, force: bool, body: &Value) -> ApiResponse {
        let path = format!("{path}?fieldManager={manager}&force={force}");
        self.call_as("PATCH", &path, "application/apply-patch+yaml", body)
            .await
    }

    /// The path of a namespaced resource in the test's namespace: `path("v1", "secrets")`.
    pub fn path(&self, api_version: &str, plural: &str) -> String {
        let root = if api_version.contains('/') {
            "apis"
        } else {
            "api"
        };
        format!(
            "/{root}/{api_version}/namespaces/{}/{plural}",
            self.namespace
        )
    }

    /// The path of our connectors in the test's namespace.
    pub fn connectors(&self) -> String {
        self.path("connectors.pupau.ai/v1alpha1", "telegramconnectors")
    }

    /// Waits until `look` finds something; panics after [`WAIT_TIMEOUT`].
    pub async fn eventually<T, F, R>(&self, what: &str, look: F) -> T
    where
        F: FnMut() -> R,
        R: Future<Output = Option<T>>,
    {
        self.eventually_within(WAIT_TIMEOUT, what, look).await
    }

    /// [`Cluster::eventually`] with a limit of its own, for what the controllers of a server that has just begun do.
    pub async fn eventually_within<T, F, R>(&self, limit: Duration, what: &str, mut look: F) -> T
    where
        F: FnMut() -> R,
        R: Future<Output = Option<T>>,
    {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(found) = look().await {
                return found;
            }
            assert!(
                Instant::now() < deadline,
                "waited {limit:?} in vain: {what}"
            );
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// Makes the test's namespace, where the server has namespaces.
    pub(crate) async fn create_namespace(&self) {
        if self.has(ServerFeature::Core) {
            let namespaces: Api<Namespace> = Api::all(self.client.clone());
            let wanted = serde_json::from_value(json!({"metadata": {"name": self.namespace}}))
                .expect("a namespace");
            namespaces
                .create(&PostParams::default(), &wanted)
                .await
                .expect("the test's namespace");
        }
    }

    /// Deletes the namespace of a shared server, without waiting.
    pub(crate) async fn delete_namespace(&self) {
        if self.control_plane.is_none() && self.has(ServerFeature::Core) {
            let namespaces: Api<Namespace> = Api::all(self.client.clone());
            // Left behind, it disturbs nobody: names are unique, and the server ends with the run.
            let _ = namespaces
                .delete(&self.namespace, &DeleteParams::default())
                .await;
        }
    }
}

#[allow(dead_code)]
impl ApiResponse {
    /// Asserts the status, and says the whole answer if it is another.
    #[track_caller]
    pub fn expect_status(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self
    }

    /// A part of the body by JSON pointer; `Null` when it is not there.
    pub fn at(&self, pointer: &str) -> &Value {
        self.body.pointer(pointer).unwrap_or(&Value::Null)
    }
}
