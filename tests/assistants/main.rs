//! The assistants over real HTTP: each protocol against a peer on loopback, and what happens when peers misbehave.

mod a2a;
mod building;
mod faults;
#[cfg(foreign_peers)]
mod foreign;
mod openai;
mod peer;
mod pupau;
mod questions;
#[cfg(feature = "dev")]
mod sample;
mod trust;
mod webhook;
