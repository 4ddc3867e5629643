//! Logs, metrics, traces and health: what an on-call engineer sees of the process.

pub mod admin;
pub mod kubernetes_calls;
pub mod logs;
pub mod metrics;
mod readiness;
pub mod traces;

pub use metrics::Metrics;
pub use readiness::{Readiness, ReadinessCheck};
pub use traces::TraceExporter;
