//! Message entities: formatting of a text, with offsets in UTF-16 code units.

use serde::{Deserialize, Serialize};

use super::links::find_url;

/// One `MessageEntity` of the Bot API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entity {
    /// `bold`, `code`, `pre`, `text_link`, `mention` and so on.
    #[serde(rename = "type")]
    pub kind: String,
    /// Start in UTF-16 code units.
    pub offset: usize,
    /// Length in UTF-16 code units; at least 1.
    pub length: usize,
    /// `text_link`: the URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// `pre`: the programming language.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// `text_mention`: the user's id (the Bot API shows a whole user; the simulator fills it in where it knows them).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<serde_json::Value>,
    /// `custom_emoji`: its `custom_emoji_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_emoji_id: Option<String>,
}

impl Entity {
    /// An entity without optional fields.
    pub fn new(kind: &str, offset: usize, length: usize) -> Self {
        Self {
            kind: kind.to_owned(),
            offset,
            length,
            url: None,
            language: None,
            user: None,
            custom_emoji_id: None,
        }
    }

    fn end(&self) -> usize {
        self.offset + self.length
    }

    fn is_code(&self) -> bool {
        matches!(self.kind.as_str(), "pre" | "code")
    }
}

/// The length of a text as the Bot API counts it.
pub fn utf16_len(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

/// The entity of a link in formatted text: a checked URL, a mention of a user, or none (Telegram drops an invalid link
/// without an error).
pub(super) fn link_entity(url: &str, offset: usize, length: usize) -> Option<Entity> {
    if let Some(id) = url
        .strip_prefix("tg://user?id=")
        .and_then(|id| id.parse::<i64>().ok())
    {
        let mut entity = Entity::new("text_mention", offset, length);
        entity.user = Some(serde_json::json!({"id": id, "is_bot": false, "first_name": ""}));
        return Some(entity);
    }
    let mut entity = Entity::new("text_link", offset, length);
    entity.url = Some(checked_link(url)?);
    Some(entity)
}

/// The link as Telegram shows it; `None` if it is no link that Telegram takes.
pub(super) fn checked_link(link: &str) -> Option<String> {
    let link = link.trim();
    if link.is_empty() || link.contains(char::is_whitespace) {
        return None;
    }
    if let Some((scheme, _)) = link.split_once("://") {
        let known = ["http", "https", "tg", "ton", "tonsite", "ftp"];
        if !known.contains(&scheme.to_ascii_lowercase().as_str()) {
            return None;
        }
        return url::Url::parse(link).ok().map(String::from);
    }
    let host = link.split(['/', '?', '#']).next().unwrap_or_default();
    if !host.contains('.') || host.starts_with('.') || host.ends_with('.') {
        return None;
    }
    url::Url::parse(&format!("http://{link}"))
        .ok()
        .map(String::from)
}

/// Sorts entities as Telegram returns them and enforces its nesting rules: `pre` and `code` overlap with no other entity, and
/// block quotations do not nest.
pub(super) fn normalize_entities(mut entities: Vec<Entity>) -> Vec<Entity> {
    entities.retain(|entity| entity.length > 0);
    let code: Vec<(usize, usize)> = entities
        .iter()
        .filter(|entity| entity.is_code())
        .map(|entity| (entity.offset, entity.end()))
        .collect();
    let mut settled: Vec<Entity> = Vec::with_capacity(entities.len());
    for entity in entities {
        if entity.is_code() || entity.kind.ends_with("blockquote") || code.is_empty() {
            settled.push(entity);
        } else {
            subtract(&entity, &code, &mut settled);
        }
    }
    settled.sort_by(|a, b| a.offset.cmp(&b.offset).then(b.length.cmp(&a.length)));
    let mut quoted_until = 0;
    settled.retain(|entity| {
        if !entity.kind.ends_with("blockquote") {
            return true;
        }
        let outermost = entity.offset >= quoted_until;
        if outermost {
            quoted_until = entity.end();
        }
        outermost
    });
    settled
}

/// The parts of an entity outside of the given ranges.
fn subtract(entity: &Entity, holes: &[(usize, usize)], into: &mut Vec<Entity>) {
    let mut holes: Vec<(usize, usize)> = holes
        .iter()
        .copied()
        .filter(|&(from, to)| from < entity.end() && to > entity.offset)
        .collect();
    holes.sort_unstable();
    let mut at = entity.offset;
    for (from, to) in holes {
        if from > at {
            into.push(Entity {
                offset: at,
                length: from - at,
                ..entity.clone()
            });
        }
        at = at.max(to);
    }
    if at < entity.end() {
        into.push(Entity {
            offset: at,
            length: entity.end() - at,
            ..entity.clone()
        });
    }
}

/// Entities that Telegram detects in plain text: commands, mentions, hashtags, URLs and e-mail addresses.
///
/// Nothing is detected inside of code and links in `taken`; other formatting may overlap.
pub fn detect(text: &str, taken: &[Entity]) -> Vec<Entity> {
    let mut found = Vec::new();
    if !text.contains(['/', '@', '#', '.', ':']) {
        return found;
    }
    let mut offset = 0;
    for word in text.split_inclusive(char::is_whitespace) {
        let begin = offset;
        offset += utf16_len(word);
        let word = word.trim_end();
        let lead = word.len() - word.trim_start_matches(['(', '"', '\'', ',', '[']).len();
        let part =
            word[lead..].trim_end_matches([')', '"', '\'', ',', ']', '!', '?', ';', ':', '.']);
        let token = classify(part).map(|(kind, length)| (kind, begin + lead, length));
        let url = || {
            let range = find_url(word)?;
            let at = begin + utf16_len(&word[..range.start]);
            Some(("url", at, utf16_len(&word[range])))
        };
        if let Some((kind, at, length)) = token.or_else(url) {
            let exclusive = |entity: &&Entity| {
                matches!(
                    entity.kind.as_str(),
                    "pre" | "code" | "text_link" | "text_mention" | "custom_emoji"
                )
            };
            let clear = taken
                .iter()
                .filter(exclusive)
                .all(|entity| entity.end() <= at || entity.offset >= at + length);
            if clear {
                found.push(Entity::new(kind, at, length));
            }
        }
    }
    found
}

fn classify(token: &str) -> Option<(&'static str, usize)> {
    let name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if let Some(rest) = token.strip_prefix('/') {
        let end = rest.find(|c| !name(c)).unwrap_or(rest.len());
        if end == 0 || end > 64 {
            return None;
        }
        let length = match rest[end..].strip_prefix('@') {
            Some(bot) => {
                let bot_end = bot.find(|c| !name(c)).unwrap_or(bot.len());
                if bot_end == 0 { end } else { end + 1 + bot_end }
            }
            None if rest[end..].starts_with('/') => return None,
            None => end,
        };
        return Some(("bot_command", length + 1));
    }
    if let Some(rest) = token.strip_prefix('@') {
        let end = rest.find(|c| !name(c)).unwrap_or(rest.len());
        return (4..=32).contains(&end).then_some(("mention", end + 1));
    }
    if let Some(rest) = token.strip_prefix('#') {
        let length: usize = rest
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .map(char::len_utf16)
            .sum();
        return (length > 0).then_some(("hashtag", length + 1));
    }
    if token.contains("://") {
        return None;
    }
    if let Some((user, host)) = token.split_once('@') {
        let whole = !user.is_empty() && host.contains('.') && host.is_ascii();
        return whole.then(|| ("email", utf16_len(token)));
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{html, legacy_markdown, markdown};

    fn found(text: &str) -> Vec<(String, usize, usize)> {
        let entities = detect(text, &[]).into_iter();
        entities.map(|e| (e.kind, e.offset, e.length)).collect()
    }

    #[test]
    fn commands_mentions_and_links_are_found_in_plain_text() {
        let text = "/start@acme_bot 👍 @ann_example, (https://example.com/a) a@b.example #tag";
        let kinds: Vec<String> = found(text).into_iter().map(|(kind, ..)| kind).collect();
        assert_eq!(kinds, ["bot_command", "mention", "url", "email", "hashtag"]);
        assert_eq!(found(text)[0], ("bot_command".to_owned(), 0, 15));
        assert_eq!(found(text)[1], ("mention".to_owned(), 19, 12));
        assert!(found("a/b 1.5 @me and/or").is_empty());
        let names = found("👍 (README.md) [x](https://e.org/a_(b)) src/main.rs");
        assert_eq!(
            names,
            [("url".to_owned(), 4, 9), ("url".to_owned(), 19, 19)]
        );
    }

    #[test]
    fn a_quotation_inside_of_another_is_dropped() {
        let nested = vec![
            Entity::new("blockquote", 0, 9),
            Entity::new("blockquote", 2, 3),
        ];
        assert_eq!(
            normalize_entities(nested),
            [Entity::new("blockquote", 0, 9)]
        );
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_has_entities_within_its_bounds(
            source in r#"(<[a-z/]{0,6}( href| class)?(="?[a-z\-]{0,9}"?)?>?|&[a-z#0-9x]{0,9};?|[*_~|`\[\]()>!\\\n ]|\PC){0,40}"#
        ) {
            for parse in [html::parse, markdown::parse_v2, legacy_markdown::parse] {
                if let Ok((text, entities)) = parse(&source) {
                    for entity in entities {
                        prop_assert!(entity.length > 0 && entity.end() <= utf16_len(&text));
                    }
                }
            }
        }
    }
}
