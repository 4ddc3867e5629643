//! The parts of an answer as a dialect reads them: pieces of text joined, reasoning taken out, each source named once.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};

use url::Url;

use super::reasoning::{ReasoningFilter, Visible};
use super::spoken_answer::SpokenAnswer;
use super::text_joiner::TextJoiner;
use crate::assistant::{
    AnswerPart, Citation, OfferedFile, Progress, QuestionProgress, TokenUsage, Truncation,
};

/// The most sources that are read of one answer.
const MAX_CITATIONS: usize = 100;
/// The longest address of a source, in bytes.
const MAX_URL_BYTES: usize = 2048;

/// What was read of one answer.
#[derive(Debug, Default)]
pub(super) struct AnswerParts {
    queue: VecDeque<AnswerPart>,
    joiner: TextJoiner,
    reasoning: ReasoningFilter,
    /// In their order.
    files: Vec<OfferedFile>,
    /// How many of them are in their place.
    placed_files: usize,
    known_files: HashSet<u64>,
    audio: SpokenAnswer,
    hasher: RandomState,
    known_urls: HashSet<String>,
    /// Of the list of sources that came last.
    last_list: Option<u64>,
    usage: Option<TokenUsage>,
    progress: WorkDone,
    text: TextState,
    /// A paragraph ends before the next text.
    needs_break: bool,
    /// Somebody is shown the reasoning before the answer.
    pub(super) wants_progress: bool,
    thoughts: TextJoiner,
}

/// What the assistant has done so far.
#[derive(Debug, Default)]
struct WorkDone {
    has_said_something: bool,
    has_called_tool: bool,
    has_thought: bool,
}

/// The visible text, as far as it decides about what follows.
#[derive(Debug, Default)]
struct TextState {
    /// Anything but white space.
    has_text: bool,
    is_empty_line: bool,
    /// Text that was handed on was taken back, and nothing came instead yet.
    is_taken_back: bool,
}

impl AnswerParts {
    /// The next part that can be handed on.
    pub(super) fn pop(&mut self) -> Option<AnswerPart> {
        self.queue.pop_front()
    }

    /// A piece of text as the assistant wrote it, in bytes that need not be whole characters.
    pub(super) fn push_text(&mut self, piece: &[u8]) {
        let text = self.joiner.push(piece);
        self.read_text(&text);
    }

    fn read_text(&mut self, text: &str) {
        let visible = self.reasoning.read(text);
        self.show(visible);
    }

    /// A file; once for each `content` of one.
    pub(super) fn push_file(&mut self, file: OfferedFile, content: &[u8]) {
        if self.known_files.insert(self.hasher.hash_one(content)) {
            self.files.push(file);
            self.place_files();
        }
    }

    /// A piece of the answer as speech, in Base64.
    pub(super) fn push_audio(&mut self, base64: &[u8]) {
        self.audio.push(base64);
    }

    /// What comes now is another message: it begins a paragraph.
    pub(super) fn begin_message(&mut self) {
        self.needs_break |= self.text.has_text;
    }

    /// All text so far is replaced by what comes now.
    pub(super) fn restart(&mut self) {
        self.joiner = TextJoiner::default();
        self.reasoning = ReasoningFilter::default();
        self.take_back();
    }

    pub(super) fn push_citation(&mut self, url: &str, title: Option<String>) {
        let is_link = url.len() <= MAX_URL_BYTES
            && Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        if is_link
            && self.known_urls.len() < MAX_CITATIONS
            && self.known_urls.insert(url.to_owned())
        {
            let url = url.to_owned();
            self.queue
                .push_back(AnswerPart::Citation(Citation { url, title }));
        }
    }

    /// A list to whose entries the text refers by their number, so that each keeps its place, whatever it is. Servers repeat it with every chunk.
    pub(super) fn push_citation_list(&mut self, list: Vec<Citation>) {
        let names: Vec<&str> = list.iter().map(|citation| citation.url.as_str()).collect();
        let hash = self.hasher.hash_one(names);
        if self.last_list.replace(hash) != Some(hash) {
            let listed = list.into_iter().take(MAX_CITATIONS);
            self.queue.extend(listed.map(AnswerPart::Citation));
        }
    }

    pub(super) fn push_usage(&mut self, usage: TokenUsage) {
        if self.usage != Some(usage) {
            self.usage = Some(usage);
            self.queue.push_back(AnswerPart::Usage(usage));
        }
    }

    pub(super) fn note_tool_call(&mut self) {
        self.progress.has_called_tool = true;
    }

    pub(super) fn note_reasoning(&mut self) {
        self.progress.has_thought = true;
    }

    /// A piece of the model's reasoning that came beside its text, in bytes that need not be whole characters.
    pub(super) fn push_reasoning(&mut self, piece: &[u8]) {
        self.note_reasoning();
        if !self.wants_progress || self.text.has_text {
            return;
        }
        let thought = self.thoughts.push(piece);
        if let Some(AnswerPart::Progress(Progress::Thought(last))) = self.queue.back_mut() {
            last.push_str(&thought);
        } else if !thought.is_empty() {
            let thought = Progress::Thought(thought.into_owned());
            self.queue.push_back(AnswerPart::Progress(thought));
        }
    }

    pub(super) fn has_called_tool(&self) -> bool {
        self.progress.has_called_tool
    }

    /// Whether there is anything that people see.
    pub(super) fn has_text(&self) -> bool {
        self.text.has_text
    }

    /// What may have happened by now.
    pub(super) fn progress(&self) -> QuestionProgress {
        if self.progress.has_said_something || self.progress.has_called_tool {
            QuestionProgress::Begun
        } else if self.progress.has_thought || self.reasoning.found_reasoning() {
            QuestionProgress::Uncertain
        } else {
            QuestionProgress::NotTaken
        }
    }

    /// Nothing follows. `is_complete`: because the assistant has ended the answer.
    pub(super) fn finish(&mut self, is_complete: bool) {
        if let Some(half) = self.joiner.finish() {
            self.read_text(half.encode_utf8(&mut [0; 4]));
        }
        let visible = self.reasoning.finish(is_complete);
        self.show(visible);
        self.files.extend(self.audio.finish(self.text.has_text));
        self.place_files_now();
        if std::mem::take(&mut self.text.is_taken_back) {
            self.queue.push_back(AnswerPart::Rewrite(String::new()));
        }
    }

    pub(super) fn truncate(&mut self, truncation: Truncation) {
        self.queue.push_back(AnswerPart::Truncated(truncation));
    }

    fn show(&mut self, visible: Vec<Visible<'_>>) {
        for part in visible {
            match part {
                Visible::Text(text) => {
                    self.place_files();
                    self.append(&text);
                }
                Visible::TakeBack => self.take_back(),
            }
        }
    }

    /// Hands files on in their place, unless it is hidden what stands around them.
    fn place_files(&mut self) {
        if !self.reasoning.is_hiding() {
            self.place_files_now();
        }
    }

    fn place_files_now(&mut self) {
        while let Some(file) = self.files.get(self.placed_files).cloned() {
            self.placed_files += 1;
            if std::mem::take(&mut self.text.is_taken_back) {
                self.queue.push_back(AnswerPart::Rewrite(String::new()));
            }
            self.text.has_text = true;
            self.progress.has_said_something = true;
            // It is a paragraph of its own.
            self.needs_break = false;
            self.queue.push_back(AnswerPart::File(file));
        }
    }

    fn append(&mut self, text: &str) {
        let has_words = !text.trim().is_empty();
        let break_before = if std::mem::take(&mut self.needs_break) && has_words {
            if text.starts_with('\n') || self.text.is_empty_line {
                "\n"
            } else {
                "\n\n"
            }
        } else {
            ""
        };
        self.text.has_text |= has_words;
        self.progress.has_said_something |= has_words;
        self.text.is_empty_line = text.ends_with('\n');
        if std::mem::take(&mut self.text.is_taken_back) {
            self.queue.push_back(AnswerPart::Rewrite(text.to_owned()));
        } else if let Some(AnswerPart::Text(last) | AnswerPart::Rewrite(last)) =
            self.queue.back_mut()
        {
            last.push_str(break_before);
            last.push_str(text);
        } else {
            let text = break_before.to_owned() + text;
            self.queue.push_back(AnswerPart::Text(text));
        }
    }

    fn take_back(&mut self) {
        self.text.is_taken_back |= self.text.has_text;
        self.text.has_text = false;
        self.needs_break = false;
        self.placed_files = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(parts: &mut AnswerParts) -> Vec<AnswerPart> {
        std::iter::from_fn(|| parts.pop()).collect()
    }

    #[test]
    fn text_that_was_shown_as_answer_is_taken_back() {
        let mut parts = AnswerParts::default();
        parts.push_text(b"hm");
        assert_eq!(collect(&mut parts), [AnswerPart::Text("hm".into())]);
        parts.push_text(b"</think>\n");
        assert_eq!(collect(&mut parts), []);
        parts.push_text(b"Hi");
        assert_eq!(collect(&mut parts), [AnswerPart::Rewrite("Hi".into())]);
    }

    #[test]
    fn nothing_is_left_of_reasoning_at_the_end() {
        let mut parts = AnswerParts::default();
        parts.push_text(b"hm");
        collect(&mut parts);
        parts.push_text(b"</think>");
        parts.finish(false);
        assert_eq!(collect(&mut parts), [AnswerPart::Rewrite(String::new())]);
        assert!(!parts.has_text());
    }

    fn file(name: &str) -> OfferedFile {
        OfferedFile::from_base64(name, "image/png", b"YWJj")
    }

    #[test]
    fn files_stand_among_the_text_and_once() {
        let mut parts = AnswerParts::default();
        parts.push_text(b"See:");
        parts.push_file(file("a"), b"1");
        parts.push_file(file("a"), b"1");
        parts.push_text(b"Nice?");
        parts.push_file(file("b"), b"2");
        parts.finish(true);
        let expected = [
            AnswerPart::Text("See:".into()),
            AnswerPart::File(file("a")),
            AnswerPart::Text("Nice?".into()),
            AnswerPart::File(file("b")),
        ];
        assert_eq!(collect(&mut parts), expected);
    }

    #[test]
    fn files_within_reasoning_are_shown() {
        let mut parts = AnswerParts::default();
        parts.push_text(b"<think>");
        parts.push_file(file("a"), b"1");
        assert_eq!(collect(&mut parts), []);
        parts.finish(false);
        assert_eq!(collect(&mut parts), [AnswerPart::File(file("a"))]);
    }

    #[test]
    fn files_come_again_where_the_text_is_taken_back() {
        let mut parts = AnswerParts::default();
        parts.push_text(b"Draft");
        parts.push_file(file("a"), b"1");
        parts.restart();
        parts.push_text(b"Final");
        let taken_back = [
            AnswerPart::Text("Draft".into()),
            AnswerPart::File(file("a")),
            AnswerPart::Rewrite(String::new()),
            AnswerPart::File(file("a")),
            AnswerPart::Text("Final".into()),
        ];
        assert_eq!(collect(&mut parts), taken_back);
    }

    #[test]
    fn sources_are_links_and_named_once() {
        let mut parts = AnswerParts::default();
        for url in [
            "https://a.example/x",
            "javascript:alert(1)",
            "https://a.example/x",
            "no url",
        ] {
            parts.push_citation(url, None);
        }
        let citation = Citation {
            url: "https://a.example/x".into(),
            title: None,
        };
        assert_eq!(collect(&mut parts), [AnswerPart::Citation(citation)]);
    }
}
