//! What reaches the assistant of what people send: the words, and in words what they refer to, which the assistant cannot see.

use std::time::Duration;

use crate::pipeline::decide::groups::{self, BotIdentity};
use crate::pipeline::message::incoming_update::{
    Content, IncomingUpdate, TelegramFile, UpdateKind,
};

/// Before the words of a message that was answered and then changed.
const EDITED_PREFIX: &str = "[edited an earlier message, which now reads]\n";
/// The longest quotation of a message that is answered, in characters.
const MAX_QUOTE_CHARS: usize = 2_000;
/// A message of at least so many UTF-16 units may have been cut off by Telegram's limit of 4,096: apps cut long pastes at a word.
const MIN_CUT_PASTE_UNITS: usize = 3_500;
/// The parts of a long paste come within so many seconds of each other.
const PASTE_WINDOW: Duration = Duration::from_secs(2);

/// What the assistant is given of a message, or why it is given nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum AssistantInput {
    /// These words, and a picture if there is one. The words may be empty only beside a picture.
    Text {
        /// What was said, with what it refers to.
        text: String,
        /// A picture that goes with it.
        picture: Option<TelegramFile>,
    },
    /// A voice message, a piece of music or a round video, to be written down by somebody who can.
    Transcribe(TelegramFile),
    /// A file, to be read if it is text.
    ReadFile(TelegramFile),
    /// Nothing was said, as with a mention alone: a greeting is the answer.
    Empty,
    /// Stickers, polls, videos and the like: one friendly sentence is the answer.
    Unsupported,
}

/// What the assistant is given of a message.
pub fn assistant_input(incoming: &IncomingUpdate, bot: BotIdentity<'_>) -> AssistantInput {
    let said = groups::strip_bot_mention(incoming, bot);
    let asked = |text: String, picture: Option<TelegramFile>| AssistantInput::Text {
        text: with_sender_name(incoming, with_context(incoming, bot, &text)),
        picture,
    };
    let ask = |text: String| asked(text, None);
    match &incoming.content {
        // "@bot" as the reply to a message is a question about that message.
        Content::Text if said.is_empty() && with_context(incoming, bot, "").is_empty() => {
            AssistantInput::Empty
        }
        Content::Text => asked(said, replied_picture(incoming)),
        Content::Photo(file) => asked(said, Some(file.clone())),
        Content::Document(file) if is_picture(file) => asked(said, Some(file.clone())),
        Content::Document(file) => AssistantInput::ReadFile(file.clone()),
        Content::Voice(file, _) | Content::Audio(file) | Content::VideoNote(file) => {
            AssistantInput::Transcribe(file.clone())
        }
        Content::Location { .. } | Content::Contact { .. } => {
            ask(describe(&incoming.content).unwrap_or_default())
        }
        // The words under a video are a question that can be answered without it.
        Content::Video(_) | Content::Animation(_) if !said.is_empty() => {
            ask(format!("[video]\n{said}"))
        }
        _ => AssistantInput::Unsupported,
    }
}

/// Content that is no text, in words.
fn describe(content: &Content) -> Option<String> {
    Some(match content {
        Content::Location {
            latitude,
            longitude,
            venue: Some((name, address)),
        } => format!("[place: {name}, {address} ({latitude}, {longitude})]"),
        Content::Location {
            latitude,
            longitude,
            venue: None,
        } => format!("[location: {latitude}, {longitude}]"),
        Content::Contact { name, phone } => format!("[contact: {name}, {phone}]"),
        Content::Photo(_) => "[photo]".to_owned(),
        Content::Document(file) if is_picture(file) => "[photo]".to_owned(),
        Content::Document(TelegramFile {
            name: Some(name), ..
        }) => format!("[file: {name}]"),
        Content::Document(_) => "[file]".to_owned(),
        Content::Voice(..) | Content::VideoNote(_) => "[voice message]".to_owned(),
        Content::Audio(_) => "[audio]".to_owned(),
        Content::Video(_) | Content::Animation(_) => "[video]".to_owned(),
        Content::Poll(question) => format!("[poll: {question}]"),
        Content::Sticker(emoji) => emoji.clone()?,
        _ => return None,
    })
}

/// The picture that a text answers: whoever asks "what is this?" under one means it.
fn replied_picture(incoming: &IncomingUpdate) -> Option<TelegramFile> {
    match &incoming.reply_to.as_ref()?.content {
        Content::Photo(file) => Some(file.clone()),
        Content::Document(file) if is_picture(file) => Some(file.clone()),
        _ => None,
    }
}

/// What the assistant is given of a message whose file says `words`: below the caption.
pub(crate) fn with_file_text(
    incoming: &IncomingUpdate,
    bot: BotIdentity<'_>,
    words: &str,
) -> String {
    let caption = groups::strip_bot_mention(incoming, bot);
    let gap = if caption.is_empty() { "" } else { "\n\n" };
    let said = format!("{caption}{gap}{words}");
    with_sender_name(incoming, with_context(incoming, bot, &said))
}

/// What the assistant is given of a picture that it cannot see: that there is one, and the caption.
pub(crate) fn with_unsupported_picture(incoming: &IncomingUpdate, bot: BotIdentity<'_>) -> String {
    let caption = groups::strip_bot_mention(incoming, bot);
    let gap = if caption.is_empty() { "" } else { "\n" };
    let said = format!("[photo]{gap}{caption}");
    with_sender_name(incoming, with_context(incoming, bot, &said))
}

/// In a group, who says it: the assistant hears many, and so does whoever reads the history.
fn with_sender_name(incoming: &IncomingUpdate, text: String) -> String {
    let name = incoming.sender.as_ref().map_or("", |s| s.name.trim());
    if incoming.is_private() || name.is_empty() {
        return text;
    }
    // A quotation or a mark keeps the beginning of its line.
    let gap = if text.starts_with(['>', '[']) {
        '\n'
    } else {
        ' '
    };
    format!("{name}:{gap}{text}").trim_end().to_owned()
}

/// The words with what they answer or who said them first, which the assistant has not seen otherwise.
fn with_context(incoming: &IncomingUpdate, bot: BotIdentity<'_>, said: &str) -> String {
    let mut text = String::new();
    if let Some(quoted) = quoted_text(incoming, bot) {
        for line in quoted.lines() {
            text.push_str("> ");
            text.push_str(line);
            text.push('\n');
        }
        text.push('\n');
    }
    if incoming.kind == UpdateKind::EditedMessage {
        text.push_str(EDITED_PREFIX);
    }
    match incoming.forwarded_from.as_deref() {
        None => {}
        Some("") => text.push_str("[forwarded]\n"),
        Some(from) => text.extend(["[forwarded from ", from, "]\n"]),
    }
    text.push_str(said);
    text.trim_end().to_owned()
}

/// What the message answers: the part that was marked, else the whole of it, else what it is. Our own messages are in the history
/// already, so of them only a marked part counts.
fn quoted_text(incoming: &IncomingUpdate, bot: BotIdentity<'_>) -> Option<String> {
    let reply = incoming.reply_to.as_ref()?;
    let ours = reply.sender.as_ref().is_some_and(|s| s.id == bot.id.0);
    let quoted = match (&reply.quote, &reply.text) {
        (Some(quote), _) => quote.clone(),
        _ if ours => return None,
        (None, Some(text)) => text.clone(),
        (None, None) => describe(&reply.content)?,
    };
    let cut: String = quoted.chars().take(MAX_QUOTE_CHARS).collect();
    Some(if cut.len() < quoted.len() {
        format!("{cut}…")
    } else {
        cut
    })
    .filter(|quoted| !quoted.trim().is_empty())
}

/// How the next message of a chat belongs to the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageRelation {
    /// It stands by itself.
    None,
    /// Both are of one album: one turn, with the one caption it has.
    Album,
    /// It goes on where Telegram's limit cut the one before: one turn, put together without a gap.
    Paste,
    /// It was sent quickly after the one before.
    FollowUp,
}

/// Whether a text may go on in the next message: it is as long as one that Telegram's limit cut.
pub fn may_be_truncated(message: &IncomingUpdate) -> bool {
    let text = message.text.as_deref().unwrap_or_default();
    message.content == Content::Text
        && crate::telegram::split::utf16_len(text) >= MIN_CUT_PASTE_UNITS
}

/// How the next message of a chat belongs to the one before it, where dates that are not more than `follow_up` apart follow
/// quickly on each other. Only messages of one sender, sent and not edited, belong together.
pub fn message_relation(
    before: &IncomingUpdate,
    next: &IncomingUpdate,
    follow_up: Duration,
) -> MessageRelation {
    let id = |m: &IncomingUpdate| m.sender.as_ref().map(|s| s.id);
    let sent = |m: &IncomingUpdate| m.kind == UpdateKind::Message;
    if !sent(before) || !sent(next) || id(before).is_none() || id(before) != id(next) {
        return MessageRelation::None;
    }
    if before.media_group_id.is_some() && before.media_group_id == next.media_group_id {
        return MessageRelation::Album;
    }
    let Ok(apart) = Duration::try_from(next.date.duration_since(before.date)) else {
        return MessageRelation::None;
    };
    let command = |m: &IncomingUpdate| m.text.as_deref().is_some_and(|text| text.starts_with('/'));
    let goes_on = next.content == Content::Text
        && next.reply_to.is_none()
        && before.forwarded_from == next.forwarded_from
        && !command(before)
        && !command(next);
    if may_be_truncated(before) && goes_on && apart <= PASTE_WINDOW {
        return MessageRelation::Paste;
    }
    if apart <= follow_up && !follow_up.is_zero() {
        return MessageRelation::FollowUp;
    }
    MessageRelation::None
}

/// Puts the words of messages together that are one turn, in the order in which they were sent.
pub fn join_texts(texts: &[(MessageRelation, &str)]) -> String {
    let mut whole = String::new();
    for (relation, text) in texts {
        if text.is_empty() {
            continue;
        }
        let gap = match relation {
            _ if whole.is_empty() => "",
            // Apps cut a paste at a line or a word and drop the white space there.
            MessageRelation::Paste => "\n",
            MessageRelation::None | MessageRelation::Album | MessageRelation::FollowUp => "\n\n",
        };
        whole.push_str(gap);
        whole.push_str(text);
    }
    whole
}

/// Whether a file is a picture that assistants can see.
fn is_picture(file: &TelegramFile) -> bool {
    file.media_type
        .as_deref()
        .is_some_and(|m| matches!(m, "image/jpeg" | "image/png" | "image/webp" | "image/gif"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::identity::BotId;

    const BOT: BotIdentity<'static> = BotIdentity {
        id: BotId(99),
        username: "support_bot",
    };

    fn incoming(fields: &str) -> IncomingUpdate {
        IncomingUpdate::parse(&format!(
            r#"{{"update_id":1,"message":{{"message_id":5,"date":100,"from":{{"id":7}},"chat":{{"id":7,"type":"private"}},{fields}}}}}"#
        ))
        .expect("readable")
    }

    fn input_text(fields: &str) -> String {
        match assistant_input(&incoming(fields), BOT) {
            AssistantInput::Text { text, .. } => text,
            other => panic!("{other:?}"),
        }
    }

    #[rstest]
    #[case::text(r#""text":"hello""#, "hello")]
    #[case::reply(
        r#""text":"what is it?","reply_to_message":{"from":{"id":8},"text":"one\ntwo"}"#,
        "> one\n> two\n\nwhat is it?"
    )]
    #[case::reply_with_a_marked_part(
        r#""text":"why?","reply_to_message":{"from":{"id":8},"text":"one two"},"quote":{"text":"two"}"#,
        "> two\n\nwhy?"
    )]
    #[case::reply_to_us(
        r#""text":"why?","reply_to_message":{"from":{"id":99},"text":"because"}"#,
        "why?"
    )]
    #[case::marked_part_of_ours(
        r#""text":"why?","reply_to_message":{"from":{"id":99},"text":"a b"},"quote":{"text":"b"}"#,
        "> b\n\nwhy?"
    )]
    #[case::reply_to_a_photo(
        r#""text":"what is it?","reply_to_message":{"from":{"id":8},"photo":[{"file_id":"p"}]}"#,
        "> [photo]\n\nwhat is it?"
    )]
    #[case::reply_to_a_photo_with_words(
        r#""text":"why?","reply_to_message":{"from":{"id":8},"photo":[{"file_id":"p"}],"caption":"our cat"}"#,
        "> our cat\n\nwhy?"
    )]
    #[case::reply_to_a_place(
        r#""text":"is it far?","reply_to_message":{"from":{"id":8},"location":{"latitude":45.4,"longitude":9.25}}"#,
        "> [location: 45.4, 9.25]\n\nis it far?"
    )]
    #[case::reply_to_a_file_of_another_chat(
        r#""text":"what is it?","external_reply":{"document":{"file_id":"d","file_name":"a.pdf"}}"#,
        "> [file: a.pdf]\n\nwhat is it?"
    )]
    #[case::reply_to_an_event(
        r#""text":"hi","reply_to_message":{"from":{"id":8},"new_chat_title":"x"}"#,
        "hi"
    )]
    #[case::quote_from_another_chat(
        r#""text":"true?","external_reply":{},"quote":{"text":"the moon"}"#,
        "> the moon\n\ntrue?"
    )]
    #[case::forwarded(
        r#""text":"buy now","forward_origin":{"type":"hidden_user","sender_user_name":"Bob"}"#,
        "[forwarded from Bob]\nbuy now"
    )]
    #[case::forwarded_from_nobody(
        r#""text":"x","forward_origin":{"type":"ghost"}"#,
        "[forwarded]\nx"
    )]
    #[case::location(
        r#""location":{"latitude":45.4,"longitude":9.25}"#,
        "[location: 45.4, 9.25]"
    )]
    #[case::venue(r#""location":{"latitude":1,"longitude":2},"venue":{"location":{"latitude":1,"longitude":2},"title":"Bar","address":"Main St 1"}"#, "[place: Bar, Main St 1 (1, 2)]")]
    #[case::contact(
        r#""contact":{"first_name":"Bob","last_name":"B","phone_number":"+39"}"#,
        "[contact: Bob B, +39]"
    )]
    #[case::caption_of_a_video(
        r#""video":{"file_id":"v"},"caption":"what is this?""#,
        "[video]\nwhat is this?"
    )]
    #[case::mention_as_a_reply(
        r#""text":"@support_bot","entities":[{"type":"mention","offset":0,"length":12}],"reply_to_message":{"from":{"id":8},"text":"2+2?"}"#,
        "> 2+2?"
    )]
    fn context_of_a_message_is_described_in_words(#[case] fields: &str, #[case] expected: &str) {
        assert_eq!(input_text(fields), expected);
    }

    #[rstest]
    #[case::asked(r#""text":"what is it?""#)]
    #[case::mentioned(
        r#""text":"@support_bot","entities":[{"type":"mention","offset":0,"length":12}]"#
    )]
    fn picture_of_the_replied_message_is_attached(
        #[case] fields: &str,
        #[values(
            r#""reply_to_message":{"from":{"id":8},"photo":[{"file_id":"p","width":9}]}"#,
            r#""reply_to_message":{"from":{"id":8},"document":{"file_id":"p","mime_type":"image/png"}}"#,
            r#""external_reply":{"photo":[{"file_id":"p"}]}"#
        )]
        reply: &str,
    ) {
        let AssistantInput::Text { text, picture } =
            assistant_input(&incoming(&format!("{fields},{reply}")), BOT)
        else {
            panic!("it is a question");
        };
        assert_eq!(picture.expect("a picture").id, "p");
        assert!(text.starts_with("> [photo]"), "{text}");
    }

    #[rstest]
    #[case(r#""sticker":{"emoji":"😀"}"#, AssistantInput::Unsupported)]
    #[case(r#""poll":{"question":"?"}"#, AssistantInput::Unsupported)]
    #[case(r#""video":{"file_id":"v"}"#, AssistantInput::Unsupported)]
    #[case(r#""hologram":{}"#, AssistantInput::Unsupported)]
    #[case(
        r#""text":"@support_bot","entities":[{"type":"mention","offset":0,"length":12}]"#,
        AssistantInput::Empty
    )]
    fn unsupported_content_is_classified(#[case] fields: &str, #[case] expected: AssistantInput) {
        assert_eq!(assistant_input(&incoming(fields), BOT), expected);
    }

    #[test]
    fn pictures_keep_their_caption_also_as_documents() {
        for fields in [
            r#""photo":[{"file_id":"p","width":9}],"caption":"what is it?""#,
            r#""document":{"file_id":"p","mime_type":"image/png"},"caption":"what is it?""#,
        ] {
            let AssistantInput::Text {
                text,
                picture: Some(file),
            } = assistant_input(&incoming(fields), BOT)
            else {
                panic!("no picture: {fields}")
            };
            assert_eq!((text.as_str(), file.id.as_str()), ("what is it?", "p"));
        }
        assert!(matches!(
            assistant_input(
                &incoming(r#""document":{"file_id":"d","mime_type":"text/plain"}"#),
                BOT
            ),
            AssistantInput::ReadFile(_)
        ));
        assert!(matches!(
            assistant_input(&incoming(r#""voice":{"file_id":"v"}"#), BOT),
            AssistantInput::Transcribe(_)
        ));
        assert!(matches!(
            assistant_input(&incoming(r#""video_note":{"file_id":"v"}"#), BOT),
            AssistantInput::Transcribe(_)
        ));
    }

    #[test]
    fn long_quotation_is_truncated() {
        let long = "é".repeat(5_000);
        let text = input_text(&format!(
            r#""text":"so?","reply_to_message":{{"from":{{"id":8}},"text":"{long}"}}"#
        ));
        assert_eq!(
            text.chars().count(),
            "> ".len() + 2_000 + "…\n\nso?".chars().count()
        );
    }

    #[test]
    fn albums_and_cut_pastes_are_one_batch() {
        let long = "word ".repeat(800);
        let first = incoming(&format!(r#""text":"{long}""#));
        let at = |date: i64, mut m: IncomingUpdate| {
            m.date = jiff::Timestamp::from_second(date).expect("in range");
            m
        };
        let rest = incoming(r#""text":"the rest""#);
        let relation =
            |a: &IncomingUpdate, b: &IncomingUpdate| message_relation(a, b, Duration::ZERO);
        assert_eq!(
            relation(&first, &at(101, rest.clone())),
            MessageRelation::Paste
        );
        assert_eq!(
            relation(&first, &at(103, rest.clone())),
            MessageRelation::None,
            "too late"
        );
        assert_eq!(
            relation(&rest, &first),
            MessageRelation::None,
            "the first was not cut"
        );
        assert_eq!(
            relation(&first, &incoming(r#""text":"/new""#)),
            MessageRelation::None,
            "a command"
        );
        let reply = incoming(r#""text":"x","reply_to_message":{"message_id":1}"#);
        assert_eq!(relation(&first, &reply), MessageRelation::None, "a reply");
        let mut other = rest.clone();
        other.sender.as_mut().expect("a sender").id = 8;
        assert_eq!(
            relation(&first, &other),
            MessageRelation::None,
            "somebody else"
        );

        let picture = |id: &str| {
            incoming(&format!(
                r#""photo":[{{"file_id":"{id}"}}],"media_group_id":"g""#
            ))
        };
        assert_eq!(
            relation(&picture("a"), &picture("b")),
            MessageRelation::Album
        );
        assert_eq!(relation(&picture("a"), &rest), MessageRelation::None);
    }

    #[test]
    fn texts_of_a_batch_are_joined_in_order() {
        assert_eq!(
            join_texts(&[
                (MessageRelation::None, "a"),
                (MessageRelation::Paste, "b"),
                (MessageRelation::Album, ""),
                (MessageRelation::Album, "c")
            ]),
            "a\nb\n\nc"
        );
    }
}
