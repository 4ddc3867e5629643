//! Whether a place in Markdown is code: an answer may show the tags of reasoning there, and means them as text.

/// Follows Markdown byte by byte, as far as code spans and fences go. A span that its line does not close is none.
#[derive(Debug)]
pub(super) struct CodeTracker {
    /// The fence that is open: its sign and its length.
    fence: Option<(u8, usize)>,
    /// The fence was opened on this line: another run of its sign makes it a span.
    fence_is_on_this_line: bool,
    /// The backticks that opened the span.
    span: Option<usize>,
    /// The run of backticks or tildes that is being read.
    run: usize,
    run_sign: u8,
    run_begins_line: bool,
    /// Nothing but white space and quote signs so far.
    line_is_blank: bool,
}

impl Default for CodeTracker {
    fn default() -> Self {
        Self {
            fence: None,
            fence_is_on_this_line: false,
            span: None,
            run: 0,
            run_sign: 0,
            run_begins_line: false,
            line_is_blank: true,
        }
    }
}

impl CodeTracker {
    pub(super) fn read(&mut self, text: &str) {
        for byte in text.bytes() {
            if self.run > 0 && byte == self.run_sign {
                self.run += 1;
                continue;
            }
            self.end_run(byte);
            match byte {
                b'`' | b'~' => {
                    self.run = 1;
                    self.run_sign = byte;
                    self.run_begins_line = self.line_is_blank;
                    self.line_is_blank = false;
                }
                b'\n' => {
                    self.span = None;
                    self.fence_is_on_this_line = false;
                    self.line_is_blank = true;
                }
                b' ' | b'\t' | b'\r' | b'>' => {}
                _ => self.line_is_blank = false,
            }
        }
    }

    /// Whether what follows is code, if it begins with neither backtick nor tilde.
    pub(super) fn is_code(&mut self) -> bool {
        self.end_run(b'<');
        self.fence.is_some() || self.span.is_some()
    }

    /// Whether the line holds nothing but white space so far.
    pub(super) fn line_is_blank(&self) -> bool {
        self.line_is_blank
    }

    fn end_run(&mut self, next: u8) {
        let length = std::mem::take(&mut self.run);
        if length == 0 {
            return;
        }
        let sign = self.run_sign;
        match self.fence {
            Some((open, _)) if open == sign && self.fence_is_on_this_line => self.fence = None,
            Some((open, least)) => {
                let ends = self.run_begins_line && next.is_ascii_whitespace();
                if open == sign && length >= least && ends {
                    self.fence = None;
                }
            }
            None if self.run_begins_line && length >= 3 => {
                self.fence = Some((sign, length));
                self.fence_is_on_this_line = true;
            }
            None if sign == b'`' => match self.span {
                None => self.span = Some(length),
                Some(open) if open == length => self.span = None,
                Some(_) => {}
            },
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("a ", false)]
    #[case("the `", true)]
    #[case("the `a` ", false)]
    #[case("the ``a` ", true)]
    #[case("it`s\n", false)]
    #[case("```\n", true)]
    #[case("> ```xml\na\n", true)]
    #[case("```\na\n```\n", false)]
    #[case("```\na\n```b\n", true)]
    #[case("````\n```\n", true)]
    #[case("~~~\n```\n", true)]
    #[case("```a``` b ", false)]
    #[case("a ```\n", false)]
    fn code_is_what_markdown_calls_code(#[case] text: &str, #[case] is_code: bool) {
        let mut whole = CodeTracker::default();
        whole.read(text);
        assert_eq!(whole.is_code(), is_code);
        let mut in_pieces = CodeTracker::default();
        text.split_inclusive(|_| true)
            .for_each(|c| in_pieces.read(c));
        assert_eq!(in_pieces.is_code(), is_code);
    }
}
