//! What clients are answered: requests handed to the server as an aggregator would send them, around notes in memory.

#![allow(unreachable_pub)] // a test binary has no outside to reach

#[path = "../common/certificates.rs"]
mod certificates;
#[allow(dead_code)] // used whole by the other tests
#[path = "../common/notes.rs"]
mod notes;
#[path = "../common/tls.rs"]
mod tls;

mod asking_kubernetes;
mod auditing;
mod direct_calls;
mod discovery;
mod fixture;
mod isolation;
mod reading;
mod watching;
mod writing;
