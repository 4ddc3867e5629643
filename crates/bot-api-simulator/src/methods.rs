//! Dispatch of methods by their name in lower case.

use std::sync::Arc;

use serde_json::json;

use super::media_objects::Kind;
use super::method_result::{MethodError, MethodResult, MethodSuccess};
use super::params::Params;
use super::telegram_state::{Bot, TelegramState};
use super::{
    callback_queries, chats, commands, drafts, editing, files, input_media, media, polling,
    reactions, rich_messages, sending, webhook,
};

/// Calls a method; `method` is in lower case.
pub(super) async fn call(
    telegram: &Arc<TelegramState>,
    bot: &Arc<Bot>,
    method: &str,
    params: &Params,
) -> MethodResult {
    match method {
        "getme" => get_me(bot),
        "getupdates" => Box::pin(polling::get_updates(telegram, bot, params)).await,
        "setwebhook" => Box::pin(webhook::set(telegram, bot, params)).await,
        "deletewebhook" => webhook::delete(bot, params),
        "getwebhookinfo" => webhook::info(bot),
        "sendmessage" => sending::send_message(telegram, bot, params),
        "sendphoto" => media::send_media(telegram, bot, params, Kind::Photo),
        "senddocument" => media::send_media(telegram, bot, params, Kind::Document),
        "sendaudio" => media::send_media(telegram, bot, params, Kind::Audio),
        "sendvoice" => media::send_media(telegram, bot, params, Kind::Voice),
        "sendvideo" => media::send_media(telegram, bot, params, Kind::Video),
        "sendanimation" => media::send_media(telegram, bot, params, Kind::Animation),
        "sendmediagroup" => input_media::send_media_group(telegram, bot, params),
        "editmessagemedia" => media::edit_message_media(telegram, bot, params),
        "editmessagetext" => editing::edit_message_text(telegram, bot, params),
        "editmessagecaption" => editing::edit_message_caption(telegram, bot, params),
        "editmessagereplymarkup" => editing::edit_message_reply_markup(telegram, bot, params),
        "deletemessage" => editing::delete_message(telegram, bot, params),
        "answercallbackquery" => callback_queries::answer(telegram, bot, params),
        "setmessagereaction" => reactions::set(telegram, bot, params),
        "sendrichmessage" => rich_messages::send_rich_message(telegram, bot, params),
        "sendrichmessagedraft" => rich_messages::send_rich_message_draft(telegram, bot, params),
        "sendmessagedraft" => drafts::send_message_draft(telegram, bot, params),
        "sendchataction" => sending::send_chat_action(telegram, bot, params),
        "setmycommands" => commands::set(bot, params),
        "getmycommands" => commands::get(bot, params),
        "deletemycommands" => commands::delete(bot, params),
        "getfile" => files::get_file(telegram, params),
        "getchat" => chats::get_chat(telegram, bot, params),
        "getchatmember" => chats::get_chat_member(telegram, bot, params),
        "leavechat" => chats::leave_chat(telegram, bot, params),
        _ => Err(MethodError::new(404, "Not Found: method not found")),
    }
}

fn get_me(bot: &Bot) -> MethodResult {
    let mut me = serde_json::to_value(&*bot.user).unwrap_or_default();
    me["can_join_groups"] = json!(true);
    me["can_read_all_group_messages"] = json!(bot.state.lock().reads_all_group_messages);
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
    MethodSuccess::json(&me)
}
