//! What is said in a file: voice messages written down, text files read. Fetched once for however many attempts at the answer.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::watch;

use super::content::Gist;
use super::lane::Lane;
use super::message::{File, Incoming};
use super::show;
use super::texts::Texts;
use crate::assistant::{Recording, Transcriber};
use crate::identity::BotId;
use crate::registry::{ResolvedConnector, Transcription};
use crate::telegram::TelegramError;

/// The biggest recording: what `getFile` gives.
const RECORDING_BYTES: u64 = 20 << 20;
/// The biggest text file that goes with a question: some 15,000 words.
const TEXT_BYTES: u64 = 64 << 10;
/// Attempts at a download; the user is waiting.
const ATTEMPTS: u32 = 3;
/// The wait before the second attempt; it doubles.
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(500);
/// The longest that Telegram may ask to wait between attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Stands for a file that says nothing beside messages that do.
pub(super) const UNREAD: &str = "[a file that could not be read]";

/// Why a file says nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Mute {
    /// Nobody can hear it here.
    NoTranscription,
    /// Nothing came of hearing it.
    Unheard,
    /// It is too big.
    TooBig,
    /// It is no text.
    NotText,
}

impl Mute {
    /// What the user is told.
    pub(super) fn sentence(self, texts: &Texts) -> &str {
        match self {
            Self::NoTranscription => &texts.voice_unsupported,
            Self::Unheard => &texts.voice_unheard,
            Self::TooBig => &texts.file_too_big,
            Self::NotText => &texts.file_unsupported,
        }
    }
}

/// Why a file will say nothing, as far as that can be known before it is fetched.
pub(super) fn mute(connector: &ResolvedConnector, gist: &Gist) -> Option<Mute> {
    let beyond = |file: &File, most| file.size.is_some_and(|size| size > most);
    match gist {
        Gist::Hear(_) if matches!(connector.transcription, Transcription::None) => {
            Some(Mute::NoTranscription)
        }
        Gist::Hear(file) if beyond(file, RECORDING_BYTES) => Some(Mute::TooBig),
        Gist::Read(file) if !may_be_text(file) => Some(Mute::NotText),
        Gist::Read(file) if beyond(file, TEXT_BYTES) => Some(Mute::TooBig),
        _ => None,
    }
}

/// What a file says: fetched and heard or read, once for however many attempts at the answer.
pub(super) async fn words(
    lane: &Lane,
    connector: &ResolvedConnector,
    incoming: &Incoming,
    gist: &Gist,
) -> Result<String, Mute> {
    if let Some(mute) = mute(connector, gist) {
        return Err(mute);
    }
    let at = (lane.key.bot, incoming.update_id);
    if let Some(words) = lane.work.heard.get(at) {
        return Ok(words);
    }
    let words = match gist {
        Gist::Hear(file) => heard(lane, connector, incoming.update_id, file).await?,
        Gist::Read(file) => read(connector, file).await?,
        _ => return Err(Mute::NotText),
    };
    lane.work.heard.keep(at, words.clone());
    Ok(words)
}

async fn read(connector: &ResolvedConnector, file: &File) -> Result<String, Mute> {
    let bytes = match fetch(connector, file, TEXT_BYTES).await {
        Ok(bytes) => bytes,
        Err(TelegramError::FileTooBig) => return Err(Mute::TooBig),
        Err(error) => {
            tracing::warn!(%error, "a file could not be fetched");
            return Err(Mute::NotText);
        }
    };
    let text = text(&bytes).ok_or(Mute::NotText)?;
    Ok(format!("[file: {}]\n{text}", shown_name(file)))
}

async fn heard(
    lane: &Lane,
    connector: &ResolvedConnector,
    update_id: i64,
    file: &File,
) -> Result<String, Mute> {
    let transcriber = match &connector.transcription {
        Transcription::None => return Err(Mute::NoTranscription),
        Transcription::Unavailable(why) => {
            unheard(lane, connector, why.to_string());
            return Err(Mute::Unheard);
        }
        Transcription::Ready(transcriber) => transcriber,
    };
    let (words, shown) = watch::channel(String::new());
    let hearing = async {
        let heard = hear(lane, connector, transcriber, file, update_id).await;
        drop(words);
        heard
    };
    // "typing…" meanwhile.
    tokio::join!(
        hearing,
        show::show(&lane.work, &connector.bot, lane.key, shown)
    )
    .0
}

async fn hear(
    lane: &Lane,
    connector: &ResolvedConnector,
    transcriber: &Transcriber,
    file: &File,
    update_id: i64,
) -> Result<String, Mute> {
    let bytes = match fetch(connector, file, RECORDING_BYTES).await {
        Ok(bytes) => bytes,
        Err(TelegramError::FileTooBig) => return Err(Mute::TooBig),
        Err(error) => {
            unheard(lane, connector, error.to_string());
            return Err(Mute::Unheard);
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
    let heard = transcriber.transcribe(&recording, &key).await;
    let result = heard.as_ref().map_or_else(|e| e.fault.label(), |_| "ok");
    lane.work
        .metrics
        .record_assistant_exchange("Transcription", result, began.elapsed());
    match heard {
        Ok(words) if words.is_empty() => Err(Mute::Unheard),
        Ok(words) => Ok(words),
        Err(error) => {
            unheard(lane, connector, format!("spec.transcription: {error}"));
            Err(Mute::Unheard)
        }
    }
}

fn unheard(lane: &Lane, connector: &ResolvedConnector, why: String) {
    tracing::warn!(error = %why, "a voice message could not be written down");
    let work = &lane.work;
    work.observations
        .unheard(&connector.connector.uid, why, work.clock.now());
}

/// Fetches a file, again if what went wrong may pass.
async fn fetch(
    connector: &ResolvedConnector,
    file: &File,
    most: u64,
) -> Result<Bytes, TelegramError> {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let mut wait = BETWEEN_ATTEMPTS;
    for _ in 1..ATTEMPTS {
        match connector.bot.download(&file.id, most).await {
            Err(
                TelegramError::Server(_)
                | TelegramError::Unreachable(_)
                | TelegramError::Ambiguous(_),
            ) => tokio::time::sleep(wait).await,
            Err(TelegramError::RateLimited(pause)) if pause <= LONGEST_PAUSE => {
                tokio::time::sleep(pause).await;
            }
            done => return done,
        }
        wait *= 2;
    }
    connector.bot.download(&file.id, most).await
}

/// The name and media type by which speech-to-text servers know the format.
fn format_of(file: &File) -> (&'static str, &'static str) {
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

/// Endings of files that hold text although their media type often says otherwise.
const TEXT_ENDINGS: &[&str] = &[
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
fn may_be_text(file: &File) -> bool {
    let media_type = file.media_type.as_deref().unwrap_or_default();
    let known = media_type.starts_with("text/")
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
    let ending = file.name.as_deref().and_then(|name| name.rsplit_once('.'));
    known
        || ending
            .is_some_and(|(_, ending)| TEXT_ENDINGS.contains(&ending.to_ascii_lowercase().as_str()))
}

/// The text in a file: UTF-8, UTF-16 with its mark, or the Windows encoding that spreadsheets still write. `None` for what is no text.
fn text(bytes: &[u8]) -> Option<String> {
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

/// The longest file name that is passed on, in characters.
const NAME_CHARACTERS: usize = 100;

fn shown_name(file: &File) -> String {
    let name: String = file
        .name
        .as_deref()
        .unwrap_or("file")
        .chars()
        .filter(|c| !c.is_control() && !matches!(c, '[' | ']'))
        .take(NAME_CHARACTERS)
        .collect();
    name
}

/// Words kept for further attempts, in memory alone: after a restart a file is fetched once more.
#[derive(Debug, Default)]
pub(super) struct Heard(Mutex<VecDeque<((BotId, i64), String)>>);

/// How much is kept, in bytes.
const KEPT_BYTES: usize = 4 << 20;

impl Heard {
    fn get(&self, at: (BotId, i64)) -> Option<String> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter()
            .find(|(key, _)| *key == at)
            .map(|(_, words)| words.clone())
    }

    fn keep(&self, at: (BotId, i64), words: String) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back((at, words));
        while kept.len() > 1
            && kept.iter().map(|(_, words)| words.len()).sum::<usize>() > KEPT_BYTES
        {
            kept.pop_front();
        }
    }

    /// The message is done with.
    pub(super) fn forget(&self, at: (BotId, i64)) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(key, _)| *key != at);
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn file(media_type: Option<&str>, name: Option<&str>) -> File {
        File {
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
    fn files_that_may_hold_text_are_known_by_type_or_ending(
        #[case] media_type: Option<&str>,
        #[case] name: Option<&str>,
        #[case] expected: bool,
    ) {
        assert_eq!(may_be_text(&file(media_type, name)), expected);
    }

    #[rstest]
    #[case(b"a\r\nb\n".as_slice(), Some("a\nb"))]
    #[case("\u{feff}perché".as_bytes(), Some("perché"))]
    #[case(b"\xff\xfea\0\xe8\0", Some("aè"))]
    #[case(b"perch\xe9; 3 \x80", Some("perché; 3 €"))]
    #[case(b"%PDF-1.7\n\x00\x01", None)]
    #[case(b" \n", None)]
    fn text_is_read_in_the_encodings_in_use(#[case] bytes: &[u8], #[case] expected: Option<&str>) {
        assert_eq!(text(bytes).as_deref(), expected);
    }

    #[test]
    fn words_are_kept_within_a_bound() {
        let heard = Heard::default();
        for update in 0..10 {
            heard.keep((BotId(1), update), "x".repeat(1 << 20));
        }
        assert!(heard.get((BotId(1), 9)).is_some());
        assert!(heard.get((BotId(1), 0)).is_none());
        heard.forget((BotId(1), 9));
        assert!(heard.get((BotId(1), 9)).is_none());
    }
}
