//! The sources that an assistant names for its answer, as a numbered list of links below it.
//!
//! Titles are foreign text: they become HTML by escaping alone and never pass the Markdown parser.

use std::collections::HashMap;

use url::Url;

use crate::assistant::Citation;
use crate::store::{PartContent, ReplyPart};
use crate::telegram::markdown::{self, RenderedPart};
use crate::telegram::split::{MESSAGE_LIMIT, utf16_len};
use crate::texts::Texts;

/// The most sources that are kept of one answer.
const MAX_KEPT: usize = 100;
/// The most sources that are shown.
const MAX_SHOWN: usize = 20;
/// The longest title, in characters.
const MAX_TITLE_CHARS: usize = 80;
/// The longest address of a link, in bytes; what has a longer one is not shown.
const MAX_URL_BYTES: usize = 2048;
/// The longest list, in bytes of HTML: with a whole message above it stays within what Telegram reads.
const MAX_LIST_BYTES: usize = 16 << 10;
/// The longest message, in bytes of HTML, and the most entities of which Telegram keeps the formatting.
const MAX_MESSAGE_BYTES: usize = 1 << 15;
const MAX_ENTITIES: usize = 100;

/// Between an answer and its sources.
const GAP: &str = "\n\n";

/// Sources in the order in which the assistant names them.
///
/// An assistant whose text refers to them by `[1]`, `[2]` may name one twice, and both numbers count; it may also name the whole list again with
/// every piece of its answer, which counts once. Only the first source, named twice in a row, cannot be told from a list that comes again.
#[derive(Debug, Default)]
pub(crate) struct CitationList {
    named: Vec<Citation>,
    /// How far the assistant has come in the list that it names: behind its end, unless it names it again.
    position: usize,
}

/// A source to show.
struct Source<'a> {
    /// By which the text may refer to it.
    numbers: Vec<usize>,
    url: Url,
    title: Option<&'a str>,
}

impl CitationList {
    pub(crate) fn push(&mut self, citation: Citation) {
        if self.names_again(&citation) {
            return;
        }
        // It was no repetition of the list: what seemed to be one has further numbers.
        for at in 0..self.position % self.named.len().max(1) {
            self.add(self.named[at].clone());
        }
        self.position = self.named.len();
        if !self.names_again(&citation) {
            self.add(citation);
            self.position = self.named.len();
        }
    }

    /// Whether it is the next one of the list, should that be named again.
    fn names_again(&mut self, citation: &Citation) -> bool {
        let next = self.position % self.named.len().max(1);
        let Some(named) = self.named.get_mut(next) else {
            return false;
        };
        if named.url != citation.url {
            return false;
        }
        // An address may come first, and its title with a later list.
        named.title = named.title.take().or_else(|| citation.title.clone());
        self.position = next + 1;
        true
    }

    fn add(&mut self, citation: Citation) {
        if self.named.len() < MAX_KEPT {
            self.named.push(citation);
        }
    }

    /// All that were named, each with its place.
    fn all(&self) -> impl Iterator<Item = (usize, &Citation)> {
        // What looked like the list again when the answer ended, but was not all of it, has further numbers.
        let again = self.position % self.named.len().max(1);
        let named = self.named.iter().chain(&self.named[..again]);
        (1..).zip(named)
    }
}

/// Puts the sources of an answer with this text below its last message, or into one of their own, if `most` messages leave room for it.
pub(crate) fn append_sources(
    parts: &mut Vec<ReplyPart>,
    answer: &str,
    citations: &CitationList,
    texts: &Texts,
    most: usize,
) {
    let full = parts.len() >= most;
    let (Some(last), Some(list)) = (parts.last_mut(), source_list(answer, citations, texts)) else {
        return;
    };
    let reply_to = last.reply_to;
    let PartContent::Text {
        html: last_html,
        plain: last_plain,
        ..
    } = &mut last.content
    else {
        parts.push(ReplyPart::text(Some(list.html), list.plain, reply_to));
        return;
    };
    let begin = last_html
        .clone()
        .unwrap_or_else(|| markdown::escape_text(last_plain));
    let html = format!("{begin}{GAP}{}", list.html);
    let plain = format!("{last_plain}{GAP}{}", list.plain);
    let fits = utf16_len(&plain) <= MESSAGE_LIMIT
        && html.len() <= MAX_MESSAGE_BYTES
        && html.matches("</").count() <= MAX_ENTITIES;
    if fits {
        *last_html = Some(html);
        *last_plain = plain;
    } else if !full {
        parts.push(ReplyPart::text(Some(list.html), list.plain, reply_to));
    }
}

/// The list as a part of a message; `None` without a source that can be shown.
fn source_list(answer: &str, citations: &CitationList, texts: &Texts) -> Option<RenderedPart> {
    let sources = sources(answer, citations);
    if sources.is_empty() {
        return None;
    }
    let mut html = markdown::escape_text(&texts.sources);
    let mut plain = texts.sources.clone();
    let mut shown = 0;
    for source in sources.iter().take(MAX_SHOWN) {
        let numbers: Vec<_> = source.numbers.iter().map(ToString::to_string).collect();
        let (numbers, title) = (numbers.join(", "), title(source));
        let url = source.url.as_str();
        let line = format!(
            "\n{numbers}. <a href=\"{}\">{}</a>",
            markdown::escape_text(url),
            markdown::escape_text(&title)
        );
        let plain_line = format!("\n{numbers}. {title}: {url}");
        let too_long = html.len() + line.len() > MAX_LIST_BYTES
            || utf16_len(&plain) + utf16_len(&plain_line) > MESSAGE_LIMIT - MAX_TITLE_CHARS;
        if too_long {
            break;
        }
        html += &line;
        plain += &plain_line;
        shown += 1;
    }
    if shown < sources.len() {
        let more = format!("\n{}", texts.more_sources(sources.len() - shown));
        html += &markdown::escape_text(&more);
        plain += &more;
    }
    Some(RenderedPart { html, plain })
}

/// The sources that can be shown, each once. Where the text refers to them by number, they have the numbers that the assistant gave them.
fn sources<'a>(answer: &str, citations: &'a CitationList) -> Vec<Source<'a>> {
    let mut sources: Vec<Source<'a>> = Vec::new();
    let mut known = HashMap::new();
    for (number, citation) in citations.all() {
        let Some(url) = web_address(&citation.url) else {
            continue;
        };
        let at = *known.entry(url.to_string()).or_insert(sources.len());
        if at == sources.len() {
            let (numbers, title) = (Vec::new(), None);
            sources.push(Source {
                numbers,
                url,
                title,
            });
        }
        sources[at].numbers.push(number);
        let title = citation.title.as_deref().filter(|t| !t.trim().is_empty());
        sources[at].title = sources[at].title.or(title);
    }
    if !refers_by_number(answer, citations.all().count()) {
        for (number, source) in (1..).zip(&mut sources) {
            source.numbers = vec![number];
        }
    }
    sources
}

fn web_address(url: &str) -> Option<Url> {
    let url = Url::parse(url).ok()?;
    let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
    (is_web && url.as_str().len() <= MAX_URL_BYTES).then_some(url)
}

/// Whether a text has a mark such as `[2]` of one of so many sources.
fn refers_by_number(text: &str, sources: usize) -> bool {
    text.split('[').skip(1).any(|behind| {
        let number = behind.split_once(']').map(|(number, _)| number);
        let number = number.and_then(|n| n.parse::<usize>().ok());
        number.is_some_and(|n| (1..=sources).contains(&n))
    })
}

/// The title in one line, without what would turn the text around it; the host where there is none.
fn title(source: &Source<'_>) -> String {
    let is_hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    let title = source.title.unwrap_or_default();
    let visible = title.replace(|c: char| is_hidden(c) && !c.is_whitespace(), "");
    let title = visible.split_whitespace().collect::<Vec<_>>().join(" ");
    let host = source.url.host_str().unwrap_or_default();
    match title.char_indices().nth(MAX_TITLE_CHARS - 1) {
        _ if title.is_empty() => host.chars().take(MAX_TITLE_CHARS).collect(),
        Some((end, _)) if title.chars().count() > MAX_TITLE_CHARS => format!("{}…", &title[..end]),
        _ => title,
    }
}

#[cfg(test)]
mod tests;
