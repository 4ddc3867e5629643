//! Bad input, again and again: the corpus of the fuzz targets, and whatever they once found, through the same checks.

use std::path::Path;

use bot_api_simulator::html;
use proptest::prelude::*;

#[path = "../fuzz/checks.rs"]
mod checks;

fn replay(target: &str, check: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz/corpus")
        .join(target);
    let mut replayed = 0;
    for file in std::fs::read_dir(corpus).expect("the corpus") {
        check(&std::fs::read(file.expect("readable").path()).expect("readable"));
        replayed += 1;
    }
    assert!(replayed > 0, "an empty corpus of {target}");
}

#[test]
fn fuzz_corpus_updates_follow_the_rule() {
    replay("update", checks::update);
}

#[test]
fn fuzz_corpus_texts_are_split_without_loss() {
    replay("split", checks::split);
}

#[test]
fn fuzz_corpus_markdown_is_valid_for_telegram() {
    replay("markdown", checks::markdown);
}

/// JSON of the shape of an update in which any value may be of any kind.
fn updates() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "update_id",
        "message",
        "edited_message",
        "channel_post",
        "my_chat_member",
        "callback_query",
        "inline_query",
        "chat",
        "id",
        "type",
        "date",
        "edit_date",
        "from",
        "first_name",
        "text",
        "caption",
        "entities",
        "offset",
        "length",
        "message_thread_id",
        "is_topic_message",
        "photo",
        "file_id",
        "reply_to_message",
        "new_chat_member",
        "status",
        "is_bot",
    ]);
    let value = prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_map(|n| n.to_string()),
        prop::sample::select(vec![
            "null",
            "true",
            "[]",
            "{}",
            "9223372036854775807",
            "-9223372036854775808",
            "18446744073709551616",
            "1e400",
            "-0",
            r#""\ud800""#,
            r#""\u0000""#,
            r#""private""#,
            r#""supergroup""#,
            "[[5]]",
        ])
        .prop_map(str::to_owned),
    ];
    let object = move |inner: BoxedStrategy<String>| {
        let field = (key.clone(), inner).prop_map(|(key, value)| format!("\"{key}\":{value}"));
        prop::collection::vec(field, 0..6).prop_map(|fields| format!("{{{}}}", fields.join(",")))
    };
    let chat = (any::<i64>(), object.clone()(value.clone().boxed())).prop_map(|(id, chat)| {
        chat.replacen('{', &format!("{{\"id\":{id},"), 1)
            .replace(",}", "}")
    });
    let inner = prop_oneof![2 => value, 1 => chat];
    let message = object.clone()(inner.boxed());
    (any::<u32>(), object(message.boxed())).prop_map(|(id, update)| {
        update
            .replacen('{', &format!("{{\"update_id\":{id},"), 1)
            .replace(",}", "}")
    })
}

proptest! {
    #[test]
    fn update_with_arbitrary_values_follows_the_rule(json in updates()) {
        checks::update(json.as_bytes());
    }

    #[test]
    fn arbitrary_bytes_follow_the_rule(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        checks::update(&bytes);
        checks::split(&bytes);
        checks::markdown(&bytes);
    }
}
