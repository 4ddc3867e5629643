//! Whether a place in Markdown is in code, as far as it can be told without what follows: within a fence, or behind an open backtick of its line.

/// Follows a text character by character.
#[derive(Debug)]
pub(super) struct CodeTracker {
    /// The open fence: its character and length.
    fence: Option<(char, usize)>,
    /// The length of the backticks that began the code in this line.
    span: Option<usize>,
    run: Run,
    /// Whether only white space and quote marks stand before this in its line.
    is_line_start: bool,
}

/// The backticks or tildes that stand before the next character.
#[derive(Debug, Clone, Copy, Default)]
struct Run {
    mark: char,
    length: usize,
    is_first: bool,
}

/// The fewest characters of a fence.
const MIN_FENCE: usize = 3;

impl Default for CodeTracker {
    fn default() -> Self {
        Self {
            fence: None,
            span: None,
            run: Run::default(),
            is_line_start: true,
        }
    }
}

impl CodeTracker {
    pub(super) fn push(&mut self, c: char) {
        let is_mark = c == '`' || c == '~';
        if is_mark && self.run.length > 0 && self.run.mark == c {
            self.run.length += 1;
            return;
        }
        self.end_run();
        if is_mark {
            self.run = Run {
                mark: c,
                length: 1,
                is_first: self.is_line_start,
            };
        }
        if c == '\n' {
            self.span = None;
        }
        self.is_line_start = c == '\n' || (self.is_line_start && matches!(c, ' ' | '\t' | '>'));
    }

    /// Whether the next character is in code, unless it is a backtick or a tilde.
    pub(super) fn is_in_code(&self) -> bool {
        self.fence.is_some() || self.span.is_some()
    }

    fn end_run(&mut self) {
        let Run {
            mark,
            length,
            is_first,
        } = std::mem::take(&mut self.run);
        if length == 0 {
            return;
        }
        if is_first && length >= MIN_FENCE {
            self.fence = match self.fence {
                None => Some((mark, length)),
                Some((open, shortest)) if open == mark && length >= shortest => None,
                other => other,
            };
        } else if mark == '`' && self.fence.is_none() {
            self.span = match self.span {
                None => Some(length),
                Some(open) if open == length => None,
                other => other,
            };
        }
    }
}
