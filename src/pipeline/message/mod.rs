//! An update as the pipeline reads it: its parts, and the commands in its text. Knows neither store nor registry.

pub(crate) mod commands;
pub(crate) mod cut;
pub mod incoming_update;
