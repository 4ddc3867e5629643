//! What a preview can show: the text of the answer so far and, before it begins, what the assistant says of its work.

use crate::assistant::Progress;

/// Stands before what is no answer yet.
const PROGRESS_MARK: &str = "⏳ ";
/// The longest progress that is kept and shown, in bytes: the end of it.
const MAX_PROGRESS_BYTES: usize = 1_000;

/// What there is of an answer.
#[derive(Debug, Default, Clone)]
pub(crate) struct PreviewText {
    /// The answer's text.
    pub(crate) text: String,
    progress: String,
    /// How often the progress changed.
    pub(crate) progress_changes: usize,
}

/// What is to be shown.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ShownText {
    /// The answer's text, Markdown.
    Answer(String),
    /// What the assistant says of its work, as plain text.
    Progress(String),
}

impl PreviewText {
    /// Takes what the assistant says of its work.
    pub(crate) fn add_progress(&mut self, progress: &Progress) {
        match progress {
            Progress::Step(step) => step.trim().clone_into(&mut self.progress),
            Progress::Thought(piece) => self.progress.push_str(piece),
        }
        let surplus = self.progress.len().saturating_sub(MAX_PROGRESS_BYTES);
        if surplus > 0 {
            let cut = self.progress.ceil_char_boundary(surplus);
            self.progress.drain(..cut);
        }
        if !self.progress.trim().is_empty() {
            self.progress_changes += 1;
        }
    }

    /// What is to be shown of it: the answer, as soon as there is a word of it.
    pub(crate) fn shown(&self) -> ShownText {
        let progress = self.progress.trim();
        if self.text.trim().is_empty() && !progress.is_empty() {
            ShownText::Progress(format!("{PROGRESS_MARK}{progress}"))
        } else {
            ShownText::Answer(self.text.clone())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_takes_the_place_of_progress() {
        let mut so_far = PreviewText::default();
        so_far.add_progress(&Progress::Step("Looking".into()));
        so_far.add_progress(&Progress::Step("Reading".into()));
        so_far.add_progress(&Progress::Thought(" on".into()));
        assert_eq!(so_far.shown(), ShownText::Progress("⏳ Reading on".into()));
        so_far.text.push_str("Hi");
        assert_eq!(so_far.shown(), ShownText::Answer("Hi".into()));
    }

    #[test]
    fn long_progress_shows_its_end() {
        let mut so_far = PreviewText::default();
        so_far.add_progress(&Progress::Thought("é".repeat(5_000)));
        so_far.add_progress(&Progress::Thought("end".into()));
        assert!(so_far.progress.len() <= MAX_PROGRESS_BYTES);
        assert!(so_far.progress.ends_with("éend"));
    }
}
