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
        write_user_message(bytes, prompt, None);
        bytes.push(b',');
    }
    for (at, message) in question.history.iter().enumerate() {
        match message.role {
            Role::User => write_user_message(bytes, &message.text, None),
            Role::Assistant => write_answer(bytes, &message.text, at),
        }
        bytes.push(b',');
    }
    write_user_message(bytes, &question.full_text(), Some(question));
    bytes.push(b']');
}

/// A message of the user: `text`, with the pictures and files of the question, where it is the one that asks.
fn write_user_message(bytes: &mut Vec<u8>, text: &str, question: Option<&Question>) {
    let pictures = question.map_or(&[][..], |q| &q.pictures);
    let files = question.map_or(&[][..], |q| &q.files);
    bytes.extend_from_slice(b"{\"type\":\"message\",\"role\":\"user\",\"content\":[");
    if !text.is_empty() || (pictures.is_empty() && files.is_empty()) {
        bytes.extend_from_slice(b"{\"type\":\"input_text\",\"text\":");
        write_string(bytes, text);
        bytes.extend_from_slice(b"},");
    }
    for picture in pictures {
        bytes.extend_from_slice(b"{\"type\":\"input_image\",\"image_url\":");
        write_string(bytes, &data_url(&picture.media_type, &picture.bytes));
        bytes.extend_from_slice(b"},");
    }
    for file in files {
        bytes.extend_from_slice(b"{\"type\":\"input_file\",\"filename\":");
        write_string(bytes, &file.name);
        bytes.extend_from_slice(b",\"file_data\":");
        write_string(bytes, &data_url(&file.media_type, &file.bytes));
        bytes.extend_from_slice(b"},");
    }
    // There is always a part, and so a comma.
    bytes.pop();
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
