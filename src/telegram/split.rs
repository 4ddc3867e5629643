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
/// into one part is split between lines.
pub(crate) fn split_ranges(text: &str, limit: usize, keep: &[Range<usize>]) -> Vec<Range<usize>> {
    let limit = limit.max(2);
    let mut parts = Vec::new();
    let mut start = 0;
    loop {
        start += blank_lines(&text[start..]);
        let rest = &text[start..];
        if is_blank(rest) {
            return parts;
        }
        let max_end = end_within(rest, limit);
        let end = if max_end == rest.len() {
            max_end
        } else {
            best_cut(text, start, start + max_end, keep) - start
        };
        let part = rest[..end].trim_end();
        if !is_blank(part) {
            parts.push(start..start + part.len());
        }
        start += end;
    }
}

/// How many bytes of leading empty lines can be dropped; the indentation of the first line with text stays.
fn blank_lines(text: &str) -> usize {
    let indented = text.trim_start();
    let white = &text[..text.len() - indented.len()];
    white.rfind(['\n', '\r']).map_or(0, |at| at + 1)
}

/// Whether Telegram would show nothing: it refuses a message of white space and invisible characters.
fn is_blank(text: &str) -> bool {
    text.chars().all(|c| {
        c.is_whitespace()
            || c.is_control()
            || matches!(
                c,
                '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}'
            )
    })
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

/// The best position to cut a text from `start` that must end at `max_end` at the latest.
fn best_cut(text: &str, start: usize, max_end: usize, keep: &[Range<usize>]) -> usize {
    let window = &text[start..max_end];
    let share = |n: usize| start + window.len() / n;
    let kept = |at: usize| {
        let next = keep.partition_point(|range| range.end <= at);
        keep.get(next).is_some_and(|range| range.start < at)
    };
    let last = |earliest: usize, is_end: &dyn Fn(&str, usize) -> bool, inside: bool| {
        window
            .char_indices()
            .rev()
            .map(|(at, c)| start + at + c.len_utf8())
            .take_while(|at| *at > earliest)
            .find(|at| is_end(text, *at) && (inside || !kept(*at)))
    };
    last(share(3), &is_paragraph_end, false)
        .or_else(|| last(share(3), &is_line_end, false))
        .or_else(|| last(share(2), &is_sentence_end, false))
        .or_else(|| last(share(2), &is_word_end, false))
        .or_else(|| last(share(3), &is_line_end, true))
        .or_else(|| last(share(2), &is_word_end, true))
        .unwrap_or_else(|| grapheme_end(text, start, max_end))
}

fn is_line_end(text: &str, at: usize) -> bool {
    text[..at].ends_with('\n')
}

fn is_paragraph_end(text: &str, at: usize) -> bool {
    text[..at].ends_with("\n\n")
}

fn is_word_end(text: &str, at: usize) -> bool {
    text[..at].ends_with(char::is_whitespace)
}

fn is_sentence_end(text: &str, at: usize) -> bool {
    let before = &text[..at];
    before.ends_with(['。', '！', '？'])
        || (is_word_end(text, at)
            && before
                .trim_end()
                .trim_end_matches([')', '"', '\'', '”', '»'])
                .ends_with(['.', '!', '?', '…', ':', ';']))
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
