//! Request headers that several protocols send: the sender, where the protocol has no field for it, and the idempotency key.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::{Question, QuestionContext};

const CONNECTOR: HeaderName = HeaderName::from_static("x-telegram-connector");
const SESSION: HeaderName = HeaderName::from_static("x-telegram-session");
const USER_ID: HeaderName = HeaderName::from_static("x-telegram-user-id");
const USER_NAME: HeaderName = HeaderName::from_static("x-telegram-user-name");
const USERNAME: HeaderName = HeaderName::from_static("x-telegram-username");
const LANGUAGE: HeaderName = HeaderName::from_static("x-telegram-language");
const CHAT_ID: HeaderName = HeaderName::from_static("x-telegram-chat-id");
const CHAT_TYPE: HeaderName = HeaderName::from_static("x-telegram-chat-type");
const CHAT_TITLE: HeaderName = HeaderName::from_static("x-telegram-chat-title");
const TOPIC_ID: HeaderName = HeaderName::from_static("x-telegram-topic-id");
const TOPIC_NAME: HeaderName = HeaderName::from_static("x-telegram-topic-name");
const BOT_NAME: HeaderName = HeaderName::from_static("x-telegram-bot-name");
const BOT_USERNAME: HeaderName = HeaderName::from_static("x-telegram-bot-username");
const DISPLAY_NAME: HeaderName = HeaderName::from_static("x-telegram-display-name");
const START: HeaderName = HeaderName::from_static("x-telegram-start");
const REPLY_TO_AUTHOR: HeaderName = HeaderName::from_static("x-telegram-reply-to-author");
const REPLY_TO_THIS_BOT: HeaderName = HeaderName::from_static("x-telegram-reply-to-this-bot");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Characters to encode: those that a header value cannot hold, and the percent sign.
const ENCODED: &AsciiSet = &CONTROLS.add(b'%');

/// Adds who asks, where, in which session of which connector, and the question's idempotency key. Values are percent-encoded UTF-8.
pub(super) fn add_sender_headers(headers: &mut HeaderMap, question: &Question) {
    let sender = &question.sender;
    headers.insert(CONNECTOR, header_value(&question.connector));
    headers.insert(SESSION, header_value(&question.session_id));
    headers.insert(USER_ID, sender.id.into());
    headers.insert(USER_NAME, header_value(&sender.name));
    if let Some(username) = &sender.username {
        headers.insert(USERNAME, header_value(username));
    }
    if let Some(language) = &sender.language_code {
        headers.insert(LANGUAGE, header_value(language));
    }
    add_context_headers(headers, &question.context);
    add_idempotency_key(headers, question);
}

fn add_context_headers(headers: &mut HeaderMap, context: &QuestionContext) {
    let QuestionContext {
        chat,
        bot,
        display_name,
        start,
        reply_to,
        // Others' words are part of what is asked.
        read_along: _,
    } = context;
    headers.insert(CHAT_ID, chat.id.into());
    headers.insert(CHAT_TYPE, HeaderValue::from_static(chat.kind));
    headers.insert(BOT_NAME, header_value(&bot.name));
    headers.insert(BOT_USERNAME, header_value(&bot.username));
    if let Some(topic) = &chat.topic {
        headers.insert(TOPIC_ID, topic.id.into());
    }
    if let Some(reply) = reply_to {
        let ours = if reply.by_this_bot { "true" } else { "false" };
        headers.insert(REPLY_TO_THIS_BOT, HeaderValue::from_static(ours));
    }
    let topic = chat.topic.as_ref().and_then(|topic| topic.name.as_deref());
    let author = reply_to.as_ref().and_then(|reply| reply.author.as_deref());
    for (name, value) in [
        (CHAT_TITLE, chat.title.as_deref()),
        (TOPIC_NAME, topic),
        (DISPLAY_NAME, display_name.as_deref()),
        (START, start.as_deref()),
        (REPLY_TO_AUTHOR, author),
    ] {
        if let Some(value) = value {
            headers.insert(name, header_value(value));
        }
    }
}

/// Adds the question's idempotency key alone.
pub(super) fn add_idempotency_key(headers: &mut HeaderMap, question: &Question) {
    insert_idempotency_key(headers, &question.idempotency_key);
}

/// Adds an idempotency key.
pub(super) fn insert_idempotency_key(headers: &mut HeaderMap, idempotency_key: &str) {
    headers.insert(IDEMPOTENCY_KEY, header_value(idempotency_key));
}

/// Percent-encodes any text as UTF-8 into a header value.
pub(super) fn header_value(text: &str) -> HeaderValue {
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'%';
    if text.bytes().all(is_plain)
        && let Ok(value) = HeaderValue::from_str(text)
    {
        return value;
    }
    let encoded = utf8_percent_encode(text, ENCODED);
    HeaderValue::from_maybe_shared(bytes::Bytes::from(encoded.to_string()))
        .expect("percent-encoded text is visible ASCII and spaces")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn header_value_without_need_of_encoding_stays() {
        for text in ["acme/support", "Ann O'Hara", "~", " "] {
            assert_eq!(header_value(text), text);
        }
        assert_eq!(header_value("100 %"), "100 %25");
        assert_eq!(header_value("a\u{7f}\tè"), "a%7F%09%C3%A8");
    }

    proptest! {
        #[test]
        fn any_name_becomes_a_header_value_and_comes_back(name in ".*") {
            let header = header_value(&name);
            let shown = header.to_str().expect("ASCII");
            let back = percent_encoding::percent_decode_str(shown).decode_utf8().expect("UTF-8");
            prop_assert_eq!(back, name);
        }
    }
}
