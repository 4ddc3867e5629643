//! Which lane an update belongs to and where in it: read from its JSON before it is stored, whatever its kind.

use serde::Deserialize;
use serde_json::value::RawValue;

/// What the inbox needs to know of an update to keep it in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// The chat; 0 where there is none.
    pub chat: i64,
    /// The topic; 0 where there is none.
    pub topic: i64,
    /// Telegram's date of the message (of its last edit), in Unix seconds; 0 where there is none.
    pub date: i64,
}

#[derive(Deserialize)]
struct Update<'a> {
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    edited_message: Option<&'a RawValue>,
    #[serde(borrow)]
    channel_post: Option<&'a RawValue>,
    #[serde(borrow)]
    edited_channel_post: Option<&'a RawValue>,
    #[serde(borrow)]
    my_chat_member: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Message {
    chat: Chat,
    #[serde(default)]
    date: i64,
    #[serde(default)]
    edit_date: i64,
    #[serde(default)]
    message_thread_id: Option<i64>,
    #[serde(default)]
    is_topic_message: bool,
}

#[derive(Deserialize)]
struct Chat {
    id: i64,
}

/// The General topic of a forum counts as no topic (TELEGRAM.md, Limits).
const GENERAL_TOPIC: i64 = 1;

/// The place of an update. An update that cannot be read has the place of no chat: it is kept, and the pipeline says what is
/// wrong with it.
///
/// Replies in a supergroup without topics carry a `message_thread_id` too; only `is_topic_message` makes it a topic.
pub fn place(json: &str) -> Place {
    let Ok(update) = serde_json::from_str::<Update<'_>>(json) else {
        return Place::default();
    };
    let message = update
        .message
        .or(update.edited_message)
        .or(update.channel_post)
        .or(update.edited_channel_post)
        .or(update.my_chat_member);
    let Some(Ok(message)) = message.map(|m| serde_json::from_str::<Message>(m.get())) else {
        return Place::default();
    };
    Place {
        chat: message.chat.id,
        topic: message
            .message_thread_id
            .filter(|topic| message.is_topic_message && *topic != GENERAL_TOPIC)
            .unwrap_or(0),
        date: message.date.max(message.edit_date),
    }
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
                date: 160
            }
        );
    }

    #[test]
    fn a_thread_of_replies_is_no_topic() {
        let json =
            r#"{"update_id":1,"message":{"message_thread_id":7,"date":1,"chat":{"id":-1001}}}"#;
        assert_eq!(place(json).topic, 0);
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
