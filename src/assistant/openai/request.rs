//! The body of a Chat Completions request, written straight into bytes: history and pictures are not copied into a tree first.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::assistant::Question;
use crate::history::Role;

/// The beginning that all requests of one assistant share: model, streaming, and the system prompt.
#[derive(Debug)]
pub(super) struct RequestPrefix(Vec<u8>);

impl RequestPrefix {
    pub(super) fn new(model: &str, system_prompt: Option<&str>) -> Self {
        let mut bytes = b"{\"model\":".to_vec();
        write_string(&mut bytes, model);
        bytes.extend_from_slice(b",\"stream\":true,\"messages\":[");
        if let Some(prompt) = system_prompt.filter(|p| !p.is_empty()) {
            write_message(&mut bytes, b"system", prompt);
            bytes.push(b',');
        }
        Self(bytes)
    }

    /// The whole request for a question.
    pub(super) fn body(&self, question: &Question) -> Vec<u8> {
        let history: usize = question
            .history
            .iter()
            .map(|chat_message| chat_message.text.len() + 40)
            .sum();
        let pictures: usize = question
            .pictures
            .iter()
            .map(|p| p.bytes.len() / 3 * 4 + 100)
            .sum();
        let mut bytes =
            Vec::with_capacity(self.0.len() + history + pictures + question.text.len() + 128);
        bytes.extend_from_slice(&self.0);
        for chat_message in &question.history {
            let role: &[u8] = match chat_message.role {
                Role::User => b"user",
                Role::Assistant => b"assistant",
            };
            write_message(&mut bytes, role, &chat_message.text);
            bytes.push(b',');
        }
        if question.pictures.is_empty() {
            write_message(&mut bytes, b"user", &question.text);
        } else {
            write_message_with_pictures(&mut bytes, question);
        }
        bytes.extend_from_slice(b"],\"user\":\"telegram:");
        bytes.extend_from_slice(question.sender.id.to_string().as_bytes());
        bytes.extend_from_slice(b"\"}");
        bytes
    }
}

fn write_message(bytes: &mut Vec<u8>, role: &[u8], text: &str) {
    bytes.extend_from_slice(b"{\"role\":\"");
    bytes.extend_from_slice(role);
    bytes.extend_from_slice(b"\",\"content\":");
    write_string(bytes, text);
    bytes.push(b'}');
}

fn write_message_with_pictures(bytes: &mut Vec<u8>, question: &Question) {
    bytes.extend_from_slice(b"{\"role\":\"user\",\"content\":[");
    if !question.text.is_empty() {
        bytes.extend_from_slice(b"{\"type\":\"text\",\"text\":");
        write_string(bytes, &question.text);
        bytes.extend_from_slice(b"},");
    }
    for (n, picture) in question.pictures.iter().enumerate() {
        if n > 0 {
            bytes.push(b',');
        }
        bytes.extend_from_slice(b"{\"type\":\"image_url\",\"image_url\":{\"url\":");
        let url = format!(
            "data:{};base64,{}",
            picture.media_type,
            STANDARD.encode(&picture.bytes)
        );
        write_string(bytes, &url);
        bytes.extend_from_slice(b"}}");
    }
    bytes.extend_from_slice(b"]}");
}

fn write_string(bytes: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(bytes, text).expect("a string is written to memory");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::assistant::{Picture, Sender};
    use crate::history::ChatMessage;

    fn question(text: &str) -> Question {
        Question {
            sender: Sender {
                id: 42,
                name: "Ann".into(),
                username: None,
                language_code: None,
            },
            connector: "acme/support".into(),
            session_id: "s".into(),
            session_state: None,
            history: vec![],
            text: text.into(),
            pictures: vec![],
            idempotency_key: "1-2".into(),
        }
    }

    fn read(bytes: &[u8]) -> Value {
        serde_json::from_slice(bytes).expect("valid JSON")
    }

    #[test]
    fn history_stands_between_the_prompt_and_the_question() {
        let chat_message = |role, text: &str| ChatMessage {
            role,
            text: text.into(),
        };
        let asked = Question {
            history: vec![
                chat_message(Role::User, "Hi"),
                chat_message(Role::Assistant, "Hello!"),
            ],
            ..question("Where is it?")
        };
        assert_eq!(
            read(&RequestPrefix::new("m", Some("Be kind")).body(&asked)),
            json!({
                "model": "m",
                "stream": true,
                "messages": [
                    {"role": "system", "content": "Be kind"},
                    {"role": "user", "content": "Hi"},
                    {"role": "assistant", "content": "Hello!"},
                    {"role": "user", "content": "Where is it?"},
                ],
                "user": "telegram:42",
            })
        );
    }

    #[test]
    fn pictures_are_content_parts() {
        let picture = Picture {
            media_type: "image/png".into(),
            bytes: bytes::Bytes::from_static(b"\x00\xff"),
        };
        let asked = Question {
            pictures: vec![picture.clone(), picture],
            ..question("")
        };
        let image =
            json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AP8="}});
        let body = read(&RequestPrefix::new("m", None).body(&asked));
        assert_eq!(
            body["messages"],
            json!([{"role": "user", "content": [image, image]}])
        );
    }

    proptest! {
        #[test]
        fn any_text_arrives_as_it_is(model in ".*", prompt in ".+", text in ".*") {
            let body = read(&RequestPrefix::new(&model, Some(&prompt)).body(&question(&text)));
            prop_assert_eq!(&body["model"], &json!(model));
            prop_assert_eq!(&body["messages"][0]["content"], &json!(prompt));
            prop_assert_eq!(&body["messages"][1]["content"], &json!(text));
        }
    }
}
