//! What reaches the assistant of what people send: the words, and in words what they refer to, which the assistant cannot see.

use std::time::Duration;

use super::groups::{self, Me};
use super::message::{Content, File, Incoming, UpdateKind};

/// Before the words of a message that was answered and then changed.
const EDITED: &str = "[edited an earlier message, which now reads]\n";
/// The longest quotation of a message that is answered, in characters.
const LONGEST_QUOTE: usize = 2_000;
/// A message of at least so many UTF-16 units may have been cut off by Telegram's limit of 4,096: apps cut long pastes at a word.
const CUT_PASTE: usize = 3_500;
/// The parts of a long paste come within so many seconds of each other.
const PASTE: Duration = Duration::from_secs(2);

/// What the assistant is given of a message, or why it is given nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum Gist {
    /// These words, and a picture if there is one. The words may be empty only beside a picture.
    Ask {
        /// What was said, with what it refers to.
        text: String,
        /// A picture that goes with it.
        picture: Option<File>,
    },
    /// A voice message, a piece of music or a round video, to be written down by somebody who can.
    Hear(File),
    /// A file, to be read if it is text.
    Read(File),
    /// Nothing was said, as with a mention alone: a greeting is the answer.
    Nothing,
    /// Stickers, polls, videos and the like: one friendly sentence is the answer.
    Unsupported,
}

/// What the assistant is given of a message.
pub fn gist(incoming: &Incoming, me: Me<'_>) -> Gist {
    let said = groups::without_address(incoming, me);
    let asked = |text: String, picture: Option<File>| Gist::Ask {
        text: named(incoming, with_context(incoming, me, &text)),
        picture,
    };
    let ask = |text: String| asked(text, None);
    match &incoming.content {
        // "@bot" as the reply to a message is a question about that message.
        Content::Text if said.is_empty() && with_context(incoming, me, "").is_empty() => {
            Gist::Nothing
        }
        Content::Text => asked(said, answered_picture(incoming)),
        Content::Photo(file) => asked(said, Some(file.clone())),
        Content::Document(file) if is_picture(file) => asked(said, Some(file.clone())),
        Content::Document(file) => Gist::Read(file.clone()),
        Content::Voice(file, _) | Content::Audio(file) | Content::VideoNote(file) => {
            Gist::Hear(file.clone())
        }
        Content::Location { .. } | Content::Contact { .. } => {
            ask(described(&incoming.content).unwrap_or_default())
        }
        // The words under a video are a question that can be answered without it.
        Content::Video(_) | Content::Animation(_) if !said.is_empty() => {
            ask(format!("[video]\n{said}"))
        }
        _ => Gist::Unsupported,
    }
}

/// Content that is no text, in words.
fn described(content: &Content) -> Option<String> {
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
        Content::Document(File {
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
fn answered_picture(incoming: &Incoming) -> Option<File> {
    match &incoming.reply_to.as_ref()?.content {
        Content::Photo(file) => Some(file.clone()),
        Content::Document(file) if is_picture(file) => Some(file.clone()),
        _ => None,
    }
}

/// What the assistant is given of a message whose file says `words`: below the caption.
pub(super) fn with_words_of_file(incoming: &Incoming, me: Me<'_>, words: &str) -> String {
    let caption = groups::without_address(incoming, me);
    let gap = if caption.is_empty() { "" } else { "\n\n" };
    let said = format!("{caption}{gap}{words}");
    named(incoming, with_context(incoming, me, &said))
}

/// What the assistant is given of a picture that it cannot see: that there is one, and the caption.
pub(super) fn with_unseen_picture(incoming: &Incoming, me: Me<'_>) -> String {
    let caption = groups::without_address(incoming, me);
    let gap = if caption.is_empty() { "" } else { "\n" };
    let said = format!("[photo]{gap}{caption}");
    named(incoming, with_context(incoming, me, &said))
}

/// In a group, who says it: the assistant hears many, and so does whoever reads the history.
fn named(incoming: &Incoming, text: String) -> String {
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
fn with_context(incoming: &Incoming, me: Me<'_>, said: &str) -> String {
    let mut text = String::new();
    if let Some(quoted) = quoted(incoming, me) {
        for line in quoted.lines() {
            text.push_str("> ");
            text.push_str(line);
            text.push('\n');
        }
        text.push('\n');
    }
    if incoming.kind == UpdateKind::EditedMessage {
        text.push_str(EDITED);
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
fn quoted(incoming: &Incoming, me: Me<'_>) -> Option<String> {
    let reply = incoming.reply_to.as_ref()?;
    let ours = reply.sender.as_ref().is_some_and(|s| s.id == me.id.0);
    let quoted = match (&reply.quote, &reply.text) {
        (Some(quote), _) => quote.clone(),
        _ if ours => return None,
        (None, Some(text)) => text.clone(),
        (None, None) => described(&reply.content)?,
    };
    let cut: String = quoted.chars().take(LONGEST_QUOTE).collect();
    Some(if cut.len() < quoted.len() {
        format!("{cut}…")
    } else {
        cut
    })
    .filter(|quoted| !quoted.trim().is_empty())
}

/// How the next message of a chat belongs to the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bond {
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
pub fn may_be_cut(message: &Incoming) -> bool {
    let text = message.text.as_deref().unwrap_or_default();
    message.content == Content::Text && crate::telegram::split::utf16_len(text) >= CUT_PASTE
}

/// How the next message of a chat belongs to the one before it, where dates that are not more than `follow_up` apart follow
/// quickly on each other. Only messages of one sender, sent and not edited, belong together.
pub fn bond(before: &Incoming, next: &Incoming, follow_up: Duration) -> Bond {
    let id = |m: &Incoming| m.sender.as_ref().map(|s| s.id);
    let sent = |m: &Incoming| m.kind == UpdateKind::Message;
    if !sent(before) || !sent(next) || id(before).is_none() || id(before) != id(next) {
        return Bond::None;
    }
    if before.media_group_id.is_some() && before.media_group_id == next.media_group_id {
        return Bond::Album;
    }
    let Ok(apart) = Duration::try_from(next.date.duration_since(before.date)) else {
        return Bond::None;
    };
    let command = |m: &Incoming| m.text.as_deref().is_some_and(|text| text.starts_with('/'));
    let goes_on = next.content == Content::Text
        && next.reply_to.is_none()
        && before.forwarded_from == next.forwarded_from
        && !command(before)
        && !command(next);
    if may_be_cut(before) && goes_on && apart <= PASTE {
        return Bond::Paste;
    }
    if apart <= follow_up && !follow_up.is_zero() {
        return Bond::FollowUp;
    }
    Bond::None
}

/// Puts the words of messages together that are one turn, in the order in which they were sent.
pub fn together(texts: &[(Bond, &str)]) -> String {
    let mut whole = String::new();
    for (bond, text) in texts {
        if text.is_empty() {
            continue;
        }
        let gap = match bond {
            _ if whole.is_empty() => "",
            // Apps cut a paste at a line or a word and drop the white space there.
            Bond::Paste => "\n",
            Bond::None | Bond::Album | Bond::FollowUp => "\n\n",
        };
        whole.push_str(gap);
        whole.push_str(text);
    }
    whole
}

/// Whether a file is a picture that assistants can see.
fn is_picture(file: &File) -> bool {
    file.media_type
        .as_deref()
        .is_some_and(|m| matches!(m, "image/jpeg" | "image/png" | "image/webp" | "image/gif"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::identity::BotId;

    const ME: Me<'static> = Me {
        id: BotId(99),
        username: "support_bot",
    };

    fn said(fields: &str) -> Incoming {
        Incoming::parse(&format!(
            r#"{{"update_id":1,"message":{{"message_id":5,"date":100,"from":{{"id":7}},"chat":{{"id":7,"type":"private"}},{fields}}}}}"#
        ))
        .expect("readable")
    }

    fn words(fields: &str) -> String {
        match gist(&said(fields), ME) {
            Gist::Ask { text, .. } => text,
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
    fn the_assistant_is_told_what_it_cannot_see(#[case] fields: &str, #[case] expected: &str) {
        assert_eq!(words(fields), expected);
    }

    #[rstest]
    #[case::asked(r#""text":"what is it?""#)]
    #[case::mentioned(
        r#""text":"@support_bot","entities":[{"type":"mention","offset":0,"length":12}]"#
    )]
    fn the_picture_that_a_question_answers_goes_with_it(
        #[case] fields: &str,
        #[values(
            r#""reply_to_message":{"from":{"id":8},"photo":[{"file_id":"p","width":9}]}"#,
            r#""reply_to_message":{"from":{"id":8},"document":{"file_id":"p","mime_type":"image/png"}}"#,
            r#""external_reply":{"photo":[{"file_id":"p"}]}"#
        )]
        reply: &str,
    ) {
        let Gist::Ask { text, picture } = gist(&said(&format!("{fields},{reply}")), ME) else {
            panic!("it is a question");
        };
        assert_eq!(picture.expect("a picture").id, "p");
        assert!(text.starts_with("> [photo]"), "{text}");
    }

    #[rstest]
    #[case(r#""sticker":{"emoji":"😀"}"#, Gist::Unsupported)]
    #[case(r#""poll":{"question":"?"}"#, Gist::Unsupported)]
    #[case(r#""video":{"file_id":"v"}"#, Gist::Unsupported)]
    #[case(r#""hologram":{}"#, Gist::Unsupported)]
    #[case(
        r#""text":"@support_bot","entities":[{"type":"mention","offset":0,"length":12}]"#,
        Gist::Nothing
    )]
    fn what_says_nothing_gets_a_sentence(#[case] fields: &str, #[case] expected: Gist) {
        assert_eq!(gist(&said(fields), ME), expected);
    }

    #[test]
    fn pictures_go_with_their_caption_also_as_files() {
        for fields in [
            r#""photo":[{"file_id":"p","width":9}],"caption":"what is it?""#,
            r#""document":{"file_id":"p","mime_type":"image/png"},"caption":"what is it?""#,
        ] {
            let Gist::Ask {
                text,
                picture: Some(file),
            } = gist(&said(fields), ME)
            else {
                panic!("no picture: {fields}")
            };
            assert_eq!((text.as_str(), file.id.as_str()), ("what is it?", "p"));
        }
        assert!(matches!(
            gist(
                &said(r#""document":{"file_id":"d","mime_type":"text/plain"}"#),
                ME
            ),
            Gist::Read(_)
        ));
        assert!(matches!(
            gist(&said(r#""voice":{"file_id":"v"}"#), ME),
            Gist::Hear(_)
        ));
        assert!(matches!(
            gist(&said(r#""video_note":{"file_id":"v"}"#), ME),
            Gist::Hear(_)
        ));
    }

    #[test]
    fn a_long_quotation_is_cut() {
        let long = "é".repeat(5_000);
        let text = words(&format!(
            r#""text":"so?","reply_to_message":{{"from":{{"id":8}},"text":"{long}"}}"#
        ));
        assert_eq!(
            text.chars().count(),
            "> ".len() + 2_000 + "…\n\nso?".chars().count()
        );
    }

    #[test]
    fn albums_and_cut_pastes_are_one_turn_and_nothing_else_is() {
        let long = "word ".repeat(800);
        let first = said(&format!(r#""text":"{long}""#));
        let at = |date: i64, mut m: Incoming| {
            m.date = jiff::Timestamp::from_second(date).expect("in range");
            m
        };
        let rest = said(r#""text":"the rest""#);
        let bond = |a: &Incoming, b: &Incoming| bond(a, b, Duration::ZERO);
        assert_eq!(bond(&first, &at(101, rest.clone())), Bond::Paste);
        assert_eq!(bond(&first, &at(103, rest.clone())), Bond::None, "too late");
        assert_eq!(bond(&rest, &first), Bond::None, "the first was not cut");
        assert_eq!(
            bond(&first, &said(r#""text":"/new""#)),
            Bond::None,
            "a command"
        );
        let reply = said(r#""text":"x","reply_to_message":{"message_id":1}"#);
        assert_eq!(bond(&first, &reply), Bond::None, "a reply");
        let mut other = rest.clone();
        other.sender.as_mut().expect("a sender").id = 8;
        assert_eq!(bond(&first, &other), Bond::None, "somebody else");

        let picture = |id: &str| {
            said(&format!(
                r#""photo":[{{"file_id":"{id}"}}],"media_group_id":"g""#
            ))
        };
        assert_eq!(bond(&picture("a"), &picture("b")), Bond::Album);
        assert_eq!(bond(&picture("a"), &rest), Bond::None);
    }

    #[test]
    fn what_is_one_turn_is_put_together_in_order() {
        assert_eq!(
            together(&[
                (Bond::None, "a"),
                (Bond::Paste, "b"),
                (Bond::Album, ""),
                (Bond::Album, "c")
            ]),
            "a\nb\n\nc"
        );
    }
}
