//! Messages of a bot: the checks that all sending methods share, and how a message is numbered, stored and returned.

use std::time::Instant;

use serde_json::{Map, Value};

use super::chats::{topic, writable};
use super::formatting::Formatted;
use super::keyboard::ReplyMarkup;
use super::method_result::{MethodError, MethodResult, MethodSuccess};
use super::objects::{Chat, Message};
use super::params::Params;
use super::sent_messages::SentMedia;
use super::telegram_state::{Bot, BotState, StoredMessage, TelegramState, WritableChat, unix_now};

/// What a message holds. A text and a caption exclude each other.
#[derive(Debug, Default)]
pub(super) struct OutgoingContent {
    pub text: Formatted,
    pub caption: Formatted,
    /// The other fields of the message, such as `photo`.
    pub fields: Map<String, Value>,
    /// What is recorded of the file in it.
    pub media: Option<SentMedia>,
}

/// Sends one message.
pub(super) fn send_one(
    telegram: &TelegramState,
    bot: &Bot,
    params: &Params,
    content: OutgoingContent,
    markup: ReplyMarkup,
) -> MethodResult {
    let mut sent = send(telegram, bot, params, vec![content], markup)?;
    match sent.pop() {
        Some(message) => MethodSuccess::json(&message),
        None => Err(MethodError::new(500, "Internal Server Error")),
    }
}

/// Sends messages that belong together, such as those of an album; all or none.
pub(super) fn send(
    telegram: &TelegramState,
    bot: &Bot,
    params: &Params,
    contents: Vec<OutgoingContent>,
    markup: ReplyMarkup,
) -> Result<Vec<Message>, MethodError> {
    let destination = writable(telegram, bot, params.get("chat_id"))?;
    let thread = topic(&destination, params)?;
    let options = telegram.options.load();
    let chat = destination.chat();
    let mut state = bot.state.lock();
    let reply_to = replied_message(&state, chat.id, &destination, params)?;
    for _ in &contents {
        check_rate_limit(telegram, &mut state, &chat)?;
    }
    let mut sent = Vec::with_capacity(contents.len());
    for content in contents {
        let id = destination.next_message_id(&mut state);
        let mut message = Message::new(id, chat.clone(), unix_now());
        if message.chat.kind == "channel" {
            message.sender_chat = Some(message.chat.clone());
        } else {
            message.from = Some(bot.user.clone());
        }
        message.message_thread_id = thread;
        message.is_topic_message = thread.is_some();
        message.reply_to_message.clone_from(&reply_to);
        message.reply_markup = markup.inline();
        let stored = stored(message, content, markup.clone());
        sent.push(stored.message.clone());
        state.stats.counters.sent += 1;
        state.history.keep(stored, options.keep_messages);
    }
    drop(state);
    bot.messages_changed.notify_waiters();
    Ok(sent)
}

fn stored(mut message: Message, content: OutgoingContent, markup: ReplyMarkup) -> StoredMessage {
    let OutgoingContent {
        text,
        caption,
        fields,
        media,
    } = content;
    let shown = if text.text.is_empty() {
        &caption
    } else {
        &text
    };
    let (source, parse_mode) = (shown.source.clone(), shown.parse_mode.clone());
    message.set_text(text.text, text.entities);
    message.set_caption(caption.text, caption.entities);
    message.content = fields;
    StoredMessage {
        message,
        by_bot: true,
        source,
        parse_mode,
        edits: Vec::new(),
        deleted: false,
        unanswered: false,
        markup: markup.recorded(),
        media,
        reactions: Vec::new(),
        at: jiff::Timestamp::now(),
    }
}

/// Counts a message, draft or edit against the rate limits, if they are enabled.
pub(super) fn check_rate_limit(
    telegram: &TelegramState,
    state: &mut BotState,
    chat: &Chat,
) -> Result<(), MethodError> {
    if !telegram.options.load().flood_limits {
        return Ok(());
    }
    let is_group = chat.kind != "private";
    let taken = state.rate_limiter.take(chat.id, is_group, Instant::now());
    taken.map_err(MethodError::too_many_requests)
}

/// Marks the messages in a response that a fault suppresses as unanswered.
pub(super) fn mark_unanswered(bot: &Bot, result: &str) {
    #[derive(serde::Deserialize)]
    struct ChatId {
        id: i64,
    }
    #[derive(serde::Deserialize)]
    struct MessageId {
        message_id: i64,
        chat: ChatId,
    }
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Sent {
        One(MessageId),
        Album(Vec<MessageId>),
    }
    let sent = match serde_json::from_str(result) {
        Ok(Sent::One(message)) => vec![message],
        Ok(Sent::Album(messages)) => messages,
        Err(_) => return,
    };
    let mut state = bot.state.lock();
    for message in sent {
        let stored = state.history.find_mut(message.chat.id, message.message_id);
        if let Some(stored) = stored {
            stored.unanswered = true;
        }
    }
}

/// The message that `reply_parameters` names, as it is shown inside of the reply.
fn replied_message(
    state: &BotState,
    chat: i64,
    destination: &WritableChat,
    params: &Params,
) -> Result<Option<Box<Message>>, MethodError> {
    let parameters = params.get("reply_parameters");
    let (id, lenient) = if parameters.is_empty() {
        (
            params.integer("reply_to_message_id", 0, 0, i64::MAX),
            params.flag("allow_sending_without_reply"),
        )
    } else {
        let value: serde_json::Value = serde_json::from_str(parameters)
            .map_err(|_| MethodError::bad_request("Can't parse reply parameters JSON object"))?;
        let lenient = value["allow_sending_without_reply"].as_bool();
        let id = value["message_id"].as_i64();
        (id.unwrap_or(0), lenient.unwrap_or(false))
    };
    if id <= 0 {
        return Ok(None);
    }
    let newest = match destination {
        WritableChat::Group(group) if group.lock().chat.kind != "group" => {
            group.lock().next_message_id
        }
        _ => state.next_message_id,
    };
    match state.history.find(chat, id) {
        Some(stored) if !stored.deleted => Ok(Some(Box::new(stored.message.without_reply()))),
        // Telegram keeps messages that the simulator has dropped from its history.
        None if id < newest => Ok(None),
        _ if lenient => Ok(None),
        _ => Err(MethodError::bad_request("message to be replied not found")),
    }
}
