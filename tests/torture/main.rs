//! Fault injection against the operator as a whole process. `torture` kills it at random moments under load, with faults at Telegram,
//! at the assistant and at the store, and counts answers that are lost, doubled or out of order. `power` cuts the power: it drops what was
//! not synced. `volume` makes the store's volume fail while it runs, `field` repeats failures that users of other bots reported, and
//! `egress` tests proxies and addresses that do not answer.
//!
//! The operator is the released program: `run` against the embedded control plane over HTTP, restarted after each SIGKILL. Simulator,
//! sample assistant and control plane stay in this process. A short run in each delivery mode is part of `cargo test`. The long ones:
//!
//! `TORTURE_KILLS=100 TORTURE_SEED=1 cargo test --release --test torture killed -- --nocapture --test-threads 1`
//! `POWER_CUTS=100 TORTURE_SEED=1 cargo test --release --test torture power_cuts -- --nocapture --test-threads 1`

#![allow(clippy::unwrap_used, missing_docs)]

mod egress;
mod faults;
mod field;
#[path = "../support/not_tried.rs"]
mod not_tried;
mod notes;
mod operator;
#[path = "../support/postgres_server.rs"]
mod postgres_server;
mod power;
mod tally;
mod test_env;
mod torture;
mod volume;
