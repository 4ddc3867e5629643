//! The Bot API simulator: strict where Telegram is strict, with a control interface to speak as a user and to break things.
//!
//! It follows the source of the Bot API server (tdlib/telegram-bot-api) in what it accepts, in what order it checks, and
//! in the words of its errors, because those are what an operator meets in the field. [`Simulator`] is the handle for Rust;
//! the same is offered over HTTP under `/control`.

mod chats;
mod commands;
mod content;
mod control;
mod delivery;
mod entity;
mod faults;
mod files;
mod groups;
pub mod html;
mod legacy_markdown;
mod markdown;
mod method_result;
mod methods;
mod objects;
mod params;
mod polling;
mod queue;
mod rate_limits;
mod sending;
mod server;
mod simulator;
mod stats;
mod telegram_state;
mod tls;
mod update_kinds;
mod user_actions;
mod webhook;

pub use entity::{Entity, utf16_len};
pub use faults::{Fault, FaultKind};
pub use objects::User;
pub use simulator::{SentMessage, Simulator, serve};
pub use stats::{ApiCall, BotCounters, WebhookDelivery};
pub use telegram_state::{Draft, Membership, SimulatorOptions};
pub use user_actions::{UserAction, UserActionOutcome};
