//! The connection to Telegram: one poller per bot, or the webhook and its server. An update is acknowledged only when the inbox has it.

pub mod webhook;
