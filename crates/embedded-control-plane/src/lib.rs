//! An in-memory Kubernetes API server with the controllers that an operator relies on, for tests and demonstrations.
//!
//! | module | what it owns |
//! |---|---|
//! | [`ControlPlane`] (feature `server`) | the API server: built-in kinds and CRDs, watches, server-side apply, garbage collection, injected faults |
//! | [`schema`] | structural schemas as CRDs hold them: pruning, validation and CEL rules, usable alone (`default-features = false`) |
//!
//! The README says what the crate is for, what it leaves out and how its behaviour is compared with real API servers.

#[cfg_attr(
    not(feature = "server"),
    allow(dead_code, reason = "the server uses more of it than other crates can")
)]
pub mod schema;
#[cfg(feature = "server")]
mod server;

#[cfg(feature = "server")]
pub use server::{
    AccessDenial, ApiService, ControlPlane, ControlPlaneBuilder, FaultEffect, FaultTarget, Faults,
    ManifestError, RecordedRequest, RequestLog, ServerHandle, VERSION, Verb,
};

#[cfg(all(doctest, feature = "server"))]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;
