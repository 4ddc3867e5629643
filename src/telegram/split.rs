//! Splits a text into messages that Telegram accepts: by UTF-16 units, at the best position available. Only white space at the
//! split is lost.

use std::ops::Range;

use unicode_segmentation::GraphemeCursor;

/// The longest text of a message, in UTF-16 units after entity parsing (Bot API, `sendMessage`).
pub const MESSAGE_LIMIT: usize = 4096;

/// The length of a text as Telegram counts it: in UTF-16 code units.
pub fn utf16_len(text: &str) -> usize {
    if text.is_ascii() {
        return text.len();
    }
    text.chars().map(char::len_utf16).sum()
}

/// Splits `text` into parts of at most `limit` UTF-16 units (at least 2, so that any character fits).
///
/// Positions in this order of preference: between paragraphs, lines, sentences, words and grapheme clusters; within a cluster only if it
/// is longer than a part. Empty lines before and white space after a part are dropped, as Telegram does, and no part is blank,
/// since Telegram refuses that: a blank text has no parts.
pub fn split(text: &str, limit: usize) -> Vec<&str> {
    split_ranges(text, limit, &[])
        .into_iter()
        .map(|range| &text[range])
        .collect()
}

/// [`split`] by byte ranges, which prefers positions outside of the ranges `keep` (ordered, not overlapping); a range that does not fit
/// into one part is split between lines. Takes time in proportion to the text, whatever is in it.
pub(crate) fn split_ranges(text: &str, limit: usize, keep: &[Range<usize>]) -> Vec<Range<usize>> {
    let limit = limit.max(2);
    let mut parts = Vec::new();
    let mut start = 0;
    let mut lead = Lead::default();
    loop {
        start = lead.skip_blank_lines(text, start);
        let visible = lead.first_visible(text, start);
        if visible == text.len() {
            return parts;
        }
        let rest = &text[start..];
        let max_end = start + end_within(rest, limit);
        if visible >= max_end {
            start = max_end;
            continue;
        }
        let end = if max_end == text.len() {
            max_end
        } else {
            best_cut(text, start, max_end, keep)
        };
        let part = text[start..end].trim_end();
        if !is_blank(part) {
            parts.push(start..start + part.len());
        }
        start = end;
    }
}

/// What is known of the blank characters before the next part, so that none is looked at once per part.
#[derive(Debug, Default)]
struct Lead {
    /// The end of the white space that was looked at last, and the beginning of the line that it ends in.
    white: Option<(usize, usize)>,
    /// The first visible character that was found last.
    visible: Option<usize>,
}

impl Lead {
    /// The position after leading empty lines; the indentation of the first line with text stays.
    fn skip_blank_lines(&mut self, text: &str, start: usize) -> usize {
        let line_start = match self.white {
            Some((end, line_start)) if start < end => line_start,
            _ => {
                let rest = &text[start..];
                let white = &rest[..rest.len() - rest.trim_start().len()];
                let line_start = start + white.rfind(['\n', '\r']).map_or(0, |at| at + 1);
                self.white = Some((start + white.len(), line_start));
                line_start
            }
        };
        start.max(line_start)
    }

    /// The position of the first character that Telegram shows; the end of the text, if there is none.
    fn first_visible(&mut self, text: &str, start: usize) -> usize {
        match self.visible {
            Some(at) if start <= at => at,
            _ => {
                let at = text[start..].find(|c| !is_blank_char(c));
                *self.visible.insert(at.map_or(text.len(), |at| start + at))
            }
        }
    }
}

/// Whether Telegram would show nothing: it refuses a message of white space and invisible characters.
fn is_blank(text: &str) -> bool {
    text.chars().all(is_blank_char)
}

fn is_blank_char(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}'
        )
}

/// The byte position after the first `limit` units.
fn end_within(text: &str, limit: usize) -> usize {
    let mut units = 0;
    for (at, c) in text.char_indices() {
        units += c.len_utf16();
        if units > limit {
            return at;
        }
    }
    text.len()
}

/// The last position of each kind at which a text can be cut.
#[derive(Debug, Default)]
struct Cuts {
    paragraph: Option<usize>,
    line: Option<usize>,
    sentence: Option<usize>,
    word: Option<usize>,
    /// Within a range that should be kept whole.
    kept_line: Option<usize>,
    kept_word: Option<usize>,
}

/// The best position to cut a text from `start` that must end at `max_end` at the latest: the last of the best kind, unless that would
/// leave a part too short.
fn best_cut(text: &str, start: usize, max_end: usize, keep: &[Range<usize>]) -> usize {
    let window = &text[start..max_end];
    let (third, half) = (start + window.len() / 3, start + window.len() / 2);
    let mut next_kept = keep.partition_point(|range| range.end <= start);
    let mut cuts = Cuts::default();
    let mut sentence = SentenceEnd::default();
    let mut before = None;
    for (at, c) in window.char_indices() {
        let at = start + at + c.len_utf8();
        let ends_sentence = sentence.follow(c);
        let ends_paragraph = c == '\n' && before.replace(c) == Some('\n');
        before = Some(c);
        if at <= third || !(c.is_whitespace() || ends_sentence) {
            continue;
        }
        while keep.get(next_kept).is_some_and(|range| range.end <= at) {
            next_kept += 1;
        }
        let kept = keep.get(next_kept).is_some_and(|range| range.start < at);
        let (line, word) = if kept {
            (&mut cuts.kept_line, &mut cuts.kept_word)
        } else {
            (&mut cuts.line, &mut cuts.word)
        };
        if c == '\n' {
            *line = Some(at);
        }
        if at > half && c.is_whitespace() {
            *word = Some(at);
        }
        if at > half && ends_sentence && !kept {
            cuts.sentence = Some(at);
        }
        if ends_paragraph && !kept {
            cuts.paragraph = Some(at);
        }
    }
    cuts.paragraph
        .or(cuts.line)
        .or(cuts.sentence)
        .or(cuts.word)
        .or(cuts.kept_line)
        .or(cuts.kept_word)
        .unwrap_or_else(|| grapheme_end(text, start, max_end))
}

/// Recognizes the ends of sentences, character by character.
#[derive(Debug, Default)]
struct SentenceEnd {
    /// What a sentence ends with was the last before closing quotes, brackets and white space.
    terminated: bool,
    /// The last character was white space.
    in_space: bool,
}

impl SentenceEnd {
    /// Whether a sentence has ended behind this character.
    fn follow(&mut self, c: char) -> bool {
        let in_space = std::mem::replace(&mut self.in_space, c.is_whitespace());
        match c {
            '。' | '！' | '？' => {
                self.terminated = false;
                return true;
            }
            c if c.is_whitespace() => return self.terminated,
            '.' | '!' | '?' | '…' | ':' | ';' => self.terminated = true,
            ')' | '"' | '\'' | '”' | '»' => self.terminated &= !in_space,
            _ => self.terminated = false,
        }
        false
    }
}

/// The last grapheme boundary up to `max_end`; `max_end`, if there is none after `start`.
fn grapheme_end(text: &str, start: usize, max_end: usize) -> usize {
    // The cursor sees only the rest of the text, so that it never asks for more context.
    let rest = &text[start..];
    let mut cursor = GraphemeCursor::new(max_end - start, rest.len(), true);
    if cursor.is_boundary(rest, 0).unwrap_or(true) {
        return max_end;
    }
    match cursor.prev_boundary(rest, 0) {
        Ok(Some(at)) if at > 0 => start + at,
        _ => max_end,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::fits("hello", 5, &["hello"])]
    #[case::blank(" \n\t\u{200b}", 5, &[])]
    #[case::empty("", 5, &[])]
    #[case::paragraphs("aaaa bbb\n\ncccc dddd", 14, &["aaaa bbb", "cccc dddd"])]
    #[case::lines("aaaa\nbbbb\ncccc", 11, &["aaaa\nbbbb", "cccc"])]
    #[case::sentences("One two. Three four", 14, &["One two.", "Three four"])]
    #[case::words("one two three four", 9, &["one two", "three", "four"])]
    #[case::no_place_to_cut("aaaaaaaa", 3, &["aaa", "aaa", "aa"])]
    #[case::surrogate_pairs_stay_whole("😀😀😀", 3, &["😀", "😀", "😀"])]
    #[case::flags_stay_whole("🇮🇹🇩🇪", 6, &["🇮🇹", "🇩🇪"])]
    #[case::families_stay_whole("x👨‍👩‍👧‍👦", 11, &["x", "👨‍👩‍👧‍👦"])]
    #[case::accents_stay_on_their_letter("aaae\u{301}b", 4, &["aaa", "e\u{301}b"])]
    #[case::chinese_sentences("你好吗。我很好，谢谢", 6, &["你好吗。", "我很好，谢谢"])]
    #[case::indentation_stays("aaaaaa\n\n   b", 8, &["aaaaaa", "   b"])]
    fn cuts_at_the_best_place(#[case] text: &str, #[case] limit: usize, #[case] parts: &[&str]) {
        assert_eq!(split(text, limit), parts);
    }

    #[test]
    fn range_to_keep_moves_to_the_next_part() {
        let text = "intro intro\n\ncode\n\ncode\nend";
        let kept = 13..23;
        let parts: Vec<_> = split_ranges(text, 20, std::slice::from_ref(&kept));
        assert_eq!(&text[parts[0].clone()], "intro intro");
        assert_eq!(&text[parts[1].clone()], "code\n\ncode\nend");
    }

    #[test]
    fn oversized_range_is_cut_between_lines() {
        let text = "intro\n\naaaa aaaa\nbbbb bbbb\ncccc cccc";
        let kept = 7..text.len();
        let parts = split_ranges(text, 22, std::slice::from_ref(&kept));
        let parts: Vec<_> = parts.into_iter().map(|r| &text[r]).collect();
        assert_eq!(parts, ["intro\n\naaaa aaaa", "bbbb bbbb\ncccc cccc"]);
    }

    #[test]
    fn a_megabyte_is_split_quickly() {
        let text = "é".repeat(1 << 19);
        assert_eq!(split(&text, MESSAGE_LIMIT).len(), 128);
        let cluster = format!("e{}", "\u{301}".repeat(1 << 16));
        assert_eq!(split(&cluster, MESSAGE_LIMIT).len(), 17);
    }

    fn visible(text: &str) -> String {
        text.chars().filter(|c| !c.is_whitespace()).collect()
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_is_too_long(
            text in "(\\PC|[ab .\n]|😀|\u{301}|\u{200d}|\r\n|\t){0,200}", limit in 2usize..40,
        ) {
            let parts = split(&text, limit);
            for part in &parts {
                prop_assert!(utf16_len(part) <= limit);
                prop_assert!(!part.trim().is_empty());
            }
            if !is_blank(&text) {
                let lost = visible(&text).replace(|c: char| is_blank(&c.to_string()), "");
                let kept = visible(&parts.concat()).replace(|c: char| is_blank(&c.to_string()), "");
                prop_assert_eq!(kept, lost);
            }
        }

        #[test]
        fn no_cluster_is_cut_that_could_stay_whole(text in "(e\u{301}|👨‍👩‍👧|🇮🇹|[a-z]){0,60}") {
            use unicode_segmentation::UnicodeSegmentation as _;
            let whole: Vec<&str> = text.graphemes(true).collect();
            let cut: Vec<&str> = split(&text, 12).into_iter().flat_map(|p| p.graphemes(true)).collect();
            prop_assert_eq!(cut, whole);
        }
    }
}
