//! Every method the simulator answers, by its name in lower case.

use std::sync::Arc;

use serde_json::json;

use super::answer::{Answer, Failure, Success};
use super::params::Params;
use super::world::{Bot, World, lock};
use super::{chats, commands, files, polling, sending, webhook};

/// Calls a method; `method` is in lower case.
pub(super) async fn call(
    world: &Arc<World>,
    bot: &Arc<Bot>,
    method: &str,
    params: &Params,
) -> Answer {
    match method {
        "getme" => get_me(bot),
        "getupdates" => Box::pin(polling::get_updates(world, bot, params)).await,
        "setwebhook" => Box::pin(webhook::set(world, bot, params)).await,
        "deletewebhook" => webhook::delete(bot, params),
        "getwebhookinfo" => webhook::info(bot),
        "sendmessage" => sending::send_message(world, bot, params),
        "editmessagetext" => sending::edit_message_text(world, bot, params),
        "deletemessage" => sending::delete_message(world, bot, params),
        "sendmessagedraft" => sending::send_message_draft(world, bot, params),
        "sendchataction" => sending::send_chat_action(world, bot, params),
        "setmycommands" => commands::set(bot, params),
        "getmycommands" => commands::get(bot, params),
        "deletemycommands" => commands::delete(bot, params),
        "getfile" => files::get_file(world, params),
        "getchat" => chats::get_chat(world, bot, params),
        "getchatmember" => chats::get_chat_member(world, bot, params),
        "leavechat" => chats::leave_chat(world, bot, params),
        _ => Err(Failure::new(404, "Not Found: method not found")),
    }
}

fn get_me(bot: &Bot) -> Answer {
    let mut me = serde_json::to_value(&*bot.user).unwrap_or_default();
    me["can_join_groups"] = json!(true);
    me["can_read_all_group_messages"] = json!(lock(&bot.state).reads_all_group_messages);
    for flag in [
        "supports_inline_queries",
        "supports_guest_queries",
        "can_connect_to_business",
        "has_main_web_app",
        "has_topics_enabled",
        "allows_users_to_create_topics",
        "can_manage_bots",
    ] {
        me[flag] = json!(false);
    }
    Success::json(&me)
}
