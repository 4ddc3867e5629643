//! The conformance suite: each behaviour of a Kubernetes API in a test that runs on the embedded control plane and, when
//! `KUBEBUILDER_ASSETS` names a folder with their binaries, on the real API servers.
//!
//! ```text
//! cargo test -p embedded-control-plane --test conformance                        # embedded only
//! KUBEBUILDER_ASSETS=… cargo test -p embedded-control-plane --test conformance   # and the real servers
//! ```
//!
//! # Adding a test
//! A test is an async function over a [`Cluster`](cluster::Cluster), which fails by panicking. Register it in the `register`
//! function of its module with what it needs of a server ([`ServerFeature`](suite::ServerFeature)):
//!
//! ```ignore
//! pub fn register(suite: &mut Suite) {
//!     add!(suite, [Core], secret_string_data_ends_up_in_data);
//!     add!(suite, [Core, Embedded], something_with_injected_faults);
//! }
//! ```
//!
//! Each test has a namespace of its own (`cluster.namespace`), its own tokio runtime (tasks that it leaves behind end with it)
//! and, embedded, its own control plane (`cluster.control_plane()`); real servers are shared, so a test that looks at all
//! namespaces must ignore what is not its own.
//!
//! The suite, the servers and the cluster are a harness that other test crates can take by `#[path]`: they declare the modules
//! `suite` (with `#[macro_use]`), `servers` and `cluster` at their root, and a function `crds()` with the CRDs to install.

#![allow(unreachable_pub)] // a test binary has no outside to reach

#[macro_use]
mod suite;

mod aggregated_server;
mod api;
mod cluster;
mod kubectl;
mod servers;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

/// The CRDs that the tests use: those of the operator in this repository, which cover most of what a CRD can ask for.
fn crds() -> Vec<CustomResourceDefinition> {
    [
        include_str!("crds/connectors.pupau.ai_telegramconnectors.yaml"),
        include_str!("crds/connectors.pupau.ai_telegramuserlists.yaml"),
        include_str!("crds/connectors.pupau.ai_clustertelegramuserlists.yaml"),
    ]
    .map(|yaml| serde_yaml::from_str(yaml).expect("a CRD"))
    .into()
}

fn main() {
    let arguments = libtest_mimic::Arguments::from_args();
    let mut suite = suite::Suite::new();
    api::register(&mut suite);
    kubectl::register(&mut suite);
    suite.run(&arguments);
}
