//! Messages, edits and membership changes by users, and the updates that they cause.

use std::sync::Arc;

use parking_lot::Mutex;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::chats::membership;
use super::content;
use super::entity::{Entity, detect};
use super::objects::{Chat, Message, User};
use super::queue::RETENTION_SECONDS;
use super::telegram_state::{
    Bot, BotState, Group, Membership, StoredMessage, TelegramState, unix_now,
};

/// A message or edit by a user.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UserAction {
    /// The bot's id. Absent in a group: all bots of the group.
    pub bot: Option<i64>,
    /// The sender's user id; an unknown user is created. Absent: no sender (a channel post, or with `sender_chat`).
    pub from: Option<i64>,
    /// The chat's id; absent: the private chat of bot and user.
    pub chat: Option<i64>,
    /// The topic's `message_thread_id` in a forum.
    pub thread: Option<i64>,
    /// The text, unless the message has a caption.
    pub text: Option<String>,
    /// The caption of the media in `content`.
    pub caption: Option<String>,
    /// Entities of the text or caption; absent: detected as Telegram detects them.
    pub entities: Option<Vec<Entity>>,
    /// Further content: `photo`, `voice`, `audio`, `video`, `document`, `sticker`, `location`, `contact`, or
    /// any field of a `Message` as it is. See [`content`](super::content).
    pub content: Map<String, Value>,
    /// The `message_id` it replies to.
    pub reply_to: Option<i64>,
    /// The quoted part of that message.
    pub quote: Option<String>,
    /// The `message_id` of the earlier message that this edits.
    pub edit: Option<i64>,
    /// The user whom the message is forwarded from.
    pub forward_from: Option<i64>,
    /// The album that the message belongs to.
    pub media_group_id: Option<String>,
    /// Sent on behalf of this chat: the group's own id (an anonymous administrator) or a channel.
    pub sender_chat: Option<i64>,
    /// Unix seconds; absent: now.
    pub date: Option<i64>,
}

/// Identifiers of the message and the updates that an action caused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserActionOutcome {
    /// The `message_id` that the first receiving bot sees.
    pub message_id: i64,
    /// Bot id and `update_id` of each update. A bot whose `allowed_updates` or privacy mode excludes it has none.
    pub updates: Vec<(i64, i64)>,
}

/// Performs an action: stores the message and queues its updates.
pub(super) fn perform(
    telegram: &TelegramState,
    action: &UserAction,
) -> Result<UserActionOutcome, String> {
    let user = action.from.map(|id| telegram.user_or_new(id));
    match action.chat {
        Some(chat) if Some(chat) != action.from => {
            let group = telegram
                .group(chat)
                .ok_or_else(|| format!("there is no chat {chat}: create it first"))?;
            act_in_group(telegram, action, user.as_ref(), &group)
        }
        _ => {
            let bot = action.bot.ok_or("say which bot: \"bot\": <id>")?;
            let bot = telegram
                .bot(bot)
                .ok_or_else(|| format!("there is no bot {bot}"))?;
            let user = user.ok_or("say who: \"from\": <user id>")?;
            act_in_private_chat(telegram, action, &user, &bot)
        }
    }
}

/// Sends one private message per user and round.
pub(super) fn bulk(
    telegram: &TelegramState,
    bot: &Arc<Bot>,
    first_user: i64,
    users: i64,
    messages: i64,
    text: &str,
) -> u64 {
    let mut updates = 0;
    for round in 0..messages {
        let action = UserAction {
            text: Some(text.replace("{n}", &round.to_string())),
            ..UserAction::default()
        };
        for user in first_user..first_user + users {
            let user = telegram.user_or_new(user);
            let outcome = act_in_private_chat(telegram, &action, &user, bot);
            updates += outcome.map_or(0, |outcome| outcome.updates.len() as u64);
        }
    }
    updates
}

fn act_in_private_chat(
    telegram: &TelegramState,
    action: &UserAction,
    user: &Arc<User>,
    bot: &Arc<Bot>,
) -> Result<UserActionOutcome, String> {
    let mut state = bot.state.lock();
    // Writing to a bot starts and unblocks it.
    state.private.entry(user.id).or_default().blocked = false;
    let id = action.edit.unwrap_or_else(|| {
        state.next_message_id += 1;
        state.next_message_id - 1
    });
    let chat = Chat::private(user);
    let message = build_message(telegram, action, Some(user), chat, id, &state)?;
    let update = queue_message(
        telegram,
        bot,
        &mut state,
        update_kind(action, "message"),
        message,
    );
    Ok(UserActionOutcome {
        message_id: id,
        updates: update.map(|update| (bot.id, update)).into_iter().collect(),
    })
}

fn act_in_group(
    telegram: &TelegramState,
    action: &UserAction,
    user: Option<&Arc<User>>,
    group: &Arc<Mutex<Group>>,
) -> Result<UserActionOutcome, String> {
    let (chat, bots, own_number) = {
        let mut group = group.lock();
        if let Some(to) = group.migrated_to {
            return Err(format!("the group has become the supergroup {to}"));
        }
        if let Some(thread) = action.thread
            && thread != 1
            && !group.topics.contains_key(&thread)
        {
            return Err(format!("the chat has no topic {thread}: create it first"));
        }
        let own_number = (group.chat.kind != "group").then(|| {
            action.edit.unwrap_or_else(|| {
                group.next_message_id += 1;
                group.next_message_id - 1
            })
        });
        let mut bots: Vec<(i64, Membership)> = group
            .bots
            .iter()
            .filter(|(id, membership)| {
                membership.is_inside() && action.bot.is_none_or(|only| only == **id)
            })
            .map(|(id, membership)| (*id, *membership))
            .collect();
        bots.sort_unstable_by_key(|(id, _)| *id);
        (group.chat.clone(), bots, own_number)
    };
    let mut outcome = UserActionOutcome {
        message_id: own_number.unwrap_or(0),
        updates: Vec::new(),
    };
    let kind = update_kind(
        action,
        if chat.kind == "channel" {
            "channel_post"
        } else {
            "message"
        },
    );
    for (id, membership) in bots {
        let Some(bot) = telegram.bot(id) else {
            continue;
        };
        let mut state = bot.state.lock();
        let number = own_number.or(action.edit).unwrap_or_else(|| {
            state.next_message_id += 1;
            state.next_message_id - 1
        });
        if outcome.message_id == 0 {
            outcome.message_id = number;
        }
        let message = build_message(telegram, action, user, chat.clone(), number, &state)?;
        let sees_all = membership == Membership::Administrator
            || state.reads_all_group_messages
            || chat.kind == "channel";
        if !sees_all && !passes_privacy_mode(&message, &bot, &state) {
            store_message(telegram, &bot, &mut state, message);
            continue;
        }
        if let Some(update) = queue_message(telegram, &bot, &mut state, kind, message) {
            outcome.updates.push((id, update));
        }
    }
    Ok(outcome)
}

fn update_kind(action: &UserAction, kind: &'static str) -> &'static str {
    match (action.edit, kind) {
        (None, kind) => kind,
        (Some(_), "channel_post") => "edited_channel_post",
        (Some(_), _) => "edited_message",
    }
}

/// Whether a bot in privacy mode gets the message: commands, mentions, replies to the bot, and service messages.
fn passes_privacy_mode(message: &Message, bot: &Bot, state: &BotState) -> bool {
    let text = message.text.as_deref().or(message.caption.as_deref());
    let Some(text) = text else {
        let service = [
            "new_chat_members",
            "left_chat_member",
            "migrate_to_chat_id",
            "migrate_from_chat_id",
        ];
        return service
            .iter()
            .any(|field| message.content.contains_key(*field))
            || replies_to_bot(message, state)
            || rich_message_mentions(message, bot);
    };
    let own = format!("@{}", bot.user.username.as_deref().unwrap_or_default());
    let entities = message.entities.iter().chain(&message.caption_entities);
    let mut addressed = replies_to_bot(message, state);
    for entity in entities {
        let part = utf16_slice(text, entity.offset, entity.length);
        addressed |= match entity.kind.as_str() {
            "mention" => part.eq_ignore_ascii_case(&own),
            "bot_command" => part
                .split_once('@')
                .is_none_or(|(_, name)| own[1..].eq_ignore_ascii_case(name)),
            _ => false,
        };
    }
    addressed
}

/// Whether a rich message has a mention of the bot, anywhere in its blocks.
fn rich_message_mentions(message: &Message, bot: &Bot) -> bool {
    let own = bot.user.username.as_deref().unwrap_or_default();
    let mut waiting: Vec<&Value> = message.content.get("rich_message").into_iter().collect();
    while let Some(value) = waiting.pop() {
        match value {
            Value::Array(values) => waiting.extend(values),
            Value::Object(fields) => {
                let field = |key: &str| fields.get(key).and_then(Value::as_str);
                let name = field("username").unwrap_or_default();
                if field("type") == Some("mention") && name.eq_ignore_ascii_case(own) {
                    return true;
                }
                waiting.extend(fields.values());
            }
            _ => {}
        }
    }
    false
}

fn replies_to_bot(message: &Message, state: &BotState) -> bool {
    message.reply_to_message.as_ref().is_some_and(|replied| {
        state
            .history
            .find(message.chat.id, replied.message_id)
            .is_some_and(|stored| stored.by_bot)
    })
}

fn utf16_slice(text: &str, offset: usize, length: usize) -> String {
    let units: Vec<u16> = text.encode_utf16().skip(offset).take(length).collect();
    String::from_utf16_lossy(&units)
}

fn build_message(
    telegram: &TelegramState,
    action: &UserAction,
    user: Option<&Arc<User>>,
    chat: Chat,
    id: i64,
    state: &BotState,
) -> Result<Message, String> {
    let mut message = Message::new(id, chat, action.date.unwrap_or_else(unix_now));
    message.from = user.cloned();
    if let Some(sender) = action.sender_chat {
        let chat = if sender == message.chat.id {
            message.chat.clone()
        } else {
            let group = telegram
                .group(sender)
                .ok_or_else(|| format!("there is no chat {sender}"))?;
            group.lock().chat.clone()
        };
        // Telegram's placeholder senders, for clients that do not know sender_chat.
        let stand_in = if sender == message.chat.id {
            group_anonymous_bot()
        } else {
            channel_bot()
        };
        message.from = Some(Arc::new(stand_in));
        message.sender_chat = Some(chat);
    } else if message.chat.kind == "channel" {
        message.from = None;
        message.sender_chat = Some(message.chat.clone());
    }
    message.message_thread_id = action.thread.filter(|thread| *thread != 1);
    message.is_topic_message = message.message_thread_id.is_some();
    if let Some(replied) = action.reply_to {
        let stored = state.history.find(message.chat.id, replied);
        message.reply_to_message = stored.map(|stored| Box::new(stored.message.without_reply()));
    }
    if let Some(quote) = &action.quote {
        message.content.insert(
            "quote".into(),
            json!({"text": quote, "position": 0, "is_manual": true}),
        );
    }
    if let Some(forward) = action.forward_from {
        let user = telegram.user_or_new(forward);
        message.content.insert(
            "forward_origin".into(),
            json!({"type": "user", "sender_user": user, "date": message.date}),
        );
    }
    if let Some(album) = &action.media_group_id {
        message
            .content
            .insert("media_group_id".into(), json!(album));
    }
    content::fill(telegram, &action.content, &mut message)?;
    if let Some(text) = &action.text {
        message.entities = action.entities.clone().unwrap_or_else(|| detect(text, &[]));
        message.text = Some(text.clone());
    }
    if let Some(caption) = &action.caption {
        message.caption_entities = action
            .entities
            .clone()
            .unwrap_or_else(|| detect(caption, &[]));
        message.caption = Some(caption.clone());
    }
    if let Some(edited) = action.edit {
        message.edit_date = Some(unix_now());
        if let Some(stored) = state.history.find(message.chat.id, edited) {
            message.date = action.date.unwrap_or(stored.message.date);
        }
    }
    Ok(message)
}

fn group_anonymous_bot() -> User {
    let mut user = User::new(1_087_968_824, "Group").username("GroupAnonymousBot");
    user.is_bot = true;
    user
}

fn channel_bot() -> User {
    let mut user = User::new(136_817_688, "Channel").username("Channel_Bot");
    user.is_bot = true;
    user
}

fn store_message(telegram: &TelegramState, bot: &Bot, state: &mut BotState, message: Message) {
    let stored = StoredMessage {
        source: message.text.clone().unwrap_or_default(),
        message,
        by_bot: false,
        parse_mode: String::new(),
        edits: Vec::new(),
        deleted: false,
        unanswered: false,
        markup: None,
        media: None,
        reactions: Vec::new(),
        at: jiff::Timestamp::now(),
    };
    state
        .history
        .keep(stored, telegram.options.load().keep_messages);
    bot.messages_changed.notify_waiters();
}

fn queue_message(
    telegram: &TelegramState,
    bot: &Arc<Bot>,
    state: &mut BotState,
    kind: &str,
    message: Message,
) -> Option<i64> {
    let lane = message.chat.id;
    let date = message.edit_date.unwrap_or(message.date).max(message.date);
    let json = serde_json::to_string(&message).unwrap_or_default();
    store_message(telegram, bot, state, message);
    push_update(bot, state, kind, lane, date, &json)
}

/// Queues an update for a bot, if `allowed_updates` includes its kind.
pub(super) fn push_update(
    bot: &Bot,
    state: &mut BotState,
    kind: &str,
    lane: i64,
    date: i64,
    json: &str,
) -> Option<i64> {
    // The update expires by the real time, not by a date that the test has set.
    let now = unix_now();
    let expires = date.max(now) + RETENTION_SECONDS;
    push_update_until(bot, state, kind, lane, expires, json)
}

/// Queues an update that expires at another time than messages do.
pub(super) fn push_update_until(
    bot: &Bot,
    state: &mut BotState,
    kind: &str,
    lane: i64,
    expires: i64,
    json: &str,
) -> Option<i64> {
    if !state.allowed.contains(kind) {
        return None;
    }
    let id = state
        .queue
        .push_until(&format!("\"{kind}\":{json}"), lane, expires, unix_now())?;
    state.stats.counters.updates += 1;
    if state.webhook.is_set() {
        bot.webhook_notify.notify_one();
    } else {
        bot.poll_notify.notify_one();
    }
    Some(id)
}

/// Changes a bot's membership and queues `my_chat_member`.
pub(super) fn change_membership(
    telegram: &TelegramState,
    bot: &Arc<Bot>,
    group: &Arc<Mutex<Group>>,
    new: Membership,
    by: Option<i64>,
) -> Option<i64> {
    let (chat, old) = {
        let mut group = group.lock();
        let old = group.bots.insert(bot.id, new).unwrap_or(Membership::Left);
        (group.chat.clone(), old)
    };
    let from = by.map_or_else(|| bot.user.clone(), |id| telegram.user_or_new(id));
    let date = unix_now();
    let change = json!({
        "chat": chat,
        "from": from,
        "date": date,
        "old_chat_member": membership(&bot.user, old),
        "new_chat_member": membership(&bot.user, new),
    });
    let mut state = bot.state.lock();
    push_update(
        bot,
        &mut state,
        "my_chat_member",
        chat.id,
        date,
        &change.to_string(),
    )
}
