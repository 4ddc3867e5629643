//! Reasoning that models write into their text because their server does not take it apart. People in a chat see the answer only.
//!
//! The rule: a tag of reasoning outside of code spans and code blocks is one, wherever it stands. What stands between an opening and a closing tag is
//! reasoning; so is everything before a closing tag that nothing has opened (servers eat the opening one), which may have been shown by then and is
//! taken back; so is everything behind an opening tag that nothing closes, unless it stands in the middle of a sentence, as a tag does that is talked about.
//! Within code tags are text. Channels of gpt-oss other than `final` are reasoning, too.

mod code_tracker;
mod marker;

use std::borrow::Cow;

use code_tracker::CodeTracker;
use marker::{Found, Marker};

/// How gpt-oss's channels look where a server has removed the tokens around their names.
const BARE_ANALYSIS: &str = "analysis";
const BARE_LENGTH: usize = BARE_ANALYSIS.len();
const BARE_FINAL: &str = "assistantfinal";

/// The longest header of a message (gpt-oss: role, recipient, channel). What is longer is none.
const LONGEST_HEADER: usize = 160;

/// What becomes of a piece.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Visible<'a> {
    /// More of the answer.
    Text(Cow<'a, str>),
    /// All text so far was reasoning.
    TakeBack,
}

/// A filter over the pieces of one answer. Reads each byte once; what may be the beginning of a marker is held back.
#[derive(Debug, Default)]
pub(super) struct ReasoningFilter {
    held: String,
    state: State,
    shown: Shown,
    markdown: CodeTracker,
    found_reasoning: bool,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Answer,
    /// Within tags. `mention` is the text since the opening one, if that may be one that is talked about.
    Thought { mention: Option<String> },
    /// Within a channel that is not for people.
    HiddenChannel,
    /// Before a message, with its first token.
    Header(String),
}

/// What was shown so far, as far as it decides about what follows.
#[derive(Debug, Default)]
struct Shown {
    /// Anything but white space.
    has_text: bool,
    /// Within the channel of the answer: not to be taken back when that channel begins again.
    is_final: bool,
    /// White space at the beginning, which reasoning may follow.
    leading: String,
    /// White space is left out until text comes.
    trims: bool,
    last: Option<char>,
    beginning: Beginning,
}

/// Whether the text begins with the name of gpt-oss's channel of reasoning.
#[derive(Debug, PartialEq, Eq)]
enum Beginning {
    /// So many of its letters were read.
    Letters(usize),
    Other,
}

impl Default for Beginning {
    fn default() -> Self {
        Self::Letters(0)
    }
}

impl Beginning {
    fn read(&mut self, text: &str) {
        for byte in text.bytes() {
            match self {
                Self::Letters(read @ ..BARE_LENGTH) if BARE_ANALYSIS.as_bytes()[*read] == byte => {
                    *read += 1;
                }
                Self::Letters(..BARE_LENGTH) => *self = Self::Other,
                Self::Letters(_) | Self::Other => return,
            }
        }
    }
}

impl ReasoningFilter {
    /// What may be shown after this piece.
    pub(super) fn read<'a>(&mut self, piece: &'a str) -> Vec<Visible<'a>> {
        let mut out = Vec::new();
        if piece.is_empty() {
            return out;
        }
        if self.is_plain(piece) {
            self.markdown.read(piece);
            self.shown.last = piece.chars().next_back();
            out.push(Visible::Text(Cow::Borrowed(piece)));
            return out;
        }
        let text = std::mem::take(&mut self.held) + piece;
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let used = match &self.state {
                State::Answer => self.read_answer(rest, &mut out),
                State::Thought { .. } => self.read_thought(rest),
                State::HiddenChannel => self.read_hidden_channel(rest),
                State::Header(_) => self.read_header(rest, &mut out),
            };
            if used == 0 {
                rest.clone_into(&mut self.held);
                break;
            }
            rest = &rest[used..];
        }
        out
    }

    /// Whether all of a piece is more of the answer, as nearly every piece is.
    fn is_plain(&self, piece: &str) -> bool {
        matches!(self.state, State::Answer)
            && self.held.is_empty()
            && self.shown.has_text
            && !self.shown.trims
            && self.shown.beginning == Beginning::Other
            && !piece.bytes().any(marker::may_begin)
    }

    /// What was held back and turns out to be the answer. `is_complete`: the assistant has ended it, so that a tag that nothing closes was talked about
    /// if it looks so.
    pub(super) fn finish(&mut self, is_complete: bool) -> Vec<Visible<'static>> {
        let mut out = Vec::new();
        let held = std::mem::take(&mut self.held);
        match std::mem::take(&mut self.state) {
            State::Answer => {
                let is_mention = is_complete || !matches!(marker::find(&held), Found::Marker(..));
                if is_mention {
                    self.show(&held, &mut out);
                }
            }
            State::Thought {
                mention: Some(text),
            } if is_complete => {
                self.show(&(text + &held), &mut out);
            }
            State::Header(header) if is_complete => self.show(&(header + &held), &mut out),
            State::Thought { .. } | State::HiddenChannel | State::Header(_) => {}
        }
        if !self.shown.trims {
            let leading = std::mem::take(&mut self.shown.leading);
            out.extend((!leading.is_empty()).then_some(Visible::Text(leading.into())));
        }
        out
    }

    /// Whether what comes now is hidden.
    pub(super) fn is_hiding(&self) -> bool {
        !matches!(self.state, State::Answer)
    }

    /// Whether there was any reasoning.
    pub(super) fn found_reasoning(&self) -> bool {
        self.found_reasoning
    }

    /// Reads up to the next marker and the marker. How much was used of `text`; 0 if more must come first.
    fn read_answer(&mut self, text: &str, out: &mut Vec<Visible<'_>>) -> usize {
        let watches_final = self.shown.beginning == Beginning::Letters(BARE_LENGTH);
        let may_begin = |b: u8| marker::may_begin(b) || (watches_final && b == b'a');
        let mut at = text.bytes().position(may_begin).unwrap_or(text.len());
        // The first letters decide what is watched for.
        if let Beginning::Letters(read @ ..BARE_LENGTH) = self.shown.beginning {
            let first = text.chars().next().map_or(0, char::len_utf8);
            at = at.min(text.floor_char_boundary(BARE_LENGTH - read).max(first));
        }
        if at > 0 {
            self.show(&text[..at], out);
            return at;
        }
        if watches_final && text.as_bytes()[0] == b'a' {
            return self.read_bare_final(text, out);
        }
        let found = if self.markdown.is_code() {
            Found::Text
        } else {
            marker::find(text)
        };
        match found {
            Found::Text => {
                let mut length = text.chars().next().map_or(1, char::len_utf8);
                if self.shown.beginning == Beginning::Other {
                    let behind = text[length..].bytes();
                    length += behind.take_while(|b| !marker::may_begin(*b)).count();
                }
                self.show(&text[..length], out);
                length
            }
            Found::Partial => 0,
            Found::Marker(Marker::Open, length) => {
                let next = text[length..].chars().next();
                // Whether the tag is talked about is known by what follows it.
                if self.may_be_mentioned() && next.is_none() {
                    return 0;
                }
                let is_mention = self.may_be_mentioned() && next.is_some_and(ends_mention);
                self.open_thought(is_mention.then(|| text[..length].to_owned()));
                length
            }
            Found::Marker(Marker::Close, length) => {
                self.take_back(out);
                length
            }
            Found::Marker(Marker::Header, length) => {
                self.state = State::Header(text[..length].to_owned());
                length
            }
            Found::Marker(Marker::Message | Marker::End | Marker::Silent, length) => length,
        }
    }

    /// `assistantfinal` in an answer that began with `analysis`.
    fn read_bare_final(&mut self, text: &str, out: &mut Vec<Visible<'_>>) -> usize {
        if text.starts_with(BARE_FINAL) {
            self.take_back(out);
            BARE_FINAL.len()
        } else if BARE_FINAL.starts_with(text) {
            0
        } else {
            self.show(&text[..1], out);
            1
        }
    }

    fn read_thought(&mut self, text: &str) -> usize {
        let at = text
            .bytes()
            .position(marker::may_begin)
            .unwrap_or(text.len());
        let found = if at > 0 {
            Found::Text
        } else {
            marker::find(text)
        };
        let (used, closes) = match found {
            Found::Partial => return 0,
            Found::Marker(marker, length) => (length, marker == Marker::Close),
            Found::Text => {
                let first = text.chars().next().map_or(1, char::len_utf8);
                (at.max(first), false)
            }
        };
        if closes {
            self.end_thought();
        } else if let State::Thought {
            mention: Some(mention),
        } = &mut self.state
        {
            mention.push_str(&text[..used]);
        }
        used
    }

    fn read_hidden_channel(&mut self, text: &str) -> usize {
        let Some(at) = text.find('<') else {
            return text.len();
        };
        if at > 0 {
            return at;
        }
        match marker::find(text) {
            Found::Partial => 0,
            Found::Marker(Marker::End, length) => {
                self.end_thought();
                length
            }
            Found::Marker(Marker::Header, length) => {
                self.state = State::Header(text[..length].to_owned());
                length
            }
            Found::Marker(_, length) => length,
            Found::Text => 1,
        }
    }

    fn read_header(&mut self, text: &str, out: &mut Vec<Visible<'_>>) -> usize {
        let State::Header(header) = &mut self.state else {
            return 0;
        };
        let at = text.find('<').unwrap_or(text.len());
        let found = if at > 0 {
            Found::Text
        } else {
            marker::find(text)
        };
        let used = match found {
            Found::Partial => return 0,
            Found::Marker(Marker::Message, length) => {
                let header = std::mem::take(header);
                self.begin_message(&header, out);
                return length;
            }
            Found::Marker(_, length) => length,
            Found::Text => at.max(1),
        };
        header.push_str(&text[..used]);
        if header.len() > LONGEST_HEADER {
            let header = std::mem::take(header);
            self.state = State::Answer;
            self.show(&header, out);
        }
        used
    }

    fn begin_message(&mut self, header: &str, out: &mut Vec<Visible<'_>>) {
        let channel = header.rsplit_once("<|channel|>").map(|(_, name)| name);
        let is_for_people = match channel {
            Some(name) => name.trim_start().starts_with("final"),
            // A tool's result, or the role alone.
            None => header.trim_end().ends_with("assistant"),
        };
        if !is_for_people {
            self.found_reasoning = true;
            self.state = State::HiddenChannel;
            return;
        }
        let was_final = self.shown.is_final;
        if channel.is_some() && !was_final {
            self.take_back(out);
        }
        self.shown.is_final = channel.is_some() || was_final;
        self.state = State::Answer;
    }

    fn open_thought(&mut self, mention: Option<String>) {
        self.found_reasoning |= mention.is_none();
        if !self.shown.has_text {
            self.shown.leading.clear();
        }
        self.state = State::Thought { mention };
    }

    fn end_thought(&mut self) {
        self.found_reasoning = true;
        self.shown.trims = self.shown.last.is_none_or(char::is_whitespace);
        self.state = State::Answer;
    }

    /// All that was shown was reasoning.
    fn take_back(&mut self, out: &mut Vec<Visible<'_>>) {
        if self.shown.has_text {
            self.found_reasoning = true;
            out.push(Visible::TakeBack);
        }
        self.shown = Shown {
            trims: true,
            is_final: self.shown.is_final,
            ..Shown::default()
        };
        self.markdown = CodeTracker::default();
        self.state = State::Answer;
    }

    fn show(&mut self, text: &str, out: &mut Vec<Visible<'_>>) {
        self.markdown.read(text);
        let shown = &mut self.shown;
        let text = if shown.trims { text.trim_start() } else { text };
        let Some(last) = text.chars().next_back() else {
            return;
        };
        shown.trims = false;
        shown.beginning.read(text);
        if shown.has_text {
            out.push(Visible::Text(text.to_owned().into()));
        } else {
            shown.leading.push_str(text);
            if text.trim().is_empty() {
                return;
            }
            shown.has_text = true;
            out.push(Visible::Text(std::mem::take(&mut shown.leading).into()));
        }
        shown.last = Some(last);
    }

    /// Whether an opening tag here may be one that is talked about: in the middle of a line, behind a space or a quote.
    fn may_be_mentioned(&self) -> bool {
        let before = self.shown.last.unwrap_or('\n');
        self.shown.has_text
            && !self.markdown.line_is_blank()
            && (before.is_whitespace() || is_quote(before))
    }
}

fn is_quote(c: char) -> bool {
    matches!(
        c,
        '"' | '\'' | '(' | '*' | '_' | '“' | '„' | '«' | '‹' | '‘'
    )
}

/// Whether a sentence goes on in this way behind a tag that is talked about.
fn ends_mention(c: char) -> bool {
    matches!(
        c,
        ' ' | '"'
            | '\''
            | ')'
            | '*'
            | '_'
            | '”'
            | '“'
            | '»'
            | '›'
            | '’'
            | '.'
            | ','
            | ';'
            | ':'
            | '?'
            | '!'
            | '/'
            | '-'
            | '–'
    )
}

#[cfg(test)]
mod tests;
