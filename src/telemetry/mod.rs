//! Logs, metrics, traces and health: what an on-call engineer sees of the process.

pub mod admin;
pub mod kubernetes_calls;
pub mod logs;
pub mod metrics;
pub mod traces;

pub use admin::Readiness;
pub use metrics::Metrics;
pub use traces::TraceExporter;
