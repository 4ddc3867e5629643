//! The Bot API simulator: strict where Telegram is strict, with a control interface to speak as a user and to break things.
//!
//! It follows the source of the Bot API server (tdlib/telegram-bot-api) in what it accepts, in what order it checks, and
//! in the words of its errors, because those are what an operator meets in the field. [`Simulator`] is the handle for Rust;
//! the same is offered over HTTP under `/control`.

mod answer;
mod chats;
mod commands;
mod content;
mod control;
mod delivery;
mod entity;
mod faults;
mod files;
mod flood;
mod groups;
pub mod html;
mod kinds;
mod legacy_markdown;
mod markdown;
mod methods;
mod objects;
mod params;
mod polling;
mod queue;
mod sending;
mod server;
mod simulator;
mod speech;
mod stats;
mod tls;
mod webhook;
mod world;

pub use entity::{Entity, utf16_len};
pub use faults::{Break, Fault};
pub use objects::User;
pub use simulator::{Sent, Simulator, serve};
pub use speech::{Said, Say};
pub use stats::{Call, Counters, Delivered};
pub use world::{Draft, Membership, Options};
