//! Methods that write to a chat without media: `sendMessage`, `sendChatAction`.

use super::chats::writable;
use super::formatting::message_text;
use super::keyboard::ReplyMarkup;
use super::method_result::{MethodError, MethodResult, MethodSuccess};
use super::outgoing::{OutgoingContent, send_one};
use super::params::Params;
use super::telegram_state::{Bot, ChatAction, TelegramState};

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
    let destination = writable(telegram, bot, params.get("chat_id"))?;
    // Telegram takes any number for the topic of a chat action.
    let thread_id = params.integer("message_thread_id", 0, 0, i64::MAX);
    let shown = ChatAction {
        thread_id: (thread_id > 1).then_some(thread_id),
        action,
        at: jiff::Timestamp::now(),
    };
    let mut state = bot.state.lock();
    state.stats.counters.actions += 1;
    state.chat_actions.insert(destination.chat().id, shown);
    drop(state);
    bot.messages_changed.notify_waiters();
    MethodSuccess::true_result()
}
