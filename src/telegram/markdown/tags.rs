//! HTML within Markdown: the tags that Telegram or Markdown has something for, and which of them belong together.
//!
//! A tag that formats text counts only with its other half in the same paragraph (or cell, or emphasis): "write `<b>` for bold" shows the
//! tag. What the parser gives as HTML but is not known here is text.

use std::borrow::Cow;

use pulldown_cmark::{Event, Options, Tag as MarkdownTag, TagEnd};

use super::delimiters::Prepared;

/// The longest tag, in bytes: no tag is searched further for its end.
const MAX_TAG_BYTES: usize = 2600;

/// What formats a stretch of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inline {
    Bold,
    Italic,
    Underline,
    Strikethrough,
    Spoiler,
    Code,
    Subscript,
    Superscript,
    Link,
}

/// What stands on lines of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Block {
    Paragraph,
    Heading,
    Rule,
    Quote,
    Details,
    Summary,
    BulletList,
    OrderedList,
    Item,
    Pre,
    Table,
    /// `<thead>`, `<tbody>`, `<tfoot>`.
    Section,
    Row,
    Cell,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Inline(Inline),
    Block(Block),
    LineBreak,
}

/// A known tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag<'a> {
    pub(super) kind: Kind,
    pub(super) closing: bool,
    /// The tag as it is written.
    pub(super) source: &'a str,
    attributes: &'a str,
}

impl Tag<'_> {
    /// The value of an attribute.
    pub(super) fn attribute(&self, name: &str) -> Option<String> {
        let white_or = |also: char| move |c: char| c.is_ascii_whitespace() || c == also;
        let mut rest = self.attributes;
        loop {
            rest = rest.trim_start_matches(white_or('/'));
            let end = rest.find(white_or('=')).unwrap_or(rest.len());
            let (found, behind) = rest.split_at(end);
            let Some(value) = behind.trim_ascii_start().strip_prefix('=') else {
                if rest.is_empty() {
                    return None;
                }
                // An attribute without a value; at least a character is taken.
                rest = behind;
                continue;
            };
            let value = value.trim_ascii_start();
            let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
            let (value, behind) = match quote {
                Some(quote) => value[1..].split_once(quote).unwrap_or((&value[1..], "")),
                None => value.split_at(
                    value
                        .find(|c: char| c.is_ascii_whitespace())
                        .unwrap_or(value.len()),
                ),
            };
            if found.eq_ignore_ascii_case(name) {
                return Some(decode(value).into_owned());
            }
            rest = behind;
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// Text, unknown tags included.
    Text(&'a str),
    Tag(Tag<'a>),
    /// A comment, as it is written.
    Comment(&'a str),
}

/// The tokens of HTML: of a block, or of one tag within a paragraph, where `<pre>` is code like any other.
pub(super) fn tokens(html: &str, inline: bool) -> Tokens<'_> {
    Tokens {
        rest: html,
        found: None,
        inline,
        comments_end: true,
    }
}

pub(super) struct Tokens<'a> {
    rest: &'a str,
    /// The token behind the text that was given last.
    found: Option<Token<'a>>,
    inline: bool,
    /// Whether a comment can end in the rest.
    comments_end: bool,
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        if let Some(found) = self.found.take() {
            return Some(found);
        }
        let mut at = 0;
        while let Some(before) = self.rest[at..].find('<') {
            at += before;
            if let Some((token, length)) = self.token_at(&self.rest[at..]) {
                let text = &self.rest[..at];
                self.rest = &self.rest[at + length..];
                if text.is_empty() {
                    return Some(token);
                }
                self.found = Some(token);
                return Some(Token::Text(text));
            }
            at += 1;
        }
        let text = std::mem::take(&mut self.rest);
        (!text.is_empty()).then_some(Token::Text(text))
    }
}

impl<'a> Tokens<'a> {
    /// The known tag or comment that a text begins with, and its length.
    fn token_at(&mut self, text: &'a str) -> Option<(Token<'a>, usize)> {
        if text.starts_with("<!--") {
            // `<!-->` is a comment, too.
            let behind = Some("<!".len()).filter(|_| self.comments_end);
            let end = behind.and_then(|at| text[at..].find("-->"));
            self.comments_end = end.is_some();
            let length = end? + "<!-->".len();
            return Some((Token::Comment(&text[..length]), length));
        }
        let closing = text.starts_with("</");
        let name_start = 1 + usize::from(closing);
        let name = &text[name_start..];
        let name_length = name
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '-')
            .unwrap_or(name.len());
        let kind = kind_of(&name[..name_length], self.inline)?;
        let behind = &name[name_length..];
        let near = &behind[..behind.floor_char_boundary(MAX_TAG_BYTES)];
        let attributes_length = tag_end(near)?;
        let length = name_start + name_length + attributes_length + 1;
        let tag = Tag {
            kind,
            closing,
            source: &text[..length],
            attributes: &behind[..attributes_length],
        };
        Some((Token::Tag(tag), length))
    }
}

/// Where the `>` is that ends a tag, behind its name. A value has none, so that no text is taken for one.
fn tag_end(text: &str) -> Option<usize> {
    if !text.starts_with(|c: char| c.is_ascii_whitespace() || matches!(c, '/' | '>')) {
        return None;
    }
    let mut at = 0;
    loop {
        at += text[at..].find(['<', '>', '"', '\''])?;
        match text.as_bytes()[at] {
            b'>' => return Some(at),
            b'<' => return None,
            _ => {
                let quote = char::from(text.as_bytes()[at]);
                let value = &text[at + 1..];
                let end = value.find([quote, '<', '>'])?;
                if !value[end..].starts_with(quote) {
                    return None;
                }
                at += end + 2;
            }
        }
    }
}

fn kind_of(name: &str, inline: bool) -> Option<Kind> {
    if name.len() > "blockquote".len() {
        return None;
    }
    Some(match name.to_ascii_lowercase().as_str() {
        "b" | "strong" => Kind::Inline(Inline::Bold),
        "i" | "em" => Kind::Inline(Inline::Italic),
        "u" | "ins" => Kind::Inline(Inline::Underline),
        "s" | "del" | "strike" => Kind::Inline(Inline::Strikethrough),
        "tg-spoiler" => Kind::Inline(Inline::Spoiler),
        "code" | "kbd" | "samp" | "tt" => Kind::Inline(Inline::Code),
        "pre" if inline => Kind::Inline(Inline::Code),
        "sub" => Kind::Inline(Inline::Subscript),
        "sup" => Kind::Inline(Inline::Superscript),
        "a" => Kind::Inline(Inline::Link),
        "br" => Kind::LineBreak,
        "p" => Kind::Block(Block::Paragraph),
        "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => Kind::Block(Block::Heading),
        "hr" => Kind::Block(Block::Rule),
        "blockquote" => Kind::Block(Block::Quote),
        "details" => Kind::Block(Block::Details),
        "summary" => Kind::Block(Block::Summary),
        "ul" => Kind::Block(Block::BulletList),
        "ol" => Kind::Block(Block::OrderedList),
        "li" => Kind::Block(Block::Item),
        "pre" => Kind::Block(Block::Pre),
        "table" => Kind::Block(Block::Table),
        "thead" | "tbody" | "tfoot" => Kind::Block(Block::Section),
        "tr" => Kind::Block(Block::Row),
        "td" | "th" => Kind::Block(Block::Cell),
        _ => return None,
    })
}

/// Text of HTML with its character references decoded, as far as models use them.
pub(super) fn decode(html: &str) -> Cow<'_, str> {
    if !html.contains('&') {
        return html.into();
    }
    let mut text = String::with_capacity(html.len());
    let mut rest = html;
    while let Some(at) = rest.find('&') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let near = &rest[..rest.floor_char_boundary(10)];
        let reference = near.split_once(';').map(|(name, _)| name);
        if let Some((name, c)) = reference.and_then(|name| Some((name, character(name)?))) {
            text.push(c);
            rest = &rest[name.len() + 1..];
        } else {
            text.push('&');
        }
    }
    text.push_str(rest);
    text.into()
}

fn character(name: &str) -> Option<char> {
    let number = |digits, radix| {
        let code = u32::from_str_radix(digits, radix).ok()?;
        char::from_u32(code).filter(|c| !c.is_control() || *c == '\n')
    };
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "nbsp" => Some('\u{a0}'),
        "mdash" => Some('—'),
        "ndash" => Some('–'),
        "hellip" => Some('…'),
        "copy" => Some('©'),
        _ => {
            let digits = name.strip_prefix('#')?;
            match digits.strip_prefix(['x', 'X']) {
                Some(digits) => number(digits, 16),
                None => number(digits, 10),
            }
        }
    }
}

/// Of each formatting tag of a text, in order, whether its other half is in the same paragraph, cell, emphasis or element.
pub(super) fn pairs(prepared: &Prepared<'_>, options: Options) -> Vec<bool> {
    if !prepared.source.contains("</") {
        return Vec::new();
    }
    let mut pairs = Pairs::default();
    let mut block = String::new();
    for (event, _) in prepared.events(options) {
        match event {
            Event::Start(MarkdownTag::HtmlBlock) => pairs.start_scope(false),
            Event::End(TagEnd::HtmlBlock) => {
                tokens(&block, false).for_each(|token| pairs.token(&token, true));
                block.clear();
                pairs.end_element();
            }
            Event::Start(_) => pairs.start_scope(false),
            Event::End(_) => pairs.end_element(),
            Event::Html(html) => block.push_str(&html),
            Event::InlineHtml(html) => {
                tokens(&html, true).for_each(|token| pairs.token(&token, false));
            }
            _ => {}
        }
    }
    pairs.matched
}

#[derive(Default)]
struct Pairs {
    matched: Vec<bool>,
    scopes: Vec<Scope>,
    /// The tags of each kind that are open: the depth of their scopes, and their numbers. No scope sees those of the ones around it.
    open: [Vec<(usize, usize)>; Inline::Link as usize + 1],
}

#[derive(Default)]
struct Scope {
    opened: Vec<Inline>,
    /// Whether an `<a>` began it rather than Markdown.
    link: bool,
}

impl Pairs {
    fn start_scope(&mut self, link: bool) {
        let opened = Vec::new();
        self.scopes.push(Scope { opened, link });
    }

    /// Forgets what is open in the innermost scope, and the scope.
    fn end_scope(&mut self) -> Option<Scope> {
        let depth = self.scopes.len();
        let scope = self.scopes.pop()?;
        for kind in &scope.opened {
            self.open[*kind as usize].pop_if(|(of, _)| *of == depth);
        }
        Some(scope)
    }

    /// A Markdown element ends, and the links that are open in it.
    fn end_element(&mut self) {
        while self.end_scope().is_some_and(|scope| scope.link) {}
    }

    fn token(&mut self, token: &Token<'_>, block: bool) {
        let Token::Tag(tag) = token else {
            return;
        };
        let kind = match tag.kind {
            Kind::Inline(kind) => kind,
            Kind::Block(_) if block => {
                self.end_element();
                return self.start_scope(false);
            }
            Kind::Block(_) | Kind::LineBreak => return,
        };
        let number = self.matched.len();
        self.matched.push(false);
        let depth = self.scopes.len();
        if !tag.closing {
            self.open[kind as usize].push((depth, number));
            if let Some(scope) = self.scopes.last_mut() {
                scope.opened.push(kind);
            }
            if kind == Inline::Link {
                self.start_scope(true);
            }
            return;
        }
        if kind == Inline::Link {
            // Only the innermost scope can be the link's, and what is open in it stays alone.
            if !self.scopes.last().is_some_and(|scope| scope.link) {
                return;
            }
            self.end_scope();
        }
        let depth = self.scopes.len();
        if let Some((_, other)) = self.open[kind as usize].pop_if(|(of, _)| *of == depth) {
            self.matched[other] = true;
            self.matched[number] = true;
        }
    }
}
