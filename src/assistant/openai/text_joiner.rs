//! Joins the pieces of a text that a server cut at a place where no text can be cut: within a character's bytes, or within a surrogate pair.

use std::borrow::Cow;

use crate::assistant::lenient_json::pair;

/// Joins pieces of bytes to text. What belongs to no character becomes U+FFFD.
#[derive(Debug, Default)]
pub(super) struct TextJoiner {
    /// The beginning of a character whose rest has not come yet.
    pending: Vec<u8>,
}

impl TextJoiner {
    /// The text that is complete with this piece.
    pub(super) fn push<'a>(&mut self, piece: &'a [u8]) -> Cow<'a, str> {
        if self.pending.is_empty()
            && let Ok(text) = std::str::from_utf8(piece)
        {
            return Cow::Borrowed(text);
        }
        let mut bytes = std::mem::take(&mut self.pending);
        bytes.extend_from_slice(piece);
        Cow::Owned(self.decode(&bytes))
    }

    /// Nothing follows: what is pending stays half.
    pub(super) fn finish(&mut self) -> Option<char> {
        let is_pending = !std::mem::take(&mut self.pending).is_empty();
        is_pending.then_some(char::REPLACEMENT_CHARACTER)
    }

    fn decode(&mut self, bytes: &[u8]) -> String {
        let mut text = String::with_capacity(bytes.len());
        let mut rest = bytes;
        loop {
            let error = match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    return text;
                }
                Err(error) => error,
            };
            let (valid, invalid) = rest.split_at(error.valid_up_to());
            text.push_str(std::str::from_utf8(valid).expect("just checked"));
            let skipped = match surrogates(invalid) {
                Surrogates::Pair(c) => {
                    text.push(c);
                    6
                }
                Surrogates::Half => {
                    text.push(char::REPLACEMENT_CHARACTER);
                    3
                }
                Surrogates::Open => {
                    self.pending = invalid.to_vec();
                    return text;
                }
                Surrogates::None => match error.error_len() {
                    Some(length) => {
                        text.push(char::REPLACEMENT_CHARACTER);
                        length
                    }
                    None => {
                        self.pending = invalid.to_vec();
                        return text;
                    }
                },
            };
            rest = &invalid[skipped..];
        }
    }
}

/// What stands at a place that is no UTF-8, read as WTF-8.
enum Surrogates {
    /// Both halves.
    Pair(char),
    /// One whose other half does not follow.
    Half,
    /// The first half, of which the second may follow.
    Open,
    None,
}

fn surrogates(bytes: &[u8]) -> Surrogates {
    let code = |bytes: &[u8]| match *bytes {
        [0xED, second @ 0xA0..=0xBF, third @ 0x80..=0xBF, ..] => {
            Some(0xD000 | u32::from(second & 0x3F) << 6 | u32::from(third & 0x3F))
        }
        _ => None,
    };
    let Some(first) = code(bytes) else {
        return match bytes {
            [0xED, 0xA0..=0xBF] => Surrogates::Open,
            _ => Surrogates::None,
        };
    };
    if first >= 0xDC00 {
        return Surrogates::Half;
    }
    match &bytes[3..] {
        [] | [0xED] | [0xED, 0xB0..=0xBF] => Surrogates::Open,
        rest => match code(rest) {
            Some(second) if second >= 0xDC00 => Surrogates::Pair(
                char::from_u32(pair(first, second)).expect("a pair is a character"),
            ),
            _ => Surrogates::Half,
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn join<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
        let mut joiner = TextJoiner::default();
        let mut text: String = pieces.into_iter().map(|piece| joiner.push(piece)).collect();
        text.extend(joiner.finish());
        text
    }

    const HIGH: &[u8] = b"\xED\xA0\xBD";
    const LOW: &[u8] = b"\xED\xB8\x80";

    #[rstest]
    #[case::pair(&[b"a", HIGH, LOW, b"b"], "a😀b")]
    #[case::pair_in_one_piece(&[&b"a\xED\xA0\xBD\xED\xB8\x80b"[..]], "a😀b")]
    #[case::high_alone(&[HIGH, b"b"], "\u{FFFD}b")]
    #[case::high_at_the_end(&[b"a", HIGH], "a\u{FFFD}")]
    #[case::low_alone(&[b"a", LOW, b"b"], "a\u{FFFD}b")]
    #[case::two_highs(&[HIGH, HIGH, LOW], "\u{FFFD}😀")]
    #[case::no_utf8(&[&b"a\xFFb"[..]], "a\u{FFFD}b")]
    #[case::nothing_between(&[HIGH, b"", LOW], "😀")]
    fn halves_of_a_pair_are_joined(#[case] pieces: &[&[u8]], #[case] text: &str) {
        assert_eq!(join(pieces.iter().copied()), text);
    }

    proptest! {
        #[test]
        fn text_that_is_cut_within_characters_comes_out_whole(text in "[a-zè€😀]{0,12}", cuts in prop::collection::vec(0usize..5, 0..20)) {
            let mut rest = text.as_bytes();
            let mut pieces = Vec::new();
            for cut in cuts {
                let (piece, left) = rest.split_at(cut.min(rest.len()));
                pieces.push(piece);
                rest = left;
            }
            pieces.push(rest);
            prop_assert_eq!(join(pieces), text);
        }
    }
}
