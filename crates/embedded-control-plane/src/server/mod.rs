//! An embedded Kubernetes control plane: what operators, their tests and `kubectl` use of an API server and its
//! controllers, done as the real ones do it, in memory.
//!
//! It is a [`tower::Service`] that `kube::Client` uses directly ([`ControlPlane::client`]), and the same service over
//! loopback HTTP ([`ControlPlane::serve`]). Every behaviour is covered by a test that also runs on real API servers
//! (`tests/conformance/`); where they differ, this one is wrong.
//!
//! | file | what it does |
//! |---|---|
//! | `service`, `request`, `response`, `status_error` | paths, queries, representations, `Status` |
//! | `object_store` | objects as JSON bytes, revisions, bounded history |
//! | `read`, `watch`, `selectors`, `table`, `conversion` | get, list, watch; tables; the two versions of events |
//! | `write`, `strategy`, `metadata_validation`, `duplicate_keys`, `protobuf` | create, update, patch; defaults and validation of each kind |
//! | `caller`, `access_review`, `rbac` | who calls and as whom; whether they may: denials that tests set, and RBAC once it is enforced |
//! | `aggregation` | the groups that other servers serve: `APIService`s, the proxy to them, their part in discovery and clean-up |
//! | `patch`, `apply` | merge, JSON and strategic merge patches; server-side apply |
//! | [`crate::schema`], `builtin_schemas` | structural schemas: pruning, defaults, validation, CEL; those of built-in kinds |
//! | `delete`, `garbage_collector`, `crd` | finalizers, garbage collection, namespace deletion, CRDs |
//! | `kinds`, `built_in_kinds`, `discovery`, `openapi` | the served kinds, and how clients discover them |
//! | `manifests`, `faults`, `request_log`, `http_server` | objects from files, injected faults, the request log, HTTP |

mod access_review;
mod aggregation;
mod apply;
mod built_in_kinds;
mod builtin_schemas;
mod caller;
mod conversion;
mod crd;
mod delete;
mod discovery;
mod duplicate_keys;
mod faults;
mod garbage_collector;
mod http_server;
mod kinds;
mod manifests;
mod metadata_validation;
mod object;
mod object_store;
mod openapi;
mod patch;
mod protobuf;
mod rbac;
mod read;
mod request;
mod request_log;
mod response;
mod selectors;
mod service;
mod status_error;
mod strategy;
mod table;
mod watch;
mod write;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use parking_lot::RwLock;

use self::aggregation::Aggregation;
use self::kinds::KindRegistry;
use self::object_store::ObjectStore;

pub use self::access_review::AccessDenial;
pub use self::faults::{FaultEffect, FaultTarget, Faults};
pub use self::http_server::ServerHandle;
pub use self::manifests::ManifestError;
pub use self::request::Verb;
pub use self::request_log::{RecordedRequest, RequestLog};
pub use self::service::ApiService;

/// The Kubernetes version that the embedded control plane says it is.
pub const VERSION: &str = "v1.36.0+embedded";
/// How many changes each collection remembers, unless the builder says otherwise.
const DEFAULT_HISTORY_LIMIT: usize = 4096;

/// Everything that requests share.
#[derive(Debug)]
pub(crate) struct ServerState {
    store: Arc<ObjectStore>,
    kinds: RwLock<Arc<KindRegistry>>,
    faults: Faults,
    request_log: RequestLog,
    aggregation: Aggregation,
    enforces_rbac: AtomicBool,
}

impl ServerState {
    fn rbac_is_enforced(&self) -> bool {
        self.enforces_rbac.load(Ordering::Relaxed)
    }

    fn kinds(&self) -> Arc<KindRegistry> {
        Arc::clone(&self.kinds.read())
    }

    fn update_kinds(&self, change: impl FnOnce(&mut KindRegistry)) {
        let mut current = self.kinds.write();
        let mut kinds = KindRegistry::clone(&current);
        change(&mut kinds);
        *current = Arc::new(kinds);
    }
}

/// An embedded control plane. Clones are cheap and are the same control plane.
#[derive(Debug, Clone)]
pub struct ControlPlane {
    server: Arc<ServerState>,
}

/// How a control plane begins.
#[derive(Debug, Clone)]
pub struct ControlPlaneBuilder {
    crds: Vec<CustomResourceDefinition>,
    history_limit: usize,
}

impl ControlPlaneBuilder {
    /// CRDs that are installed from the start, before the first request.
    #[must_use]
    pub fn crds(mut self, crds: impl IntoIterator<Item = CustomResourceDefinition>) -> Self {
        self.crds.extend(crds);
        self
    }

    /// How many changes each collection remembers before an old `resourceVersion` is 410 Gone; 4,096 unless said
    /// otherwise.
    #[must_use]
    pub fn history_limit(mut self, changes: usize) -> Self {
        self.history_limit = changes;
        self
    }

    /// Starts it with the namespaces that every cluster has, and the given CRDs.
    ///
    /// # Panics
    /// When the API refuses one of the CRDs, with its message.
    pub fn build(self) -> ControlPlane {
        let store = Arc::new(ObjectStore::new(self.history_limit));
        let server = Arc::new(ServerState {
            faults: Faults::new(Arc::clone(&store)),
            store,
            kinds: RwLock::new(Arc::new(KindRegistry::new())),
            request_log: RequestLog::default(),
            aggregation: Aggregation::default(),
            enforces_rbac: AtomicBool::new(false),
        });
        let plane = ControlPlane { server };
        for namespace in ["default", "kube-node-lease", "kube-public", "kube-system"] {
            plane.apply_internal(&serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}));
        }
        for definition in self.crds {
            plane.apply_internal(
                &serde_json::to_value(definition).expect("a CRD is maps with string keys"),
            );
        }
        plane
    }
}

impl Default for ControlPlane {
    fn default() -> Self {
        Self::new()
    }
}

impl ControlPlane {
    /// A control plane with the built-in kinds only.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// A control plane with CRDs or limits of its own.
    pub fn builder() -> ControlPlaneBuilder {
        ControlPlaneBuilder {
            crds: Vec::new(),
            history_limit: DEFAULT_HISTORY_LIMIT,
        }
    }

    /// Its API as a tower service.
    pub fn service(&self) -> ApiService {
        ApiService {
            server: Arc::clone(&self.server),
        }
    }

    /// A client of it, with the default namespace `default`. Needs a tokio runtime.
    pub fn client(&self) -> kube::Client {
        kube::Client::new(self.service(), "default")
    }

    /// Faults to inject.
    pub fn faults(&self) -> Faults {
        self.server.faults.clone()
    }

    /// From now on roles and their bindings decide what users may do, as on a cluster; until then everybody may do everything
    /// that is not denied. Brings the roles that every cluster has. The administrator, who is whoever calls without
    /// `Impersonate-User`, still may do everything.
    pub fn enforce_rbac(&self) {
        if !self.server.enforces_rbac.swap(true, Ordering::Relaxed) {
            for object in rbac::bootstrap_objects() {
                self.apply_internal(&object);
            }
        }
    }

    /// What was asked so far.
    pub fn request_log(&self) -> RequestLog {
        self.server.request_log.clone()
    }
}
