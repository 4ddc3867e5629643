//! The connection to Telegram: one poller per bot, or a webhook and the server that receives its requests.
//!
//! Invariant 1 is kept here: an update is acknowledged to Telegram only after the inbox has stored it. Each connector has one task
//! ([`bot_connection`]): it calls `getMe`, waits until the controller sets the goal [`ConnectionGoal::Connect`] (another connector may
//! own the bot, or another process may poll it), and then polls or keeps the webhook registered. It reports facts to the
//! [`Observations`](crate::observation::Observations); only the controller interprets them.

mod bot_commands;
mod bot_connection;
mod bot_connections;
pub(crate) mod foreign_webhook;
mod identify;
mod poller;
mod scope;
mod settings;
mod shard_moves;
pub mod webhook;

pub use bot_connections::BotConnections;
pub use settings::{ConnectionSettings, WebhookSettings};
pub(crate) use shard_moves::{first_to_release, plan_moves};

/// How far a connector's task may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionGoal {
    /// Call `getMe` only, to learn which bot the token belongs to.
    Identify,
    /// Receive updates by polling or by webhook.
    Connect,
}
