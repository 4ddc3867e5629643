use rstest::rstest;

use super::*;
use crate::history::Role;
use crate::identity::BotId;

const BOT: BotIdentity<'static> = BotIdentity {
    id: BotId(99),
    username: "support_bot",
};

const CONTEXT: InputContext<'static> = InputContext {
    bot: BOT,
    history: &[],
    hears: true,
};

fn read(fields: &str) -> AssistantInput {
    assistant_input(&incoming(fields), CONTEXT)
}

fn incoming(fields: &str) -> IncomingUpdate {
    IncomingUpdate::parse(&format!(
        r#"{{"update_id":1,"message":{{"message_id":5,"date":100,"from":{{"id":7}},"chat":{{"id":7,"type":"private"}},{fields}}}}}"#
    ))
    .expect("readable")
}

fn input_text(fields: &str) -> String {
    match read(fields) {
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
    "> because\n\nwhy?"
)]
#[case::rich_message(
    r#""rich_message":{"blocks":[{"type":"heading","size":1,"text":"Plan"},{"type":"paragraph","text":"is it good?"}]}"#,
    "# Plan\n\nis it good?"
)]
#[case::reply_to_a_rich_message(
    r#""text":"really?","reply_to_message":{"from":{"id":8},"rich_message":{"blocks":[{"type":"paragraph","text":"yes"}]}}"#,
    "> yes\n\nreally?"
)]
#[case::caption_of_an_unknown_kind(
    r#""paid_media":{"star_count":1},"caption":"what is this?""#,
    "[attachment]\nwhat is this?"
)]
#[case::hidden_link(
    r#""text":"😀 see here","entities":[{"type":"text_link","offset":7,"length":4,"url":"https://a.example/x"}]"#,
    "😀 see [here](https://a.example/x)"
)]
#[case::hidden_link_in_a_caption(
    r#""photo":[{"file_id":"p"}],"caption":"here","caption_entities":[{"type":"text_link","offset":0,"length":4,"url":"https://a.example"}]"#,
    "[here](https://a.example)"
)]
#[case::hidden_link_in_a_forwarded_post(
    r#""text":"here","forward_origin":{"type":"channel","chat":{"title":"News"}},"entities":[{"type":"text_link","offset":0,"length":4,"url":"https://a.example"}]"#,
    "[forwarded from News]\n[here](https://a.example)"
)]
#[case::hidden_link_in_a_replied_message(
    r#""text":"?","reply_to_message":{"from":{"id":8},"text":"here","entities":[{"type":"text_link","offset":0,"length":4,"url":"https://a.example"}]}"#,
    "> [here](https://a.example)\n\n?"
)]
#[case::code_in_a_marked_part(
    r#""text":"?","reply_to_message":{"from":{"id":8},"text":"run ls"},"quote":{"text":"ls","entities":[{"type":"code","offset":0,"length":2}]}"#,
    "> `ls`\n\n?"
)]
#[case::link_behind_a_mention(
    r#""text":"@support_bot open this","entities":[{"type":"mention","offset":0,"length":12},{"type":"text_link","offset":18,"length":4,"url":"https://a.example"}]"#,
    "open [this](https://a.example)"
)]
#[case::reply_to_a_poll(
    r#""text":"which?","reply_to_message":{"from":{"id":8},"poll":{"question":"Pizza?","options":[{"text":"yes"},{"text":"no"}]}}"#,
    "> [poll: Pizza?]\n> - yes\n> - no\n\nwhich?"
)]
#[case::reply_to_a_checklist(
    r#""text":"what is left?","reply_to_message":{"from":{"id":8},"checklist":{"title":"Trip","tasks":[{"text":"book","completion_date":5},{"text":"pack","completion_date":0}]}}"#,
    "> [checklist: Trip]\n> - [x] book\n> - [ ] pack\n\nwhat is left?"
)]
#[case::sticker_under_a_question(
    r#""sticker":{"emoji":"👍"},"reply_to_message":{"from":{"id":99},"text":"Shall I?"}"#,
    "> Shall I?\n\n👍"
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
#[case::forwarded_from_nobody(r#""text":"x","forward_origin":{"type":"ghost"}"#, "[forwarded]\nx")]
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
    let AssistantInput::Text { text, picture } = read(&format!("{fields},{reply}")) else {
        panic!("it is a question");
    };
    assert_eq!(picture.expect("a picture").id, "p");
    assert!(text.starts_with("> [photo]"), "{text}");
}

#[rstest]
#[case(r#""poll":{"question":"?"}"#, AssistantInput::Unsupported)]
#[case(r#""hologram":{}"#, AssistantInput::Unsupported)]
#[case(
    r#""text":"@support_bot","entities":[{"type":"mention","offset":0,"length":12}]"#,
    AssistantInput::Empty
)]
fn unsupported_content_is_classified(#[case] fields: &str, #[case] expected: AssistantInput) {
    assert_eq!(read(fields), expected);
}

#[rstest]
#[case::video(
    r#""video":{"file_id":"v","duration":12,"file_name":"clip.mp4","thumbnail":{"file_id":"t"}}"#,
    "[video, 12 s, clip.mp4]",
    Some("t")
)]
#[case::without_a_thumbnail(r#""video":{"file_id":"v","duration":0}"#, "[video]", None)]
#[case::hostile_name(
    r#""video":{"file_id":"v","file_name":"a]\n[file: x"}"#,
    "[video, afile: x]",
    None
)]
#[case::animation(
    r#""animation":{"file_id":"a","duration":2,"thumbnail":{"file_id":"t"}},"document":{"file_id":"a"},"caption":"ha""#,
    "[animation, 2 s]\nha",
    Some("t")
)]
#[case::sticker(
    r#""sticker":{"file_id":"s","emoji":"😀","set_name":"Animals","is_animated":false,"is_video":false}"#,
    "[sticker 😀, set Animals]",
    Some("s")
)]
#[case::animated_sticker(
    r#""sticker":{"file_id":"s","emoji":"😀","is_animated":true,"thumbnail":{"file_id":"t"}}"#,
    "[sticker 😀]",
    Some("t")
)]
#[case::video_sticker_without_anything(
    r#""sticker":{"file_id":"s","is_video":true}"#,
    "[sticker]",
    None
)]
#[case::reply_to_a_video(
    r#""text":"what is it?","reply_to_message":{"from":{"id":8},"video":{"file_id":"v","thumbnail":{"file_id":"t"}}}"#,
    "> [video]\n\nwhat is it?",
    Some("t")
)]
fn videos_and_stickers_are_a_still_and_words(
    #[case] fields: &str,
    #[case] words: &str,
    #[case] still: Option<&str>,
) {
    let AssistantInput::Text { text, picture } = read(fields) else {
        panic!("it is a question: {fields}");
    };
    assert_eq!(
        (text.as_str(), picture.as_ref().map(|p| p.id.as_str())),
        (words, still)
    );
}

#[test]
fn round_video_that_nobody_hears_is_seen() {
    let note = r#""video_note":{"file_id":"v","duration":9,"thumbnail":{"file_id":"t"}}"#;
    let deaf = InputContext {
        hears: false,
        ..CONTEXT
    };
    let AssistantInput::Text { text, picture } = assistant_input(&incoming(note), deaf) else {
        panic!("it is a question");
    };
    assert_eq!(text, "[round video, 9 s]");
    assert_eq!(picture.expect("a still").id, "t");
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
        } = read(fields)
        else {
            panic!("no picture: {fields}")
        };
        assert_eq!((text.as_str(), file.id.as_str()), ("what is it?", "p"));
    }
    assert!(matches!(
        read(r#""document":{"file_id":"d","mime_type":"text/plain"}"#),
        AssistantInput::ReadFile(_)
    ));
    assert!(matches!(
        read(r#""voice":{"file_id":"v"}"#),
        AssistantInput::Transcribe(_)
    ));
    assert!(matches!(
        read(r#""video_note":{"file_id":"v"}"#),
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

fn input_beside(history: &[&str], fields: &str) -> String {
    let message = |(n, text): (usize, &&str)| ChatMessage {
        role: if n % 2 == 0 {
            Role::User
        } else {
            Role::Assistant
        },
        text: (*text).to_owned(),
    };
    let history: Vec<_> = history.iter().enumerate().map(message).collect();
    let context = InputContext {
        bot: BOT,
        history: &history,
        hears: true,
    };
    match assistant_input(&incoming(fields), context) {
        AssistantInput::Text { text, .. } => text,
        other => panic!("{other:?}"),
    }
}

#[rstest]
#[case::answer_in_the_history(&["is it?", "**Because**, [see](https://a.example)."], "Because, see.", false)]
#[case::said_by_the_user(&["Because, see.", "Indeed."], "Because, see.", true)]
#[case::word_of_another_answer(&["is it?", "Yes, because of the rain."], "Yes", true)]
#[case::beyond_the_history(&[], "Because", true)]
#[case::emoji(&["ok?", "👍"], "👍", false)]
#[case::another_emoji(&["ok?", "👍"], "👎", true)]
fn own_words_are_quoted_unless_they_are_in_the_history(
    #[case] history: &[&str],
    #[case] text: &str,
    #[case] quoted: bool,
) {
    let at = text.find("see").unwrap_or(99);
    let entities =
        format!(r#"[{{"type":"text_link","offset":{at},"length":3,"url":"https://a.example/"}}]"#);
    let fields = format!(
        r#""text":"why?","reply_to_message":{{"from":{{"id":99}},"text":"{text}","entities":{entities}}}"#
    );
    let input = input_beside(history, &fields);
    assert_eq!(input.starts_with("> "), quoted, "{input}");
    assert!(input.ends_with("why?"), "{input}");
}

#[test]
fn part_of_a_long_answer_in_the_history_is_not_quoted() {
    let answer = "many words ".repeat(600) + "the end";
    let part = |part: &str| {
        format!(r#""text":"why?","reply_to_message":{{"from":{{"id":99}},"text":"{part}"}}"#)
    };
    let history = ["tell", answer.as_str()];
    for part_of_it in [&answer[..4_000], &answer[4_000..], "the end"] {
        assert_eq!(input_beside(&history, &part(part_of_it)), "why?");
    }
    assert_ne!(input_beside(&history, &part("many words")), "why?");
}

#[test]
fn mention_alone_under_own_words_quotes_them_all_the_same() {
    let fields = r#""text":"@support_bot","entities":[{"type":"mention","offset":0,"length":12}],"reply_to_message":{"from":{"id":99},"text":"2+2=5"}"#;
    assert_eq!(input_beside(&["2+2?", "2+2=5"], fields), "> 2+2=5");
}

#[rstest]
#[case::user(
    r#""from":{"id":8,"first_name":"Ben"},"text":"one\ntwo""#,
    "> Ben: one\n> two"
)]
#[case::own(
    r#""from":{"id":99,"is_bot":true,"first_name":"Support"},"text":"one""#,
    "> Support: one"
)]
#[case::own_without_a_name(r#""from":{"id":99,"is_bot":true},"text":"one""#, "> support_bot: one")]
#[case::chat(
    r#""sender_chat":{"id":-5,"title":"News"},"text":"one""#,
    "> News: one"
)]
#[case::code(r#""from":{"id":8,"first_name":"Ben"},"text":"a","entities":[{"type":"pre","offset":0,"length":1}]"#, "> Ben:\n> ```\n> a\n> ```")]
#[case::poll(
    r#""from":{"id":8,"first_name":"Ben"},"poll":{"question":"?","options":[{"text":"a"}]}"#,
    "> Ben:\n> [poll: ?]\n> - a"
)]
#[case::photo(
    r#""from":{"id":8,"first_name":"Ben"},"photo":[{"file_id":"p"}]"#,
    "> [photo]"
)]
fn quote_in_a_group_says_whose_words_it_holds(#[case] replied: &str, #[case] expected: &str) {
    let json = format!(
        r#"{{"update_id":1,"message":{{"message_id":5,"date":100,"from":{{"id":7,"first_name":"Ann"}},
           "chat":{{"id":-7,"type":"supergroup"}},"text":"so?","reply_to_message":{{{replied}}}}}}}"#
    );
    let incoming = IncomingUpdate::parse(&json).expect("readable");
    let AssistantInput::Text { text, .. } = assistant_input(&incoming, CONTEXT) else {
        panic!("a question")
    };
    assert_eq!(text, format!("Ann:\n{expected}\n\nso?"));
}
