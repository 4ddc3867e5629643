//! The harness of the conformance suite: a real API server on free loopback ports.

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
