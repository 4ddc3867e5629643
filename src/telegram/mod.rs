//! The client of the Bot API: calls with teloxide's payloads, one error type whose variants say what to do, redaction of tokens, and
//! the formatting and splitting of message texts.

pub mod api;
mod api_response;
pub mod bot;
mod connection_pool;
mod connector;
pub mod error;
mod http_response;
pub(crate) mod json;
pub mod keyboard;
pub mod local_files;
pub mod markdown;
mod methods;
mod multipart_form;
mod redact;
pub mod split;
pub mod token;
pub(crate) mod update;
pub(crate) mod update_route;
pub mod upload;

pub use api::TelegramApi;
pub use bot::{Bot, MessageText, NewMessage, NewRichMessage};
pub use error::TelegramError;
pub use keyboard::{Button, Keyboard};
pub use local_files::LocalFiles;
pub use token::BotToken;
pub use update::{InvalidUpdate, RawUpdate};
pub use update_route::{ChatMove, UpdateKind, UpdateRoute};
pub use upload::{FileKind, NewFile};
