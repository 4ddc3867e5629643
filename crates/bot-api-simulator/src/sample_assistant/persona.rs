//! The sample assistant's answers: deterministic, so that a test can expect them.

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::Value;

/// The fields of a Chat Completions request that decide the answer.
#[derive(Debug, Deserialize)]
pub(super) struct Request {
    #[serde(default)]
    pub(super) model: String,
    #[serde(default)]
    pub(super) stream: bool,
    #[serde(default)]
    stream_options: Value,
    pub(super) messages: Vec<RequestMessage>,
}

impl Request {
    /// Whether a stream is to say what it cost.
    pub(super) fn wants_usage(&self) -> bool {
        self.stream_options["include_usage"] == true
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct RequestMessage {
    role: String,
    #[serde(default)]
    content: Value,
}

impl RequestMessage {
    fn text(&self) -> String {
        match &self.content {
            Value::String(text) => text.clone(),
            Value::Array(parts) => {
                let texts = parts.iter().filter_map(|part| part["text"].as_str());
                texts.collect::<Vec<_>>().join("\n")
            }
            _ => String::new(),
        }
    }

    fn pictures(&self) -> usize {
        let parts = self.content.as_array().map_or(&[][..], Vec::as_slice);
        parts
            .iter()
            .filter(|part| part["type"] == "image_url")
            .count()
    }
}

impl Request {
    /// The last message.
    pub(super) fn question(&self) -> String {
        self.messages
            .last()
            .map(RequestMessage::text)
            .unwrap_or_default()
    }

    /// Number of messages before the last one, without the system message.
    fn history(&self) -> usize {
        let spoken = |turn: &&RequestMessage| matches!(turn.role.as_str(), "user" | "assistant");
        self.messages
            .iter()
            .filter(spoken)
            .count()
            .saturating_sub(1)
    }
}

const SAMPLE: &str = "# A sample\n\nThis is **bold**, *italic*, ~~gone~~ and `code`.\n\n- one\n- two\n  - nested\n\n1. first\n2. second\n\n```rust\nfn main() {\n    println!(\"<hello> & goodbye\");\n}\n```\n\n> A quotation.\n\n| who | what |\n|---|---|\n| Ann | tea |\n\n[A link](https://example.com/?a=1&b=2).";

/// The answer to `long N words`: numbered sentences of these words, N characters in total. The numbers show which part is missing.
fn sentences(length: usize, words: &str) -> String {
    let mut text = String::new();
    for number in 1.. {
        if text.len() >= length {
            break;
        }
        let _ = write!(text, "Sentence {number} of {words}. ");
    }
    let _ = write!(text, "End of {words}.");
    text
}

/// The answer: a Markdown sample to `markdown`, N characters to `long N`, otherwise the question repeated.
pub(super) fn answer(request: &Request) -> String {
    let question = request.question();
    let trimmed = question.trim();
    if trimmed.eq_ignore_ascii_case("markdown") {
        return SAMPLE.to_owned();
    }
    if let Some((length, words)) = trimmed
        .strip_prefix("long ")
        .and_then(|rest| rest.split_once(' '))
        && let Ok(length) = length.parse::<usize>()
    {
        return sentences(length.min(1_000_000), words);
    }
    if let Some(length) = trimmed
        .strip_prefix("long ")
        .and_then(|length| length.parse::<usize>().ok())
    {
        let line = "The quick brown fox jumps over the lazy dog. ";
        let text: String = line.chars().cycle().take(length.min(1_000_000)).collect();
        return text;
    }
    let pictures = match request.messages.last().map_or(0, RequestMessage::pictures) {
        0 => String::new(),
        1 => " You sent a picture with it.".to_owned(),
        count => format!(" You sent {count} pictures with it."),
    };
    let memory = match request.history() {
        0 => "This is the first message of our conversation.".to_owned(),
        1 => "I remember 1 earlier message.".to_owned(),
        count => format!("I remember {count} earlier messages."),
    };
    format!("You said: {question}{pictures}\n\n{memory}")
}

/// The pieces of a streamed answer: words, each with the space before it.
pub(super) fn words(answer: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut begin = 0;
    for (at, _) in answer.match_indices(' ') {
        if at > begin {
            words.push(&answer[begin..at]);
            begin = at;
        }
    }
    if begin < answer.len() {
        words.push(&answer[begin..]);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(json: &str) -> Request {
        serde_json::from_str(json).expect("a request")
    }

    #[test]
    fn answer_repeats_the_question_and_counts_the_history() {
        let first = request(
            r#"{"messages":[{"role":"system","content":"be kind"},{"role":"user","content":"hi"}]}"#,
        );
        assert_eq!(
            answer(&first),
            "You said: hi\n\nThis is the first message of our conversation."
        );
        let third = request(
            r#"{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":[{"type":"text","text":"c"},{"type":"image_url","image_url":{"url":"x"}}]}]}"#,
        );
        assert_eq!(
            answer(&third),
            "You said: c You sent a picture with it.\n\nI remember 2 earlier messages."
        );
    }

    #[test]
    fn a_long_answer_of_given_words_is_numbered_and_has_an_end() {
        let long = request(r#"{"messages":[{"role":"user","content":"long 40 message 7"}]}"#);
        assert_eq!(
            answer(&long),
            "Sentence 1 of message 7. Sentence 2 of message 7. End of message 7."
        );
    }

    #[test]
    fn streamed_words_join_to_the_answer() {
        for text in ["", " ", "one", " one  two three ", "a\n\nb c"] {
            assert_eq!(words(text).concat(), text);
        }
    }
}
