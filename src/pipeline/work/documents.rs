//! PDF and Office documents: their words by the connector's extraction service, or the files as they are.

use std::time::Instant;

use bytes::Bytes;

use crate::assistant::{ExtractedText, Extractor, FailureKind, QuestionFile};
use crate::pipeline::claim::lane_worker::LaneWorker;
use crate::pipeline::decide::attachment_check::UnreadableAttachment;
use crate::pipeline::message::incoming_update::TelegramFile;
use crate::pipeline::work::download::{display_name, download_with_retry};
use crate::registry::{Extraction, ResolvedConnector};
use crate::telegram::TelegramError;

/// Stands below the words of a document that has more of them.
const CUT: &str = "[the rest of the file is left out]";

/// The words of a document, below its name.
pub(crate) async fn document_text(
    lane: &LaneWorker,
    connector: &ResolvedConnector,
    file: &TelegramFile,
) -> Result<String, UnreadableAttachment> {
    let extractor = match &connector.files.extraction {
        Extraction::None => return Err(UnreadableAttachment::NotText),
        Extraction::Unavailable(error) => {
            report_failure(lane, connector, error.to_string());
            return Err(UnreadableAttachment::ExtractionFailed);
        }
        Extraction::Ready(extractor) => extractor,
    };
    let document = match download_with_retry(connector, file, connector.files.max_bytes).await {
        Ok(bytes) => bytes,
        Err(TelegramError::FileTooBig) => return Err(UnreadableAttachment::TooBig),
        Err(error) => {
            report_failure(lane, connector, error.to_string());
            return Err(UnreadableAttachment::ExtractionFailed);
        }
    };
    if !has_signature(&document) {
        return Err(UnreadableAttachment::NotText);
    }
    let extracted = extract(lane, connector, extractor, &document).await?;
    let mut text = format!("[file: {}]\n{}", display_name(file), extracted.text);
    if extracted.is_cut {
        text.extend(["\n", CUT]);
    }
    Ok(text)
}

async fn extract(
    lane: &LaneWorker,
    connector: &ResolvedConnector,
    extractor: &Extractor,
    document: &Bytes,
) -> Result<ExtractedText, UnreadableAttachment> {
    let began = Instant::now();
    let extracted = extractor.extract(document).await;
    let result = extracted.as_ref().map_or_else(|e| e.kind.label(), |_| "ok");
    lane.pipeline
        .metrics
        .record_assistant_exchange("Extraction", result, began.elapsed());
    match extracted {
        Ok(Some(extracted)) if !extracted.text.is_empty() => Ok(extracted),
        // A scan, or what the service cannot open.
        Ok(_) => Err(UnreadableAttachment::NotText),
        Err(error) if error.kind == FailureKind::TooLarge => Err(UnreadableAttachment::TooBig),
        Err(error) => {
            report_failure(lane, connector, format!("spec.files.extract: {error}"));
            Err(UnreadableAttachment::ExtractionFailed)
        }
    }
}

fn report_failure(lane: &LaneWorker, connector: &ResolvedConnector, error: String) {
    tracing::warn!(error = %error, "the words of a document could not be extracted");
    let pipeline = &lane.pipeline;
    let uid = &connector.connector_ref.uid;
    let now = pipeline.clock.now();
    pipeline
        .observations
        .record_extraction_failure(uid, error, now);
}

/// A file that goes to the assistant as it is; `room`: for so many bytes more in the question.
pub(crate) async fn question_file(
    connector: &ResolvedConnector,
    file: &TelegramFile,
    room: u64,
) -> Result<QuestionFile, UnreadableAttachment> {
    let max_bytes = connector.files.max_bytes.min(room);
    match download_with_retry(connector, file, max_bytes).await {
        Ok(bytes) => Ok(QuestionFile {
            name: display_name(file),
            media_type: media_type_of(file, &bytes),
            bytes,
        }),
        Err(TelegramError::FileTooBig) => Err(UnreadableAttachment::TooBig),
        Err(error) => {
            tracing::warn!(%error, "a file could not be fetched");
            Err(UnreadableAttachment::ExtractionFailed)
        }
    }
}

/// What a file is: a PDF by its first bytes, anything else as the sender's app said, if that is a media type.
fn media_type_of(file: &TelegramFile, bytes: &[u8]) -> String {
    let is_type = |named: &&str| {
        let parts: Vec<&str> = named.split('/').collect();
        let is_token = |part: &&str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || "!#$&^_.+-".contains(c);
            !part.is_empty() && part.len() <= 127 && part.chars().all(allowed)
        };
        parts.len() == 2 && parts.iter().all(is_token)
    };
    let named = file.media_type.as_deref().filter(is_type);
    let known = if bytes.starts_with(SIGNATURES[0]) {
        "application/pdf"
    } else {
        named.unwrap_or("application/octet-stream")
    };
    known.to_owned()
}

/// With what PDF, Office (today's are ZIP, older ones OLE) and RTF begin.
const SIGNATURES: [&[u8]; 4] = [
    b"%PDF-",
    b"PK\x03\x04",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    b"{\\rtf",
];
/// What may stand before the signature of a PDF.
const PDF_HEAD_BYTES: usize = 1024;

/// Whether it is a document by its first bytes, whatever its name says.
fn has_signature(document: &[u8]) -> bool {
    let head = &document[..document.len().min(PDF_HEAD_BYTES)];
    SIGNATURES.iter().any(|s| head.starts_with(s)) || head.windows(5).any(|w| w == SIGNATURES[0])
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::pdf(b"%PDF-1.7\n", true)]
    #[case::pdf_behind_a_mark(b"\xef\xbb\xbf%PDF-1.4", true)]
    #[case::docx(b"PK\x03\x04\x14\x00", true)]
    #[case::doc(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\x00", true)]
    #[case::rtf(b"{\\rtf1\\ansi", true)]
    #[case::program(b"MZ\x90\x00", false)]
    #[case::picture(b"\x89PNG\r\n", false)]
    #[case::nothing(b"", false)]
    fn document_is_known_by_its_first_bytes(#[case] bytes: &[u8], #[case] expected: bool) {
        assert_eq!(has_signature(bytes), expected);
    }
}
