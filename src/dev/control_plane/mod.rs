//! An embedded Kubernetes control plane, for `dev`, `demo` and the tests: what the operator, its tests and `kubectl` use of
//! an API server and its controllers, done as the real ones do it, in memory.
//!
//! It is a [`tower::Service`] that `kube::Client` uses directly ([`ControlPlane::client`]), and the same service over
//! loopback HTTP ([`ControlPlane::serve`]). Every behaviour is covered by a test that also runs on real API servers
//! (`tests/kubernetes/`); where they differ, this one is wrong.
//!
//! | file | what it does |
//! |---|---|
//! | `service`, `request`, `reply`, `failure` | the wire: paths, queries, shapes, `Status` |
//! | `store` | objects as JSON bytes, revisions, bounded history |
//! | `read`, `watch`, `selectors`, `table`, `view` | get, list, watch; rows for people |
//! | `write`, `strategy`, `names`, `duplicates`, `protobuf` | create, replace, patch; what each kind adds and refuses |
//! | `patch`, `apply` | merge, JSON and strategic patches; server-side apply |
//! | `schema` | structural schemas: pruning, defaults, validation, CEL |
//! | `delete`, `settle`, `definitions` | finalizers, garbage collection, namespaces that go, CRDs |
//! | `kinds`, `discovery`, `openapi` | what is served and how clients find out |
//! | `seed`, `faults`, `requests`, `http` | files, injected faults, the request log, the HTTP server |

mod apply;
mod definitions;
mod delete;
mod discovery;
mod duplicates;
mod failure;
mod faults;
mod http;
mod kinds;
mod names;
mod object;
mod openapi;
mod patch;
mod protobuf;
mod read;
mod reply;
mod request;
mod requests;
mod schema;
mod seed;
mod selectors;
mod service;
mod settle;
mod store;
mod strategy;
mod table;
mod view;
mod watch;
mod write;

use std::sync::{Arc, PoisonError, RwLock};

use self::kinds::Kinds;
use self::store::Store;

pub use self::faults::{Effect, Faults, Target};
pub use self::http::Served;
pub use self::request::Verb;
pub use self::requests::{Request, Requests};
pub use self::seed::SeedError;
pub use self::service::ApiService;

/// The Kubernetes version that the embedded control plane says it is.
pub const VERSION: &str = "v1.36.0+embedded";
/// How many changes each collection remembers, unless the builder says otherwise.
const HISTORY: usize = 4096;

/// Everything that requests share.
#[derive(Debug)]
pub(crate) struct World {
    store: Arc<Store>,
    kinds: RwLock<Arc<Kinds>>,
    faults: Faults,
    requests: Requests,
}

impl World {
    fn kinds(&self) -> Arc<Kinds> {
        Arc::clone(&self.kinds.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change_kinds(&self, change: impl FnOnce(&mut Kinds)) {
        let mut current = self.kinds.write().unwrap_or_else(PoisonError::into_inner);
        let mut kinds = Kinds::clone(&current);
        change(&mut kinds);
        *current = Arc::new(kinds);
    }
}

/// An embedded control plane. Clones are cheap and are the same control plane.
#[derive(Debug, Clone)]
pub struct ControlPlane {
    world: Arc<World>,
}

/// How a control plane begins.
#[derive(Debug, Clone)]
pub struct Builder {
    definitions: bool,
    history: usize,
}

impl Builder {
    /// Whether our own CRDs are installed from the start (they are unless this says no).
    #[must_use]
    pub fn definitions(mut self, installed: bool) -> Self {
        self.definitions = installed;
        self
    }

    /// How many changes each collection remembers before an old `resourceVersion` is 410 Gone; 4,096 unless said
    /// otherwise.
    #[must_use]
    pub fn history(mut self, changes: usize) -> Self {
        self.history = changes;
        self
    }

    /// Starts it: the namespaces of every cluster, and our CRDs if wanted.
    pub fn build(self) -> ControlPlane {
        let store = Arc::new(Store::new(self.history));
        let world = Arc::new(World {
            faults: Faults::new(Arc::clone(&store)),
            store,
            kinds: RwLock::new(Arc::new(Kinds::new())),
            requests: Requests::default(),
        });
        let plane = ControlPlane { world };
        for namespace in ["default", "kube-node-lease", "kube-public", "kube-system"] {
            plane.put_own(&serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}));
        }
        if self.definitions {
            for definition in crate::api::crds::all() {
                plane.put_own(&serde_json::to_value(definition).expect("our CRDs serialize"));
            }
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
    /// A control plane with our CRDs installed.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// A control plane to one's own taste.
    pub fn builder() -> Builder {
        Builder {
            definitions: true,
            history: HISTORY,
        }
    }

    /// Its API as a tower service.
    pub fn service(&self) -> ApiService {
        ApiService {
            world: Arc::clone(&self.world),
        }
    }

    /// A client of it, with the default namespace `default`. Needs a tokio runtime.
    pub fn client(&self) -> kube::Client {
        kube::Client::new(self.service(), "default")
    }

    /// Faults to inject.
    pub fn faults(&self) -> Faults {
        self.world.faults.clone()
    }

    /// What was asked so far.
    pub fn requests(&self) -> Requests {
        self.world.requests.clone()
    }
}
