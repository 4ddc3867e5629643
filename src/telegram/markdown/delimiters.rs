//! Makes the parser read `*` and `~` as people and models mean them.
//!
//! By `CommonMark`'s rule a delimiter run between punctuation and a letter does not close (or open), which serves languages with spaces:
//! in Chinese, Japanese and Korean, `**注意：**内容` keeps its asterisks. The rule for them is known (`markdown-cjk-friendly`), but
//! pulldown-cmark lacks it; a letter without a glyph, put between the run and the punctuation, has the same effect. And a single `~` is
//! "about" far more often than a strike: another punctuation mark stands in for it. Both are undone in what the parser gives.

use std::borrow::Cow;

use pulldown_cmark::{CodeBlockKind, CowStr, Event, Options, Parser, Tag};

/// Put beside a delimiter run: a noncharacter, so neither white space nor punctuation, and never in a text.
const LETTER: char = '\u{fdd0}';
/// Punctuation that can stand in for `~`: the first one that is not in the text.
const TILDES: [char; 3] = ['\u{2053}', '\u{2e1b}', '\u{2e1a}'];

/// A text as the parser shall read it.
pub(super) struct Prepared<'a> {
    pub(super) source: Cow<'a, str>,
    tilde: Option<char>,
}

impl<'a> Prepared<'a> {
    /// Prepares a text; takes one pass, and adds at most twice its length.
    pub(super) fn new(text: Cow<'a, str>) -> Self {
        let tilde = text
            .contains('~')
            .then(|| TILDES.into_iter().find(|c| !text.contains(*c)))
            .flatten();
        let cjk = !text.contains(LETTER) && text.contains(is_cjk);
        let delimiters = text.contains('*') || text.contains('~');
        if !delimiters || (!cjk && tilde.is_none()) {
            return Self {
                source: text,
                tilde: None,
            };
        }
        let source = prepare(&text, cjk, tilde);
        Self {
            source: source.into(),
            tilde,
        }
    }

    /// What the parser reads, with the text as it was; the ranges are those of the source.
    pub(super) fn events(
        &self,
        options: Options,
    ) -> impl Iterator<Item = (Event<'_>, std::ops::Range<usize>)> {
        let changed = matches!(self.source, Cow::Owned(_));
        let events = Parser::new_ext(&self.source, options).into_offset_iter();
        events.map(move |(event, range)| {
            let event = if changed { self.restore(event) } else { event };
            (event, range)
        })
    }

    fn restore<'e>(&self, event: Event<'e>) -> Event<'e> {
        match event {
            Event::Text(text) => Event::Text(self.text(text)),
            Event::Code(text) => Event::Code(self.text(text)),
            Event::InlineMath(text) => Event::InlineMath(self.text(text)),
            Event::DisplayMath(text) => Event::DisplayMath(self.text(text)),
            Event::Html(text) => Event::Html(self.text(text)),
            Event::InlineHtml(text) => Event::InlineHtml(self.text(text)),
            Event::FootnoteReference(text) => Event::FootnoteReference(self.text(text)),
            Event::Start(tag) => Event::Start(self.tag(tag)),
            other => other,
        }
    }

    fn tag<'e>(&self, tag: Tag<'e>) -> Tag<'e> {
        match tag {
            Tag::CodeBlock(CodeBlockKind::Fenced(info)) => {
                Tag::CodeBlock(CodeBlockKind::Fenced(self.text(info)))
            }
            Tag::FootnoteDefinition(label) => Tag::FootnoteDefinition(self.text(label)),
            Tag::Link {
                link_type,
                dest_url,
                title,
                id,
            } => Tag::Link {
                link_type,
                dest_url: self.text(dest_url),
                title,
                id,
            },
            Tag::Image {
                link_type,
                dest_url,
                title,
                id,
            } => Tag::Image {
                link_type,
                dest_url: self.text(dest_url),
                title,
                id,
            },
            other => other,
        }
    }

    fn text<'e>(&self, text: CowStr<'e>) -> CowStr<'e> {
        if !text.contains(|c| c == LETTER || Some(c) == self.tilde) {
            return text;
        }
        let restored = text.chars().filter(|c| *c != LETTER);
        let restored = restored.map(|c| if Some(c) == self.tilde { '~' } else { c });
        restored.collect::<String>().into()
    }
}

fn prepare(text: &str, cjk: bool, tilde: Option<char>) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    let mut before = '\n';
    let mut rest = text;
    while let Some(at) = rest.find(['*', '~', '\\']) {
        out.push_str(&rest[..at]);
        before = rest[..at].chars().next_back().unwrap_or(before);
        rest = &rest[at..];
        let mark = rest.as_bytes()[0];
        if mark == b'\\' {
            // The backslash and the character that it escapes.
            let end = rest.char_indices().nth(2).map_or(rest.len(), |(at, _)| at);
            out.push_str(&rest[..end]);
            before = rest[..end].chars().next_back().unwrap_or(before);
            rest = &rest[end..];
            continue;
        }
        let length = rest.bytes().take_while(|byte| *byte == mark).count();
        let (run, behind) = rest.split_at(length);
        let after = behind.chars().next().unwrap_or('\n');
        match tilde {
            Some(tilde) if run == "~" => out.push(tilde),
            _ => {
                let beside = cjk && (is_cjk(before) || is_cjk(after));
                let opens = beside && is_punctuation(after) && is_letter(before);
                let closes = beside && is_punctuation(before) && is_letter(after);
                out.extend(closes.then_some(LETTER));
                out.push_str(run);
                out.extend(opens.then_some(LETTER));
            }
        }
        before = char::from(mark);
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// Punctuation and symbols, but for the bar between the cells of a table, for which the parser has rules of its own.
fn is_punctuation(c: char) -> bool {
    c != '|' && !is_letter(c) && !c.is_whitespace()
}

fn is_letter(c: char) -> bool {
    c.is_alphanumeric()
}

/// Whether a character is written in Chinese, Japanese or Korean, punctuation of full and half width included.
pub(super) fn is_cjk(c: char) -> bool {
    matches!(
        u32::from(c),
        0x1100..=0x11ff
            | 0x2e80..=0x2fff
            | 0x3001..=0xa4cf
            | 0xa960..=0xa97f
            | 0xac00..=0xd7ff
            | 0xf900..=0xfaff
            | 0xfe10..=0xfe1f
            | 0xfe30..=0xfe6f
            | 0xff01..=0xffe6
            | 0x16fe0..=0x18dff
            | 0x1aff0..=0x1b2ff
            | 0x20000..=0x3ffff
    )
}

#[cfg(test)]
mod tests {
    use pulldown_cmark::TagEnd;
    use rstest::rstest;

    use super::*;

    /// The text with `<` and `>` around what is marked, code in backquotes, and URLs in brackets.
    fn shown(text: &str) -> String {
        let prepared = Prepared::new(text.into());
        let mut shown = String::new();
        for (event, _) in prepared.events(super::super::blocks::OPTIONS) {
            match event {
                Event::Start(Tag::Strong | Tag::Emphasis | Tag::Strikethrough) => shown.push('<'),
                Event::End(TagEnd::Strong | TagEnd::Emphasis | TagEnd::Strikethrough) => {
                    shown.push('>');
                }
                Event::Start(Tag::Link { dest_url, .. }) => shown.push_str(&dest_url),
                Event::Code(code) => shown.extend(["`", &code, "`"]),
                Event::Text(text) => shown.push_str(&text),
                _ => {}
            }
        }
        shown
    }

    #[rstest]
    #[case("边界：**社区显示：**Fable", "边界：<社区显示：>Fable")]
    #[case("**注意：**必ず", "<注意：>必ず")]
    #[case("**안녕(hello)**하세요", "<안녕(hello)>하세요")]
    #[case("~~已删除。~~内容", "<已删除。>内容")]
    #[case("这是**“引用”**的话", "这是<“引用”>的话")]
    #[case("彼は*「はい」*と", "彼は<「はい」>と")]
    #[case("a**(b)**c", "a**(b)**c")]
    #[case("\\**注意：*必ず", "*<注意：>必ず")]
    #[case("`**注意：**必ず ~`", "`**注意：**必ず ~`")]
    #[case("[注**。**b](https://e.org/~注*。*b)", "https://e.org/~注*。*b注<。>b")]
    fn emphasis_beside_cjk_characters_is_read(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(shown(text), expected);
    }

    #[rstest]
    #[case("~5 to ~10", "~5 to ~10")]
    #[case("~a~ and ~~b~~ \\~c~", "~a~ and <b> ~c~")]
    #[case("**(about)**~5~", "<(about)>~5~")]
    #[case("⁓ ~a~", "⁓ ~a~")]
    #[case("~~~\n~a~\n~~~", "~a~\n")]
    fn single_tildes_are_text(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(shown(text), expected);
    }
}
