//! The assistants over real HTTP: each protocol against a peer on loopback, and what happens when peers misbehave.

mod a2a;
mod build;
mod context;
mod errors;
mod files;
mod fixtures;
#[cfg(foreign_peers)]
mod foreign;
mod headers;
mod limits;
mod linked_files;
mod mock_server;
mod openai;
#[macro_use]
mod openai_cases;
#[macro_use]
mod openai_responses_cases;
mod openai_reading;
mod progress;
mod providers;
mod pupau;
mod refusals;
mod root_certificates;
#[cfg(feature = "dev")]
mod sample;
#[cfg(foreign_peers)]
#[path = "../pipeline/test_env.rs"]
#[allow(
    dead_code,
    clippy::unwrap_used,
    reason = "shared with the tests of the pipeline"
)]
mod test_env;
mod webhook;
