//! Everything embedded, for `dev`, `demo` and the tests: a control plane, a Bot API simulator, a sample assistant.
//!
//! Behind the cargo feature `dev`: the container image does not have it.

pub mod console;
pub mod control_plane;
pub mod demo;
pub mod dev_command;
pub mod environment;
pub mod kubectl_table;
pub mod quickstart;
