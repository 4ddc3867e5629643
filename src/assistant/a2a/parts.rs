//! What people see of the parts of a message or an artifact. Pure.
//!
//! Text is text, files at web addresses are links, other files are named, and data is shown only where there is nothing else: agents put calls of
//! tools into it, which are not for people, and results, which are.

use crate::assistant::Choice;
use crate::assistant::lenient_json::{Json, JsonKind};

/// The longest name of a file, and the most of a piece of data, in characters.
const MAX_NAME: usize = 100;
const MAX_DATA: usize = 2000;

/// What ADK and kagent say that data is, in the metadata of its part, where it is a step of their work.
const STEPS: [&str; 6] = [
    "function_call",
    "function_response",
    "code_execution_result",
    "executable_code",
    "tool_call",
    "tool_response",
];

/// One part as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum VisiblePart {
    Text(String),
    /// On a line of its own.
    File(String),
    /// A block of its own, where no text says it.
    Data(String),
}

/// The parts of a message or an artifact that people see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Content {
    parts: Vec<VisiblePart>,
}

impl Content {
    /// The content of a message: each text is a line.
    pub(super) fn of_message(message: Json<'_>) -> Self {
        Self::read(message, "\n")
    }

    /// The content of an artifact; one that was streamed keeps each piece as a part.
    pub(super) fn of_artifact(artifact: Json<'_>) -> Self {
        Self::read(artifact, "")
    }

    fn read(value: Json<'_>, between: &str) -> Self {
        let mut content = Self::default();
        let parts = value.field("parts");
        if matches!(parts.kind(), JsonKind::Text | JsonKind::Scalar) {
            content.push(VisiblePart::Text(parts.string().unwrap_or_default()), "");
        }
        for part in parts.items() {
            if let Some(part) = read_part(part) {
                content.push(part, between);
            }
        }
        content
    }

    fn push(&mut self, part: VisiblePart, between: &str) {
        match (self.parts.last_mut(), part) {
            (_, VisiblePart::Text(more)) if more.is_empty() => {}
            (Some(VisiblePart::Text(text)), VisiblePart::Text(more)) => {
                text.push_str(between);
                text.push_str(&more);
            }
            (_, part) => self.parts.push(part),
        }
    }

    /// Adds what follows.
    pub(super) fn append(&mut self, more: Self) {
        for part in more.parts {
            self.push(part, "");
        }
    }

    /// Whether people see nothing of it.
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Whether it says anything in words.
    pub(super) fn has_text(&self) -> bool {
        let has_words =
            |part: &VisiblePart| matches!(part, VisiblePart::Text(t) if !t.trim().is_empty());
        self.parts.iter().any(has_words)
    }

    /// The text, if it is text and nothing else, so that it can follow other text as it is.
    pub(super) fn only_text(&self) -> Option<&str> {
        match &self.parts[..] {
            [] => Some(""),
            [VisiblePart::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Whether text that is appended stands right behind what is there.
    pub(super) fn ends_in_text(&self) -> bool {
        matches!(self.parts.last(), Some(VisiblePart::Text(_)))
    }

    /// As Markdown; data only if no text says it.
    pub(super) fn to_markdown(&self) -> String {
        self.render(!self.has_text())
    }

    /// As Markdown, with or without data.
    pub(super) fn render(&self, with_data: bool) -> String {
        let mut text = String::new();
        let mut behind_block = false;
        for part in &self.parts {
            let (shown, is_block) = match part {
                VisiblePart::Text(shown) => (shown, false),
                VisiblePart::File(shown) => (shown, true),
                VisiblePart::Data(shown) if with_data => (shown, true),
                VisiblePart::Data(_) => continue,
            };
            let begins_line = text.is_empty() || text.ends_with('\n') || shown.starts_with('\n');
            if (is_block || behind_block) && !begins_line {
                text.push('\n');
            }
            text.push_str(shown);
            behind_block = is_block;
        }
        text
    }
}

/// What the data of a part says in its field `type` that offers buttons (docs/assistants.md).
const BUTTONS: &str = "buttons";

/// The buttons that a part offers.
pub(super) fn choice_of(part: Json<'_>) -> Option<Choice> {
    let [kind, buttons, id, audience] = part.field("data").fields(["type", "buttons", "id", "for"]);
    if kind.string().as_deref() != Some(BUTTONS) {
        return None;
    }
    Choice::read(buttons).map(|choice| choice.with_context(id, audience))
}

fn read_part(part: Json<'_>) -> Option<VisiblePart> {
    if part.kind() == JsonKind::Text {
        return part.string().map(VisiblePart::Text);
    }
    if is_thought(part) {
        return None;
    }
    let [text, data] = part.fields(["text", "data"]);
    if let Some(text) = text_of(text) {
        return Some(VisiblePart::Text(text));
    }
    if let Some(file) = read_file(part) {
        return Some(VisiblePart::File(file));
    }
    if data.is_null() || is_step(part) || choice_of(part).is_some() {
        return None;
    }
    match data.string() {
        Some(text) => Some(VisiblePart::Text(text)),
        None => Some(VisiblePart::Data(data_block(data))),
    }
}

/// A text, or an object with one in `value` or `text`.
fn text_of(text: Json<'_>) -> Option<String> {
    if text.is_object() {
        let [value, inner] = text.fields(["value", "text"]);
        return value.string().or_else(|| inner.string());
    }
    text.string()
}

/// ADK and kagent mark reasoning in the part's metadata (`adk_thought`, `kagent_thought`).
fn is_thought(part: Json<'_>) -> bool {
    let marks = part
        .field("metadata")
        .fields(["thought", "adk_thought", "kagent_thought"]);
    marks.into_iter().any(|mark| !mark.is_blank())
}

/// What ADK and kagent say that the data of a part is.
pub(super) fn step_kind(part: Json<'_>) -> Option<String> {
    let [plain, adk, kagent] = part
        .field("metadata")
        .fields(["type", "adk_type", "kagent_type"]);
    [adk, kagent, plain]
        .into_iter()
        .find_map(Json::non_empty_string)
}

/// Whether data is a call of a tool, or what the tool said.
fn is_step(part: Json<'_>) -> bool {
    if step_kind(part).is_some_and(|kind| STEPS.contains(&kind.as_str())) {
        return true;
    }
    let [name, id, arguments, response] = part
        .field("data")
        .fields(["name", "id", "args", "response"]);
    let is_call = arguments.is_object() || response.is_object();
    is_call && name.kind() == JsonKind::Text && id.kind() == JsonKind::Text
}

/// A link to a file, or its name.
fn read_file(part: Json<'_>) -> Option<String> {
    let inner = part.field("file");
    let file = if inner.is_object() { inner } else { part };
    let [url, uri, file_uri] = file.fields(["url", "uri", "fileWithUri"]);
    let [raw, bytes, file_bytes] = file.fields(["raw", "bytes", "fileWithBytes"]);
    let address = [url, uri, file_uri]
        .into_iter()
        .find_map(Json::non_empty_string);
    let has_bytes = [raw, bytes, file_bytes]
        .iter()
        .any(|bytes| !bytes.is_null());
    if address.is_none() && !has_bytes && !inner.is_object() {
        return None;
    }
    let [name, file_name] = file.fields(["name", "filename"]);
    let name = [file_name, name]
        .into_iter()
        .find_map(Json::non_empty_string);
    if let Some(address) = address.as_deref().filter(|address| is_web(address)) {
        let name = one_line(name.as_deref().unwrap_or(address));
        return Some(format!("[{name}]({address})"));
    }
    let data_uri = address
        .as_deref()
        .filter(|a| starts_with_ignoring_case(a, "data:"));
    let [media_type, mime_type] = file.fields(["mediaType", "mimeType"]);
    let media_type = [media_type, mime_type]
        .into_iter()
        .find_map(Json::non_empty_string)
        .or_else(|| media_type_of(data_uri?));
    let name = name.or_else(|| match (&address, data_uri) {
        (Some(address), None) => last_segment(address),
        _ => None,
    });
    Some(file_mark(name, media_type))
}

/// "(file: cat.png)": until files can be sent, people learn that there is one.
fn file_mark(name: Option<String>, media_type: Option<String>) -> String {
    let media_type = media_type.map(|t| t.to_ascii_lowercase());
    let is_picture = media_type
        .as_deref()
        .is_some_and(|t| t.starts_with("image/"));
    let kind = if is_picture { "picture" } else { "file" };
    match name.or(media_type) {
        Some(name) => format!("({kind}: {})", one_line(&name)),
        None => format!("({kind})"),
    }
}

fn is_web(address: &str) -> bool {
    let web = ["https://", "http://"]
        .iter()
        .any(|scheme| starts_with_ignoring_case(address, scheme));
    web && !address.contains(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | '<' | '>'))
}

fn starts_with_ignoring_case(text: &str, beginning: &str) -> bool {
    text.get(..beginning.len())
        .is_some_and(|begun| begun.eq_ignore_ascii_case(beginning))
}

/// `image/png` of `data:image/png;base64,…`.
fn media_type_of(data_uri: &str) -> Option<String> {
    let head = data_uri.get(5..)?.split([';', ',']).next()?;
    (!head.is_empty()).then(|| head.to_owned())
}

/// `cat.png` of `gs://bucket/cat.png`.
fn last_segment(address: &str) -> Option<String> {
    let path = address.split(['?', '#']).next()?.trim_end_matches('/');
    let name = path.rsplit(['/', ':']).next()?;
    (!name.is_empty()).then(|| name.to_owned())
}

/// A name that cannot leave its line or its place in Markdown.
fn one_line(name: &str) -> String {
    let mut line = String::new();
    for c in name
        .trim()
        .chars()
        .filter(|c| !c.is_control())
        .take(MAX_NAME)
    {
        if matches!(c, '\\' | '*' | '[' | ']' | '`' | '<' | '~' | '|') {
            line.push('\\');
        }
        line.push(c);
    }
    line
}

fn data_block(data: Json<'_>) -> String {
    let text = serde_json::to_string_pretty(&data.to_value()).expect("a tree is JSON");
    code_block("json", &cut(&text, MAX_DATA))
}

/// The beginning of a text, and how many characters are left out.
pub(super) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}… (+{})", &text[..end], text[end..].chars().count()),
        None => text.to_owned(),
    }
}

/// A block of code that its content cannot end.
pub(super) fn code_block(language: &str, content: &str) -> String {
    let longest = content
        .split(|c| c != '`')
        .map(str::len)
        .max()
        .unwrap_or_default();
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}{language}\n{content}\n{fence}")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn content(parts: &Value) -> Content {
        let text = json!({ "parts": parts }).to_string();
        Content::of_artifact(Json::split(text.as_bytes()).expect("JSON").0)
    }

    #[rstest]
    #[case::bytes(json!({"kind": "file", "file": {"name": "cat.png", "bytes": "AQI="}}), "(file: cat.png)")]
    #[case::raw(json!({"raw": "AQI=", "filename": "cat.png", "mediaType": "image/png"}), "(picture: cat.png)")]
    #[case::raw_without_a_name(json!({"raw": "AQI=", "mediaType": "application/pdf"}), "(file: application/pdf)")]
    #[case::picture_without_a_name(json!({"kind": "file", "file": {"bytes": "AQI=", "mimeType": "image/png"}}), "(picture: image/png)")]
    #[case::nothing_known(json!({"kind": "file", "file": {"bytes": "AQI="}}), "(file)")]
    #[case::cloud(json!({"kind": "file", "file": {"uri": "gs://bucket/a/cat.png"}}), "(file: cat.png)")]
    #[case::cloud_picture(json!({"url": "s3://bucket/cat.png?v=1", "mediaType": "image/png"}), "(picture: cat.png)")]
    #[case::artifact_service(json!({"url": "artifact://app/cat.png"}), "(file: cat.png)")]
    #[case::data_uri(json!({"url": "data:image/png;base64,AAAA"}), "(picture: image/png)")]
    #[case::named_data_uri(json!({"url": "DATA:image/png;base64,AAAA", "filename": "cat.png"}), "(picture: cat.png)")]
    #[case::draft(json!({"file": {"fileWithBytes": "AQI=", "name": "cat.png"}}), "(file: cat.png)")]
    #[case::web(json!({"url": "https://x/f.pdf", "filename": "f.pdf"}), "[f.pdf](https://x/f.pdf)")]
    #[case::web_without_a_name(json!({"kind": "file", "file": {"uri": "HTTPS://x/f.pdf"}}), "[HTTPS://x/f.pdf](HTTPS://x/f.pdf)")]
    #[case::odd_link(json!({"url": "https://x/) [a](https://y/f.pdf"}), "(file: f.pdf)")]
    #[case::odd_name(json!({"raw": "AQI=", "filename": "a\n[b](c)"}), "(file: a\\[b\\](c))")]
    #[case::script(json!({"url": "javascript:alert(1)", "filename": "x"}), "(file: x)")]
    fn files_are_links_or_named(#[case] part: Value, #[case] shown: &str) {
        assert_eq!(content(&json!([part])).to_markdown(), shown);
    }

    #[rstest]
    #[case::text(json!([{"text": "Hello"}]), "Hello")]
    #[case::number(json!([{"text": 42}]), "42")]
    #[case::value(json!([{"text": {"value": "Hello"}}]), "Hello")]
    #[case::bare(json!(["Hello"]), "Hello")]
    #[case::no_list(json!("Hello"), "Hello")]
    #[case::pieces(json!([{"text": "Hel"}, {"text": "lo"}]), "Hello")]
    #[case::thought(json!([{"text": "hmm", "metadata": {"adk_thought": true}}, {"text": "Hello"}]), "Hello")]
    #[case::no_thought(json!([{"text": "Hello", "metadata": {"adk_thought": false}}]), "Hello")]
    #[case::beside_data(json!([{"text": "Hello"}, {"data": {"k": 1}}]), "Hello")]
    #[case::call(json!([{"data": {"name": "f", "args": {}}, "metadata": {"adk_type": "function_call"}}]), "")]
    #[case::unmarked_call(json!([{"data": {"id": "1", "name": "f", "args": {}}}]), "")]
    #[case::data_alone(json!([{"kind": "data", "data": {"k": 1}}]), "```json\n{\n  \"k\": 1\n}\n```")]
    #[case::data_that_is_text(json!([{"data": "Hello"}]), "Hello")]
    #[case::file_between(json!([{"text": "A cat:"}, {"raw": "AQI=", "filename": "cat.png"}, {"text": "Nice."}]), "A cat:\n(file: cat.png)\nNice.")]
    #[case::nothing(json!([{"kind": "video"}, 7, null]), "")]
    fn parts_are_shown_for_people(#[case] parts: Value, #[case] shown: &str) {
        assert_eq!(content(&parts).to_markdown(), shown);
    }

    #[test]
    fn data_is_bounded_and_stays_in_its_block() {
        let shown = content(&json!([{"data": {"k": "`".repeat(9000)}}])).to_markdown();
        assert!(shown.len() < 6500, "{}", shown.len());
        let fence: String = shown.chars().take_while(|c| *c == '`').collect();
        assert_eq!(shown.matches(&format!("{fence}\n")).count(), 0);
        assert!(shown.ends_with(&format!("\n{fence}")), "{shown}");
    }
}
