//! The Bot API as this operator uses it: calls over teloxide, one error type whose variants say what to do, and the one
//! place where a token could leak out of a request error and does not.

pub mod api;
mod api_response;
pub mod bot;
mod connection_pool;
mod connector;
pub mod error;
mod http_response;
pub(crate) mod json;
pub mod markdown;
mod methods;
mod multipart_form;
mod redact;
pub mod split;
pub mod token;
pub(crate) mod update;

pub use api::TelegramApi;
pub use bot::{Bot, MessageText, NewMessage};
pub use error::TelegramError;
pub use token::BotToken;
pub use update::{NotAnUpdate, RawUpdate};
