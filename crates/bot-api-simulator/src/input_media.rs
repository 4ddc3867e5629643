//! `InputMedia` objects, and `sendMediaGroup`, which sends several as an album.

use serde_json::{Value, json};

use super::formatting::caption;
use super::input_files::input_file;
use super::keyboard::ReplyMarkup;
use super::media_objects::{Kind, fields_of};
use super::method_result::{MethodError, MethodResult, MethodSuccess};
use super::outgoing::{OutgoingContent, send};
use super::params::Params;
use super::telegram_state::{Bot, TelegramState};

const MIN_ALBUM: usize = 2;
const MAX_ALBUM: usize = 10;

/// `sendMediaGroup`.
pub(super) fn send_media_group(
    telegram: &TelegramState,
    bot: &Bot,
    params: &Params,
) -> MethodResult {
    let Value::Array(items) = params.required_json("media", "media")? else {
        return Err(MethodError::bad_request("Expected an Array of InputMedia"));
    };
    if items.len() > MAX_ALBUM {
        let text = "Too many messages to send as an album";
        return Err(MethodError::bad_request(text));
    }
    if items.len() < MIN_ALBUM {
        let text = "Too few messages to send as an album";
        return Err(MethodError::bad_request(text));
    }
    let mut contents = Vec::with_capacity(items.len());
    for item in &items {
        contents.push(read_input_media(telegram, params, item, true)?);
    }
    check_mixture(&contents)?;
    let album = telegram.faults.between(1 << 53, 1 << 62).to_string();
    for content in &mut contents {
        content.fields.insert("media_group_id".into(), json!(album));
        if let Some(media) = &mut content.media {
            media.media_group_id = Some(album.clone());
        }
    }
    let sent = send(telegram, bot, params, contents, ReplyMarkup::None)?;
    MethodSuccess::json(&sent)
}

/// Documents are grouped with documents only, and audio files with audio files.
fn check_mixture(contents: &[OutgoingContent]) -> Result<(), MethodError> {
    let has = |kind: Kind| {
        contents.iter().any(|content| {
            let media = content.media.as_ref();
            media.is_some_and(|media| media.kind == kind.field())
        })
    };
    let visual = has(Kind::Photo) || has(Kind::Video);
    let kinds = [visual, has(Kind::Document), has(Kind::Audio)];
    if kinds.into_iter().filter(|has| *has).count() < 2 {
        return Ok(());
    }
    let kind = if has(Kind::Document) {
        Kind::Document
    } else {
        Kind::Audio
    };
    Err(MethodError::bad_request(&format!(
        "{} can't be mixed with other media types",
        kind.title()
    )))
}

/// Reads one `InputMedia`.
pub(super) fn read_input_media(
    telegram: &TelegramState,
    params: &Params,
    item: &Value,
    for_album: bool,
) -> Result<OutgoingContent, MethodError> {
    let refuse = |why: &str| MethodError::bad_request(&format!("Can't parse InputMedia: {why}"));
    let Value::Object(fields) = item else {
        return Err(refuse("expected an Object"));
    };
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    let entities = match fields.get("caption_entities") {
        None | Some(Value::Null) => String::new(),
        Some(entities) => entities.to_string(),
    };
    let caption = caption(text("caption"), text("parse_mode"), &entities)?;
    let kind = match text("type") {
        "" => return Err(refuse("Can't find field \"type\"")),
        "photo" => Kind::Photo,
        "video" => Kind::Video,
        "audio" => Kind::Audio,
        "document" => Kind::Document,
        "animation" if for_album => {
            return Err(refuse("type \"animation\" can't be used in sendMediaGroup"));
        }
        "animation" => Kind::Animation,
        other => return Err(refuse(&format!("type \"{other}\" is unsupported"))),
    };
    let media = text("media");
    let file = if media.is_empty() {
        None
    } else {
        input_file(telegram, params, "", media)?
    };
    let file = file.ok_or_else(|| refuse("media not found"))?;
    let mut details = fields.clone();
    if for_album {
        details.insert("disable_content_type_detection".into(), json!(true));
    }
    let (fields, media) = fields_of(telegram, kind, file, &details)?;
    Ok(OutgoingContent {
        caption,
        fields,
        media: Some(media),
        ..OutgoingContent::default()
    })
}
