//! `parse_mode=Markdown`, the legacy mode: four markers, no nesting. Follows `parse_markdown` of `TDLib`.

use super::entity::{Entity, link_entity, normalize_entities, utf16_len};
use super::html::ParseError;
use super::markdown::Parsed;

/// Parses legacy Markdown.
pub(super) fn parse(source: &str) -> Parsed {
    let bytes = source.as_bytes();
    let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
    let mut text = String::with_capacity(source.len());
    let mut units = 0;
    let mut entities = Vec::new();
    let mut at = 0;
    while let Some(c) = source[at..].chars().next() {
        if c == '\\' && matches!(byte(at + 1), b'_' | b'*' | b'`' | b'[') {
            text.push(char::from(byte(at + 1)));
            units += 1;
            at += 2;
            continue;
        }
        if !matches!(c, '_' | '*' | '`' | '[') {
            text.push(c);
            units += c.len_utf16();
            at += c.len_utf8();
            continue;
        }
        let begin = at;
        let is_pre = source[at..].starts_with("```");
        let mut language = None;
        at += if is_pre { 3 } else { 1 };
        if is_pre {
            let rest = &source[at..];
            let end = rest
                .find(|c: char| c.is_ascii_whitespace() || c == '`')
                .unwrap_or(rest.len());
            if end > 0 && end < rest.len() && byte(at + end) != b'`' {
                language = Some(rest[..end].to_owned());
                at += end;
            }
            if byte(at) == b'\n' {
                at += 1;
            }
        }
        let closing = match c {
            '[' => "]",
            '*' => "*",
            '_' => "_",
            _ if is_pre => "```",
            _ => "`",
        };
        let Some(length) = source[at..].find(closing) else {
            return Err(ParseError(format!(
                "Can't find end of the entity starting at byte offset {begin}"
            )));
        };
        let inner = &source[at..at + length];
        let offset = units;
        text.push_str(inner);
        units += utf16_len(inner);
        at += length + closing.len();
        let mut entity = match c {
            '*' => Entity::new("bold", offset, units - offset),
            '_' => Entity::new("italic", offset, units - offset),
            '`' if is_pre => Entity::new("pre", offset, units - offset),
            '`' => Entity::new("code", offset, units - offset),
            _ => {
                let mut url = inner.to_owned();
                if byte(at) == b'(' {
                    let end = source[at..].find(')').unwrap_or(source.len() - at);
                    source[at + 1..at + end].clone_into(&mut url);
                    at = (at + end + 1).min(source.len());
                }
                entities.extend(link_entity(&url, offset, units - offset));
                continue;
            }
        };
        entity.language = language;
        entities.push(entity);
    }
    Ok((text, normalize_entities(entities)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::markdown::tests::{one, short};

    #[test]
    fn legacy_markdown_parses_four_markers() {
        assert_eq!(
            short(parse("*a* 1.5")),
            ("a 1.5".to_owned(), one("bold", 0, 1))
        );
        assert_eq!(
            short(parse("[x](http://a.b)")),
            ("x".to_owned(), one("text_link", 0, 1))
        );
        assert_eq!(short(parse("a\\_b")), ("a_b".to_owned(), vec![]));
        assert_eq!(
            parse("snake_case").expect_err("is refused").0,
            "Can't find end of the entity starting at byte offset 5"
        );
    }
}
