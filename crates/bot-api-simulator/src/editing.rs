//! Methods that change a message of the bot: `editMessageText`, `editMessageCaption`, `editMessageReplyMarkup`, `deleteMessage`.

use super::chats::writable;
use super::formatting::{Formatted, caption_of, message_text};
use super::keyboard::ReplyMarkup;
use super::method_result::{MethodError, MethodResult, MethodSuccess};
use super::outgoing::check_rate_limit;
use super::params::Params;
use super::rich_messages;
use super::telegram_state::{Bot, StoredMessage, TelegramState, unix_now};

const NOT_MODIFIED: &str = "message is not modified: specified new message content and reply markup are exactly the same as a current content and reply markup of the message";

/// `editMessageText`, to a text or to a rich message. Without `reply_markup` the keyboard goes.
pub(super) fn edit_message_text(
    telegram: &TelegramState,
    bot: &Bot,
    params: &Params,
) -> MethodResult {
    let is_rich = params.get("text").is_empty() && !params.get("rich_message").is_empty();
    let (formatted, rich) = if is_rich {
        let rich = rich_messages::read(params, false)?;
        let formatted = Formatted {
            source: rich.source,
            parse_mode: rich.format.to_owned(),
            ..Formatted::default()
        };
        (formatted, Some(rich.shown))
    } else {
        (message_text(params)?, None)
    };
    edit(telegram, bot, params, |stored| {
        let message = &mut stored.message;
        if message.text.is_none() && !message.content.contains_key("rich_message") {
            return Err(MethodError::bad_request(
                "there is no text in the message to edit",
            ));
        }
        message.content.remove("rich_message");
        let shown = match rich {
            None => formatted.text.clone(),
            Some(rich) => {
                let words = rich_messages::plain_text(&rich);
                message.content.insert("rich_message".into(), rich);
                words
            }
        };
        if message.text.as_ref() != Some(&shown) {
            stored.edits.push(shown);
        }
        stored.source = formatted.source;
        stored.parse_mode = formatted.parse_mode;
        message.set_text(formatted.text, formatted.entities);
        Ok(())
    })
}

/// `editMessageCaption`. Without `reply_markup` the keyboard goes.
pub(super) fn edit_message_caption(
    telegram: &TelegramState,
    bot: &Bot,
    params: &Params,
) -> MethodResult {
    let caption = caption_of(params)?;
    edit(telegram, bot, params, |stored| {
        if stored.media.is_none() {
            return Err(MethodError::bad_request(
                "there is no caption in the message to edit",
            ));
        }
        if stored.message.caption.as_deref().unwrap_or_default() != caption.text {
            stored.edits.push(caption.text.clone());
        }
        stored.source = caption.source;
        stored.parse_mode = caption.parse_mode;
        stored.message.set_caption(caption.text, caption.entities);
        Ok(())
    })
}

/// `editMessageReplyMarkup`. Without `reply_markup` the keyboard goes.
pub(super) fn edit_message_reply_markup(
    telegram: &TelegramState,
    bot: &Bot,
    params: &Params,
) -> MethodResult {
    edit(telegram, bot, params, |_| Ok(()))
}

/// Changes a message of the bot and sets its keyboard to `reply_markup`.
pub(super) fn edit(
    telegram: &TelegramState,
    bot: &Bot,
    params: &Params,
    change: impl FnOnce(&mut StoredMessage) -> Result<(), MethodError>,
) -> MethodResult {
    let keyboard = ReplyMarkup::parse_inline(params.get("reply_markup"))?;
    let destination = writable(telegram, bot, params.get("chat_id"))?;
    let chat = destination.chat();
    let id = params.integer("message_id", 0, 0, i64::MAX);
    let mut state = bot.state.lock();
    check_rate_limit(telegram, &mut state, &chat)?;
    let stored = state
        .history
        .find_mut(chat.id, id)
        .filter(|stored| !stored.deleted)
        .ok_or_else(|| MethodError::bad_request("message to edit not found"))?;
    if !stored.by_bot {
        return Err(MethodError::bad_request("message can't be edited"));
    }
    let mut changed = stored.clone();
    change(&mut changed)?;
    changed.message.reply_markup.clone_from(&keyboard);
    if changed.message == stored.message {
        return Err(MethodError::bad_request(NOT_MODIFIED));
    }
    changed.markup = keyboard;
    changed.message.edit_date = Some(unix_now());
    *stored = changed;
    let answer = MethodSuccess::json(&stored.message);
    drop(state);
    bot.messages_changed.notify_waiters();
    answer
}

/// `deleteMessage`.
pub(super) fn delete_message(telegram: &TelegramState, bot: &Bot, params: &Params) -> MethodResult {
    if params.get("chat_id").is_empty() {
        return Err(MethodError::bad_request("Chat identifier is not specified"));
    }
    let id = params.integer("message_id", 0, 0, i64::MAX);
    if id == 0 {
        return Err(MethodError::bad_request(
            "Message identifier is not specified",
        ));
    }
    let destination = writable(telegram, bot, params.get("chat_id"))?;
    let chat = destination.chat().id;
    let mut state = bot.state.lock();
    let stored = state
        .history
        .find_mut(chat, id)
        .filter(|stored| !stored.deleted)
        .ok_or_else(|| MethodError::bad_request("message to delete not found"))?;
    stored.deleted = true;
    drop(state);
    bot.messages_changed.notify_waiters();
    MethodSuccess::true_result()
}
