//! A part of a reply as the outbox keeps it.
//!
//! Its JSON is that of the versions before, which knew text alone: what they stored is read, and plain text costs what it did. Whatever
//! else a part has are fields that they lack.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::telegram::Keyboard;

/// One message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyPart {
    /// What it says or brings.
    pub content: PartContent,
    /// The message it replies to (in groups).
    pub reply_to: Option<i64>,
}

/// What a message says or brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartContent {
    /// At most 4,096 UTF-16 units.
    Text {
        /// The text in Telegram's HTML; `None`: only plain.
        html: Option<String>,
        /// The same as plain text.
        plain: String,
        /// Buttons under it.
        keyboard: Option<Keyboard>,
    },
}

impl ReplyPart {
    /// A text without buttons; without `html` it is shown as it is.
    pub fn text(html: Option<String>, plain: String, reply_to: Option<i64>) -> Self {
        Self {
            content: PartContent::Text {
                html,
                plain,
                keyboard: None,
            },
            reply_to,
        }
    }

    /// What it says in plain words.
    pub fn plain_text(&self) -> &str {
        match &self.content {
            PartContent::Text { plain, .. } => plain,
        }
    }
}

/// The JSON of a part.
#[derive(Serialize, Deserialize)]
struct StoredPart<'a> {
    html: Option<Cow<'a, str>>,
    plain: Cow<'a, str>,
    reply_to: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keyboard: Option<Cow<'a, Keyboard>>,
}

impl Serialize for ReplyPart {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let PartContent::Text {
            html,
            plain,
            keyboard,
        } = &self.content;
        let stored = StoredPart {
            html: html.as_deref().map(Cow::Borrowed),
            plain: plain.into(),
            reply_to: self.reply_to,
            keyboard: keyboard.as_ref().map(Cow::Borrowed),
        };
        stored.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ReplyPart {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stored = StoredPart::deserialize(deserializer)?;
        Ok(Self {
            content: PartContent::Text {
                html: stored.html.map(Cow::into_owned),
                plain: stored.plain.into_owned(),
                keyboard: stored.keyboard.map(Cow::into_owned),
            },
            reply_to: stored.reply_to,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telegram::Button;

    /// As the versions before this one stored it.
    const TEXT: &str = r#"{"html":"<b>a</b>","plain":"a","reply_to":7}"#;

    #[test]
    fn text_is_stored_as_by_the_version_before() {
        let part = ReplyPart::text(Some("<b>a</b>".into()), "a".into(), Some(7));
        assert_eq!(serde_json::to_string(&part).expect("JSON"), TEXT);
        assert_eq!(
            serde_json::from_str::<ReplyPart>(TEXT).expect("a part"),
            part
        );
    }

    #[test]
    fn keyboard_is_stored_with_its_text() {
        let button = |text: &str| Button {
            text: text.into(),
            data: format!("d:{text}"),
        };
        let rows = vec![vec![button("Yes"), button("No")], vec![button("Später")]];
        let part = ReplyPart {
            content: PartContent::Text {
                html: None,
                plain: "Go on?".into(),
                keyboard: Some(Keyboard { rows }),
            },
            reply_to: None,
        };
        let json = serde_json::to_string(&part).expect("JSON");
        assert_eq!(
            serde_json::from_str::<ReplyPart>(&json).expect("a part"),
            part
        );
    }
}
