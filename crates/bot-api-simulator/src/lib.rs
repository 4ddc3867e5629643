//! The Bot API simulator and the sample assistant: any bot can be tested against them.
//!
//! [`Simulator`] is the handle for Rust; the same is offered over HTTP under `/control`.
#![allow(
    clippy::doc_markdown,
    reason = "the README is written for people, not for rustdoc"
)]
#![doc = include_str!("../README.md")]

mod callback_queries;
mod chats;
mod commands;
mod content;
mod control;
mod conversation;
mod delivery;
mod drafts;
mod editing;
mod entity;
mod faults;
mod files;
mod formatting;
mod groups;
pub mod html;
mod input_files;
mod input_media;
mod keyboard;
mod legacy_markdown;
mod links;
mod markdown;
mod media;
mod media_objects;
mod method_result;
mod methods;
mod objects;
mod outgoing;
mod parameters;
mod params;
mod polling;
mod queue;
mod rate_limits;
mod reactions;
mod rich_blocks;
mod rich_limits;
mod rich_markdown;
mod rich_messages;
mod rich_text;
mod rich_tree;
pub mod sample_assistant;
mod sending;
mod sent_messages;
mod server;
mod simulator;
mod stats;
mod telegram_state;
mod tls;
mod update_kinds;
mod user_actions;
mod webhook;

pub use callback_queries::{CallbackAnswer, CallbackQuery, Tap, TapOutcome};
pub use conversation::{BotSummary, Conversation, ConversationMessage, GroupSummary};
pub use entity::{Entity, detect, utf16_len};
pub use faults::{Fault, FaultKind};
pub use objects::User;
pub use rich_messages::parse_rich_html;
pub use sent_messages::{SentMedia, SentMessage};
pub use simulator::{Simulator, serve};
pub use stats::{ApiCall, BotCounters, WebhookDelivery};
pub use telegram_state::{Draft, Membership, SimulatorOptions};
pub use user_actions::{UserAction, UserActionOutcome};
