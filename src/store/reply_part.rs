//! A part of a reply as the outbox keeps it.
//!
//! Its JSON is that of the versions before, which knew text alone: what they stored is read, and plain text costs what it did. Whatever
//! else a part has are fields that they lack.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::telegram::{FileKind, Keyboard};

/// One message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyPart {
    /// What it says or brings.
    pub content: PartContent,
    /// The message it replies to (in groups).
    pub reply_to: Option<i64>,
    /// It arrives without a sound.
    pub silent: bool,
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
    /// A file.
    File(FilePart),
    /// A rich message.
    Rich(RichPart),
}

/// A rich message, with the texts that go out in its place where Telegram refuses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RichPart {
    /// Its HTML.
    pub html: String,
    /// At least one text.
    pub fallback: Vec<FallbackText>,
}

/// A text in the place of a rich message, or a part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FallbackText {
    /// In Telegram's HTML; `None`: only plain.
    pub html: Option<String>,
    /// The same as plain text.
    pub plain: String,
}

/// A file to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePart {
    /// How it is sent.
    pub kind: FileKind,
    /// Its name.
    pub name: String,
    /// Its media type.
    pub media_type: String,
    /// What is said in its place should it not be sent; empty: nothing.
    pub replacement: String,
    /// Its caption, which says the same as its replacement.
    pub caption: Option<Caption>,
    /// How many bytes it has.
    pub bytes: usize,
    /// Its bytes on their way into the store, from where [`super::Store::upload`] has them. There was no room for those that it has not.
    pub upload: Option<Bytes>,
}

/// A caption, whose plain text is the replacement of its file: at most 1,024 UTF-16 units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caption {
    /// It in Telegram's HTML; `None`: only plain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub html: Option<String>,
}

impl FilePart {
    /// Whether it says what a text says: its caption, or one beside it.
    pub(crate) fn says_its_text(&self) -> bool {
        self.caption.is_some() || self.replacement.is_empty()
    }
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
            silent: false,
        }
    }

    /// What it says in plain words.
    pub fn plain_text(&self) -> &str {
        match &self.content {
            PartContent::Text { plain, .. } => plain,
            PartContent::File(file) => &file.replacement,
            PartContent::Rich(rich) => rich.fallback.first().map_or("", |text| &text.plain),
        }
    }

    /// Parts with their numbers in their reply. A rich message has as many numbers as there are texts that may stand in its place.
    pub fn numbered(parts: &[Self]) -> impl Iterator<Item = (u32, &Self)> {
        let mut next = 0;
        parts.iter().map(move |part| {
            let number = next;
            next += match &part.content {
                PartContent::Rich(rich) => u32::try_from(rich.fallback.len()).unwrap_or(u32::MAX),
                _ => 1,
            };
            (number, part)
        })
    }

    /// The texts in the place of a rich message.
    pub fn fallback(&self) -> Vec<Self> {
        let PartContent::Rich(rich) = &self.content else {
            return Vec::new();
        };
        let texts = rich.fallback.iter().cloned();
        texts
            .map(|text| Self {
                silent: self.silent,
                ..Self::text(text.html, text.plain, self.reply_to)
            })
            .collect()
    }

    /// The bytes of a file on their way into the store.
    pub(super) fn upload(&self) -> Option<&Bytes> {
        match &self.content {
            PartContent::Text { .. } | PartContent::Rich(_) => None,
            PartContent::File(file) => file.upload.as_ref(),
        }
    }

    /// Without the bytes of a file: the part as the store has it.
    #[must_use]
    pub fn without_upload(mut self) -> Self {
        if let PartContent::File(file) = &mut self.content {
            file.upload = None;
        }
        self
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<StoredFile<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rich: Option<StoredRich<'a>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    silent: bool,
}

/// The JSON of a rich message: the first of its fallback's texts is the part's own.
#[derive(Serialize, Deserialize)]
struct StoredRich<'a> {
    html: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    more: Cow<'a, [FallbackText]>,
}

/// The JSON of a file, whose replacement is the part's `plain`.
#[derive(Serialize, Deserialize)]
struct StoredFile<'a> {
    kind: FileKind,
    name: Cow<'a, str>,
    media_type: Cow<'a, str>,
    bytes: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    caption: Option<Cow<'a, Caption>>,
}

impl Serialize for ReplyPart {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut stored = StoredPart {
            html: None,
            plain: self.plain_text().into(),
            reply_to: self.reply_to,
            keyboard: None,
            file: None,
            rich: None,
            silent: self.silent,
        };
        match &self.content {
            PartContent::Text { html, keyboard, .. } => {
                stored.html = html.as_deref().map(Cow::Borrowed);
                stored.keyboard = keyboard.as_ref().map(Cow::Borrowed);
            }
            PartContent::File(file) => {
                stored.file = Some(StoredFile {
                    kind: file.kind,
                    name: file.name.as_str().into(),
                    media_type: file.media_type.as_str().into(),
                    bytes: file.bytes,
                    caption: file.caption.as_ref().map(Cow::Borrowed),
                });
            }
            PartContent::Rich(rich) => {
                let (first, more) = rich.fallback.split_first().unzip();
                stored.html = first.and_then(|text| text.html.as_deref().map(Cow::Borrowed));
                stored.rich = Some(StoredRich {
                    html: rich.html.as_str().into(),
                    more: more.unwrap_or_default().into(),
                });
            }
        }
        stored.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ReplyPart {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stored = StoredPart::deserialize(deserializer)?;
        let plain = stored.plain.into_owned();
        let html = stored.html.map(Cow::into_owned);
        let content = match (stored.file, stored.rich) {
            (None, None) => PartContent::Text {
                html,
                plain,
                keyboard: stored.keyboard.map(Cow::into_owned),
            },
            (None, Some(rich)) => {
                let mut fallback = vec![FallbackText { html, plain }];
                fallback.extend(rich.more.into_owned());
                let html = rich.html.into_owned();
                PartContent::Rich(RichPart { html, fallback })
            }
            (Some(file), _) => PartContent::File(FilePart {
                kind: file.kind,
                name: file.name.into_owned(),
                media_type: file.media_type.into_owned(),
                replacement: plain,
                caption: file.caption.map(Cow::into_owned),
                bytes: file.bytes,
                upload: None,
            }),
        };
        Ok(Self {
            content,
            reply_to: stored.reply_to,
            silent: stored.silent,
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
    fn file_is_stored_without_its_bytes() {
        let part = ReplyPart {
            content: PartContent::File(FilePart {
                kind: FileKind::Voice,
                name: "a \"b\".ogg".into(),
                media_type: "audio/ogg".into(),
                replacement: "(not sent)".into(),
                caption: Some(Caption {
                    html: Some("(<b>not</b> sent)".into()),
                }),
                bytes: 3,
                upload: Some(Bytes::from_static(b"abc")),
            }),
            reply_to: Some(7),
            silent: false,
        };
        let json = serde_json::to_string(&part).expect("JSON");
        let stored = serde_json::from_str::<ReplyPart>(&json).expect("a part");
        assert_eq!(stored, part.without_upload());
    }

    #[test]
    fn rich_message_is_stored_with_its_fallback() {
        let text = |html: Option<&str>, plain: &str| FallbackText {
            html: html.map(Into::into),
            plain: plain.into(),
        };
        let all = [
            text(Some("<b>a</b>"), "a"),
            text(None, "b"),
            text(None, "c"),
        ];
        for texts in 1..=all.len() {
            let part = ReplyPart {
                content: PartContent::Rich(RichPart {
                    html: "<h1>a</h1>".into(),
                    fallback: all[..texts].to_vec(),
                }),
                reply_to: Some(7),
                silent: true,
            };
            let json = serde_json::to_string(&part).expect("JSON");
            let stored = serde_json::from_str::<ReplyPart>(&json).expect("a part");
            assert_eq!(stored, part);
            let parts = [part, ReplyPart::text(None, "next".into(), None)];
            let numbers: Vec<_> = ReplyPart::numbered(&parts).map(|(n, _)| n).collect();
            assert_eq!(numbers, [0, u32::try_from(texts).expect("few")]);
            let first = ReplyPart {
                silent: true,
                ..serde_json::from_str(TEXT).expect("a part")
            };
            assert_eq!(stored.fallback()[0], first);
        }
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
            silent: false,
        };
        let json = serde_json::to_string(&part).expect("JSON");
        assert_eq!(
            serde_json::from_str::<ReplyPart>(&json).expect("a part"),
            part
        );
    }
}
