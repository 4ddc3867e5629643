//! A rich message: its blocks as HTML. Of what is not known here the words are shown.

use maud::{Markup, html};
use serde_json::Value;

use super::entities::is_web_url;

/// A `RichMessage`.
pub(super) fn rich_message(value: &Value) -> Markup {
    html! { div .body.rich { (blocks(&value["blocks"])) } }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn blocks(value: &Value) -> Markup {
    html! { @for value in list(value) { (block(value)) } }
}

fn block(block: &Value) -> Markup {
    let words = text(&block["text"]);
    match block["type"].as_str().unwrap_or_default() {
        "heading" => html! { p .heading data-size=(block["size"]) { (words) } },
        "pre" => html! {
            pre {
                @if let Some(language) = block["language"].as_str() { span .language { (language) } }
                code { (words) }
            }
        },
        "divider" => html! { hr; },
        "mathematical_expression" => html! { div .formula { (formula(block)) } },
        "blockquote" => html! { blockquote { (blocks(&block["blocks"])) } },
        "list" => html! { ul { @for item in list(&block["items"]) { (list_item(item)) } } },
        "table" => table(block),
        "details" => html! {
            details open[block["is_open"] == true] {
                summary { (text(&block["summary"])) }
                (blocks(&block["blocks"]))
            }
        },
        _ => html! { p { (words) } },
    }
}

/// An item with its label, or with a box if it is a task.
fn list_item(item: &Value) -> Markup {
    let label = match (item["has_checkbox"] == true, item["is_checked"] == true) {
        (false, _) => item["label"].as_str().unwrap_or("•"),
        (true, true) => "☑",
        (true, false) => "☐",
    };
    html! { li { span .label { (label) " " } div { (blocks(&item["blocks"])) } } }
}

fn table(block: &Value) -> Markup {
    html! {
        // It may be wider than the bubble.
        div .scroll role="region" aria-label="Table" tabindex="0" {
            table {
                @for row in list(&block["cells"]) {
                    tr { @for cell in list(row) { (table_cell(cell)) } }
                }
            }
        }
    }
}

fn table_cell(cell: &Value) -> Markup {
    let words = text(&cell["text"]);
    let align = cell["align"].as_str().unwrap_or("left");
    html! {
        @if cell["is_header"] == true { th data-align=(align) { (words) } } @else { td data-align=(align) { (words) } }
    }
}

/// The LaTeX of a formula, which is its `expression`.
fn formula(value: &Value) -> Markup {
    html! { code .formula { (value["expression"].as_str().unwrap_or_default()) } }
}

/// A `RichText`.
fn text(value: &Value) -> Markup {
    match value {
        Value::String(words) => html! { (words) },
        Value::Array(parts) => html! { @for part in parts { (text(part)) } },
        Value::Object(_) => styled(value),
        _ => html! {},
    }
}

fn styled(value: &Value) -> Markup {
    let words = text(&value["text"]);
    match value["type"].as_str().unwrap_or_default() {
        "bold" => html! { b { (words) } },
        "italic" => html! { i { (words) } },
        "underline" => html! { u { (words) } },
        "strikethrough" => html! { s { (words) } },
        "code" => html! { code { (words) } },
        "subscript" => html! { sub { (words) } },
        "superscript" => html! { sup { (words) } },
        "spoiler" => html! { span .spoiler tabindex="0" { (words) } },
        "mathematical_expression" => formula(value),
        "url" => match value["url"].as_str().filter(|url| is_web_url(url)) {
            Some(url) => {
                html! { a rel="noopener noreferrer" target="_blank" href=(url) { (words) } }
            }
            None => words,
        },
        _ => words,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn table_and_formula_are_shown() {
        let cell =
            |text: &str, header: bool| json!({"text": text, "align": "right", "is_header": header});
        let message = json!({"blocks": [
            {"type": "table", "cells": [[cell("sum", true)], [cell("12", false)]]},
            {"type": "mathematical_expression", "expression": "E = mc^2"},
            {"type": "paragraph", "text": ["so ", {"type": "mathematical_expression", "expression": "x"}]},
        ]});
        let html = rich_message(&message).into_string();
        for part in [
            "<th data-align=\"right\">sum</th>",
            "<td data-align=\"right\">12</td>",
            "<div class=\"formula\"><code class=\"formula\">E = mc^2</code></div>",
            "<p>so <code class=\"formula\">x</code></p>",
        ] {
            assert!(html.contains(part), "{part} in {html}");
        }
    }

    #[test]
    fn foreign_words_and_links_are_harmless() {
        let attack = "<script>alert(1)</script>";
        let message = json!({"blocks": [
            {"type": "mathematical_expression", "expression": attack},
            {"type": "table", "cells": [[{"text": {"type": "bold", "text": attack}, "align": attack}]]},
            {"type": "pre", "text": attack, "language": attack},
            {"type": "list", "items": [{"label": attack, "blocks": [{"type": "unknown", "text": attack}]}]},
            {"type": "paragraph", "text": {"type": "url", "text": "x", "url": "javascript:alert(1)"}},
        ]});
        let html = rich_message(&message).into_string();
        assert!(
            !html.contains("<script") && !html.contains("javascript:"),
            "{html}"
        );
    }
}
