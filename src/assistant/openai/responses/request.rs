//! The body of a Responses request. Nothing is stored over there: each request carries the history.

use super::super::request::{data_url, write_string};
use crate::assistant::Question;
use crate::history::Role;

/// Writes `instructions` and `input`: the prompt, the history, and the question. Without `instructions` the prompt is the first message.
pub(in crate::assistant::openai) fn write_input(
    bytes: &mut Vec<u8>,
    prompt: Option<&str>,
    has_instructions: bool,
    question: &Question,
) {
    if let Some(prompt) = prompt.filter(|_| has_instructions) {
        bytes.extend_from_slice(b",\"instructions\":");
        write_string(bytes, prompt);
    }
    bytes.extend_from_slice(b",\"input\":[");
    if let Some(prompt) = prompt.filter(|_| !has_instructions) {
        write_user_message(bytes, prompt, &[]);
        bytes.push(b',');
    }
    for (at, message) in question.history.iter().enumerate() {
        match message.role {
            Role::User => write_user_message(bytes, &message.text, &[]),
            Role::Assistant => write_answer(bytes, &message.text, at),
        }
        bytes.push(b',');
    }
    let urls: Vec<String> = question.pictures.iter().map(data_url).collect();
    write_user_message(bytes, &question.full_text(), &urls);
    bytes.push(b']');
}

fn write_user_message(bytes: &mut Vec<u8>, text: &str, picture_urls: &[String]) {
    bytes.extend_from_slice(b"{\"type\":\"message\",\"role\":\"user\",\"content\":[");
    let has_text = !text.is_empty() || picture_urls.is_empty();
    if has_text {
        bytes.extend_from_slice(b"{\"type\":\"input_text\",\"text\":");
        write_string(bytes, text);
        bytes.push(b'}');
    }
    for (n, url) in picture_urls.iter().enumerate() {
        if n > 0 || has_text {
            bytes.push(b',');
        }
        bytes.extend_from_slice(b"{\"type\":\"input_image\",\"image_url\":");
        write_string(bytes, url);
        bytes.push(b'}');
    }
    bytes.extend_from_slice(b"]}");
}

/// An earlier answer, with the id, the status and the annotations that vLLM and `OpenRouter` want of one and that `OpenAI` takes.
fn write_answer(bytes: &mut Vec<u8>, text: &str, at: usize) {
    let head = format!(
        "{{\"type\":\"message\",\"id\":\"msg_{at}\",\"status\":\"completed\",\"role\":\"assistant\",\"content\":[{{\"type\":\"output_text\",\"annotations\":[],\"text\":"
    );
    bytes.extend_from_slice(head.as_bytes());
    write_string(bytes, text);
    bytes.extend_from_slice(b"}]}");
}
