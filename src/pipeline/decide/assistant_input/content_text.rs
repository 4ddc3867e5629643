//! Content that is no text, in words.

use crate::pipeline::message::incoming_update::{Content, TelegramFile};

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
        Content::Voice(..) | Content::VideoNote(_) => "[voice message]".to_owned(),
        Content::Audio(_) => "[audio]".to_owned(),
        Content::Video(_) | Content::Animation(_) => "[video]".to_owned(),
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
        Content::Sticker(emoji) => emoji.clone()?,
        _ => return None,
    })
}

/// Whether a file is a picture that assistants can see.
pub(super) fn is_picture(file: &TelegramFile) -> bool {
    file.media_type
        .as_deref()
        .is_some_and(|m| matches!(m, "image/jpeg" | "image/png" | "image/webp" | "image/gif"))
}
