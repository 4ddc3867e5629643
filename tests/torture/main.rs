//! Kills the operator at random instants under load, with faults at Telegram, at the assistant and at the store, and counts what was
//! lost, doubled or out of order; takes its volume away from it while it runs; and does to it what went wrong in the field with other
//! bots (TELEGRAM.md) and needs the whole program to be seen; and puts proxies and dead addresses on its way out.
//!
//! The operator is the program as it is shipped, `run` against the embedded control plane over HTTP, started again after each
//! SIGKILL; the simulator, the sample assistant and the control plane live on in this process. A short run on each delivery way
//! is part of `cargo test`. The long one:
//!
//! `TORTURE_KILLS=100 TORTURE_SEED=1 cargo test --release --test torture killed -- --nocapture --test-threads 1`

#![allow(clippy::unwrap_used, missing_docs)]

mod egress;
mod faults;
mod field;
#[path = "../support/not_tried.rs"]
mod not_tried;
mod operator;
mod tally;
mod torture;
mod volume;
mod world;
