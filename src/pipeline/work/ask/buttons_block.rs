//! Buttons that a model writes at the end of its answer: a fenced block with the info string `buttons`, one button per line, `Text` or
//! `Text | what the user says by it`. The block is shown to nobody, also not while it is written.

use crate::assistant::{Choice, ChoiceButton};

/// The info string of the block.
const INFO: &str = "buttons";
/// The fewest characters of a fence.
const MIN_FENCE: usize = 3;

/// Follows an answer line by line as it grows, and says how much of it may be shown.
#[derive(Debug, Default)]
pub(super) struct ButtonsBlock {
    /// Where the first line begins that is not read yet.
    read_to: usize,
    fence: Option<Fence>,
    /// Where the block begins that ends the answer as it stands.
    block: Option<Block>,
}

#[derive(Debug, Clone, Copy)]
struct Fence {
    mark: char,
    length: usize,
}

#[derive(Debug, Clone, Copy)]
struct Block {
    start: usize,
    /// What is in it.
    lines: (usize, usize),
}

impl ButtonsBlock {
    /// How much of `text` may be shown: all of it but a block of buttons at its end, or what may become one.
    pub(super) fn shown_length(&mut self, text: &str) -> usize {
        self.read_lines(text);
        match self.block {
            Some(block) => block.start,
            None if self.fence.is_none() && may_open(&text[self.read_to..]) => self.read_to,
            None => text.len(),
        }
    }

    /// The text of a whole answer without its block, and the buttons; `None` where it ends in no block with buttons.
    pub(super) fn split(mut self, text: &str) -> Option<(&str, Choice)> {
        self.read_lines(text);
        // The line that no newline ends.
        self.read_line(text, self.read_to, text.len());
        let block = self.block?;
        let (from, to) = block.lines;
        let rows: Vec<_> = text[from..to]
            .lines()
            .filter_map(button)
            .map(|b| vec![b])
            .collect();
        let choice = Choice {
            rows,
            says_value: true,
            ..Choice::default()
        };
        (!choice.rows.is_empty()).then(|| (text[..block.start].trim_end(), choice))
    }

    fn read_lines(&mut self, text: &str) {
        while let Some(length) = text[self.read_to..].find('\n') {
            let (start, end) = (self.read_to, self.read_to + length);
            self.read_line(text, start, end);
            self.read_to = end + 1;
        }
    }

    fn read_line(&mut self, text: &str, start: usize, end: usize) {
        let line = &text[start..end];
        match (self.fence, opening(line)) {
            (Some(fence), _) => {
                let closes = is_closing(line, fence);
                if closes {
                    self.fence = None;
                }
                if let Some(block) = &mut self.block {
                    block.lines.1 = if closes { start } else { end };
                }
            }
            (None, Some((fence, info))) => {
                self.fence = Some(fence);
                let inside = (end + 1).min(text.len());
                self.block = (info == INFO).then_some(Block {
                    start,
                    lines: (inside, inside),
                });
            }
            // Words behind the block: it is not the end of the answer.
            (None, None) if !line.trim().is_empty() => self.block = None,
            (None, None) => {}
        }
    }
}

/// The fence that a line opens, and its info string.
fn opening(line: &str) -> Option<(Fence, &str)> {
    let line = unindented(line)?;
    let mark = line.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let info = line.trim_start_matches(mark);
    let length = line.len() - info.len();
    let is_fence = length >= MIN_FENCE && !(mark == '`' && info.contains('`'));
    is_fence.then_some((Fence { mark, length }, info.trim()))
}

fn is_closing(line: &str, fence: Fence) -> bool {
    unindented(line).is_some_and(|line| {
        let line = line.trim_end();
        line.len() >= fence.length && line.chars().all(|c| c == fence.mark)
    })
}

/// The line without the white space that a fence may have before it.
fn unindented(line: &str) -> Option<&str> {
    let rest = line.trim_start_matches(' ');
    (line.len() - rest.len() < 4).then_some(rest)
}

/// Whether more of the last line may make it the first of a block of buttons.
fn may_open(line: &str) -> bool {
    let Some(line) = unindented(line) else {
        return false;
    };
    let Some(mark) = line.chars().next() else {
        return false;
    };
    let info = line.trim_start_matches(mark);
    let is_fence = line.len() - info.len() >= MIN_FENCE || info.is_empty();
    matches!(mark, '`' | '~') && is_fence && INFO.starts_with(info.trim())
}

/// A line of the block; list marks before it are none of its words.
fn button(line: &str) -> Option<ChoiceButton> {
    let line = line.trim();
    let line = ["- ", "* "]
        .iter()
        .find_map(|m| line.strip_prefix(m))
        .unwrap_or(line);
    let (text, value) = line.split_once('|').unwrap_or((line, line));
    let (text, value) = (text.trim(), value.trim());
    let value = if value.is_empty() { text } else { value };
    (!text.is_empty()).then(|| ChoiceButton {
        text: text.to_owned(),
        value: value.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn split(text: &str) -> Option<(String, Vec<(String, String)>)> {
        let (shown, choice) = ButtonsBlock::default().split(text)?;
        let buttons = choice.rows.into_iter().flatten();
        Some((
            shown.to_owned(),
            buttons.map(|b| (b.text, b.value)).collect(),
        ))
    }

    #[rstest]
    #[case::lines("Which?\n\n```buttons\nYes\nNo | not now\n```\n", "Which?", &[("Yes", "Yes"), ("No", "not now")])]
    #[case::tildes("Which?\n~~~ buttons\n- Yes\n* No\n~~~", "Which?", &[("Yes", "Yes"), ("No", "No")])]
    #[case::not_closed("Which?\n```buttons\nYes\nNo", "Which?", &[("Yes", "Yes"), ("No", "No")])]
    #[case::behind_other_code("```\nx\n```\n```buttons\nYes\n```", "```\nx\n```", &[("Yes", "Yes")])]
    #[case::alone("```buttons\nYes |\n```", "", &[("Yes", "Yes")])]
    #[case::windows_lines("Which?\r\n```buttons\r\nYes\r\n```\r\n", "Which?", &[("Yes", "Yes")])]
    fn block_at_the_end_becomes_buttons(
        #[case] text: &str,
        #[case] shown: &str,
        #[case] buttons: &[(&str, &str)],
    ) {
        let buttons = buttons
            .iter()
            .map(|(t, v)| (t.to_string(), v.to_string()))
            .collect();
        assert_eq!(split(text), Some((shown.to_owned(), buttons)));
    }

    #[rstest]
    #[case::none("Which?")]
    #[case::words_behind_it("```buttons\nYes\n```\nTap one.")]
    #[case::other_code("```json\nYes\n```")]
    #[case::within_other_code("````\n```buttons\nYes\n```\n````")]
    #[case::without_a_button("Which?\n```buttons\n\n```")]
    #[case::no_fence("buttons\nYes")]
    fn other_text_stays_as_it_is(#[case] text: &str) {
        assert_eq!(split(text), None);
    }

    #[test]
    fn block_is_hidden_while_it_is_written() {
        let text = "Which?\n```buttons\nYes\nNo\n```\n";
        let mut block = ButtonsBlock::default();
        for length in 0..=text.len() {
            let shown = block.shown_length(&text[..length]);
            let visible = &text[..shown];
            assert!(
                !visible.contains('`'),
                "{visible:?} of {:?}",
                &text[..length]
            );
            assert!("Which?\n".starts_with(visible), "{visible:?}");
        }
        assert_eq!(
            block.shown_length(&format!("{text}More.\n")),
            text.len() + 6
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "[`~ \nbuttons|é-]{0,80}") {
            let mut block = ButtonsBlock::default();
            let shown = block.shown_length(&text);
            prop_assert!(text.is_char_boundary(shown));
            let _ = ButtonsBlock::default().split(&text);
        }
    }
}
