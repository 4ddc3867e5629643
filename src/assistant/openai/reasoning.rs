//! Reasoning models behind servers that do not take their reasoning apart begin an answer with `<think>…</think>`. People in a
//! chat see the answer only.

const OPEN: &str = "<think>";
const CLOSE: &str = "</think>";

/// A filter over the pieces of one answer.
#[derive(Debug, Default)]
pub(super) struct ReasoningFilter {
    state: State,
}

#[derive(Debug)]
enum State {
    /// Nothing shown yet; what was held back can still become the opening tag.
    Begin(String),
    /// Within the tags; the end of what was read, which can be a part of the closing tag.
    Inside(String),
    /// After the closing tag: white space is left out until the answer begins.
    After,
    Answer,
}

impl Default for State {
    fn default() -> Self {
        Self::Begin(String::new())
    }
}

impl ReasoningFilter {
    /// What may be shown after this piece.
    pub(super) fn visible(&mut self, piece: String) -> Option<String> {
        match &mut self.state {
            State::Answer => Some(piece),
            State::Begin(held) => {
                let text = if held.is_empty() {
                    piece
                } else {
                    std::mem::take(held) + &piece
                };
                let start = text.trim_start();
                if let Some(inside) = start.strip_prefix(OPEN) {
                    let inside = inside.to_owned();
                    self.state = State::Inside(String::new());
                    self.visible(inside)
                } else if OPEN.starts_with(start) {
                    *held = text;
                    None
                } else {
                    self.state = State::Answer;
                    Some(text)
                }
            }
            State::Inside(tail) => {
                tail.push_str(&piece);
                if let Some(at) = tail.find(CLOSE) {
                    let after = tail.split_off(at + CLOSE.len());
                    self.state = State::After;
                    self.visible(after)
                } else {
                    let keep = (0..CLOSE.len())
                        .rev()
                        .find(|n| tail.ends_with(&CLOSE[..*n]))
                        .unwrap_or(0);
                    tail.drain(..tail.len() - keep);
                    None
                }
            }
            State::After => {
                let text = piece.trim_start();
                if text.is_empty() {
                    return None;
                }
                self.state = State::Answer;
                Some(text.to_owned())
            }
        }
    }

    /// What was held back and turned out to be the answer.
    pub(super) fn flush(&mut self) -> Option<String> {
        match &mut self.state {
            State::Begin(held) => Some(std::mem::take(held)),
            State::Inside(_) | State::After | State::Answer => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn visible(pieces: impl IntoIterator<Item = String>) -> String {
        let mut reasoning = ReasoningFilter::default();
        let mut text = String::new();
        for piece in pieces {
            text.extend(reasoning.visible(piece));
        }
        text.extend(reasoning.flush());
        text
    }

    proptest! {
        #[test]
        fn only_reasoning_at_the_beginning_is_left_out(
            thought in "[a-z</ ]{0,12}",
            answer in "[a-z<>à][a-z<>/à ]{0,20}",
            cuts in proptest::collection::vec(1usize..5, 0..40),
        ) {
            prop_assume!(!thought.contains(CLOSE) && !answer.starts_with(OPEN));
            for text in [format!("\n<think>{thought}</think>\n\n{answer}"), answer.clone()] {
                let chars: Vec<char> = text.chars().collect();
                let mut rest = chars.as_slice();
                let mut pieces = Vec::new();
                for cut in &cuts {
                    let (piece, left) = rest.split_at((*cut).min(rest.len()));
                    pieces.push(piece.iter().collect::<String>());
                    rest = left;
                }
                pieces.push(rest.iter().collect());
                prop_assert_eq!(visible(pieces), answer.as_str());
            }
        }
    }
}
