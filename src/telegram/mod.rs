//! The Bot API as this operator uses it: calls over teloxide, one error type whose variants say what to do, and the one
//! place where a token could leak out of a request error and does not.

pub mod bot;
pub mod error;
pub(crate) mod json;
pub mod token;

pub use bot::{Bot, RawUpdate, TelegramApi};
pub use error::TelegramError;
pub use token::BotToken;
