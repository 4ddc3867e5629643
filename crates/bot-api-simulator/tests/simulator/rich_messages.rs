//! Rich messages and their drafts: the blocks that HTML and Markdown make, and what is refused.

use serde_json::{Value, json};

use crate::client::Client;
use crate::keyboards::{with_ann, yes_no};

async fn blocks(client: &Client, rich: Value) -> Value {
    let sent = client
        .ok(
            "sendRichMessage",
            json!({"chat_id": 42, "rich_message": rich}),
        )
        .await;
    assert!(sent["text"].is_null());
    sent["rich_message"]["blocks"].clone()
}

#[tokio::test]
async fn html_becomes_blocks() {
    let client = with_ann().await;
    let html = "<h2>Sales &amp; more</h2><p>In <b>May</b>: <tg-math>x^2</tg-math></p>\
        <table bordered><caption>By region</caption><thead><tr><th>Region</th><th align=\"right\">Sum</th></tr></thead>\
        <tbody><tr><td>North</td><td align=\"right\"><a href=\"https://example.com/\">12</a></td></tr></tbody></table>\
        <ul><li><input type=\"checkbox\" checked/>done</li></ul><ol start=\"3\"><li>third</li><li value=\"7\">seventh</li></ol>\
        <pre><code class=\"language-rust\">let a = 1 &lt; 2;</code></pre><hr/><tg-math-block>E = mc^2</tg-math-block>\
        <details open><summary>More</summary><p>inside</p></details><blockquote>said</blockquote>";
    let shown = blocks(&client, json!({"html": html})).await;
    let cell = |text: Value, align: &str| json!({"text": text, "align": align, "valign": "top"});
    let head = |text: &str, align: &str| json!({"text": text, "align": align, "valign": "top", "is_header": true});
    let link = json!({"type": "url", "text": "12", "url": "https://example.com/"});
    let paragraph = |text: &str| json!([{"type": "paragraph", "text": text}]);
    assert_eq!(
        shown,
        json!([
            {"type": "heading", "text": "Sales & more", "size": 2},
            {"type": "paragraph", "text": [
                "In ", {"type": "bold", "text": "May"}, ": ",
                {"type": "mathematical_expression", "expression": "x^2"},
            ]},
            {"type": "table", "is_bordered": true, "caption": "By region", "cells": [
                [head("Region", "left"), head("Sum", "right")],
                [cell(json!("North"), "left"), cell(link, "right")],
            ]},
            {"type": "list", "items": [{"label": "•", "blocks": paragraph("done"), "has_checkbox": true, "is_checked": true}]},
            {"type": "list", "items": [
                {"label": "3.", "blocks": paragraph("third"), "value": 3, "type": "1"},
                {"label": "7.", "blocks": paragraph("seventh"), "value": 7, "type": "1"},
            ]},
            {"type": "pre", "text": "let a = 1 < 2;", "language": "rust"},
            {"type": "divider"},
            {"type": "mathematical_expression", "expression": "E = mc^2"},
            {"type": "details", "summary": "More", "blocks": paragraph("inside"), "is_open": true},
            {"type": "blockquote", "blocks": paragraph("said")},
        ])
    );
    let recorded = &client.sim.sent_messages(client.bot, 42)[0];
    assert_eq!(
        (recorded.source.as_str(), recorded.parse_mode.as_str()),
        (html, "html")
    );
    assert!(recorded.text.contains("North\t12"), "{}", recorded.text);
}

#[tokio::test]
async fn markdown_becomes_the_same_blocks() {
    let client = with_ann().await;
    let both = [
        (
            "| a | b |\n|---|--:|\n| 1 | **2** |\n",
            "<table><tr><th>a</th><th align=\"right\">b</th></tr><tr><td>1</td><td align=\"right\"><b>2</b></td></tr></table>",
        ),
        (
            "# Title\n\nwords $x$ `code`",
            "<h1>Title</h1><p>words <tg-math>x</tg-math> <code>code</code></p>",
        ),
        ("$$E = mc^2$$", "<tg-math-block>E = mc^2</tg-math-block>"),
        (
            "- [x] one\n- [ ] two\n",
            "<ul><li><input checked>one</li><li><input>two</li></ul>",
        ),
        (
            "```rust\nlet a;\n```",
            "<pre><code class=\"language-rust\">let a;\n</code></pre>",
        ),
    ];
    for (markdown, html) in both {
        let of_markdown = blocks(&client, json!({"markdown": markdown})).await;
        assert_eq!(
            of_markdown,
            blocks(&client, json!({"html": html})).await,
            "{markdown}"
        );
    }
}

#[tokio::test]
async fn broken_rich_message_is_refused() {
    let client = with_ann().await;
    for (rich, expected) in [
        (json!(""), "parameter \"rich_message\" is required"),
        (
            json!({}),
            "can't parse InputRichMessage: exactly one of the fields \"html\" and \"markdown\" must be used",
        ),
        (
            json!({"html": "a", "markdown": "a"}),
            "can't parse InputRichMessage: exactly one of the fields \"html\" and \"markdown\" must be used",
        ),
        (json!({"html": " "}), "message text is empty"),
        (
            json!({"html": "a<script>"}),
            "can't parse entities: Unsupported start tag \"script\" at byte offset 1",
        ),
        (
            json!({"html": "<p>a"}),
            "can't parse entities: Can't find end tag corresponding to start tag \"p\"",
        ),
        (
            json!({"html": "<p><b>a</p></b>"}),
            "can't parse entities: Unmatched end tag at byte offset 7, expected \"</b>\", found \"</p>\"",
        ),
        (
            json!({"html": "</p>"}),
            "can't parse entities: Unexpected end tag at byte offset 0",
        ),
        (
            json!({"html": "<tg-thinking>hm</tg-thinking>"}),
            "can't parse entities: Tag \"tg-thinking\" can be used only in drafts",
        ),
        (
            json!({"html": "<tg-map lat=\"1\" long=\"2\" zoom=\"12\"/>"}),
            "can't parse entities: Invalid map zoom level; it must be 13-20",
        ),
        (
            json!({"html": "<table></table>"}),
            "can't parse entities: A table must have cells",
        ),
        (
            json!({"html": "<p><p>a</p></p>"}),
            "can't parse entities: Tag \"p\" can't be used inside of a text",
        ),
    ] {
        let params = json!({"chat_id": 42, "rich_message": rich});
        let refused = client.refused("sendRichMessage", params).await;
        assert_eq!(refused, (400, format!("Bad Request: {expected}")));
    }
    assert!(client.sim.sent_messages(client.bot, 42).is_empty());
}

#[tokio::test]
async fn rich_message_beyond_its_limits_is_refused() {
    let client = with_ann().await;
    let row = |cells: usize| format!("<tr>{}</tr>", "<td>a</td>".repeat(cells));
    let table = |rows: usize, cells: usize| format!("<table>{}</table>", row(cells).repeat(rows));
    for (html, expected) in [
        ("a".repeat(32_769), "rich message is too long"),
        ("<p>a</p>".repeat(501), "rich message has too many blocks"),
        (table(500, 1), "rich message has too many blocks"),
        (table(1, 21), "table has too many columns"),
        (
            format!(
                "{}a{}",
                "<blockquote>".repeat(16),
                "</blockquote>".repeat(16)
            ),
            "rich message is nested too deeply",
        ),
    ] {
        let params = json!({"chat_id": 42, "rich_message": {"html": html}});
        let (code, text) = client.refused("sendRichMessage", params).await;
        assert_eq!(code, 400);
        assert!(text.ends_with(expected), "{text}");
    }
    let most = format!("<p>{}</p>{}", "a".repeat(22_788), table(498, 20));
    client
        .ok(
            "sendRichMessage",
            json!({"chat_id": 42, "rich_message": {"html": most}}),
        )
        .await;
}

#[tokio::test]
async fn rich_message_has_a_keyboard_and_can_be_edited() {
    let client = with_ann().await;
    let rich = json!({"html": "<p>one</p>"});
    let params = json!({"chat_id": 42, "rich_message": rich, "reply_markup": yes_no(), "reply_parameters": {"message_id": 1}});
    let sent = client.ok("sendRichMessage", params).await;
    assert_eq!(sent["reply_markup"], yes_no());
    assert_eq!(sent["reply_to_message"]["text"], "hi");
    let edit = |what: &str, value: Value| json!({"chat_id": 42, "message_id": sent["message_id"], what: value});
    let two = edit(
        "rich_message",
        json!({"html": "<h1>two</h1>", "is_rtl": true}),
    );
    let edited = client.ok("editMessageText", two).await;
    assert_eq!(edited["rich_message"]["is_rtl"], true);
    assert!(edited["reply_markup"].is_null());
    let plain = client
        .ok("editMessageText", edit("text", json!("three")))
        .await;
    assert!(plain["rich_message"].is_null());
    let recorded = &client.sim.sent_messages(client.bot, 42)[0];
    assert_eq!(recorded.edits, ["two", "three"]);
}

#[tokio::test]
async fn rich_draft_may_think() {
    let client = with_ann().await;
    let rich = json!({"html": "<tg-thinking>looking it up</tg-thinking><p>so far</p>"});
    let draft = |chat: i64| json!({"chat_id": chat, "draft_id": 7, "rich_message": rich});
    client.ok("sendRichMessageDraft", draft(42)).await;
    let shown = &client.sim.drafts(client.bot)[0];
    assert_eq!(shown.text, "looking it up\nso far");
    let rich_message = shown.rich_message.as_ref().expect("rich");
    assert_eq!(rich_message["blocks"][0]["type"], "thinking");
    let group = client.sim.add_group("supergroup", "Team", &[client.bot]);
    assert_eq!(
        client.refused("sendRichMessageDraft", draft(group)).await.1,
        "Bad Request: TEXTDRAFT_PEER_INVALID"
    );
    let unnumbered = json!({"chat_id": 42, "rich_message": rich});
    assert_eq!(
        client.refused("sendRichMessageDraft", unnumbered).await.0,
        400
    );
}
