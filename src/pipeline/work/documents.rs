//! The words of a PDF or Office document, by the connector's extraction service.

use std::time::Instant;

use bytes::Bytes;

use crate::assistant::{ExtractedText, Extractor, FailureKind};
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
