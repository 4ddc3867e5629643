//! What the pipeline shares and keeps while the process lives.

pub(crate) mod pipeline_state;
pub(crate) mod rate_limit;
pub(crate) mod refused_keys;
pub(crate) mod rich_support;
pub(crate) mod running_answers;
pub(crate) mod send_window;
pub(crate) mod throttle;
pub(crate) mod transcript_cache;
