//! Buttons under a message (Bot API, `InlineKeyboardMarkup`): a tap on one comes back as a `callback_query`.

use serde::{Deserialize, Serialize};

/// Rows of buttons. Stored with its message, and sent as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keyboard {
    /// From top to bottom, each from left to right.
    #[serde(rename = "inline_keyboard")]
    pub rows: Vec<Vec<Button>>,
}

/// One button.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Button {
    /// What it says.
    pub text: String,
    /// What a tap brings back: 1 to 64 bytes (Bot API, `InlineKeyboardButton`).
    #[serde(rename = "callback_data")]
    pub data: String,
}
