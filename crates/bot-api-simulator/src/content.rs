//! Content of a message besides text (photos, voice, documents and so on), completed to full Bot API objects.
//!
//! A test gives the fields that matter (`{"voice": {"duration": 3}}`); the rest is filled in. Media may carry their bytes as
//! `base64` or `data` (text), which `getFile` and the download path serve; `size` overrides their length. A `thumbnail` is given likewise.

use base64::Engine as _;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::objects::Message;
use super::telegram_state::TelegramState;

/// Adds content to a message.
pub(super) fn fill(
    telegram: &TelegramState,
    content: &Map<String, Value>,
    message: &mut Message,
) -> Result<(), String> {
    for (field, given) in content {
        let value = match field.as_str() {
            "photo" => photo(telegram, given)?,
            "voice" => media(
                telegram,
                given,
                "voice",
                "oga",
                &json!({"duration": 1, "mime_type": "audio/ogg"}),
            )?,
            "audio" => media(
                telegram,
                given,
                "music",
                "mp3",
                &json!({"duration": 1, "mime_type": "audio/mpeg"}),
            )?,
            "video" => media(
                telegram,
                given,
                "videos",
                "mp4",
                &json!({"duration": 1, "width": 320, "height": 240, "mime_type": "video/mp4"}),
            )?,
            "video_note" => media(
                telegram,
                given,
                "video_notes",
                "mp4",
                &json!({"duration": 1, "length": 240}),
            )?,
            "animation" => media(
                telegram,
                given,
                "animations",
                "mp4",
                &json!({"duration": 1, "width": 320, "height": 240}),
            )?,
            "document" => media(
                telegram,
                given,
                "documents",
                "bin",
                &json!({"file_name": "file.bin", "mime_type": "application/octet-stream"}),
            )?,
            "sticker" => media(
                telegram,
                given,
                "stickers",
                "webp",
                &json!({
                    "type": "regular", "width": 512, "height": 512, "is_animated": false, "is_video": false, "emoji": "👍",
                }),
            )?,
            _ => given.clone(),
        };
        message.content.insert(field.clone(), value);
    }
    Ok(())
}

fn bytes_of(given: &Value) -> Result<Bytes, String> {
    if let Some(data) = given["data"].as_str() {
        return Ok(Bytes::copy_from_slice(data.as_bytes()));
    }
    match given["base64"].as_str() {
        Some(text) => base64::engine::general_purpose::STANDARD
            .decode(text)
            .map(Bytes::from)
            .map_err(|error| format!("base64: {error}")),
        None => Ok(Bytes::from_static(b"simulated")),
    }
}

fn media(
    telegram: &TelegramState,
    given: &Value,
    folder: &str,
    extension: &str,
    defaults: &Value,
) -> Result<Value, String> {
    let extension = given["file_name"]
        .as_str()
        .and_then(|name| name.rsplit_once('.'))
        .map_or(extension, |(_, extension)| extension);
    let name = given["file_name"].as_str().unwrap_or_default();
    let size = given["size"].as_u64();
    let bytes = bytes_of(given)?;
    let mut object = telegram.files.add(folder, name, extension, bytes, size);
    for source in [defaults, given] {
        for (field, value) in source.as_object().into_iter().flatten() {
            match field.as_str() {
                "data" | "base64" | "size" => {}
                "thumbnail" if value.get("file_id").is_none() => {
                    let size = json!({"width": 320, "height": 240});
                    object[field] = media(telegram, value, "thumbnails", "jpg", &size)?;
                }
                _ => object[field] = value.clone(),
            }
        }
    }
    Ok(object)
}

/// A photo comes in several sizes; the last is the largest.
fn photo(telegram: &TelegramState, given: &Value) -> Result<Value, String> {
    if given.is_array() {
        return Ok(given.clone());
    }
    let small = media(
        telegram,
        &json!({}),
        "photos",
        "jpg",
        &json!({"width": 90, "height": 67}),
    )?;
    let large = media(
        telegram,
        given,
        "photos",
        "jpg",
        &json!({"width": 1280, "height": 960}),
    )?;
    Ok(json!([small, large]))
}
