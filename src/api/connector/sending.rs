//! `spec.sending`: messages that somebody sends through the bot without a question before them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Messages that others send through the bot, as outgoingmessages of the data API. Absent: sending is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
#[serde(rename_all = "camelCase")]
pub struct SendingSpec {
    /// So many messages in a minute at most, to all chats together, 1 to 1000. More are refused with the time after which to try again.
    #[schemars(range(min = 1, max = 1000))]
    pub per_minute: i32,
}

impl SendingSpec {
    /// How many messages may be sent in a minute, 1 to 1,000.
    pub fn per_minute(&self) -> u32 {
        u32::try_from(self.per_minute.clamp(1, 1000)).unwrap_or(1)
    }
}
