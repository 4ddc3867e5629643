//! Takes data URIs (RFC 2397) out of an answer while it comes: what stands for a picture or a file in a chat of text is its name.
//!
//! A filter over pieces of text: however the text is cut into pieces, the result is the same. What may be the beginning of a data URI, of a link to
//! one, or of a tag with one is held back, at most [`MAX_HELD_BYTES`]; what a data URI holds is dropped as it comes. Each byte is looked at a
//! bounded number of times.

mod code_tracker;
mod context;
mod files;
mod uri;

use crate::assistant::{FileContent, OfferedFile, last_segment};
use code_tracker::CodeTracker;
pub(super) use context::PlaceholderWords;
use context::{Openers, UriContext};
pub(crate) use files::AnswerFile;
use files::FileCollector;
use uri::{Candidate, CandidateStep, UriReader, UriStep};

/// The most that is held back before it is known what it is, in bytes.
const MAX_HELD_BYTES: usize = 512;
/// A data URI of at most so many bytes stays as it is in code, where it is an example.
const MAX_EXAMPLE_BYTES: usize = 200;
/// The most that belongs to a link or a tag behind its URI, in bytes.
const MAX_TAIL_BYTES: usize = 256;

/// See the module.
#[derive(Debug)]
pub(super) struct DataUriFilter<'a> {
    words: PlaceholderWords<'a>,
    /// What may still become part of what is taken out.
    held: String,
    state: State,
    openers: Openers,
    code: CodeTracker,
    /// The last character that was let through.
    last: Option<char>,
    /// `None`: what data URIs hold is dropped.
    files: Option<FileCollector>,
}

#[derive(Debug)]
enum State {
    /// Text, at whose end a data URI may begin.
    Text(Option<Candidate>),
    /// Within a data URI. `held` is what stands before it and, while it is short enough for an example, itself.
    Uri(UriContext, UriReader),
    /// Behind the data URI of a link or a tag: up to its end everything belongs to it. `held` is what came of it.
    Tail(UriContext),
}

impl<'a> DataUriFilter<'a> {
    pub(super) fn new(words: PlaceholderWords<'a>) -> Self {
        Self {
            words,
            held: String::new(),
            state: State::Text(None),
            openers: Openers::new(true),
            code: CodeTracker::default(),
            last: None,
            files: None,
        }
    }

    /// With the files that the data URIs hold, of at most so many bytes each, if any are wanted.
    pub(super) fn collecting_files(self, max_bytes: Option<usize>) -> Self {
        Self {
            files: max_bytes.map(FileCollector::new),
            ..self
        }
    }

    /// The files that were found, in their order. Their places are those in `out`, if that has held all that was let through.
    pub(super) fn into_files(self) -> Vec<AnswerFile> {
        self.files.map_or_else(Vec::new, FileCollector::into_files)
    }

    /// The next piece of the text; appends to `out` what can be let through by now.
    pub(super) fn push(&mut self, text: &str, out: &mut String) {
        let mut rest = text;
        while !rest.is_empty() {
            let plain = self.plain_length(rest);
            if plain > 0 {
                self.let_through(&rest[..plain], out);
            }
            rest = &rest[plain..];
            if let Some(c) = rest.chars().next() {
                self.read(&rest[..c.len_utf8()], out);
                rest = &rest[c.len_utf8()..];
            }
        }
    }

    /// A file stands here, in a paragraph of its own.
    pub(super) fn push_file(&mut self, file: OfferedFile, out: &mut String) {
        self.finish(out);
        self.openers = Openers::new(true);
        let mut start = out.len();
        if !file.repeats_text {
            if start > 0 {
                self.let_through("\n\n", out);
                start = out.len();
            }
            let shown = file_words(&file, self.words);
            self.emit(&shown, out);
        }
        let placeholder = start..out.len();
        if !placeholder.is_empty() {
            self.let_through("\n\n", out);
        }
        if let Some(files) = &mut self.files {
            files.offer(placeholder, file);
        }
    }

    /// How much of `text` comes before anything that could stand around a data URI or begin one, if nothing is held back.
    fn plain_length(&self, text: &str) -> usize {
        let is_plain = matches!(self.state, State::Text(None))
            && self.held.is_empty()
            && !self.openers.is_open();
        if !is_plain {
            return 0;
        }
        let may_begin = |byte| Openers::may_open(byte) || Candidate::may_begin(byte);
        text.bytes().position(may_begin).unwrap_or(text.len())
    }

    fn let_through(&mut self, plain: &str, out: &mut String) {
        plain.chars().for_each(|c| self.code.push(c));
        self.openers.pass(plain);
        self.emit(plain, out);
    }

    /// The text has ended; appends what was still held back.
    pub(super) fn finish(&mut self, out: &mut String) {
        loop {
            match std::mem::replace(&mut self.state, State::Text(None)) {
                State::Text(_) => {
                    let held = std::mem::take(&mut self.held);
                    self.emit(&held, out);
                    return;
                }
                State::Uri(context, mut uri) => {
                    let rest = uri.finish();
                    self.end_uri(context, &uri, out);
                    self.read(&rest, out);
                }
                State::Tail(context) => {
                    let tail = self.abandon_tail(&context, out);
                    self.read(&tail, out);
                }
            }
        }
    }

    fn read(&mut self, text: &str, out: &mut String) {
        // What has to be read again, its end first.
        let mut again: Vec<char> = Vec::new();
        let mut next = text.chars();
        while let Some(c) = again.pop().or_else(|| next.next()) {
            if let Some(rest) = self.step(c, out) {
                again.extend(rest.chars().rev());
            }
        }
    }

    /// Reads a character; returns what has to be read anew before the next one.
    fn step(&mut self, c: char, out: &mut String) -> Option<String> {
        match std::mem::replace(&mut self.state, State::Text(None)) {
            State::Text(candidate) => {
                self.step_text(c, candidate, out);
                None
            }
            State::Uri(context, mut uri) => match uri.push(c, &context) {
                UriStep::Inside => {
                    if let Some(files) = &mut self.files {
                        files.push(c);
                    }
                    if self.held.len() < context.uri_start() + MAX_EXAMPLE_BYTES {
                        self.held.push(c);
                    }
                    self.state = State::Uri(context, uri);
                    None
                }
                UriStep::Ended(behind) => {
                    self.end_uri(context, &uri, out);
                    Some(behind)
                }
            },
            State::Tail(context) => self.step_tail(c, context, out),
        }
    }

    fn step_text(&mut self, c: char, candidate: Option<Candidate>, out: &mut String) {
        self.code.push(c);
        self.held.push(c);
        let before = self.last;
        let mut candidate = candidate;
        let step = candidate.as_mut().map(|candidate| candidate.push(c));
        if let (Some(CandidateStep::Header), Some(Candidate { start, .. })) = (step, candidate)
            && let Some(uri) = UriReader::begin(&self.held[start..])
        {
            let at_line_start = self.openers.opened_at_line_start();
            let context = UriContext::of(&self.held[..start], at_line_start);
            self.openers = Openers::new(false);
            if let Some(files) = &mut self.files {
                files.begin(&self.held[start..]);
            }
            self.state = State::Uri(context, uri);
            return;
        }
        if step != Some(CandidateStep::MayBe) {
            candidate = Candidate::at_end_of(&self.held, before);
        }
        self.openers.push(c, candidate.is_some());
        if self.held.len() > MAX_HELD_BYTES {
            self.openers.close();
        }
        if !self.openers.is_open() {
            let keep = candidate.map_or(self.held.len(), |candidate| candidate.start);
            let rest = self.held.split_off(keep);
            let let_through = std::mem::replace(&mut self.held, rest);
            self.emit(&let_through, out);
            if let Some(candidate) = &mut candidate {
                candidate.start = 0;
            }
        }
        self.state = State::Text(candidate);
    }

    /// A data URI has ended.
    fn end_uri(&mut self, context: UriContext, uri: &UriReader, out: &mut String) {
        let mut held = std::mem::take(&mut self.held);
        if uri.bytes() <= MAX_EXAMPLE_BYTES && self.code.is_in_code() {
            held.truncate(context.uri_start() + uri.bytes());
            if let Some(files) = &mut self.files {
                files.discard();
            }
            self.emit(&held, out);
            return;
        }
        if let Some(files) = &mut self.files {
            files.end(uri.bytes());
        }
        let context = context.with_media_type(uri.is_picture());
        self.emit(&held[..context.start()], out);
        if context.has_tail() {
            self.state = State::Tail(context);
        } else {
            self.emit_placeholder(&context, out);
        }
    }

    fn step_tail(&mut self, c: char, mut context: UriContext, out: &mut String) -> Option<String> {
        self.held.push(c);
        match context.push_tail(c) {
            Some(true) => {
                context.read_tail(&std::mem::take(&mut self.held));
                self.emit_placeholder(&context, out);
                None
            }
            Some(false) if self.held.len() <= MAX_TAIL_BYTES => {
                self.state = State::Tail(context);
                None
            }
            _ => Some(self.abandon_tail(&context, out)),
        }
    }

    /// What was taken for the rest of a link or a tag is text.
    fn abandon_tail(&mut self, context: &UriContext, out: &mut String) -> String {
        self.emit_placeholder(context, out);
        std::mem::take(&mut self.held)
    }

    fn emit_placeholder(&mut self, context: &UriContext, out: &mut String) {
        let text = context.placeholder(self.words);
        // `[1](picture)` would be a link.
        if self.last == Some(']') {
            out.push(' ');
        }
        let start = out.len();
        self.emit(&text, out);
        if let Some(files) = &mut self.files {
            files.place(start..out.len(), context.name(), context.is_picture());
        }
    }

    fn emit(&mut self, text: &str, out: &mut String) {
        out.push_str(text);
        self.last = text.chars().next_back().or(self.last);
    }
}

/// What is shown in the place of a file: a link to it, or what it is called.
fn file_words(file: &OfferedFile, words: PlaceholderWords<'_>) -> String {
    let name = context::bounded_name(&file.name);
    match &file.content {
        FileContent::Link(address) => {
            let name = if name.is_empty() {
                context::bounded_name(last_segment(address).unwrap_or(address))
            } else {
                name
            };
            format!("[{}]({address})", without_markup(&name))
        }
        _ => words.shown(file.is_picture, &without_markup(&name)),
    }
}

/// A name that is one piece of plain text in Markdown.
fn without_markup(name: &str) -> String {
    let is_plain = |c: &char| !"[]<>`*|~\\".contains(*c);
    name.chars().filter(is_plain).collect()
}

#[cfg(test)]
mod tests;
