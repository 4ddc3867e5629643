//! The Bot API simulator: strict where Telegram is strict, with a control interface to speak as a user and to break things.

mod entity;
pub mod html;

pub use entity::{Entity, utf16_len};
