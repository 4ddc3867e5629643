//! What a text costs the Markdown parser, estimated before it is parsed, since the parser cannot be stopped.
//!
//! pulldown-cmark 0.13 takes time in proportion to the text but for four shapes, in which a few kilobytes from an assistant take seconds or
//! hundreds of megabytes: every line is matched with every open container (quotes, lists); within a line of nested bullets, each bullet looks for
//! a thematic break; a link title over many lines is searched anew at each; and a table row is filled up with cells to the width of the
//! head. The estimate is an upper bound of the steps of these, and itself takes one pass over the text.

/// A text may cost this many steps per byte. Texts that people and models write cost less than two, and a step takes a few nanoseconds.
const MAX_STEPS_PER_BYTE: usize = 64;
/// What a cell that fills up a row of a table costs: it is allocated, and rendered.
const STEPS_PER_CELL: usize = 32;

/// Whether parsing a text takes time and memory in proportion to its length. Lines must end with `\n`.
pub(super) fn is_linear(source: &str) -> bool {
    steps(source) <= MAX_STEPS_PER_BYTE.saturating_mul(source.len())
}

/// At most so many steps does the parser take that are not proportional to the text.
fn steps(source: &str) -> usize {
    let mut nesting = 0;
    let mut lines = 0;
    let mut total: usize = 0;
    let mut paragraph = Paragraph::default();
    for line in source.split('\n') {
        lines += 1;
        let prefix = Prefix::of(line.as_bytes());
        nesting = nesting.max(prefix.nesting);
        total = total.saturating_add(prefix.bullets * line.len());
        if line.bytes().all(is_white) {
            total = total.saturating_add(paragraph.end());
        } else {
            paragraph.line(line.as_bytes());
        }
    }
    total
        .saturating_add(paragraph.end())
        .saturating_add(lines * nesting)
}

fn is_white(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | 0x0b | 0x0c)
}

/// The beginning of a line, in which it can continue and open containers.
#[derive(Debug, Default, PartialEq, Eq)]
struct Prefix {
    /// The most containers that are open after the line, unless it continues a paragraph: each takes a column, and a list is two.
    nesting: usize,
    /// Bullets that could begin a thematic break.
    bullets: usize,
}

impl Prefix {
    fn of(line: &[u8]) -> Self {
        let mut prefix = Self::default();
        let mut rest = line;
        while let Some((first, behind)) = rest.split_first() {
            let (taken, nesting) = match first {
                b'\t' => (1, 4),
                byte if is_white(*byte) => (1, 1),
                b'>' => (1, 1),
                b'-' | b'+' | b'*' if behind.first().is_none_or(|b| is_white(*b)) => {
                    prefix.bullets += 1;
                    (1, 2)
                }
                b'0'..=b'9' => match ordered_marker(rest) {
                    Some(length) => (length, 2),
                    None => break,
                },
                b'[' => match footnote_marker(rest) {
                    Some(length) => (length, 1),
                    None => break,
                },
                _ => break,
            };
            prefix.nesting += nesting;
            rest = &rest[taken..];
        }
        prefix
    }
}

/// The length of `1.` or `1)`.
fn ordered_marker(text: &[u8]) -> Option<usize> {
    let digits = text.iter().take(10).take_while(|b| b.is_ascii_digit());
    let length = digits.count() + 1;
    let ended = matches!(text.get(length - 1), Some(b'.' | b')'));
    (ended && text.get(length).is_none_or(|b| is_white(*b))).then_some(length)
}

/// The length of `[^1]:`.
fn footnote_marker(text: &[u8]) -> Option<usize> {
    let label = text.strip_prefix(b"[^")?;
    let mut at = 0;
    loop {
        match label.get(at)? {
            b'[' => return None,
            b']' => break,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    (label.get(at + 1) == Some(&b':')).then_some(at + 4)
}

/// What is counted between two empty lines.
#[derive(Debug, Default)]
struct Paragraph {
    steps: usize,
    /// `](` was seen: what follows can be a link's title.
    link: bool,
    /// The lines before the titles that may be open: in double quotes, single quotes and brackets.
    titles: [Option<usize>; 3],
    /// The nodes of the parser's tree so far, at most, and the lines.
    nodes: usize,
    lines: usize,
    /// The columns of the widest table head, and the lines since the first.
    columns: usize,
    rows: usize,
}

impl Paragraph {
    fn line(&mut self, line: &[u8]) {
        self.columns = self.columns.max(table_columns(line));
        self.rows += usize::from(self.columns > 0);
        let mut before = b'\n';
        let mut escaped = false;
        for byte in line {
            self.nodes += usize::from(is_special(*byte)) * 2;
            self.link |= *byte == b'(' && before == b']';
            if escaped {
                escaped = false;
            } else {
                escaped = *byte == b'\\';
                self.title_mark(*byte, before);
            }
            before = *byte;
        }
        self.lines += 1;
        self.nodes += 2;
    }

    /// A title ends at the mark that it began with; another may begin there.
    fn title_mark(&mut self, byte: u8, before: u8) {
        let kind = match byte {
            b'"' => 0,
            b'\'' => 1,
            b'(' | b')' => 2,
            _ => return,
        };
        self.end_title(kind);
        if self.link && byte != b')' && starts_title(before) {
            self.titles[kind] = Some(self.lines);
        }
    }

    fn end_title(&mut self, kind: usize) {
        if let Some(lines_before) = self.titles[kind].take() {
            let searched = self.nodes.saturating_mul(self.lines - lines_before);
            self.steps = self.steps.saturating_add(searched);
        }
    }

    /// The steps of a paragraph that has ended; the next one begins.
    fn end(&mut self) -> usize {
        for kind in 0..self.titles.len() {
            self.end_title(kind);
        }
        let cells = self.columns.saturating_mul(self.rows);
        let steps = self
            .steps
            .saturating_add(cells.saturating_mul(STEPS_PER_CELL));
        *self = Self::default();
        steps
    }
}

/// Whether a title can begin behind this: white space, a quote's mark, or a link's `<target>`.
fn starts_title(before: u8) -> bool {
    matches!(before, b'\n' | b'>') || is_white(before)
}

/// Whether a character can become nodes of the parser's tree.
fn is_special(byte: u8) -> bool {
    b"*_&\\[]<!`|~${}".contains(&byte)
}

/// The columns of a table if the line is the one below its head, within containers perhaps; else 0.
fn table_columns(line: &[u8]) -> usize {
    let dashes = |byte: &&u8| matches!(byte, b'|' | b'-' | b':') || is_white(**byte);
    let length = line.iter().rev().take_while(dashes).count();
    let tail = &line[line.len() - length..];
    let pipes = tail.iter().filter(|byte| **byte == b'|').count();
    if tail.contains(&b'-') && pipes > 0 {
        pipes + 1
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;
    use pulldown_cmark::{Event, Parser, Tag};
    use rstest::rstest;

    use super::super::blocks::OPTIONS;
    use super::*;

    #[rstest]
    #[case::quotes_around_lazy_lines(format!("{}x\n{}", ">".repeat(2_000), "a\n".repeat(1_000)))]
    #[case::lists_around_empty_lines(format!("{}x\n{}", "- ".repeat(1_000), "\n".repeat(2_000)))]
    #[case::lists_around_code(format!("{}```\n{}", "1. ".repeat(700), "\n".repeat(2_000)))]
    #[case::footnotes_and_quotes(format!("{}x\n{}", "[^\\]a]: > ".repeat(500), "a\n".repeat(2_000)))]
    #[case::bullets_that_are_nearly_a_rule(format!("{}* {}x", "- ".repeat(500), "- ".repeat(500)))]
    #[case::title_over_many_lines(format!("[a](b \"{}\")", "*\n".repeat(2_000)))]
    #[case::title_that_never_ends(format!("[a](b\n'{}", "a\n".repeat(2_000)))]
    #[case::title_behind_many_marks(format!("[a]({} \"{}", "*".repeat(2_000), "a\n".repeat(300)))]
    #[case::escaped_title(format!("[a](b \"{}", "\\\"\n".repeat(2_000)))]
    #[case::title_behind_a_quote_mark(format!("> [a](b\n>({}", "a\n>".repeat(1_000)))]
    #[case::table_of_missing_cells(format!("{}\n{}\n{}", "|a".repeat(500), "|-".repeat(500), "|\n".repeat(500)))]
    #[case::table_in_a_list(format!("- {}\n  {}\n{}", "|a".repeat(500), "|-".repeat(500), "  |\n".repeat(500)))]
    fn what_is_slow_to_parse_is_known(#[case] text: String) {
        assert!(
            !is_linear(&text),
            "{} bytes, {} steps",
            text.len(),
            steps(&text)
        );
    }

    #[rstest]
    #[case::empty("")]
    #[case::short_quotes(">>>>>>>>>> a\n\n\n\n")]
    #[case::ruler("- - - - - - - - - - - - - - - - - - - - - - -")]
    #[case::link_with_a_title("[a](b \"c\nd\") and 'so'\n\"on\"")]
    fn short_texts_are_always_parsed(#[case] text: &str) {
        assert!(is_linear(text));
    }

    /// Samples of answers and the project's own pages, alone and as one long text.
    #[test]
    fn what_people_and_models_write_is_parsed() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut together = String::new();
        for folder in ["tests/markdown/samples", "docs", "docs/runbooks", ""] {
            for file in std::fs::read_dir(root.join(folder)).expect("a folder") {
                let file = file.expect("readable").path();
                if file.extension().is_some_and(|e| e == "md") {
                    let text = std::fs::read_to_string(&file).expect("readable");
                    assert!(
                        steps(&text) <= 8 * text.len(),
                        "{}: {}",
                        file.display(),
                        steps(&text)
                    );
                    together.push_str(&text);
                }
            }
        }
        let bytes = together.len();
        assert!(bytes > 100_000, "only {bytes} bytes of samples");
        assert!(
            steps(&together) <= 8 * bytes,
            "{} steps of {bytes} bytes",
            steps(&together)
        );
    }

    fn text_of(pieces: Vec<&'static str>) -> impl Strategy<Value = String> {
        let piece = prop::sample::select(pieces);
        prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn containers_are_never_nested_deeper_than_estimated(text in text_of(vec![
            ">", "> ", "- ", "* ", "+\n", "1. ", "12) ", " ", "   ", "    ", "\t", "x", "\n", "\n\n", "x\n", "[^a]: ", "[^\\]b]:", "- [ ] ", "```\n",
            "<!--\n", "# ", "---\n", "> [!NOTE]\n", "-\n\n", "- - -\n",
        ])) {
            let (mut depth, mut deepest) = (0, 0);
            for event in Parser::new_ext(&text, OPTIONS) {
                match event {
                    Event::Start(Tag::BlockQuote(_) | Tag::List(_) | Tag::Item | Tag::FootnoteDefinition(_)) => depth += 1,
                    Event::End(pulldown_cmark::TagEnd::BlockQuote(_) | pulldown_cmark::TagEnd::List(_)
                        | pulldown_cmark::TagEnd::Item | pulldown_cmark::TagEnd::FootnoteDefinition) => depth -= 1,
                    _ => {}
                }
                deepest = deepest.max(depth);
            }
            let estimated = text.split('\n').map(|line| Prefix::of(line.as_bytes()).nesting).max();
            prop_assert!(Some(deepest) <= estimated, "{deepest} deep, {estimated:?} estimated: {text:?}");
        }

        #[test]
        fn tables_never_have_more_cells_than_estimated(text in text_of(vec![
            "|", "a", "-", ":", "|-|-|\n", "|a|b|\n", "|a|b|c|\n|-|-|-|\n", "|\n", "\n", "> ", "x\n", "- ", " ", "\\|", "a|b\n-|-\n",
        ])) {
            let cells = Parser::new_ext(&text, OPTIONS).filter(|e| matches!(e, Event::Start(Tag::TableCell))).count();
            let written = text.matches(['|', '\n']).count();
            let filled = steps(&text) / STEPS_PER_CELL;
            prop_assert!(cells <= filled + written + 1, "{cells} cells, {filled} and {written} estimated: {text:?}");
        }
    }
}
