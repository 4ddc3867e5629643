//! The words of a message, wherever they stand in it: its text, its rich message or its caption.

use crate::telegram::json::JsonObject;

use super::entities::{self, Entity};
use super::rich_message;

/// The words of a message.
pub(crate) struct Words {
    /// As they were written; of a rich message as Markdown.
    pub(crate) text: Option<String>,
    /// What is marked in `text`.
    pub(crate) entities: Vec<Entity>,
    /// They are those of a rich message.
    pub(crate) rich: bool,
}

impl Words {
    /// The words of a message.
    pub(crate) fn of(message: &JsonObject<'_>) -> Self {
        let plain = |text: Option<String>, key: &str| Self {
            text,
            entities: entities::read(message, key),
            rich: false,
        };
        if let text @ Some(_) = message.text("text") {
            return plain(text, "entities");
        }
        match rich_message::read(message) {
            Some((text, entities)) => Self {
                text: Some(text),
                entities,
                rich: true,
            },
            None => plain(message.text("caption"), "caption_entities"),
        }
    }

    /// As Markdown.
    pub(crate) fn markdown(&self) -> Option<String> {
        let text = self.text.as_deref()?;
        Some(entities::markdown(text, &self.entities))
    }
}
