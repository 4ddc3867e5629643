//! Protects LaTeX from the Markdown parser, to which backslashes, underscores and lines that begin with `-` or `=` mean something else.
//! Formulas on lines of their own become code blocks, and `\( \)` becomes the `$ $` that the parser knows.

use std::borrow::Cow;
use std::collections::HashMap;

/// The most lines of a formula; a longer one is not taken as one.
const MAX_FORMULA_LINES: usize = 60;

/// The longest formula within a line, in bytes; a longer one is not taken as one.
const MAX_INLINE_FORMULA_BYTES: usize = 1000;

/// The info string of the code blocks that formulas become: shown as LaTeX, and known from LaTeX that was a code block before.
pub(super) const FORMULA_FENCE: &str = "latex formula";

/// The source with its formulas protected.
pub(super) fn fence_formulas(markdown: &str) -> Cow<'_, str> {
    if !markdown.contains("$$") && !markdown.contains("\\(") && !markdown.contains("\\[") {
        return Cow::Borrowed(markdown);
    }
    let lines: Vec<&str> = markdown.split('\n').collect();
    let mut out = String::with_capacity(markdown.len() + 64);
    let mut fence: Option<&str> = None;
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        if at > 0 {
            out.push('\n');
        }
        let trimmed = line.trim();
        if let Some(open) = fence {
            if trimmed.starts_with(open) && trimmed.trim_start_matches(&open[..1]).is_empty() {
                fence = None;
            }
            out.push_str(line);
            at += 1;
            continue;
        }
        fence = opening_fence(trimmed);
        if fence.is_none()
            && let Some((formula, taken)) = formula(&lines[at..])
        {
            let indent = &line[..line.len() - line.trim_start().len()];
            out.extend([indent, "```", FORMULA_FENCE]);
            for part in formula {
                out.push('\n');
                out.push_str(indent);
                out.push_str(part.trim_end());
            }
            out.extend(["\n", indent, "```"]);
            at += taken;
            continue;
        }
        convert_inline(line, &mut out);
        at += 1;
    }
    Cow::Owned(out)
}

fn opening_fence(trimmed: &str) -> Option<&str> {
    ["`", "~"].into_iter().find_map(|mark| {
        let length = trimmed.len() - trimmed.trim_start_matches(mark).len();
        (length >= 3 && !trimmed[length..].contains('`')).then(|| &trimmed[..length])
    })
}

/// A formula that begins with the first line and shares no line with other text: its source, and its number of lines.
fn formula<'a>(lines: &[&'a str]) -> Option<(Vec<&'a str>, usize)> {
    let first = lines[0].trim();
    let (first, begin, end) = match (first.strip_prefix("\\["), first.strip_prefix("$$")) {
        (Some(rest), _) => (rest, "\\[", "\\]"),
        (_, Some(rest)) => (rest, "$$", "$$"),
        _ => return None,
    };
    let mut formula = Vec::new();
    for (taken, line) in lines.iter().take(MAX_FORMULA_LINES).enumerate() {
        let line = if taken == 0 { first } else { line.trim() };
        let (part, ended) = match line.strip_suffix(end) {
            Some(part) => (part.trim(), true),
            None => (line, false),
        };
        // Where another formula begins, this one has no end: so no line is looked at twice.
        if part.contains(end) || part.contains("```") || part.starts_with(begin) {
            return None;
        }
        if !part.is_empty() {
            formula.push(part);
        }
        if ended {
            return (!formula.is_empty()).then_some((formula, taken + 1));
        }
    }
    None
}

/// Copies a line, with `\( x \)` as `$x$` and `\[ x \]` as `$$x$$` outside of code.
fn convert_inline(line: &str, out: &mut String) {
    if !line.contains('\\') {
        out.push_str(line);
        return;
    }
    let backticks = Backticks::of(line);
    let mut rest = line;
    while let Some(at) = rest.find(['`', '\\']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if rest.starts_with('`') {
            let run = rest.len() - rest.trim_start_matches('`').len();
            let begin = line.len() - rest.len();
            let end = backticks.code_end(begin, run).unwrap_or(begin + run);
            out.push_str(&line[begin..end]);
            rest = &line[end..];
        } else if let Some((inner, mark, behind)) = inline_formula(rest) {
            out.extend([mark, inner, mark]);
            rest = behind;
        } else {
            // The backslash and the character that it escapes.
            let end = rest.char_indices().nth(2).map_or(rest.len(), |(at, _)| at);
            out.push_str(&rest[..end]);
            rest = &rest[end..];
        }
    }
    out.push_str(rest);
}

/// The runs of backticks in a line: the positions of those of each length, in order.
struct Backticks(HashMap<usize, Vec<usize>>);

impl Backticks {
    fn of(line: &str) -> Self {
        let mut runs: HashMap<usize, Vec<usize>> = HashMap::new();
        let mut at = 0;
        while let Some(before) = line[at..].find('`') {
            let begin = at + before;
            let rest = &line[begin..];
            let run = rest.len() - rest.trim_start_matches('`').len();
            runs.entry(run).or_default().push(begin);
            at = begin + run;
        }
        Self(runs)
    }

    /// Where the code ends that a run of backticks begins: behind the next run of the same length.
    fn code_end(&self, begin: usize, run: usize) -> Option<usize> {
        let runs = self.0.get(&run)?;
        let next = runs.partition_point(|at| *at <= begin);
        Some(runs.get(next)? + run)
    }
}

/// The formula that a text begins with, the mark that the parser knows it by, and the text behind it.
fn inline_formula(text: &str) -> Option<(&str, &'static str, &str)> {
    let (begin, end, mark) = [("\\(", "\\)", "$"), ("\\[", "\\]", "$$")]
        .into_iter()
        .find(|(begin, ..)| text.starts_with(begin))?;
    let text = &text[begin.len()..];
    let near = &text[..text.floor_char_boundary(MAX_INLINE_FORMULA_BYTES)];
    let (inner, _) = near.split_once(end)?;
    let behind = &text[inner.len() + end.len()..];
    let inner = inner.trim();
    let ours = !inner.is_empty()
        && !inner.contains(['$', '`'])
        && !behind.starts_with('(')
        && (mark == "$" || is_mathematical(inner));
    ours.then_some((inner, mark, behind))
}

/// Whether a text between dollar signs looks like a formula rather than like prices.
pub(super) fn is_mathematical(text: &str) -> bool {
    text.contains(['\\', '^', '_', '=', '{', '<', '>', '+', '*'])
        || (text.chars().count() <= 2 && text.chars().all(char::is_alphabetic))
}

/// Whether a text between dollar signs has words as prose has them, for instance between two prices. A word of a formula is in a command or in
/// braces.
pub(super) fn is_prose(text: &str) -> bool {
    let mut braces: usize = 0;
    text.split_whitespace().any(|word| {
        let is_inside = braces > 0;
        let closed = word.matches('}').count();
        braces = (braces + word.matches('{').count()).saturating_sub(closed);
        let word = word.trim_end_matches([',', '.', ';', ':', '!', '?']);
        !is_inside && word.chars().count() > 1 && word.chars().all(char::is_alphabetic)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::{FORMULA_FENCE, fence_formulas, is_prose};

    #[rstest]
    #[case("a \\( x_1 \\) b", "a $x_1$ b")]
    #[case("so \\[x = 1\\] holds", "so $$x = 1$$ holds")]
    #[case("\\[\nx\n- y\n\\]\nend", "```latex formula\nx\n- y\n```\nend")]
    #[case("$$ E = mc^2 $$", "```latex formula\nE = mc^2\n```")]
    #[case("  $$\n  a\n  $$", "  ```latex formula\n  a\n  ```")]
    #[case("`\\(x\\)` and \\(y\\)", "`\\(x\\)` and $y$")]
    #[case("```\n\\(x\\)\n$$\ny\n$$\n```", "```\n\\(x\\)\n$$\ny\n$$\n```")]
    #[case("escaped \\[1\\] and \\[a\\](b)", "escaped \\[1\\] and \\[a\\](b)")]
    #[case("$$ never ends\n\nx", "$$ never ends\n\nx")]
    #[case("\\\\(no", "\\\\(no")]
    #[case("plain", "plain")]
    fn formulas_become_code(#[case] source: &str, #[case] expected: &str) {
        assert_eq!(fence_formulas(source), expected);
    }

    #[rstest]
    #[case::formula("x^2 + y_1", false)]
    #[case::words_in_braces("\\text{for all } x > 0", false)]
    #[case::commands("\\sin x, \\quad \\cos y", false)]
    #[case::prices("5 = 5€, or 10", true)]
    #[case::sentence("20 (*not* more than", true)]
    fn words_between_prices_are_prose(#[case] text: &str, #[case] expected: bool) {
        assert_eq!(is_prose(text), expected);
    }

    proptest! {
        #[test]
        fn nothing_but_delimiters_changes(source in "(\\$\\$|\\\\\\(|\\\\\\)|\\\\\\[|\\\\\\]|```|`|\n|[a-z =é]|😀){0,40}") {
            let word = |s: &str| s.replace(&format!("```{FORMULA_FENCE}"), "").chars().filter(|c| c.is_alphanumeric()).collect::<String>();
            prop_assert_eq!(word(&fence_formulas(&source)), word(&source));
        }
    }
}
