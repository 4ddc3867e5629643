//! From an answer to messages that Telegram has taken: rendering, previews, delivery.

mod bot_call;
pub(crate) mod citations;
pub(crate) mod deliver;
pub(crate) mod localize;
mod outgoing;
pub(crate) mod preview;
pub(crate) mod preview_sender;
pub(crate) mod preview_text;
pub(crate) mod receipt;
pub(crate) mod render;
mod render_pool;
pub(crate) mod request;
