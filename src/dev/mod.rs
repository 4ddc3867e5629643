//! Everything embedded, for `dev`, `demo` and the tests: a control plane, a Bot API simulator, a sample assistant.
//!
//! Behind the cargo feature `dev`: the container image does not have it.

pub mod console;
pub mod demo;
pub mod dev_command;
pub mod environment;
pub mod kubectl_table;
pub mod quickstart;

use embedded_control_plane::ControlPlane;

/// A control plane with the operator's CRDs installed.
fn control_plane_with_crds() -> ControlPlane {
    ControlPlane::builder()
        .crds(crate::api::crds::all())
        .build()
}
