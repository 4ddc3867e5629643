//! Which lane an update belongs to and where in it: read from its JSON before it is stored, whatever its kind.

use crate::telegram::json::JsonObject;

/// What the inbox needs to know of an update to keep it in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// The chat; 0 where there is none.
    pub chat: i64,
    /// The topic; 0 where there is none.
    pub topic: i64,
    /// Telegram's date of the message (of its last edit), in Unix seconds; 0 where there is none.
    pub date: i64,
    /// It may end what waits before it, so that its lane is looked at now, whatever that waits for.
    pub hurries: bool,
}

/// The kinds that have a lane of their own, in the order in which they count should there be more than one. The first four are
/// those that `pipeline::incoming_update` reads; both must find the same chat, or a reply would go to another one.
const KINDS: [&str; 5] = [
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
pub fn place(json: &str) -> Place {
    located(json).unwrap_or_default()
}

fn located(json: &str) -> Option<Place> {
    let update = JsonObject::parse(json)?;
    let message = KINDS.into_iter().find_map(|kind| update.object(kind))?;
    let chat = message.object("chat")?.integer("id")?;
    // In a group somebody whom nobody listens to could have others' questions asked again and again.
    let hurries = chat > 0 && message.raw("text").is_some_and(ends_what_waits);
    let date = |key| message.integer(key).unwrap_or(0);
    Some(Place {
        chat,
        topic: message
            .integer("message_thread_id")
            .filter(|topic| message.flag("is_topic_message") && *topic != GENERAL_TOPIC)
            .unwrap_or(0),
        date: date("date").max(date("edit_date")),
        hurries,
    })
}

/// Whether a text, as JSON, begins like a command that ends what waits: `/stop`, `/new`. The pipeline reads it exactly.
fn ends_what_waits(text: &str) -> bool {
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
    fn the_chat_the_topic_and_the_later_date_make_the_place() {
        let json = r#"{"update_id":1,"edited_message":{"message_id":5,"date":100,"edit_date":160,"is_topic_message":true,
            "message_thread_id":7,"chat":{"id":-1001,"type":"supergroup"},"text":"\ud800"}}"#;
        assert_eq!(
            place(json),
            Place {
                chat: -1001,
                topic: 7,
                date: 160,
                hurries: false,
            }
        );
    }

    #[test]
    fn a_command_that_ends_what_waits_hurries_in_a_private_chat() {
        let said = |chat: i64, text: &str| {
            place(&format!(
                r#"{{"message":{{"chat":{{"id":{chat}}},"text":"{text}"}}}}"#
            ))
            .hurries
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
    fn a_thread_of_replies_is_no_topic() {
        let json =
            r#"{"update_id":1,"message":{"message_thread_id":7,"date":1,"chat":{"id":-1001}}}"#;
        assert_eq!(place(json).topic, 0);
    }

    #[test]
    fn a_broken_field_beside_the_chat_does_not_cost_the_chat() {
        for broken in [
            r#""date":"x""#,
            r#""date":1.5,"edit_date":{}"#,
            r#""is_topic_message":1,"message_thread_id":"7""#,
            r#""chat":{"id":6},"date":99999999999999999999"#,
        ] {
            let json = format!(r#"{{"update_id":1,"message":{{{broken},"chat":{{"id":5}}}}}}"#);
            assert_eq!(place(&json).chat, 5, "{json}");
        }
        let both = r#"{"message":[{"id":9}],"edited_message":{"chat":{"id":5}}}"#;
        assert_eq!(place(both).chat, 5);
    }

    #[test]
    fn an_update_that_cannot_be_read_has_a_place_too() {
        for json in [
            "{}",
            "[]",
            "null",
            r#"{"message":7}"#,
            r#"{"message":{"chat":{"id":"x"}}}"#,
            "{",
        ] {
            assert_eq!(place(json), Place::default(), "{json}");
        }
    }
}
