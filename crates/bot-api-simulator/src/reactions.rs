//! `setMessageReaction`: the bot's own reaction to a message.

use serde_json::Value;

use super::chats::writable;
use super::method_result::{MethodError, MethodResult, MethodSuccess};
use super::params::Params;
use super::telegram_state::{Bot, TelegramState};

/// The emoji that a reaction may be, from the description of `ReactionTypeEmoji`.
const EMOJI: &str = "❤ 👍 👎 🔥 🥰 👏 😁 🤔 🤯 😱 🤬 😢 🎉 🤩 🤮 💩 🙏 👌 🕊 🤡 🥱 🥴 😍 🐳 ❤‍🔥 🌚 🌭 💯 🤣 ⚡ 🍌 🏆 💔 🤨 😐 🍓 🍾 💋 🖕 😈 😴 😭 🤓 👻 👨‍💻 👀 🎃 🙈 😇 😨 🤝 ✍ 🤗 🫡 🎅 🎄 ☃ 💅 🤪 🗿 🆒 💘 🙉 🦄 😘 💊 🙊 😎 👾 🤷‍♂ 🤷 🤷‍♀ 😡";

/// `setMessageReaction`. Without `reaction` the reaction goes.
pub(super) fn set(telegram: &TelegramState, bot: &Bot, params: &Params) -> MethodResult {
    let reactions = read(params.get("reaction"))?;
    let destination = writable(telegram, bot, params.get("chat_id"))?;
    let chat = destination.chat().id;
    let id = params.integer("message_id", 0, 0, i64::MAX);
    let mut state = bot.state.lock();
    let stored = state
        .history
        .find_mut(chat, id)
        .filter(|stored| !stored.deleted)
        .ok_or_else(|| MethodError::bad_request("message to react not found"))?;
    if reactions.len() > 1 {
        return Err(MethodError::bad_request("REACTIONS_TOO_MANY"));
    }
    stored.reactions = reactions;
    drop(state);
    bot.messages_changed.notify_waiters();
    MethodSuccess::true_result()
}

fn read(parameter: &str) -> Result<Vec<Value>, MethodError> {
    if parameter.is_empty() {
        return Ok(Vec::new());
    }
    let list: Value = serde_json::from_str(parameter)
        .map_err(|_| MethodError::bad_request("Can't parse reaction types JSON object"))?;
    let Value::Array(reactions) = list else {
        return Err(MethodError::bad_request(
            "Expected an Array of ReactionType",
        ));
    };
    for reaction in &reactions {
        check(reaction)?;
    }
    Ok(reactions)
}

fn check(reaction: &Value) -> Result<(), MethodError> {
    let refuse = |why: &str| MethodError::bad_request(&format!("Can't parse ReactionType: {why}"));
    let Value::Object(fields) = reaction else {
        return Err(refuse("expected an Object"));
    };
    let field = |name: &str| fields.get(name).and_then(Value::as_str);
    match field("type") {
        None => Err(refuse("Can't find field \"type\"")),
        Some("emoji") => {
            let emoji = field("emoji").ok_or_else(|| refuse("Can't find field \"emoji\""))?;
            // Clients send some emoji with the variation selector.
            let plain = emoji.trim_end_matches('\u{fe0f}');
            if plain.is_empty() || !EMOJI.split(' ').any(|known| known == plain) {
                return Err(MethodError::bad_request("REACTION_INVALID"));
            }
            Ok(())
        }
        Some("custom_emoji") => field("custom_emoji_id")
            .map(drop)
            .ok_or_else(|| refuse("Can't find field \"custom_emoji_id\"")),
        Some(_) => Err(refuse("invalid reaction type specified")),
    }
}
