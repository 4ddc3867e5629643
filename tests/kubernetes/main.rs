//! Every test of the operator that needs a Kubernetes API, run on the embedded control plane and, when `KUBEBUILDER_ASSETS` names a folder with
//! their binaries, on the real API servers: the same test on each server that can serve it.
//!
//! ```text
//! cargo test --test kubernetes                                          # embedded only
//! KUBEBUILDER_ASSETS=… cargo test --test kubernetes                     # and the real servers
//! cargo test --test kubernetes embedded::operator                       # by name, as always
//! ```
//!
//! # Adding a test
//! A test is an async function over a [`Cluster`](cluster::Cluster), which fails by panicking. Register it in the `register`
//! function of its module with what it needs of a server ([`ServerFeature`](suite::ServerFeature)):
//!
//! ```ignore
//! pub fn register(suite: &mut Suite) {
//!     add!(suite, [Core], denied_token_is_reported);
//!     add!(suite, [Core, Cel, Embedded], something_with_injected_faults);
//! }
//!
//! async fn denied_token_is_reported(cluster: Cluster) {
//!     let secrets: Api<Secret> = cluster.api();        // in the test's own namespace
//!     …
//!     cluster.eventually("the secret is there", || async { … }).await;   // polls; panics after 30 s
//! }
//! ```
//!
//! Each test has a namespace of its own (`cluster.namespace`), its own tokio runtime (tasks that it leaves behind end with it)
//! and, embedded, its own control plane (`cluster.control_plane()`); real servers are shared, so a test that looks at all namespaces must
//! ignore what is not its own. `register` of a new module is called in `main` below.

#![allow(unreachable_pub)] // a test binary has no outside to reach

// The harness of the embedded control plane's own tests.
#[path = "../../crates/embedded-control-plane/tests/conformance/suite.rs"]
#[macro_use]
mod suite;
#[path = "../../crates/embedded-control-plane/tests/conformance/cluster.rs"]
#[allow(dead_code, reason = "the conformance suite uses more of it")]
mod cluster;
#[path = "../../crates/embedded-control-plane/tests/conformance/servers/mod.rs"]
#[allow(dead_code, reason = "the conformance suite uses more of it")]
mod servers;

mod allow;
mod doctor;
#[path = "../../crates/aggregated-api-server/tests/common/kubectl_client.rs"]
mod kubectl_client;
mod manifests;
#[path = "../support/not_tried.rs"]
mod not_tried;
mod operator;
#[path = "../support/postgres_server.rs"]
#[allow(clippy::unwrap_used)]
mod postgres_server;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

/// The CRDs that the harness installs.
fn crds() -> Vec<CustomResourceDefinition> {
    telegram_connector_operator::api::crds::all().into()
}

fn main() {
    let arguments = libtest_mimic::Arguments::from_args();
    let mut suite = suite::Suite::new();
    allow::register(&mut suite);
    doctor::register(&mut suite);
    manifests::register(&mut suite);
    operator::register(&mut suite);
    suite.run(&arguments);
}
