//! A tap on a button under a message of the bot (Bot API, `CallbackQuery`).

use super::sender::{self, Sender};
use crate::telegram::json::JsonObject;

/// A tap. Which message had the button is [`message_id`](super::IncomingUpdate::message_id).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ButtonTap {
    /// What `answerCallbackQuery` takes.
    pub query_id: String,
    /// The button's `callback_data`; `None` for a button of another kind.
    pub data: Option<String>,
    /// The message is deleted, or so old that the bot cannot see it (`InaccessibleMessage`): it cannot be edited.
    pub is_inaccessible: bool,
}

/// The tap that an update is, and who tapped. Without an id it cannot be answered.
pub(super) fn read(
    update: &JsonObject<'_>,
    message: &JsonObject<'_>,
) -> Option<(ButtonTap, Option<Sender>)> {
    let query = update.object("callback_query")?;
    let tap = ButtonTap {
        query_id: query.text("id")?,
        data: query.text("data"),
        // Its date is always 0 (Bot API, `InaccessibleMessage`).
        is_inaccessible: message.integer("date").unwrap_or(0) == 0,
    };
    Some((tap, sender::tapper(&query)))
}
