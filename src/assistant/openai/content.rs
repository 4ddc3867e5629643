//! What a message holds, whatever its type: text as a string, as parts, as a number; files, as bytes or as links.

use std::borrow::Cow;

use super::answer_parts::AnswerParts;
use super::sources;
use crate::assistant::lenient_json::{Json, JsonKind};
use crate::assistant::{FileContent, OfferedFile};

/// Base64 of a file that is no address is at least so long: shorter words are names.
const MIN_BASE64: usize = 16;
/// How deep parts may hold parts.
const MAX_DEPTH: u32 = 6;
/// The most files of one list.
const MAX_FILES: usize = 100;
/// The longest name of a file that is shown, in characters.
const MAX_NAME: usize = 64;

/// Reads a `delta` or a `message`. Whether it holds text, or files.
pub(super) fn read_message(message: Json<'_>, parts: &mut AnswerParts) -> bool {
    if !message.is_object() {
        return read_content(message, parts, MAX_DEPTH);
    }
    let [
        content,
        refusal,
        audio,
        images,
        image,
        files,
        calls,
        call,
        annotations,
        citations,
        results,
        thoughts @ ..,
    ] = message.fields([
        "content",
        "refusal",
        "audio",
        "images",
        "image",
        "files",
        "tool_calls",
        "function_call",
        "annotations",
        "citations",
        "search_results",
        "reasoning_content",
        "reasoning",
        "reasoning_details",
        "thinking",
    ]);
    let thoughts: [_; 4] = thoughts;
    if thoughts.iter().any(|thought| !thought.is_blank()) {
        parts.note_reasoning();
        // Gateways send the same in several fields.
        let mut texts = thoughts.iter().filter_map(|thought| thought.text());
        if let Some(piece) = texts.find(|text| !text.is_empty()) {
            parts.push_reasoning(&piece);
        }
    }
    if !calls.is_blank() || !call.is_blank() {
        parts.note_tool_call();
    }
    let mut has_content = read_content(content, parts, MAX_DEPTH);
    has_content |= read_content(refusal, parts, MAX_DEPTH);
    has_content |= read_audio(audio, !has_content, parts);
    for pictures in [images, image] {
        has_content |= read_files(pictures, "picture", parts);
    }
    has_content |= read_files(files, "file", parts);
    sources::read_citations(citations, results, parts);
    sources::read_annotations(annotations, parts);
    has_content
}

/// Reads text, or parts of any types. Whether there is any.
pub(super) fn read_content(content: Json<'_>, parts: &mut AnswerParts, depth: u32) -> bool {
    match content.kind() {
        JsonKind::Null => false,
        JsonKind::Text | JsonKind::Scalar => {
            let text = content.text().unwrap_or_default();
            parts.push_text(&text);
            !text.is_empty()
        }
        JsonKind::Array | JsonKind::Object if depth == 0 => false,
        JsonKind::Array => {
            let read = content
                .items()
                .filter(|part| read_content(*part, parts, depth - 1));
            read.count() > 0
        }
        JsonKind::Object => read_part(content, parts, depth - 1),
    }
}

fn read_part(part: Json<'_>, parts: &mut AnswerParts, depth: u32) -> bool {
    let [kind, text, content, value, refusal, thought, annotations] = part.fields([
        "type",
        "text",
        "content",
        "value",
        "refusal",
        "thought",
        "annotations",
    ]);
    let kind = kind.string().unwrap_or_default().to_ascii_lowercase();
    let is = |words: &[&str]| words.iter().any(|word| kind.contains(word));
    if is(&["think", "thought", "reason"]) || matches!(thought.string().as_deref(), Some("true")) {
        parts.note_reasoning();
        return false;
    }
    if is(&["tool", "function"]) {
        parts.note_tool_call();
        return false;
    }
    if is(&["image", "picture"]) {
        return read_files(part, "picture", parts);
    }
    sources::read_annotations(annotations, parts);
    let texts = [text, content, value, refusal];
    let has_text = texts
        .into_iter()
        .find(|text| !text.is_null())
        .is_some_and(|text| read_content(text, parts, depth));
    if has_text {
        return true;
    }
    if is(&["audio", "file", "video"]) {
        return read_files(part, "file", parts);
    }
    let [image, file, inline] = part.fields(["image_url", "file", "inline_data"]);
    read_files(image, "picture", parts)
        | read_files(file, "file", parts)
        | read_files(inline, "file", parts)
}

/// Speech that is an answer: its words, where they stand nowhere else, and the sound.
fn read_audio(audio: Json<'_>, is_alone: bool, parts: &mut AnswerParts) -> bool {
    let [transcript, data] = audio.fields(["transcript", "data"]);
    let words = transcript.text().filter(|_| is_alone);
    if let Some(words) = &words {
        parts.push_text(words);
    }
    let data = data.text().filter(|data| !data.is_empty());
    if let Some(data) = &data {
        parts.push_audio(data);
    }
    words.is_some() || data.is_some()
}

/// One file or a list of them.
pub(super) fn read_files(files: Json<'_>, word: &str, parts: &mut AnswerParts) -> bool {
    match files.kind() {
        JsonKind::Null | JsonKind::Scalar => false,
        JsonKind::Array => {
            let files = files.items().take(MAX_FILES);
            files.filter(|file| read_files(*file, word, parts)).count() > 0
        }
        JsonKind::Text | JsonKind::Object => read_file(files, word, parts),
    }
}

/// Where the content or the address of a file can stand, in the part itself or in an object in it.
const CONTENTS: [&str; 11] = [
    "url",
    "image_url",
    "data",
    "b64_json",
    "result",
    "file_data",
    "image",
    "file",
    "source",
    "file_id",
    "inline_data",
];
const NAMES: [&str; 5] = ["name", "filename", "file_name", "title", "alt"];
const TYPES: [&str; 5] = [
    "media_type",
    "mime_type",
    "mimeType",
    "output_format",
    "format",
];

/// What is known about a file.
#[derive(Debug, Default)]
struct FileInfo<'a> {
    name: Option<String>,
    media_type: Option<String>,
    content: Option<Cow<'a, [u8]>>,
    /// The content is the name of a file at the server.
    is_id: bool,
}

impl<'a> FileInfo<'a> {
    fn collect(&mut self, file: Json<'a>, depth: u32) {
        if !file.is_object() {
            let content = file.text().filter(|text| !text.is_empty());
            self.content = self.content.take().or(content);
            return;
        }
        let names = file.fields(NAMES);
        let name = names.iter().find_map(|name| name.non_empty_string());
        self.name = self.name.take().or(name);
        let types = file.fields(TYPES);
        let media_type = types.iter().find_map(|kind| kind.non_empty_string());
        self.media_type = self.media_type.take().or(media_type);
        if depth > 0 {
            for (field, inner) in CONTENTS.iter().zip(file.fields(CONTENTS)) {
                if !inner.is_null() {
                    self.is_id |= self.content.is_none() && *field == "file_id";
                    self.collect(inner, depth - 1);
                }
            }
        }
    }

    /// The media type that goes with the file: `png` is one of pictures.
    fn media_type(&self, word: &str) -> String {
        let known = self.media_type.as_deref().unwrap_or_default();
        if known.is_empty() || known.contains('/') {
            return known.to_owned();
        }
        let family = if word == "picture" {
            "image"
        } else {
            "application"
        };
        format!("{family}/{known}")
    }
}

fn read_file(file: Json<'_>, word: &str, parts: &mut AnswerParts) -> bool {
    let mut info = FileInfo::default();
    info.collect(file, 3);
    let media_type = info.media_type(word);
    let Some(content) = info.content else {
        return false;
    };
    // Only its beginning says what it is; the rest is the file.
    let head = String::from_utf8_lossy(&content[..content.len().min(4096)]).into_owned();
    let scheme = head.split(':').next().unwrap_or_default();
    let is_address = matches!(scheme, "data" | "http" | "https");
    let name = info
        .name
        .or_else(|| name_of_link(&head).filter(|_| scheme != "data"))
        .or_else(|| name_of_type(&head, info.media_type.as_deref(), word))
        .unwrap_or_else(|| if word == "picture" { "image" } else { word }.to_owned());
    let name = clean_name(&name);
    let file = if is_address {
        OfferedFile::from_address(&name, &media_type, &String::from_utf8_lossy(&content))
    } else if info.is_id || content.len() < MIN_BASE64 {
        OfferedFile::new(&name, &media_type, FileContent::Unreadable)
    } else {
        OfferedFile::from_base64(&name, &media_type, &content)
    };
    parts.push_file(file.with_picture_mark(word == "picture"), &content);
    true
}

/// The last part of the path.
fn name_of_link(link: &str) -> Option<String> {
    let path = link.split(['?', '#']).next()?;
    let (host, path) = path.split_once("://")?.1.split_once('/')?;
    let name = path.rsplit('/').next()?;
    (!name.is_empty() && !host.is_empty()).then(|| name.to_owned())
}

/// `image.png` of `data:image/png;base64,…`.
fn name_of_type(head: &str, media_type: Option<&str>, word: &str) -> Option<String> {
    let of_data = head
        .strip_prefix("data:")
        .and_then(|rest| rest.split([';', ',']).next());
    let kind = of_data.filter(|kind| !kind.is_empty()).or(media_type)?;
    let (family, format) = kind
        .split_once('/')
        .unwrap_or((if word == "picture" { "image" } else { word }, kind));
    let family = if family == "application" {
        "file"
    } else {
        family
    };
    let format = format.split(['+', ';']).next()?;
    let format = if format == "jpeg" { "jpg" } else { format };
    Some(format!("{family}.{format}"))
}

/// A name that is one piece of plain text in Markdown.
fn clean_name(name: &str) -> String {
    let name = name.rsplit(['/', '\\']).next().unwrap_or(name);
    let is_plain = |c: &char| !c.is_control() && !"[]()<>`*|\\".contains(*c);
    let name: String = name.chars().filter(is_plain).take(MAX_NAME).collect();
    if name.trim().is_empty() {
        "file".to_owned()
    } else {
        name.trim().to_owned()
    }
}
