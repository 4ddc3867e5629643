//! Speech that is an answer, or is beside one: `audio` of a message, whole or in pieces.

use crate::assistant::{FileContent, OfferedFile, decode_base64};

/// The speech of one answer as far as it came.
#[derive(Debug, Default)]
pub(super) struct SpokenAnswer {
    bytes: Vec<u8>,
    has_begun: bool,
}

impl SpokenAnswer {
    /// The next piece, in Base64.
    pub(super) fn push(&mut self, base64: &[u8]) {
        self.has_begun = true;
        let piece = decode_base64(base64.iter().copied());
        self.bytes.extend(piece.unwrap_or_default());
    }

    /// The file, if there is one to hand on. `has_words`: the answer says the same as text, so that speech that no player knows (`pcm16`, as
    /// `OpenAI` streams it) is left out.
    pub(super) fn finish(&mut self, has_words: bool) -> Option<OfferedFile> {
        if !std::mem::take(&mut self.has_begun) {
            return None;
        }
        let bytes = std::mem::take(&mut self.bytes);
        let can_be_played = infer::is_audio(&bytes);
        let content = if can_be_played {
            FileContent::Bytes(bytes.into())
        } else {
            FileContent::Unreadable
        };
        let file = OfferedFile {
            repeats_text: has_words,
            ..OfferedFile::new("audio", "", content)
        };
        (can_be_played || !has_words).then_some(file)
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    const MP3: &[u8] = b"ID3\x04\0\0\0\0\0\0sound";

    fn spoken(pieces: &[&[u8]], has_words: bool) -> Option<OfferedFile> {
        let mut speech = SpokenAnswer::default();
        for piece in pieces {
            speech.push(STANDARD.encode(piece).as_bytes());
        }
        speech.finish(has_words)
    }

    #[test]
    fn pieces_with_their_own_padding_are_one_file() {
        let file = spoken(&[&MP3[..4], &MP3[4..]], true).expect("a file");
        assert_eq!(file.content, FileContent::Bytes(MP3.into()));
        assert!(file.repeats_text);
    }

    #[test]
    fn sound_without_a_format_is_named_only_without_words() {
        assert_eq!(spoken(&[b"\x01\0\x02\0"], true), None);
        let file = spoken(&[b"\x01\0\x02\0"], false).expect("a file");
        assert_eq!(file.content, FileContent::Unreadable);
    }

    #[test]
    fn answer_without_speech_has_no_file() {
        assert_eq!(spoken(&[], false), None);
    }
}
