//! The Bot API as this operator uses it: calls over teloxide, one error type whose variants say what to do, and the one
//! place where a token could leak out of a request error and does not.

mod answer;
pub mod api;
pub mod bot;
mod dial;
pub mod error;
mod form;
pub(crate) mod json;
mod line;
pub mod markdown;
mod methods;
mod redact;
mod response;
pub mod split;
pub mod token;
pub(crate) mod update;

pub use api::TelegramApi;
pub use bot::{Bot, NewMessage, Text};
pub use error::TelegramError;
pub use token::BotToken;
pub use update::{NotAnUpdate, RawUpdate};
