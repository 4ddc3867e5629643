//! Registers each test once for every server that can serve it, runs them, and says how many ran where.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};

use crate::cluster::Cluster;
use crate::servers::{Server, ServerKind};

/// What a test needs of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(dead_code)] // tests come and go; the list says what servers differ in
pub enum ServerFeature {
    /// Namespaces, Secrets, `ConfigMap`s, Leases, Events.
    Core,
    /// RBAC, and tokens of `ServiceAccounts`.
    Rbac,
    /// The controllers: garbage collection, namespaces that go, CRD conditions.
    Controllers,
    /// CRDs as objects of the API.
    Crds,
    /// CEL rules in CRDs (Kubernetes 1.25).
    Cel,
    /// `sendInitialEvents` (on by default since Kubernetes 1.34, and in the embedded one).
    StreamingLists,
    /// `fieldValidation` and its `Warning` headers (Kubernetes 1.25).
    FieldValidation,
    /// `subresource` in managed fields, no-op applies and texts of newer servers (Kubernetes 1.30).
    Kubernetes130,
    /// Discovery, which `kubectl` cannot do without.
    Discovery,
    /// A server of its own, on which our CRDs are not installed yet.
    OwnServer,
    /// Injected faults, a short history, the request log: the embedded control plane only.
    Embedded,
}

type Body = Arc<dyn Fn(Cluster) -> Pin<Box<dyn Future<Output = ()>>> + Send + Sync>;

/// All tests.
pub struct Suite {
    servers: Vec<Arc<Server>>,
    trials: Vec<Trial>,
    ran: BTreeMap<String, Arc<AtomicUsize>>,
}

/// Registers a test: `add!(suite, [Core, Cel], function)`. Its name is the module path and the function's.
#[macro_export]
macro_rules! add {
    ($suite:expr, [$($feature:ident),* $(,)?], $test:ident) => {
        $suite.add(module_path!(), stringify!($test), &[$($crate::suite::ServerFeature::$feature),*], $test)
    };
}

impl Suite {
    pub fn new() -> Self {
        let mut servers = vec![Arc::new(Server::embedded())];
        match std::env::var_os("KUBEBUILDER_ASSETS") {
            Some(folder) => servers.extend(
                Server::find_real(std::path::Path::new(&folder))
                    .into_iter()
                    .map(Arc::new),
            ),
            None => eprintln!(
                "\n*** KUBEBUILDER_ASSETS is not set: the tests run on the embedded control plane ONLY; no real API server is tried ***"
            ),
        }
        let ran = servers
            .iter()
            .map(|server| (server.name.clone(), Arc::default()))
            .collect();
        Self {
            servers,
            trials: Vec::new(),
            ran,
        }
    }

    /// Registers a test on every server that has what it needs.
    pub fn add<F, R>(&mut self, module: &str, name: &str, required: &[ServerFeature], test: F)
    where
        F: Fn(Cluster) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + 'static,
    {
        let body: Body = Arc::new(move |cluster| Box::pin(test(cluster)));
        let module = module.split_once("::").map_or("", |(_, module)| module);
        for server in &self.servers {
            if !required.iter().all(|feature| server.has(*feature)) {
                continue;
            }
            let own_server = required.contains(&ServerFeature::OwnServer);
            let (server, body, count) = (
                if own_server {
                    Arc::new(server.dedicated())
                } else {
                    Arc::clone(server)
                },
                Arc::clone(&body),
                Arc::clone(&self.ran[&server.name]),
            );
            let full = format!("{}::{module}::{name}", server.name);
            self.trials.push(Trial::test(full, move || {
                count.fetch_add(1, Ordering::Relaxed);
                let outcome = run_one(&server, &body);
                if own_server {
                    server.stop();
                }
                outcome
            }));
        }
    }

    /// Runs what the arguments select, ends the servers, and exits with the outcome.
    pub fn run(self, arguments: &Arguments) -> ! {
        let conclusion = libtest_mimic::run(arguments, self.trials);
        for server in &self.servers {
            server.stop();
        }
        if !arguments.list {
            for (server, count) in &self.ran {
                eprintln!("{:>5} tests ran on {server}", count.load(Ordering::Relaxed));
            }
            if self
                .servers
                .iter()
                .all(|server| server.server_kind == ServerKind::Embedded)
            {
                eprintln!(
                    "*** no test ran on a real API server: set KUBEBUILDER_ASSETS to try them ***"
                );
            }
        }
        conclusion.exit()
    }
}

fn run_one(server: &Server, body: &Body) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failed::from(error.to_string()))?;
    let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let cluster = server.cluster().await;
            body(cluster.clone()).await;
            cluster.delete_namespace().await;
        });
    }));
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        Failed::from(text.unwrap_or_else(|| "the test panicked".into()))
    })
}
