//! Which part of a request an error answer refuses by name. Pure.
//!
//! Sources are the error bodies of `OpenAI`, Azure, Mistral, Anthropic, Gemini, Groq, Fireworks, Cohere, Bedrock, vLLM, llama.cpp, `LiteLLM`
//! and `OpenRouter`: as an object, in an array, or as JSON text within a message. Only complaints are read, nothing that echoes the request.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;
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

    /// Reads an error body.
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
            for pattern in NAMING.iter() {
                for found in pattern.captures_iter(&text) {
                    let list = found.get(1).map_or("", |list| list.as_str());
                    let names = list.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
                    let names = names.filter(|name| !name.is_empty() && *name != "and");
                    self.names.extend(names.map(str::to_owned));
                }
            }
            if STREAM.iter().any(|pattern| pattern.is_match(&text)) {
                let stream = RefusedField::Field(OmittableField::Stream);
                self.fields.insert(stream);
            }
            if refuses_system_role(&text) {
                self.fields.insert(RefusedField::SystemRole);
            }
        }
    }
}

/// How deep a body is looked into; JSON in a text counts as one level.
const MAX_DEPTH: u32 = 8;

/// The fields in which bodies complain. All others may echo the request.
const COMPLAINTS: [&str; 18] = [
    "error",
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

/// Phrases that name refused fields, in lower case; group 1 holds the name or a list of names.
static NAMING: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    const NAME: &str = r#"["'`]?[a-z][a-z0-9_]*["'`]?"#;
    const QUOTED: &str = r#"["'`][a-z][a-z0-9_]*["'`]"#;
    const ADJECTIVE: &str = "(?:unrecognized|unrecognised|unknown|unsupported|unexpected|unpermitted|disallowed|extraneous|invalid|extra|additional|forbidden)";
    const NOUN: &str = "(?:argument|parameter|param|field|property|option|attribute)";
    const NOUNS: &str = r"(?:arguments?|parameters?|params?|fields?|names?|keys?|key\(s\)|property|properties|options?|attributes?)";
    const REFUSED: &str = "(?:(?:is|are|was|were) )?(?:currently )?(?:unsupported|unknown|unrecognized|unexpected|forbidden|disallowed|disabled|(?:does not|not|cannot)(?: be| a| currently| yet)? (?:supported|support|allowed|permitted|recognized|valid|available|known|defined|accepted|implemented|expected|used|set|true))";
    [
        // Unrecognized request argument supplied: user / unknown field `user` / extraneous key [user]
        format!(r"{ADJECTIVE} (?:request |json |body |input |keyword |top-level )*{NOUNS}(?: (?:supplied|provided|found|passed|in (?:the )?(?:request|body|object|payload)))*\s*[:=]?\s*(?:parameter |field )?[\[({{]*({NAME}(?:\s*,\s*{NAME})*)"),
        // The parameter `user` is not supported
        format!(r"\b{NOUN} ({NAME}) {REFUSED}"),
        // The user parameter is not supported
        format!(r"({NAME}) {NOUN} {REFUSED}"),
        // 'user' is not supported / ('user' was unexpected) / "user": Extra inputs are not permitted
        format!(r"({QUOTED}):?\s*(?:{REFUSED}|does not support|extra (?:inputs|fields) (?:are )?not (?:permitted|allowed)|must be false)"),
        // Additional properties are not allowed ('store', 'user' were unexpected)
        format!(r"\(({QUOTED}(?:\s*,\s*{QUOTED})+) were unexpected"),
        // user: Extra inputs are not permitted
        format!(r"(?m)(?:^|[\s.>])({NAME}): (?:extra (?:inputs|fields)|unknown|unrecognized|unexpected|unsupported|additional|must be false|not (?:permitted|allowed|supported))"),
        // pydantic's text: the name on a line of its own
        r"(?m)(?:^|> )([a-z][a-z0-9_]*)\n\s+extra (?:inputs|fields)".to_owned(),
        // pydantic's list as Python writes it
        r"'type': '(?:extra_forbidden|value_error\.extra)', 'loc': [\[(](?:'body', )?'([a-z][a-z0-9_]*)'[,)\]]".to_owned(),
        r"'loc': [\[(](?:'body', )?'([a-z][a-z0-9_]*)',?[)\]], 'msg': 'extra ".to_owned(),
        // Extra inputs are not permitted, field: 'user'
        format!(r"extra (?:inputs|fields) (?:are )?not permitted,? field: ({NAME})"),
        // does not support parameters: ['user'] / doesn't support the 'user' parameter
        format!(r"(?:does not|doesn't|do not|don't) support (?:the )?(?:following )?{NOUNS}\s*:?\s*[\[({{]*({NAME}(?:\s*,\s*{NAME})*)"),
        format!(r"(?:does not|doesn't|do not|don't) support (?:the )?({NAME}) {NOUN}"),
        // Additional parameters are not allowed: 'user'
        format!(r"{NOUNS} (?:are |is )?not (?:allowed|supported|permitted): [\[({{]*({NAME}(?:\s*,\s*{NAME})*)"),
    ]
    .iter()
    .map(|pattern| compile(pattern))
    .collect()
});

/// Phrases that refuse streaming without naming the field.
static STREAM: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    const REFUSED: &str = "(?:unsupported|disabled|not (?:yet |currently )?(?:supported|allowed|available|enabled|permitted|implemented))";
    [
        r"verified to stream\b".to_owned(),
        format!(r"\bstream(?:ing)?(?: mode| responses?| requests?| outputs?| completions?)? (?:(?:is|are) )?(?:currently )?{REFUSED}"),
        r"(?:does not|doesn't|do not|don't|cannot|can't|unable to|not) (?:currently )?(?:support )?stream(?:ing)?\b".to_owned(),
        r#"\bstream(?:ing)?["'`]?\s*[:=]?\s*(?:must|should|has to) be (?:set to )?["'`]?false"#.to_owned(),
        format!(r#"\bstream["'`]?\s*[=:]\s*["'`]?true["'`]? (?:is )?{REFUSED}"#),
        r"only (?:supports? )?non-?stream".to_owned(),
        r#"set ["'`]?stream["'`]?\s*(?:to|=|:)\s*["'`]?false"#.to_owned(),
    ]
    .iter()
    .map(|pattern| compile(pattern))
    .collect()
});

/// Phrases that refuse the role `system`, or messages whose roles do not alternate.
static SYSTEM_ROLE: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    [
        r#"\b(?:system|developer)["'`]?(?: (?:role|message|prompt|instruction)s?)?["'`]? (?:(?:is|are) )?(?:currently )?(?:unsupported|not (?:yet |currently |a )?(?:supported|allowed|permitted|enabled|accepted|available|implemented|valid|one of))"#,
        r#"(?:does not|doesn't|do not|don't|cannot|can't) (?:currently )?(?:support|accept|allow|handle|use) (?:a |the |any )?["'`]?(?:system|developer)\b"#,
        r"must (?:strictly )?alternate\b",
        r#"(?:unexpected|invalid|unknown|unsupported|unrecognized|illegal) (?:message )?role:?\s*["'`]?(?:system|developer)\b"#,
        r#"\brole[:=]?\s*["'`]?(?:system|developer)["'`]? (?:is )?(?:invalid|unsupported|not )"#,
        r#"only ["'`]?user["'`]?(?:,| and| or|/|,? and)? ["'`]?(?:assistant|model)["'`]? (?:roles?|messages?)"#,
        r"input tag 'system' found",
        r#"must (?:start|begin) with (?:a |the )?["'`]?user\b"#,
    ]
    .iter()
    .map(|pattern| compile(pattern))
    .collect()
});

/// Lists of the roles that there are: without `system` in it, that role is refused.
static ROLES: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    [
        r#"\broles?["'`]? (?:must|should|can|may)(?: only)? be (?:either )?(?:one of )?:?([^.\n]{0,80})"#,
        r"(?:valid|supported|allowed) roles?(?: are)?:?([^.\n]{0,80})",
        r"(?:should|must) be ('user'[^.\n]{0,60})",
    ]
    .iter()
    .map(|pattern| compile(pattern))
    .collect()
});

fn refuses_system_role(text: &str) -> bool {
    let mut lists = ROLES.iter().flat_map(|pattern| pattern.captures_iter(text));
    SYSTEM_ROLE.iter().any(|pattern| pattern.is_match(text))
        || lists.any(|list| {
            let list = list.get(1).map_or("", |list| list.as_str());
            list.contains("user") && !list.contains("system")
        })
}

fn compile(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a constant pattern")
}

#[cfg(test)]
mod tests;
