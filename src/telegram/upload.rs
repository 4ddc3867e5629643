//! Files that the bot sends: as a photo, a document, music, a voice message or a video (Bot API, `sendPhoto` and its siblings).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::bot::MessageText;
use super::methods::ParseMode;
use super::multipart_form::MultipartForm;

/// How a file is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// At most 10 MB; Telegram takes no picture whose sides add up to more than 10,000 or differ by more than a factor of 20.
    Photo,
    /// Anything, as it is.
    Document,
    /// Music: MP3 or M4A.
    Audio,
    /// Opus in Ogg, MP3 or M4A.
    Voice,
    /// MPEG-4.
    Video,
}

impl FileKind {
    /// The Bot API method.
    pub fn method(self) -> &'static str {
        match self {
            Self::Photo => "sendPhoto",
            Self::Document => "sendDocument",
            Self::Audio => "sendAudio",
            Self::Voice => "sendVoice",
            Self::Video => "sendVideo",
        }
    }

    /// The method's parameter that holds the file.
    fn parameter(self) -> &'static str {
        match self {
            Self::Photo => "photo",
            Self::Document => "document",
            Self::Audio => "audio",
            Self::Voice => "voice",
            Self::Video => "video",
        }
    }
}

/// One file to send.
#[derive(Clone, Copy)]
pub struct NewFile<'a> {
    /// The chat's id.
    pub chat_id: i64,
    /// The id of the topic; `None` for the General one.
    pub thread_id: Option<i64>,
    /// The topic in a channel's direct messages; required there.
    pub direct_messages_topic_id: Option<i64>,
    /// The message it replies to; if that one is deleted, it is sent without the reply.
    pub reply_to: Option<i64>,
    /// It arrives without a sound.
    pub silent: bool,
    /// How it is sent.
    pub kind: FileKind,
    /// Its name.
    pub name: &'a str,
    /// Its media type.
    pub media_type: &'a str,
    /// What it holds: at most 50 MB.
    pub content: &'a [u8],
    /// What stands under it: at most 1,024 UTF-16 units.
    pub caption: Option<MessageText<'a>>,
}

/// Shows neither the name nor what the file holds.
impl fmt::Debug for NewFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({} bytes)", self.kind, self.content.len())
    }
}

impl NewFile<'_> {
    /// The form of the request.
    pub(super) fn form(&self) -> MultipartForm {
        let mut form =
            MultipartForm::with_room(self.content.len()).text("chat_id", &self.chat_id.to_string());
        for (name, id) in [
            ("message_thread_id", self.thread_id),
            ("direct_messages_topic_id", self.direct_messages_topic_id),
        ] {
            if let Some(id) = id {
                form = form.text(name, &id.to_string());
            }
        }
        if let Some(message_id) = self.reply_to {
            let reply =
                serde_json::json!({"message_id": message_id, "allow_sending_without_reply": true});
            form = form.text("reply_parameters", &reply.to_string());
        }
        if self.silent {
            form = form.text("disable_notification", "true");
        }
        if let Some(caption) = self.caption {
            let (text, parse_mode) = caption.parts();
            form = form.text("caption", text);
            if let Some(ParseMode::Html) = parse_mode {
                form = form.text("parse_mode", "HTML");
            }
        }
        form.file(
            self.kind.parameter(),
            self.name,
            self.media_type,
            self.content,
        )
    }
}
