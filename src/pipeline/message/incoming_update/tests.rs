use proptest::prelude::*;
use rstest::rstest;

use super::*;

fn read(json: &str) -> IncomingUpdate {
    IncomingUpdate::parse(json).unwrap_or_else(|e| panic!("{e}: {json}"))
}

fn message(fields: &str) -> IncomingUpdate {
    read(&format!(
        r#"{{"update_id":1,"message":{{"chat":{{"id":7,"type":"private"}},{fields}}}}}"#
    ))
}

#[test]
fn complete_message_is_parsed() {
    let m = read(
        r#"{"update_id":870000001,"message":{"message_id":12,"message_thread_id":44,"is_topic_message":true,
            "from":{"id":7,"is_bot":false,"first_name":"Ann","last_name":"Example","username":"Ann_Example","language_code":"it"},
            "chat":{"id":-1001,"title":"Team","type":"supergroup","is_forum":true},
            "date":1795360000,"edit_date":1795360060,"text":"/new@bot hi","media_group_id":"g1",
            "entities":[{"offset":0,"length":8,"type":"bot_command"},{"offset":0,"length":1,"type":"date_time_of_2030"}],
            "reply_to_message":{"message_id":3,"from":{"id":9,"is_bot":true,"first_name":"B"},"caption":"cap"},
            "quote":{"text":"ap","position":1}}}"#,
    );
    assert_eq!(m.update_id, 870_000_001);
    assert_eq!(m.kind, UpdateKind::Message);
    assert_eq!(m.chat.kind, ChatKind::Supergroup);
    assert_eq!(m.chat.title.as_deref(), Some("Team"));
    assert_eq!(m.thread_id, Some(44));
    assert_eq!(m.message_id, Some(12));
    let sender = m.sender.expect("a sender");
    assert_eq!(
        (sender.id, sender.name.as_str(), sender.is_bot),
        (7, "Ann Example", false)
    );
    assert_eq!(sender.username.as_deref(), Some("Ann_Example"));
    assert_eq!(sender.language_code.as_deref(), Some("it"));
    assert_eq!(m.date.as_second(), 1_795_360_000);
    assert_eq!(m.edited.map(Timestamp::as_second), Some(1_795_360_060));
    assert_eq!(m.text.as_deref(), Some("/new@bot hi"));
    assert_eq!(
        m.entities,
        [Entity {
            kind: EntityKind::BotCommand,
            offset: 0,
            length: 8
        }]
    );
    let reply = m.reply_to.expect("a reply");
    assert_eq!(reply.sender.map(|s| s.id), Some(9));
    assert_eq!(reply.text.as_deref(), Some("cap"));
    assert_eq!(reply.quote.as_deref(), Some("ap"));
    assert_eq!(m.media_group_id.as_deref(), Some("g1"));
}

#[rstest]
#[case("", UnreadableUpdate::NotAnObject)]
#[case("[]", UnreadableUpdate::NotAnObject)]
#[case(r#"{"update_id":1"#, UnreadableUpdate::NotAnObject)]
#[case("{}", UnreadableUpdate::NoUpdateId)]
#[case(r#"{"update_id":"1","message":{}}"#, UnreadableUpdate::NoUpdateId)]
#[case(r#"{"update_id":-1,"message":{}}"#, UnreadableUpdate::NoUpdateId)]
#[case(r#"{"update_id":1.0,"message":{}}"#, UnreadableUpdate::NoUpdateId)]
#[case(r#"{"update_id":9223372036854775807}"#, UnreadableUpdate::NoUpdateId)]
#[case(r#"{"update_id":9223372036854775808}"#, UnreadableUpdate::NoUpdateId)]
#[case(r#"{"update_id":1}"#, UnreadableUpdate::NoChat)]
#[case(
    r#"{"update_id":1,"inline_query":{"id":"1","from":{"id":7}}}"#,
    UnreadableUpdate::NoChat
)]
#[case(r#"{"update_id":1,"message":{"chat":{}}}"#, UnreadableUpdate::NoChat)]
#[case(
    r#"{"update_id":1,"message":{"chat":{"id":"7"}}}"#,
    UnreadableUpdate::NoChat
)]
#[case(
    r#"{"update_id":1,"message":{"chat":{"id":99999999999999999999}}}"#,
    UnreadableUpdate::NoChat
)]
fn unreadable_update_has_a_reason(#[case] json: &str, #[case] why: UnreadableUpdate) {
    assert_eq!(IncomingUpdate::parse(json), Err(why));
}

#[test]
fn update_with_only_a_chat_is_readable() {
    let m = read(r#"{"update_id":0,"message":{"chat":{"id":-9223372036854775808}}}"#);
    assert_eq!(m.chat.id, i64::MIN);
    assert_eq!(m.chat.kind, ChatKind::Unknown);
    assert_eq!(m.sender, None);
    assert_eq!(m.date, Timestamp::UNIX_EPOCH);
    assert_eq!(m.content, Content::Other);
}

#[test]
fn invalid_fields_are_ignored_one_by_one() {
    let m = message(
        r#""message_id":"x","date":1e3,"from":{"id":7,"first_name":5,"username":["a"]},"text":"a\udc00b",
           "entities":{"type":"mention"},"reply_to_message":7,"quote":[],"forward_origin":3,"message_thread_id":{}"#,
    );
    assert_eq!(m.message_id, None);
    assert_eq!(m.date, Timestamp::UNIX_EPOCH);
    assert_eq!(m.sender.as_ref().map(|s| s.id), Some(7));
    let text = m.text.expect("kept");
    assert!(text.starts_with('a') && text.ends_with('b'), "{text:?}");
    assert_eq!(m.content, Content::Text);
    assert!(m.entities.is_empty());
}

#[test]
fn unknown_kind_beside_a_message_is_ignored() {
    let m = read(
        r#"{"update_id":5,"telepathy":{"chat":{"id":1}},"message":{"chat":{"id":7,"type":"private"},
            "from":{"id":7,"first_name":"A"},"date":10,"text":"hi","hologram":{"deep":[[[{}]]]}}}"#,
    );
    assert_eq!((m.kind, m.chat.id), (UpdateKind::Message, 7));
    assert_eq!(m.text.as_deref(), Some("hi"));
}

#[test]
fn unknown_kind_with_a_chat_is_kept_as_other() {
    let m =
        read(r#"{"update_id":5,"telepathy":{"chat":{"id":1,"type":"astral"},"from":{"id":7}}}"#);
    assert_eq!(
        (m.kind, m.chat.kind),
        (UpdateKind::Other, ChatKind::Unknown)
    );
    assert!(!m.is_user_message());
}

#[rstest]
#[case::in_the_name_of_the_group(
    r#""from":{"id":1087968824,"is_bot":true},"sender_chat":{"id":-1}"#
)]
#[case::in_the_name_of_a_channel(r#""from":{"id":7},"sender_chat":{"id":-2,"type":"channel"}"#)]
#[case::faceless(r#""from":{"id":777000,"first_name":"Telegram"}"#)]
#[case::without_an_id(r#""from":{"first_name":"A"}"#)]
#[case::nobody(r#""text":"x""#)]
fn anonymous_accounts_are_no_senders(#[case] fields: &str) {
    assert_eq!(message(fields).sender, None);
}

#[rstest]
#[case::general_topic(r#""message_thread_id":1,"is_topic_message":true"#, None)]
#[case::thread_of_replies(r#""message_thread_id":44"#, None)]
#[case::topic(r#""message_thread_id":44,"is_topic_message":true"#, Some(44))]
fn only_forum_topics_have_a_thread_id(#[case] fields: &str, #[case] expected: Option<i64>) {
    assert_eq!(message(fields).thread_id, expected);
}

#[test]
fn reply_to_topic_creation_is_ignored() {
    let m = message(
        r#""text":"x","reply_to_message":{"message_id":44,"forum_topic_created":{"name":"T"},"from":{"id":1}}"#,
    );
    assert_eq!(m.reply_to, None);
}

#[rstest]
#[case(r#""text":"""#, "text")]
#[case(r#""photo":[{"file_id":"s","width":90},{"file_id":"b","width":1280},{"file_id":"m","width":320}],"caption":"c""#, "photo")]
#[case(
    r#""voice":{"file_id":"v","duration":3,"mime_type":"audio/ogg"}"#,
    "voice"
)]
#[case(r#""audio":{"file_id":"v"}"#, "audio")]
#[case(r#""video_note":{"file_id":"v"}"#, "video_note")]
#[case(
    r#""animation":{"file_id":"a"},"document":{"file_id":"a"}"#,
    "animation"
)]
#[case(r#""document":{"file_id":"a","file_name":"x.txt"}"#, "document")]
#[case(r#""sticker":{"emoji":"😀"}"#, "sticker")]
#[case(r#""location":{"latitude":45.4,"longitude":9}"#, "location")]
#[case(r#""location":{"latitude":45.4,"longitude":9},"venue":{"location":{"latitude":45.4,"longitude":9},"title":"T","address":"A"}"#, "location")]
#[case(r#""contact":{"phone_number":"+39","first_name":"Bob"}"#, "contact")]
#[case(r#""poll":{"question":"q?"}"#, "poll")]
#[case(r#""dice":{"emoji":"🎲","value":6}"#, "dice")]
#[case(r#""migrate_to_chat_id":-100"#, "service")]
#[case(r#""pinned_message":{"text":"x"}"#, "service")]
#[case(r#""paid_media":{"star_count":1}"#, "other")]
#[case(r#""photo":[],"caption":"c""#, "other")]
#[case(r#""location":{"latitude":"north"}"#, "other")]
fn content_kinds_are_distinguished(#[case] fields: &str, #[case] label: &str) {
    assert_eq!(message(fields).content.label(), label);
}

#[test]
fn largest_photo_is_used_with_its_caption() {
    let m = message(
        r#""photo":[{"file_id":"s","width":90},{"file_id":"b","width":1280,"file_size":9}],"caption":"what?"
           ,"caption_entities":[{"type":"bot_command","offset":0,"length":1}]"#,
    );
    let Content::Photo(file) = m.content else {
        panic!("no photo")
    };
    assert_eq!((file.id.as_str(), file.size), ("b", Some(9)));
    assert_eq!(m.text.as_deref(), Some("what?"));
    assert_eq!(m.entities.len(), 1);
}

#[rstest]
#[case("member", Membership::Member)]
#[case("administrator", Membership::Member)]
#[case("kicked", Membership::Left)]
#[case("left", Membership::Left)]
#[case("restricted", Membership::Left)]
#[case("levitating", Membership::Restricted)]
fn membership_change_is_parsed(#[case] status: &str, #[case] expected: Membership) {
    let m = read(&format!(
        r#"{{"update_id":1,"my_chat_member":{{"chat":{{"id":-7,"type":"group"}},"from":{{"id":7}},"date":1,
            "new_chat_member":{{"status":"{status}"}}}}}}"#
    ));
    assert_eq!(m.content, Content::Membership(expected));
    assert!(!m.is_user_message());
}

#[rstest]
#[case(
    r#""type":"user","sender_user":{"id":3,"first_name":"Bob","last_name":"B"}"#,
    "Bob B"
)]
#[case(r#""type":"hidden_user","sender_user_name":"Hidden""#, "Hidden")]
#[case(r#""type":"chat","sender_chat":{"title":"Group"}"#, "Group")]
#[case(r#""type":"channel","chat":{"title":"News"}"#, "News")]
#[case(r#""type":"ghost""#, "")]
fn forward_origin_is_parsed(#[case] origin: &str, #[case] expected: &str) {
    let m = message(&format!(
        r#""text":"x","forward_origin":{{{origin},"date":1}}"#
    ));
    assert_eq!(m.forwarded_from.as_deref(), Some(expected));
}

#[test]
fn huge_text_is_kept_whole() {
    let text = "é".repeat(1 << 20);
    let m = message(&format!(r#""text":"{text}""#));
    assert_eq!(m.text.map(|t| t.len()), Some(2 << 20));
}

#[test]
fn deep_nesting_does_not_overflow_the_stack() {
    let deep = format!(
        r#"{{"update_id":1,"x":{}{},"message":{{"chat":{{"id":1}}}}}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let _ = IncomingUpdate::parse(&deep);
}

/// JSON of every shape under the keys that are read.
fn any_json() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::{Value, json};
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        Just(json!("private")),
    ];
    let keys = prop::sample::select(vec![
        "update_id",
        "message",
        "edited_message",
        "my_chat_member",
        "callback_query",
        "data",
        "chat",
        "id",
        "type",
        "from",
        "date",
        "text",
        "caption",
        "entities",
        "photo",
        "location",
        "latitude",
        "longitude",
        "reply_to_message",
        "quote",
        "forward_origin",
        "voice",
        "file_id",
        "new_chat_member",
        "offset",
        "length",
        "whatever",
    ]);
    leaf.prop_recursive(6, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(keys.clone().prop_map(str::to_owned), inner, 0..8)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

#[test]
fn tap_is_read_without_the_words_of_its_message() {
    let tapped = |message: &str| {
        read(&format!(
            r#"{{"update_id":1,"callback_query":{{"id":"9","from":{{"id":7,"first_name":"Ann","language_code":"it"}},
                "data":"\ud83d\ude00","message":{{"message_id":4,"chat":{{"id":7,"type":"private"}},{message}}}}}}}"#
        ))
    };
    let tap = tapped(r#""date":100,"from":{"id":1,"is_bot":true},"text":"Go on?""#);
    assert_eq!(
        (tap.kind, tap.message_id),
        (UpdateKind::CallbackQuery, Some(4))
    );
    assert_eq!(
        (tap.sender.as_ref().map(|s| s.id), &tap.text),
        (Some(7), &None)
    );
    let expected = ButtonTap {
        query_id: "9".into(),
        data: Some("😀".into()),
        is_inaccessible: false,
    };
    assert_eq!(tap.tap(), Some(&expected));
    let gone = tapped(r#""date":0"#);
    assert!(gone.tap().is_some_and(|tap| tap.is_inaccessible));
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused(text in any::<String>()) {
        let _ = IncomingUpdate::parse(&text);
    }

    #[test]
    fn any_json_is_parsed_or_refused(json in any_json()) {
        let _ = IncomingUpdate::parse(&json.to_string());
    }

    #[test]
    fn message_survives_arbitrary_extra_fields(
        junk in any_json(), update_id in 0..i64::MAX, chat in any::<i64>(), text in "\\PC{0,20}",
    ) {
        let json = serde_json::json!({
            "update_id": update_id, "junk": junk.clone(),
            "message": {"chat": {"id": chat, "title": junk.clone()}, "text": text.clone(), "entities": junk.clone(),
                        "reply_to_message": junk.clone(), "date": junk.clone(), "from": junk},
        });
        let m = read(&json.to_string());
        prop_assert_eq!((m.update_id, m.chat.id, m.text), (update_id, chat, Some(text)));
    }
}
