//! Webhook mode: one server for all connectors, and the registrations that lead Telegram to it.

pub mod secret;
pub mod server;

pub use server::{TlsFiles, WebhookServer, serve};
