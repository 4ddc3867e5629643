//! Logs, metrics, traces, readiness and the admin endpoint.

pub mod admin;
pub mod kubernetes_calls;
pub mod logs;
pub mod metrics;
pub mod outcomes;
mod readiness;
pub mod traces;
mod watch_health;

pub use metrics::Metrics;
pub use readiness::{Readiness, ReadinessCheck};
pub use traces::TraceExporter;
pub use watch_health::{WatchHealth, WatchedResource};
