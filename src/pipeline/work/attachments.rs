//! What is said in a file: voice messages written down, text files and documents read. Fetched once for however many attempts at the answer.

use std::time::Instant;

use tokio::sync::watch;

use crate::assistant::{Recording, Transcriber};
use crate::pipeline::claim::lane_worker::LaneWorker;
use crate::pipeline::decide::assistant_input::AssistantInput;
use crate::pipeline::decide::attachment_check::{
    MAX_TEXT_BYTES, UnreadableAttachment, max_recording_bytes, may_be_text, unreadable_reason,
};
use crate::pipeline::message::incoming_update::{IncomingUpdate, TelegramFile};
use crate::pipeline::send::preview_sender::{self, PreviewTarget, PreviewText};
use crate::pipeline::work::documents;
use crate::pipeline::work::download::{display_name, download_with_retry};
use crate::registry::{ResolvedConnector, Transcription};
use crate::telegram::TelegramError;

/// Stands for a file that says nothing beside messages that do.
pub(crate) const UNREADABLE_PLACEHOLDER: &str = "[a file that could not be read]";

/// What a file says: fetched and heard or read, once for however many attempts at the answer.
pub(crate) async fn attachment_text(
    lane: &LaneWorker,
    connector: &ResolvedConnector,
    incoming: &IncomingUpdate,
    input: &AssistantInput,
) -> Result<String, UnreadableAttachment> {
    if let Some(unreadable) = unreadable_reason(connector, input) {
        return Err(unreadable);
    }
    let at = (lane.key.bot, incoming.update_id);
    if let Some(words) = lane.pipeline.transcripts.get(at) {
        return Ok(words);
    }
    let words = match input {
        AssistantInput::Transcribe(file) => {
            transcribe_with_typing(lane, connector, incoming.update_id, file).await?
        }
        AssistantInput::ReadFile(file) if may_be_text(file) => {
            read_text_file(connector, file).await?
        }
        AssistantInput::ReadFile(file) => {
            let read = Box::pin(documents::document_text(lane, connector, file));
            with_typing(lane, connector, read).await?
        }
        _ => return Err(UnreadableAttachment::NotText),
    };
    lane.pipeline.transcripts.insert(at, words.clone());
    Ok(words)
}

async fn read_text_file(
    connector: &ResolvedConnector,
    file: &TelegramFile,
) -> Result<String, UnreadableAttachment> {
    let bytes = match download_with_retry(connector, file, MAX_TEXT_BYTES).await {
        Ok(bytes) => bytes,
        Err(TelegramError::FileTooBig) => return Err(UnreadableAttachment::TooBig),
        Err(error) => {
            tracing::warn!(%error, "a file could not be fetched");
            return Err(UnreadableAttachment::NotText);
        }
    };
    let text = decode_text(&bytes).ok_or(UnreadableAttachment::NotText)?;
    Ok(format!("[file: {}]\n{text}", display_name(file)))
}

async fn transcribe_with_typing(
    lane: &LaneWorker,
    connector: &ResolvedConnector,
    update_id: i64,
    file: &TelegramFile,
) -> Result<String, UnreadableAttachment> {
    let transcriber = match &connector.transcription {
        Transcription::None => return Err(UnreadableAttachment::NoTranscription),
        Transcription::Unavailable(error) => {
            report_transcription_failure(lane, connector, error.to_string());
            return Err(UnreadableAttachment::TranscriptionFailed);
        }
        Transcription::Ready(transcriber) => transcriber,
    };
    // On the heap: most messages have no file, and every lane has room for the largest future.
    let transcribing = Box::pin(transcribe(lane, connector, transcriber, file, update_id));
    with_typing(lane, connector, transcribing).await
}

/// Does something that takes a while; "typing…" meanwhile.
async fn with_typing<T>(
    lane: &LaneWorker,
    connector: &ResolvedConnector,
    work: impl Future<Output = T>,
) -> T {
    let (words, shown) = watch::channel(PreviewText::default());
    let work = async {
        let done = work.await;
        drop(words);
        done
    };
    let target = PreviewTarget {
        bot: &connector.bot,
        lane: lane.key,
        streaming: false,
    };
    tokio::join!(
        work,
        preview_sender::show_preview(&lane.pipeline, &target, shown)
    )
    .0
}

async fn transcribe(
    lane: &LaneWorker,
    connector: &ResolvedConnector,
    transcriber: &Transcriber,
    file: &TelegramFile,
    update_id: i64,
) -> Result<String, UnreadableAttachment> {
    let bytes = match download_with_retry(connector, file, max_recording_bytes(connector)).await {
        Ok(bytes) => bytes,
        Err(TelegramError::FileTooBig) => return Err(UnreadableAttachment::TooBig),
        Err(error) => {
            report_transcription_failure(lane, connector, error.to_string());
            return Err(UnreadableAttachment::TranscriptionFailed);
        }
    };
    let (name, media_type) = format_of(file);
    let recording = Recording {
        name,
        media_type,
        bytes,
    };
    let key = format!("telegram-{}-{update_id}-words", lane.key.bot);
    let began = Instant::now();
    let transcript = transcriber.transcribe(&recording, &key).await;
    let result = transcript
        .as_ref()
        .map_or_else(|e| e.kind.label(), |_| "ok");
    lane.pipeline
        .metrics
        .record_assistant_exchange("Transcription", result, began.elapsed());
    match transcript {
        Ok(words) if words.is_empty() => Err(UnreadableAttachment::TranscriptionFailed),
        Ok(words) => Ok(words),
        Err(error) => {
            report_transcription_failure(lane, connector, format!("spec.transcription: {error}"));
            Err(UnreadableAttachment::TranscriptionFailed)
        }
    }
}

fn report_transcription_failure(lane: &LaneWorker, connector: &ResolvedConnector, error: String) {
    tracing::warn!(error = %error, "a voice message could not be written down");
    let pipeline = &lane.pipeline;
    pipeline.observations.record_transcription_failure(
        &connector.connector_ref.uid,
        error,
        pipeline.clock.now(),
    );
}

/// The name and media type by which speech-to-text servers know the format.
fn format_of(file: &TelegramFile) -> (&'static str, &'static str) {
    match file.media_type.as_deref() {
        Some("audio/mpeg" | "audio/mp3") => ("audio.mp3", "audio/mpeg"),
        Some("audio/mp4" | "audio/x-m4a" | "audio/m4a" | "audio/aac") => ("audio.m4a", "audio/mp4"),
        Some("audio/wav" | "audio/x-wav" | "audio/vnd.wave") => ("audio.wav", "audio/wav"),
        Some("audio/flac" | "audio/x-flac") => ("audio.flac", "audio/flac"),
        Some("audio/webm") => ("audio.webm", "audio/webm"),
        Some("video/mp4") => ("video.mp4", "video/mp4"),
        // Voice messages, and what a sender's app leaves out.
        _ => ("voice.ogg", "audio/ogg"),
    }
}

/// The text in a file: UTF-8, UTF-16 with its mark, or the Windows encoding that spreadsheets still write. `None` for what is no text.
fn decode_text(bytes: &[u8]) -> Option<String> {
    let decoded = match encoding_rs::Encoding::for_bom(bytes) {
        Some((encoding, _)) => encoding.decode(bytes).0,
        None => match std::str::from_utf8(bytes) {
            Ok(text) => text.into(),
            Err(_) => encoding_rs::WINDOWS_1252.decode(bytes).0,
        },
    };
    let is_text = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t' | '\u{c}');
    let text = decoded.trim();
    (!text.is_empty() && text.chars().all(is_text)).then(|| text.replace("\r\n", "\n"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(b"a\r\nb\n".as_slice(), Some("a\nb"))]
    #[case("\u{feff}perché".as_bytes(), Some("perché"))]
    #[case(b"\xff\xfea\0\xe8\0", Some("aè"))]
    #[case(b"perch\xe9; 3 \x80", Some("perché; 3 €"))]
    #[case(b"%PDF-1.7\n\x00\x01", None)]
    #[case(b" \n", None)]
    fn text_is_decoded_from_common_encodings(#[case] bytes: &[u8], #[case] expected: Option<&str>) {
        assert_eq!(decode_text(bytes).as_deref(), expected);
    }
}
