//! Everything embedded, for `dev`, `demo` and the tests: a control plane, a Bot API simulator, a sample assistant.
//!
//! Behind the cargo feature `dev`: the container image does not have it.

pub mod assistant;
pub mod console;
pub mod control_plane;
pub mod demo;
pub mod environment;
pub mod quickstart;
pub mod stay;
pub mod table;
pub mod telegram;
