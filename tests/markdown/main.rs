//! Markdown as language models write it, rendered for Telegram: 60 samples with reviewed snapshots, and properties of arbitrary
//! Markdown.

mod bombs;
mod html_in_markdown;
mod rich;

use std::fmt::Write as _;
use std::path::Path;

use bot_api_simulator::{detect, html, utf16_len};
use proptest::prelude::*;
use telegram_connector_operator::telegram::markdown::{
    PartLimit, RenderedPart, plain_within, render, render_end, render_within,
};

/// Asserts what Telegram accepts: a strict parser reads the HTML, its text is the plain text, and neither is too long.
fn assert_accepted_by_telegram(part: &RenderedPart) {
    let (text, entities) = html::parse(&part.html).unwrap_or_else(|e| panic!("{e}\n{}", part.html));
    assert_eq!(text, part.plain, "the HTML shows another text");
    assert!(utf16_len(&text) <= 4096, "{} units", utf16_len(&text));
    assert!(!text.trim().is_empty(), "a blank message");
    assert!(part.html.len() <= 1 << 15, "{} bytes", part.html.len());
    assert!(entities.len() <= 100, "{} entities", entities.len());
    for code in entities
        .iter()
        .filter(|e| matches!(e.kind.as_str(), "code" | "pre"))
    {
        let within = entities.iter().filter(|e| {
            *e != code
                && !e.kind.ends_with("blockquote")
                && e.offset < code.offset + code.length
                && code.offset < e.offset + e.length
        });
        assert_eq!(
            within.count(),
            0,
            "code shares its text with another entity: {}",
            part.html
        );
    }
}

#[test]
fn every_sample_reads_as_its_snapshot_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/markdown/samples");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the samples")
        .map(|entry| entry.expect("readable").path())
        .collect();
    files.sort();
    assert_eq!(files.len(), 60, "samples");
    for file in files {
        let name = file
            .file_stem()
            .and_then(|n| n.to_str())
            .expect("a name")
            .to_owned();
        let markdown = std::fs::read_to_string(&file).expect("readable");
        let parts = render(&markdown);
        parts.iter().for_each(assert_accepted_by_telegram);
        let mut shown = String::new();
        for part in &parts {
            let _ = writeln!(shown, "{}", part.html);
        }
        insta::with_settings!({prepend_module_to_snapshot => false, description => markdown, omit_expression => true}, {
            insta::assert_snapshot!(name, shown);
        });
    }
}

/// The letters and digits that an independent parser finds in the text, in order.
fn letters_of(markdown: &str) -> String {
    use pulldown_cmark::{Event, Options, Parser, TagEnd};
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_MATH
        | Options::ENABLE_GFM;
    let mut letters = String::new();
    let mut block = String::new();
    let mut add = |text: &str| letters.extend(text.chars().filter(|c| c.is_alphanumeric()));
    for event in Parser::new_ext(markdown, options) {
        match event {
            Event::Text(t) | Event::Code(t) | Event::InlineMath(t) | Event::DisplayMath(t) => {
                add(&t);
            }
            Event::InlineHtml(t) => add(&without_tags(&t)),
            Event::Html(t) => block.push_str(&t),
            Event::End(TagEnd::HtmlBlock) => add(&without_tags(&std::mem::take(&mut block))),
            _ => {}
        }
    }
    letters
}

/// HTML without what may be tags, comments or character references: they are shown as what they mean, or as they are.
fn without_tags(html: &str) -> String {
    let mut text = String::new();
    let mut rest = html;
    while let Some(at) = rest.find(['<', '&']) {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let end = if html.as_bytes()[html.len() - rest.len() - 1] == b'<' {
            let comment = rest.find("-->").filter(|_| rest.starts_with("!--"));
            let tag = rest
                .find(['<', '>'])
                .filter(|end| rest[*end..].starts_with('>'));
            comment.or(tag).map(|end| end + 1)
        } else {
            rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '#')
        };
        rest = &rest[end.unwrap_or(0)..];
    }
    text + rest
}

fn is_subsequence(of: &str, in_text: &str) -> bool {
    let mut rest = in_text.chars();
    of.chars().all(|c| rest.any(|r| r == c))
}

/// Markdown fragments that, in any order, produce every construct and incomplete ones.
fn markdown() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-zé日 ]{1,12}",
        1 => "\\PC{1,6}",
        4 => prop::sample::select(vec![
            "\n", "\n\n", "# ", "## ", "- ", "  - ", "1. ", "   ", "    ", "> ", ">> ", "```\n", "```rust\n", "~~~\n", "`", "``", "**", "*", "_", "~~",
            "[", "](https://example.com/a_b)", "](x.md)", "![", "<https://example.org>", "<b>", "</b>", "<i>", "</i>", "<u>", "</u>", "<code>", "</code>", "<br>", "<a href='https://e.org'>", "</a>",
            "<pre>", "</pre>", "<p>", "<ul>", "<li>", "</ul>", "<details>", "<summary>", "</details>", "<blockquote>", "<h2>", "</h2>", "<x>",
            "&amp;", "&", "<", "\"",
            "---\n", "===\n", "- [ ] ", "- [x] ", "😀", "👨‍👩‍👧", "\\", "[^1]", "[^1]: ", "：**", "。~~", "~", "字", "(字)", "a.md ", "b.rs", "> [!NOTE]\n", "\t", "  \n", "\u{301}", "<!-- x -->", "a_b", "1) ",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..80).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_markdown_renders_within_the_limits_and_loses_no_text(markdown in markdown()) {
        let parts = render(&markdown);
        parts.iter().for_each(assert_accepted_by_telegram);
        let shown: String = parts.iter().map(|p| p.plain.as_str()).collect();
        let expected = letters_of(&markdown);
        prop_assert!(is_subsequence(&expected, &shown), "expected {expected:?}\nshown {shown:?}");
    }

    #[test]
    fn any_text_renders_within_the_limits(text in any::<String>()) {
        render(&text).iter().for_each(assert_accepted_by_telegram);
    }

    #[test]
    fn long_answers_are_cut_within_the_limits_and_lose_no_text(
        pieces in prop::collection::vec(markdown(), 1..6), times in 1usize..40,
    ) {
        let markdown = pieces.join("\n\n").repeat(times);
        let parts = render(&markdown);
        parts.iter().for_each(assert_accepted_by_telegram);
        let shown: String = parts.iter().map(|p| p.plain.as_str()).collect();
        prop_assert!(is_subsequence(&letters_of(&markdown), &shown));
    }

    #[test]
    fn combined_bombs_are_bounded(
        stretches in prop::collection::vec((prop::collection::vec(prop::sample::select(&bombs::PIECES[..]), 1..4), 1usize..1_500), 1..4),
    ) {
        let stretch = |(pieces, times): &(Vec<&str>, usize)| pieces.concat().repeat(*times) + "x\n";
        let markdown: String = stretches.iter().map(stretch).collect();
        assert_bounded("combined", &markdown);
    }

    #[test]
    fn tables_and_formulas_lose_no_letter(
        cells in prop::collection::vec("([a-z*`é日\\[\\]$^]|\\(|\\)|\\\\|<br>|😀){0,9}", 1..24), columns in 1usize..5,
    ) {
        let rows: Vec<String> = cells.chunks(columns).map(|row| format!("| {} |", row.join(" | "))).collect();
        let markdown = format!("{}\n|{}\n{}\n\n$${}$$", rows[0], "---|".repeat(columns), rows[1..].join("\n"), cells[0]);
        let parts = render(&markdown);
        parts.iter().for_each(assert_accepted_by_telegram);
        let mut shown: Vec<char> = parts.iter().flat_map(|p| p.plain.chars()).collect();
        for letter in letters_of(&markdown).chars() {
            let at = shown.iter().position(|c| *c == letter);
            prop_assert!(at.is_some(), "{letter} is lost of {markdown:?}");
            shown.swap_remove(at.expect("just found"));
        }
    }
}

#[test]
fn a_code_block_longer_than_a_message_goes_on_as_code() {
    let line = "let answer = compute(&input)?; // <generic>\n";
    let markdown = format!("Look:\n\n```rust\n{}```\n\nThat is all.", line.repeat(300));
    let parts = render(&markdown);
    assert!(parts.len() >= 3, "{} parts", parts.len());
    parts.iter().for_each(assert_accepted_by_telegram);
    for part in &parts[1..parts.len() - 1] {
        assert!(
            part.html
                .starts_with("<pre><code class=\"language-rust\">let "),
            "{}",
            &part.html[..60]
        );
        assert!(part.html.ends_with("</code></pre>"));
    }
    let code: String = parts.iter().map(|p| p.plain.as_str()).collect();
    assert_eq!(
        code.matches("compute(&input)?; // <generic>").count(),
        300,
        "a line was cut"
    );
    assert!(
        parts[parts.len() - 1]
            .html
            .ends_with("</code></pre>\n\nThat is all.")
    );
}

#[test]
fn a_code_block_that_fits_is_not_cut() {
    let markdown = format!(
        "{}\n\n```\n{}```",
        "word ".repeat(700),
        "code\n".repeat(300)
    );
    let parts = render(&markdown);
    assert_eq!(parts.len(), 2);
    assert!(parts[1].html.starts_with("<pre>code"));
}

#[test]
fn more_entities_than_telegram_keeps_go_into_more_messages() {
    let parts = render(&"**b** x ".repeat(300));
    parts.iter().for_each(assert_accepted_by_telegram);
    assert_eq!(
        parts
            .iter()
            .map(|p| p.html.matches("<b>").count())
            .sum::<usize>(),
        300
    );
}

/// The most bytes of messages per byte of Markdown: a line of one letter in a deep list is indented by 18 spaces.
const MAX_GROWTH: usize = 40;
/// The most bytes that are allocated, in all and at once, per byte of Markdown: the parser keeps 50 for each mark.
const MAX_ALLOCATED: u64 = 400;
const MAX_MEMORY: u64 = 200;

/// Asserts that messages and memory are in proportion to the text: a step that copies what it has so far, or that repeats a part of the text, is
/// not. What only looks at the text again is measured by `benches/markdown.rs`.
fn assert_bounded(name: &str, markdown: &str) {
    let mut parts = Vec::new();
    let allocated = allocation_counter::measure(|| parts = render(markdown));
    let size: usize = parts.iter().map(|p| p.html.len() + p.plain.len()).sum();
    let length = markdown.len();
    assert!(
        size <= MAX_GROWTH * length + 1_000,
        "{name}: {size} bytes of {length}"
    );
    let (all, most) = (allocated.bytes_total, allocated.bytes_max);
    let bytes = u64::try_from(length).expect("a length") + 1_000;
    assert!(
        all <= MAX_ALLOCATED * bytes && most <= MAX_MEMORY * bytes,
        "{name}: {all} bytes allocated, {most} at once, of {length}"
    );
    let last = parts.last().cloned();
    assert_eq!(render_end(markdown), last, "{name}: another end");
}

#[test]
fn no_bomb_makes_many_messages() {
    for (name, markdown) in bombs::bombs(20_000) {
        assert_bounded(&name, &markdown);
    }
    assert_bounded("a megabyte", &"é ".repeat(500_000));
}

#[test]
fn every_bomb_is_accepted_by_telegram_and_loses_no_text() {
    for (name, markdown) in bombs::bombs(3_000) {
        let parts = render(&markdown);
        let shown: String = parts.iter().map(|p| p.plain.as_str()).collect();
        let expected = letters_of(&markdown);
        // Columns and rows of a table are in another order, and superscripts are other characters.
        if !markdown.contains("|-") && !markdown.contains("<su") && !markdown.contains("<t") {
            assert!(is_subsequence(&expected, &shown), "{name}: {shown}");
        }
        for part in parts {
            assert!(
                html::parse(&part.html).is_ok_and(|(text, _)| text == part.plain),
                "{name}"
            );
            assert!(
                utf16_len(&part.plain) <= 4096 && !part.plain.trim().is_empty(),
                "{name}"
            );
        }
    }
}

#[test]
fn what_is_slow_to_parse_is_sent_as_it_is() {
    let bomb = format!(
        "**b** {}\n\n{}x\n{}",
        "word ".repeat(10),
        ">".repeat(3_000),
        "a\n".repeat(3_000)
    );
    let parts = render(&bomb);
    assert!(
        parts[0].plain.starts_with("**b** word"),
        "{}",
        parts[0].plain
    );
    // A text of the same length and deep nesting that is not slow.
    let deep = format!("**b**\n\n{}x", ">".repeat(9_000));
    assert!(render(&deep)[0].html.starts_with("<b>b</b>"));
}

#[test]
fn line_ends_of_other_systems_are_line_ends() {
    let markdown = "# a\n\n- b\n- c\n\n```\nd\n\ne\n```";
    assert_eq!(render(&markdown.replace('\n', "\r\n")), render(markdown));
    assert_eq!(render(&markdown.replace('\n', "\r")), render(markdown));
}

#[test]
fn url_of_a_long_link_is_not_repeated() {
    let markdown = format!(
        "[{}](https://e.org/{})",
        "word ".repeat(4_000),
        "y".repeat(20_000)
    );
    let shown: String = render(&markdown).into_iter().map(|p| p.html).collect();
    assert!(shown.len() < markdown.len() + 100, "{} bytes", shown.len());
    assert!(shown.ends_with(&format!("{})", "y".repeat(100))));
}

#[test]
fn head_of_a_long_table_is_not_repeated_without_end() {
    let head = "a".repeat(2_000);
    let markdown = format!("|{head}|b|\n|-|-|\n{}", "|c|d|\n".repeat(1_000));
    let shown: String = render(&markdown)
        .into_iter()
        .map(|p| p.plain + "\n")
        .collect();
    assert_eq!(shown.matches('c').count(), 1_000);
    assert!(shown.len() < 20 * markdown.len(), "{} bytes", shown.len());
}

#[test]
fn long_text_is_cut_to_the_limit_with_a_mark_at_its_end() {
    let limit = PartLimit {
        parts: 3,
        mark: "(<cut> & gone)",
    };
    let markdown = "A **bold** sentence of some length. ".repeat(1_000);
    for (parts, bold) in [
        (render_within(&markdown, limit), true),
        (plain_within(&markdown, limit), false),
    ] {
        assert_eq!(parts.len(), 3);
        parts.iter().for_each(assert_accepted_by_telegram);
        assert_eq!(parts[0].html.contains("<b>bold</b>"), bold);
        assert!(
            parts[2].plain.ends_with("length.\n\n(<cut> & gone)"),
            "{}",
            parts[2].plain
        );
        assert!(
            parts[2].html.ends_with("\n\n(&lt;cut&gt; &amp; gone)"),
            "{}",
            parts[2].html
        );
    }
    let fits = "A **bold** sentence. ".repeat(200);
    assert_eq!(render_within(&fits, limit), render(&fits));
}

/// The HTML of a text that is one message.
fn html_of(markdown: &str) -> String {
    let parts = render(markdown);
    parts.iter().for_each(assert_accepted_by_telegram);
    assert_eq!(parts.len(), 1, "{parts:?}");
    parts[0].html.clone()
}

#[test]
fn emphasis_beside_cjk_characters_is_shown() {
    for (markdown, html) in [
        ("边界：**社区显示：**Fable", "边界：<b>社区显示：</b>Fable"),
        ("**注意：**必ず", "<b>注意：</b>必ず"),
        ("**안녕(hello)**하세요", "<b>안녕(hello)</b>하세요"),
        ("~~已删除。~~内容", "<s>已删除。</s>内容"),
        (
            "- 约~3小时，~5小时\n- `**注意：**必`",
            "• 约~3小时，~5小时\n• <code>**注意：**必</code>",
        ),
        (
            "| **注意：** | x |\n|---|---|\n| a | **b：**c |",
            "<pre>注意： │ x\n───────┼─────\na      │ b：c</pre>",
        ),
    ] {
        assert_eq!(html_of(markdown), html);
    }
}

#[test]
fn file_names_are_code_and_no_links() {
    for (markdown, html) in [
        (
            "See README.md, **main.rs** and install.sh.",
            "See <code>README.md</code>, <code>main.rs</code> and <code>install.sh</code>.",
        ),
        (
            "- deploy.py: `a.sh`\n- index.ts",
            "• <code>deploy.py</code>: <code>a.sh</code>\n• <code>index.ts</code>",
        ),
        (
            "[README.md](https://e.org/README.md)",
            "<a href=\"https://e.org/README.md\">README.md</a>",
        ),
        (
            "[the guide](guide.md) and [a.md](b/a.md)",
            "the guide (<code>guide.md</code>) and <code>a.md</code> (b/a.md)",
        ),
        ("<p>main.rs</p>", "<code>main.rs</code>"),
        ("**a main.rs b**", "<b>a </b><code>main.rs</code><b> b</b>"),
        (
            "https://e.org/?a=1&amp;b=main.rs and docs.rs",
            "https://e.org/?a=1&amp;b=main.rs and docs.rs",
        ),
    ] {
        assert_eq!(html_of(markdown), html, "{markdown}");
    }
    let (text, entities) = html::parse(&html_of(
        "a README.md, main.rs, install.sh, deploy.py, index.ts (b.md)",
    ))
    .expect("accepted");
    assert_eq!(detect(&text, &entities), []);
    assert_eq!(detect(&text, &[]).len(), 5, "as plain text they are links");
}

#[test]
fn single_tildes_never_strike_out() {
    assert_eq!(html_of("~5 to ~10, ~a~, ~~b~~"), "~5 to ~10, ~a~, <s>b</s>");
}

#[test]
fn numbers_are_shown_as_they_were_written() {
    for (markdown, shown) in [
        (
            "1986. A great year\n2. second",
            "1986. A great year\n2. second",
        ),
        ("1. a\n2. b\n2. c\n4. d", "1. a\n2. b\n2. c\n4. d"),
        ("1. a\n1. b\n1. c", "1. a\n2. b\n3. c"),
        ("3. a\n   - b\n\n7. c", "3. a\n   ◦ b\n\n7. c"),
    ] {
        assert_eq!(html_of(markdown), shown);
    }
}

#[test]
fn nothing_to_show_is_no_message() {
    for markdown in [
        "",
        " \n\n ",
        "```\n```",
        "\u{200b}",
        "<!-- x -->",
        "<p></p>",
    ] {
        assert_eq!(render(markdown), []);
    }
}
