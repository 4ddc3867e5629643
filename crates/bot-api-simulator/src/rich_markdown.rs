//! The Markdown of a rich message as the same tree as its HTML.

use pulldown_cmark::{
    Alignment, CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag as Start,
};

use super::rich_tree::{Node, Tag};

/// Parses GitHub's Markdown with formulas, as the Bot API describes it. Any text is Markdown.
pub(super) fn parse(markdown: &str) -> Vec<Node> {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_MATH;
    let mut open = vec![Tag::default()];
    let mut columns: Vec<Alignment> = Vec::new();
    let mut in_header = false;
    for event in Parser::new_ext(markdown, options) {
        let node = match event {
            Event::Start(start) => {
                if let Start::Table(alignments) = &start {
                    columns.clone_from(alignments);
                }
                in_header |= matches!(start, Start::TableHead);
                let cell = open.last().map_or(0, |row| row.children.len());
                let align = columns.get(cell).copied().unwrap_or(Alignment::None);
                open.push(tag(&start, in_header, align));
                continue;
            }
            Event::End(end) => {
                in_header &= end != pulldown_cmark::TagEnd::TableHead;
                match open.pop() {
                    Some(tag) => Node::Tag(tag),
                    None => continue,
                }
            }
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => {
                Node::Text(text.into_string())
            }
            Event::Code(text) => with_text("code", &text),
            Event::InlineMath(text) => with_text("tg-math", &text),
            Event::DisplayMath(text) => with_text("tg-math", &text),
            Event::SoftBreak => Node::Text(" ".into()),
            Event::HardBreak => Node::Tag(Tag::new("br")),
            Event::Rule => Node::Tag(Tag::new("hr")),
            Event::TaskListMarker(checked) => {
                let checkbox = Tag::new("input");
                Node::Tag(if checked {
                    checkbox.with("checked", "")
                } else {
                    checkbox
                })
            }
            Event::FootnoteReference(_) => continue,
        };
        if let Some(innermost) = open.last_mut() {
            innermost.children.push(node);
        }
    }
    let root = open.into_iter().next().unwrap_or_default();
    root.children
        .into_iter()
        .map(with_formula_as_block)
        .collect()
}

/// A paragraph with nothing but one formula between `$$` is a block of its own.
fn with_formula_as_block(node: Node) -> Node {
    match node {
        Node::Tag(Tag { name, children, .. })
            if name == "p"
                && matches!(children.as_slice(), [Node::Tag(only)] if only.name == "tg-math") =>
        {
            Node::Tag(Tag {
                children,
                ..Tag::new("tg-math-block")
            })
        }
        node => node,
    }
}

fn with_text(name: &str, text: &str) -> Node {
    Node::Tag(Tag {
        children: vec![Node::Text(text.to_owned())],
        ..Tag::new(name)
    })
}

fn tag(start: &Start<'_>, in_header: bool, align: Alignment) -> Tag {
    match start {
        Start::Heading { level, .. } => Tag::new(match level {
            HeadingLevel::H1 => "h1",
            HeadingLevel::H2 => "h2",
            HeadingLevel::H3 => "h3",
            HeadingLevel::H4 => "h4",
            HeadingLevel::H5 => "h5",
            HeadingLevel::H6 => "h6",
        }),
        Start::BlockQuote(_) => Tag::new("blockquote"),
        Start::CodeBlock(CodeBlockKind::Fenced(language)) if !language.is_empty() => {
            let code = Tag::new("code").with("class", &format!("language-{language}"));
            Tag {
                children: vec![Node::Tag(code)],
                ..Tag::new("pre")
            }
        }
        Start::CodeBlock(_) => Tag::new("pre"),
        Start::List(None) => Tag::new("ul"),
        Start::List(Some(first)) => Tag::new("ol").with("start", &first.to_string()),
        Start::Item => Tag::new("li"),
        Start::Table(_) => Tag::new("table"),
        Start::TableHead | Start::TableRow => Tag::new("tr"),
        Start::TableCell => {
            let cell = Tag::new(if in_header { "th" } else { "td" });
            match align {
                Alignment::None => cell,
                Alignment::Left => cell.with("align", "left"),
                Alignment::Center => cell.with("align", "center"),
                Alignment::Right => cell.with("align", "right"),
            }
        }
        Start::Emphasis => Tag::new("i"),
        Start::Strong => Tag::new("b"),
        Start::Strikethrough => Tag::new("s"),
        Start::Link { dest_url, .. } => Tag::new("a").with("href", dest_url),
        _ => Tag::new("p"),
    }
}
