//! Where an update belongs: its kind, chat, topic and date, read once for everybody who needs them before its content matters.

use super::json::JsonObject;

/// What an update is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UpdateKind {
    /// `message`.
    Message,
    /// `edited_message`.
    EditedMessage,
    /// `channel_post`.
    ChannelPost,
    /// `my_chat_member`: what the bot may do in a chat has changed.
    MyChatMember,
    /// `callback_query`: somebody tapped a button under a message of the bot.
    CallbackQuery,
    /// Any other kind that has a chat: nothing is answered.
    Other,
}

/// The General topic of a forum: sends must leave it out, so it counts as no topic (TELEGRAM.md, Limits).
const GENERAL_TOPIC: i64 = 1;

/// The place of an update. A field that is not what it should be costs that field only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UpdateRoute {
    /// The chat; 0 where there is none.
    pub chat: i64,
    /// The topic, by [`topic`]; 0 where there is none.
    pub topic: i64,
    /// Telegram's date of the message (of its last edit), in Unix seconds; 0 where there is none, as of a tap: it comes after all that waits
    /// in its lane when it is accepted.
    pub date: i64,
    /// It may be a command that ends what waits before it in a private chat (`/stop`, `/new`, `/start` with a payload; the pipeline reads it exactly), so that its
    /// lane is looked at now, whatever that waits for.
    pub may_interrupt: bool,
    /// The group has become a supergroup with an id of its own: what belongs to the old id belongs to the new one.
    pub moved: Option<ChatMove>,
    /// The user from whom it is; 0 where it names none.
    pub sender: i64,
}

/// A group that became a supergroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChatMove {
    /// The group's id.
    pub from: i64,
    /// The supergroup's id.
    pub to: i64,
}

impl ChatMove {
    /// Either chat is told of it, by a service message.
    fn of(message: &JsonObject<'_>, chat: i64) -> Option<Self> {
        let moved = match message.integer("migrate_to_chat_id") {
            Some(to) => Self { from: chat, to },
            None => Self {
                from: message.integer("migrate_from_chat_id")?,
                to: chat,
            },
        };
        (moved.from < 0 && moved.to < 0 && moved.from != moved.to).then_some(moved)
    }
}

impl UpdateRoute {
    /// The place of an update that is JSON; that of no chat where it cannot be read: it is kept, and the pipeline says what is wrong
    /// with it.
    pub(crate) fn of(update: &JsonObject<'_>) -> Self {
        Self::find(update).unwrap_or_default()
    }

    fn find(update: &JsonObject<'_>) -> Option<Self> {
        let (kind, message) = kind_and_message(update)?;
        let chat = message.object("chat")?.integer("id")?;
        // A tap has no date, and its message is the bot's own.
        let is_tap = kind == UpdateKind::CallbackQuery;
        let date = |key| message.integer(key).filter(|_| !is_tap).unwrap_or(0);
        Some(Self {
            chat,
            topic: topic(&message).unwrap_or(0),
            date: date("date").max(date("edit_date")),
            // In a group somebody whom nobody listens to could have others' questions asked again and again.
            may_interrupt: chat > 0
                && !is_tap
                && ["text", "caption"]
                    .into_iter()
                    .find_map(|key| message.raw(key))
                    .is_some_and(is_interrupting_command),
            moved: ChatMove::of(&message, chat).filter(|_| kind == UpdateKind::Message),
            sender: sender(update, &message, is_tap).unwrap_or(0),
        })
    }
}

/// What an update is about, and the message that it is or belongs to. The kinds that have a meaning of their own come first; of all others the first
/// one with a chat.
pub(crate) fn kind_and_message<'a>(
    update: &JsonObject<'a>,
) -> Option<(UpdateKind, JsonObject<'a>)> {
    const KNOWN: [(&str, UpdateKind); 4] = [
        ("message", UpdateKind::Message),
        ("edited_message", UpdateKind::EditedMessage),
        ("channel_post", UpdateKind::ChannelPost),
        ("my_chat_member", UpdateKind::MyChatMember),
    ];
    if let Some(query) = update.object("callback_query") {
        // Without a message it was tapped in a chat that is not the bot's.
        return Some((UpdateKind::CallbackQuery, query.object("message")?));
    }
    for (key, kind) in KNOWN {
        if let Some(found) = update.object(key) {
            return Some((kind, found));
        }
    }
    let keys: Vec<&str> = update.keys().collect();
    keys.into_iter()
        .filter_map(|key| update.object(key))
        .find(|o| o.has("chat"))
        .map(|o| (UpdateKind::Other, o))
}

/// The topic of a message, where there are topics and it is not the General one. Replies in a supergroup without topics carry a
/// `message_thread_id` too; only `is_topic_message` makes it a topic. In the direct messages of a channel each person's talk is a topic
/// of its own kind (`direct_messages_topic`): negative here, so that it is told apart by its sign.
pub(crate) fn topic(message: &JsonObject<'_>) -> Option<i64> {
    let direct = message.object("direct_messages_topic");
    if let Some(topic) = direct.and_then(|topic| topic.integer("topic_id")) {
        return Some(topic.saturating_abs().saturating_neg()).filter(|topic| *topic != 0);
    }
    message
        .integer("message_thread_id")
        .filter(|topic| message.flag("is_topic_message") && *topic != GENERAL_TOPIC)
}

/// The user from whom an update is: of a tap whoever tapped, since its message is the bot's own.
fn sender(update: &JsonObject<'_>, message: &JsonObject<'_>, is_tap: bool) -> Option<i64> {
    let from = if is_tap {
        update.object("callback_query")?.object("from")?
    } else {
        // Reactions and the like say `user`.
        message.object("from").or_else(|| message.object("user"))?
    };
    from.integer("id")
}

/// Whether a text, as JSON, begins like a command that ends what waits.
fn is_interrupting_command(text: &str) -> bool {
    let begins = |word: &str| {
        // Telegram escapes the slash.
        let rest = text
            .strip_prefix("\"/")
            .or_else(|| text.strip_prefix("\"\\/"));
        rest.and_then(|rest| rest.get(..word.len()))
            .is_some_and(|begin| begin.eq_ignore_ascii_case(word))
    };
    begins("stop") || begins("new") || begins("start ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_route(json: &str) -> UpdateRoute {
        JsonObject::parse(json).map_or_else(UpdateRoute::default, |update| UpdateRoute::of(&update))
    }

    #[test]
    fn route_has_chat_topic_and_later_date() {
        let json = r#"{"update_id":1,"edited_message":{"message_id":5,"date":100,"edit_date":160,"is_topic_message":true,
            "message_thread_id":7,"chat":{"id":-1001,"type":"supergroup"},"text":"\ud800"}}"#;
        assert_eq!(
            parse_route(json),
            UpdateRoute {
                chat: -1001,
                topic: 7,
                date: 160,
                may_interrupt: false,
                moved: None,
                sender: 0,
            }
        );
    }

    #[test]
    fn either_service_message_of_a_move_names_both_chats() {
        let moved = ChatMove {
            from: -5,
            to: -1005,
        };
        for (chat, field) in [
            (-5, r#""migrate_to_chat_id":-1005"#),
            (-1005, r#""migrate_from_chat_id":-5"#),
        ] {
            let json = format!(r#"{{"message":{{"chat":{{"id":{chat}}},{field}}}}}"#);
            assert_eq!(parse_route(&json).moved, Some(moved));
            let pinned =
                format!(r#"{{"message":{{"chat":{{"id":{chat}}},"pinned_message":{{{field}}}}}}}"#);
            assert_eq!(parse_route(&pinned).moved, None);
        }
    }

    #[test]
    fn command_in_a_private_chat_may_interrupt() {
        let may_interrupt = |chat: i64, text: &str| {
            parse_route(&format!(
                r#"{{"message":{{"chat":{{"id":{chat}}},"text":"{text}"}}}}"#
            ))
            .may_interrupt
        };
        for text in [
            "/stop",
            "\\/stop",
            "/STOP@support_bot",
            "/new",
            "/start ref",
        ] {
            assert!(may_interrupt(5, text), "{text}");
            assert!(!may_interrupt(-5, text), "{text}");
        }
        for text in ["stop", "", "/", "/help", "/st", "/start", "é/stop", "/éé"] {
            assert!(!may_interrupt(5, text), "{text}");
        }
    }

    #[test]
    fn route_names_the_user_from_whom_it_is() {
        for json in [
            r#"{"edited_message":{"chat":{"id":-5},"from":{"id":7},"text":"\ud800"}}"#,
            r#"{"my_chat_member":{"chat":{"id":7},"from":{"id":7}}}"#,
            r#"{"message_reaction":{"chat":{"id":-5},"user":{"id":7}}}"#,
        ] {
            assert_eq!(parse_route(json).sender, 7, "{json}");
        }
    }

    #[test]
    fn thread_of_replies_is_not_a_topic() {
        let json =
            r#"{"update_id":1,"message":{"message_thread_id":7,"date":1,"chat":{"id":-1001}}}"#;
        assert_eq!(parse_route(json).topic, 0);
    }

    #[test]
    fn direct_messages_topic_is_part_of_the_route() {
        let json = r#"{"update_id":1,"message":{"direct_messages_topic":{"topic_id":1001},"date":1,
            "chat":{"id":-1001,"type":"supergroup","is_direct_messages":true}}}"#;
        assert_eq!(parse_route(json).topic, -1001);
    }

    #[test]
    fn tap_has_its_messages_chat_and_topic_and_no_date() {
        let json = r#"{"update_id":1,"callback_query":{"id":"9","from":{"id":7},"data":"a","message":{"message_id":5,"date":100,
            "is_topic_message":true,"message_thread_id":7,"chat":{"id":5,"type":"private"},"text":"/stop"}}}"#;
        let route = UpdateRoute {
            chat: 5,
            topic: 7,
            sender: 7,
            ..UpdateRoute::default()
        };
        assert_eq!(parse_route(json), route);
        let inline = r#"{"update_id":1,"callback_query":{"id":"9","from":{"id":7},"inline_message_id":"x"}}"#;
        assert_eq!(parse_route(inline), UpdateRoute::default());
    }

    #[test]
    fn invalid_field_beside_chat_is_ignored() {
        for broken in [
            r#""date":"x""#,
            r#""date":1.5,"edit_date":{}"#,
            r#""is_topic_message":1,"message_thread_id":"7""#,
            r#""chat":{"id":6},"date":99999999999999999999"#,
        ] {
            let json = format!(r#"{{"update_id":1,"message":{{{broken},"chat":{{"id":5}}}}}}"#);
            assert_eq!(parse_route(&json).chat, 5, "{json}");
        }
        let both = r#"{"message":[{"id":9}],"edited_message":{"chat":{"id":5}}}"#;
        assert_eq!(parse_route(both).chat, 5);
    }

    #[test]
    fn unreadable_update_has_default_route() {
        for json in [
            "{}",
            "[]",
            "null",
            r#"{"message":7}"#,
            r#"{"message":{"chat":{"id":"x"}}}"#,
            "{",
        ] {
            assert_eq!(parse_route(json), UpdateRoute::default(), "{json}");
        }
    }
}
