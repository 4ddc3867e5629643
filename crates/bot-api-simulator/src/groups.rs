//! Changes to chats: creating groups and topics, blocking bots, migrating groups to supergroups.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::json;

use super::chats::membership;
use super::objects::{Chat, Message};
use super::telegram_state::{Bot, Group, Membership, TelegramState, unix_now};
use super::user_actions::push_update;

/// Creates a group with members and queues `my_chat_member` for each.
pub(super) fn create(
    telegram: &TelegramState,
    kind: &str,
    title: &str,
    username: Option<String>,
    bots: &[i64],
) -> Result<i64, String> {
    let (kind, is_forum) = match kind {
        "group" => ("group", false),
        "supergroup" => ("supergroup", false),
        "forum" => ("supergroup", true),
        "channel" => ("channel", false),
        _ => {
            return Err(format!(
                "no kind of group: {kind}; group, supergroup, forum or channel"
            ));
        }
    };
    let group = telegram.put_group(Group {
        chat: Chat {
            id: 0,
            title: Some(title.to_owned()),
            first_name: None,
            last_name: None,
            username,
            kind,
            is_forum,
            all_members_are_administrators: kind == "group",
        },
        topics: BTreeMap::new(),
        bots: HashMap::new(),
        migrated_to: None,
        deleted: false,
        next_message_id: 1,
    });
    let member = if kind == "channel" {
        Membership::Administrator
    } else {
        Membership::Member
    };
    for &id in bots {
        let bot = telegram
            .bot(id)
            .ok_or_else(|| format!("there is no bot {id}"))?;
        super::user_actions::change_membership(telegram, &bot, &group, member, None);
    }
    let id = group.lock().chat.id;
    Ok(id)
}

/// Creates a topic; its thread id is the id of the service message, as in Telegram.
pub(super) fn add_topic(telegram: &TelegramState, chat: i64, name: &str) -> Result<i64, String> {
    let group = telegram
        .group(chat)
        .ok_or_else(|| format!("there is no chat {chat}"))?;
    let mut group = group.lock();
    if !group.chat.is_forum {
        return Err(format!("chat {chat} is no forum"));
    }
    // 1 is the General topic.
    let id = group.next_message_id.max(2);
    group.next_message_id = id + 1;
    group.topics.insert(id, name.to_owned());
    Ok(id)
}

/// Blocks or unblocks a bot and queues `my_chat_member`.
pub(super) fn block(telegram: &TelegramState, bot: &Arc<Bot>, user: i64, blocked: bool) {
    let user = telegram.user_or_new(user);
    let date = unix_now();
    let (old, new) = if blocked {
        (Membership::Member, Membership::Kicked)
    } else {
        (Membership::Kicked, Membership::Member)
    };
    let change = json!({
        "chat": Chat::private(&user),
        "from": user,
        "date": date,
        "old_chat_member": membership(&bot.user, old),
        "new_chat_member": membership(&bot.user, new),
    });
    let mut state = bot.state.lock();
    state.private.entry(user.id).or_default().blocked = blocked;
    push_update(
        bot,
        &mut state,
        "my_chat_member",
        user.id,
        date,
        &change.to_string(),
    );
}

/// Migrates a basic group to a supergroup; a service message in each holds the other's id.
pub(super) fn migrate(telegram: &TelegramState, chat: i64) -> Result<i64, String> {
    let old = telegram
        .group(chat)
        .ok_or_else(|| format!("there is no chat {chat}"))?;
    let (mut new_chat, bots) = {
        let old = old.lock();
        if old.chat.kind != "group" {
            return Err(format!(
                "chat {chat} is a {}, not a basic group",
                old.chat.kind
            ));
        }
        (old.chat.clone(), old.bots.clone())
    };
    new_chat.id = 0;
    new_chat.kind = "supergroup";
    new_chat.all_members_are_administrators = false;
    let new = telegram.put_group(Group {
        chat: new_chat,
        topics: BTreeMap::new(),
        bots: bots.clone(),
        migrated_to: None,
        deleted: false,
        next_message_id: 2,
    });
    let new_chat = new.lock().chat.clone();
    old.lock().migrated_to = Some(new_chat.id);
    let old_chat = old.lock().chat.clone();
    let date = unix_now();
    for (id, membership) in bots {
        let Some(bot) = telegram.bot(id).filter(|_| membership.is_inside()) else {
            continue;
        };
        let mut state = bot.state.lock();
        state.next_message_id += 1;
        let mut leaving = Message::new(state.next_message_id - 1, old_chat.clone(), date);
        leaving
            .content
            .insert("migrate_to_chat_id".into(), json!(new_chat.id));
        let mut arriving = Message::new(1, new_chat.clone(), date);
        arriving
            .content
            .insert("migrate_from_chat_id".into(), json!(old_chat.id));
        for message in [leaving, arriving] {
            let json = serde_json::to_string(&message).unwrap_or_default();
            push_update(&bot, &mut state, "message", message.chat.id, date, &json);
        }
    }
    Ok(new_chat.id)
}
