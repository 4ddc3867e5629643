//! Methods that write to a chat: `sendMessage`, `editMessageText`, `deleteMessage`, `sendMessageDraft`, `sendChatAction`.

use std::time::Instant;

use super::chats::{topic, writable};
use super::entity::{Entity, detect, normalize_entities, utf16_len};
use super::method_result::{MethodError, MethodResult, MethodSuccess};
use super::objects::{Chat, Message};
use super::params::Params;
use super::telegram_state::{
    Bot, BotState, ChatAction, Draft, StoredMessage, TelegramState, WritableChat, unix_now,
};
use super::{html, legacy_markdown, markdown};

/// Limit of a text in UTF-16 code units, after its formatting is parsed.
const MAX_TEXT: usize = 4_096;
/// Limit of a text in bytes, before its formatting is parsed.
const MAX_SOURCE: usize = 1 << 15;
/// Drafts recorded per bot.
const DRAFTS: usize = 1_000;

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

/// A text with its parsed formatting.
struct Formatted {
    text: String,
    entities: Vec<Entity>,
    source: String,
    parse_mode: String,
}

/// Reads `text`, `parse_mode` and `entities`, in the order of the checks of the Bot API server.
fn formatted(params: &Params) -> Result<Formatted, MethodError> {
    let source = params.get("text");
    if source.len() > MAX_SOURCE {
        return Err(MethodError::bad_request("Text is too long"));
    }
    let parse_mode = params.get("parse_mode").to_ascii_lowercase();
    let parsed = match parse_mode.as_str() {
        "" | "none" => Ok((source.to_owned(), explicit_entities(params)?)),
        "html" => html::parse(source),
        "markdownv2" => markdown::parse_v2(source),
        "markdown" => legacy_markdown::parse(source),
        _ => return Err(MethodError::bad_request("Unsupported parse_mode")),
    };
    let (text, mut entities) = parsed
        .map_err(|error| MethodError::bad_request(&format!("can't parse entities: {error}")))?;
    let text = trimmed(&text, &mut entities);
    let found = detect(&text, &entities);
    entities.extend(found);
    Ok(Formatted {
        text,
        entities: normalize_entities(entities),
        source: source.to_owned(),
        parse_mode,
    })
}

fn explicit_entities(params: &Params) -> Result<Vec<Entity>, MethodError> {
    let entities = params.get("entities");
    if entities.is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_str(entities)
        .map_err(|_| MethodError::bad_request("Can't parse entities JSON object"))
}

/// Trims white space at both ends and shifts the entities accordingly.
fn trimmed(text: &str, entities: &mut Vec<Entity>) -> String {
    let white = |c: char| c.is_whitespace() || matches!(c, '\u{200b}' | '\u{2060}' | '\0');
    let lead = utf16_len(&text[..text.len() - text.trim_start_matches(white).len()]);
    let text = text.trim_matches(white);
    let length = utf16_len(text);
    entities.retain_mut(|entity| {
        let end = (entity.offset + entity.length)
            .saturating_sub(lead)
            .min(length);
        entity.offset = entity.offset.saturating_sub(lead).min(length);
        entity.length = end.saturating_sub(entity.offset);
        entity.length > 0
    });
    text.to_owned()
}

fn message_text(params: &Params) -> Result<Formatted, MethodError> {
    if params.get("text").is_empty() {
        return Err(MethodError::bad_request("message text is empty"));
    }
    let formatted = formatted(params)?;
    if formatted.text.is_empty() {
        return Err(MethodError::bad_request("text must be non-empty"));
    }
    if utf16_len(&formatted.text) > MAX_TEXT {
        return Err(MethodError::bad_request("message is too long"));
    }
    Ok(formatted)
}

/// `sendMessage`.
pub(super) fn send_message(telegram: &TelegramState, bot: &Bot, params: &Params) -> MethodResult {
    let formatted = message_text(params)?;
    let destination = writable(telegram, bot, params.get("chat_id"))?;
    let thread = topic(&destination, params)?;
    let options = telegram.options.load();
    let chat = destination.chat();
    let mut state = bot.state.lock();
    let reply_to = replied_message(&state, chat.id, &destination, params)?;
    check_rate_limit(telegram, &mut state, &chat)?;
    let id = destination.next_message_id(&mut state);
    let mut message = Message::new(id, chat, unix_now());
    if message.chat.kind == "channel" {
        message.sender_chat = Some(message.chat.clone());
    } else {
        message.from = Some(bot.user.clone());
    }
    message.message_thread_id = thread;
    message.is_topic_message = thread.is_some();
    message.reply_to_message = reply_to;
    message.text = Some(formatted.text);
    message.entities = formatted.entities;
    let answer = MethodSuccess::json(&message);
    state.stats.counters.sent += 1;
    let stored = StoredMessage {
        message,
        by_bot: true,
        source: formatted.source,
        parse_mode: formatted.parse_mode,
        edits: Vec::new(),
        deleted: false,
        unanswered: false,
        at: jiff::Timestamp::now(),
    };
    state.history.keep(stored, options.keep_messages);
    drop(state);
    bot.messages_changed.notify_waiters();
    answer
}

/// Counts a message, draft or edit against the rate limits, if they are enabled.
fn check_rate_limit(
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

/// Marks the message in a response that a fault suppresses as unanswered.
pub(super) fn mark_unanswered(bot: &Bot, result: &str) {
    #[derive(serde::Deserialize)]
    struct Chat {
        id: i64,
    }
    #[derive(serde::Deserialize)]
    struct SentMessage {
        message_id: i64,
        chat: Chat,
    }
    let Ok(sent) = serde_json::from_str::<SentMessage>(result) else {
        return;
    };
    if let Some(stored) = bot
        .state
        .lock()
        .history
        .find_mut(sent.chat.id, sent.message_id)
    {
        stored.unanswered = true;
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

/// `editMessageText`.
pub(super) fn edit_message_text(
    telegram: &TelegramState,
    bot: &Bot,
    params: &Params,
) -> MethodResult {
    let formatted = message_text(params)?;
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
    let Some(text) = &stored.message.text else {
        return Err(MethodError::bad_request(
            "there is no text in the message to edit",
        ));
    };
    if *text == formatted.text && stored.message.entities == formatted.entities {
        return Err(MethodError::bad_request(
            "message is not modified: specified new message content and reply markup are exactly the same as a current content and reply markup of the message",
        ));
    }
    stored.edits.push(formatted.text.clone());
    stored.source = formatted.source;
    stored.parse_mode = formatted.parse_mode;
    stored.message.text = Some(formatted.text);
    stored.message.entities = formatted.entities;
    stored.message.edit_date = Some(unix_now());
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

/// `sendMessageDraft`.
pub(super) fn send_message_draft(
    telegram: &TelegramState,
    bot: &Bot,
    params: &Params,
) -> MethodResult {
    let formatted = formatted(params)?;
    let draft_id = params.integer("draft_id", 0, i64::MIN, i64::MAX);
    let destination = writable(telegram, bot, params.get("chat_id"))?;
    if matches!(destination, WritableChat::Group(_)) {
        return Err(MethodError::bad_request("TEXTDRAFT_PEER_INVALID"));
    }
    if draft_id == 0 {
        return Err(MethodError::bad_request("TEXTDRAFT_RANDOM_ID_INVALID"));
    }
    if utf16_len(&formatted.text) > MAX_TEXT {
        return Err(MethodError::bad_request("message is too long"));
    }
    let thread_id = topic(&destination, params)?;
    let mut state = bot.state.lock();
    check_rate_limit(telegram, &mut state, &destination.chat())?;
    if state.drafts.len() >= DRAFTS {
        state.drafts.remove(0);
    }
    state.drafts.push(Draft {
        chat_id: destination.chat().id,
        thread_id,
        draft_id,
        text: formatted.text,
        entities: formatted.entities,
        at: jiff::Timestamp::now(),
    });
    drop(state);
    bot.messages_changed.notify_waiters();
    MethodSuccess::true_result()
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
