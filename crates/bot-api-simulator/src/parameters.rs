//! The parameters of each method, after which a call's misspelt ones are found: Telegram ignores them without a word.
//!
//! A test holds this table to the Bot API as data.

/// Methods in lower case, with the names of their parameters.
pub(super) const PARAMETERS: &[(&str, &str)] = &[
    (
        "answercallbackquery",
        "callback_query_id text show_alert url cache_time",
    ),
    ("deletemessage", "chat_id message_id"),
    ("deletemycommands", "scope language_code"),
    ("deletewebhook", "drop_pending_updates"),
    (
        "editmessagecaption",
        "business_connection_id chat_id message_id inline_message_id caption parse_mode caption_entities show_caption_above_media reply_markup",
    ),
    (
        "editmessagemedia",
        "business_connection_id chat_id message_id inline_message_id media reply_markup",
    ),
    (
        "editmessagereplymarkup",
        "business_connection_id chat_id message_id inline_message_id reply_markup",
    ),
    (
        "editmessagetext",
        "business_connection_id chat_id message_id inline_message_id text parse_mode entities link_preview_options rich_message reply_markup",
    ),
    ("getchat", "chat_id"),
    ("getchatmember", "chat_id user_id"),
    ("getfile", "file_id"),
    ("getme", ""),
    ("getmycommands", "scope language_code"),
    ("getupdates", "offset limit timeout allowed_updates"),
    ("getwebhookinfo", ""),
    ("leavechat", "chat_id"),
    (
        "sendanimation",
        "business_connection_id chat_id message_thread_id direct_messages_topic_id animation duration width height thumbnail caption parse_mode caption_entities show_caption_above_media has_spoiler disable_notification protect_content allow_paid_broadcast message_effect_id suggested_post_parameters reply_parameters reply_markup",
    ),
    (
        "sendaudio",
        "business_connection_id chat_id message_thread_id direct_messages_topic_id audio caption parse_mode caption_entities duration performer title thumbnail disable_notification protect_content allow_paid_broadcast message_effect_id suggested_post_parameters reply_parameters reply_markup",
    ),
    (
        "sendchataction",
        "business_connection_id chat_id message_thread_id action",
    ),
    (
        "senddocument",
        "business_connection_id chat_id message_thread_id direct_messages_topic_id document thumbnail caption parse_mode caption_entities disable_content_type_detection disable_notification protect_content allow_paid_broadcast message_effect_id suggested_post_parameters reply_parameters reply_markup",
    ),
    (
        "sendmediagroup",
        "business_connection_id chat_id message_thread_id direct_messages_topic_id media disable_notification protect_content allow_paid_broadcast message_effect_id reply_parameters",
    ),
    (
        "sendmessage",
        "business_connection_id chat_id message_thread_id direct_messages_topic_id text parse_mode entities link_preview_options disable_notification protect_content allow_paid_broadcast message_effect_id suggested_post_parameters reply_parameters reply_markup",
    ),
    (
        "sendmessagedraft",
        "chat_id message_thread_id draft_id text parse_mode entities",
    ),
    (
        "sendphoto",
        "business_connection_id chat_id message_thread_id direct_messages_topic_id photo caption parse_mode caption_entities show_caption_above_media has_spoiler disable_notification protect_content allow_paid_broadcast message_effect_id suggested_post_parameters reply_parameters reply_markup",
    ),
    (
        "sendrichmessage",
        "business_connection_id chat_id message_thread_id direct_messages_topic_id rich_message disable_notification protect_content allow_paid_broadcast message_effect_id suggested_post_parameters reply_parameters reply_markup",
    ),
    (
        "sendrichmessagedraft",
        "chat_id message_thread_id draft_id rich_message",
    ),
    (
        "sendvideo",
        "business_connection_id chat_id message_thread_id direct_messages_topic_id video duration width height thumbnail cover start_timestamp caption parse_mode caption_entities show_caption_above_media has_spoiler supports_streaming disable_notification protect_content allow_paid_broadcast message_effect_id suggested_post_parameters reply_parameters reply_markup",
    ),
    (
        "sendvoice",
        "business_connection_id chat_id message_thread_id direct_messages_topic_id voice caption parse_mode caption_entities duration disable_notification protect_content allow_paid_broadcast message_effect_id suggested_post_parameters reply_parameters reply_markup",
    ),
    ("setmessagereaction", "chat_id message_id reaction is_big"),
    ("setmycommands", "commands scope language_code"),
    (
        "setwebhook",
        "url certificate ip_address max_connections allowed_updates drop_pending_updates secret_token",
    ),
];

/// Parameters that the Bot API server still takes beside those that are documented.
const LEGACY: &[&str] = &[
    "method",
    "reply_to_message_id",
    "allow_sending_without_reply",
    "disable_web_page_preview",
];

/// Those of `names` that the method does not take; a method that is not in the table takes any.
pub(super) fn unknown<'a>(method: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let Some((_, known)) = PARAMETERS.iter().find(|(name, _)| *name == method) else {
        return Vec::new();
    };
    names
        .filter(|name| !LEGACY.contains(name) && !known.split(' ').any(|known| known == *name))
        .map(ToOwned::to_owned)
        .collect()
}
