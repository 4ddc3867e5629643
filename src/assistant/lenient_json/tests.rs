use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

use super::*;

fn read(text: &str) -> Json<'_> {
    let (value, rest) = Json::split(text.as_bytes()).expect("a value");
    assert!(rest.trim_ascii().is_empty(), "{text}");
    value
}

#[rstest]
#[case::nan(r#"{"x":NaN,"a":"b"}"#)]
#[case::infinity(r#"{"x":[-Infinity,Infinity,+1],"a":"b"}"#)]
#[case::huge(r#"{"x":1e999,"y":123456789012345678901234567890,"a":"b"}"#)]
#[case::repeated(r#"{"a":"c","a":"b","a":null}"#)]
#[case::commas(r#"{"x":[1,],"a":"b",}"#)]
#[case::escaped_key(r#"{"\u0061":"b"}"#)]
#[case::brackets_in_text(r#"{"x":"}]\"","a":"b"}"#)]
#[case::python(r#"{"x":None,"y":True,"a":"b"}"#)]
#[case::nested(r#"{"x":{"a":"c"},"y":[{"a":"d"}],"a" : "b" }"#)]
#[case::empty_containers(r#"{"x":{},"y":[],"z":[[],{}],"a":"b"}"#)]
fn what_nobody_asks_for_does_not_hurt(#[case] text: &str) {
    assert_eq!(read(text).field("a").string().as_deref(), Some("b"));
}

#[rstest]
#[case::cut_off(r#"{"a":"b"#)]
#[case::cut_off_behind_a_value(r#"{"a":"b""#)]
#[case::cut_off_in_an_escape(r#"{"a":"\"#)]
#[case::other_bracket(r#"{"a":["b"}]"#)]
#[case::no_comma(r#"{"a":"b" "c":1}"#)]
#[case::quotes_not_escaped(r#"{"a":"say "hi""}"#)]
#[case::no_colon(r#"{"a"}"#)]
#[case::single_quotes("{'a':'b'}")]
#[case::words(r#"{"a": 10 euros}"#)]
#[case::nothing("")]
#[case::comma("[,]")]
fn broken_structure_is_no_value(#[case] text: &str) {
    assert_eq!(Json::split(text.as_bytes()), None);
}

#[test]
fn depth_and_width_cost_no_error() {
    let depth = 100_000;
    let deep = "[".repeat(depth) + &"]".repeat(depth);
    let text = format!(r#"{{"x":{deep},"a":"b"}}"#);
    assert_eq!(read(&text).field("a").string().as_deref(), Some("b"));
    assert_eq!(read(&deep).to_value().to_string(), "[[[[[[[[null]]]]]]]]");
    assert!(!read(&deep).is_blank());
}

#[rstest]
#[case(r#""a\nb\t\"\\\/\'""#, "a\nb\t\"\\/'")]
#[case(r#""\u00e8 \ud83d\ude00""#, "è 😀")]
#[case(r#""\(x\) \u12""#, r"\(x\) \u12")]
#[case("42.50", "42.50")]
#[case("true", "true")]
fn strings_and_scalars_are_text(#[case] json: &str, #[case] text: &str) {
    assert_eq!(read(json).string().as_deref(), Some(text));
}

#[test]
fn half_of_a_pair_is_kept_as_three_bytes() {
    let text = read(r#""\ud83d""#).text().expect("text").into_owned();
    assert_eq!(text, [0xED, 0xA0, 0xBD]);
}

#[rstest]
#[case(r#"{"code":null,"message":"","x":[{}],"y":0}"#, true)]
#[case(r#"{"code":500}"#, false)]
#[case("true", false)]
fn blank_is_what_says_nothing(#[case] json: &str, #[case] blank: bool) {
    assert_eq!(read(json).is_blank(), blank);
}

#[rstest]
#[case("7", Some(7))]
#[case("7.0", Some(7))]
#[case(r#""7""#, Some(7))]
#[case("-7", None)]
#[case("1e999", None)]
#[case("[7]", None)]
fn counts_are_read_as_they_come(#[case] json: &str, #[case] count: Option<u64>) {
    assert_eq!(read(json).integer(), count);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(".{0,3}", inner, 0..6)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn valid_json_is_read_as_serde_json_reads_it(value in any_json(), rest in "[ ,x]{0,3}") {
        for text in [value.to_string(), serde_json::to_string_pretty(&value).expect("JSON")] {
            let text = format!("{text} {rest}");
            let (read, left) = Json::split(text.as_bytes()).expect("a value");
            prop_assert_eq!(read.to_value(), value.clone());
            prop_assert_eq!(left.trim_ascii(), rest.trim().as_bytes());
        }
    }

    #[test]
    fn end_of_a_string_is_found_at_any_length(text in "[a-zè\u{80}]{0,80}", rest in "[\"\\\\]?.{0,12}") {
        let bytes = [text.as_bytes(), rest.as_bytes()].concat();
        let found = bytes.iter().position(|b| matches!(b, b'"' | b'\\'));
        prop_assert_eq!(find_quote_or_backslash(&bytes), found);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(prop::sample::select(&b"{}[]\",:\\u0d8 anN\xed\xff"[..]), 0..40)) {
        if let Some((value, _)) = Json::split(&bytes) {
            value.to_value();
            value.is_blank();
            value.field("a");
        }
    }
}

#[test]
fn a_tree_of_an_error_has_its_words() {
    let value = read(r#"{"code":503,"message":"busy","x":NaN}"#).to_value();
    assert_eq!(value, json!({"code": 503, "message": "busy", "x": null}));
}
