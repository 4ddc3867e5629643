//! The harness of the conformance suite: a real API server on free loopback ports.

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

/// Which kind of server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(dead_code)]
pub enum ServerKind {
    /// etcd, kube-apiserver and kube-controller-manager.
    KubeApiserver,
    /// Not used here.
    CrdServer,
}

#[path = "../../../embedded-control-plane/tests/conformance/servers/processes.rs"]
pub mod processes;

/// A client of the user whom a kubeconfig names.
pub async fn connect(kubeconfig: &str) -> Client {
    let kubeconfig = Kubeconfig::from_yaml(kubeconfig).expect("our own kubeconfig");
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    Client::try_from(config.expect("our own kubeconfig")).expect("a client")
}
