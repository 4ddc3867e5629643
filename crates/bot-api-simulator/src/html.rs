//! `parse_mode=HTML`, as strict as Telegram: the same tags, error messages and byte offsets.
//!
//! Follows `parse_html` of `TDLib` (`MessageEntity.cpp`), whose messages reach a bot behind `can't parse entities: `.

use super::entity::{Entity, link_entity, normalize_entities, utf16_len};

/// Why formatted text is rejected: the text after `Bad Request: can't parse entities: `.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseError(pub String);

const TAGS: &str =
    "a b strong i em s strike del u ins tg-spoiler tg-emoji tg-time span pre code blockquote";

struct Open {
    tag: String,
    argument: String,
    offset: usize,
    begin: usize,
}

/// Parses the HTML subset of the Bot API into the displayed text and its entities.
///
/// # Errors
/// [`ParseError`] with Telegram's own message.
pub fn parse(html: &str) -> Result<(String, Vec<Entity>), ParseError> {
    Parser {
        input: html,
        at: 0,
        text: String::with_capacity(html.len()),
        units: 0,
        open: Vec::new(),
        entities: Vec::new(),
    }
    .run()
}

fn error<T>(message: String) -> Result<T, ParseError> {
    Err(ParseError(message))
}

struct Parser<'a> {
    input: &'a str,
    at: usize,
    text: String,
    units: usize,
    open: Vec<Open>,
    entities: Vec<Entity>,
}

impl Parser<'_> {
    /// The byte at an index; 0 behind the end, like the terminator in `TDLib`.
    fn byte(&self, at: usize) -> u8 {
        self.input.as_bytes().get(at).copied().unwrap_or(0)
    }

    fn skip_spaces(&mut self) {
        while is_space(self.byte(self.at)) {
            self.at += 1;
        }
    }

    fn run(mut self) -> Result<(String, Vec<Entity>), ParseError> {
        while self.at < self.input.len() {
            match self.byte(self.at) {
                b'<' if self.byte(self.at + 1) == b'/' => self.end_tag()?,
                b'<' => self.start_tag()?,
                b'&' => {
                    let c = self.decode_reference().unwrap_or_else(|| {
                        self.at += 1;
                        '&'
                    });
                    self.push(c);
                }
                _ => {
                    let rest = &self.input[self.at..];
                    let end = rest.find(['<', '&']).unwrap_or(rest.len());
                    self.text.push_str(&rest[..end]);
                    self.units += utf16_len(&rest[..end]);
                    self.at += end;
                }
            }
        }
        if let Some(open) = self.open.last() {
            return error(format!(
                "Can't find end tag corresponding to start tag \"{}\"",
                open.tag
            ));
        }
        Ok((self.text, normalize_entities(self.entities)))
    }

    fn push(&mut self, c: char) {
        self.units += c.len_utf16();
        self.text.push(c);
    }

    /// Decodes a character reference at the cursor; `None` if there is none, and then the ampersand is literal.
    fn decode_reference(&mut self) -> Option<char> {
        let rest = &self.input[self.at + 1..];
        let (c, length) = if let Some(number) = rest.strip_prefix('#') {
            let (digits, radix, lead) = match number.strip_prefix('x') {
                Some(hex) => (hex, 16, 2),
                None => (number, 10, 1),
            };
            let end = digits
                .find(|c: char| !c.is_digit(radix))
                .unwrap_or(digits.len());
            let code = u32::from_str_radix(&digits[..end], radix).ok()?;
            if code == 0 || code >= 0x0010_ffff || end + lead + 1 >= 10 {
                return None;
            }
            (char::from_u32(code)?, lead + end)
        } else {
            let end = rest
                .find(|c: char| !c.is_ascii_alphabetic())
                .unwrap_or(rest.len());
            let c = match &rest[..end] {
                "lt" => '<',
                "gt" => '>',
                "amp" => '&',
                "quot" => '"',
                _ => return None,
            };
            (c, end)
        };
        self.at += 1 + length;
        if self.byte(self.at) == b';' {
            self.at += 1;
        }
        Some(c)
    }

    fn start_tag(&mut self) -> Result<(), ParseError> {
        let begin = self.at;
        self.at += 1;
        while !matches!(self.byte(self.at), b'>' | 0) && !is_space(self.byte(self.at)) {
            self.at += 1;
        }
        if self.at >= self.input.len() {
            return error(format!("Unclosed start tag at byte offset {begin}"));
        }
        let tag = self.input[begin + 1..self.at].to_ascii_lowercase();
        if !TAGS.split(' ').any(|known| known == tag) {
            return error(format!(
                "Unsupported start tag \"{tag}\" at byte offset {begin}"
            ));
        }
        let mut argument = String::new();
        while self.byte(self.at) != b'>' {
            self.skip_spaces();
            if self.byte(self.at) == b'>' {
                break;
            }
            let (name, value) = self.attribute(&tag, begin)?;
            match (tag.as_str(), name.as_str()) {
                ("a", "href") | ("tg-emoji", "emoji-id") | ("tg-time", "unix") => argument = value,
                ("code", "class") => {
                    if let Some(language) = value.strip_prefix("language-") {
                        language.clone_into(&mut argument);
                    }
                }
                ("span", "class") => {
                    if let Some(class) = value.strip_prefix("tg-") {
                        class.clone_into(&mut argument);
                    }
                }
                ("blockquote", "expandable") => "expandable".clone_into(&mut argument),
                _ => {}
            }
        }
        if tag == "span" && argument != "spoiler" {
            return error(format!(
                "Tag \"span\" must have class \"tg-spoiler\" at byte offset {begin}"
            ));
        }
        self.at += 1;
        self.open.push(Open {
            tag,
            argument,
            offset: self.units,
            begin: self.text.len(),
        });
        Ok(())
    }

    fn attribute(&mut self, tag: &str, begin: usize) -> Result<(String, String), ParseError> {
        let from = self.at;
        let ends = |byte| {
            matches!(byte, b'=' | 0) || is_space(byte) || (tag == "blockquote" && byte == b'>')
        };
        while !ends(self.byte(self.at)) {
            self.at += 1;
        }
        let name = self.input[from..self.at].to_owned();
        if name.is_empty() {
            return error(format!(
                "Empty attribute name in the tag \"{tag}\" at byte offset {begin}"
            ));
        }
        self.skip_spaces();
        if self.byte(self.at) != b'=' {
            if tag == "blockquote" && name == "expandable" && self.at < self.input.len() {
                return Ok((name, String::new()));
            }
            return error(format!(
                "Expected equal sign in declaration of an attribute of the tag \"{tag}\" at byte offset {begin}"
            ));
        }
        self.at += 1;
        self.skip_spaces();
        let quote = self.byte(self.at);
        if self.at >= self.input.len() {
            return error(format!(
                "Unclosed start tag \"{tag}\" at byte offset {begin}"
            ));
        }
        let value = if quote == b'"' || quote == b'\'' {
            self.at += 1;
            self.quoted(quote)
        } else {
            let token = self.at;
            while self.byte(self.at).is_ascii_alphanumeric()
                || matches!(self.byte(self.at), b'.' | b'-')
            {
                self.at += 1;
            }
            let value = self.input[token..self.at].to_ascii_lowercase();
            if !is_space(self.byte(self.at)) && self.byte(self.at) != b'>' {
                return error(format!(
                    "Unexpected end of name token at byte offset {token}"
                ));
            }
            value
        };
        if self.at >= self.input.len() {
            return error(format!("Unclosed start tag at byte offset {begin}"));
        }
        Ok((name, value))
    }

    fn quoted(&mut self, quote: u8) -> String {
        let mut value = String::new();
        while self.at < self.input.len() && self.byte(self.at) != quote {
            if self.byte(self.at) == b'&'
                && let Some(c) = self.decode_reference()
            {
                value.push(c);
                continue;
            }
            let Some(c) = self.input[self.at..].chars().next() else {
                break;
            };
            value.push(c);
            self.at += c.len_utf8();
        }
        if self.byte(self.at) == quote {
            self.at += 1;
        }
        value
    }

    fn end_tag(&mut self) -> Result<(), ParseError> {
        let begin = self.at;
        let Some(open) = self.open.pop() else {
            return error(format!("Unexpected end tag at byte offset {begin}"));
        };
        self.at += 2;
        while !matches!(self.byte(self.at), b'>' | 0) && !is_space(self.byte(self.at)) {
            self.at += 1;
        }
        let tag = self.input[begin + 2..self.at].to_ascii_lowercase();
        self.skip_spaces();
        if self.byte(self.at) != b'>' {
            return error(format!("Unclosed end tag at byte offset {begin}"));
        }
        if !tag.is_empty() && tag != open.tag {
            return error(format!(
                "Unmatched end tag at byte offset {begin}, expected \"</{}>\", found \"</{tag}>\"",
                open.tag
            ));
        }
        self.at += 1;
        self.close(&open)
    }

    fn close(&mut self, open: &Open) -> Result<(), ParseError> {
        let length = self.units - open.offset;
        if length == 0 {
            return Ok(());
        }
        let kind = match open.tag.as_str() {
            "i" | "em" => "italic",
            "b" | "strong" => "bold",
            "s" | "strike" | "del" => "strikethrough",
            "u" | "ins" => "underline",
            "tg-spoiler" | "span" => "spoiler",
            "tg-emoji" => {
                if open.argument.parse::<i64>().is_ok_and(|id| id != 0) {
                    let mut entity = Entity::new("custom_emoji", open.offset, length);
                    entity.custom_emoji_id = Some(open.argument.clone());
                    self.entities.push(entity);
                    return Ok(());
                }
                return error("Invalid custom emoji identifier specified".to_owned());
            }
            "tg-time" => "date_time",
            "a" => {
                let url = if open.argument.is_empty() {
                    &self.text[open.begin..]
                } else {
                    &open.argument
                };
                self.entities.extend(link_entity(url, open.offset, length));
                return Ok(());
            }
            "blockquote" if open.argument == "expandable" => "expandable_blockquote",
            "blockquote" => "blockquote",
            tag => {
                self.close_code(tag, open, length);
                return Ok(());
            }
        };
        self.entities.push(Entity::new(kind, open.offset, length));
        Ok(())
    }

    /// `pre` with `code class="language-…"` in it, in either order, is one entity.
    fn close_code(&mut self, tag: &str, open: &Open, length: usize) {
        let same = self
            .entities
            .last_mut()
            .filter(|last| last.offset == open.offset && last.length == length);
        match (tag, same) {
            ("pre", Some(inner)) if inner.kind == "code" => {
                "pre".clone_into(&mut inner.kind);
            }
            ("code", Some(inner)) if inner.kind == "pre" => {
                if !open.argument.is_empty() {
                    inner.language = Some(open.argument.clone());
                }
            }
            _ => {
                let mut entity = Entity::new(tag, open.offset, length);
                if tag == "code" && !open.argument.is_empty() {
                    entity.language = Some(open.argument.clone());
                }
                self.entities.push(entity);
            }
        }
        // A language belongs to `pre` alone; a lone `code` loses it when nothing encloses it.
        if tag == "code"
            && !self.open.iter().any(|outer| outer.tag == "pre")
            && let Some(last) = self.entities.last_mut()
            && last.kind == "code"
        {
            last.language = None;
        }
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0x0b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(html: &str) -> (String, Vec<(String, usize, usize)>) {
        let (text, entities) = parse(html).expect("parses");
        let entities = entities
            .into_iter()
            .map(|e| (e.kind, e.offset, e.length))
            .collect();
        (text, entities)
    }

    fn refused(html: &str) -> String {
        parse(html).expect_err("is refused").0
    }

    #[test]
    fn every_tag_becomes_its_entity() {
        for (tag, kind) in [
            ("b", "bold"),
            ("strong", "bold"),
            ("i", "italic"),
            ("em", "italic"),
            ("u", "underline"),
            ("ins", "underline"),
            ("s", "strikethrough"),
            ("strike", "strikethrough"),
            ("del", "strikethrough"),
            ("tg-spoiler", "spoiler"),
            ("code", "code"),
            ("pre", "pre"),
            ("blockquote", "blockquote"),
        ] {
            let (text, entities) = kinds(&format!("a <{tag}>b</{tag}>"));
            assert_eq!(text, "a b");
            assert_eq!(entities, [(kind.to_owned(), 2, 1)], "{tag}");
        }
        assert_eq!(
            kinds("<span class=\"tg-spoiler\">x</span>").1[0].0,
            "spoiler"
        );
        assert_eq!(
            kinds("<blockquote expandable>x</blockquote>").1[0].0,
            "expandable_blockquote"
        );
        assert_eq!(
            kinds("<tg-emoji emoji-id=\"5368324170671202286\">👍</tg-emoji>").1,
            [("custom_emoji".to_owned(), 0, 2)]
        );
    }

    #[test]
    fn offsets_count_utf16_units_after_references_are_decoded() {
        let (text, entities) = kinds("&lt;👍&#128077;&#x41;&gt;&amp;&quot;&nbsp; <b>z</b>");
        assert_eq!(text, "<👍👍A>&\"&nbsp; z");
        assert_eq!(entities, [("bold".to_owned(), 16, 1)]);
    }

    #[test]
    fn code_block_keeps_its_language_and_excludes_other_formatting() {
        let (text, entities) =
            parse("<b>x<pre><code class=\"language-rust\">let a;</code></pre>y</b>")
                .expect("parses");
        assert_eq!(text, "xlet a;y");
        let pre = entities.iter().find(|e| e.kind == "pre").expect("pre");
        assert_eq!(pre.language.as_deref(), Some("rust"));
        let bold: Vec<_> = entities
            .iter()
            .filter(|e| e.kind == "bold")
            .map(|e| (e.offset, e.length))
            .collect();
        assert_eq!(bold, [(0, 1), (7, 1)]);
        let (_, lone) = parse("<code class=\"language-rust\">x</code>").expect("parses");
        assert_eq!(lone[0].language, None);
    }

    #[test]
    fn invalid_links_are_dropped_without_an_error() {
        let (_, link) =
            parse("<a href=\"https://example.com/?a=1&amp;b=2\">x</a>").expect("parses");
        assert_eq!(link[0].url.as_deref(), Some("https://example.com/?a=1&b=2"));
        let (_, bare) = parse("<a href='example.com'>x</a>").expect("parses");
        assert_eq!(bare[0].url.as_deref(), Some("http://example.com/"));
        let (_, none) = parse("<a href='nonsense'>x</a>").expect("parses");
        assert!(none.is_empty());
        let (_, user) = parse("<a href='tg://user?id=42'>x</a>").expect("parses");
        assert_eq!(user[0].kind, "text_mention");
    }

    #[test]
    fn error_messages_match_telegrams() {
        assert_eq!(
            refused("a <x>"),
            "Unsupported start tag \"x\" at byte offset 2"
        );
        assert_eq!(
            refused("1 < 2"),
            "Unsupported start tag \"\" at byte offset 2"
        );
        assert_eq!(refused("a <b"), "Unclosed start tag at byte offset 2");
        assert_eq!(
            refused("a <b>c"),
            "Can't find end tag corresponding to start tag \"b\""
        );
        assert_eq!(refused("c</b>"), "Unexpected end tag at byte offset 1");
        assert_eq!(
            refused("<b><i>x</b></i>"),
            "Unmatched end tag at byte offset 7, expected \"</i>\", found \"</b>\""
        );
        assert_eq!(
            refused("<span>x</span>"),
            "Tag \"span\" must have class \"tg-spoiler\" at byte offset 0"
        );
        assert_eq!(
            refused("<a href>x</a>"),
            "Expected equal sign in declaration of an attribute of the tag \"a\" at byte offset 0"
        );
        assert_eq!(refused("<b>x</b"), "Unclosed end tag at byte offset 4");
    }
}
