//! Callback queries: users tap buttons, and the bot answers each tap once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::method_result::{MethodError, MethodResult, MethodSuccess};
use super::objects::Chat;
use super::params::Params;
use super::telegram_state::{Bot, BotState, TelegramState, unix_now};
use super::user_actions::push_update_until;

/// `text` of `answerCallbackQuery` in characters.
const MAX_ANSWER: usize = 200;
/// Callback queries recorded per bot.
const KEPT: usize = 10_000;
/// Telegram's servers say this of a query that is unknown, answered or too old.
const INVALID: &str = "query is too old and response timeout expired or query ID is invalid";

/// A tap on a button. `row` and `column`, `text` or `data` say which.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tap {
    /// The id of the bot whose message it is. Absent in a group: whichever bot sent the message.
    pub bot: Option<i64>,
    /// Who taps; an unknown user is created.
    pub from: i64,
    /// The chat's id; absent: the private chat of bot and user.
    pub chat: Option<i64>,
    /// The message with the keyboard.
    pub message_id: i64,
    /// The button's row, from 0.
    pub row: Option<usize>,
    /// The button's place in its row, from 0.
    pub column: Option<usize>,
    /// The button's text.
    pub text: Option<String>,
    /// The data itself, as a hostile client sends it: no such button needs to exist, nor the message any more.
    pub data: Option<String>,
    /// The message is too old for the bot to see: it gets an `InaccessibleMessage`, as for a deleted one.
    pub inaccessible: bool,
}

/// What a tap caused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TapOutcome {
    /// The `id` of the callback query.
    pub callback_query_id: String,
    /// Its `update_id`; absent if the bot's `allowed_updates` excludes callback queries.
    pub update_id: Option<i64>,
}

/// A recorded callback query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CallbackQuery {
    /// Its id.
    pub id: String,
    /// Its `update_id`; absent if the bot's `allowed_updates` excludes callback queries.
    pub update_id: Option<i64>,
    /// Who tapped.
    pub from: i64,
    /// The chat of the message.
    pub chat_id: i64,
    /// The message with the keyboard.
    pub message_id: i64,
    /// The button's data.
    pub data: String,
    /// When the user tapped.
    pub at: jiff::Timestamp,
    /// The bot's answer.
    pub answer: Option<CallbackAnswer>,
}

/// An `answerCallbackQuery`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CallbackAnswer {
    /// What the user is told; may be empty.
    pub text: String,
    /// Whether it is told in a dialog instead of a notification.
    pub show_alert: bool,
    /// The URL that the user's client opens; may be empty.
    pub url: String,
    /// For how many seconds the client may repeat the answer by itself.
    pub cache_time: i64,
    /// When it arrived.
    pub at: jiff::Timestamp,
}

/// The newest callback queries of a bot.
#[derive(Debug, Default)]
pub(super) struct CallbackQueries(VecDeque<CallbackQuery>);

impl CallbackQueries {
    fn keep(&mut self, query: CallbackQuery) {
        self.0.push_back(query);
        if self.0.len() > KEPT {
            self.0.pop_front();
        }
    }

    pub(super) fn list(&self) -> Vec<CallbackQuery> {
        self.0.iter().cloned().collect()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// Taps a button: records the query and queues its update.
pub(super) fn tap(telegram: &TelegramState, tap: &Tap) -> Result<TapOutcome, String> {
    let chat_id = tap.chat.unwrap_or(tap.from);
    let bot = tapped_bot(telegram, tap, chat_id)?;
    let chat = tapped_chat(telegram, tap, chat_id)?;
    let from = telegram.user_or_new(tap.from);
    let mut state = bot.state.lock();
    let data = tapped_data(&state, tap, chat_id)?;
    let number = telegram.next_callback_query.fetch_add(1, Ordering::Relaxed);
    let id = ((tap.from & 0x7fff_ffff) << 32 | number).to_string();
    let update = json!({
        "id": id,
        "from": from,
        "message": shown_message(&state, tap, &chat),
        "chat_instance": chat_instance(bot.id, chat_id),
        "data": data,
    });
    let expires = unix_now() + i64::from(telegram.options.load().callback_query_seconds);
    let lane = webhook_queue(tap.from);
    let update = update.to_string();
    let update_id = push_update_until(&bot, &mut state, "callback_query", lane, expires, &update);
    state.callback_queries.keep(CallbackQuery {
        id: id.clone(),
        update_id,
        from: tap.from,
        chat_id,
        message_id: tap.message_id,
        data,
        at: jiff::Timestamp::now(),
        answer: None,
    });
    Ok(TapOutcome {
        callback_query_id: id,
        update_id,
    })
}

/// The queue of a webhook that the callback queries of a user wait in: one per user beside those of the chats, so that Telegram may
/// deliver a tap while the webhook still works at a message of the same chat.
fn webhook_queue(user: i64) -> i64 {
    user + (3 << 33)
}

fn tapped_bot(telegram: &TelegramState, tap: &Tap, chat: i64) -> Result<Arc<Bot>, String> {
    if let Some(id) = tap.bot {
        return telegram
            .bot(id)
            .ok_or_else(|| format!("there is no bot {id}"));
    }
    let sent_it = |bot: &Arc<Bot>| {
        let state = bot.state.lock();
        let stored = state.history.find(chat, tap.message_id);
        stored.is_some_and(|stored| stored.by_bot)
    };
    telegram.bots().into_iter().find(sent_it).ok_or_else(|| {
        format!(
            "no bot has sent the message {} in chat {chat}; say which bot: \"bot\": <id>",
            tap.message_id
        )
    })
}

fn tapped_chat(telegram: &TelegramState, tap: &Tap, id: i64) -> Result<Chat, String> {
    if id == tap.from {
        return Ok(Chat::private(&telegram.user_or_new(id)));
    }
    let group = telegram
        .group(id)
        .ok_or_else(|| format!("there is no chat {id}: create it first"))?;
    let chat = group.lock().chat.clone();
    Ok(chat)
}

/// The data of the tapped button.
fn tapped_data(state: &BotState, tap: &Tap, chat: i64) -> Result<String, String> {
    if let Some(data) = &tap.data {
        return Ok(data.clone());
    }
    let id = tap.message_id;
    let stored = state.history.find(chat, id);
    let keyboard = stored
        .filter(|stored| !stored.deleted)
        .and_then(|stored| stored.message.reply_markup.as_ref())
        .ok_or_else(|| {
            format!(
                "the message {id} in chat {chat} has no keyboard; \"data\" taps as a hostile client"
            )
        })?;
    let rows = &keyboard["inline_keyboard"];
    let button = match (&tap.text, tap.row, tap.column) {
        (Some(text), None, None) => rows
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(|row| row.as_array().into_iter().flatten())
            .find(|button| button["text"] == **text),
        (None, row, column) => rows
            .get(row.unwrap_or(0))
            .and_then(|row| row.get(column.unwrap_or(0))),
        _ => return Err("say which button by row and column, by text or by data".into()),
    };
    let button = button.ok_or_else(|| format!("there is no such button in {rows}"))?;
    let data = button["callback_data"].as_str();
    data.map(ToOwned::to_owned)
        .ok_or_else(|| format!("a tap on this button does not reach the bot: {button}"))
}

/// `message`: as it is now, or what is left of one that the bot cannot see any more.
fn shown_message(state: &BotState, tap: &Tap, chat: &Chat) -> Value {
    let stored = state.history.find(chat.id, tap.message_id);
    match stored.filter(|stored| !stored.deleted && !tap.inaccessible) {
        Some(stored) => json!(stored.message),
        None => json!({"chat": chat, "message_id": tap.message_id, "date": 0}),
    }
}

/// The same number for the same chat.
fn chat_instance(bot: i64, chat: i64) -> String {
    let mixed = (chat ^ bot.rotate_left(32)).wrapping_mul(0x5851_f42d_4c95_7f2d);
    mixed.to_string()
}

/// `answerCallbackQuery`.
pub(super) fn answer(telegram: &TelegramState, bot: &Bot, params: &Params) -> MethodResult {
    let text = params.get("text");
    let url = params.get("url");
    let age = i64::from(telegram.options.load().callback_query_seconds);
    let now = jiff::Timestamp::now();
    let mut state = bot.state.lock();
    let id = params.get("callback_query_id");
    let query = state
        .callback_queries
        .0
        .iter_mut()
        .find(|query| query.id == id && query.answer.is_none())
        .filter(|query| now.duration_since(query.at).as_secs() < age)
        .ok_or_else(|| MethodError::bad_request(INVALID))?;
    if text.chars().count() > MAX_ANSWER {
        return Err(MethodError::bad_request("MESSAGE_TOO_LONG"));
    }
    let opens_bot = ["https://t.me/", "http://t.me/", "t.me/", "tg://"];
    if !url.is_empty() && !opens_bot.iter().any(|start| url.starts_with(start)) {
        return Err(MethodError::bad_request("URL_INVALID"));
    }
    query.answer = Some(CallbackAnswer {
        text: text.to_owned(),
        show_alert: params.flag("show_alert"),
        url: url.to_owned(),
        cache_time: params.integer("cache_time", 0, 0, 24 * 30 * 60 * 60),
        at: now,
    });
    drop(state);
    bot.messages_changed.notify_waiters();
    MethodSuccess::true_result()
}
