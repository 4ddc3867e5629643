//! `RichBlock`s: paragraphs, headings, lists, tables and so on, from the tree of a rich message.

use serde_json::{Value, json};

use super::html::ParseError;
use super::rich_text::{is_inline, plain, rich_text};
use super::rich_tree::{Node, Tag};

/// The blocks of a rich message. Words outside of any block are a paragraph. A draft may have a block that says that the bot thinks.
pub(super) fn blocks(nodes: &[Node], is_draft: bool) -> Result<Vec<Value>, ParseError> {
    let mut blocks = Vec::new();
    let mut line: Vec<Node> = Vec::new();
    for node in nodes {
        match node {
            Node::Tag(tag) if !is_inline(&tag.name) => {
                add_line(&mut blocks, &mut line)?;
                blocks.push(block(tag, is_draft)?);
            }
            Node::Tag(tag) if is_anchor(tag) && line.is_empty() => {
                blocks.push(json!({"type": "anchor", "name": tag.attribute("name")}));
            }
            node => line.push(node.clone()),
        }
    }
    add_line(&mut blocks, &mut line)?;
    Ok(blocks)
}

fn is_anchor(tag: &Tag) -> bool {
    tag.name == "a" && tag.attribute("name").is_some() && tag.attribute("href").is_none()
}

fn add_line(blocks: &mut Vec<Value>, line: &mut Vec<Node>) -> Result<(), ParseError> {
    let text = rich_text(line)?;
    if !plain(&text).trim().is_empty() {
        blocks.push(json!({"type": "paragraph", "text": text}));
    }
    line.clear();
    Ok(())
}

fn block(tag: &Tag, is_draft: bool) -> Result<Value, ParseError> {
    let text = || rich_text(&tag.children);
    let inner = || blocks(&tag.children, is_draft);
    match tag.name.as_str() {
        "p" => Ok(json!({"type": "paragraph", "text": text()?})),
        "footer" => Ok(json!({"type": "footer", "text": text()?})),
        "hr" => Ok(json!({"type": "divider"})),
        "pre" => Ok(preformatted(tag)),
        "tg-math-block" => {
            Ok(json!({"type": "mathematical_expression", "expression": tag.words()}))
        }
        "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => {
            let size: u8 = tag.name[1..].parse().unwrap_or(1);
            Ok(json!({"type": "heading", "text": text()?, "size": size}))
        }
        "ul" | "ol" => list(tag, is_draft),
        "blockquote" => Ok(json!({"type": "blockquote", "blocks": inner()?})),
        "aside" => Ok(json!({"type": "pullquote", "text": text()?})),
        "table" => table(tag),
        "details" => details(tag, is_draft),
        "tg-thinking" if is_draft => Ok(json!({"type": "thinking", "text": text()?})),
        "tg-thinking" => Err(ParseError(
            "Tag \"tg-thinking\" can be used only in drafts".into(),
        )),
        "tg-map" => map(tag),
        "img" | "video" | "audio" | "tg-collage" | "tg-slideshow" => {
            Err(ParseError("Failed to get HTTP URL content".into()))
        }
        name => Err(ParseError(format!("Unexpected tag \"{name}\""))),
    }
}

fn preformatted(tag: &Tag) -> Value {
    let mut block = json!({"type": "pre", "text": tag.words()});
    let class = tag.children_named("code").next();
    let language = class
        .and_then(|code| code.attribute("class"))
        .and_then(|class| class.strip_prefix("language-"));
    if let Some(language) = language {
        block["language"] = json!(language);
    }
    block
}

fn list(tag: &Tag, is_draft: bool) -> Result<Value, ParseError> {
    let is_ordered = tag.name == "ol";
    let first = tag.attribute("start").and_then(|start| start.parse().ok());
    let mut items = Vec::new();
    for (number, item) in (first.unwrap_or(1_i64)..).zip(tag.children_named("li")) {
        let (boxes, content): (Vec<&Node>, Vec<&Node>) = item
            .children
            .iter()
            .partition(|node| matches!(node, Node::Tag(tag) if tag.name == "input"));
        let content: Vec<Node> = content.into_iter().cloned().collect();
        let given = item.attribute("value").and_then(|value| value.parse().ok());
        let number = given.unwrap_or(number);
        let label = if is_ordered {
            format!("{number}.")
        } else {
            "•".to_owned()
        };
        let mut read = json!({"label": label, "blocks": blocks(&content, is_draft)?});
        if is_ordered {
            read["value"] = json!(number);
            read["type"] = json!(tag.attribute("type").unwrap_or("1"));
        }
        if let Some(Node::Tag(checkbox)) = boxes.first() {
            read["has_checkbox"] = json!(true);
            if checkbox.attribute("checked").is_some() {
                read["is_checked"] = json!(true);
            }
        }
        items.push(read);
    }
    if items.is_empty() {
        return Err(ParseError("A list must have items".into()));
    }
    Ok(json!({"type": "list", "items": items}))
}

fn table(tag: &Tag) -> Result<Value, ParseError> {
    let mut rows = Vec::new();
    let groups = ["thead", "tbody", "tfoot"];
    let in_groups = groups
        .into_iter()
        .flat_map(|group| tag.children_named(group))
        .flat_map(|group| group.children_named("tr"));
    for row in in_groups.chain(tag.children_named("tr")) {
        let mut cells = Vec::new();
        for child in &row.children {
            if let Node::Tag(cell) = child
                && matches!(cell.name.as_str(), "td" | "th")
            {
                cells.push(table_cell(cell)?);
            }
        }
        rows.push(cells);
    }
    if rows.iter().all(Vec::is_empty) {
        return Err(ParseError("A table must have cells".into()));
    }
    let mut block = json!({"type": "table", "cells": rows});
    for (attribute, field) in [
        ("border", "is_bordered"),
        ("bordered", "is_bordered"),
        ("striped", "is_striped"),
    ] {
        if tag.attribute(attribute).is_some() {
            block[field] = json!(true);
        }
    }
    if let Some(caption) = tag.children_named("caption").next() {
        block["caption"] = rich_text(&caption.children)?;
    }
    Ok(block)
}

fn table_cell(cell: &Tag) -> Result<Value, ParseError> {
    let one_of = |name: &str, values: [&'static str; 3], default: &'static str| {
        let given = cell.attribute(name).unwrap_or(default);
        values
            .into_iter()
            .find(|value| *value == given)
            .ok_or_else(|| ParseError(format!("Invalid value of the attribute \"{name}\"")))
    };
    let mut read = json!({
        "text": rich_text(&cell.children)?,
        "align": one_of("align", ["left", "center", "right"], "left")?,
        "valign": one_of("valign", ["top", "middle", "bottom"], "top")?,
    });
    if cell.name == "th" {
        read["is_header"] = json!(true);
    }
    for span in ["colspan", "rowspan"] {
        let cells = cell.attribute(span).and_then(|value| value.parse().ok());
        if let Some(cells) = cells.filter(|cells: &u32| *cells > 1) {
            read[span] = json!(cells);
        }
    }
    Ok(read)
}

fn details(tag: &Tag, is_draft: bool) -> Result<Value, ParseError> {
    let summary = tag.children_named("summary").next();
    let summary =
        summary.ok_or_else(|| ParseError("Tag \"details\" must have a summary".into()))?;
    let content: Vec<Node> = tag
        .children
        .iter()
        .filter(|node| !matches!(node, Node::Tag(tag) if tag.name == "summary"))
        .cloned()
        .collect();
    let mut block = json!({
        "type": "details",
        "summary": rich_text(&summary.children)?,
        "blocks": blocks(&content, is_draft)?,
    });
    if tag.attribute("open").is_some() {
        block["is_open"] = json!(true);
    }
    Ok(block)
}

fn map(tag: &Tag) -> Result<Value, ParseError> {
    let number = |name: &str| {
        let value = tag
            .attribute(name)
            .and_then(|value| value.parse::<f64>().ok());
        value
            .ok_or_else(|| ParseError(format!("Tag \"tg-map\" must have the attribute \"{name}\"")))
    };
    let zoom = tag.attribute("zoom").unwrap_or("15").parse::<u8>();
    let zoom = zoom
        .ok()
        .filter(|zoom| (13..=20).contains(zoom))
        .ok_or_else(|| ParseError("Invalid map zoom level; it must be 13-20".into()))?;
    Ok(json!({
        "type": "map",
        "location": {"latitude": number("lat")?, "longitude": number("long")?},
        "zoom": zoom,
        "width": 600,
        "height": 300,
    }))
}

/// The words of blocks, one line for each; the cells of a table are separated by tabulators.
pub(super) fn plain_lines(blocks: &[Value]) -> String {
    let mut lines = Vec::new();
    for block in blocks {
        let list = |field: &str| block[field].as_array().cloned().unwrap_or_default();
        if !block["summary"].is_null() {
            lines.push(plain(&block["summary"]));
        }
        let own = plain(block);
        if !own.is_empty() {
            lines.push(own);
        }
        for row in list("cells") {
            let cells = row.as_array().into_iter().flatten().map(plain);
            lines.push(cells.collect::<Vec<_>>().join("\t"));
        }
        for item in list("items") {
            let label = item["label"].as_str().unwrap_or_default();
            let inner = item["blocks"].as_array().map(|inner| plain_lines(inner));
            lines.push(format!("{label} {}", inner.unwrap_or_default()));
        }
        if !list("blocks").is_empty() {
            lines.push(plain_lines(&list("blocks")));
        }
    }
    lines.join("\n")
}
