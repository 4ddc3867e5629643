//! In which form a part is sent: as it is stored, and in a plainer one where Telegram does not take that.

use crate::store::{Caption, FilePart, PartContent, ReplyPart, RichPart};
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
    /// A rich message.
    Rich(&'a RichPart),
    /// Nothing: what could not be sent is said elsewhere.
    Nothing,
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
            PartContent::Rich(rich) => Self::Rich(rich),
        }
    }

    /// The Bot API method.
    pub(crate) fn method(self) -> &'static str {
        match self {
            Self::Html(..) | Self::Plain(..) | Self::Nothing => "sendMessage",
            Self::File(_, kind) => kind.method(),
            Self::Rich(_) => "sendRichMessage",
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
            // An answer that is read out is no document.
            TelegramError::Refused { .. } if kind == FileKind::Document || file.says_its_text() => {
                Some(Self::in_place_of(file))
            }
            TelegramError::Refused { .. } => Some(Self::File(file, FileKind::Document)),
            _ => None,
        }
    }

    /// Why its texts are sent in the place of a rich message; `None` for others, and for errors that say nothing of it.
    pub(crate) fn rich_refusal(self, error: &TelegramError) -> Option<RichRefusal> {
        if !matches!(self, Self::Rich(_)) {
            return None;
        }
        match error {
            // The token is good until a text says otherwise.
            TelegramError::NotFound | TelegramError::Refused { code: 404, .. } => {
                Some(RichRefusal::Method)
            }
            TelegramError::Refused { .. }
            | TelegramError::CantParseEntities(_)
            | TelegramError::FileTooBig => Some(RichRefusal::Content),
            _ => None,
        }
    }

    /// What is said in the place of a file.
    pub(crate) fn in_place_of(file: &'a FilePart) -> Self {
        match &file.caption {
            Some(Caption { html: Some(html) }) => Self::Html(html, None),
            None if file.replacement.is_empty() => Self::Nothing,
            _ => Self::Plain(&file.replacement, None),
        }
    }
}

/// What Telegram refuses when it refuses a rich message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RichRefusal {
    /// This one.
    Content,
    /// All: it does not know the method.
    Method,
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
            caption: None,
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

    #[rstest]
    #[case::content(refused(400), Some(RichRefusal::Content))]
    #[case::unparsed(
        TelegramError::CantParseEntities(String::new()),
        Some(RichRefusal::Content)
    )]
    #[case::old_server(refused(404), Some(RichRefusal::Method))]
    #[case::old_proxy(TelegramError::NotFound, Some(RichRefusal::Method))]
    #[case::revoked_token(TelegramError::Unauthorized, None)]
    #[case::blocked(TelegramError::Forbidden(String::new()), None)]
    #[case::lost(TelegramError::Ambiguous(String::new()), None)]
    #[case::too_fast(TelegramError::RateLimited(std::time::Duration::ZERO), None)]
    fn refusal_of_a_method_is_told_from_one_of_a_message(
        #[case] error: TelegramError,
        #[case] expected: Option<RichRefusal>,
    ) {
        let rich = RichPart {
            html: String::new(),
            fallback: Vec::new(),
        };
        assert_eq!(OutgoingForm::Rich(&rich).rich_refusal(&error), expected);
        assert_eq!(OutgoingForm::Plain("a", None).rich_refusal(&error), None);
    }
}
