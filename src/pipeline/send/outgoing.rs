//! In which form a part is sent: as it is stored, and in a plainer one where Telegram does not take that.

use crate::store::{FilePart, PartContent, ReplyPart};
use crate::telegram::{FileKind, Keyboard, TelegramError};

/// The form of a part for its next try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutgoingForm<'a> {
    /// Formatted text.
    Html(&'a str, Option<&'a Keyboard>),
    /// Plain text.
    Plain(&'a str, Option<&'a Keyboard>),
    /// A file, not always of the kind that it is stored as.
    File(&'a FilePart, FileKind),
}

impl<'a> OutgoingForm<'a> {
    /// The form in which a part is tried first.
    pub(crate) fn of(part: &'a ReplyPart) -> Self {
        match &part.content {
            PartContent::Text {
                html: Some(html),
                keyboard,
                ..
            } => Self::Html(html, keyboard.as_ref()),
            PartContent::Text {
                plain, keyboard, ..
            } => Self::Plain(plain, keyboard.as_ref()),
            PartContent::File(file) => Self::File(file, file.kind),
        }
    }

    /// The Bot API method.
    pub(crate) fn method(self) -> &'static str {
        match self {
            Self::Html(..) | Self::Plain(..) => "sendMessage",
            Self::File(_, kind) => kind.method(),
        }
    }

    /// Whether it is formatted text.
    pub(crate) fn is_formatted(self) -> bool {
        matches!(self, Self::Html(..))
    }

    /// The form for a text whose formatting Telegram does not take.
    pub(crate) fn without_formatting(self, part: &'a ReplyPart) -> Self {
        match self {
            Self::Html(_, keyboard) => Self::Plain(part.plain_text(), keyboard),
            plain => plain,
        }
    }

    /// The form for a file that Telegram refuses: what is no photo, music or video for it is a document, and in the place of a document that it
    /// refuses stands a sentence. `None` for text, and for errors that say nothing of the file.
    pub(crate) fn after_refusal(self, error: &TelegramError) -> Option<Self> {
        let Self::File(file, kind) = self else {
            return None;
        };
        match error {
            TelegramError::Refused { code: 413, .. } | TelegramError::FileTooBig => {
                Some(Self::in_place_of(file))
            }
            TelegramError::Refused { .. } if kind == FileKind::Document => {
                Some(Self::in_place_of(file))
            }
            TelegramError::Refused { .. } => Some(Self::File(file, FileKind::Document)),
            _ => None,
        }
    }

    /// What is said in the place of a file.
    pub(crate) fn in_place_of(file: &'a FilePart) -> Self {
        Self::Plain(&file.replacement, None)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn file() -> FilePart {
        FilePart {
            kind: FileKind::Photo,
            name: "cat.png".into(),
            media_type: "image/png".into(),
            replacement: "(not sent)".into(),
            bytes: 3,
            upload: None,
        }
    }

    fn refused(code: u16) -> TelegramError {
        TelegramError::Refused {
            code,
            description: "Bad Request: PHOTO_INVALID_DIMENSIONS".into(),
        }
    }

    #[rstest]
    #[case::no_photo(FileKind::Photo, refused(400), "sendDocument")]
    #[case::no_document(FileKind::Document, refused(400), "sendMessage")]
    #[case::too_big(FileKind::Video, refused(413), "sendMessage")]
    #[case::old_server(FileKind::Voice, refused(404), "sendDocument")]
    #[case::lost(FileKind::Photo, TelegramError::Ambiguous(String::new()), "as it was")]
    #[case::too_fast(
        FileKind::Photo,
        TelegramError::RateLimited(std::time::Duration::ZERO),
        "as it was"
    )]
    fn refused_file_is_sent_in_a_plainer_form(
        #[case] kind: FileKind,
        #[case] error: TelegramError,
        #[case] expected: &str,
    ) {
        let file = file();
        let next = OutgoingForm::File(&file, kind).after_refusal(&error);
        assert_eq!(next.map_or("as it was", OutgoingForm::method), expected);
    }
}
