//! Notes in memory behind a real kube-apiserver: its aggregator, its RBAC, its controllers, and stock kubectl.
//!
//! ```text
//! KUBEBUILDER_ASSETS=… cargo test -p aggregated-api-server --test kubernetes
//! ```
//! kubectl is the one of that folder, the one in `PATH`, and those that `KUBECTL_NEW` and `KUBECTL_OLD` name; each test runs with each.

#![allow(unreachable_pub)] // a test binary has no outside to reach

#[path = "../common/certificates.rs"]
#[allow(dead_code)] // the clients of these tests come through the aggregator
mod certificates;
mod cluster;
mod kubectl;
#[path = "../common/kubectl_client.rs"]
mod kubectl_client;
mod new_aggregator;
#[path = "../common/notes.rs"]
#[allow(dead_code)] // used whole by the other tests
mod notes;
mod servers;
#[path = "../common/tls.rs"]
mod tls;

use std::path::Path;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};

use crate::cluster::Cluster;

fn main() {
    let mut arguments = Arguments::from_args();
    // The tests share one server, and some delete all that there is.
    arguments.test_threads = Some(1);
    let Ok(assets) = std::env::var("KUBEBUILDER_ASSETS") else {
        eprintln!(
            "*** KUBEBUILDER_ASSETS is not set: nothing is tried behind a real kube-apiserver ***"
        );
        libtest_mimic::run(&arguments, Vec::new()).exit();
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let is_listing = arguments.list;
    let cluster =
        (!is_listing).then(|| Arc::new(runtime.block_on(Cluster::start(Path::new(&assets)))));
    let mut trials = Vec::new();
    for client in kubectl_client::clients() {
        let version = kubectl_client::version(&client).expect("it was asked before");
        for (name, test) in kubectl::TESTS {
            let (cluster, handle) = (cluster.clone(), runtime.handle().clone());
            let client = client.clone();
            trials.push(Trial::test(
                format!("kubectl_{version}::{name}"),
                move || {
                    let cluster = cluster.expect("started unless it only lists");
                    cluster.reset();
                    handle.block_on(test(
                        kubectl_client::Kubectl::new(&client, &cluster.kubeconfig),
                        cluster,
                    ));
                    Ok(())
                },
            ));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if let Some(cluster) = cluster {
        cluster.stop();
    }
    conclusion.exit();
}
