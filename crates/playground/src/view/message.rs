//! A message as a bubble. Each kind of content has one function in [`KINDS`].

use bot_api_simulator::ConversationMessage;
use maud::{Markup, html};
use serde_json::Value;

use super::entities::formatted;
use super::rich::rich_message;
use super::time;
use crate::selection::SelectionQuery;

/// Shows the value of a message's field.
type Show = fn(&Value) -> Markup;

/// The field of a `Message` that has the content, and what shows it.
const KINDS: [(&str, Show); 14] = [
    ("rich_message", rich_message),
    ("photo", photo),
    ("voice", |value| sound("🎤", "Voice message", value)),
    ("audio", |value| sound("🎵", "Audio", value)),
    ("video", |value| file("🎬", "Video", value)),
    ("video_note", |value| file("🎬", "Video message", value)),
    ("animation", |value| file("🎞", "GIF", value)),
    ("document", |value| file("📄", "Document", value)),
    ("sticker", sticker),
    ("location", location),
    ("contact", contact),
    ("new_chat_members", |_| service("joined the group")),
    ("left_chat_member", |_| service("left the group")),
    ("forward_origin", |_| service("forwarded")),
];

/// How a bubble stands in the chat.
pub(super) struct Bubble<'a> {
    pub message: &'a ConversationMessage,
    /// Whether the selected user wrote it.
    pub own: bool,
    /// The sender's name, where it is shown.
    pub sender: Option<&'a str>,
    /// The page's query, for the link to reply and for taps.
    pub query: SelectionQuery,
    /// What the bot told the selected user about their last tap on one of its buttons.
    pub notice: Option<&'a str>,
}

pub(super) fn bubble(bubble: &Bubble<'_>) -> Markup {
    let message = bubble.message;
    let id = format!("message-{}", message.message_id);
    let sender = message.from.as_ref();
    let name = sender.map_or("Channel", |user| user.first_name.as_str());
    html! {
        article .bubble .own[bubble.own] .bot[message.by_bot] #(id) aria-label={ "Message of " (name) } {
            @if let Some(shown) = bubble.sender {
                p .sender .(colour(sender.map_or(0, |user| user.id))) { (shown) }
            }
            @if let Some((replied, text)) = &message.reply_to {
                a .quote href={ "#message-" (replied) } { (shortened(text)) }
            }
            (content(message))
            @if !message.text.is_empty() {
                div .body { (formatted(&message.text, &message.entities)) }
            }
            @if let Some(markup) = &message.reply_markup { (keyboard(markup, message.message_id, bubble.query)) }
            @if let Some(notice) = bubble.notice { p .notice role="status" { (notice) } }
            p .meta {
                a .reply href=(bubble.query.with_reply(Some(message.message_id)).page_url())
                    aria-label={ "Reply to message " (message.message_id) " of " (name) } { "Reply" }
                @if message.edited { span .edited { "edited" } }
                (time::minutes(message.at))
            }
        }
    }
}

/// The buttons of an inline keyboard, which the selected user can tap.
fn keyboard(markup: &Value, message: i64, query: SelectionQuery) -> Markup {
    let rows = markup["inline_keyboard"].as_array();
    let action = format!("/taps{}", query.to_url_query());
    html! {
        form .keyboard method="post" action=(action) hx-post=(action) hx-swap="none" {
            input type="hidden" name="message" value=(message);
            @for (row, buttons) in rows.into_iter().flatten().enumerate() {
                div .row-of-buttons {
                    @for (column, button) in buttons.as_array().into_iter().flatten().enumerate() {
                        button type="submit" name="button" value={ (row) "." (column) } { (button["text"].as_str().unwrap_or_default()) }
                    }
                }
            }
        }
    }
}

fn content(message: &ConversationMessage) -> Markup {
    html! {
        @for (field, show) in KINDS {
            @if let Some(value) = message.content.get(field) { (show(value)) }
        }
    }
}

/// One of seven colours of names, as Telegram chooses them: by the id.
pub(super) fn colour(id: i64) -> &'static str {
    const COLOURS: [&str; 7] = ["red", "orange", "violet", "green", "cyan", "blue", "pink"];
    let index = usize::try_from(id.rem_euclid(7)).unwrap_or(0);
    COLOURS[index]
}

/// The first line of a quoted text.
pub(super) fn shortened(text: &str) -> String {
    const CHARS: usize = 60;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        return "Message".to_owned();
    }
    let mut short: String = line.chars().take(CHARS).collect();
    if line.chars().count() > CHARS || text.lines().count() > 1 {
        short.push('…');
    }
    short
}

/// The largest size of a photo; instead of one that is no picture, its name.
fn photo(value: &Value) -> Markup {
    let largest = value.as_array().and_then(|sizes| sizes.last());
    let file_id = largest.and_then(|size| size["file_id"].as_str());
    html! {
        @match file_id {
            Some(file_id) => { img .photo src={ "/pictures/" (file_id) } alt="Photo" loading="lazy"; }
            None => { p .file { span aria-hidden="true" { "🖼" } " Photo" } }
        }
    }
}

fn file(icon: &str, kind: &str, value: &Value) -> Markup {
    let name = value["file_name"].as_str().unwrap_or(kind);
    let duration = value["duration"]
        .as_i64()
        .map(|seconds| format!("{seconds} s"));
    let size = value["file_size"]
        .as_u64()
        .map(|bytes| format!("{bytes} bytes"));
    let details: Vec<String> = duration.into_iter().chain(size).collect();
    html! {
        p .file {
            span .icon aria-hidden="true" { (icon) }
            span { b { (name) } br; span .details { (details.join(", ")) } }
            @if let Some(file_id) = value["file_id"].as_str() {
                a .save href={ "/files/" (file_id) } aria-label={ "Save " (name) } { "Save" }
            }
        }
    }
}

/// A file that is listened to.
fn sound(icon: &str, kind: &str, value: &Value) -> Markup {
    html! {
        (file(icon, kind, value))
        @if let Some(file_id) = value["file_id"].as_str() {
            audio .sound controls preload="none" src={ "/files/" (file_id) } aria-label=(kind) {}
        }
    }
}

fn sticker(value: &Value) -> Markup {
    html! { p .sticker { (value["emoji"].as_str().unwrap_or("Sticker")) } }
}

fn location(value: &Value) -> Markup {
    html! { p .file { span .icon aria-hidden="true" { "📍" } span { (value["latitude"]) ", " (value["longitude"]) } } }
}

fn contact(value: &Value) -> Markup {
    html! {
        p .file {
            span .icon aria-hidden="true" { "👤" }
            span { b { (value["first_name"].as_str().unwrap_or("Contact")) } br; (value["phone_number"].as_str().unwrap_or("")) }
        }
    }
}

fn service(text: &str) -> Markup {
    html! { p .details { (text) } }
}

/// The media type of a picture that browsers show, by its first bytes; SVG, which can hold scripts, is none.
pub(crate) fn picture_type(bytes: &[u8]) -> Option<&'static str> {
    const SIGNATURES: [(&[u8], &str); 3] = [
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"GIF8", "image/gif"),
    ];
    if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        return Some("image/webp");
    }
    SIGNATURES
        .into_iter()
        .find(|(signature, _)| bytes.starts_with(signature))
        .map(|(_, media_type)| media_type)
}

/// The media type of sound that browsers play, by its first bytes.
pub(crate) fn sound_type(bytes: &[u8]) -> Option<&'static str> {
    const SIGNATURES: [(&[u8], &str); 4] = [
        (b"OggS", "audio/ogg"),
        (b"ID3", "audio/mpeg"),
        (b"\xff\xfb", "audio/mpeg"),
        (b"RIFF", "audio/wav"),
    ];
    SIGNATURES
        .into_iter()
        .find(|(signature, _)| bytes.starts_with(signature))
        .map(|(_, media_type)| media_type)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_in_files_and_contacts_are_escaped() {
        let document = json!({"document": {"file_name": "<b>x</b>.txt", "file_size": 3}});
        let contact = json!({"contact": {"first_name": "<i>", "phone_number": "\"><script>"}});
        for content_of in [document, contact] {
            let (field, value) = content_of.as_object().unwrap().iter().next().unwrap();
            let (_, show) = KINDS.iter().find(|(known, _)| known == field).unwrap();
            let html = show(value).into_string();
            assert!(
                !html.contains("<script>") && !html.contains("<i>"),
                "{html}"
            );
            assert!(!html.contains("<b>x</b>"), "{html}");
        }
    }

    #[test]
    fn only_pictures_that_cannot_hold_scripts_are_served() {
        assert_eq!(picture_type(b"\x89PNG\r\n\x1a\n...."), Some("image/png"));
        assert_eq!(picture_type(b"RIFF\0\0\0\0WEBPVP8 "), Some("image/webp"));
        assert_eq!(picture_type(b"<svg onload=alert(1)>"), None);
        assert_eq!(picture_type(b"simulated"), None);
    }
}
