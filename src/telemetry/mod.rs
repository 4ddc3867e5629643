//! Logs, metrics and health: what an on-call engineer sees of the process.

pub mod admin;
pub mod api_calls;
pub mod logs;
pub mod metrics;

pub use admin::Readiness;
pub use metrics::Metrics;
