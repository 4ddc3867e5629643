//! The commands `dev` and `demo`: the operator with an embedded Kubernetes API, a Bot API simulator and a sample assistant in one
//! process.
//!
//! Needs the cargo feature `dev`, which the container image is built without.

mod console;
pub mod demo;
pub mod dev_command;
mod environment;
mod playground_sources;
mod quickstart;

use embedded_control_plane::ControlPlane;

pub(crate) use environment::redirect_to_sample;

/// A control plane with the operator's CRDs installed.
fn control_plane_with_crds() -> ControlPlane {
    ControlPlane::builder()
        .crds(crate::api::crds::all())
        .build()
}
