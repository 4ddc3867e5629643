//! Logs, metrics and health: what an on-call engineer sees of the process.

pub mod api_calls;
pub mod metrics;

pub use metrics::Metrics;
