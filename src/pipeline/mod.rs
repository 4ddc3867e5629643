//! The pipeline: from the inbox to a delivered reply. Access, session, dispatch in order per chat, the assistant, the outbox, retries.

pub mod access;
pub mod commands;
pub mod groups;
pub mod message;
pub mod session;
pub mod texts;
