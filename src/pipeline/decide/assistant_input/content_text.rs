//! Content that is no text, in words.

use crate::pipeline::message::cut::cut;
use crate::pipeline::message::incoming_update::{Content, Sticker, TelegramFile, Video};

/// The longest name that stands for what was sent, in characters.
const MAX_NAME_CHARS: usize = 100;

/// What a content is, in words; `None` where there is nothing to say of it.
pub(super) fn content_text(content: &Content) -> Option<String> {
    Some(match content {
        Content::Location {
            latitude,
            longitude,
            venue: Some((name, address)),
        } => format!("[place: {name}, {address} ({latitude}, {longitude})]"),
        Content::Location {
            latitude,
            longitude,
            venue: None,
        } => format!("[location: {latitude}, {longitude}]"),
        Content::Contact { name, phone } => format!("[contact: {name}, {phone}]"),
        Content::Photo(_) => "[photo]".to_owned(),
        Content::Document(file) if is_picture(file) => "[photo]".to_owned(),
        Content::Document(TelegramFile {
            name: Some(name), ..
        }) => format!("[file: {name}]"),
        Content::Document(_) => "[file]".to_owned(),
        Content::Voice(..) => "[voice message]".to_owned(),
        Content::VideoNote(note) => video_text("round video", note),
        Content::Audio(_) => "[audio]".to_owned(),
        Content::Video(video) => video_text("video", video),
        Content::Animation(video) => video_text("animation", video),
        Content::Poll { question, options } => {
            let options = options.iter().map(|option| format!("\n- {option}"));
            format!("[poll: {question}]{}", options.collect::<String>())
        }
        Content::Checklist { title, tasks } => {
            let tasks = tasks.iter().map(|(done, task)| {
                let mark = if *done { 'x' } else { ' ' };
                format!("\n- [{mark}] {task}")
            });
            format!("[checklist: {title}]{}", tasks.collect::<String>())
        }
        Content::Sticker(sticker) => sticker_text(sticker),
        _ => return None,
    })
}

/// Such as `[video, 12 s, clip.mp4]`.
fn video_text(kind: &str, video: &Video) -> String {
    let mut text = format!("[{kind}");
    if let Some(seconds) = video.seconds.filter(|seconds| *seconds > 0) {
        text.extend([", ", &seconds.to_string(), " s"]);
    }
    if let Some(name) = name_on_one_line(video.file.name.as_deref()) {
        text.extend([", ", &name]);
    }
    text.push(']');
    text
}

/// Such as `[sticker 😀, set Animals]`.
fn sticker_text(sticker: &Sticker) -> String {
    let mut text = "[sticker".to_owned();
    if let Some(emoji) = name_on_one_line(sticker.emoji.as_deref()) {
        text.extend([" ", &emoji]);
    }
    if let Some(set) = name_on_one_line(sticker.set_name.as_deref()) {
        text.extend([", set ", &set]);
    }
    text.push(']');
    text
}

/// What a sender's app calls something, so that it cannot end the mark that it stands in.
fn name_on_one_line(name: Option<&str>) -> Option<String> {
    let is_shown = |c: &char| !c.is_control() && !matches!(c, '[' | ']');
    let name: String = name?.chars().filter(is_shown).collect();
    let name = name.trim();
    (!name.is_empty()).then(|| cut(name, MAX_NAME_CHARS))
}

/// Whether a file is a picture that assistants can see.
pub(super) fn is_picture(file: &TelegramFile) -> bool {
    file.media_type.as_deref().is_some_and(is_picture_type)
}

/// Whether assistants can see pictures of a media type.
pub(crate) fn is_picture_type(media_type: &str) -> bool {
    matches!(
        media_type,
        "image/jpeg" | "image/png" | "image/webp" | "image/gif"
    )
}
