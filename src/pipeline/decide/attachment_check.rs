//! Whether a file can be read by the assistant at all, by what Telegram says of it: decided before anything is downloaded.

use crate::pipeline::decide::assistant_input::AssistantInput;
use crate::pipeline::message::incoming_update::TelegramFile;
use crate::registry::{Extraction, ResolvedConnector, Transcription};

/// The biggest recording: what `getFile` gives.
const MAX_RECORDING_BYTES: u64 = 20 << 20;
/// The biggest text file that goes with a question: some 15,000 words.
pub(crate) const MAX_TEXT_BYTES: u64 = 64 << 10;

/// Why a file says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnreadableAttachment {
    /// Nobody can hear it here.
    NoTranscription,
    /// Nothing came of hearing it.
    TranscriptionFailed,
    /// It is too big.
    TooBig,
    /// It is no text, and nobody can read it here.
    NotText,
    /// Its words could not be extracted just now.
    ExtractionFailed,
}

/// The biggest recording that a connector takes: where the Bot API server's folder is read, as big as its other files.
pub(crate) fn max_recording_bytes(connector: &ResolvedConnector) -> u64 {
    match connector.bot.api().local_files() {
        Some(_) => connector.files.max_bytes.max(MAX_RECORDING_BYTES),
        None => MAX_RECORDING_BYTES,
    }
}

/// Why a file will say nothing, as far as that can be known before it is fetched.
pub(crate) fn unreadable_reason(
    connector: &ResolvedConnector,
    input: &AssistantInput,
) -> Option<UnreadableAttachment> {
    let beyond = |file: &TelegramFile, max_bytes| file.size.is_some_and(|size| size > max_bytes);
    match input {
        AssistantInput::Transcribe(_) if matches!(connector.transcription, Transcription::None) => {
            Some(UnreadableAttachment::NoTranscription)
        }
        AssistantInput::Transcribe(file) if beyond(file, max_recording_bytes(connector)) => {
            Some(UnreadableAttachment::TooBig)
        }
        AssistantInput::ReadFile(file) if may_be_text(file) => {
            beyond(file, MAX_TEXT_BYTES).then_some(UnreadableAttachment::TooBig)
        }
        AssistantInput::ReadFile(file) => {
            let files = &connector.files;
            let has_reader = !matches!(files.extraction, Extraction::None) && may_be_document(file);
            if !has_reader && !files.to_assistant {
                Some(UnreadableAttachment::NotText)
            } else {
                beyond(file, files.max_bytes).then_some(UnreadableAttachment::TooBig)
            }
        }
        _ => None,
    }
}

/// Endings of documents whose words can be extracted.
const DOCUMENT_EXTENSIONS: &[&str] = &[
    "doc", "docm", "docx", "dot", "dotx", "epub", "odp", "ods", "odt", "pdf", "pot", "potx", "pps",
    "ppsx", "ppt", "pptm", "pptx", "rtf", "xls", "xlsm", "xlsx",
];
/// What media types of such documents hold.
const DOCUMENT_TYPES: &[&str] = &[
    "application/pdf",
    "application/rtf",
    "text/rtf",
    "application/epub",
    "application/msword",
    "application/vnd.ms-",
    "application/vnd.openxmlformats-officedocument.",
    "application/vnd.oasis.opendocument.",
];

/// Whether it is worth fetching as a document: its ending or its media type says that it is one.
fn may_be_document(file: &TelegramFile) -> bool {
    let media_type = file.media_type.as_deref().unwrap_or_default();
    DOCUMENT_TYPES.iter().any(|t| media_type.starts_with(t))
        || extension_of(file).is_some_and(|e| DOCUMENT_EXTENSIONS.contains(&e.as_str()))
}

/// The ending of a file's name, in lower case.
fn extension_of(file: &TelegramFile) -> Option<String> {
    let (_, extension) = file.name.as_deref()?.rsplit_once('.')?;
    Some(extension.to_ascii_lowercase())
}

/// Endings of files that hold text although their media type often says otherwise.
const TEXT_FILE_EXTENSIONS: &[&str] = &[
    "c",
    "cfg",
    "conf",
    "cpp",
    "cs",
    "css",
    "csv",
    "diff",
    "env",
    "go",
    "h",
    "hpp",
    "html",
    "ini",
    "java",
    "js",
    "json",
    "jsonl",
    "kt",
    "log",
    "lua",
    "md",
    "php",
    "pl",
    "properties",
    "py",
    "rb",
    "rs",
    "rst",
    "sh",
    "sql",
    "srt",
    "swift",
    "tex",
    "toml",
    "ts",
    "tsv",
    "txt",
    "vtt",
    "xml",
    "yaml",
    "yml",
];

/// Whether it is worth fetching: what is said of the file does not say that it is something else.
pub(crate) fn may_be_text(file: &TelegramFile) -> bool {
    let media_type = file.media_type.as_deref().unwrap_or_default();
    let known = (media_type.starts_with("text/") && media_type != "text/rtf")
        || [
            "json",
            "xml",
            "yaml",
            "toml",
            "csv",
            "javascript",
            "x-sh",
            "sql",
        ]
        .iter()
        .any(|kind| {
            media_type
                .strip_prefix("application/")
                .is_some_and(|rest| rest.rsplit(['+', '-']).next() == Some(*kind) || rest == *kind)
        });
    known || extension_of(file).is_some_and(|e| TEXT_FILE_EXTENSIONS.contains(&e.as_str()))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn file(media_type: Option<&str>, name: Option<&str>) -> TelegramFile {
        TelegramFile {
            id: "f".into(),
            size: None,
            media_type: media_type.map(Into::into),
            name: name.map(Into::into),
        }
    }

    #[rstest]
    #[case(Some("text/plain"), None, true)]
    #[case(Some("text/csv"), Some("a.csv"), true)]
    #[case(Some("application/json"), None, true)]
    #[case(Some("application/ld+json"), None, true)]
    #[case(Some("application/x-yaml"), None, true)]
    #[case(Some("application/octet-stream"), Some("main.RS"), true)]
    #[case(None, Some("notes.md"), true)]
    #[case(Some("application/pdf"), Some("a.pdf"), false)]
    #[case(Some("application/zip"), Some("a.zip"), false)]
    #[case(None, None, false)]
    fn text_files_are_recognized_by_type_or_extension(
        #[case] media_type: Option<&str>,
        #[case] name: Option<&str>,
        #[case] expected: bool,
    ) {
        assert_eq!(may_be_text(&file(media_type, name)), expected);
    }

    #[rstest]
    #[case(Some("application/pdf"), None, true)]
    #[case(Some("application/octet-stream"), Some("Offer.DOCX"), true)]
    #[case(Some("application/vnd.oasis.opendocument.text"), None, true)]
    #[case(Some("text/rtf"), Some("a.rtf"), true)]
    #[case(Some("application/zip"), Some("a.zip"), false)]
    #[case(Some("application/x-msdownload"), Some("a.exe"), false)]
    #[case(None, None, false)]
    fn documents_are_recognized_by_type_or_extension(
        #[case] media_type: Option<&str>,
        #[case] name: Option<&str>,
        #[case] expected: bool,
    ) {
        let file = file(media_type, name);
        assert_eq!(may_be_document(&file), expected);
        assert!(!(expected && may_be_text(&file)));
    }
}
