//! What people see of the parts of a message or an artifact. Pure.
//!
//! Text is text, files are files, and data is shown only where there is nothing else: agents put calls of tools into it, which are not for people,
//! and results, which are.

use super::streamed_file::StreamedFile;
use crate::assistant::lenient_json::{Json, JsonKind};
use crate::assistant::{Choice, FileContent, OfferedFile};

/// The most of a piece of data, in characters.
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
    /// In a paragraph of its own.
    File(StreamedFile),
    /// A block of its own, where no text says it.
    Data(String),
}

/// A stretch of what people see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shown {
    /// Markdown.
    Text(String),
    /// A file among it.
    File(OfferedFile),
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
            (Some(VisiblePart::File(file)), VisiblePart::File(more))
                if file.goes_on_with(&more) =>
            {
                file.append(more);
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

    /// Adds a paragraph.
    pub(super) fn append_paragraph(&mut self, text: &str) {
        let between = if self.ends_in_text() { "\n\n" } else { "" };
        self.push(VisiblePart::Text(format!("{between}{text}")), "");
    }

    /// The file at its end is whole.
    pub(super) fn end_file(&mut self) {
        if let Some(VisiblePart::File(file)) = self.parts.last_mut() {
            file.end();
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

    /// Whether there are files among it.
    pub(super) fn has_files(&self) -> bool {
        let is_file = |part: &VisiblePart| matches!(part, VisiblePart::File(_));
        self.parts.iter().any(is_file)
    }

    /// As Markdown without its files; data only if no text says it.
    pub(super) fn to_markdown(&self) -> String {
        self.render(!self.has_text())
    }

    /// As Markdown without its files, with or without data.
    pub(super) fn render(&self, with_data: bool) -> String {
        let mut text = String::new();
        let mut behind_block = false;
        for part in &self.parts {
            behind_block = match part {
                VisiblePart::File(_) => true,
                _ => part.render(with_data, behind_block, &mut text),
            };
        }
        text
    }

    /// All of it, in its order.
    pub(super) fn shown(&self, with_data: bool) -> Vec<Shown> {
        let mut shown = Vec::new();
        let mut text = String::new();
        let mut behind_block = false;
        for part in &self.parts {
            if let VisiblePart::File(file) = part {
                shown.push(Shown::Text(std::mem::take(&mut text)));
                shown.push(Shown::File(file.to_file()));
                behind_block = false;
            } else {
                behind_block = part.render(with_data, behind_block, &mut text);
            }
        }
        shown.push(Shown::Text(text));
        shown.retain(|part| !matches!(part, Shown::Text(text) if text.trim().is_empty()));
        shown
    }
}

impl VisiblePart {
    /// Adds what is text of it; returns whether a line ends behind it.
    fn render(&self, with_data: bool, behind_block: bool, text: &mut String) -> bool {
        let (shown, is_block) = match self {
            Self::Text(shown) => (shown, false),
            Self::Data(shown) if with_data => (shown, true),
            Self::Data(_) | Self::File(_) => return behind_block,
        };
        let begins_line = text.is_empty() || text.ends_with('\n') || shown.starts_with('\n');
        if (is_block || behind_block) && !begins_line {
            text.push('\n');
        }
        text.push_str(shown);
        is_block
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

/// A file with what it holds, or where it is.
fn read_file(part: Json<'_>) -> Option<StreamedFile> {
    let inner = part.field("file");
    let file = if inner.is_object() { inner } else { part };
    let [url, uri, file_uri] = file.fields(["url", "uri", "fileWithUri"]);
    let [raw, bytes, file_bytes] = file.fields(["raw", "bytes", "fileWithBytes"]);
    let address = [url, uri, file_uri]
        .into_iter()
        .find_map(Json::non_empty_string);
    let base64 = [raw, bytes, file_bytes]
        .into_iter()
        .find(|bytes| !bytes.is_null());
    if address.is_none() && base64.is_none() && !inner.is_object() {
        return None;
    }
    let non_empty = |fields: [Json<'_>; 2]| {
        let mut fields = fields.into_iter();
        fields.find_map(Json::non_empty_string).unwrap_or_default()
    };
    let name = non_empty(file.fields(["filename", "name"]));
    let media_type = non_empty(file.fields(["mediaType", "mimeType"]));
    let base64 = base64.and_then(Json::text);
    Some(StreamedFile::new(match (base64, address) {
        (Some(base64), _) => OfferedFile::from_base64(&name, &media_type, &base64),
        (None, Some(address)) => OfferedFile::from_address(&name, &media_type, &address),
        (None, None) => OfferedFile::new(&name, &media_type, FileContent::Unreadable),
    }))
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

    /// Text as it is, files as what they are: `(cat.png image/png: 2 bytes)`.
    fn show(content: &Content) -> String {
        let shown = content.shown(!content.has_text());
        let shown = shown.into_iter().map(|part| match part {
            Shown::Text(text) => text,
            Shown::File(file) => {
                let content = match file.content {
                    FileContent::Bytes(bytes) => format!("{} bytes", bytes.len()),
                    FileContent::Link(address) => address,
                    FileContent::Unreadable => "unreadable".to_owned(),
                };
                format!("({} {}: {content})", file.name, file.media_type)
            }
        });
        shown.collect()
    }

    #[rstest]
    #[case::bytes(json!({"kind": "file", "file": {"name": "cat.png", "bytes": "AQI="}}), "(cat.png : 2 bytes)")]
    #[case::raw(json!({"raw": "AQI=", "filename": "cat.png", "mediaType": "image/png"}), "(cat.png image/png: 2 bytes)")]
    #[case::mime_type(json!({"kind": "file", "file": {"bytes": "AQI=", "mimeType": "image/png"}}), "( image/png: 2 bytes)")]
    #[case::broken(json!({"raw": "A", "filename": "cat.png"}), "(cat.png : unreadable)")]
    #[case::nothing(json!({"kind": "file", "file": {"name": "cat.png"}}), "(cat.png : unreadable)")]
    #[case::cloud(json!({"kind": "file", "file": {"uri": "gs://bucket/a/cat.png"}}), "(cat.png : unreadable)")]
    #[case::artifact_service(json!({"url": "artifact://app/cat.png?v=1", "mediaType": "image/png"}), "(cat.png image/png: unreadable)")]
    #[case::data_uri(json!({"url": "data:image/png;base64,AQI="}), "( image/png: 2 bytes)")]
    #[case::draft(json!({"file": {"fileWithBytes": "AQI=", "name": "cat.png"}}), "(cat.png : 2 bytes)")]
    #[case::web(json!({"url": "https://x/f.pdf", "filename": "f.pdf"}), "(f.pdf : https://x/f.pdf)")]
    #[case::web_of_0_3(json!({"kind": "file", "file": {"uri": "https://x/f.pdf"}}), "( : https://x/f.pdf)")]
    #[case::odd_link(json!({"url": "https://x/) [a](https://y/f.pdf"}), "(f.pdf : unreadable)")]
    #[case::script(json!({"url": "javascript:alert(1)", "filename": "x"}), "(x : unreadable)")]
    fn files_have_bytes_or_an_address(#[case] part: Value, #[case] shown: &str) {
        assert_eq!(show(&content(&json!([part]))), shown);
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
    #[case::file_between(json!([{"text": "A cat:"}, {"raw": "AQI=", "filename": "cat.png"}, {"text": "Nice."}]), "A cat:(cat.png : 2 bytes)Nice.")]
    #[case::nothing(json!([{"kind": "video"}, 7, null]), "")]
    fn parts_are_shown_for_people(#[case] parts: Value, #[case] shown: &str) {
        assert_eq!(show(&content(&parts)), shown);
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
