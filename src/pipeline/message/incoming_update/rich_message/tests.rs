use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::super::entities::byte_ranges;
use super::*;

fn read_blocks(blocks: &Value) -> Option<(String, Vec<Entity>)> {
    let message = json!({"rich_message": {"blocks": blocks}}).to_string();
    read(&JsonObject::parse(&message).expect("an object"))
}

#[rstest]
#[case::paragraphs(json!([{"type":"paragraph","text":"one"},{"type":"anchor","name":"a"},{"type":"paragraph","text":["t",{"type":"bold","text":"w"},"o"]}]), "one\n\ntwo")]
#[case::heading(json!([{"type":"heading","size":2,"text":"Title"},{"type":"divider"},{"type":"footer","text":"end"}]), "## Title\n\n---\n\nend")]
#[case::link(json!([{"type":"paragraph","text":["see ",{"type":"url","text":{"type":"italic","text":"here"},"url":"https://a.example"}]}]), "see [here](https://a.example)")]
#[case::code(json!([{"type":"paragraph","text":{"type":"code","text":"ls"}},{"type":"pre","language":"rust","text":"fn a() {\n}"}]), "`ls`\n\n```rust\nfn a() {\n}\n```")]
#[case::formulas(json!([{"type":"paragraph","text":{"type":"mathematical_expression","expression":"x^2"}},{"type":"mathematical_expression","expression":"y"}]), "$x^2$\n\n$$y$$")]
#[case::list(json!([{"type":"list","items":[
    {"label":"1.","blocks":[{"type":"paragraph","text":"a"},{"type":"list","items":[{"label":"•","blocks":[{"type":"paragraph","text":"b\nc"}]}]}]},
    {"label":"2","blocks":[{"type":"paragraph","text":"d"}]}]}]), "1. a\n   - b\n     c\n2. d")]
#[case::tasks(json!([{"type":"list","items":[
    {"label":"","has_checkbox":true,"is_checked":true,"blocks":[{"type":"paragraph","text":"done"}]},
    {"label":"","has_checkbox":true,"blocks":[{"type":"paragraph","text":"open"}]}]}]), "- [x] done\n- [ ] open")]
#[case::quotation(json!([{"type":"paragraph","text":"he said"},{"type":"blockquote","credit":"Ivo","blocks":[{"type":"paragraph","text":"a"},{"type":"paragraph","text":"b"}]},{"type":"paragraph","text":"so"}]), "he said\n\n> a\n>\n> b\n> — Ivo\n\nso")]
#[case::table(json!([{"type":"table","caption":"Prices","cells":[
    [{"text":"what","is_header":true},{"text":"a|b","colspan":2}],[{"text":["x\ny"]},{},{"text":"3"}]]}]), "| what | a\\|b | |\n| --- | --- | --- |\n| x y |  | 3 |\n\nPrices")]
#[case::details(json!([{"type":"details","summary":"More","blocks":[{"type":"paragraph","text":"inside"}]}]), "More\n\ninside")]
#[case::media(json!([{"type":"photo","photo":[],"caption":{"text":"our cat","credit":"Ann"}},{"type":"collage","blocks":[{"type":"video","video":{}}]},{"type":"map","location":{"latitude":45.4,"longitude":9.25}}]), "[photo]\nour cat\n— Ann\n\n[video]\n\n[location: 45.4, 9.25]")]
#[case::unknown_kinds(json!([{"type":"hologram","text":{"type":"glowing","text":"words"}},{"type":"box","blocks":[{"type":"paragraph","text":"inside"}]}]), "words\n\ninside")]
fn blocks_become_markdown(#[case] blocks: Value, #[case] expected: &str) {
    let (text, _) = read_blocks(&blocks).expect("words");
    assert_eq!(text, expected);
}

#[test]
fn mentions_lie_where_their_entities_say() {
    let blocks = json!([{"type":"blockquote","blocks":[{"type":"paragraph","text":[
        "😀 ask ", {"type":"mention","text":"@support_bot","username":"support_bot"}, " or ",
        {"type":"text_mention","text":"Bob","user":{"id":5}}, " by ", {"type":"bot_command","text":"/id","bot_command":"/id"}]}]}]);
    let (text, entities) = read_blocks(&blocks).expect("words");
    let ranges = byte_ranges(&text, &entities);
    let marked: Vec<_> = ranges
        .into_iter()
        .map(|range| &text[range.expect("in the text")])
        .collect();
    assert_eq!(marked, ["@support_bot", "Bob", "/id"]);
    let kinds: Vec<_> = entities.into_iter().map(|entity| entity.kind).collect();
    assert_eq!(
        kinds,
        [
            EntityKind::Mention,
            EntityKind::TextMention(5),
            EntityKind::BotCommand
        ]
    );
}

#[rstest]
#[case(json!([]))]
#[case(json!([{"type":"divider2"},{"type":"paragraph","text":" \n"}]))]
#[case(json!({"type":"paragraph","text":"x"}))]
#[case(json!("text"))]
fn a_rich_message_without_words_has_none(#[case] blocks: Value) {
    assert_eq!(read_blocks(&blocks), None);
}

#[test]
fn deep_nesting_ends_and_keeps_what_is_above() {
    let open = r#"{"type":"blockquote","text":"x","blocks":["#;
    let json = format!(
        r#"{{"rich_message":{{"blocks":[{}{}]}}}}"#,
        open.repeat(5_000),
        "]}".repeat(5_000)
    );
    let message = JsonObject::parse(&json).expect("an object");
    let (text, _) = read(&message).expect("words");
    assert_eq!(text.matches('x').count(), MAX_DEPTH - 1);
}

fn any_rich() -> impl Strategy<Value = Value> {
    let kind = prop::sample::select(vec![
        "paragraph",
        "heading",
        "pre",
        "list",
        "table",
        "blockquote",
        "details",
        "photo",
        "map",
        "url",
        "code",
        "mention",
        "bold",
        "text_mention",
        "mathematical_expression",
        "???",
    ]);
    let key = prop::sample::select(vec![
        "text", "blocks", "items", "cells", "caption", "credit", "summary", "url", "label", "size",
        "username", "colspan", "language", "location", "user",
    ]);
    let leaf = prop_oneof![
        "[a😀`|\n\\[ ]{0,6}".prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        Just(Value::Null)
    ];
    leaf.prop_recursive(6, 60, 5, move |inner| {
        let object = (
            kind.clone(),
            prop::collection::hash_map(key.clone(), inner.clone(), 0..4),
        );
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::from),
            object.prop_map(|(kind, fields)| {
                let fields = fields
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), value));
                Value::Object(fields.chain([("type".to_owned(), json!(kind))]).collect())
            }),
        ]
    })
}

proptest! {
    #[test]
    fn any_blocks_are_read_and_entities_lie_within(blocks in prop::collection::vec(any_rich(), 0..5)) {
        if let Some((text, entities)) = read_blocks(&Value::from(blocks)) {
            prop_assert!(!text.trim().is_empty());
            for range in byte_ranges(&text, &entities) {
                prop_assert!(range.is_some(), "{entities:?} in {text:?}");
            }
        }
    }
}
