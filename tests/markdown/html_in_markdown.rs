//! HTML in Markdown, as models write it and as nobody should.

use proptest::prelude::*;

use super::{assert_accepted_by_telegram, html_of, letters_of, render};

#[test]
fn formatting_tags_are_formatting() {
    for (markdown, html) in [
        ("a <b>b</b> <STRONG>c</STRONG>", "a <b>b</b> <b>c</b>"),
        ("<i>a</i> <em class=\"x\">b</em>", "<i>a</i> <i>b</i>"),
        ("<u>a</u> <ins>b</ins>", "<u>a</u> <u>b</u>"),
        (
            "<s>a</s> <del>b</del> <strike>c</strike>",
            "<s>a</s> <s>b</s> <s>c</s>",
        ),
        (
            "<code>a&lt;b</code> <kbd>Ctrl</kbd>",
            "<code>a&lt;b</code> <code>Ctrl</code>",
        ),
        ("<tg-spoiler>a</tg-spoiler>", "<tg-spoiler>a</tg-spoiler>"),
        ("**a <u>b</u>** c", "<b>a <u>b</u></b> c"),
        (
            "<b>a *b* `c` d</b>",
            "<b>a <i>b</i> </b><code>c</code><b> d</b>",
        ),
        ("<b>a <b>b</b> c</b>", "<b>a b c</b>"),
        (
            "H<sub>2</sub>O, x<sup>n+1</sup>, e<sup>-Q/2</sup>",
            "H₂O, xⁿ⁺¹, e^(-Q/2)",
        ),
        ("said<sup>[1]</sup>", "said[1]"),
        ("a<br>b<br/>c<BR />d", "a\nb\nc\nd"),
        (
            "<a href=\"https://e.org/?a=1&amp;b\">a *b*</a>",
            "<a href=\"https://e.org/?a=1&amp;b\">a <i>b</i></a>",
        ),
        (
            "<a href='javascript:x'>a</a> <a name=\"b\"></a>c",
            "a (javascript:x) c",
        ),
        ("a <!-- not **this** -->b", "a b"),
    ] {
        assert_eq!(html_of(markdown), html, "{markdown}");
    }
}

#[test]
fn elements_of_lines_are_blocks() {
    for (markdown, html) in [
        (
            "a\n\n<p>b <b>c</b>\nd</p>\n<p>e</p>\n\nf",
            "a\n\nb <b>c</b>\nd\n\ne\n\nf",
        ),
        ("<h2>Title</h2>\n<p>a</p>", "<b>Title</b>\n\na"),
        ("a\n\n<hr>\n\nb", "a\n\n———\n\nb"),
        (
            "<ul>\n  <li>a</li>\n  <li><b>b</b>\n    <ol start=\"3\"><li>c<li>d</ol>\n  </li>\n</ul>\n\ne",
            "• a\n• <b>b</b>\n   3. c\n   4. d\n\ne",
        ),
        (
            "Do: <ul><li>a</li><li>b</li></ul> then",
            "Do: \n• a\n• b\nthen",
        ),
        (
            "<blockquote>\n<p>a</p>\n</blockquote>\nb",
            "<blockquote>a</blockquote>\nb",
        ),
        (
            "<pre><code class=\"language-rust\">\nlet a = &amp;b;\n\n  **c** <b>\n</code></pre>\n\nd",
            "<pre><code class=\"language-rust\">let a = &amp;b;\n\n  **c** &lt;b&gt;</code></pre>\n\nd",
        ),
        ("a\n\n<!-- b\n\nc -->\n\nd", "a\n\nd"),
        (
            "|a|b|\n|-|-|\n|c<br>d|<ul><li>e</li><li>f</li></ul>|",
            "<pre>a   │ b\n────┼────────\nc d │ • e • f</pre>",
        ),
    ] {
        assert_eq!(html_of(markdown), html, "{markdown}");
    }
}

#[test]
fn details_are_a_quote_that_opens() {
    let markdown = "a\n\n<details>\n<summary>More <i>of</i> it</summary>\n\nHidden **text**\n\n- b\n\n</details>\n\nc";
    assert_eq!(
        html_of(markdown),
        "a\n\n<blockquote expandable><b>More <i>of</i> it</b>\n\nHidden <b>text</b>\n\n• b</blockquote>\n\nc"
    );
}

#[test]
fn table_of_html_is_a_table() {
    let html = "<table>\n<thead><tr><th>Name</th><th>Age</th></tr></thead>\n<tbody>\n<tr><td>Ann</td><td><b>41</b></td></tr>\n\
        <tr>\n<td>Bob</td>\n<td>7</td>\n</tr>\n</tbody>\n</table>\n\nx";
    let markdown = "|Name|Age|\n|-|-|\n|Ann|41|\n|Bob|7|\n\nx";
    assert_eq!(html_of(html), html_of(markdown));
    let linked =
        "<table><tr><th>Name<th>Page<tr><td>Ann<td><a href=\"https://e.org\">e</a></table>";
    assert_eq!(
        html_of(linked),
        html_of("|Name|Page|\n|-|-|\n|Ann|[e](https://e.org)|")
    );
}

#[test]
fn what_is_no_markup_is_shown_as_it_is() {
    for (markdown, shown) in [
        ("write <b> for bold", "write <b> for bold"),
        ("an end </b> alone", "an end </b> alone"),
        ("*a <b>b* c</b>", "a <b>b c</b>"),
        (
            "Vec<String> and <T: Copy> <unknown>x</unknown>",
            "Vec<String> and <T: Copy> <unknown>x</unknown>",
        ),
        ("`<b>x</b>` and <!-- x", "<b>x</b> and <!-- x"),
        ("```\n<b>x</b> <!-- y -->\n```", "<b>x</b> <!-- y -->"),
        (
            "<note>\n  <to>Ann &amp; Bob</to>\n</note>",
            "<note>\n  <to>Ann &amp; Bob</to>\n</note>",
        ),
        ("<!-- never\n\nends", "<!-- never\n\nends"),
    ] {
        let parts = render(markdown);
        parts.iter().for_each(assert_accepted_by_telegram);
        assert_eq!(parts[0].plain, shown, "{markdown}");
    }
}

#[test]
fn crossed_tags_format_what_they_enclose() {
    for (markdown, html) in [
        ("<b>a<i>b</b>c</i>", "<b>a<i>b</i></b><i>c</i>"),
        (
            "<b>a<code>b</b>c</code>",
            "<b>a</b><code>b</code><code>c</code>",
        ),
        ("<code>a<u>b</code>c</u>", "<code>ab</code><u>c</u>"),
    ] {
        assert_eq!(html_of(markdown), html, "{markdown}");
    }
    // A link is crossed by nothing.
    assert_eq!(
        html_of("<b>a<a href=\"https://e.org\">b</b>c</a>"),
        "&lt;b&gt;a<a href=\"https://e.org\">b&lt;/b&gt;c</a>"
    );
}

/// Tags in any order, between words, with some Markdown.
fn hostile_html() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => "[a-z]{1,4}",
        3 => prop::sample::select(vec![
            "\n", "\n\n", "- ", "> ", "  ", "**", "`", "| a | b |\n|---|---|\n", "[", "](https://e.org)", "&amp;", "<!--", "-->", "<!-- ", "'", "\"",
        ]).prop_map(str::to_owned),
        6 => (prop::sample::select(vec![
            "b", "i", "u", "s", "code", "a", "sub", "sup", "pre", "p", "h1", "hr", "br", "blockquote", "details", "summary", "ul", "ol", "li", "table",
            "thead", "tr", "td", "div", "tg-spoiler",
        ]), 0..3, prop::sample::select(vec!["", "", " href=\"https://e.org\"", " href=x", " class='language-c'", " a=\"", " /", "\n"]))
            .prop_map(|(name, closing, attributes)| match closing {
                0 => format!("</{name}>"),
                _ => format!("<{name}{attributes}>"),
            }),
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn hostile_html_is_accepted_and_loses_no_text(markdown in hostile_html()) {
        let parts = render(&markdown);
        parts.iter().for_each(assert_accepted_by_telegram);
        // Subscripts are other characters, and cells may be in another order.
        let mut shown: Vec<char> = parts.iter().flat_map(|p| p.plain.chars()).collect();
        if !markdown.contains("<su") {
            for letter in letters_of(&markdown).chars() {
                let at = shown.iter().position(|c| *c == letter);
                prop_assert!(at.is_some(), "{letter} is lost of {markdown:?}: {parts:?}");
                shown.swap_remove(at.expect("just found"));
            }
        }
    }
}
