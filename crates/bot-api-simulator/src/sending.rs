//! Methods that write to a chat without media: `sendMessage`, `sendChatAction`.

use super::chats::writable;
use super::formatting::message_text;
use super::keyboard::ReplyMarkup;
use super::method_result::{MethodError, MethodResult, MethodSuccess};
use super::outgoing::{OutgoingContent, send_one};
use super::params::Params;
use super::telegram_state::{Bot, TelegramState};

const ACTIONS: &[&str] = &[
    "typing",
    "cancel",
    "record_video",
    "upload_video",
    "record_audio",
    "record_voice",
    "upload_audio",
    "upload_voice",
    "upload_photo",
    "upload_document",
    "choose_sticker",
    "pick_up_location",
    "find_location",
    "record_video_note",
    "upload_video_note",
];

/// `sendMessage`.
pub(super) fn send_message(telegram: &TelegramState, bot: &Bot, params: &Params) -> MethodResult {
    let content = OutgoingContent {
        text: message_text(params)?,
        ..OutgoingContent::default()
    };
    let markup = ReplyMarkup::parse(params.get("reply_markup"))?;
    send_one(telegram, bot, params, content, markup)
}

/// `sendChatAction`.
pub(super) fn send_chat_action(
    telegram: &TelegramState,
    bot: &Bot,
    params: &Params,
) -> MethodResult {
    let action = params.get("action").to_ascii_lowercase();
    if !ACTIONS.contains(&action.as_str()) {
        return Err(MethodError::bad_request(
            "wrong parameter action in request",
        ));
    }
    writable(telegram, bot, params.get("chat_id"))?;
    bot.state.lock().stats.counters.actions += 1;
    MethodSuccess::true_result()
}
