use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::body_reader::BodyReader;
use super::*;
use crate::api::connector::{OmittableField, OpenAiApi};
use crate::assistant::openai::OpenAiOptions;
use crate::assistant::openai::refusal::RefusedField;
use crate::assistant::openai::request::RequestTemplate;
use crate::assistant::openai::test_values;
use crate::assistant::{AnswerPart, Citation, Picture, Question, TokenUsage};
use crate::history::ChatMessage;

#[test]
fn sources_and_usage_are_read() {
    let events = [
        r#"{"type":"response.output_text.delta","delta":"Hi"}"#,
        r#"{"type":"response.output_text.annotation.added","annotation":{"type":"url_citation","url":"https://a.example/","title":"A"}}"#,
        r#"{"type":"response.completed","response":{"status":"completed","usage":{"input_tokens":7,"output_tokens":2}}}"#,
    ];
    let foreign = AssistantError::misconfigured("x");
    let mut reader = BodyReader::new(Box::new(Response::default()), foreign.clone(), foreign);
    for event in events {
        reader.push(format!("data: {event}\n\n").as_bytes());
    }
    let parts: Result<Vec<_>, _> = std::iter::from_fn(|| reader.next_part()).collect();
    let citation = Citation {
        url: "https://a.example/".into(),
        title: Some("A".into()),
    };
    let usage = TokenUsage {
        input: 7,
        output: 2,
    };
    let expected = [
        AnswerPart::Text("Hi".into()),
        AnswerPart::Citation(citation),
        AnswerPart::Usage(usage),
    ];
    assert_eq!(parts.expect("no error"), expected);
}

fn request_body(question: &Question, left_out: &[RefusedField]) -> Value {
    let options = OpenAiOptions {
        api: OpenAiApi::Responses,
        model: "m".into(),
        system_prompt: Some("Be kind".into()),
        key_header: None,
        parameters: serde_json::Map::new(),
        omit: BTreeSet::new(),
        stream: true,
        tells_chat_context: false,
    };
    let template = RequestTemplate::new(options.api, &options);
    let body = template.body(question, &left_out.iter().copied().collect());
    serde_json::from_slice(&body).expect("valid JSON")
}

fn question() -> Question {
    let chat_message = |role, text: &str| ChatMessage {
        role,
        text: text.into(),
    };
    Question {
        history: vec![
            chat_message(crate::history::Role::User, "Hi"),
            chat_message(crate::history::Role::Assistant, "Hello!"),
        ],
        pictures: vec![Picture {
            media_type: "image/png".into(),
            bytes: bytes::Bytes::from_static(b"\x00\xff"),
        }],
        ..test_values::question("And this?")
    }
}

#[test]
fn refused_parts_are_left_out() {
    let left_out = [
        RefusedField::SystemRole,
        RefusedField::Field(OmittableField::Store),
        RefusedField::Field(OmittableField::User),
        RefusedField::Field(OmittableField::Stream),
    ];
    let body = request_body(&question(), &left_out);
    let names: Vec<&String> = body.as_object().expect("an object").keys().collect();
    assert_eq!(names, ["input", "model"]);
    let prompt = json!([{"type": "input_text", "text": "Be kind"}]);
    assert_eq!(body["input"][0]["content"], prompt);
}

#[test]
fn request_holds_the_history_and_is_not_stored() {
    assert_eq!(
        request_body(&question(), &[]),
        json!({
            "model": "m",
            "stream": true,
            "store": false,
            "instructions": "Be kind",
            "input": [
                {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
                {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant",
                 "content": [{"type": "output_text", "annotations": [], "text": "Hello!"}]},
                {"type": "message", "role": "user", "content": [
                    {"type": "input_text", "text": "And this?"},
                    {"type": "input_image", "image_url": "data:image/png;base64,AP8="},
                ]},
            ],
            "user": "telegram:42",
        })
    );
}
