//! Which lane an update belongs to and where in it: read from its JSON before it is stored, whatever its kind.

use crate::telegram::json::JsonObject;

/// What the inbox needs to know of an update to keep it in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UpdateRoute {
    /// The chat; 0 where there is none.
    pub chat: i64,
    /// The topic; 0 where there is none.
    pub topic: i64,
    /// Telegram's date of the message (of its last edit), in Unix seconds; 0 where there is none.
    pub date: i64,
    /// It may end what waits before it, so that its lane is looked at now, whatever that waits for.
    pub makes_lane_ready: bool,
}

/// The kinds that have a lane of their own, in the order in which they count should there be more than one. The first four are
/// those that `pipeline::incoming_update` reads; both must find the same chat, or a reply would go to another one.
const ROUTED_KINDS: [&str; 5] = [
    "message",
    "edited_message",
    "channel_post",
    "my_chat_member",
    "edited_channel_post",
];

/// The General topic of a forum counts as no topic (TELEGRAM.md, Limits).
const GENERAL_TOPIC: i64 = 1;

/// The place of an update. An update that cannot be read has the place of no chat: it is kept, and the pipeline says what is
/// wrong with it. A field that is not what it should be costs that field only, here as there.
///
/// Replies in a supergroup without topics carry a `message_thread_id` too; only `is_topic_message` makes it a topic.
pub fn parse_route(json: &str) -> UpdateRoute {
    try_parse_route(json).unwrap_or_default()
}

fn try_parse_route(json: &str) -> Option<UpdateRoute> {
    let update = JsonObject::parse(json)?;
    let message = ROUTED_KINDS
        .into_iter()
        .find_map(|kind| update.object(kind))?;
    let chat = message.object("chat")?.integer("id")?;
    // In a group somebody whom nobody listens to could have others' questions asked again and again.
    let makes_lane_ready = chat > 0 && message.raw("text").is_some_and(is_interrupting_command);
    let date = |key| message.integer(key).unwrap_or(0);
    Some(UpdateRoute {
        chat,
        topic: message
            .integer("message_thread_id")
            .filter(|topic| message.flag("is_topic_message") && *topic != GENERAL_TOPIC)
            .unwrap_or(0),
        date: date("date").max(date("edit_date")),
        makes_lane_ready,
    })
}

/// Whether a text, as JSON, begins like a command that ends what waits: `/stop`, `/new`. The pipeline reads it exactly.
fn is_interrupting_command(text: &str) -> bool {
    let begins = |word: &str| {
        // Telegram escapes the slash.
        let rest = text
            .strip_prefix("\"/")
            .or_else(|| text.strip_prefix("\"\\/"));
        rest.and_then(|rest| rest.get(..word.len()))
            .is_some_and(|begin| begin.eq_ignore_ascii_case(word))
    };
    begins("stop") || begins("new")
}

#[cfg(test)]
mod tests {
    use super::*;

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
                makes_lane_ready: false,
            }
        );
    }

    #[test]
    fn interrupting_command_makes_private_lane_ready() {
        let said = |chat: i64, text: &str| {
            parse_route(&format!(
                r#"{{"message":{{"chat":{{"id":{chat}}},"text":"{text}"}}}}"#
            ))
            .makes_lane_ready
        };
        for text in ["/stop", "\\/stop", "/STOP@support_bot", "/new"] {
            assert!(said(5, text), "{text}");
            assert!(!said(-5, text), "{text}");
        }
        for text in ["stop", "", "/", "/help", "/st", "é/stop", "/éé"] {
            assert!(!said(5, text), "{text}");
        }
    }

    #[test]
    fn thread_of_replies_is_not_a_topic() {
        let json =
            r#"{"update_id":1,"message":{"message_thread_id":7,"date":1,"chat":{"id":-1001}}}"#;
        assert_eq!(parse_route(json).topic, 0);
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
