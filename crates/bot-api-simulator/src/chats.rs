//! Access of a bot to chats: the checks of every call with a `chat_id`, and the methods about chats.

use std::sync::Arc;

use serde_json::json;

use super::method_result::{MethodError, MethodResult, MethodSuccess};
use super::objects::Chat;
use super::params::Params;
use super::telegram_state::{Bot, BotState, Group, Membership, TelegramState, WritableChat};

/// Thread id of the General topic, which calls and updates omit.
const GENERAL_TOPIC: i64 = 1;

/// The chat that `chat_id` names, if the bot may write there.
pub(super) fn writable(
    telegram: &TelegramState,
    bot: &Bot,
    chat_id: &str,
) -> Result<WritableChat, MethodError> {
    if chat_id.is_empty() {
        return Err(MethodError::bad_request("chat_id is empty"));
    }
    if let Some(username) = chat_id.strip_prefix('@') {
        let found = telegram.groups().into_iter().find(|group| {
            let name = group.lock().chat.username.clone();
            name.is_some_and(|name| name.eq_ignore_ascii_case(username))
        });
        let group = found.ok_or_else(|| MethodError::bad_request("chat not found"))?;
        check_group(bot, &group.lock())?;
        return Ok(WritableChat::Group(group));
    }
    let id: i64 = chat_id.trim().parse().unwrap_or(0);
    if id > 0 {
        return private(telegram, bot, id).map(WritableChat::Private);
    }
    let group = telegram
        .group(id)
        .ok_or_else(|| MethodError::bad_request("chat not found"))?;
    check_group(bot, &group.lock())?;
    Ok(WritableChat::Group(group))
}

fn private(
    telegram: &TelegramState,
    bot: &Bot,
    id: i64,
) -> Result<Arc<super::objects::User>, MethodError> {
    let not_found = || MethodError::bad_request("chat not found");
    let user = telegram.user(id).ok_or_else(not_found)?;
    let chat = bot.state.lock().private.get(&id).copied();
    match chat {
        // A bot can write only to users who have written to it.
        None => Err(not_found()),
        Some(chat) if chat.deactivated => Err(MethodError::forbidden("user is deactivated")),
        Some(chat) if chat.blocked => Err(MethodError::forbidden("bot was blocked by the user")),
        Some(_) => Ok(user),
    }
}

fn check_group(bot: &Bot, group: &Group) -> Result<(), MethodError> {
    if let Some(to) = group.migrated_to {
        return Err(MethodError::migrated(to));
    }
    if group.deleted {
        return Err(MethodError::forbidden("the group chat was deleted"));
    }
    let kind = match group.chat.kind {
        "supergroup" => "supergroup chat",
        "channel" => "channel chat",
        _ => "group chat",
    };
    match group.bots.get(&bot.id) {
        Some(membership) if membership.is_inside() => Ok(()),
        Some(Membership::Kicked) => Err(MethodError::forbidden(&format!(
            "bot was kicked from the {kind}"
        ))),
        Some(_) => Err(MethodError::forbidden(&format!(
            "bot is not a member of the {kind}"
        ))),
        None => Err(MethodError::bad_request("chat not found")),
    }
}

/// The topic of `message_thread_id` in this chat, if the call has one.
pub(super) fn topic(
    destination: &WritableChat,
    params: &Params,
) -> Result<Option<i64>, MethodError> {
    let thread = params.integer("message_thread_id", 0, 0, i64::from(i32::MAX));
    if thread == 0 {
        return Ok(None);
    }
    let WritableChat::Group(group) = destination else {
        return Err(MethodError::bad_request("message thread not found"));
    };
    let group = group.lock();
    if !group.chat.is_forum {
        return Ok(None);
    }
    if thread == GENERAL_TOPIC || !group.topics.contains_key(&thread) {
        return Err(MethodError::bad_request("message thread not found"));
    }
    Ok(Some(thread))
}

impl WritableChat {
    pub(super) fn chat(&self) -> Chat {
        match self {
            Self::Private(user) => Chat::private(user),
            Self::Group(group) => group.lock().chat.clone(),
        }
    }

    /// The next `message_id`: supergroups and channels number their own messages, all other chats share the bot's numbering.
    pub(super) fn next_message_id(&self, state: &mut BotState) -> i64 {
        if let Self::Group(group) = self {
            let mut group = group.lock();
            if group.chat.kind != "group" {
                group.next_message_id += 1;
                return group.next_message_id - 1;
            }
        }
        state.next_message_id += 1;
        state.next_message_id - 1
    }
}

/// `getChat`.
pub(super) fn get_chat(telegram: &TelegramState, bot: &Bot, params: &Params) -> MethodResult {
    let destination = writable(telegram, bot, params.get("chat_id"))?;
    let mut chat = serde_json::to_value(destination.chat()).unwrap_or_default();
    chat["accent_color_id"] = json!(0);
    chat["max_reaction_count"] = json!(11);
    chat["accepted_gift_types"] = json!({
        "unlimited_gifts": false, "limited_gifts": false, "unique_gifts": false,
        "premium_subscription": false, "gifts_from_channels": false,
    });
    if chat["type"] != "private" {
        chat["permissions"] = json!({"can_send_messages": true});
    }
    MethodSuccess::json(&chat)
}

/// `getChatMember`.
pub(super) fn get_chat_member(
    telegram: &TelegramState,
    bot: &Bot,
    params: &Params,
) -> MethodResult {
    let destination = writable(telegram, bot, params.get("chat_id"))?;
    let id = params.integer("user_id", 0, 0, i64::MAX);
    let (user, status) = if id == bot.id {
        let status = match &destination {
            WritableChat::Private(_) => Membership::Member,
            WritableChat::Group(group) => group
                .lock()
                .bots
                .get(&bot.id)
                .copied()
                .unwrap_or(Membership::Left),
        };
        (bot.user.clone(), status)
    } else {
        let user = telegram
            .user(id)
            .ok_or_else(|| MethodError::bad_request("user not found"))?;
        (user, Membership::Member)
    };
    MethodSuccess::json(&membership(&user, status))
}

/// A `ChatMember`, complete enough for strict clients.
pub(super) fn membership(user: &super::objects::User, status: Membership) -> serde_json::Value {
    let mut member = json!({"user": user, "status": status.status()});
    match status {
        Membership::Kicked => member["until_date"] = json!(0),
        Membership::Administrator => {
            member["can_be_edited"] = json!(false);
            for right in [
                "is_anonymous",
                "can_promote_members",
                "can_manage_video_chats",
                "can_post_stories",
                "can_edit_stories",
                "can_delete_stories",
            ] {
                member[right] = json!(false);
            }
            for right in [
                "can_manage_chat",
                "can_delete_messages",
                "can_restrict_members",
                "can_change_info",
                "can_invite_users",
            ] {
                member[right] = json!(true);
            }
        }
        Membership::Member | Membership::Left => {}
    }
    member
}

/// `leaveChat`.
pub(super) fn leave_chat(
    telegram: &TelegramState,
    bot: &Arc<Bot>,
    params: &Params,
) -> MethodResult {
    match writable(telegram, bot, params.get("chat_id"))? {
        WritableChat::Private(_) => Err(MethodError::bad_request(
            "chat member status can't be changed in private chats",
        )),
        WritableChat::Group(group) => {
            super::user_actions::change_membership(telegram, bot, &group, Membership::Left, None);
            MethodSuccess::true_result()
        }
    }
}
