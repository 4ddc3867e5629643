//! The body of a Chat Completions request, written straight into bytes: history and pictures are not copied into a tree first.

use std::borrow::Cow;
use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::options::OpenAiOptions;
use super::refusal::RefusedField;
use super::responses;
use crate::api::connector::{OmittableField, OpenAiApi};
use crate::assistant::Question;
use crate::history::Role;

/// Tells a model how to offer buttons.
const BUTTONS_PROMPT: &str = "When a question of yours has a few short possible answers, you may offer them as buttons: end your message with a fenced code block with the info string buttons, in it one answer per line, at most 8, each at most 40 characters, or \"Label | what the user says by it\". The user sees buttons in its place. Use it for nothing else.";

/// What a model is told before a conversation.
#[derive(Debug)]
struct Prompt {
    text: Option<String>,
    /// The text as a message, with the comma behind it.
    message: Vec<u8>,
}

impl Prompt {
    fn new(text: Option<String>) -> Self {
        let mut message = Vec::new();
        if let Some(text) = &text {
            write_message(&mut message, b"system", text);
            message.push(b',');
        }
        Self { text, message }
    }
}

/// What all requests of one assistant share.
#[derive(Debug)]
pub(super) struct RequestTemplate {
    api: OpenAiApi,
    /// `{"model":"…"` and the connector's further fields.
    head: Vec<u8>,
    prompt: Prompt,
    /// The prompt of a model that may offer buttons.
    prompt_with_buttons: Prompt,
    tells_chat_context: bool,
    stream: bool,
}

impl RequestTemplate {
    pub(super) fn new(api: OpenAiApi, options: &OpenAiOptions) -> Self {
        let mut head = b"{\"model\":".to_vec();
        write_string(&mut head, &options.model);
        for (name, value) in &options.parameters {
            head.push(b',');
            write_string(&mut head, name);
            head.push(b':');
            serde_json::to_writer(&mut head, value).expect("JSON is written to memory");
        }
        let prompt = options.system_prompt.as_deref();
        let with_buttons: Vec<&str> = prompt.into_iter().chain([BUTTONS_PROMPT]).collect();
        Self {
            api,
            head,
            prompt: Prompt::new(options.system_prompt.clone()),
            prompt_with_buttons: Prompt::new(Some(with_buttons.join("\n\n"))),
            tells_chat_context: options.tells_chat_context,
            stream: options.stream,
        }
    }

    /// What the connector's requests have in common.
    fn fixed_prompt(&self, question: &Question) -> &Prompt {
        if question.offers_buttons {
            &self.prompt_with_buttons
        } else {
            &self.prompt
        }
    }

    /// Whether the answer is asked for as a stream.
    pub(super) fn streams(&self, left_out: &BTreeSet<RefusedField>) -> bool {
        self.stream && !left_out.contains(&RefusedField::Field(OmittableField::Stream))
    }

    /// The whole request for a question, without the parts that are left out.
    pub(super) fn body(&self, question: &Question, left_out: &BTreeSet<RefusedField>) -> Vec<u8> {
        let holds = |field| !left_out.contains(&RefusedField::Field(field));
        let mut bytes = Vec::with_capacity(self.estimate_size(question));
        bytes.extend_from_slice(&self.head);
        if holds(OmittableField::Stream) {
            bytes.extend_from_slice(b",\"stream\":");
            bytes.extend_from_slice(if self.stream { b"true" } else { b"false" });
        }
        let has_system_role = !left_out.contains(&RefusedField::SystemRole);
        match self.api {
            OpenAiApi::ChatCompletions => {
                // Without it a stream does not say what it cost. Servers that refuse it by name are asked without.
                if self.streams(left_out) && holds(OmittableField::StreamOptions) {
                    bytes.extend_from_slice(b",\"stream_options\":{\"include_usage\":true}");
                }
                bytes.extend_from_slice(b",\"messages\":[");
                if has_system_role {
                    self.write_messages(&mut bytes, question);
                } else {
                    self.write_alternating_messages(&mut bytes, question);
                }
                bytes.push(b']');
            }
            OpenAiApi::Responses => {
                if holds(OmittableField::Store) {
                    bytes.extend_from_slice(b",\"store\":false");
                }
                let prompt = self.prompt(question);
                let prompt = prompt.as_deref();
                responses::request::write_input(&mut bytes, prompt, has_system_role, question);
            }
        }
        if holds(OmittableField::User) {
            bytes.extend_from_slice(b",\"user\":\"telegram:");
            bytes.extend_from_slice(question.sender.id.to_string().as_bytes());
            bytes.push(b'"');
        }
        bytes.push(b'}');
        bytes
    }

    fn estimate_size(&self, question: &Question) -> usize {
        let history = question.history.iter();
        let history: usize = history.map(|message| message.text.len() + 40).sum();
        let pictures = question.pictures.iter();
        let pictures: usize = pictures.map(|p| p.bytes.len() / 3 * 4 + 100).sum();
        let files = question.files.iter();
        let files: usize = files.map(|f| f.bytes.len() / 3 * 4 + 400).sum();
        let shared = self.head.len() + self.fixed_prompt(question).message.len();
        shared + history + pictures + files + question.text.len() + 128
    }

    /// The system prompt. Where the conversation takes place comes last: servers that keep the beginnings of prompts keep the connector's own for
    /// all chats, and the whole for one chat.
    fn prompt(&self, question: &Question) -> Option<Cow<'_, str>> {
        let own = self.fixed_prompt(question).text.as_deref();
        if !self.tells_chat_context {
            return own.map(Cow::Borrowed);
        }
        let context = question.context.prompt_paragraph();
        Some(match own {
            Some(own) => Cow::Owned(format!("{own}\n\n{context}")),
            None => Cow::Owned(context),
        })
    }

    fn write_messages(&self, bytes: &mut Vec<u8>, question: &Question) {
        if self.tells_chat_context {
            write_message(bytes, b"system", &self.prompt(question).unwrap_or_default());
            bytes.push(b',');
        } else {
            bytes.extend_from_slice(&self.fixed_prompt(question).message);
        }
        for message in &question.history {
            write_message(bytes, role_name(message.role), &message.text);
            bytes.push(b',');
        }
        write_user_message(bytes, &question.full_text(), question);
    }

    /// User and assistant in turns, as the templates of models without a system role want it: the prompt stands before the first message, and
    /// messages of one role in a row are one.
    fn write_alternating_messages(&self, bytes: &mut Vec<u8>, question: &Question) {
        let prompt = self.prompt(question);
        let prompt = prompt.iter().map(|p| (Role::User, &**p));
        let history = question.history.iter().map(|m| (m.role, m.text.as_str()));
        let mut turns: Vec<(Role, String)> = Vec::new();
        let asked = question.full_text();
        for (role, text) in prompt.chain(history).chain([(Role::User, &*asked)]) {
            match turns.last_mut() {
                Some((last, turn)) if *last == role => {
                    if !turn.is_empty() && !text.is_empty() {
                        turn.push_str("\n\n");
                    }
                    turn.push_str(text);
                }
                _ => turns.push((role, text.to_owned())),
            }
        }
        let Some(((_, asked), before)) = turns.split_last() else {
            return;
        };
        for (role, text) in before {
            write_message(bytes, role_name(*role), text);
            bytes.push(b',');
        }
        write_user_message(bytes, asked, question);
    }
}

fn role_name(role: Role) -> &'static [u8] {
    match role {
        Role::User => b"user",
        Role::Assistant => b"assistant",
    }
}

/// The message that asks: `text`, with the pictures and files of the question.
fn write_user_message(bytes: &mut Vec<u8>, text: &str, question: &Question) {
    if question.pictures.is_empty() && question.files.is_empty() {
        write_message(bytes, b"user", text);
    } else {
        write_message_with_parts(bytes, text, question);
    }
}

fn write_message(bytes: &mut Vec<u8>, role: &[u8], text: &str) {
    bytes.extend_from_slice(b"{\"role\":\"");
    bytes.extend_from_slice(role);
    bytes.extend_from_slice(b"\",\"content\":");
    write_string(bytes, text);
    bytes.push(b'}');
}

fn write_message_with_parts(bytes: &mut Vec<u8>, text: &str, question: &Question) {
    bytes.extend_from_slice(b"{\"role\":\"user\",\"content\":[");
    if !text.is_empty() {
        bytes.extend_from_slice(b"{\"type\":\"text\",\"text\":");
        write_string(bytes, text);
        bytes.extend_from_slice(b"},");
    }
    for picture in &question.pictures {
        bytes.extend_from_slice(b"{\"type\":\"image_url\",\"image_url\":{\"url\":");
        write_string(bytes, &data_url(&picture.media_type, &picture.bytes));
        bytes.extend_from_slice(b"}},");
    }
    for file in &question.files {
        bytes.extend_from_slice(b"{\"type\":\"file\",\"file\":{\"filename\":");
        write_string(bytes, &file.name);
        bytes.extend_from_slice(b",\"file_data\":");
        write_string(bytes, &data_url(&file.media_type, &file.bytes));
        bytes.extend_from_slice(b"}},");
    }
    // There is a picture or a file, and so a comma.
    bytes.pop();
    bytes.extend_from_slice(b"]}");
}

/// A picture or file as either API takes it.
pub(super) fn data_url(media_type: &str, bytes: &[u8]) -> String {
    format!("data:{media_type};base64,{}", STANDARD.encode(bytes))
}

pub(super) fn write_string(bytes: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(bytes, text).expect("a string is written to memory");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::api::connector::OpenAiApi;
    use crate::assistant::openai::test_values::question;
    use crate::assistant::{Picture, QuestionFile};
    use crate::history::ChatMessage;

    fn template(model: &str, prompt: Option<&str>) -> RequestTemplate {
        RequestTemplate::new(
            OpenAiApi::ChatCompletions,
            &OpenAiOptions {
                api: OpenAiApi::ChatCompletions,
                model: model.into(),
                system_prompt: prompt.map(Into::into),
                key_header: None,
                parameters: serde_json::Map::new(),
                omit: BTreeSet::new(),
                stream: true,
                tells_chat_context: false,
            },
        )
    }

    fn body(template: &RequestTemplate, asked: &Question, left_out: &[RefusedField]) -> Value {
        let bytes = template.body(asked, &left_out.iter().copied().collect());
        serde_json::from_slice(&bytes).expect("valid JSON")
    }

    fn chat_message(role: Role, text: &str) -> ChatMessage {
        ChatMessage {
            role,
            text: text.into(),
        }
    }

    #[test]
    fn history_stands_between_the_prompt_and_the_question() {
        let asked = Question {
            history: vec![
                chat_message(Role::User, "Hi"),
                chat_message(Role::Assistant, "Hello!"),
            ],
            ..question("Where is it?")
        };
        assert_eq!(
            body(&template("m", Some("Be kind")), &asked, &[]),
            json!({
                "model": "m",
                "stream": true,
                "stream_options": {"include_usage": true},
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
        let body = body(&template("m", None), &asked, &[]);
        assert_eq!(
            body["messages"],
            json!([{"role": "user", "content": [image, image]}])
        );
    }

    #[test]
    fn files_are_content_parts_behind_pictures() {
        let asked = Question {
            pictures: vec![Picture {
                media_type: "image/png".into(),
                bytes: bytes::Bytes::from_static(b"\x00\xff"),
            }],
            files: vec![QuestionFile {
                name: "a\"b.pdf".into(),
                media_type: "application/pdf".into(),
                bytes: bytes::Bytes::from_static(b"%PDF"),
            }],
            ..question("What is it?")
        };
        let body = body(&template("m", None), &asked, &[]);
        assert_eq!(
            body["messages"][0]["content"],
            json!([
                {"type": "text", "text": "What is it?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AP8="}},
                {"type": "file", "file": {"filename": "a\"b.pdf", "file_data": "data:application/pdf;base64,JVBERg=="}},
            ])
        );
    }

    #[test]
    fn fields_that_are_left_out_are_not_there() {
        let left_out = [
            RefusedField::Field(OmittableField::User),
            RefusedField::Field(OmittableField::Stream),
        ];
        assert_eq!(
            body(&template("m", None), &question("Hi"), &left_out),
            json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}]})
        );
    }

    #[test]
    fn without_system_role_user_and_assistant_take_turns() {
        let template = template("m", Some("Be kind"));
        let messages = |history: Vec<ChatMessage>, pictures| {
            let asked = Question {
                history,
                pictures,
                ..question("Where?")
            };
            body(&template, &asked, &[RefusedField::SystemRole])["messages"].take()
        };
        assert_eq!(
            messages(vec![], vec![]),
            json!([{"role": "user", "content": "Be kind\n\nWhere?"}])
        );
        assert_eq!(
            messages(
                vec![
                    chat_message(Role::Assistant, "Welcome"),
                    chat_message(Role::User, "Hi"),
                ],
                vec![]
            ),
            json!([
                {"role": "user", "content": "Be kind"},
                {"role": "assistant", "content": "Welcome"},
                {"role": "user", "content": "Hi\n\nWhere?"},
            ])
        );
        let picture = Picture {
            media_type: "image/png".into(),
            bytes: bytes::Bytes::from_static(b"\x00\xff"),
        };
        assert_eq!(
            messages(vec![], vec![picture])[0]["content"][0],
            json!({"type": "text", "text": "Be kind\n\nWhere?"})
        );
    }

    proptest! {
        #[test]
        fn any_text_arrives_as_it_is(model in ".*", prompt in ".+", text in ".*") {
            let body = body(&template(&model, Some(&prompt)), &question(&text), &[]);
            prop_assert_eq!(&body["model"], &json!(model));
            prop_assert_eq!(&body["messages"][0]["content"], &json!(prompt));
            prop_assert_eq!(&body["messages"][1]["content"], &json!(text));
        }
    }
}
