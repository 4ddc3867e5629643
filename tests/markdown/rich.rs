//! Rich messages: what becomes one, what Telegram takes, and that none is slow or loses text.

use std::fmt::Write as _;
use std::path::Path;

use bot_api_simulator::parse_rich_html;
use proptest::prelude::*;
use serde_json::Value;
use telegram_connector_operator::telegram::markdown::{
    AnswerMessage, PartLimit, RichMessage, render, render_rich_within,
};

use super::{MAX_ALLOCATED, MAX_GROWTH, MAX_MEMORY, bombs, is_subsequence, letters_of, markdown};

/// The messages of a text that is rendered into rich ones.
fn rich_messages(markdown: &str) -> Option<Vec<AnswerMessage>> {
    let limit = PartLimit {
        parts: usize::MAX,
        mark: "",
    };
    render_rich_within(markdown, limit)
}

/// The one rich message of a text.
fn rich_message(markdown: &str) -> RichMessage {
    match rich_messages(markdown).as_deref() {
        Some([AnswerMessage::Rich(rich)]) => rich.clone(),
        other => panic!("no rich message: {other:?}"),
    }
}

/// Its HTML, which Telegram takes.
fn html_of(markdown: &str) -> String {
    let rich = rich_message(markdown);
    assert_eq!(rich.fallback, render(markdown));
    blocks(&rich.html);
    rich.html
}

fn blocks(html: &str) -> Vec<Value> {
    parse_rich_html(html).unwrap_or_else(|error| panic!("{error}\n{html}"))
}

/// All words of blocks, in order.
fn words(value: &Value, words: &mut String) {
    match value {
        Value::String(text) => words.push_str(text),
        Value::Array(values) => values.iter().for_each(|value| self::words(value, words)),
        Value::Object(fields) => {
            for name in [
                "summary",
                "text",
                "expression",
                "cells",
                "label",
                "items",
                "blocks",
            ] {
                if let Some(value) = fields.get(name) {
                    self::words(value, words);
                }
            }
        }
        _ => {}
    }
}

/// All words of messages.
fn shown(messages: &[AnswerMessage]) -> String {
    let mut shown = String::new();
    for message in messages {
        match message {
            AnswerMessage::Text(part) => shown.push_str(&part.plain),
            AnswerMessage::Rich(rich) => words(&Value::Array(blocks(&rich.html)), &mut shown),
        }
    }
    shown
}

const TABLE: &str = "|a|b|\n|-|-|\n|c|d|\n";
const TABLE_HTML: &str =
    "<table bordered><tr><th>a</th><th>b</th></tr><tr><td>c</td><td>d</td></tr></table>";

#[test]
fn samples_with_tables_or_formulas_are_rich_messages() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/markdown/samples");
    let mut names = Vec::new();
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the samples")
        .map(|entry| entry.expect("readable").path())
        .collect();
    files.sort();
    for file in files {
        let markdown = std::fs::read_to_string(&file).expect("readable");
        let Some(messages) = rich_messages(&markdown) else {
            continue;
        };
        assert_eq!(messages.len(), 1);
        let name = file.file_stem().and_then(|n| n.to_str()).expect("a name");
        names.push(name[..2].to_owned());
        // A block to a line.
        let mut shown = html_of(&markdown) + "\n";
        for block in [
            "<p>",
            "<h",
            "<table",
            "<tr>",
            "<ul>",
            "<ol>",
            "<li",
            "<pre>",
            "<blockquote>",
            "<tg-math-block>",
        ] {
            shown = shown.replace(&format!(">{block}"), &format!(">\n{block}"));
        }
        insta::with_settings!({prepend_module_to_snapshot => false, description => markdown, omit_expression => true}, {
            insta::assert_snapshot!(format!("rich_{name}"), shown);
        });
    }
    let expected = "20 21 22 23 24 25 35 36 38 49 54 60";
    assert_eq!(names.join(" "), expected, "prices and alerts are texts");
}

#[test]
fn tables_and_formulas_are_blocks_of_their_own() {
    for (markdown, html) in [
        (TABLE, TABLE_HTML.to_owned()),
        ("one\n\n|a|b|\n|-|-|\n|c|d|\n\ntwo", format!("<p>one</p>{TABLE_HTML}<p>two</p>")),
        (
            "|n|sum|\n|:-:|--:|\n|**x**<br>y|`1`|",
            "<table bordered><tr><th align=\"center\">n</th><th align=\"right\">sum</th></tr>\
             <tr><td align=\"center\"><b>x</b><br>y</td><td align=\"right\"><code>1</code></td></tr></table>".to_owned(),
        ),
        ("so $x^2$ it is", "<p>so <tg-math>x^2</tg-math> it is</p>".to_owned()),
        ("so \\( a<b \\) it is", "<p>so <tg-math>a&lt;b</tg-math> it is</p>".to_owned()),
        ("**bold $x$ bold**", "<p><b>bold </b><tg-math>x</tg-math><b> bold</b></p>".to_owned()),
        ("$$\nE = mc^2\n- y\n$$", "<tg-math-block>E = mc^2\n- y</tg-math-block>".to_owned()),
        ("see\n\\[ \\frac{1}{2} \\]", "<p>see</p><tg-math-block>\\frac{1}{2}</tg-math-block>".to_owned()),
        ("```math\na & b\n```", "<tg-math-block>a &amp; b</tg-math-block>".to_owned()),
        (
            "<table><tr><th>a<th>b<tr><td>c<td>d</table>",
            TABLE_HTML.to_owned(),
        ),
    ] {
        assert_eq!(html_of(markdown), html, "{markdown}");
    }
}

#[test]
fn what_stands_beside_a_table_is_native_too() {
    for (markdown, html) in [
        ("## Title\n", "<h2>Title</h2>"),
        (
            "- [x] one\n- [ ] two\n",
            "<ul><li><input type=\"checkbox\" checked>one</li><li><input type=\"checkbox\">two</li></ul>",
        ),
        (
            "- a\n  - b\n- c",
            "<ul><li>a<ul><li>b</li></ul></li><li>c</li></ul>",
        ),
        (
            "3. a\n4. b",
            "<ol><li value=\"3\">a</li><li value=\"4\">b</li></ol>",
        ),
        ("- a\n\n  b", "<ul><li><p>a</p><p>b</p></li></ul>"),
        ("one\ntwo", "<p>one<br>two</p>"),
        ("---", "<hr/>"),
        ("> said", "<blockquote><p>said</p></blockquote>"),
        (
            "```rust\na < b\n```",
            "<pre><code class=\"language-rust\">a &lt; b</code></pre>",
        ),
        ("H<sub>2</sub>O", "<p>H<sub>2</sub>O</p>"),
        (
            "<details>\n<summary>More</summary>\n\nsaid\n\n</details>",
            "<details><summary>More</summary><p>said</p></details>",
        ),
        ("<ul></ul>", ""),
        ("-", "<ul><li></li></ul>"),
    ] {
        let with_table = format!("{TABLE}\n{markdown}");
        assert_eq!(
            html_of(&with_table),
            format!("{TABLE_HTML}{html}"),
            "{markdown}"
        );
        assert_eq!(rich_messages(markdown), None, "{markdown}");
    }
}

#[test]
fn prices_and_pipes_are_no_reason_for_a_rich_message() {
    for markdown in [
        "$5 and $6",
        "from $5-$10, or 5$ a piece",
        "US$5 = CA$7, and $5 = 5€, or 10$ a pair",
        "a | b and c || d",
        "`$x^2$` and `|a|`",
        "```\n|a|b|\n|-|-|\n$$x$$\n```",
        "\\$x^2\\$",
        "**bold** and [a link](https://e.org)",
    ] {
        assert_eq!(rich_messages(markdown), None, "{markdown}");
    }
    let prices = format!("{TABLE}\n$5 and $6, US$5 = CA$7");
    let expected = format!("{TABLE_HTML}<p>$5 and $6, US$5 = CA$7</p>");
    assert_eq!(html_of(&prices), expected);
}

#[test]
fn html_of_an_answer_is_never_passed_on() {
    for html in [
        "<img src=\"https://e.org/a.png\"/>",
        "<video src=\"https://e.org/a.mp4\"></video>",
        "<tg-map lat=\"1\" long=\"2\" zoom=\"13\"/>",
        "<tg-math>x</tg-math>",
        "<tg-thinking>x</tg-thinking>",
        "<a name=\"x\"></a>",
        "<p onclick=\"x\">",
        "</table></p></tg-math-block>",
        "<input type=\"checkbox\"/>",
        "<cite>x</cite>",
    ] {
        for markdown in [
            format!("|a|{html}|\n|-|-|\n|{html}|$x {html}$|\n\n{html}\n\na {html} b"),
            format!("$${html}$$\n\n```math\n{html}\n```\n\n```x{html}\n{html}\n```"),
        ] {
            let sent = html_of(&markdown);
            for tag in [
                "<img",
                "<video",
                "<tg-map",
                "<tg-thinking",
                "<a",
                "<p o",
                "<input",
                "<cite",
            ] {
                assert!(!sent.contains(tag), "{tag} in {sent}");
            }
        }
    }
}

#[test]
fn table_that_no_rich_message_can_hold_is_text() {
    let wide = format!(
        "{}\n{}\n{}\n",
        "|a".repeat(21),
        "|-".repeat(21),
        "|b".repeat(21)
    );
    assert_eq!(rich_messages(&wide), None);
    let beside = html_of(&format!("{wide}\n{TABLE}"));
    assert!(
        beside.ends_with(TABLE_HTML) && beside.matches("<table").count() == 1,
        "{beside}"
    );
}

#[test]
fn table_is_not_torn_where_a_rich_message_can_hold_it() {
    let words = "word ".repeat(1_000);
    let table = format!(
        "{}{}",
        &TABLE[..TABLE.len() - 6],
        "|cell of it|d|\n".repeat(450)
    );
    let markdown = format!("{}\n\n{table}\n\n{words}", format!("{words}\n\n").repeat(6));
    let messages = rich_messages(&markdown).expect("rich messages");
    let tables = messages.iter().filter_map(|message| match message {
        AnswerMessage::Rich(rich) => Some(blocks(&rich.html)),
        AnswerMessage::Text(_) => None,
    });
    let tables: Vec<usize> = tables
        .flatten()
        .filter_map(|block| Some(block["cells"].as_array()?.len()))
        .collect();
    assert_eq!(tables, [451]);
    assert!(
        matches!(messages[0], AnswerMessage::Text(_)),
        "words alone are a text"
    );
    assert_eq!(shown(&messages).matches("word").count(), 7_000);
}

#[test]
fn longer_table_goes_on_with_its_head() {
    let rows: String = (0..1_000).fold(String::new(), |mut rows, n| {
        let _ = writeln!(rows, "|row {n}|x|");
        rows
    });
    let markdown = format!("before\n\n|name|b|\n|-|-|\n{rows}\nafter");
    let messages = rich_messages(&markdown).expect("rich messages");
    assert_eq!(messages.len(), 5, "three tables, and the words around them");
    let all = shown(&messages);
    assert_eq!(
        (all.matches("name").count(), all.matches("row ").count()),
        (3, 1_000)
    );
    assert!(all.starts_with("before") && all.ends_with("after"), "{all}");
}

#[test]
fn answer_of_too_many_messages_is_cut_as_a_text() {
    let markdown = format!("{TABLE}\n{}", "word ".repeat(2_000));
    let limit = |parts| PartLimit { parts, mark: "" };
    assert!(render_rich_within(&markdown, limit(3)).is_some());
    assert_eq!(render_rich_within(&markdown, limit(2)), None);
}

/// Asserts that rich messages and memory are in proportion to the text, that Telegram takes them, and returns what they show.
fn assert_bounded(name: &str, markdown: &str) -> String {
    let mut messages = None;
    let allocated = allocation_counter::measure(|| messages = rich_messages(markdown));
    let messages = messages.unwrap_or_default();
    let length = markdown.len();
    let size: usize = messages
        .iter()
        .map(|message| match message {
            AnswerMessage::Text(part) => part.html.len(),
            AnswerMessage::Rich(rich) => rich.html.len(),
        })
        .sum();
    assert!(
        size <= MAX_GROWTH * length + 1_000,
        "{name}: {size} bytes of {length}"
    );
    let (all, most) = (allocated.bytes_total, allocated.bytes_max);
    let bytes = u64::try_from(length).expect("a length") + 1_000;
    // Once as a whole, once block by block, once in rich messages, and once as their texts.
    assert!(
        all <= 4 * MAX_ALLOCATED * bytes && most <= 2 * MAX_MEMORY * bytes,
        "{name}: {all} bytes allocated, {most} at once, of {length}"
    );
    shown(&messages)
}

#[test]
fn bombs_with_a_table_are_bounded_and_accepted() {
    for length in [3_000, 60_000] {
        for (name, bomb) in bombs::bombs(length) {
            assert_bounded(&name, &format!("{TABLE}\n{bomb}"));
            assert_bounded(&name, &format!("{bomb}\n\n{TABLE}"));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_rich_message_is_accepted_and_loses_no_text(markdown in markdown(), times in 1usize..30) {
        let markdown = format!("{TABLE}\n{}", markdown.repeat(times));
        if let Some(messages) = rich_messages(&markdown) {
            let shown = shown(&messages);
            let expected = letters_of(&markdown);
            prop_assert!(is_subsequence(&expected, &shown), "expected {expected:?}\nshown {shown:?}");
        }
    }
}
