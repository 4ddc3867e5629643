//! Where a data URI begins and ends: `data:image/png;base64,` and what it holds.

use super::context::UriContext;

/// The scheme, in lower case.
const SCHEME: &[u8] = b"data:";
/// The longest header that is looked at, scheme and comma included, in bytes.
const MAX_HEADER_BYTES: usize = 200;
/// The top-level media types (IANA). Words that look like a header otherwise are no data URI.
const TOP_LEVEL_TYPES: [&str; 8] = [
    "application",
    "audio",
    "font",
    "image",
    "message",
    "model",
    "text",
    "video",
];
/// Base64 that is wrapped has lines of at least so many characters; a shorter last line counts if it ends with padding or with the link.
const MIN_WRAPPED_LINE: usize = 40;
/// The most white space and quote marks between two lines of wrapped Base64, in bytes.
const MAX_WRAP_BYTES: usize = 16;

/// What may be the beginning of a data URI.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    /// Where it begins in the text that is held back.
    pub(super) start: usize,
    bytes: usize,
}

/// What a further character makes of a [`Candidate`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CandidateStep {
    MayBe,
    /// The header is complete.
    Header,
    IsNot,
}

impl Candidate {
    /// The longest beginning of a data URI that `text` ends with, and that does not stand within a word.
    pub(super) fn at_end_of(text: &str, before: Option<char>) -> Option<Self> {
        (1..=SCHEME.len().min(text.len())).rev().find_map(|bytes| {
            let start = text.len() - bytes;
            if !text.as_bytes()[start..].eq_ignore_ascii_case(&SCHEME[..bytes]) {
                return None;
            }
            let before = text[..start].chars().next_back().or(before);
            (!before.is_some_and(char::is_alphanumeric)).then_some(Self { start, bytes })
        })
    }

    /// Whether one can begin with this byte.
    pub(super) fn may_begin(byte: u8) -> bool {
        byte.eq_ignore_ascii_case(&SCHEME[0])
    }

    pub(super) fn push(&mut self, c: char) -> CandidateStep {
        let at = self.bytes;
        self.bytes += c.len_utf8();
        let goes_on = match SCHEME.get(at) {
            Some(expected) => c.eq_ignore_ascii_case(&char::from(*expected)),
            None if c == ',' => return CandidateStep::Header,
            None if at == SCHEME.len() => c.is_ascii_alphanumeric() || c == ';',
            None => {
                let is_header = c.is_ascii_alphanumeric() || "/;=.+-_!#$&^*%".contains(c);
                is_header && self.bytes <= MAX_HEADER_BYTES
            }
        };
        if goes_on {
            CandidateStep::MayBe
        } else {
            CandidateStep::IsNot
        }
    }
}

/// Reads a data URI from its comma on.
#[derive(Debug)]
pub(super) struct UriReader {
    bytes: usize,
    is_base64: bool,
    is_picture: bool,
    /// Characters of Base64 in this line.
    line: usize,
    /// Open parentheses.
    depth: usize,
    /// A line end and what follows it, until it is known whether the Base64 goes on.
    wrap: String,
    /// How much of it is Base64.
    wrap_run: usize,
}

/// What a further character is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum UriStep {
    /// A part of the URI, or one that may be.
    Inside,
    /// The URI has ended before this text.
    Ended(String),
}

impl UriReader {
    /// `header`: from the scheme to the comma. `None` if it is none of a data URI.
    pub(super) fn begin(header: &str) -> Option<Self> {
        let media_type = header.get(SCHEME.len()..)?.strip_suffix(',')?;
        let (name, parameters) = media_type.split_once(';').unwrap_or((media_type, ""));
        let last = parameters.rsplit(';').next().unwrap_or_default();
        let is_base64 = last.eq_ignore_ascii_case("base64");
        let top_level = name.split_once('/').map_or("", |(top_level, _)| top_level);
        let is_known = TOP_LEVEL_TYPES
            .iter()
            .any(|known| top_level.eq_ignore_ascii_case(known));
        if !is_base64 && !is_known {
            return None;
        }
        Some(Self {
            bytes: header.len(),
            is_base64,
            is_picture: top_level.eq_ignore_ascii_case("image"),
            line: 0,
            depth: 0,
            wrap: String::new(),
            wrap_run: 0,
        })
    }

    /// Its length so far.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_picture(&self) -> bool {
        self.is_picture
    }

    pub(super) fn push(&mut self, c: char, context: &UriContext) -> UriStep {
        if !self.wrap.is_empty() {
            match self.push_wrapped(c, context) {
                Some(step) => return step,
                None => self.join_wrapped(),
            }
        }
        let is_wrap = self.is_base64 && self.line >= MIN_WRAPPED_LINE && matches!(c, '\n' | '\r');
        if is_wrap {
            self.wrap.push(c);
            return UriStep::Inside;
        }
        let inside = if self.is_base64 {
            is_base64(c)
        } else {
            self.is_inside(c, context)
        };
        if !inside {
            return UriStep::Ended(c.to_string());
        }
        self.bytes += c.len_utf8();
        self.line += 1;
        UriStep::Inside
    }

    /// The text has ended; what is held of it belongs behind the URI.
    pub(super) fn finish(&mut self) -> String {
        if self.wrap.ends_with('=') {
            self.join_wrapped();
        }
        std::mem::take(&mut self.wrap)
    }

    /// A character behind a line end; `None`: the lines are of one URI, and the character is what comes next.
    fn push_wrapped(&mut self, c: char, context: &UriContext) -> Option<UriStep> {
        let is_between = self.wrap_run == 0
            && self.wrap.len() < MAX_WRAP_BYTES
            && (c.is_ascii_whitespace() || c == '>')
            && !context.is_closed_by(c);
        if is_base64(c) {
            self.wrap.push(c);
            self.wrap_run += 1;
            if self.wrap_run >= MIN_WRAPPED_LINE {
                self.join_wrapped();
            }
            return Some(UriStep::Inside);
        }
        if is_between {
            self.wrap.push(c);
            return Some(UriStep::Inside);
        }
        let is_last_line =
            self.wrap_run > 0 && (self.wrap.ends_with('=') || context.is_closed_by(c));
        if is_last_line {
            return None;
        }
        let mut behind = std::mem::take(&mut self.wrap);
        behind.push(c);
        Some(UriStep::Ended(behind))
    }

    fn join_wrapped(&mut self) {
        self.bytes += self.wrap.len();
        self.line = self.wrap_run;
        self.wrap.clear();
        self.wrap_run = 0;
    }

    /// Whether a character belongs to a URI that is not Base64. One in quotes may hold anything but its quote and a line end.
    fn is_inside(&mut self, c: char, context: &UriContext) -> bool {
        if let Some(quote) = context.quote() {
            return c != quote && c != '\n';
        }
        match c {
            '(' => self.depth += 1,
            ')' if self.depth == 0 => return false,
            ')' => self.depth -= 1,
            _ => {}
        }
        c.is_ascii_graphic() && !matches!(c, '"' | '`' | '<' | '>')
    }
}

/// Base64 of either alphabet, also percent-encoded.
fn is_base64(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '-' | '_' | '%')
}
