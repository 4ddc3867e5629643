//! Which part of a request an error answer refuses by name. Pure.
//!
//! Sources are the error bodies of `OpenAI`, Azure, Mistral, Anthropic, Gemini, Groq, Fireworks, Cohere, Bedrock, vLLM, llama.cpp, `LiteLLM`
//! and `OpenRouter`: as an object, in an array, or as JSON text within a message. Only complaints are read, nothing that echoes the request.

mod phrases;

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::api::connector::OmittableField;

/// A part of the request that can be left out, or written in another way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RefusedField {
    /// A field of the body.
    Field(OmittableField),
    /// The role `system`, or several messages of one role in a row.
    SystemRole,
}

impl RefusedField {
    /// Its name in logs.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Field(field) => field.as_str(),
            Self::SystemRole => "role system",
        }
    }
}

/// What an error answer refuses.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Parts of the request that the operator writes by itself.
    pub(super) fields: BTreeSet<RefusedField>,
    /// All names of fields that it complains of, in lower case.
    pub(super) names: BTreeSet<String>,
}

impl Refusal {
    /// Reads the body of an error answer; what is no JSON refuses nothing by name.
    pub(super) fn from_bytes(body: &[u8]) -> Self {
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        serde_json::from_slice(body)
            .map(|body| Self::from_error_body(&body))
            .unwrap_or_default()
    }

    pub(super) fn from_error_body(body: &Value) -> Self {
        let mut refusal = Self::default();
        refusal.read(body, MAX_DEPTH);
        for field in OmittableField::ALL {
            if refusal.names.contains(field.as_str()) {
                refusal.fields.insert(RefusedField::Field(field));
            }
        }
        refusal
    }

    fn read(&mut self, value: &Value, depth: u32) {
        if depth == 0 {
            return;
        }
        match value {
            Value::String(text) => self.read_text(text, depth),
            Value::Array(items) => items.iter().for_each(|item| self.read(item, depth - 1)),
            Value::Object(object) => {
                self.read_paths(object);
                self.read_complaints_by_field(object);
                for key in COMPLAINTS {
                    if let Some(value) = object.get(key) {
                        self.read(value, depth - 1);
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// The fields that an object names in a place made for it. One that is missing is no field to leave out.
    fn read_paths(&mut self, object: &Map<String, Value>) {
        let is_missing = ["code", "type", "msg", "message"].iter().any(|key| {
            let text = object.get(*key).and_then(Value::as_str).unwrap_or_default();
            let text = text.to_ascii_lowercase();
            text.contains("missing") || text.contains("required")
        });
        if is_missing {
            return;
        }
        for key in ["param", "field", "additionalProperty"] {
            if let Some(path) = object.get(key).and_then(Value::as_str) {
                self.add_path(path);
            }
        }
        for key in ["loc", "path"] {
            if let Some(Value::Array(steps)) = object.get(key) {
                let steps: Vec<&str> = steps.iter().filter_map(Value::as_str).collect();
                self.add_path(&steps.join("."));
            }
        }
        if let Some(Value::Array(keys)) = object.get("keys") {
            let keys = keys.iter().filter_map(Value::as_str);
            keys.for_each(|key| self.add_path(key));
        }
    }

    /// A field by its path: `user`, `body.user`, `messages[0].role`.
    fn add_path(&mut self, path: &str) {
        let path = path.to_ascii_lowercase();
        let path = path.strip_prefix("body.").unwrap_or(&path);
        let first = path.split(['.', '[']).next().unwrap_or_default();
        if first == "messages" && path.ends_with("role") {
            self.fields.insert(RefusedField::SystemRole);
        }
        self.names.insert(first.to_owned());
    }

    fn read_text(&mut self, text: &str, depth: u32) {
        let (outside, nested) = split_nested_json(text);
        if let Some(nested) = nested {
            self.read(&nested, depth - 1);
        }
        for text in outside {
            let text = text.to_ascii_lowercase();
            let names = phrases::refused_names(&text).into_iter();
            self.names.extend(names.map(str::to_owned));
            if phrases::refuses_streaming(&text) {
                let stream = RefusedField::Field(OmittableField::Stream);
                self.fields.insert(stream);
            }
            if phrases::refuses_system_role(&text) {
                self.fields.insert(RefusedField::SystemRole);
            }
        }
    }

    /// Complaints by field: `{"user": ["Unknown field."]}`.
    fn read_complaints_by_field(&mut self, object: &Map<String, Value>) {
        for field in OmittableField::ALL {
            let text = match object.get(field.as_str()) {
                Some(Value::String(text)) => Some(text),
                Some(Value::Array(items)) => match items.first() {
                    Some(Value::String(text)) => Some(text),
                    _ => None,
                },
                _ => None,
            };
            if text.is_some_and(|text| {
                let complaint = format!("{}: {text}", field.as_str()).to_ascii_lowercase();
                phrases::refused_names(&complaint).contains(&field.as_str())
            }) {
                self.names.insert(field.as_str().to_owned());
            }
        }
    }
}

/// How deep a body is looked into; JSON in a text counts as one level.
const MAX_DEPTH: u32 = 8;

/// The fields in which bodies complain. All others may echo the request.
const COMPLAINTS: [&str; 20] = [
    "error",
    "body",
    "json",
    "errors",
    "detail",
    "details",
    "message",
    "msg",
    "metadata",
    "raw",
    "description",
    "error_description",
    "reason",
    "cause",
    "title",
    "fieldViolations",
    "issues",
    "params",
    "inner_error",
    "innererror",
];

/// The JSON within a text, as gateways pass on the answer of a provider, and the text around it.
fn split_nested_json(text: &str) -> (Vec<&str>, Option<Value>) {
    let Some(start) = text.find(['{', '[']) else {
        return (vec![text], None);
    };
    let mut values = serde_json::Deserializer::from_str(&text[start..]).into_iter::<Value>();
    match values.next() {
        Some(Ok(nested @ (Value::Object(_) | Value::Array(_)))) if !is_list_of_words(&nested) => {
            let end = start + values.byte_offset();
            (vec![&text[..start], &text[end..]], Some(nested))
        }
        _ => (vec![text], None),
    }
}

/// `["user"]` in a sentence is a part of the sentence.
fn is_list_of_words(value: &Value) -> bool {
    matches!(value, Value::Array(items) if items.iter().all(Value::is_string))
}

#[cfg(test)]
mod tests;
