//! What is marked in a text, by UTF-16 offsets, and the text as Markdown: so that links, code and preformatted text reach the assistant.

use std::ops::Range;

use crate::telegram::json::JsonObject;

/// The longest name of a programming language that is kept, in characters.
const MAX_LANGUAGE_CHARS: usize = 32;

/// What an entity marks. Only those that decide something, or that carry what the text does not show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntityKind {
    /// `@username`.
    Mention,
    /// A user without a username, by id.
    TextMention(i64),
    /// `/command` or `/command@bot`.
    BotCommand,
    /// Words behind which a URL is hidden.
    TextLink(String),
    /// Code within a line.
    Code,
    /// Preformatted text, with its programming language.
    Pre(Option<String>),
}

/// A marked stretch of the text. Offset and length are UTF-16 code units, as Telegram counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entity {
    /// What it marks.
    pub kind: EntityKind,
    /// Where it begins.
    pub offset: usize,
    /// How long it is.
    pub length: usize,
}

/// The entities in a field of a message; others, and what is broken, are skipped.
pub(crate) fn read(message: &JsonObject<'_>, key: &str) -> Vec<Entity> {
    let read = |entity: JsonObject<'_>| {
        let kind = match entity.text("type")?.as_str() {
            "mention" => EntityKind::Mention,
            "text_mention" => EntityKind::TextMention(entity.object("user")?.integer("id")?),
            "bot_command" => EntityKind::BotCommand,
            "text_link" => EntityKind::TextLink(entity.text("url")?),
            "code" => EntityKind::Code,
            "pre" => EntityKind::Pre(entity.text("language")),
            _ => return None,
        };
        Some(Entity {
            kind,
            offset: usize::try_from(entity.integer("offset")?).ok()?,
            length: usize::try_from(entity.integer("length")?).ok()?,
        })
    };
    message.objects(key).into_iter().filter_map(read).collect()
}

/// Where each entity lies in the text, in bytes; `None` where it lies outside or cuts a character. One pass over the text, however many
/// entities there are.
pub(crate) fn byte_ranges(text: &str, entities: &[Entity]) -> Vec<Option<Range<usize>>> {
    let end = |entity: &Entity| entity.offset.checked_add(entity.length);
    let mut wanted: Vec<usize> = entities
        .iter()
        .flat_map(|entity| [Some(entity.offset), end(entity)])
        .flatten()
        .collect();
    wanted.sort_unstable();
    wanted.dedup();
    // Pairs of an offset in UTF-16 units and in bytes, in order.
    let mut found: Vec<(usize, usize)> = Vec::with_capacity(wanted.len());
    let mut wanted = wanted.into_iter().peekable();
    let mut units = 0;
    for (at, c) in text.char_indices().chain([(text.len(), '\0')]) {
        // What lies before the beginning of this character cut the one before.
        while wanted.next_if(|&offset| offset < units).is_some() {}
        if wanted.next_if_eq(&units).is_some() {
            found.push((units, at));
        }
        if wanted.peek().is_none() {
            break;
        }
        units += c.len_utf16();
    }
    let byte = |units: usize| {
        let place = found
            .binary_search_by_key(&units, |(units, _)| *units)
            .ok()?;
        Some(found[place].1)
    };
    entities
        .iter()
        .map(|entity| Some(byte(entity.offset)?..byte(end(entity)?)?))
        .collect()
}

/// The whole of a text as Markdown.
pub(crate) fn markdown(text: &str, entities: &[Entity]) -> String {
    markdown_of(text, entities, 0..text.len())
}

/// A part of a text, in bytes, as Markdown: links, code and preformatted text are marked, everything else stays as it is. Of entities that
/// overlap the first counts. Time and memory are in proportion to text and entities.
pub(crate) fn markdown_of(text: &str, entities: &[Entity], part: Range<usize>) -> String {
    let marked = |kind: &EntityKind| {
        matches!(
            kind,
            EntityKind::TextLink(_) | EntityKind::Code | EntityKind::Pre(_)
        )
    };
    let mut spans: Vec<(Range<usize>, &EntityKind)> = byte_ranges(text, entities)
        .into_iter()
        .zip(entities)
        .filter(|(_, entity)| marked(&entity.kind))
        .filter_map(|(range, entity)| {
            let range = range?;
            let range = range.start.max(part.start)..range.end.min(part.end);
            (range.start < range.end).then_some((range, &entity.kind))
        })
        .collect();
    spans.sort_by_key(|(range, _)| (range.start, std::cmp::Reverse(range.end)));
    let mut markdown = String::with_capacity(part.len());
    let mut done = part.start;
    for (range, kind) in spans {
        if range.start < done {
            continue;
        }
        markdown.push_str(&text[done..range.start]);
        let words = &text[range.clone()];
        done = range.end;
        match kind {
            EntityKind::TextLink(url) => markdown.push_str(&link(words, url)),
            EntityKind::Pre(language) => {
                if !markdown.is_empty() && !markdown.ends_with('\n') {
                    markdown.push('\n');
                }
                markdown.push_str(&code_block(words, language.as_deref()));
                if done < part.end && !text[done..].starts_with('\n') {
                    markdown.push('\n');
                }
            }
            _ => markdown.push_str(&inline_code(words)),
        }
    }
    markdown.push_str(&text[done..part.end]);
    markdown
}

/// A link, as its URL alone where the words are the URL.
pub(crate) fn link(words: &str, url: &str) -> String {
    let url: String = url
        .chars()
        .filter(|c| !c.is_whitespace() && !c.is_control() && !matches!(c, '<' | '>'))
        .collect();
    if url.is_empty() || words == url {
        return words.to_owned();
    }
    let mut link = String::with_capacity(words.len() + url.len() + 4);
    link.push('[');
    for c in words.chars() {
        if matches!(c, '[' | ']' | '\\') {
            link.push('\\');
        }
        link.push(c);
    }
    // Brackets within a URL would end it.
    let (open, close) = if url.contains(['(', ')']) {
        ("](<", ">)")
    } else {
        ("](", ")")
    };
    link.extend([open, &url, close]);
    link
}

/// Code within a line, behind more backticks than it holds.
pub(crate) fn inline_code(code: &str) -> String {
    let fence = "`".repeat(longest_run(code) + 1);
    let gap = if code.starts_with('`') || code.ends_with('`') {
        " "
    } else {
        ""
    };
    format!("{fence}{gap}{code}{gap}{fence}")
}

/// A block of code, without a line break behind it.
pub(crate) fn code_block(code: &str, language: Option<&str>) -> String {
    let fence = "`".repeat((longest_run(code) + 1).max(3));
    let language: String = language
        .unwrap_or_default()
        .chars()
        .take_while(|c| !c.is_whitespace() && !c.is_control() && *c != '`')
        .take(MAX_LANGUAGE_CHARS)
        .collect();
    let end = if code.ends_with('\n') { "" } else { "\n" };
    format!("{fence}{language}\n{code}{end}{fence}")
}

/// The longest run of backticks.
fn longest_run(code: &str) -> usize {
    code.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn entity(kind: EntityKind, offset: usize, length: usize) -> Entity {
        Entity {
            kind,
            offset,
            length,
        }
    }

    fn to(url: &str) -> EntityKind {
        EntityKind::TextLink(url.to_owned())
    }

    #[rstest]
    #[case::link("see here now", &[entity(to("https://a.example/x"), 4, 4)], "see [here](https://a.example/x) now")]
    #[case::behind_an_emoji("😀 here", &[entity(to("https://a.example"), 3, 4)], "😀 [here](https://a.example)")]
    #[case::url_itself("https://a.example", &[entity(to("https://a.example"), 0, 17)], "https://a.example")]
    #[case::brackets("a[1]", &[entity(to("https://a.example/(b)"), 0, 4)], "[a\\[1\\]](<https://a.example/(b)>)")]
    #[case::url_with_a_line_break("a", &[entity(to("https://a\n> x"), 0, 1)], "[a](https://ax)")]
    #[case::code("run ls -l", &[entity(EntityKind::Code, 4, 5)], "run `ls -l`")]
    #[case::code_with_a_backtick("a`b", &[entity(EntityKind::Code, 0, 3)], "``a`b``")]
    #[case::pre("do fn a() {} now", &[entity(EntityKind::Pre(Some("rust".into())), 3, 9)], "do \n```rust\nfn a() {}\n```\n now")]
    #[case::pre_with_a_fence("```", &[entity(EntityKind::Pre(Some("a b`".into())), 0, 3)], "````a\n```\n````")]
    #[case::outside("short", &[entity(EntityKind::Code, 3, 9), entity(EntityKind::Code, usize::MAX, 2)], "short")]
    #[case::cuts_a_character("😀b", &[entity(EntityKind::Code, 1, 2)], "😀b")]
    #[case::overlapping("abcd", &[entity(EntityKind::Code, 1, 3), entity(EntityKind::Code, 0, 2)], "`ab`cd")]
    #[case::others_stay("@a /b", &[entity(EntityKind::Mention, 0, 2), entity(EntityKind::BotCommand, 3, 2)], "@a /b")]
    fn marked_text_becomes_markdown(
        #[case] text: &str,
        #[case] entities: &[Entity],
        #[case] expected: &str,
    ) {
        assert_eq!(markdown(text, entities), expected);
    }

    fn any_entity() -> impl Strategy<Value = Entity> {
        let kind = prop_oneof![
            ".{0,9}".prop_map(EntityKind::TextLink),
            Just(EntityKind::Code),
            proptest::option::of(".{0,9}").prop_map(EntityKind::Pre),
            Just(EntityKind::Mention),
        ];
        let place = || prop_oneof![0..40_usize, any::<usize>()];
        (kind, place(), place()).prop_map(|(kind, offset, length)| entity(kind, offset, length))
    }

    proptest! {
        #[test]
        fn hostile_entities_cost_no_text_and_no_more_than_their_size(
            text in "([a\\[`😀é\n]|\\PC){0,30}",
            entities in proptest::collection::vec(any_entity(), 0..12),
        ) {
            let made = markdown(&text, &entities);
            let urls: usize = entities.iter().map(|e| match &e.kind {
                EntityKind::TextLink(url) => url.len(),
                EntityKind::Pre(language) => language.as_ref().map_or(0, String::len),
                _ => 0,
            }).sum();
            prop_assert!(made.len() <= 4 * text.len() + urls + 12 * entities.len());
            let mut left = made.chars();
            for c in text.chars() {
                prop_assert!(left.any(|made| made == c), "{c:?} of {text:?} is not in {made:?}");
            }
        }

        #[test]
        fn byte_ranges_are_those_of_utf16(text in "[a😀é]{0,12}", offset in 0..20_usize, length in 0..20_usize) {
            let units: Vec<u16> = text.encode_utf16().collect();
            let expected = units.get(offset..offset + length).and_then(|s| String::from_utf16(s).ok());
            let found = byte_ranges(&text, &[entity(EntityKind::Code, offset, length)]).remove(0);
            let cuts = |at: usize| String::from_utf16(&units[..at]).is_err();
            let expected = expected.filter(|_| !cuts(offset) && !cuts(offset + length));
            prop_assert_eq!(found.map(|range| text[range].to_owned()), expected);
        }
    }
}
