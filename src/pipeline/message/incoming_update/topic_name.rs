//! The name of a topic, as far as an update tells it: Telegram says it only when the topic is opened or renamed, and shows the message that opened
//! it under every message that replies to nothing else.

use super::display_name::display_name;
use crate::telegram::json::JsonObject;

/// What an update says of its topic's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicName {
    /// The topic has this name from now on.
    Changed(String),
    /// It had this name when it was opened.
    Original(String),
}

/// Reads it.
pub(crate) fn read(message: &JsonObject<'_>) -> Option<TopicName> {
    let name = |message: &JsonObject<'_>, key| {
        let name = display_name(&message.object(key)?.text("name")?);
        Some(name).filter(|name| !name.is_empty())
    };
    name(message, "forum_topic_created")
        .or_else(|| name(message, "forum_topic_edited"))
        .map(TopicName::Changed)
        .or_else(|| {
            let replied = message.object("reply_to_message")?;
            name(&replied, "forum_topic_created").map(TopicName::Original)
        })
}
