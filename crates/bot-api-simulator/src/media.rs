//! Methods that send one file: `sendPhoto`, `sendDocument`, `sendAudio`, `sendVoice`, `sendVideo`, `sendAnimation`, and
//! `editMessageMedia`.

use serde_json::{Map, Value};

use super::editing::edit;
use super::formatting::caption_of;
use super::input_files::input_file;
use super::input_media::read_input_media;
use super::keyboard::ReplyMarkup;
use super::media_objects::{Kind, fields_of};
use super::method_result::{MethodError, MethodResult};
use super::outgoing::{OutgoingContent, send_one};
use super::params::Params;
use super::telegram_state::{Bot, TelegramState};

/// Parameters that describe the file.
const DETAILS: &[&str] = &[
    "duration",
    "width",
    "height",
    "title",
    "performer",
    "has_spoiler",
    "show_caption_above_media",
    "disable_content_type_detection",
];

/// A method that sends one file; `kind` is also the name of its parameter.
pub(super) fn send_media(
    telegram: &TelegramState,
    bot: &Bot,
    params: &Params,
    kind: Kind,
) -> MethodResult {
    let name = kind.field();
    let file = input_file(telegram, params, name, params.get(name))?
        .ok_or_else(|| MethodError::bad_request(&format!("There is no {name} in the request")))?;
    let caption = caption_of(params)?;
    let details: Map<String, Value> = DETAILS
        .iter()
        .map(|name| ((*name).to_owned(), Value::from(params.get(name))))
        .collect();
    let markup = ReplyMarkup::parse(params.get("reply_markup"))?;
    let (fields, media) = fields_of(telegram, kind, file, &details)?;
    let content = OutgoingContent {
        caption,
        fields,
        media: Some(media),
        ..OutgoingContent::default()
    };
    send_one(telegram, bot, params, content, markup)
}

/// `editMessageMedia`. Without `reply_markup` the keyboard goes.
pub(super) fn edit_message_media(
    telegram: &TelegramState,
    bot: &Bot,
    params: &Params,
) -> MethodResult {
    let media = params.required_json("media", "input media")?;
    let content = read_input_media(telegram, params, &media, false)?;
    edit(telegram, bot, params, |stored| {
        let message = &mut stored.message;
        message.content = content.fields;
        message.set_text(String::new(), Vec::new());
        stored.source = content.caption.source;
        stored.parse_mode = content.caption.parse_mode;
        message.set_caption(content.caption.text, content.caption.entities);
        stored.media = content.media;
        Ok(())
    })
}
