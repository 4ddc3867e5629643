//! `setMyCommands`, `getMyCommands`, `deleteMyCommands`: lists per scope and language.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::method_result::{MethodError, MethodResult, MethodSuccess};
use super::params::Params;
use super::telegram_state::Bot;

const MAX_COMMANDS: usize = 100;

#[derive(Debug, Serialize, Deserialize)]
struct Command {
    command: String,
    description: String,
}

/// `setMyCommands`.
pub(super) fn set(bot: &Bot, params: &Params) -> MethodResult {
    let commands = commands(params)?;
    let key = key(params)?;
    let json = serde_json::to_string(&commands).unwrap_or_default();
    let mut state = bot.state.lock();
    if commands.is_empty() {
        state.commands.remove(&key);
    } else {
        state.commands.insert(key, json);
    }
    MethodSuccess::true_result()
}

/// `getMyCommands`.
pub(super) fn get(bot: &Bot, params: &Params) -> MethodResult {
    let key = key(params)?;
    let commands = bot.state.lock().commands.get(&key).cloned();
    Ok(MethodSuccess::raw(
        commands.unwrap_or_else(|| "[]".to_owned()),
    ))
}

/// `deleteMyCommands`.
pub(super) fn delete(bot: &Bot, params: &Params) -> MethodResult {
    let key = key(params)?;
    bot.state.lock().commands.remove(&key);
    MethodSuccess::true_result()
}

fn commands(params: &Params) -> Result<Vec<Command>, MethodError> {
    let list = params.get("commands");
    if list.is_empty() {
        return Ok(Vec::new());
    }
    let list: Value = serde_json::from_str(list)
        .map_err(|_| MethodError::bad_request("Can't parse commands JSON object"))?;
    if !list.is_array() {
        return Err(MethodError::bad_request("Expected an Array of BotCommand"));
    }
    let mut commands: Vec<Command> = serde_json::from_value(list)
        .map_err(|error| MethodError::bad_request(&format!("Can't parse BotCommand: {error}")))?;
    if commands.len() > MAX_COMMANDS {
        return Err(MethodError::bad_request("BOT_COMMANDS_TOO_MUCH"));
    }
    for command in &mut commands {
        let name = command.command.trim_start_matches('/').to_owned();
        let plain = name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !plain || !(1..=32).contains(&name.len()) {
            return Err(MethodError::bad_request("BOT_COMMAND_INVALID"));
        }
        if !(1..=256).contains(&command.description.chars().count()) {
            return Err(MethodError::bad_request("BOT_COMMAND_DESCRIPTION_INVALID"));
        }
        command.command = name;
    }
    Ok(commands)
}

fn key(params: &Params) -> Result<(String, String), MethodError> {
    let language = params.get("language_code");
    let two_letters = language.len() == 2 && language.bytes().all(|b| b.is_ascii_lowercase());
    if !language.is_empty() && !two_letters {
        return Err(MethodError::bad_request("invalid language code specified"));
    }
    Ok((scope(params.get("scope"))?, language.to_owned()))
}

fn scope(scope: &str) -> Result<String, MethodError> {
    if scope.is_empty() {
        return Ok("default".to_owned());
    }
    let scope: Value = serde_json::from_str(scope)
        .map_err(|_| MethodError::bad_request("Can't parse BotCommandScope JSON object"))?;
    let refuse =
        |why: &str| MethodError::bad_request(&format!("Can't parse BotCommandScope: {why}"));
    let kind = scope["type"]
        .as_str()
        .ok_or_else(|| refuse("Can't find field \"type\""))?;
    match kind {
        "default" | "all_private_chats" | "all_group_chats" | "all_chat_administrators" => {
            Ok(kind.to_owned())
        }
        "chat" | "chat_administrators" | "chat_member" => {
            if scope["chat_id"].is_null() {
                return Err(refuse("Can't find field \"chat_id\""));
            }
            let member = &scope["user_id"];
            if kind == "chat_member" && member.as_i64().is_none_or(|id| id <= 0) {
                return Err(refuse("Invalid user_id specified"));
            }
            Ok(format!("{kind} {} {member}", scope["chat_id"]))
        }
        _ => Err(refuse("Unsupported type specified")),
    }
}
