//! `parse_mode=MarkdownV2`, as strict as Telegram: the same reserved characters, error messages and byte offsets.
//!
//! Follows `parse_markdown_v2` of `TDLib` (`MessageEntity.cpp`).

use super::entity::{Entity, link_entity, normalize_entities};
use super::html::ParseError;

const RESERVED: &[u8] = b"_*[]()~`>#+-=|{}.!\n";

pub(super) type Parsed = Result<(String, Vec<Entity>), ParseError>;

fn error<T>(message: String) -> Result<T, ParseError> {
    Err(ParseError(message))
}

/// Parses `MarkdownV2`.
pub(super) fn parse_v2(source: &str) -> Parsed {
    V2 {
        source,
        at: 0,
        text: String::with_capacity(source.len()),
        units: 0,
        open: Vec::new(),
        entities: Vec::new(),
        quoting: false,
    }
    .run()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bold,
    Italic,
    Underline,
    Strikethrough,
    Spoiler,
    Code,
    Pre,
    Link,
    Emoji,
    Quote,
}

impl Kind {
    /// The name in error messages, and the entity's type.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Bold => ("Bold", "bold"),
            Self::Italic => ("Italic", "italic"),
            Self::Underline => ("Underline", "underline"),
            Self::Strikethrough => ("Strikethrough", "strikethrough"),
            Self::Spoiler => ("Spoiler", "spoiler"),
            Self::Code => ("Code", "code"),
            Self::Pre => ("Pre", "pre"),
            Self::Link => ("TextUrl", "text_link"),
            Self::Emoji => ("CustomEmoji", "custom_emoji"),
            Self::Quote => ("BlockQuote", "blockquote"),
        }
    }
}

struct Open {
    kind: Kind,
    language: Option<String>,
    offset: usize,
    byte: usize,
    begin: usize,
}

struct V2<'a> {
    source: &'a str,
    at: usize,
    text: String,
    units: usize,
    open: Vec<Open>,
    entities: Vec<Entity>,
    quoting: bool,
}

impl V2<'_> {
    fn byte(&self, ahead: usize) -> u8 {
        let bytes = self.source.as_bytes();
        bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn push(&mut self, c: char) {
        self.text.push(c);
        self.units += c.len_utf16();
    }

    fn run(mut self) -> Parsed {
        while let Some(c) = self.source[self.at..].chars().next() {
            if c == '\\' && (1..=126).contains(&self.byte(1)) {
                let escaped = char::from(self.byte(1));
                self.push(escaped);
                self.at += 2;
                continue;
            }
            let in_code = self
                .open
                .last()
                .is_some_and(|open| matches!(open.kind, Kind::Code | Kind::Pre));
            let reserved: &[u8] = if in_code { b"`" } else { RESERVED };
            let byte = self.byte(0);
            if !c.is_ascii() || !reserved.contains(&byte) {
                self.push(c);
                self.at += c.len_utf8();
                continue;
            }
            if self.ends_here(byte) {
                self.end(byte)?;
            } else {
                self.begin(byte)?;
            }
        }
        let expandable = self.drop_expandable_mark();
        if self.quoting
            && self
                .open
                .last()
                .is_some_and(|open| open.kind == Kind::Quote)
        {
            self.close_quote(expandable);
        }
        if let Some(open) = self.open.last() {
            return error(format!(
                "Can't find end of {} entity at byte offset {}",
                open.kind.names().0,
                open.byte
            ));
        }
        Ok((self.text, normalize_entities(self.entities)))
    }

    fn ends_here(&self, byte: u8) -> bool {
        let Some(open) = self.open.last() else {
            return false;
        };
        if self.quoting && byte == b'\n' && self.byte(1) != b'>' {
            return true;
        }
        match open.kind {
            Kind::Bold => byte == b'*',
            Kind::Italic => byte == b'_' && self.byte(1) != b'_',
            Kind::Underline => byte == b'_' && self.byte(1) == b'_',
            Kind::Strikethrough => byte == b'~',
            Kind::Spoiler => byte == b'|' && self.byte(1) == b'|',
            Kind::Code => byte == b'`',
            Kind::Pre => byte == b'`' && self.byte(1) == b'`' && self.byte(2) == b'`',
            Kind::Link | Kind::Emoji => byte == b']',
            Kind::Quote => false,
        }
    }

    fn begin(&mut self, byte: u8) -> Result<(), ParseError> {
        let begin = self.at;
        let mut language = None;
        let kind = match byte {
            b'_' if self.byte(1) == b'_' => {
                self.at += 2;
                Kind::Underline
            }
            b'_' => self.single(Kind::Italic),
            b'*' => self.single(Kind::Bold),
            b'~' => self.single(Kind::Strikethrough),
            b'[' => self.single(Kind::Link),
            b'|' if self.byte(1) == b'|' => {
                self.at += 2;
                Kind::Spoiler
            }
            b'!' if self.byte(1) == b'[' => {
                self.at += 2;
                Kind::Emoji
            }
            b'`' if self.byte(1) == b'`' && self.byte(2) == b'`' => {
                self.at += 3;
                language = self.language();
                Kind::Pre
            }
            b'`' => self.single(Kind::Code),
            b'\n' => {
                self.push('\n');
                self.at += 1;
                if self.byte(0) != b'>' {
                    return Ok(());
                }
                self.at += 1;
                if self.quoting {
                    return Ok(());
                }
                self.quoting = true;
                Kind::Quote
            }
            b'>' if begin == 0 => {
                self.at += 1;
                self.quoting = true;
                Kind::Quote
            }
            _ => {
                return error(format!(
                    "Character '{}' is reserved and must be escaped with the preceding '\\'",
                    char::from(byte)
                ));
            }
        };
        self.open.push(Open {
            kind,
            language,
            offset: self.units,
            byte: begin,
            begin: self.text.len(),
        });
        Ok(())
    }

    fn single(&mut self, kind: Kind) -> Kind {
        self.at += 1;
        kind
    }

    /// The language of a code block; skips the one line break behind the opening that is no content.
    fn language(&mut self) -> Option<String> {
        let rest = &self.source[self.at..];
        let end = rest
            .find(|c: char| c.is_ascii_whitespace() || c == '`')
            .unwrap_or(rest.len());
        let mut language = None;
        if end > 0 && end < rest.len() && rest.as_bytes()[end] != b'`' {
            language = Some(rest[..end].to_owned());
            self.at += end;
        }
        let (first, second) = (self.byte(0), self.byte(1));
        if matches!(first, b'\n' | b'\r') {
            self.at += 1;
            if matches!(second, b'\n' | b'\r') && first != second {
                self.at += 1;
            }
        }
        language
    }

    /// `||` at the very end of a quotation makes it expandable: the parser saw it as the start of an empty spoiler.
    fn drop_expandable_mark(&mut self) -> bool {
        let found = self.quoting
            && matches!(self.open.as_slice(), [.., quote, mark]
                if quote.kind == Kind::Quote && mark.kind == Kind::Spoiler && mark.offset == self.units);
        if found {
            self.open.pop();
        }
        found
    }

    fn end(&mut self, byte: u8) -> Result<(), ParseError> {
        let expandable = byte == b'\n' && self.drop_expandable_mark();
        let Some(open) = self.open.pop() else {
            return Ok(());
        };
        if byte == b'\n' && open.kind != Kind::Quote {
            return error(format!(
                "Can't find end of {} entity at byte offset {}",
                open.kind.names().0,
                open.byte
            ));
        }
        if open.kind == Kind::Quote {
            self.open.push(open);
            self.close_quote(expandable);
            self.push('\n');
            self.at += 1;
            return Ok(());
        }
        let length = self.units - open.offset;
        self.at += match open.kind {
            Kind::Underline | Kind::Spoiler => 2,
            Kind::Pre => 3,
            _ => 1,
        };
        let mut entity = Entity::new(open.kind.names().1, open.offset, length);
        match open.kind {
            Kind::Link => {
                let url = if self.byte(0) == b'(' {
                    self.url("a URL")?
                } else {
                    self.text[open.begin..].to_owned()
                };
                self.entities.extend(link_entity(&url, open.offset, length));
                return Ok(());
            }
            Kind::Emoji => {
                if self.byte(0) != b'(' {
                    return error("Custom emoji entity must contain a tg://emoji URL".to_owned());
                }
                let url = self.url("a custom emoji URL")?;
                let Some(id) = url.strip_prefix("tg://emoji?id=") else {
                    return error("Custom emoji URL must have scheme tg".to_owned());
                };
                entity.custom_emoji_id = Some(id.to_owned());
            }
            Kind::Pre => entity.language = open.language,
            _ => {}
        }
        self.entities.push(entity);
        Ok(())
    }

    /// The text in parentheses.
    fn url(&mut self, what: &str) -> Result<String, ParseError> {
        self.at += 1;
        let begin = self.at;
        let mut url = String::new();
        while let Some(c) = self.source[self.at..].chars().next() {
            if c == ')' {
                self.at += 1;
                return Ok(url);
            }
            if c == '\\' && (1..=126).contains(&self.byte(1)) {
                url.push(char::from(self.byte(1)));
                self.at += 2;
                continue;
            }
            url.push(c);
            self.at += c.len_utf8();
        }
        error(format!("Can't find end of {what} at byte offset {begin}"))
    }

    fn close_quote(&mut self, expandable: bool) {
        self.quoting = false;
        let Some(open) = self.open.pop() else { return };
        let kind = if expandable {
            "expandable_blockquote"
        } else {
            "blockquote"
        };
        self.entities
            .push(Entity::new(kind, open.offset, self.units - open.offset));
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The parsed text, and type, offset and length of each entity.
    pub(crate) fn short(parsed: Parsed) -> (String, Vec<(String, usize, usize)>) {
        let (text, entities) = parsed.expect("parses");
        let entities = entities
            .into_iter()
            .map(|e| (e.kind, e.offset, e.length))
            .collect();
        (text, entities)
    }

    pub(crate) fn one(kind: &str, offset: usize, length: usize) -> Vec<(String, usize, usize)> {
        vec![(kind.to_owned(), offset, length)]
    }

    #[test]
    fn each_construct_of_v2_becomes_its_entity() {
        for (source, text, kind, offset, length) in [
            ("a *b*", "a b", "bold", 2, 1),
            ("_b_", "b", "italic", 0, 1),
            ("__b__", "b", "underline", 0, 1),
            ("~b~", "b", "strikethrough", 0, 1),
            ("||b||", "b", "spoiler", 0, 1),
            ("`b_c`", "b_c", "code", 0, 3),
            ("```\nb.c\n```", "b.c\n", "pre", 0, 4),
            ("[b](example.com)", "b", "text_link", 0, 1),
            ("![👍](tg://emoji?id=5)", "👍", "custom_emoji", 0, 2),
            (">b\n>c\nd", "b\nc\nd", "blockquote", 0, 3),
            (">b||", "b", "expandable_blockquote", 0, 1),
            (">b||\nc", "b\nc", "expandable_blockquote", 0, 1),
        ] {
            let (got, entities) = short(parse_v2(source));
            assert_eq!(
                (got.as_str(), entities),
                (text, one(kind, offset, length)),
                "{source}"
            );
        }
        let (_, entities) = parse_v2("```rust\nx\n```").expect("parses");
        assert_eq!(entities[0].language.as_deref(), Some("rust"));
    }

    #[test]
    fn v2_error_messages_match_telegrams() {
        let refused = |source: &str| parse_v2(source).expect_err("is refused").0;
        assert_eq!(
            refused("1.5"),
            "Character '.' is reserved and must be escaped with the preceding '\\'"
        );
        assert_eq!(
            refused("a *b"),
            "Can't find end of Bold entity at byte offset 2"
        );
        assert_eq!(refused("[a](b"), "Can't find end of a URL at byte offset 4");
        assert_eq!(short(parse_v2("1\\.5")).0, "1.5");
    }
}
